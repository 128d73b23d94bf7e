/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * DMM's sample servers count what a record still lacks, and forget the count at each event: they stall
 * when a record arrives in two pieces with EAGAIN in between. Over TCP that does not happen, as a record
 * that one call sent arrives as one; here records meet the ends of receive segments.
 */
#include <pthread.h>
#include <unistd.h>

#include "app.h"

enum { RECORD_MAX = 10000, ECHO_BYTES = 260 << 10 };

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

static const size_t lengths[] = {
	1, 7, 64, 100, 200, 256, 500, 999, 1000, 1001, 1024, 1448, 2000, 3333, 4095, 4096, 4097, 5000,
	6000, 7777, 8191, 8192, 8193, 9000, 9999, 10000,
};

static void echo_records(struct ends e, size_t len, bool by_select)
{
	int records = len * 2000 > ECHO_BYTES ? ECHO_BYTES / (int)len : 2000;
	struct server s = { .fd = e.b, .len = len, .records = records, .by_select = by_select };
	struct timeval limit = { LIMIT_MS / 1000, 0 };
	char record[RECORD_MAX] = "";
	pthread_t thread;

	OK(setsockopt(e.a, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)));
	ck_assert_int_eq(pthread_create(&thread, NULL, serve, &s), 0);
	for (int i = 0; i < records; i++) {
		size_t have = 0;

		ck_assert_int_eq(send(e.a, record, len, MSG_NOSIGNAL), len);
		while (have < len) {
			ssize_t n = recv(e.a, record + have, len - have, 0);

			ck_assert_msg(n > 0, "stalled: record %d of %d, length %zu", i, records, len);
			have += (size_t)n;
		}
	}
	pthread_join(thread, NULL);
}

START_TEST(forgetful_server_serves_records_of_any_length)
{
	int listening;

	app_start();
	listening = app_listener();
	for (size_t i = 0; i < COUNT(lengths); i++) {
		struct ends e = app_pair_on(listening);

		app_set_nonblocking(e.a, false);
		echo_records(e, lengths[i], _i);
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
