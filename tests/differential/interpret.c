/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The differential test: the same scripts of socket calls run over kernel TCP on the loopback
 * interface (test_tcp) and over rsk on a device (test_rsk), and every call has the result that its
 * line of the script says. Where the two differ, the line says so, with the reason; a difference that
 * is written down but does not show is a failure, too. See script.h.
 *
 * Each case runs in a process of its own. One thread makes the calls in turn, so nothing depends on
 * time: what takes a moment to arrive is waited for by "poll", which also looks whether it stays.
 */
#include "calls.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>

#include "script.h"
#include "sockets.h"
#include "task.h"

enum { SOCKETS_MAX = 16, JOBS_MAX = 4, DATA_MAX = 4 << 20, SHOWN_MAX = 64, RESULT_MAX = 256,
       SETTLE_MS = 10000 };

struct action {
	char **arg;
	const char *want;            /* what the script expects, for "poll" alone */
	char got[RESULT_MAX];
};

static struct {
	const char *name;
	int fd;
} sockets[SOCKETS_MAX];
static int nsockets;
/* The thread of a job looks up names, and names what it opens. */
static pthread_mutex_t sockets_lock = PTHREAD_MUTEX_INITIALIZER;

/* -- words ------------------------------------------------------------------------------------- */

#define NAMED(constant) { #constant, constant }

static const struct {
	const char *name;
	long value;
} constants[] = {
	NAMED(AF_INET), NAMED(AF_INET6), NAMED(AF_UNIX), NAMED(AF_UNSPEC),
	NAMED(SOCK_STREAM), NAMED(SOCK_NONBLOCK), NAMED(SOCK_CLOEXEC), NAMED(SOCK_SEQPACKET),
	NAMED(IPPROTO_TCP), NAMED(IPPROTO_UDP), NAMED(IPPROTO_IPV6),
	NAMED(MSG_DONTWAIT), NAMED(MSG_NOSIGNAL), NAMED(MSG_PEEK), NAMED(MSG_WAITALL), NAMED(MSG_MORE),
	NAMED(MSG_TRUNC), NAMED(MSG_OOB), NAMED(MSG_ERRQUEUE),
	NAMED(SHUT_RD), NAMED(SHUT_WR), NAMED(SHUT_RDWR),
	NAMED(F_GETFL), NAMED(F_SETFL), NAMED(F_GETFD), NAMED(F_SETFD), NAMED(FD_CLOEXEC),
	NAMED(O_NONBLOCK), NAMED(O_APPEND),
	NAMED(SOL_SOCKET), NAMED(SO_REUSEADDR), NAMED(SO_RCVBUF), NAMED(SO_SNDBUF), NAMED(SO_ERROR),
	NAMED(SO_TYPE), NAMED(SO_DOMAIN), NAMED(SO_PROTOCOL), NAMED(SO_ACCEPTCONN), NAMED(SO_LINGER),
	NAMED(SO_KEEPALIVE), NAMED(SO_OOBINLINE), NAMED(SO_RCVTIMEO), NAMED(SO_SNDTIMEO),
	NAMED(SO_RCVLOWAT), NAMED(TCP_NODELAY), NAMED(TCP_MAXSEG), NAMED(TCP_CORK), NAMED(IPV6_V6ONLY),
	NAMED(IPPROTO_IP), NAMED(IP_TOS), NAMED(TCP_INFO),
	NAMED(FIONREAD), NAMED(FIONBIO), NAMED(SIOCOUTQ), NAMED(SIOCATMARK), NAMED(FIOQSIZE),
	NAMED(TCP_KEEPIDLE), NAMED(TCP_KEEPINTVL), NAMED(TCP_KEEPCNT), NAMED(TCP_USER_TIMEOUT),
	NAMED(POLLIN), NAMED(POLLOUT), NAMED(POLLRDHUP), NAMED(POLLPRI),
	NAMED(EPOLLIN), NAMED(EPOLLOUT), NAMED(EPOLLRDHUP), NAMED(EPOLLET), NAMED(EPOLLONESHOT),
	NAMED(EPOLLEXCLUSIVE), NAMED(EPOLL_CLOEXEC),
};

static long constant(const char *name)
{
	char *end;
	long value = strtol(name, &end, 0);

	if (end != name && !*end)
		return value;
	for (size_t i = 0; i < COUNT(constants); i++) {
		if (!strcmp(constants[i].name, name))
			return constants[i].value;
	}
	ck_abort_msg("%s: neither a number nor a constant", name);
}

/* "A|B|3" */
static long number(const char *word)
{
	char text[RESULT_MAX], *rest = text, *part;
	long value = 0;

	snprintf(text, sizeof(text), "%s", word);
	while ((part = strsep(&rest, "|")))
		value |= constant(part);
	return value;
}

static long number_or(const char *word, long otherwise)
{
	return word ? number(word) : otherwise;
}

/* Where a name is in the table, or -1; with the lock held. */
static int index_of(const char *name)
{
	for (int i = 0; i < nsockets; i++) {
		if (!strcmp(sockets[i].name, name))
			return i;
	}
	return -1;
}

static void name_socket(const char *name, int fd)
{
	int i;

	pthread_mutex_lock(&sockets_lock);
	i = index_of(name);
	if (i < 0) {
		i = nsockets++;
		ck_assert_int_lt(i, SOCKETS_MAX);
		sockets[i].name = name;
	}
	sockets[i].fd = fd;
	pthread_mutex_unlock(&sockets_lock);
}

static bool find_socket(const char *name, int *fd)
{
	int i;

	pthread_mutex_lock(&sockets_lock);
	i = index_of(name);
	if (i >= 0)
		*fd = sockets[i].fd;
	pthread_mutex_unlock(&sockets_lock);
	return i >= 0;
}

/* A socket by its name, or a descriptor by its number. */
static int fd_of(const char *word)
{
	int fd;

	return find_socket(word, &fd) ? fd : (int)number(word);
}

/* Text in quotes, or so many zero bytes. */
static struct iovec data(const char *word)
{
	static char zeros[DATA_MAX];

	if (*word == '"')
		return (struct iovec){ (char *)(uintptr_t)word + 1, strlen(word) - 2 };
	ck_assert_int_le(number(word), DATA_MAX);
	return (struct iovec){ zeros, (size_t)number(word) };
}

static struct address name_of(int fd, bool of_peer)
{
	struct address a = { .len = sizeof(a.room) };

	if (of_peer ? CALL(getpeername)(fd, &a.any, &a.len) : CALL(getsockname)(fd, &a.any, &a.len))
		a.len = 0;
	return a;
}

/* A port where nobody listens. */
static struct address deserted(int family)
{
	struct address here = address_of_device(family, 0);
	int fd = CALL(socket)(family, SOCK_STREAM, 0);

	OK(CALL(bind)(fd, &here.any, here.len));
	here = name_of(fd, false);
	OK(CALL(close)(fd));
	return here;
}

/* An address by what it is, or that of a socket. */
static struct address address_called(const char *word)
{
	struct address unspec = { .len = sizeof(unspec.v4) };
	int fd;

	if (find_socket(word, &fd))
		return name_of(fd, false);
	if (!strcmp(word, "here"))
		return address_of_device(AF_INET, 0);
	if (!strcmp(word, "here6"))
		return address_of_device(AF_INET6, 0);
	if (!strcmp(word, "any"))
		return address_wildcard(AF_INET);
	if (!strcmp(word, "elsewhere"))
		return address_of_text("192.0.2.1", 7);
	if (!strcmp(word, "deserted"))
		return deserted(AF_INET);
	ck_assert_msg(!strcmp(word, "unspec"), "%s: not an address", word);
	return unspec;
}

/* -- results ----------------------------------------------------------------------------------- */

static void say(struct action *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Adds to the result. */
static void say(struct action *c, const char *fmt, ...)
{
	size_t len = strlen(c->got);
	va_list args;

	va_start(args, fmt);
	vsnprintf(c->got + len, sizeof(c->got) - len, fmt, args);
	va_end(args);
}

/* A number, or the name of the errno. */
static void say_result(struct action *c, long ret)
{
	if (ret < 0)
		say(c, "%s", strerrorname_np(errno));
	else
		say(c, "%ld", ret);
}

/* "fd", which gets the name, or the errno. */
static void say_socket(struct action *c, const char *name, int fd)
{
	if (fd < 0) {
		say_result(c, fd);
	} else {
		name_socket(name, fd);
		say(c, "fd");
	}
}

/* The bytes themselves when they are short and printable, else how many there are. */
static void say_data(struct action *c, const char *buf, long n)
{
	bool text = n > 0 && n <= SHOWN_MAX;

	for (long i = 0; text && i < n; i++)
		text = buf[i] >= ' ' && buf[i] <= '~';
	if (text)
		say(c, "\"%.*s\"", (int)n, buf);
	else
		say_result(c, n);
}

/* "partial" for some, but not all. */
static void say_sent(struct action *c, long n, size_t len)
{
	if (n > 0 && (size_t)n < len)
		say(c, "partial");
	else
		say_result(c, n);
}

static bool same_host(const struct address *a, const struct address *b)
{
	if (a->any.sa_family == AF_INET6)
		return !memcmp(&a->v6.sin6_addr, &b->v6.sin6_addr, sizeof(a->v6.sin6_addr));
	return a->v4.sin_addr.s_addr == b->v4.sin_addr.s_addr;
}

/* The name of the socket, of all but @self, that has this address, or NULL. */
static const char *socket_at(const struct address *a, int self)
{
	const char *name = NULL;

	pthread_mutex_lock(&sockets_lock);
	for (int i = 0; i < nsockets && !name; i++) {
		struct address other = name_of(sockets[i].fd, false);

		if (sockets[i].fd != self && other.len == a->len && address_port(&other) &&
		    !memcmp(&other.room, &a->room, a->len))
			name = sockets[i].name;
	}
	pthread_mutex_unlock(&sockets_lock);
	return name;
}

/* The socket that has this address, or what sort of address it is. */
static void say_address(struct action *c, const struct address *a, int self)
{
	struct address here = address_of_device(a->any.sa_family, address_port(a));
	struct address any = address_wildcard(a->any.sa_family);
	const char *name = socket_at(a, self);

	if (name)
		say(c, "%s", name);
	else
		say(c, "%s:%s", same_host(a, &here) ? "here" : same_host(a, &any) ? "any" : "elsewhere",
		    address_port(a) ? "port" : "0");
}

/* IN and OUT stand for themselves and RDNORM and WRNORM, which TCP always reports together. */
static void say_mask(struct action *c, short mask)
{
	static const struct {
		short bits;
		const char *name;
	} bits[] = {
		{ POLLIN | POLLRDNORM, "IN" }, { POLLPRI, "PRI" }, { POLLOUT | POLLWRNORM, "OUT" },
		{ POLLRDHUP, "RDHUP" }, { POLLERR, "ERR" }, { POLLHUP, "HUP" }, { POLLNVAL, "NVAL" },
	};
	short told = 0;

	c->got[0] = '\0';
	if (!mask)
		say(c, "0");
	for (size_t i = 0; i < COUNT(bits); i++) {
		if ((mask & bits[i].bits) != bits[i].bits)
			continue;
		say(c, "%s%s", told ? "|" : "", bits[i].name);
		told |= bits[i].bits;
	}
	if (mask & ~told)
		say(c, "|%#x", mask & ~told);
}

/* -- operations: opening ----------------------------------------------------------------------- */

/* socket NAME [TYPE [DOMAIN [PROTOCOL]]] = fd */
static void op_socket(struct action *c)
{
	int type = (int)number_or(c->arg[1], SOCK_STREAM);
	int domain = c->arg[1] ? (int)number_or(c->arg[2], AF_INET) : AF_INET;
	int protocol = c->arg[1] && c->arg[2] ? (int)number_or(c->arg[3], 0) : 0;

	say_socket(c, c->arg[0], CALL(socket)(domain, type, protocol));
}

/* ADDRESS is here, here6, any, elsewhere, deserted, unspec, null or the name of a socket. */
static void with_address(struct action *c, int (*call)(int, const struct sockaddr *, socklen_t))
{
	struct address a = { .len = sizeof(a.v4) };
	bool null = !strcmp(c->arg[1], "null");

	if (!null)
		a = address_called(c->arg[1]);
	say_result(c, call(fd_of(c->arg[0]), null ? NULL : &a.any,
			   (socklen_t)number_or(c->arg[2], a.len)));
}

static int do_bind(int fd, const struct sockaddr *addr, socklen_t len)
{
	return CALL(bind)(fd, addr, len);
}

static int do_connect(int fd, const struct sockaddr *addr, socklen_t len)
{
	return CALL(connect)(fd, addr, len);
}

/* bind NAME ADDRESS [LENGTH] = 0 */
static void op_bind(struct action *c)
{
	with_address(c, do_bind);
}

/* connect NAME ADDRESS [LENGTH] = 0 */
static void op_connect(struct action *c)
{
	with_address(c, do_connect);
}

/* listen NAME BACKLOG = 0 */
static void op_listen(struct action *c)
{
	say_result(c, CALL(listen)(fd_of(c->arg[0]), (int)number(c->arg[1])));
}

/* accept NEW NAME [FLAGS] = fd */
static void op_accept(struct action *c)
{
	say_socket(c, c->arg[0], CALL(accept4)(fd_of(c->arg[1]), NULL, NULL,
					      (int)number_or(c->arg[2], 0)));
}

static int make_listener(int backlog)
{
	struct address here = address_of_device(AF_INET, 0);
	int fd = CALL(socket)(AF_INET, SOCK_STREAM, 0);

	OK(CALL(bind)(fd, &here.any, here.len));
	OK(CALL(listen)(fd, backlog));
	return fd;
}

/* listener NAME = 0: one on a port of its own */
static void op_listener(struct action *c)
{
	name_socket(c->arg[0], make_listener(16));
	say(c, "0");
}

/* pair A B = 0: A connected to B */
static void op_pair(struct action *c)
{
	int listening = make_listener(1), a = CALL(socket)(AF_INET, SOCK_STREAM, 0);
	struct address there = name_of(listening, false);
	int b;

	OK(CALL(connect)(a, &there.any, there.len));
	b = CALL(accept4)(listening, NULL, NULL, 0);
	name_socket(c->arg[0], a);
	name_socket(c->arg[1], b);
	OK(CALL(close)(listening));
	say_result(c, b < 0 ? -1 : 0);
}

/* shutdown NAME HOW = 0 */
static void op_shutdown(struct action *c)
{
	say_result(c, CALL(shutdown)(fd_of(c->arg[0]), (int)number(c->arg[1])));
}

/* close NAME = 0: the name stands for the closed descriptor afterwards */
static void op_close(struct action *c)
{
	say_result(c, CALL(close)(fd_of(c->arg[0])));
}

static void say_name(struct action *c, bool of_peer)
{
	int fd = fd_of(c->arg[0]);
	struct address a = name_of(fd, of_peer);

	if (!a.len)
		say_result(c, -1);
	else
		say_address(c, &a, fd);
}

/* getsockname NAME = any:0, any:port, here:0, here:port, elsewhere:port or another socket's name */
static void op_getsockname(struct action *c)
{
	say_name(c, false);
}

/* getpeername NAME = as getsockname */
static void op_getpeername(struct action *c)
{
	say_name(c, true);
}

/* -- operations: data -------------------------------------------------------------------------- */

/* send NAME DATA [FLAGS] = bytes or partial */
static void op_send(struct action *c)
{
	struct iovec what = data(c->arg[1]);

	say_sent(c, CALL(send)(fd_of(c->arg[0]), what.iov_base, what.iov_len,
			      (int)number_or(c->arg[2], 0)), what.iov_len);
}

/* sendto NAME DATA FLAGS ADDRESS = bytes */
static void op_sendto(struct action *c)
{
	struct iovec what = data(c->arg[1]);
	struct address to = address_called(c->arg[3]);

	say_sent(c, CALL(sendto)(fd_of(c->arg[0]), what.iov_base, what.iov_len, (int)number(c->arg[2]),
				&to.any, to.len), what.iov_len);
}

static int vector(char **words, struct iovec *iov)
{
	int n = 0;

	for (; words[n]; n++)
		iov[n] = data(words[n]);
	return n;
}

static size_t vector_bytes(const struct iovec *iov, int n)
{
	size_t bytes = 0;

	while (n--)
		bytes += iov[n].iov_len;
	return bytes;
}

/* writev NAME DATA... = bytes */
static void op_writev(struct action *c)
{
	struct iovec iov[WORDS_MAX];
	int n = vector(c->arg + 1, iov);

	say_sent(c, CALL(writev)(fd_of(c->arg[0]), iov, n), vector_bytes(iov, n));
}

/* sendmsg NAME FLAGS DATA... = bytes */
static void op_sendmsg(struct action *c)
{
	struct iovec iov[WORDS_MAX];
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = (size_t)vector(c->arg + 2, iov) };

	say_sent(c, CALL(sendmsg)(fd_of(c->arg[0]), &msg, (int)number(c->arg[1])),
		 vector_bytes(iov, (int)msg.msg_iovlen));
}

static char *room(void)
{
	static _Thread_local char bytes[DATA_MAX];

	return bytes;
}

/* recv NAME ROOM [FLAGS] = "text", bytes, or 0 at the end */
static void op_recv(struct action *c)
{
	say_data(c, room(), CALL(recv)(fd_of(c->arg[0]), room(), (size_t)number(c->arg[1]),
				      (int)number_or(c->arg[2], 0)));
}

/* recvfrom NAME ROOM = "text", then the sender's address, unless its length is 0 */
static void op_recvfrom(struct action *c)
{
	struct address from = { .len = sizeof(from.room) };
	int fd = fd_of(c->arg[0]);
	ssize_t n = CALL(recvfrom)(fd, room(), (size_t)number(c->arg[1]), 0, &from.any, &from.len);

	say_data(c, room(), n);
	if (n < 0 || !from.len)
		return;
	say(c, " ");
	say_address(c, &from, fd);
}

/* Buffers of the given sizes, one behind the other in room(). */
static int spread(char **words, struct iovec *iov)
{
	char *at = room();
	int n = 0;

	for (; words[n]; n++) {
		iov[n] = (struct iovec){ at, (size_t)number(words[n]) };
		at += iov[n].iov_len;
	}
	return n;
}

/* readv NAME ROOM... = as recv */
static void op_readv(struct action *c)
{
	struct iovec iov[WORDS_MAX];
	int n = spread(c->arg + 1, iov);

	say_data(c, room(), CALL(readv)(fd_of(c->arg[0]), iov, n));
}

/* recvmsg NAME FLAGS ROOM... = as recv, then what is not zero of msg_flags and msg_namelen */
static void op_recvmsg(struct action *c)
{
	struct address from;
	struct iovec iov[WORDS_MAX];
	struct msghdr msg = {
		.msg_name = &from.room, .msg_namelen = sizeof(from.room),
		.msg_iov = iov, .msg_iovlen = (size_t)spread(c->arg + 2, iov),
	};
	ssize_t n = CALL(recvmsg)(fd_of(c->arg[0]), &msg, (int)number(c->arg[1]));

	say_data(c, room(), n);
	if (n >= 0 && msg.msg_flags)
		say(c, " flags %#x", (unsigned)msg.msg_flags);
	if (n >= 0 && msg.msg_namelen)
		say(c, " from %u", msg.msg_namelen);
}

/* -- operations: readiness --------------------------------------------------------------------- */

static short look(int fd, short events, int ms)
{
	struct pollfd p = { .fd = fd, .events = events };
	int n = CALL(poll)(&p, 1, ms);

	ck_assert_msg(n == (p.revents != 0), "poll returned %d and mask %#x", n, p.revents);
	return p.revents;
}

/* select(2) and a fresh epoll instance say the same as poll(2). */
static void check_select(int fd, short mask)
{
	fd_set in, out, except;
	struct timeval now = { 0 };

	FD_ZERO(&in);
	FD_SET(fd, &in);
	out = except = in;
	ck_assert_int_ge(CALL(select)(fd + 1, &in, &out, &except, &now), 0);
	ck_assert_msg(!FD_ISSET(fd, &in) == !(mask & (POLLIN | POLLHUP | POLLERR)) &&
		      !FD_ISSET(fd, &out) == !(mask & (POLLOUT | POLLERR)) &&
		      !FD_ISSET(fd, &except) == !(mask & POLLPRI),
		      "select says%s%s%s, poll mask %#x", FD_ISSET(fd, &in) ? " read" : "",
		      FD_ISSET(fd, &out) ? " write" : "", FD_ISSET(fd, &except) ? " except" : "", mask);
}

static void check_epoll(int fd, short events, short mask)
{
	struct epoll_event event = { .events = (uint32_t)(uint16_t)events };
	int epfd = CALL(epoll_create1)(0), n;

	OK(CALL(epoll_ctl)(epfd, EPOLL_CTL_ADD, fd, &event));
	n = CALL(epoll_wait)(epfd, &event, 1, 0);
	event.events = n ? event.events : 0;
	ck_assert_msg(event.events == (uint16_t)mask, "epoll mask %#x, poll mask %#x", event.events,
		      mask);
	OK(CALL(close)(epfd));
}

static short widened(short events)
{
	events |= events & POLLIN ? POLLRDNORM : 0;
	events |= events & POLLOUT ? POLLWRNORM : 0;
	return events;
}

/* poll NAME [EVENTS] = mask that the state settles at, "0" for none, also for select and epoll. Waits for
 * what the script expects, and then looks whether it stays. */
static void op_poll(struct action *c)
{
	int fd = fd_of(c->arg[0]);
	short events = widened((short)number_or(c->arg[1], POLLIN | POLLPRI | POLLOUT | POLLRDHUP));
	uint64_t limit = now_ms() + SETTLE_MS;
	short mask;

	do {
		say_mask(c, look(fd, events, 0));
		if (!strcmp(c->got, c->want))
			break;
		poll(NULL, 0, 2);
	} while (now_ms() < limit);
	poll(NULL, 0, QUIET_MS / 2);
	mask = look(fd, events, 0);
	say_mask(c, mask);
	if (strcmp(c->got, c->want) || mask & POLLNVAL)
		return;
	if (!c->arg[1])
		check_select(fd, mask);
	check_epoll(fd, events, mask);
}

/* wait NAME EVENTS = mask: sleeps in poll until there is one */
static void op_wait(struct action *c)
{
	say_mask(c, look(fd_of(c->arg[0]), widened((short)number(c->arg[1])), LIMIT_MS));
}

/* Sends pieces of @size for as long as they are taken: how many were? */
static size_t send_pieces(int fd, const char *size)
{
	struct iovec what = data(size);
	size_t sent = 0;

	while (CALL(send)(fd, what.iov_base, what.iov_len, MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
		sent++;
	return sent;
}

/* fill NAME = errno that ends sending, when neither end takes another byte. TCP keeps what is left of a small
 * window until a timer of 200 ms or more has run, and has room again after that. */
static void op_fill(struct action *c)
{
	int fd = fd_of(c->arg[0]);

	while (send_pieces(fd, "65536") + send_pieces(fd, "1"))
		look(fd, POLLOUT, 5 * QUIET_MS);
	say_result(c, -1);
}

/* drain NAME = what ends receiving: EAGAIN, 0 or another errno */
static void op_drain(struct action *c)
{
	int fd = fd_of(c->arg[0]);
	ssize_t n;

	do {
		while ((n = CALL(recv)(fd, room(), DATA_MAX, MSG_DONTWAIT)) > 0)
			;
	} while (n < 0 && errno == EAGAIN && look(fd, POLLIN, QUIET_MS));
	say_result(c, n);
}

/* -- operations: epoll ------------------------------------------------------------------------- */

/* epoll NAME [FLAGS] = fd */
static void op_epoll(struct action *c)
{
	say_socket(c, c->arg[0], CALL(epoll_create1)((int)number_or(c->arg[1], 0)));
}

/* ctl EPOLL add|mod|del NAME [EVENTS] = 0 */
static void op_ctl(struct action *c)
{
	int op = !strcmp(c->arg[1], "add") ? EPOLL_CTL_ADD : !strcmp(c->arg[1], "mod") ? EPOLL_CTL_MOD :
		 !strcmp(c->arg[1], "del") ? EPOLL_CTL_DEL : (int)number(c->arg[1]);
	struct epoll_event event = { .events = (uint32_t)number_or(c->arg[3], 0) };

	event.data.ptr = c->arg[2];
	event.events |= event.events & EPOLLIN ? EPOLLRDNORM : 0;
	event.events |= event.events & EPOLLOUT ? EPOLLWRNORM : 0;
	say_result(c, CALL(epoll_ctl)(fd_of(c->arg[0]), op, fd_of(c->arg[2]), &event));
}

/* What members reported, in the order of their names' first use. */
struct reports {
	uint32_t of[SOCKETS_MAX];
};

static int collect(struct reports *all, int epfd, int max, int ms)
{
	struct epoll_event events[SOCKETS_MAX];
	int n = CALL(epoll_wait)(epfd, events, max, ms);

	pthread_mutex_lock(&sockets_lock);
	for (int i = 0; i < n; i++)
		all->of[index_of(events[i].data.ptr)] |= events[i].events;
	pthread_mutex_unlock(&sockets_lock);
	return n;
}

static void say_reports(struct action *c, const struct reports *all)
{
	struct action mask;

	c->got[0] = '\0';
	pthread_mutex_lock(&sockets_lock);
	for (int i = 0; i < nsockets; i++) {
		if (!all->of[i])
			continue;
		say_mask(&mask, (short)all->of[i]);
		say(c, "%s%s:%s", *c->got ? " " : "", sockets[i].name, mask.got);
	}
	pthread_mutex_unlock(&sockets_lock);
	if (!*c->got)
		say(c, "0");
}

/* report EPOLL = "A:IN|OUT B:IN": all that is reported until it is what the script expects, and a moment
 * longer; "0" for nothing */
static void op_report(struct action *c)
{
	uint64_t limit = now_ms() + SETTLE_MS;
	struct reports all = { .of = { 0 } };
	int fd = fd_of(c->arg[0]);

	do {
		collect(&all, fd, SOCKETS_MAX, 2);
		say_reports(c, &all);
	} while (strcmp(c->got, c->want) && now_ms() < limit);
	limit = now_ms() + QUIET_MS / 2;
	while (now_ms() < limit)
		collect(&all, fd, SOCKETS_MAX, 5);
	say_reports(c, &all);
}

/* await EPOLL [ROOM [MS]] = the reports of one epoll_wait, which sleeps, or errno, or "0" */
static void op_await(struct action *c)
{
	struct reports all = { .of = { 0 } };
	int ms = c->arg[1] ? (int)number_or(c->arg[2], LIMIT_MS) : LIMIT_MS;

	if (collect(&all, fd_of(c->arg[0]), (int)number_or(c->arg[1], SOCKETS_MAX), ms) < 0)
		say_result(c, -1);
	else
		say_reports(c, &all);
}

/* -- operations: options and flags ------------------------------------------------------------- */

/* setsockopt NAME LEVEL OPTION VALUE [LENGTH] = 0; VALUE: an int, "50ms", "1,5" for a linger, null */
static void op_setsockopt(struct action *c)
{
	const char *text = c->arg[3];
	struct linger linger;
	struct timeval time;
	const void *value;
	int ms, simple, n = 0;
	socklen_t len;

	if (sscanf(text, "%d,%d", &linger.l_onoff, &linger.l_linger) == 2) {
		value = &linger;
		len = sizeof(linger);
	} else if (sscanf(text, "%dms%n", &ms, &n) == 1 && n) {
		time = (struct timeval){ ms / 1000, ms % 1000 * 1000 };
		value = &time;
		len = sizeof(time);
	} else if (!strcmp(text, "null")) {
		value = NULL;
		len = sizeof(simple);
	} else {
		simple = (int)number(text);
		value = &simple;
		len = sizeof(simple);
	}
	say_result(c, CALL(setsockopt)(fd_of(c->arg[0]), (int)number(c->arg[1]), (int)number(c->arg[2]),
				      value, (socklen_t)number_or(c->arg[4], len)));
}

/* getsockopt NAME LEVEL OPTION [ROOM] = value; for SO_ERROR the errno's name; then, with ROOM, the
 * length that was stored */
static void op_getsockopt(struct action *c)
{
	int level = (int)number(c->arg[1]), name = (int)number(c->arg[2]);
	bool timed = level == SOL_SOCKET && (name == SO_RCVTIMEO || name == SO_SNDTIMEO);
	bool lingers = level == SOL_SOCKET && name == SO_LINGER;
	union {
		struct timeval time;
		struct linger linger;
		int number;
		char room[64];
	} value = { .room = { 0 } };
	socklen_t len = (socklen_t)number_or(c->arg[3], timed ? sizeof(value.time) :
					     lingers ? sizeof(value.linger) : sizeof(value.number));

	if (CALL(getsockopt)(fd_of(c->arg[0]), level, name, &value, &len))
		say_result(c, -1);
	else if (timed)
		say(c, "%ldms", value.time.tv_sec * 1000 + value.time.tv_usec / 1000);
	else if (lingers)
		say(c, "%d,%d", value.linger.l_onoff, value.linger.l_linger);
	else if (level == SOL_SOCKET && name == SO_ERROR && value.number)
		say(c, "%s", strerrorname_np(value.number));
	else
		say(c, "%d", value.number);
	if (c->arg[3] && c->got[0] != 'E')
		say(c, " %u", len);
}

/* fcntl NAME COMMAND [VALUE] = value; O_NONBLOCK alone of the flags that F_GETFL tells */
static void op_fcntl(struct action *c)
{
	int command = (int)number(c->arg[1]);
	int ret = CALL(fcntl)(fd_of(c->arg[0]), command, (int)number_or(c->arg[2], 0));

	if (command == F_GETFL && ret >= 0)
		say(c, "%s", ret & O_NONBLOCK ? "O_NONBLOCK" : "0");
	else
		say_result(c, ret);
}

/* ioctl NAME REQUEST [VALUE] = what the value is afterwards */
static void op_ioctl(struct action *c)
{
	int value = (int)number_or(c->arg[2], 0);
	int ret = CALL(ioctl)(fd_of(c->arg[0]), (unsigned long)number(c->arg[1]), &value);

	say_result(c, ret < 0 ? ret : value);
}

/* sigpipes = how often SIGPIPE was raised so far */
static void op_sigpipes(struct action *c)
{
	say(c, "%d", signals_counted());
}

/* -- operations: a second thread --------------------------------------------------------------- */

struct op {
	const char *name;
	void (*run)(struct action *c);
	int args;                    /* at least */
};

static const struct op *find_op(const char *name);

static struct job {
	const struct op *op;
	struct action action;
	struct task task;
} jobs[JOBS_MAX];

static void run_job(void *arg)
{
	struct job *job = arg;

	job->op->run(&job->action);
}

static struct job *job_called(const char *word)
{
	long i = number(word);

	ck_assert(i >= 0 && i < JOBS_MAX);
	return &jobs[i];
}

/* go JOB OPERATION... = blocked, or returned */
static void op_go(struct action *c)
{
	struct job *job = job_called(c->arg[0]);

	job->op = find_op(c->arg[1]);
	job->action = (struct action){ .arg = c->arg + 2, .want = "" };
	task_start(&job->task, run_job, job);
	task_wait_asleep(&job->task);
	say(c, "%s", job->task.done ? "returned" : "blocked");
}

/* join JOB = the result of its operation */
static void op_join(struct action *c)
{
	struct job *job = job_called(c->arg[0]);

	task_join(&job->task);
	memcpy(c->got, job->action.got, sizeof(c->got));
}

/* signal JOB = 0: SIGPIPE to its thread, whose handler does not restart calls */
static void op_signal(struct action *c)
{
	say_result(c, pthread_kill(job_called(c->arg[0])->task.thread, SIGPIPE) ? -1 : 0);
}

/* -- running ----------------------------------------------------------------------------------- */

static const struct op ops[] = {
	{ "socket", op_socket, 1 }, { "bind", op_bind, 2 }, { "listen", op_listen, 2 },
	{ "accept", op_accept, 2 }, { "connect", op_connect, 2 }, { "listener", op_listener, 1 },
	{ "pair", op_pair, 2 }, { "shutdown", op_shutdown, 2 }, { "close", op_close, 1 },
	{ "getsockname", op_getsockname, 1 }, { "getpeername", op_getpeername, 1 },
	{ "send", op_send, 2 }, { "sendto", op_sendto, 4 }, { "writev", op_writev, 1 },
	{ "sendmsg", op_sendmsg, 2 }, { "recv", op_recv, 2 }, { "recvfrom", op_recvfrom, 2 },
	{ "readv", op_readv, 1 }, { "recvmsg", op_recvmsg, 2 },
	{ "poll", op_poll, 1 }, { "wait", op_wait, 2 }, { "fill", op_fill, 1 }, { "drain", op_drain, 1 },
	{ "epoll", op_epoll, 1 }, { "ctl", op_ctl, 3 }, { "report", op_report, 1 },
	{ "await", op_await, 1 }, { "setsockopt", op_setsockopt, 4 }, { "getsockopt", op_getsockopt, 3 },
	{ "fcntl", op_fcntl, 2 }, { "ioctl", op_ioctl, 2 }, { "sigpipes", op_sigpipes, 0 },
	{ "go", op_go, 2 }, { "join", op_join, 1 }, { "signal", op_signal, 1 },
};

static const struct op *find_op(const char *name)
{
	for (size_t i = 0; i < COUNT(ops); i++) {
		if (!strcmp(ops[i].name, name))
			return &ops[i];
	}
	ck_abort_msg("%s: no such operation", name);
}

static struct script script;

static void run_line(const struct script_case *of, const struct script_line *line)
{
	const struct op *op = find_op(line->word[0]);
	struct action c = { .arg = (char **)(uintptr_t)line->word + 1, .want = line->want };
	int args = 0;

	while (c.arg[args])
		args++;
	ck_assert_msg(args >= op->args, "%s:%d: %s wants more arguments", line->file, line->number,
		      op->name);
	op->run(&c);
	ck_assert_msg(!strcmp(c.got, line->want), "%s: %s:%d: %s %s: got %s, should be %s", of->name,
		      line->file, line->number, op->name, args ? c.arg[0] : "", c.got, line->want);
}

START_TEST(calls_have_the_results_that_the_script_says)
{
	const struct script_case *c = &script.cases[_i];

	count_signal(SIGPIPE, 0);
	for (int i = 0; i < c->lines; i++)
		run_line(c, &c->line[i]);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("differential: " BACKEND);
	TCase *tc = group(s, "scripts", 2 * LIMIT_MS / 1000);

#ifdef OVER_TCP
	setenv("RSK_TEST_ADDR", "127.0.0.1", 1);
	setenv("RSK_TEST_ADDR6", "::1", 1);
#endif
	script = script_read(SCRIPTS, BACKEND);
	tcase_add_loop_test(tc, calls_have_the_results_that_the_script_says, 0, (int)script.count);
	return run_suite(s);
}
