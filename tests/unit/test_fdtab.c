/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The descriptor table: no call sees an object that was closed, and each closed object is closed
 * once. All that the table uses of a socket is its member `slot`, so these sockets are otherwise
 * empty; the numbers are made up, and need not be open descriptors.
 *
 * Tests close what they insert: without forks they share one table.
 */
#include "fdtab.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "sock.h"

#include "unit.h"

enum { TABLE_END = 1024 * 1024 };    /* the first number beyond it */

struct object {
	struct rsk_sock sk;
	atomic_int closed;           /* how often */
};

static void count_closed(void *sk)
{
	((struct object *)sk)->closed++;
}

static void insert(int fd, struct object *o)
{
	ck_assert_int_eq(rsk_fd_insert(fd, &o->sk, count_closed), 0);
}

/* Holds what is there, until leave(). */
static struct object *enter(int fd)
{
	return (struct object *)rsk_fd_get(fd);
}

static void leave(struct object *o)
{
	rsk_fd_put(&o->sk);
}

static void close_number(int fd)
{
	struct object *o = enter(fd);

	ck_assert_ptr_nonnull(o);
	ck_assert(rsk_fd_close(&o->sk));
	leave(o);
}

/* -- numbers ----------------------------------------------------------------------------------- */

START_TEST(inserted_object_is_found_under_its_number_only)
{
	static const int numbers[] = { 0, 1, 1023, 1024, 1025, 500000, TABLE_END - 1 };
	struct object o[COUNT(numbers)] = { { .closed = 0 } };

	for (size_t i = 0; i < COUNT(numbers); i++)
		insert(numbers[i], &o[i]);
	ck_assert_ptr_null(enter(2));
	ck_assert_ptr_null(enter(1022));
	ck_assert_ptr_null(enter(TABLE_END - 2));
	for (size_t i = 0; i < COUNT(numbers); i++) {
		ck_assert_ptr_eq(enter(numbers[i]), &o[i]);
		leave(&o[i]);
		ck_assert_int_eq(o[i].closed, 0);
		close_number(numbers[i]);
		ck_assert_int_eq(o[i].closed, 1);
	}
}
END_TEST

START_TEST(number_beyond_the_table_is_refused)
{
	static const int numbers[] = { -1, -1024, INT_MIN, TABLE_END, TABLE_END + 1, INT_MAX };
	struct object o = { .closed = 0 };

	for (size_t i = 0; i < COUNT(numbers); i++) {
		ck_assert_int_eq(rsk_fd_insert(numbers[i], &o.sk, count_closed), -EMFILE);
		ck_assert_ptr_null(enter(numbers[i]));
	}
	ck_assert_int_eq(o.closed, 0);
}
END_TEST

START_TEST(number_never_inserted_is_not_there)
{
	/* The last is in a part of the table for which there is no memory yet. */
	static const int numbers[] = { 3, 700, 300 * 1024 };

	for (size_t i = 0; i < COUNT(numbers); i++) {
		ck_assert_ptr_null(enter(numbers[i]));
		ck_assert_ptr_null(enter(numbers[i]));
	}
}
END_TEST

START_TEST(looking_in_vain_before_does_not_spoil_a_number)
{
	struct object o = { .closed = 0 }, neighbour = { .closed = 0 };

	insert(10, &neighbour); /* now there is memory for 11, too */
	for (int i = 0; i < 5; i++)
		ck_assert_ptr_null(enter(11));
	insert(11, &o);
	ck_assert_ptr_eq(enter(11), &o);
	leave(&o);
	ck_assert_int_eq(o.closed, 0);
	close_number(11);
	ck_assert_int_eq(o.closed, 1);
	close_number(10);
}
END_TEST

/* -- closing ----------------------------------------------------------------------------------- */

START_TEST(close_by_the_only_call_ends_with_its_put)
{
	struct object o = { .closed = 0 };

	insert(10, &o);
	ck_assert_ptr_eq(enter(10), &o);
	ck_assert(rsk_fd_close(&o.sk));
	ck_assert_int_eq(o.closed, 0);
	leave(&o);
	ck_assert_int_eq(o.closed, 1);
}
END_TEST

START_TEST(closed_runs_once_at_the_last_put)
{
	enum { CALLS = 5 };
	struct object o = { .closed = 0 };

	insert(10, &o);
	for (int i = 0; i < CALLS; i++)
		ck_assert_ptr_eq(enter(10), &o);
	ck_assert(rsk_fd_close(&o.sk));
	for (int i = 1; i < CALLS; i++) {
		leave(&o);
		ck_assert_int_eq(o.closed, 0);
	}
	leave(&o);
	ck_assert_int_eq(o.closed, 1);
}
END_TEST

START_TEST(nobody_gets_in_after_close)
{
	struct object o = { .closed = 0 };

	insert(10, &o);
	ck_assert_ptr_eq(enter(10), &o);
	ck_assert(rsk_fd_close(&o.sk));
	for (int i = 0; i < 5; i++) {
		ck_assert_ptr_null(enter(10));
		ck_assert_int_eq(o.closed, 0);
	}
	leave(&o);
	ck_assert_int_eq(o.closed, 1);
	ck_assert_ptr_null(enter(10));
	ck_assert_int_eq(o.closed, 1);
}
END_TEST

START_TEST(second_close_is_told_that_it_came_late)
{
	struct object o = { .closed = 0 };

	insert(10, &o);
	ck_assert_ptr_eq(enter(10), &o);
	ck_assert_ptr_eq(enter(10), &o);
	ck_assert(rsk_fd_close(&o.sk));
	ck_assert(!rsk_fd_close(&o.sk));
	leave(&o);
	ck_assert(!rsk_fd_close(&o.sk));
	ck_assert_int_eq(o.closed, 0);
	leave(&o);
	ck_assert_int_eq(o.closed, 1);
}
END_TEST

START_TEST(calls_that_left_before_close_do_not_count)
{
	struct object o = { .closed = 0 };

	insert(10, &o);
	for (int i = 0; i < 100; i++) {
		ck_assert_ptr_eq(enter(10), &o);
		leave(&o);
	}
	ck_assert_int_eq(o.closed, 0);
	close_number(10);
	ck_assert_int_eq(o.closed, 1);
}
END_TEST

START_TEST(number_is_free_for_another_object_after_close)
{
	struct object o[3] = { { .closed = 0 } };

	for (size_t i = 0; i < COUNT(o); i++) {
		insert(10, &o[i]);
		ck_assert_ptr_eq(enter(10), &o[i]);
		leave(&o[i]);
		close_number(10);
	}
	for (size_t i = 0; i < COUNT(o); i++)
		ck_assert_int_eq(o[i].closed, 1);
}
END_TEST

static const uint32_t kinds[] = { 0, RSK_FD_EPOLL };

/* close(2) on a number tells the table nothing. */
START_TEST(number_that_is_open_is_free_for_another_object)
{
	uint32_t kind = kinds[_i & 1], former = kinds[_i >> 1];
	struct object lost = { .closed = 0 }, o = { .closed = 0 };

	ck_assert_int_eq(rsk_slot_fill(10, former, &lost, &lost.sk.slot, count_closed), 0);
	ck_assert_int_eq(rsk_slot_fill(10, kind, &o, &o.sk.slot, count_closed), 0);
	ck_assert_ptr_null(rsk_slot_enter(10, kind ^ RSK_FD_EPOLL));
	ck_assert_ptr_eq(rsk_slot_enter(10, kind), &o);
	ck_assert(rsk_slot_close(o.sk.slot));
	rsk_slot_leave(o.sk.slot);
	ck_assert_int_eq(o.closed, 1);
	ck_assert_int_eq(lost.closed, 0);
	ck_assert_ptr_null(rsk_slot_enter(10, kind));
}
END_TEST

static struct object successor;

static void insert_successor(void *sk)
{
	count_closed(sk);
	insert(10, &successor);
}

START_TEST(number_is_free_already_when_closed_runs)
{
	struct object o = { .closed = 0 };

	successor.closed = 0;
	ck_assert_int_eq(rsk_fd_insert(10, &o.sk, insert_successor), 0);
	close_number(10);
	ck_assert_int_eq(o.closed, 1);
	ck_assert_ptr_eq(enter(10), &successor);
	leave(&successor);
	ck_assert_int_eq(successor.closed, 0);
	close_number(10);
	ck_assert_int_eq(o.closed, 1);
	ck_assert_int_eq(successor.closed, 1);
}
END_TEST

START_TEST(closing_one_number_leaves_its_neighbours_alone)
{
	struct object o[3] = { { .closed = 0 } };

	for (int i = 0; i < 3; i++)
		insert(10 + i, &o[i]);
	close_number(11);
	ck_assert_int_eq(o[0].closed, 0);
	ck_assert_int_eq(o[1].closed, 1);
	ck_assert_int_eq(o[2].closed, 0);
	close_number(10);
	close_number(12);
}
END_TEST

/* -- latecomers -------------------------------------------------------------------------------- */

/* A call that finds the number closed, or not open yet, is counted for a moment. These tests stop
 * it there: between its coming and rsk_slot_leave(). */
static void come_late(int fd)
{
	atomic_fetch_add(&rsk_fd_slot(fd)->users, 1);
}

START_TEST(latecomer_that_leaves_last_closes)
{
	struct object o = { .closed = 0 };

	insert(10, &o);
	ck_assert_ptr_eq(enter(10), &o);
	ck_assert(rsk_fd_close(&o.sk));
	come_late(10);
	leave(&o);
	ck_assert_int_eq(o.closed, 0);
	rsk_slot_leave(rsk_fd_slot(10));
	ck_assert_int_eq(o.closed, 1);
}
END_TEST

START_TEST(latecomer_before_the_number_is_opened_does_no_harm)
{
	struct object o = { .closed = 0 };

	insert(10, &o); /* so that there is memory */
	close_number(10);
	come_late(10);
	insert(10, &o);
	rsk_slot_leave(rsk_fd_slot(10));
	ck_assert_int_eq(o.closed, 1);
	ck_assert_ptr_eq(enter(10), &o);
	come_late(10);
	rsk_slot_leave(rsk_fd_slot(10));
	leave(&o);
	ck_assert_int_eq(o.closed, 1);
	close_number(10);
	ck_assert_int_eq(o.closed, 2);
}
END_TEST

/* Who left last may look late: what it finds by then decides. */
static const struct {
	const char *name;
	uint32_t users;
	bool closes;
} lasts[] = {
	{ "still nobody", RSK_FD_CLOSING, true },
	{ "a latecomer, who will see to it", RSK_FD_CLOSING | 1, false },
	{ "another was faster", 0, false },
	{ "another was faster, and somebody looks", 1, false },
	{ "open again", RSK_FD_OPEN, false },
	{ "open again and used", RSK_FD_OPEN | 2, false },
};

START_TEST(only_one_of_several_last_ones_closes)
{
	for (size_t i = 0; i < COUNT(lasts); i++) {
		struct object o = { .closed = 0 };
		struct rsk_slot slot = { lasts[i].users, &o.sk, count_closed };

		rsk_slot_last(&slot);
		ck_assert_msg(o.closed == lasts[i].closes, "%s: %d", lasts[i].name, o.closed);
		ck_assert_msg(slot.users == (lasts[i].closes ? 0 : lasts[i].users), "%s: %#x",
			      lasts[i].name, slot.users);
	}
}
END_TEST

/* -- all of them ------------------------------------------------------------------------------- */

static int visits;

static void close_visited(struct rsk_sock *sk)
{
	visits++;
	ck_assert(rsk_fd_close(sk));
	/* The visited are held: this does not end them yet. */
	ck_assert_int_eq(((struct object *)sk)->closed, 0);
}

START_TEST(each_visits_open_numbers_and_holds_them)
{
	static const int numbers[] = { 0, 5, 1023, 1024, 200000, TABLE_END - 1 };
	struct object o[COUNT(numbers)] = { { .closed = 0 } }, gone = { .closed = 0 };

	for (size_t i = 0; i < COUNT(numbers); i++)
		insert(numbers[i], &o[i]);
	insert(6, &gone);
	close_number(6);

	visits = 0;
	rsk_fd_each(close_visited);
	ck_assert_int_eq(visits, COUNT(numbers));
	for (size_t i = 0; i < COUNT(numbers); i++)
		ck_assert_int_eq(o[i].closed, 1);
	ck_assert_int_eq(gone.closed, 1);

	rsk_fd_each(close_visited);
	ck_assert_int_eq(visits, COUNT(numbers));
}
END_TEST

START_TEST(after_forget_nothing_is_open_and_nothing_was_closed)
{
	struct object idle = { .closed = 0 }, held = { .closed = 0 }, closing = { .closed = 0 };
	struct object next = { .closed = 0 };

	insert(10, &idle);
	insert(11, &held);
	ck_assert_ptr_eq(enter(11), &held);
	insert(12, &closing);
	ck_assert_ptr_eq(enter(12), &closing);
	ck_assert(rsk_fd_close(&closing.sk));

	rsk_fd_forget();
	for (int fd = 10; fd <= 12; fd++) {
		ck_assert_ptr_null(enter(fd));
		insert(fd, &next);
		ck_assert_ptr_eq(enter(fd), &next);
		leave(&next);
		close_number(fd);
	}
	ck_assert_int_eq(next.closed, 3);
	ck_assert_int_eq(idle.closed + held.closed + closing.closed, 0);
}
END_TEST

/* -- many threads ------------------------------------------------------------------------------ */

/* Threads do not fail a test themselves: they count what went wrong. */
enum { THREADS = 4, SLOTS = 3, FIRST_SLOT = 1022 };

static void run_threads(void *(*body)(void *arg))
{
	pthread_t threads[THREADS];

	for (uintptr_t i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, body, (void *)(i + 1)), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
}

enum { ROUNDS = 2000 };

static pthread_barrier_t round_barrier;
static struct object contested[ROUNDS];
static atomic_int winners, surprises;

static void *race_to_close(void *arg)
{
	for (int i = 0; i < ROUNDS; i++) {
		struct object *o;

		pthread_barrier_wait(&round_barrier);
		if (arg == (void *)1)
			surprises += rsk_fd_insert(FIRST_SLOT, &contested[i].sk, count_closed) != 0;
		pthread_barrier_wait(&round_barrier);
		o = enter(FIRST_SLOT);
		if (!o)
			continue;    /* another was in and out before */
		surprises += o != &contested[i];
		winners += rsk_fd_close(&o->sk);
		leave(o);
	}
	return NULL;
}

static void clear_contested(void)
{
	for (int i = 0; i < ROUNDS; i++)
		contested[i].closed = 0;
	winners = surprises = 0;
}

START_TEST(one_of_many_closers_wins)
{
	clear_contested();
	pthread_barrier_init(&round_barrier, NULL, THREADS);
	run_threads(race_to_close);
	pthread_barrier_destroy(&round_barrier);
	ck_assert_int_eq(winners, ROUNDS);
	ck_assert_int_eq(surprises, 0);
	for (int i = 0; i < ROUNDS; i++)
		ck_assert_int_eq(contested[i].closed, 1);
}
END_TEST

/* The number that is being opened and closed. */
static atomic_int current;
static atomic_uint looks;            /* at it, by the other threads */
static atomic_bool over;

static void *get_and_put(void *arg)
{
	(void)arg;
	while (!over) {
		struct object *o = enter(current);

		if (o) {
			surprises += o->closed != 0;
			leave(o);
		}
		if (!(++looks % 64))
			sched_yield();
	}
	return NULL;
}

START_TEST(calls_that_come_too_late_neither_lose_a_close_nor_repeat_it)
{
	pthread_t threads[2];

	clear_contested();
	over = false;
	for (size_t i = 0; i < COUNT(threads); i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, get_and_put, NULL), 0);
	for (int i = 0; i < ROUNDS; i++) {
		struct object *o = &contested[i];
		unsigned before = looks;

		current = i;
		claim(!rsk_fd_insert(i, &o->sk, count_closed), "round %d: insert", i);
		claim(enter(i) == o, "round %d: get", i);
		while (looks - before < 2)
			sched_yield();
		claim(rsk_fd_close(&o->sk), "round %d: close", i);
		surprises += o->closed != 0;
		leave(o);
	}
	over = true;
	for (size_t i = 0; i < COUNT(threads); i++)
		pthread_join(threads[i], NULL);

	ck_assert_int_eq(surprises, 0);
	for (int i = 0; i < ROUNDS; i++) {
		claim(contested[i].closed == 1, "round %d: %d times", i, contested[i].closed);
		claim(!enter(i), "round %d: still open", i);
	}
}
END_TEST

/* An object that many threads use. Freed when closed, so that a sanitizer sees late users, too. */
struct shared {
	struct rsk_sock sk;
	int slot;
	atomic_int holders;
	atomic_bool dead;
};

enum { STEPS = 40000 };

/* The kernel's part: which numbers are in use. */
static atomic_bool in_use[SLOTS];
static atomic_int opened, ended, closers, ended_twice, ended_while_held, dead_seen;

static void end_shared(void *sk)
{
	struct shared *o = (struct shared *)sk;
	int slot = o->slot;

	ended_twice += atomic_exchange(&o->dead, true);
	ended_while_held += atomic_load(&o->holders) != 0;
	ended++;
	free(o);
	atomic_store(&in_use[slot], false);
}

static void open_shared(int slot)
{
	struct shared *o;

	if (atomic_exchange(&in_use[slot], true))
		return;
	o = calloc(1, sizeof(*o));
	if (!o)
		abort();
	o->slot = slot;
	if (rsk_fd_insert(FIRST_SLOT + slot, &o->sk, end_shared))
		abort();
	opened++;
}

static void *open_use_close(void *arg)
{
	struct dice d = { (uintptr_t)arg };

	for (int i = 0; i < STEPS; i++) {
		int slot = (int)roll(&d, 0, SLOTS - 1);
		struct shared *o = (struct shared *)rsk_fd_get(FIRST_SLOT + slot);

		if (!o) {
			open_shared(slot);
			continue;
		}
		o->holders++;
		dead_seen += o->dead || o->slot != slot;
		if (!roll(&d, 0, 31))
			sched_yield();
		if (!roll(&d, 0, 3))
			closers += rsk_fd_close(&o->sk);
		o->holders--;
		rsk_fd_put(&o->sk);
	}
	return NULL;
}

START_TEST(no_object_is_lost_or_closed_twice_or_closed_in_use)
{
	opened = ended = closers = ended_twice = ended_while_held = dead_seen = 0;
	run_threads(open_use_close);
	for (int slot = 0; slot < SLOTS; slot++) {
		if (atomic_load(&in_use[slot])) {
			close_number(FIRST_SLOT + slot);
			closers++;
		}
	}
	ck_assert_int_eq(ended_twice, 0);
	ck_assert_int_eq(ended_while_held, 0);
	ck_assert_int_eq(dead_seen, 0);
	ck_assert_int_eq(ended, opened);
	ck_assert_int_eq(closers, opened);
	ck_assert_int_gt(opened, STEPS / 100);
	for (int slot = 0; slot < SLOTS; slot++)
		ck_assert(!atomic_load(&in_use[slot]));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("fdtab");
	TCase *tc = group(s, "numbers");

	tcase_add_test(tc, inserted_object_is_found_under_its_number_only);
	tcase_add_test(tc, number_beyond_the_table_is_refused);
	tcase_add_test(tc, number_never_inserted_is_not_there);
	tcase_add_test(tc, looking_in_vain_before_does_not_spoil_a_number);

	tc = group(s, "closing");
	tcase_add_test(tc, close_by_the_only_call_ends_with_its_put);
	tcase_add_test(tc, closed_runs_once_at_the_last_put);
	tcase_add_test(tc, nobody_gets_in_after_close);
	tcase_add_test(tc, second_close_is_told_that_it_came_late);
	tcase_add_test(tc, calls_that_left_before_close_do_not_count);
	tcase_add_test(tc, number_is_free_for_another_object_after_close);
	tcase_add_loop_test(tc, number_that_is_open_is_free_for_another_object, 0, 4);
	tcase_add_test(tc, number_is_free_already_when_closed_runs);
	tcase_add_test(tc, closing_one_number_leaves_its_neighbours_alone);

	tc = group(s, "latecomers");
	tcase_add_test(tc, latecomer_that_leaves_last_closes);
	tcase_add_test(tc, latecomer_before_the_number_is_opened_does_no_harm);
	tcase_add_test(tc, only_one_of_several_last_ones_closes);

	tc = group(s, "all");
	tcase_add_test(tc, each_visits_open_numbers_and_holds_them);
	tcase_add_test(tc, after_forget_nothing_is_open_and_nothing_was_closed);

	tc = group(s, "threads");
	tcase_add_test(tc, one_of_many_closers_wins);
	/* A race is not always lost at once. */
	tcase_add_loop_test(tc, calls_that_come_too_late_neither_lose_a_close_nor_repeat_it, 0, 5);
	tcase_add_loop_test(tc, no_object_is_lost_or_closed_twice_or_closed_in_use, 0, 5);
	return run_suite(s);
}
