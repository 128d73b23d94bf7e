/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Faults of the device, one at a time, which only software verbs can be made to have (softverbs(7)): whatever
 * fails, a call ends with an errno of its manual, nothing hangs, nothing leaks, and other connections go on.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "faults.h"
#include "peer.h"
#include "process.h"
#include "sockets.h"
#include "stream.h"
#include "task.h"

/* -- what fails at once ------------------------------------------------------------------------ */

static const char *const objects[] = {
	"create-id", "create-channel", "create-cq", "create-qp", "reg-mr",
	"post-recv",
};

enum { TIMES = 8, MAPPED = 24 << 10 };

/* Connects in this thread and accepts in it; either may fail. */
static void try_connection(int listening)
{
	struct address there = local_address(listening);
	int fd = rsk_socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), accepted;
	struct pollfd both[2] = { { .fd = fd, .events = POLLOUT }, { .fd = listening, .events = POLLIN } };

	if (fd < 0) {
		ck_assert_int_eq(errno, ENOMEM);
		return;
	}
	if (rsk_connect(fd, &there.any, there.len) && errno != EINPROGRESS) {
		ck_assert_int_eq(errno, ENOMEM);
		OK(rsk_close(fd));
		return;
	}
	ck_assert_int_gt(rsk_poll(both, 1, LIMIT_MS), 0);
	set_nonblocking(listening, true);
	accepted = rsk_accept(listening, NULL, NULL);
	if (accepted < 0)
		ck_assert_msg(errno == EAGAIN || errno == ENOMEM, "accept: %s", strerror(errno));
	else
		OK(rsk_close(accepted));
	OK(rsk_close(fd));
}

static bool descriptors_at_most(long goal)
{
	return open_descriptors() <= goal;
}

START_TEST(failed_object_fails_its_connection_alone)
{
	int listening = listener(), before;
	struct pair bystander = pair_on(listening);
	char script[80];

	try_connection(listening);
	wait_until(descriptors_at_most, open_descriptors(), "descriptors");
	before = open_descriptors();
	snprintf(script, sizeof(script), "%s %d fail ENOMEM", objects[_i / TIMES], 1 + _i % TIMES);
	faults(script);
	for (int i = 0; i < 3; i++)
		try_connection(listening);
	faults(NULL);
	check_connected(bystander.a, bystander.b);
	set_nonblocking(listening, false);
	pair_close(pair_on(listening));
	wait_until(descriptors_at_most, before + 2, "descriptors");
	pair_close(bystander);
}
END_TEST

/* -- what comes late --------------------------------------------------------------------------- */

static bool has_byte(long fd)
{
	int bytes = 0;

	OK(rsk_ioctl((int)fd, FIONREAD, &bytes));
	return bytes;
}

static void take_byte(int fd)
{
	char byte;

	wait_until(has_byte, fd, "a byte");
	ck_assert_int_eq(rsk_recv(fd, &byte, 1, 0), 1);
}

/* Nothing is there to be read: the CQ is armed, and the descriptor not readable any more. */
static void come_to_rest(int fd, int timeout_ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	ck_assert_int_eq(rsk_poll(&p, 1, timeout_ms), 0);
}

/* Two completions, and one event, which is all that there is to wait for. */
START_TEST(completions_that_share_an_event_leave_none_to_wait_for)
{
	struct pair p = pair_connected();
	struct call reading;
	char byte;

	faults("event every 1 delay 300");
	for (int i = 0; i < 2; i++) {
		come_to_rest(p.b, 1);
		ck_assert_int_eq(rsk_send(p.a, "x", 1, 0), 1);
		take_byte(p.b);
	}
	come_to_rest(p.b, 1000);
	faults(NULL);
	ck_assert_int_eq(rsk_send(p.a, "x", 1, 0), 1);
	take_byte(p.b);
	call_blocks(&reading, call_recv, p.b);
	faults("event every 1 delay 300");
	ck_assert_int_eq(rsk_send(p.a, "x", 1, 0), 1);
	/* Seen by another thread first. */
	wait_until(has_byte, p.b, "a byte");
	call_returns(&reading);
	faults(NULL);
	FAILS(rsk_recv(p.b, &byte, 1, MSG_DONTWAIT), EAGAIN);
	ck_assert_int_eq(rsk_send(p.a, "x", 1, 0), 1);
	wait_readable_in_kernel(p.b);
	take_byte(p.b);
	pair_close(p);
}
END_TEST

static ssize_t call_iowrite(int fd)
{
	static const char zeros[MAPPED];

	return (ssize_t)rsk_iowrite(fd, zeros, sizeof(zeros), 0, 0);
}

START_TEST(direct_write_tells_whom_it_kept_from_sending)
{
	struct pair p = pair_with(AF_INET, OPTIONS({ SOL_SOCKET, SO_SNDBUF, 8192 }, { SOL_RDMA, RDMA_IOMAPSIZE, 1 }),
				  NO_OPTIONS);
	static char memory[MAPPED];
	struct call writing;

	ck_assert_int_eq(rsk_iomap(p.b, memory, sizeof(memory), PROT_WRITE, 0, 0), 0);
	ck_assert_int_eq(rsk_send(p.b, "x", 1, 0), 1);
	take_byte(p.a);
	faults("completion every 1 delay 300");
	call_begins(&writing, call_iowrite, p.a);
	task_wait_asleep(&writing.task);
	if (rsk_send(p.a, "x", 1, MSG_DONTWAIT) < 0) {
		ck_assert_int_eq(errno, EAGAIN);
		come_to_rest(p.a, 1);
		call_returns(&writing);
		wait_readable_in_kernel(p.a);
	} else {
		call_returns(&writing);
	}
	ck_assert_int_eq(writing.ret, MAPPED);
	faults(NULL);
	pair_close(p);
}
END_TEST

/* -- what fails on the way --------------------------------------------------------------------- */

struct trouble {
	const char *script;
	bool survives;               /* the connection goes on as if nothing had been */
};

static const struct trouble troubles[] = {
	{ "post-send 1 fail ENOMEM", false }, { "post-send 5 fail EIO", false },
	{ "post-send above 1000 fail EINVAL", false }, { "post-recv 1 fail ENOMEM", false },
	{ "completion 1 status retry-exc", false }, { "completion 3 status rem-access", false },
	{ "completion 6 status loc-prot", false }, { "completion 10 status general", false },
	{ "completion every 3 delay 5", true }, { "event every 2 delay 5", true },
	{ "event 1 delay 20", true }, { "seed 7; completion 20% delay 1", true },
	{ "post-send 4 partition 50", true }, { "post-send 4 partition 0", false },
	{ "post-send 3 link-down 30", true },
};

enum { MESSAGE = 3000, MESSAGES = 40 };

static void send_all(void *arg)
{
	static const char message[MESSAGE];
	int fd = *(const int *)arg;

	for (int i = 0; i < MESSAGES; i++) {
		if (rsk_send(fd, message, sizeof(message), MSG_NOSIGNAL) < 0)
			return;
	}
}

/* Returns the bytes that came, and the errno that ended them. */
static size_t receive_all(int fd, int *error)
{
	char room[MESSAGE];
	size_t bytes = 0;
	ssize_t n;

	while (bytes < (size_t)MESSAGE * MESSAGES && (n = rsk_recv(fd, room, sizeof(room), 0)) > 0)
		bytes += (size_t)n;
	*error = bytes < (size_t)MESSAGE * MESSAGES ? errno : 0;
	return bytes;
}

START_TEST(trouble_ends_with_an_error_or_not_at_all)
{
	static const int endings[] = { ECONNRESET, ETIMEDOUT, EIO, EPIPE, ENOMEM, EINVAL, EPROTO };
	const struct trouble *trouble = &troubles[_i];
	int listening = listener(), error;
	struct pair bystander = pair_on(listening), p = pair_on(listening);
	struct task sender;
	bool known = false;

	faults(trouble->script);
	task_start(&sender, send_all, &p.a);
	receive_all(p.b, &error);
	task_join(&sender);
	faults(NULL);
	for (size_t i = 0; i < COUNT(endings); i++)
		known = known || error == endings[i];
	if (trouble->survives)
		ck_assert_msg(!error, "%s: %s", trouble->script, strerror(error));
	else
		ck_assert_msg(known, "%s: %s", trouble->script, strerror(error));
	pair_close(p);
	check_connected(bystander.a, bystander.b);
	pair_close(bystander);
}
END_TEST

/* The QP may have gone to the error state behind what arrived. */
START_TEST(what_had_arrived_is_read_before_a_failure)
{
	struct pair p = pair_connected();
	char room[8];

	check_connected(p.a, p.b);
	FAILS(rsk_recv(p.a, room, sizeof(room), MSG_DONTWAIT), EAGAIN);
	ck_assert_int_eq(rsk_send(p.b, "data", 4, 0), 4);
	wait_readable_in_kernel(p.a);
	faults("post-send 1 fail EIO");
	FAILS(rsk_send(p.a, "x", 1, MSG_NOSIGNAL), EIO);
	faults(NULL);
	ck_assert_int_eq(rsk_recv(p.a, room, sizeof(room), 0), 4);
	ck_assert_mem_eq(room, "data", 4);
	pair_close(p);
}
END_TEST

START_TEST(missing_receives_are_waited_for)
{
	struct pair p = pair_connected();
	struct task sender;
	int error;

	faults("receive 3 rnr; receive 11 rnr");
	task_start(&sender, send_all, &p.a);
	ck_assert_uint_eq(receive_all(p.b, &error), MESSAGE * MESSAGES);
	task_join(&sender);
	pair_close(p);
}
END_TEST

START_TEST(refused_connection_says_so)
{
	struct address there = local_address(listener());
	int fd = socket_with(AF_INET, NO_OPTIONS);

	faults("connect 1 reject 8");
	FAILS(rsk_connect(fd, &there.any, there.len), ECONNREFUSED);
	OK(rsk_close(fd));
}
END_TEST

START_TEST(lost_request_times_out)
{
	struct address there;
	int fd;

	setenv("RSK_CONNECT_TIMEOUT", "2", 1);
	there = local_address(listener());
	fd = socket_with(AF_INET, NO_OPTIONS);
	faults("connect 1 ignore");
	FAILS(rsk_connect(fd, &there.any, there.len), ETIMEDOUT);
	OK(rsk_close(fd));
}
END_TEST

static atomic_uint refusals;

/* Instead of libc's: the device takes links with it. */
int accept4(int fd, struct sockaddr *addr, socklen_t *addrlen, int flags)
{
	int ret = (int)syscall(SYS_accept4, fd, addr, addrlen, flags);

	if (ret < 0 && errno == EMFILE)
		refusals++;
	return ret;
}

static bool refused(long times)
{
	return refusals >= times;
}

static void connect_and_receive(struct peer *me)
{
	char byte;

	ck_assert_int_eq(rsk_recv(peer_connect(me, NO_OPTIONS), &byte, 1, 0), 1);
}

/* A link from another process cannot be taken: it is tried again, but not all the time. */
START_TEST(device_rests_while_it_has_no_descriptors)
{
	int listening, fd;
	struct address here;
	struct peer p;
	uint64_t start;
	unsigned before;

	peer_start(&p, connect_and_receive);
	listening = listener();
	here = local_address(listening);
	use_up_descriptors();
	peer_say(&p, &here, sizeof(here));
	wait_until(refused, 1, "links that cannot be taken");
	start = now_ms();
	before = refusals;
	wait_until(refused, before + 2, "further attempts");
	poll(NULL, 0, QUIET_MS);
	ck_assert_uint_le(refusals - before, 1 + (now_ms() - start) / 10);
	give_descriptors_back();
	fd = accept_from(listening);
	ck_assert_int_eq(rsk_send(fd, "x", 1, 0), 1);
	peer_finish(&p);
}
END_TEST

static void connect_in_vain(struct peer *me)
{
	struct address there;

	peer_listen(me, &there, sizeof(there));
	ck_assert_int_eq(rsk_connect(socket_with(AF_INET, NO_OPTIONS), &there.any, there.len), -1);
}

START_TEST(listener_may_go_while_the_device_rests)
{
	struct address here;
	struct peer p;
	int listening;

	peer_start(&p, connect_in_vain);
	listening = listener();
	here = local_address(listening);
	use_up_descriptors();
	peer_say(&p, &here, sizeof(here));
	wait_until(refused, 1, "links that cannot be taken");
	OK(rsk_close(listening));
	give_descriptors_back();
	pair_close(pair_connected());
	poll(NULL, 0, 2 * QUIET_MS); /* until it would have rested */
	pair_close(pair_connected());
	peer_finish(&p);
}
END_TEST

START_TEST(script_with_an_error_is_refused)
{
	static const char *const wrong[] = {
		"nowhere 1 fail EIO", "post-send fail EIO", "post-send 0 fail EIO", "post-send 1",
		"post-send 1 fail", "post-send 1 fail EVERYTHING", "post-send 1 explode",
		"completion 1 fail EIO", "completion 1 status good", "event every 0 delay 1",
		"completion 101% delay 1", "connect 1 reject", "receive 1 rnr now",
	};

	for (size_t i = 0; i < COUNT(wrong); i++) {
		ck_assert_msg(!set_faults(wrong[i]), "taken: %s", wrong[i]);
		ck_assert_int_eq(errno, EINVAL);
	}
	faults("# nothing\n\n  \t\nseed 5; post-send 1 every 2 fail EIO # odd ones");
}
END_TEST

int main(void)
{
	Suite *s;
	TCase *tc;

	if (!can_fail())
		return 77;
	s = suite_create("fault");
	tc = group(s, "at once", 120);
	tcase_add_loop_test(tc, failed_object_fails_its_connection_alone, 0, COUNT(objects) * TIMES);
	tc = group(s, "late", 120);
	tcase_add_test(tc, completions_that_share_an_event_leave_none_to_wait_for);
	tcase_add_test(tc, direct_write_tells_whom_it_kept_from_sending);
	tc = group(s, "on the way", 120);
	tcase_add_loop_test(tc, trouble_ends_with_an_error_or_not_at_all, 0, COUNT(troubles));
	tcase_add_test(tc, what_had_arrived_is_read_before_a_failure);
	tcase_add_test(tc, missing_receives_are_waited_for);
	tcase_add_test(tc, refused_connection_says_so);
	tcase_add_test(tc, lost_request_times_out);
	tcase_add_test(tc, device_rests_while_it_has_no_descriptors);
	tcase_add_test(tc, listener_may_go_while_the_device_rests);
	tcase_add_test(tc, script_with_an_error_is_refused);
	return run_suite(s);
}
