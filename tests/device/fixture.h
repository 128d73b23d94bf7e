/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What all device tests share: how a suite runs, and checks that fail the running test by
 * themselves, so that tests check only what they claim. Nothing waits for time to pass: waits end
 * with an event, or fail at LIMIT_MS.
 *
 * Each test runs in a fresh process (Check's fork mode, always), which has made no rsk call yet. A
 * test that needs a peer process (peer.h) starts it first.
 */
#ifndef RSK_TEST_FIXTURE_H
#define RSK_TEST_FIXTURE_H

#include <check.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <rsk/rsk.h>

/* Nothing on a live connection takes this long, not even emulated and with one processor. */
#define LIMIT_MS 60000

/* A wait for something that must not happen. */
#define QUIET_MS 100

#define KIB 1024ul
#define MIB (1024ul * 1024ul)
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* -- suites ------------------------------------------------------------------------------------ */

/* A group of tests in @s, each of which may take @limit_s seconds. */
TCase *group(Suite *s, const char *name, int limit_s);

/* main() of a test program: 0, 1, or 77 with a line that says why nothing ran. */
int run_suite(Suite *s);

/* Says that the running test cannot be made here, and why; it returns after that. */
void skip(const char *why);

/* The address of the device that the environment names for this family, or NULL. */
const char *device_text(int family);
bool have_family(int family);

/* -- checks ------------------------------------------------------------------------------------ */

void check_ok(long ret, const char *call, const char *file, int line);
void check_fails(long ret, int error, const char *call, const char *file, int line);

/* The call returns 0. */
#define OK(call) check_ok((call), #call, __FILE__, __LINE__)

/* The call returns -1 with this errno. */
#define FAILS(call, error) check_fails((call), (error), #call, __FILE__, __LINE__)

/* -- waiting ----------------------------------------------------------------------------------- */

uint64_t now_ns(void);
uint64_t now_ms(void);

/* For what happens in the background and raises no event; fails the test naming @what. */
void wait_until(bool (*reached)(long goal), long goal, const char *what);

#endif
