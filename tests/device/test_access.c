/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Who may talk to a process over software verbs: those of its own user, and others only if it says so. The
 * abstract names that links are made by carry no permissions, so other users try that door, too.
 */
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "faults.h"
#include "peer.h"
#include "stream.h"

enum { NOBODY = 65534 };

static void become_nobody(void)
{
	ck_assert_int_eq(setgroups(0, NULL), 0);
	ck_assert_int_eq(setgid(NOBODY), 0);
	ck_assert_int_eq(setuid(NOBODY), 0);
}

/* Tells how its connect ended. */
static void connect_as_nobody(struct peer *me)
{
	struct address there;
	int fd, error;

	become_nobody();
	peer_listen(me, &there, sizeof(there));
	fd = rsk_socket(AF_INET, SOCK_STREAM, 0);
	error = fd < 0 || rsk_connect(fd, &there.any, there.len) ? errno : 0;
	peer_say(me, &error, sizeof(error));
	peer_await(me);
}

/* Connects as nobody, and returns how that ended. */
static int outcome_for_nobody(struct peer *p, int listening)
{
	struct address there = local_address(listening);
	int error;

	peer_say(p, &there, sizeof(there));
	peer_listen(p, &error, sizeof(error));
	return error;
}

START_TEST(another_user_is_refused)
{
	int listening;
	struct pair own;
	struct peer p;

	peer_start(&p, connect_as_nobody);
	listening = listener();
	own = pair_on(listening);
	ck_assert_int_eq(outcome_for_nobody(&p, listening), ECONNREFUSED);
	ck_assert_int_eq(ready_now(listening, POLLIN), 0);
	check_connected(own.a, own.b);
	peer_signal(&p);
	peer_finish(&p);
}
END_TEST

START_TEST(another_user_is_let_in_where_both_allow_it)
{
	struct peer p;
	int listening;

	peer_start(&p, connect_as_nobody);
	listening = listener();
	ck_assert_int_eq(outcome_for_nobody(&p, listening), 0);
	peer_signal(&p);
	OK(rsk_close(accept_from(listening)));
	peer_finish(&p);
}
END_TEST

/* Connects to one name, and writes there. Nothing may be told to it, not even a greeting. */
static bool is_turned_away(const char *name)
{
	struct sockaddr_un there = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
	size_t len = strlen(name);
	uint32_t greeting[3] = { 0 };
	char room[64];
	ssize_t n;

	memcpy(there.sun_path + 1, name, len);
	if (connect(fd, (struct sockaddr *)&there, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + len))) {
		close(fd);
		return true;
	}
	send(fd, greeting, sizeof(greeting), MSG_NOSIGNAL);
	n = recv(fd, room, sizeof(room), 0);
	close(fd);
	return n == 0 || (n < 0 && errno == ECONNRESET);
}

/* Tells how many names there were, and how many turned it away. */
static void knock_as_nobody(struct peer *me)
{
	char line[512], name[108];
	int counts[2] = { 0 };
	FILE *sockets;

	become_nobody();
	peer_await(me);
	sockets = fopen("/proc/net/unix", "r");
	while (sockets && fgets(line, sizeof(line), sockets)) {
		char *at = strstr(line, "@softverbs-1/node/");

		/* Those that are listened on: flags 00010000. */
		if (!at || !strstr(line, " 00010000 ") || sscanf(at, "@%107s", name) != 1)
			continue;
		counts[0]++;
		counts[1] += is_turned_away(name);
	}
	peer_say(me, counts, sizeof(counts));
}

START_TEST(links_of_another_user_are_closed_unheard)
{
	struct peer p;
	struct pair own;
	int counts[2];

	peer_start(&p, knock_as_nobody);
	own = pair_connected();
	peer_signal(&p);
	peer_listen(&p, counts, sizeof(counts));
	ck_assert_int_gt(counts[0], 0);
	ck_assert_int_eq(counts[1], counts[0]);
	check_connected(own.a, own.b);
	peer_finish(&p);
}
END_TEST

/* What is allowed is read when the device is loaded: the second half is another program. */
static void run_allowed(char **argv)
{
	const char *options = getenv("SOFTVERBS");
	char more[512];

	snprintf(more, sizeof(more), "%s any-user", options ? options : "");
	setenv("SOFTVERBS", more, 1);
	execv("/proc/self/exe", argv);
	perror("/proc/self/exe");
}

int main(int argc, char **argv)
{
	const char *options = getenv("SOFTVERBS");
	bool allowed = options && strstr(options, "any-user");
	Suite *s;
	TCase *tc;
	int ret;

	(void)argc;
	if (!can_fail())             /* the device is another */
		return 77;
	if (geteuid()) {
		printf("skipped: only root can be two users\n");
		return 77;
	}
	s = suite_create(allowed ? "access, allowed" : "access");
	tc = group(s, "", 120);
	if (allowed) {
		tcase_add_test(tc, another_user_is_let_in_where_both_allow_it);
	} else {
		tcase_add_test(tc, another_user_is_refused);
		tcase_add_test(tc, links_of_another_user_are_closed_unheard);
	}
	ret = run_suite(s);
	if (ret || allowed)
		return ret;
	run_allowed(argv);
	return 1;
}
