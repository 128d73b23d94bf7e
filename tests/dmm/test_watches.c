/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What arrives at an unlucky moment: while nStack registers a descriptor, or asks about it. librsk is played by the
 * test, which has the engine thread's calls come just then.
 */
#include <string.h>

#include "../../adapter/dmm/abi.h"
#include "../../adapter/dmm/events.h"
#include "../../adapter/dmm/librsk.h"
#include "../unit/unit.h"

struct dmm_rsk rsk;

/* The socket, and what librsk knows of it. */
static struct {
	uint32_t ready, events;
	rsk_watch_fn *fn;
	void *arg;
	/* What happens during the next look, before and after it, once. */
	void (*before)(void), (*after)(void);
} sock;

static int told_times;
static uint32_t told_events;
static int number;

static int event_cb(void *pdata, int events)
{
	ck_assert_ptr_eq(pdata, &number);
	told_times++;
	told_events = (uint32_t)events;
	return 0;
}

static void happen(void (**what)(void))
{
	void (*now)(void) = *what;

	*what = NULL;
	if (now)
		now();
}

static uint32_t look(uint32_t events)
{
	uint32_t ready;

	happen(&sock.before);
	ready = sock.ready & (events | EPOLLERR | EPOLLHUP);
	happen(&sock.after);
	return ready;
}

static int play_watch(int fd, uint32_t events, rsk_watch_fn *fn, void *arg)
{
	(void)fd;
	happen(&sock.before);
	sock.events = events;
	sock.fn = fn;
	sock.arg = arg;
	return (int)look(events);
}

static int play_poll(struct pollfd *fds, nfds_t count, int timeout)
{
	ck_assert_int_eq(timeout, 0);
	ck_assert_uint_eq(count, 1);
	fds->revents = (short)look((uint16_t)fds->events);
	return fds->revents != 0;
}

/* The engine tells what is new. */
static void arrive(uint32_t events)
{
	sock.ready |= events;
	if (sock.fn && events & sock.events)
		sock.fn(7, events & sock.events, sock.arg);
}

static void data_arrives(void)
{
	arrive(EPOLLIN);
}

static void room_arrives(void)
{
	arrive(EPOLLOUT);
}

static void open_socket(void)
{
	memset(&sock, 0, sizeof(sock));
	told_times = 0;
	rsk.watch = play_watch;
	rsk.poll = play_poll;
	dmm_events_init(event_cb);
	dmm_fds_init();
	number = dmm_fd_reserve();
	dmm_fd_open(number, 7);
}

static uint32_t control(int op, uint32_t events)
{
	struct epoll_event event = { .events = events };

	return dmm_ep_ctl(-1, number, op, &event, &number);
}

static uint32_t asked(uint32_t events)
{
	return dmm_ep_getevt(-1, number, events);
}

static const uint32_t modes[] = { 0, EPOLLET, EPOLLONESHOT, EPOLLONESHOT | EPOLLET };

/* nStack forgets what it was told during ep_ctl(), for what that returns. */
START_TEST(what_is_told_during_a_registration_is_returned_by_it)
{
	uint32_t events = EPOLLIN | modes[_i];

	open_socket();
	sock.after = data_arrives;
	ck_assert_uint_eq(control(DMM_EP_ADD, events), EPOLLIN);
	sock.ready = 0;
	ck_assert_uint_eq(control(DMM_EP_MOD, events), 0);
	sock.after = data_arrives;
	ck_assert_uint_eq(control(DMM_EP_MOD, events), EPOLLIN);
}
END_TEST

START_TEST(one_shot_is_not_spent_by_what_it_no_longer_waits_for)
{
	open_socket();
	ck_assert_uint_eq(control(DMM_EP_ADD, EPOLLIN | EPOLLONESHOT), 0);
	sock.before = data_arrives;
	ck_assert_uint_eq(control(DMM_EP_MOD, EPOLLOUT | EPOLLONESHOT), 0);
	told_times = 0;
	room_arrives();
	ck_assert_int_eq(told_times, 1);
	ck_assert_uint_eq(told_events, EPOLLOUT);
}
END_TEST

START_TEST(one_shot_that_is_delivered_is_not_told_too)
{
	open_socket();
	ck_assert_uint_eq(control(DMM_EP_ADD, EPOLLIN | EPOLLONESHOT), 0);
	sock.before = data_arrives;
	ck_assert_uint_eq(asked(EPOLLIN | EPOLLONESHOT), EPOLLIN);
	data_arrives();
	ck_assert_int_eq(told_times, 0);
	ck_assert_uint_eq(asked(EPOLLIN | EPOLLONESHOT), 0);
}
END_TEST

START_TEST(what_comes_just_after_a_look_in_vain_is_delivered)
{
	open_socket();
	ck_assert_uint_eq(control(DMM_EP_ADD, EPOLLIN | modes[_i]), 0);
	sock.after = data_arrives;
	ck_assert_uint_eq(asked(EPOLLIN | modes[_i]) + (told_times ? EPOLLIN : 0), EPOLLIN);
}
END_TEST

START_TEST(one_shot_in_vain_stays_armed)
{
	open_socket();
	ck_assert_uint_eq(control(DMM_EP_ADD, EPOLLIN | EPOLLONESHOT), 0);
	for (int i = 0; i < 3; i++)
		ck_assert_uint_eq(asked(EPOLLIN | EPOLLONESHOT), 0);
	data_arrives();
	ck_assert_int_eq(told_times, 1);
	/* The event was told: whoever reads the data before nStack asks, it was the one. */
	sock.ready = 0;
	ck_assert_uint_eq(asked(EPOLLIN | EPOLLONESHOT), 0);
	data_arrives();
	ck_assert_int_eq(told_times, 1);
	ck_assert_uint_eq(asked(EPOLLIN | EPOLLONESHOT), 0);
	ck_assert_uint_eq(control(DMM_EP_MOD, EPOLLIN | EPOLLONESHOT), EPOLLIN);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("dmm watches");
	TCase *tc = group(s, "moments");

	tcase_add_loop_test(tc, what_is_told_during_a_registration_is_returned_by_it, 0, COUNT(modes));
	tcase_add_test(tc, one_shot_is_not_spent_by_what_it_no_longer_waits_for);
	tcase_add_test(tc, one_shot_that_is_delivered_is_not_told_too);
	tcase_add_loop_test(tc, what_comes_just_after_a_look_in_vain_is_delivered, 0, COUNT(modes));
	tcase_add_test(tc, one_shot_in_vain_stays_armed);
	return run_suite(s);
}
