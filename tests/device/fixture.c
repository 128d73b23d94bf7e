/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
#include "fixture.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define SAMPLE_MS 2

/* -- suites ------------------------------------------------------------------------------------ */

const char *device_text(int family)
{
	const char *text = getenv(family == AF_INET6 ? "RSK_TEST_ADDR6" : "RSK_TEST_ADDR");

	return text && *text ? text : NULL;
}

bool have_family(int family)
{
	return device_text(family) != NULL;
}

void skip(const char *why)
{
	printf("skip: %s\n", why);
	fflush(stdout); /* a test ends without exit handlers */
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

/* -- waiting ----------------------------------------------------------------------------------- */

uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

uint64_t now_ms(void)
{
	return now_ns() / 1000000;
}

void wait_until(bool (*reached)(long goal), long goal, const char *what)
{
	uint64_t limit = now_ms() + LIMIT_MS;

	while (!reached(goal)) {
		ck_assert_msg(now_ms() < limit, "%s: %ld not reached", what, goal);
		poll(NULL, 0, SAMPLE_MS);
	}
}
