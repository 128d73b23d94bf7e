/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * When something goes wrong the caller learns it soon, as the right errno and in words, and nobody
 * else is harmed: peers that refuse, are not there, die or close; and limits of this process.
 */
#include <linux/capability.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "peer.h"
#include "process.h"
#include "rawpeer.h"
#include "stream.h"
#include "task.h"

/* -- refused ----------------------------------------------------------------------------------- */

START_TEST(nobody_listening_refuses_a_blocking_connect)
{
	struct address there = address_deserted();
	int fd = socket_with(AF_INET, NO_OPTIONS);

	FAILS(rsk_connect(fd, &there.any, there.len), ECONNREFUSED);
	check_says(fd, address_text(&there));
	check_says(fd, "ECONNREFUSED");
	OK(rsk_close(fd));
}
END_TEST

START_TEST(nobody_listening_refuses_a_nonblocking_connect)
{
	struct address there = address_deserted();
	int fd = socket_with(AF_INET, NO_OPTIONS), error;

	set_nonblocking(fd, true);
	ck_assert_int_eq(rsk_connect(fd, &there.any, there.len), -1);
	error = errno;
	if (error == EINPROGRESS) {
		ck_assert_int_ne(wait_for(fd, POLLOUT) & POLLERR, 0);
		error = get_option(fd, SOL_SOCKET, SO_ERROR);
	}
	ck_assert_int_eq(error, ECONNREFUSED);
	check_says(fd, address_text(&there));
}
END_TEST

START_TEST(closed_listener_refuses)
{
	int listening = listener(), fd = socket_with(AF_INET, NO_OPTIONS);
	struct address there = local_address(listening);

	pair_close(pair_on(listening));
	OK(rsk_close(listening));
	FAILS(rsk_connect(fd, &there.any, there.len), ECONNREFUSED);
}
END_TEST

START_TEST(peer_that_rejects_refuses)
{
	struct raw r;
	struct address there = raw_listen(&r);
	int fd = connect_begun(&there, NO_OPTIONS);

	raw_take_request(&r);
	raw_reject(&r);
	ck_assert_int_eq(connect_outcome(fd), ECONNREFUSED);
}
END_TEST

START_TEST(peer_that_drops_the_request_refuses)
{
	struct raw r;
	struct address there = raw_listen(&r);
	int fd = connect_begun(&there, NO_OPTIONS);

	raw_take_request(&r);
	raw_drop(&r);
	ck_assert_int_eq(connect_outcome(fd), ECONNREFUSED);
}
END_TEST

START_TEST(refused_socket_transfers_nothing)
{
	struct address there = address_deserted();
	int fd = socket_with(AF_INET, NO_OPTIONS);
	char byte;

	FAILS(rsk_connect(fd, &there.any, there.len), ECONNREFUSED);
	ck_assert_int_eq(rsk_send(fd, "x", 1, MSG_NOSIGNAL), -1);
	ck_assert_int_eq(rsk_recv(fd, &byte, 1, 0), -1);
	ck_assert_int_eq(rsk_connect(fd, &there.any, there.len), -1);
}
END_TEST

/* -- not there --------------------------------------------------------------------------------- */

/* The connect time limit is 30 s; emulated machines are late. */
#define CONNECT_LIMIT_MS 60000

static bool is_one_of(int error, const int *errors)
{
	while (*errors && *errors != error)
		errors++;
	return *errors != 0;
}

struct attempt {
	struct address to;
	const int *errors;
	struct task task;
};

static void fail_to_connect(void *arg)
{
	const struct attempt *a = arg;
	int fd = socket_with(a->to.any.sa_family, NO_OPTIONS), error;
	uint64_t start = now_ms();

	ck_assert_int_eq(rsk_connect(fd, &a->to.any, a->to.len), -1);
	error = errno;
	ck_assert_msg(is_one_of(error, a->errors), "connect to %s: %s", address_text(&a->to),
		      strerror(error));
	ck_assert_uint_lt(now_ms() - start, CONNECT_LIMIT_MS);
	check_says(fd, address_text(&a->to));
}

START_TEST(no_device_leads_to_the_loopback_address)
{
	const int errors[] = { ENODEV, EADDRNOTAVAIL, EHOSTUNREACH, ENETUNREACH, 0 };
	struct attempt a = { .to = address_of_text("127.0.0.1", 7471), .errors = errors };

	fail_to_connect(&a);
}
END_TEST

START_TEST(no_route_leads_to_a_documentation_address)
{
	const int errors[] = { ENETUNREACH, EHOSTUNREACH, ENODEV, ETIMEDOUT, 0 };
	struct attempt a = { .to = address_of_text("192.0.2.1", 7471), .errors = errors };

	fail_to_connect(&a);
}
END_TEST

/* On the device's own network; RSK_TEST_DEAD_ADDR names another one if somebody has it. */
static struct address address_nobody_has(void)
{
	const char *dead = getenv("RSK_TEST_DEAD_ADDR");
	struct address there;

	if (dead)
		return address_of_text(dead, 7471);
	there = address_of_device(AF_INET, 7471);
	((uint8_t *)&there.v4.sin_addr)[3] = 99;
	return there;
}

START_TEST(silence_times_out)
{
	const int timed_out[] = { ETIMEDOUT, 0 };
	const int not_found[] = { ETIMEDOUT, EHOSTUNREACH, ENETUNREACH, 0 };
	struct attempt listener_that_never_answers = { .errors = timed_out };
	struct attempt neighbour_that_is_not_there = { .errors = not_found };
	struct raw r;

	if (device_is_iwarp()) {
		skip("siw holds up whoever connects until the kernel's TCP gives up, after 127 s");
		return;
	}
	/* Both at once: each takes the whole time limit. */
	listener_that_never_answers.to = raw_listen(&r);
	neighbour_that_is_not_there.to = address_nobody_has();
	task_start(&listener_that_never_answers.task, fail_to_connect,
		   &listener_that_never_answers);
	fail_to_connect(&neighbour_that_is_not_there);
	task_join(&listener_that_never_answers.task);
}
END_TEST

/* -- died -------------------------------------------------------------------------------------- */

static void connect_and_idle(struct peer *me)
{
	peer_connect(me, NO_OPTIONS);
	peer_signal(me);
	pause();
}

static int idle_peer(struct peer *p)
{
	int fd;

	peer_start(p, connect_and_idle);
	fd = peer_accept(p, OPTIONS({ SOL_SOCKET, SO_SNDBUF, 8192 }));
	peer_await(p);
	return fd;
}

START_TEST(blocked_receive_learns_that_the_peer_died)
{
	struct call receiving;
	struct peer p;
	int fd = idle_peer(&p);

	call_blocks(&receiving, call_recv, fd);
	peer_kill(&p);
	call_returns(&receiving);
	ck_assert_int_eq(receiving.ret, -1);
	ck_assert_int_eq(receiving.error, ECONNRESET);
}
END_TEST

/* More than any default buffers take in. */
static ssize_t send_for_long(int fd)
{
	ssize_t n;

	while ((n = call_send_4mib(fd)) == 4 * MIB)
		;
	return n < 0 ? n : call_send_4mib(fd);
}

START_TEST(blocked_send_learns_that_the_peer_died)
{
	struct call sending;
	struct peer p;
	int fd = idle_peer(&p);

	call_blocks(&sending, send_for_long, fd);
	peer_kill(&p);
	call_returns(&sending);
	ck_assert_int_eq(sending.ret, -1);
	ck_assert_int_eq(sending.error, ECONNRESET);
}
END_TEST

START_TEST(sleeping_poll_learns_that_the_peer_died)
{
	struct call polling;
	struct peer p;
	int fd = idle_peer(&p);

	call_blocks(&polling, call_poll_in, fd);
	peer_kill(&p);
	call_returns(&polling);
	ck_assert_int_eq(polling.ret, 1);
	ck_assert_int_eq(ready_now(fd, POLLIN), POLLIN | POLLERR | POLLHUP);
	ck_assert_int_eq(get_option(fd, SOL_SOCKET, SO_ERROR), ECONNRESET);
	ck_assert_int_eq(get_option(fd, SOL_SOCKET, SO_ERROR), 0);
}
END_TEST

START_TEST(dead_peer_makes_the_descriptor_readable_in_the_kernel)
{
	struct peer p;
	int fd = idle_peer(&p);
	char byte;

	set_nonblocking(fd, true);
	FAILS(rsk_recv(fd, &byte, 1, 0), EAGAIN);
	peer_kill(&p);
	while (rsk_recv(fd, &byte, 1, 0) < 0 && errno == EAGAIN)
		wait_readable_in_kernel(fd);
	FAILS(rsk_recv(fd, &byte, 1, 0), ECONNRESET);
}
END_TEST

START_TEST(death_is_never_an_end_of_file)
{
	struct peer p;
	int fd = idle_peer(&p);
	char byte;

	peer_kill(&p);
	for (int i = 0; i < 3; i++)
		FAILS(rsk_recv(fd, &byte, 1, 0), ECONNRESET);
	ck_assert_int_eq(rsk_send(fd, "x", 1, MSG_NOSIGNAL), -1);
	check_says(fd, "ECONNRESET");
	OK(rsk_close(fd));
}
END_TEST

static const struct stream testament = { .seed = 1, .bytes = 50000 };

static void speak_and_idle(struct peer *me)
{
	stream_send(peer_connect(me, NO_OPTIONS), &testament);
	peer_signal(me);
	pause();
}

static int heir;

static bool arrived_at_heir(long bytes)
{
	char *seen = malloc(bytes);
	ssize_t n = rsk_recv(heir, seen, bytes, MSG_PEEK | MSG_DONTWAIT);

	free(seen);
	return n == bytes;
}

START_TEST(what_had_arrived_is_read_before_the_death)
{
	struct peer p;
	char byte;

	peer_start(&p, speak_and_idle);
	heir = peer_accept(&p, OPTIONS({ SOL_SOCKET, SO_RCVBUF, 2 * (int)testament.bytes }));
	peer_await(&p);
	wait_until(arrived_at_heir, testament.bytes, "arrived bytes");
	peer_kill(&p);
	wait_for(heir, 0);
	stream_take(heir, &testament);
	FAILS(rsk_recv(heir, &byte, 1, 0), ECONNRESET);
}
END_TEST

START_TEST(death_of_one_peer_leaves_the_others_alone)
{
	struct peer one, other;
	int fd_one, fd_other;
	struct pair local;
	char byte;

	peer_start(&one, connect_and_idle);
	peer_start(&other, connect_and_idle);
	fd_one = peer_accept(&one, NO_OPTIONS);
	fd_other = peer_accept(&other, NO_OPTIONS);
	peer_await(&one);
	peer_await(&other);
	local = pair_connected();
	peer_kill(&one);
	FAILS(rsk_recv(fd_one, &byte, 1, 0), ECONNRESET);
	check_connected(local.a, local.b);
	ck_assert_int_eq(ready_now(fd_other, POLLIN), 0);
	ck_assert_int_eq(rsk_send(fd_other, "x", 1, 0), 1);
}
END_TEST

static void exit_without_close(struct peer *me)
{
	peer_connect(me, NO_OPTIONS);
	peer_signal(me);
	peer_await(me);
	_exit(0);
}

START_TEST(peer_that_exits_without_closing_is_a_reset)
{
	struct peer p;
	char byte;
	int fd;

	peer_start(&p, exit_without_close);
	fd = peer_accept(&p, NO_OPTIONS);
	peer_await(&p);
	peer_signal(&p);
	FAILS(rsk_recv(fd, &byte, 1, 0), ECONNRESET);
	peer_finish(&p);
}
END_TEST

/* -- closed ------------------------------------------------------------------------------------ */

START_TEST(sending_to_a_closed_peer_is_a_broken_pipe)
{
	struct pair p = pair_connected();

	OK(rsk_close(p.a));
	check_end_of_file(p.b);
	wait_for(p.b, POLLIN);
	FAILS(rsk_send(p.b, "x", 1, MSG_NOSIGNAL), EPIPE);
	count_signal(SIGPIPE, 0);
	FAILS(rsk_send(p.b, "x", 1, 0), EPIPE);
	ck_assert_int_eq(signals_counted(), 1);
}
END_TEST

START_TEST(broken_pipe_raises_sigpipe_unless_told_not_to)
{
	struct pair p = pair_connected();
	int before;

	count_signal(SIGPIPE, 0);
	OK(rsk_shutdown(p.a, SHUT_WR));
	FAILS(rsk_send(p.a, "x", 1, MSG_NOSIGNAL), EPIPE);
	ck_assert_int_eq(signals_counted(), 0);
	FAILS(rsk_send(p.a, "x", 1, 0), EPIPE);
	ck_assert_int_eq(signals_counted(), 1);
	before = signals_counted();
	FAILS(rsk_write(p.a, "x", 1), EPIPE);
	ck_assert_int_eq(signals_counted(), before + 1);
}
END_TEST

START_TEST(blocked_send_learns_that_the_peer_closed)
{
	struct pair p = pair_narrow();
	struct call sending;

	call_blocks(&sending, send_for_long, p.a);
	OK(rsk_close(p.b));
	call_returns(&sending);
	ck_assert_int_eq(sending.ret, -1);
	ck_assert_int_eq(sending.error, EPIPE);
}
END_TEST

/* -- limits of this process -------------------------------------------------------------------- */

#define LITTLE_MEMORY (16 * KIB)

static void limit_memory(void)
{
	struct rlimit little = { LITTLE_MEMORY, LITTLE_MEMORY };

	drop_capability(CAP_IPC_LOCK);
	ck_assert_int_eq(setrlimit(RLIMIT_MEMLOCK, &little), 0);
}

static void connect_with_little_memory(struct peer *me)
{
	struct address there;
	int fd;

	limit_memory();
	peer_listen(me, &there, sizeof(there));
	fd = socket_with(AF_INET, NO_OPTIONS);
	FAILS(rsk_connect(fd, &there.any, there.len), ENOMEM);
	check_says(fd, "ulimit -l");
	OK(rsk_close(fd));
}

START_TEST(connect_short_of_lockable_memory_says_so)
{
	struct address here;
	struct peer p;
	int listening;

	peer_start(&p, connect_with_little_memory);
	listening = listener();
	here = local_address(listening);
	peer_say(&p, &here, sizeof(here));
	peer_finish(&p);
	pair_close(pair_on(listening));
}
END_TEST

static void accept_with_little_memory(struct peer *me)
{
	struct address here;
	int listening;

	limit_memory();
	listening = listener();
	here = local_address(listening);
	peer_say(me, &here, sizeof(here));
	peer_await(me);
	set_nonblocking(listening, true);
	FAILS(rsk_accept(listening, NULL, NULL), EAGAIN);
}

START_TEST(listener_short_of_lockable_memory_refuses)
{
	struct address there;
	struct peer p;
	int fd;

	peer_start(&p, accept_with_little_memory);
	peer_listen(&p, &there, sizeof(there));
	for (int i = 0; i < 2; i++) {
		fd = socket_with(AF_INET, NO_OPTIONS);
		FAILS(rsk_connect(fd, &there.any, there.len), ECONNREFUSED);
	}
	peer_signal(&p);
	peer_finish(&p);
}
END_TEST

START_TEST(socket_without_descriptors_fails_and_works_later)
{
	use_up_descriptors();
	FAILS(rsk_socket(AF_INET, SOCK_STREAM, 0), EMFILE);
	give_descriptors_back();
	pair_close(pair_connected());

	use_up_descriptors();
	FAILS(rsk_socket(AF_INET, SOCK_STREAM, 0), EMFILE);
	give_descriptors_back();
	pair_close(pair_connected());
}
END_TEST

START_TEST(accept_without_descriptors_leaves_the_connection_in_the_queue)
{
	int listening = listener(), fd;
	struct address there = local_address(listening);

	fd = connected_to(&there);
	wait_for(listening, POLLIN);
	use_up_descriptors();
	FAILS(rsk_accept(listening, NULL, NULL), EMFILE);
	FAILS(rsk_accept(listening, NULL, NULL), EMFILE);
	ck_assert_int_eq(ready_now(listening, POLLIN), POLLIN);
	give_descriptors_back();
	check_connected(fd, accept_from(listening));
}
END_TEST

static int to_shut_down = -1;

/* Instead of libc's: the library makes a socket's descriptor with it. */
int epoll_create1(int flags)
{
	int listening = to_shut_down;

	if (listening < 0)
		return (int)syscall(SYS_epoll_create1, flags);
	to_shut_down = -1;
	OK(rsk_shutdown(listening, SHUT_RDWR));
	errno = EMFILE;
	return -1;
}

/* It is in nobody's queue at that moment. */
START_TEST(connection_that_no_descriptor_is_left_for_is_not_forgotten_by_a_shutdown)
{
	int listening = listener(), fd;
	struct address there = local_address(listening);
	char byte;

	fd = connected_to(&there);
	wait_for(listening, POLLIN);
	to_shut_down = listening;
	FAILS(rsk_accept(listening, NULL, NULL), EMFILE);
	ck_assert_int_lt(to_shut_down, 0);
	wait_for(fd, POLLIN);
	FAILS(rsk_recv(fd, &byte, 1, 0), ECONNRESET);
}
END_TEST

/* In the log from now on, until it says @what. */
static void await_log(int log_fd, const char *what)
{
	uint64_t limit = now_ms() + LIMIT_MS;
	char text[1024];
	ssize_t n;

	do {
		n = pread(log_fd, text, sizeof(text) - 1, 0);
		ck_assert_int_ge(n, 0);
		text[n] = '\0';
		ck_assert_msg(now_ms() < limit, "'%s' is not logged", what);
		usleep(1000);
	} while (!strstr(text, what));
}

static void listen_without_descriptors(struct peer *me)
{
	int listening = listener(), log_fd = memfd_create("log", 0);
	struct address here = local_address(listening);

	ck_assert_int_eq(dup2(log_fd, STDERR_FILENO), STDERR_FILENO);
	peer_say(me, &here, sizeof(here));
	accept_from(listening);
	use_up_descriptors();
	peer_signal(me);
	await_log(log_fd, "no descriptor is left");
	ck_assert_int_eq(ready_now(listening, POLLIN), 0);
	give_descriptors_back();
	ck_assert_int_eq(rsk_send(accept_from(listening), "x", 1, 0), 1);
	peer_await(me);
}

/* As with TCP, where a connection costs a descriptor only when it is accepted. */
START_TEST(client_waits_for_a_server_without_descriptors)
{
	struct address there;
	struct peer p;
	char got;

	peer_start(&p, listen_without_descriptors);
	peer_listen(&p, &there, sizeof(there));
	connected_to(&there);
	peer_await(&p);
	ck_assert_int_eq(rsk_recv(connected_to(&there), &got, 1, 0), 1);
	peer_signal(&p);
	peer_finish(&p);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("failure");
	TCase *tc;

	tc = group(s, "refused", 150);
	tcase_add_test(tc, nobody_listening_refuses_a_blocking_connect);
	tcase_add_test(tc, nobody_listening_refuses_a_nonblocking_connect);
	tcase_add_test(tc, closed_listener_refuses);
	tcase_add_test(tc, peer_that_rejects_refuses);
	tcase_add_test(tc, peer_that_drops_the_request_refuses);
	tcase_add_test(tc, refused_socket_transfers_nothing);

	tc = group(s, "not there", 150);
	tcase_add_test(tc, no_device_leads_to_the_loopback_address);
	tcase_add_test(tc, no_route_leads_to_a_documentation_address);
	tcase_add_test(tc, silence_times_out);

	tc = group(s, "died", 150);
	tcase_add_test(tc, blocked_receive_learns_that_the_peer_died);
	tcase_add_test(tc, blocked_send_learns_that_the_peer_died);
	tcase_add_test(tc, sleeping_poll_learns_that_the_peer_died);
	tcase_add_test(tc, dead_peer_makes_the_descriptor_readable_in_the_kernel);
	tcase_add_test(tc, death_is_never_an_end_of_file);
	tcase_add_test(tc, what_had_arrived_is_read_before_the_death);
	tcase_add_test(tc, death_of_one_peer_leaves_the_others_alone);
	tcase_add_test(tc, peer_that_exits_without_closing_is_a_reset);

	tc = group(s, "closed", 150);
	tcase_add_test(tc, sending_to_a_closed_peer_is_a_broken_pipe);
	tcase_add_test(tc, broken_pipe_raises_sigpipe_unless_told_not_to);
	tcase_add_test(tc, blocked_send_learns_that_the_peer_closed);

	tc = group(s, "limits of this process", 150);
	tcase_add_test(tc, connect_short_of_lockable_memory_says_so);
	tcase_add_test(tc, listener_short_of_lockable_memory_refuses);
	tcase_add_test(tc, socket_without_descriptors_fails_and_works_later);
	tcase_add_test(tc, accept_without_descriptors_leaves_the_connection_in_the_queue);
	tcase_add_test(tc, connection_that_no_descriptor_is_left_for_is_not_forgotten_by_a_shutdown);
	tcase_add_test(tc, client_waits_for_a_server_without_descriptors);
	return run_suite(s);
}
