/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * DMM's sample servers count what a record still lacks, and forget the count at each event: they stall
 * when a record arrives in two pieces with EAGAIN in between. Over TCP that does not happen, as a record
 * that one call sent arrives as one; here records meet the ends of receive segments.
 *
 * All lengths are tried; RSK_TEST_STEP=N makes it each Nth, where they would take too long.
 */
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "app.h"

/*
 * Segments end at 16 and 32 KiB, and behind that, as they grow under load, every 64 KiB. So this many bytes meet
 * an end between two small segments, between a small one and a large one, and between large ones: all there are.
 * Where in the record an end lies differs from end to end and from length to length: over all lengths, first
 * parts and rests of all sizes occur. Lengths that divide an end meet it between records.
 */
enum { RECORD_MAX = 10000, UNIT = 16 << 10, STREAM = 96 << 10, MOST_AT_ONCE = 32 };

struct server {
	int fd;
	size_t len;
	int records;
	bool by_select;
};

static void wait_for_data(const struct server *s, int ep)
{
	struct epoll_event event;
	struct timeval late = { 2 * LIMIT_MS / 1000, 0 };
	fd_set in;

	if (!s->by_select) {
		epoll_wait(ep, &event, 1, 2 * LIMIT_MS);
		return;
	}
	FD_ZERO(&in);
	FD_SET(s->fd, &in);
	select(s->fd + 1, &in, NULL, NULL, &late);
}

static void *serve(void *arg)
{
	const struct server *s = arg;
	int ep = app_set(s->fd, EPOLLIN | EPOLLET), count = 0;
	char record[RECORD_MAX];

	while (count < s->records) {
		size_t have = 0;

		wait_for_data(s, ep);
		for (;;) {
			ssize_t n = recv(s->fd, record + have, s->len - have, 0);

			if (n <= 0)
				break;
			have += (size_t)n;
			if (have == s->len) {
				have = 0;
				count++;
				n = send(s->fd, record, s->len, MSG_NOSIGNAL);
				ck_assert_msg(n == (ssize_t)s->len, "the server could send %zd of %zu", n, s->len);
			}
		}
	}
	close(ep);
	return NULL;
}

/* How many records the client sends at once, behind @sent bytes: what meets the end of a segment goes alone, to
 * a server that has nothing else to do, or it might not see that there are two pieces. */
static int next_batch(size_t sent, size_t len)
{
	size_t whole = (UNIT - sent % UNIT) / len;

	if (!whole)
		return 1;
	return whole < MOST_AT_ONCE ? (int)whole : MOST_AT_ONCE;
}

static void take_echo(int fd, size_t bytes, size_t sent, size_t len)
{
	char buffer[UNIT];

	while (bytes) {
		ssize_t n = recv(fd, buffer, bytes < UNIT ? bytes : UNIT, 0);

		ck_assert_msg(n > 0, "records of %zu bytes: stalled, with %zu of %zu bytes echoed", len,
			      sent - bytes, sent);
		bytes -= (size_t)n;
	}
}

static void echo_records(struct ends e, size_t len, bool by_select)
{
	struct server s = { .fd = e.b, .len = len, .records = STREAM / (int)len + 1, .by_select = by_select };
	struct timeval limit = { LIMIT_MS / 1000, 0 };
	char record[RECORD_MAX] = "";
	size_t sent = 0;
	pthread_t thread;

	OK(setsockopt(e.a, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)));
	ck_assert_int_eq(pthread_create(&thread, NULL, serve, &s), 0);
	for (int batch, left = s.records; left; left -= batch) {
		batch = next_batch(sent, len);
		if (batch > left)
			batch = left;
		for (int i = 0; i < batch; i++)
			ck_assert_int_eq(send(e.a, record, len, MSG_NOSIGNAL), len);
		sent += len * (size_t)batch;
		take_echo(e.a, len * (size_t)batch, sent, len);
	}
	pthread_join(thread, NULL);
}

START_TEST(forgetful_server_serves_records_of_any_length)
{
	const char *step = getenv("RSK_TEST_STEP");
	int listening;

	app_start();
	listening = app_listener();
	for (size_t len = 1; len <= RECORD_MAX; len += step ? strtoul(step, NULL, 10) : 1) {
		struct ends e = app_pair_on(listening);

		app_set_nonblocking(e.a, false);
		echo_records(e, len, _i);
		close(e.a);
		close(e.b);
	}
	app_check_isolation();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("dmm servers");
	TCase *tc;

	tc = group(s, "sample servers", 900);
	tcase_add_loop_test(tc, forgetful_server_serves_records_of_any_length, 0, 2);
	return run_suite(s);
}
