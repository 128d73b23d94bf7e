/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What the unit tests share. Each program tests one module of lib/ and needs no device: it links
 * the convenience archive lib/librsk-core.la, where internal functions are visible. Its file
 * includes the module's header first, which proves that the header stands alone.
 *
 * A test's name is its claim. Tests give back all they take, so they run in Check's fork mode and
 * without it (CK_FORK=no, for valgrind and debuggers). Random tests roll the same numbers each run.
 */
#ifndef RSK_TEST_UNIT_H
#define RSK_TEST_UNIT_H

#include <check.h>
#include <stdint.h>
#include <stdlib.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Like ck_assert_msg(), which takes a note of every success: too slow for a million of them. The
 * message is not optional. */
#define claim(fact, ...) \
	do { \
		if (!(fact)) \
			ck_abort_msg(__VA_ARGS__); \
	} while (0)

/* Numbers that look random and are the same in each run. Start with any state but 0. */
struct dice {
	uint64_t state;
};

static inline uint64_t roll(struct dice *d, uint64_t lowest, uint64_t highest)
{
	d->state ^= d->state >> 12;
	d->state ^= d->state << 25;
	d->state ^= d->state >> 27;
	return lowest + (d->state * UINT64_C(0x2545f4914f6cdd1d) >> 16) % (highest - lowest + 1);
}

/* A group of tests in @suite. The limit is for emulators and sanitizers, not for what they need. */
static inline TCase *group(Suite *suite, const char *name)
{
	TCase *tc = tcase_create(name);

	tcase_set_timeout(tc, 120);
	suite_add_tcase(suite, tc);
	return tc;
}

/* What main() returns. */
static inline int run_suite(Suite *suite)
{
	SRunner *runner = srunner_create(suite);
	int failed;

	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#endif
