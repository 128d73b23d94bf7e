/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
#include "fixture.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <endian.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define DEFAULT_PIECE (64 * KIB)

/* How often, and how far apart, a thread must be seen asleep to count as blocked. */
#define ASLEEP_TIMES 5
#define SAMPLE_MS 2

/* -- suites ------------------------------------------------------------------------------------ */

static const char *device_text(int family)
{
	const char *text = getenv(family == AF_INET6 ? "RSK_TEST_ADDR6" : "RSK_TEST_ADDR");

	return text && *text ? text : NULL;
}

bool have_family(int family)
{
	return device_text(family) != NULL;
}

TCase *group(Suite *s, const char *name, int limit_s)
{
	TCase *tc = tcase_create(name);

	tcase_set_timeout(tc, limit_s);
	suite_add_tcase(s, tc);
	return tc;
}

int run_suite(Suite *s)
{
	SRunner *runner = srunner_create(s);
	int failed;

	if (!have_family(AF_INET)) {
		printf("skipped: RSK_TEST_ADDR does not name an address of an RDMA device\n");
		srunner_free(runner);
		return 77;
	}
	srunner_set_fork_status(runner, CK_FORK);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* -- checks ------------------------------------------------------------------------------------ */

void check_ok(long ret, const char *call, const char *file, int line)
{
	int error = errno;

	ck_assert_msg(ret == 0, "%s:%d: %s returned %ld (%s)", file, line, call, ret,
		      ret == -1 ? strerror(error) : "not an error");
}

void check_fails(long ret, int expected, const char *call, const char *file, int line)
{
	int error = errno;

	ck_assert_msg(ret == -1, "%s:%d: %s returned %ld, should fail: %s", file, line, call, ret,
		      strerror(expected));
	ck_assert_msg(error == expected, "%s:%d: %s failed: %s; should be: %s", file, line, call,
		      strerror(error), strerror(expected));
}

/* -- addresses --------------------------------------------------------------------------------- */

struct address address_of_text(const char *numeric, uint16_t port)
{
	struct address a = { .len = sizeof(a.v4) };

	if (inet_pton(AF_INET, numeric, &a.v4.sin_addr) == 1) {
		a.v4.sin_family = AF_INET;
		a.v4.sin_port = htons(port);
		return a;
	}
	a.len = sizeof(a.v6);
	ck_assert_msg(inet_pton(AF_INET6, numeric, &a.v6.sin6_addr) == 1, "%s: not an address",
		      numeric);
	a.v6.sin6_family = AF_INET6;
	a.v6.sin6_port = htons(port);
	return a;
}

struct address address_of_device(int family, uint16_t port)
{
	return address_of_text(device_text(family), port);
}

struct address address_wildcard(int family)
{
	return address_of_text(family == AF_INET6 ? "::" : "0.0.0.0", 0);
}

struct address local_address(int fd)
{
	struct address a = { .len = sizeof(a.room) };

	OK(rsk_getsockname(fd, &a.any, &a.len));
	return a;
}

struct address peer_address(int fd)
{
	struct address a = { .len = sizeof(a.room) };

	OK(rsk_getpeername(fd, &a.any, &a.len));
	return a;
}

uint16_t address_port(const struct address *a)
{
	return ntohs(a->any.sa_family == AF_INET6 ? a->v6.sin6_port : a->v4.sin_port);
}

const char *address_text(const struct address *a)
{
	static _Thread_local char text[INET6_ADDRSTRLEN + 10];
	char ip[INET6_ADDRSTRLEN];

	if (a->any.sa_family == AF_INET6) {
		inet_ntop(AF_INET6, &a->v6.sin6_addr, ip, sizeof(ip));
		snprintf(text, sizeof(text), "[%s]:%u", ip, address_port(a));
	} else {
		inet_ntop(AF_INET, &a->v4.sin_addr, ip, sizeof(ip));
		snprintf(text, sizeof(text), "%s:%u", ip, address_port(a));
	}
	return text;
}

void check_same_address(const struct address *a, const struct address *b)
{
	char text[INET6_ADDRSTRLEN + 10];

	ck_assert_int_eq(a->any.sa_family, b->any.sa_family);
	ck_assert_uint_eq(a->len, b->len);
	snprintf(text, sizeof(text), "%s", address_text(a));
	ck_assert_str_eq(text, address_text(b));
}

struct address address_deserted(void)
{
	static int holder = -1; /* bound, so that nobody else takes the port */
	struct address here = address_of_device(AF_INET, 0);

	if (holder < 0) {
		holder = socket_with(AF_INET, NO_OPTIONS);
		OK(rsk_bind(holder, &here.any, here.len));
	}
	return local_address(holder);
}

/* -- sockets and pairs ------------------------------------------------------------------------- */

int socket_with(int family, const struct option *options)
{
	int fd = rsk_socket(family, SOCK_STREAM, 0);

	ck_assert_msg(fd >= 0, "rsk_socket: %s", strerror(errno));
	for (const struct option *o = options; o && o->level; o++)
		OK(rsk_setsockopt(fd, o->level, o->name, &o->value, sizeof(o->value)));
	return fd;
}

int get_option(int fd, int level, int name)
{
	int value = -1;
	socklen_t len = sizeof(value);

	OK(rsk_getsockopt(fd, level, name, &value, &len));
	ck_assert_uint_eq(len, sizeof(value));
	return value;
}

void set_nonblocking(int fd, bool on)
{
	OK(rsk_fcntl(fd, F_SETFL, on ? O_NONBLOCK : 0));
}

int listener_with(int family, const struct option *options, int backlog)
{
	struct address here = address_of_device(family, 0);
	int fd = socket_with(family, options);

	OK(rsk_bind(fd, &here.any, here.len));
	OK(rsk_listen(fd, backlog));
	return fd;
}

int listener(void)
{
	return listener_with(AF_INET, NO_OPTIONS, 64);
}

int connect_begun(const struct address *to, const struct option *options)
{
	int fd = socket_with(to->any.sa_family, options);

	set_nonblocking(fd, true);
	/* To a neighbour it may well be done at once. */
	if (rsk_connect(fd, &to->any, to->len) < 0)
		FAILS(-1, EINPROGRESS);
	return fd;
}

int connect_outcome(int fd)
{
	ck_assert_int_ne(wait_for(fd, POLLOUT) & (POLLOUT | POLLERR), 0);
	return get_option(fd, SOL_SOCKET, SO_ERROR);
}

void connect_finished(int fd)
{
	int error = connect_outcome(fd);
	char why[256] = "";

	rsk_error(fd, why, sizeof(why));
	ck_assert_msg(error == 0, "connect: %s; %s", strerror(error), why);
	set_nonblocking(fd, false);
}

int connected_to(const struct address *to)
{
	int fd = connect_begun(to, NO_OPTIONS);

	connect_finished(fd);
	return fd;
}

int accept_from(int listening)
{
	int fd;

	wait_for(listening, POLLIN);
	fd = rsk_accept(listening, NULL, NULL);
	ck_assert_msg(fd >= 0, "rsk_accept: %s", strerror(errno));
	return fd;
}

static struct pair pair_from(int listening, const struct option *a)
{
	struct address there = local_address(listening);
	struct pair p;

	p.a = connect_begun(&there, a);
	p.b = accept_from(listening);
	connect_finished(p.a);
	return p;
}

struct pair pair_on(int listening)
{
	return pair_from(listening, NO_OPTIONS);
}

struct pair pair_with(int family, const struct option *a, const struct option *b)
{
	int listening = listener_with(family, b, 1);
	struct pair p = pair_from(listening, a);

	OK(rsk_close(listening));
	return p;
}

struct pair pair_connected(void)
{
	return pair_with(AF_INET, NO_OPTIONS, NO_OPTIONS);
}

struct pair pair_narrow(void)
{
	const struct option *narrow = OPTIONS({ SOL_SOCKET, SO_SNDBUF, 8192 },
					      { SOL_SOCKET, SO_RCVBUF, 8192 });

	return pair_with(AF_INET, narrow, narrow);
}

void pair_close(struct pair p)
{
	OK(rsk_close(p.a));
	OK(rsk_close(p.b));
}

/* -- readiness --------------------------------------------------------------------------------- */

short wait_for(int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };
	int n = rsk_poll(&p, 1, LIMIT_MS);

	ck_assert_msg(n == 1, "rsk_poll for %#x returned %d (%s)", (unsigned int)events, n,
		      n < 0 ? strerror(errno) : "time out");
	ck_assert_msg(!(p.revents & POLLNVAL), "rsk_poll: not an open descriptor");
	return p.revents;
}

short ready_now(int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };
	int n = rsk_poll(&p, 1, 0);

	ck_assert_int_eq(n, p.revents ? 1 : 0);
	return p.revents;
}

void wait_readable_in_kernel(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	int n = poll(&p, 1, LIMIT_MS);

	ck_assert_msg(n == 1 && (p.revents & POLLIN), "poll(2) returned %d, revents %#x", n,
		      (unsigned int)p.revents);
}

uint64_t fill_send_side(int fd, uint64_t seed)
{
	struct pollfd room = { .fd = fd, .events = POLLOUT };
	uint64_t sent = 0;
	char piece[4096];
	ssize_t n;

	/* What was accepted moves on to the peer and leaves room; full is when none comes back. */
	do {
		pattern_fill(piece, sizeof(piece), seed, sent);
		n = rsk_send(fd, piece, sizeof(piece), MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n > 0)
			sent += n;
		else
			FAILS(n, EAGAIN);
		ck_assert_uint_lt(sent, 256 * MIB);
	} while (n > 0 || rsk_poll(&room, 1, 2 * QUIET_MS) == 1);
	return sent;
}

void check_end_of_file(int fd)
{
	char byte;
	ssize_t n = rsk_recv(fd, &byte, 1, 0);

	ck_assert_msg(n == 0, "rsk_recv returned %zd (%s), not end of file", n,
		      n < 0 ? strerror(errno) : "data");
}

void check_connected(int a, int b)
{
	const struct stream few = { .seed = a * 1000 + b, .bytes = 100 };

	stream_send(a, &few);
	stream_take(b, &few);
	stream_send(b, &few);
	stream_take(a, &few);
}

/* -- threads ----------------------------------------------------------------------------------- */

static void *task_main(void *arg)
{
	struct task *t = arg;

	t->tid = syscall(SYS_gettid);
	t->body(t->arg);
	t->done = true;
	return NULL;
}

void task_start(struct task *t, void (*body)(void *arg), void *arg)
{
	t->body = body;
	t->arg = arg;
	t->tid = 0;
	t->done = false;
	ck_assert_int_eq(pthread_create(&t->thread, NULL, task_main, t), 0);
}

void task_join(struct task *t)
{
	struct timespec limit;
	int error;

	clock_gettime(CLOCK_REALTIME, &limit);
	limit.tv_sec += 2 * LIMIT_MS / 1000;
	error = pthread_timedjoin_np(t->thread, NULL, &limit);
	ck_assert_msg(error == 0, "a thread does not end: %s", strerror(error));
}

static char state_of_thread(int tid)
{
	char path[64], text[512], *state;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return '?';
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return '?';
	text[n] = '\0';
	state = strrchr(text, ')');
	return state && state[1] == ' ' ? state[2] : '?';
}

void task_wait_asleep(struct task *t)
{
	uint64_t limit = now_ms() + LIMIT_MS;
	int asleep = 0;

	while (asleep < ASLEEP_TIMES && !t->done) {
		ck_assert_msg(now_ms() < limit, "a thread does not come to rest");
		asleep = t->tid && state_of_thread(t->tid) == 'S' ? asleep + 1 : 0;
		poll(NULL, 0, SAMPLE_MS);
	}
}

/* -- streams ----------------------------------------------------------------------------------- */

/* The finaliser of splitmix64. */
static uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15u;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	x = (x ^ x >> 27) * 0x94d049bb133111ebu;
	return x ^ x >> 31;
}

static uint64_t pattern_word(uint64_t seed, uint64_t index)
{
	return htole64(mix(mix(seed) + index));
}

void pattern_fill(void *buf, size_t len, uint64_t seed, uint64_t offset)
{
	uint8_t *to = buf;

	while (len) {
		uint64_t word = pattern_word(seed, offset / 8);
		size_t skip = offset % 8;
		size_t n = len < 8 - skip ? len : 8 - skip;

		memcpy(to, (uint8_t *)&word + skip, n);
		to += n;
		offset += n;
		len -= n;
	}
}

static bool pattern_holds(const uint8_t *buf, size_t len, uint64_t seed, uint64_t offset)
{
	while (len) {
		uint64_t word = pattern_word(seed, offset / 8);
		size_t skip = offset % 8;
		size_t n = len < 8 - skip ? len : 8 - skip;

		if (memcmp(buf, (uint8_t *)&word + skip, n))
			return false;
		buf += n;
		offset += n;
		len -= n;
	}
	return true;
}

void pattern_check(const void *buf, size_t len, uint64_t seed, uint64_t offset)
{
	const uint8_t *got = buf;
	uint8_t expected;

	if (pattern_holds(got, len, seed, offset))
		return;
	for (size_t i = 0; i < len; i++) {
		pattern_fill(&expected, 1, seed, offset + i);
		ck_assert_msg(got[i] == expected, "byte %llu of stream %llu is %#x, not %#x",
			      (unsigned long long)(offset + i), (unsigned long long)seed, got[i],
			      expected);
	}
}

uint64_t roll(struct dice *d, uint64_t lowest, uint64_t highest)
{
	return lowest + mix(d->state++) % (highest - lowest + 1);
}

static bool is_nonblocking(int fd)
{
	int flags = rsk_fcntl(fd, F_GETFL);

	ck_assert_int_ge(flags, 0);
	return flags & O_NONBLOCK;
}

static ssize_t move_by_send(int fd, void *buf, size_t len)
{
	return rsk_send(fd, buf, len, MSG_NOSIGNAL);
}

static ssize_t move_by_recv(int fd, void *buf, size_t len)
{
	return rsk_recv(fd, buf, len, 0);
}

static size_t next_piece(struct dice *d, const struct stream *s, size_t largest, uint64_t left)
{
	size_t piece = largest ? largest : DEFAULT_PIECE;

	if (s->ragged)
		piece = roll(d, 1, piece);
	return piece < left ? piece : left;
}

void stream_send(int fd, const struct stream *s)
{
	mover move = s->send_by ? s->send_by : move_by_send;
	char *buf = malloc(s->send_piece ? s->send_piece : DEFAULT_PIECE);
	struct dice d = { s->seed };
	bool whole = !is_nonblocking(fd);
	uint64_t sent = 0;

	while (sent < s->bytes) {
		size_t len = next_piece(&d, s, s->send_piece, s->bytes - sent);
		ssize_t n;

		pattern_fill(buf, len, s->seed, sent);
		n = move(fd, buf, len);
		if (n < 0 && errno == EAGAIN && !whole) {
			wait_for(fd, POLLOUT);
			continue;
		}
		ck_assert_msg(n > 0, "sending %zu bytes at %llu of %llu returned %zd (%s)", len,
			      (unsigned long long)sent, (unsigned long long)s->bytes, n,
			      strerror(errno));
		ck_assert_int_le(n, len);
		ck_assert_msg(!whole || (size_t)n == len, "a blocking send took %zd of %zu bytes", n,
			      len);
		sent += n;
	}
	free(buf);
}

void stream_take(int fd, const struct stream *s)
{
	mover move = s->take_by ? s->take_by : move_by_recv;
	char *buf = malloc(s->take_piece ? s->take_piece : DEFAULT_PIECE);
	struct dice d = { ~s->seed };
	bool may_block = !is_nonblocking(fd);
	uint64_t taken = 0;

	while (taken < s->bytes) {
		size_t len = next_piece(&d, s, s->take_piece, s->bytes - taken);
		ssize_t n = move(fd, buf, len);

		if (n < 0 && errno == EAGAIN && !may_block) {
			wait_for(fd, POLLIN);
			continue;
		}
		ck_assert_msg(n > 0, "receiving at %llu of %llu returned %zd (%s)",
			      (unsigned long long)taken, (unsigned long long)s->bytes, n,
			      n < 0 ? strerror(errno) : "end of file");
		ck_assert_int_le(n, len);
		pattern_check(buf, n, s->seed, taken);
		taken += n;
	}
	free(buf);
}

static void run_send(void *arg)
{
	const struct stream_end *end = arg;

	stream_send(end->fd, end->stream);
}

static void run_take(void *arg)
{
	const struct stream_end *end = arg;

	stream_take(end->fd, end->stream);
}

void stream_send_in_thread(struct stream_end *end, int fd, const struct stream *s)
{
	end->fd = fd;
	end->stream = s;
	task_start(&end->task, run_send, end);
}

void stream_take_in_thread(struct stream_end *end, int fd, const struct stream *s)
{
	end->fd = fd;
	end->stream = s;
	task_start(&end->task, run_take, end);
}

void stream_pass(int from, int to, const struct stream *s)
{
	struct stream_end sender;

	stream_send_in_thread(&sender, from, s);
	stream_take(to, s);
	task_join(&sender.task);
}

void stream_both_ways(struct pair p, const struct stream *ab, const struct stream *ba)
{
	struct stream_end send_a, send_b, take_a;

	stream_send_in_thread(&send_a, p.a, ab);
	stream_send_in_thread(&send_b, p.b, ba);
	stream_take_in_thread(&take_a, p.a, ba);
	stream_take(p.b, ab);
	task_join(&send_a.task);
	task_join(&send_b.task);
	task_join(&take_a.task);
}

/* -- blocked calls ----------------------------------------------------------------------------- */

static void run_call(void *arg)
{
	struct call *c = arg;

	c->ret = c->make(c->fd);
	c->error = c->ret < 0 ? errno : 0;
}

void call_blocks(struct call *c, ssize_t (*make)(int fd), int fd)
{
	c->make = make;
	c->fd = fd;
	task_start(&c->task, run_call, c);
	task_wait_asleep(&c->task);
	ck_assert_msg(!c->task.done, "a call that should block returned %zd (%s)", c->ret,
		      strerror(c->error));
}

void call_returns(struct call *c)
{
	task_join(&c->task);
}

ssize_t call_recv(int fd)
{
	char buf[4096];

	return rsk_recv(fd, buf, sizeof(buf), 0);
}

ssize_t call_send_4mib(int fd)
{
	static const char zeros[4 * MIB];

	return rsk_send(fd, zeros, sizeof(zeros), MSG_NOSIGNAL);
}

ssize_t call_accept(int fd)
{
	return rsk_accept(fd, NULL, NULL);
}

ssize_t call_poll_in(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return rsk_poll(&p, 1, -1);
}

/* -- signals ----------------------------------------------------------------------------------- */

static atomic_int signal_count;

static void on_signal(int signal)
{
	(void)signal;
	signal_count++;
}

void count_signal(int signal, int sa_flags)
{
	struct sigaction act = { .sa_handler = on_signal, .sa_flags = sa_flags };

	ck_assert_int_eq(sigaction(signal, &act, NULL), 0);
}

int signals_counted(void)
{
	return signal_count;
}

static bool signals_reached(long goal)
{
	return signal_count >= goal;
}

void call_interrupt(struct call *c, int signal)
{
	long before = signal_count;

	ck_assert_int_eq(pthread_kill(c->task.thread, signal), 0);
	wait_until(signals_reached, before + 1, "signal handler");
}

/* -- peers in a process of their own ----------------------------------------------------------- */

void peer_start(struct peer *p, void (*body)(struct peer *me))
{
	int there[2], back[2];
	pid_t test = getpid();

	ck_assert_int_eq(pipe2(there, O_CLOEXEC), 0);
	ck_assert_int_eq(pipe2(back, O_CLOEXEC), 0);
	p->pid = fork();
	ck_assert_int_ge(p->pid, 0);
	if (p->pid == 0) {
		struct peer me = { .pid = test, .tell = back[1], .hear = there[0] };

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(there[1]);
		close(back[0]);
		body(&me);
		_exit(0);
	}
	close(there[0]);
	close(back[1]);
	p->tell = there[1];
	p->hear = back[0];
}

void peer_say(struct peer *p, const void *what, size_t len)
{
	ck_assert_int_eq(write(p->tell, what, len), len);
}

void peer_listen(struct peer *p, void *what, size_t len)
{
	struct pollfd ready = { .fd = p->hear, .events = POLLIN };

	ck_assert_msg(poll(&ready, 1, LIMIT_MS) == 1, "the other process says nothing");
	ck_assert_msg(read(p->hear, what, len) == (ssize_t)len, "the other process ended early");
}

void peer_signal(struct peer *p)
{
	peer_say(p, "", 1);
}

void peer_await(struct peer *p)
{
	char byte;

	peer_listen(p, &byte, 1);
}

int peer_accept(struct peer *p, const struct option *options)
{
	int listening = listener_with(AF_INET, options, 1);
	struct address here = local_address(listening);
	int fd;

	peer_say(p, &here, sizeof(here));
	fd = accept_from(listening);
	OK(rsk_close(listening));
	return fd;
}

int peer_connect(struct peer *me, const struct option *options)
{
	struct address there;
	int fd;

	peer_listen(me, &there, sizeof(there));
	fd = socket_with(there.any.sa_family, options);
	OK(rsk_connect(fd, &there.any, there.len));
	return fd;
}

void peer_kill(struct peer *p)
{
	ck_assert_int_eq(kill(p->pid, SIGKILL), 0);
	ck_assert_int_eq(waitpid(p->pid, NULL, 0), p->pid);
}

void peer_finish(struct peer *p)
{
	int status = 0;

	ck_assert_int_eq(waitpid(p->pid, &status, 0), p->pid);
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0,
		      "the peer process ended with status %#x", (unsigned int)status);
}

/* -- this process ------------------------------------------------------------------------------ */

static int entries_of(const char *path)
{
	DIR *dir = opendir(path);
	int n = 0;

	ck_assert_ptr_nonnull(dir);
	for (struct dirent *e; (e = readdir(dir));)
		n += e->d_name[0] != '.';
	closedir(dir);
	return n;
}

int open_descriptors(void)
{
	return entries_of("/proc/self/fd") - 1; /* not the one that reads the directory */
}

int running_threads(void)
{
	return entries_of("/proc/self/task");
}

long resident_kib(void)
{
	FILE *f = fopen("/proc/self/statm", "r");
	long size, resident;

	ck_assert_ptr_nonnull(f);
	ck_assert_int_eq(fscanf(f, "%ld %ld", &size, &resident), 2);
	fclose(f);
	return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

void wait_until(bool (*reached)(long goal), long goal, const char *what)
{
	uint64_t limit = now_ms() + LIMIT_MS;

	while (!reached(goal)) {
		ck_assert_msg(now_ms() < limit, "%s: %ld not reached", what, goal);
		poll(NULL, 0, SAMPLE_MS);
	}
}

uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000ull + t.tv_nsec / 1000000;
}

void drop_capability(int capability)
{
	struct __user_cap_header_struct self = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct sets[2];
	int word = capability / 32;
	uint32_t bit = 1u << capability % 32;

	ck_assert_int_eq(syscall(SYS_capget, &self, sets), 0);
	sets[word].effective &= ~bit;
	sets[word].permitted &= ~bit;
	ck_assert_int_eq(syscall(SYS_capset, &self, sets), 0);
}
