/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * How fast are software verbs? The same two processes pass bulk data and play ping-pong, over a stream socket
 * of AF_UNIX and over the device, in turns; prints medians and ratios. `make bench-soft` runs it preloaded.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../device/verbs.h"

enum { ROUNDS = 5, CHUNK = 65536, CHUNKS = 4096, PINGS = 5000, PING = 64, IN_FLIGHT = 8 };

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void must(bool fact, const char *what)
{
	if (fact)
		return;
	perror(what);
	exit(1);
}

/* AF_UNIX */

static void move(int fd, char *bytes, size_t len, bool out)
{
	for (size_t done = 0; done < len;) {
		ssize_t n = out ? write(fd, bytes + done, len - done) : read(fd, bytes + done, len - done);

		must(n > 0, "socket");
		done += (size_t)n;
	}
}

static void socket_bulk(int fd, bool first)
{
	static char bytes[CHUNK];

	for (int i = 0; i < CHUNKS; i++)
		move(fd, bytes, CHUNK, first);
	move(fd, bytes, 1, !first);  /* all of it has arrived */
}

static void socket_pings(int fd, bool first)
{
	char bytes[PING];

	for (int i = 0; i < PINGS; i++) {
		move(fd, bytes, PING, first);
		move(fd, bytes, PING, !first);
	}
}

/* The device */

static void await(struct end *end, struct ibv_cq *cq)
{
	struct ibv_cq *ready;
	struct ibv_wc wc;
	void *context;

	while (!ibv_poll_cq(cq, 1, &wc)) {
		must(!ibv_req_notify_cq(cq, 0), "ibv_req_notify_cq");
		if (ibv_poll_cq(cq, 1, &wc))
			break;
		must(!ibv_get_cq_event(end->channel, &ready, &context), "ibv_get_cq_event");
		ibv_ack_cq_events(ready, 1);
	}
	must(wc.status == IBV_WC_SUCCESS, ibv_wc_status_str(wc.status));
}

/* Not the tests' post_recv(): Check writes down each assertion. */
static void receive(struct end *end)
{
	struct ibv_sge sge = { .addr = (uintptr_t)end->memory, .length = CHUNK, .lkey = end->mr->lkey };
	struct ibv_recv_wr wr = { .sg_list = &sge, .num_sge = 1 }, *bad;

	must(!ibv_post_recv(end->id->qp, &wr, &bad), "ibv_post_recv");
}

static void device_bulk(struct end *end, bool first)
{
	struct ibv_send_wr wr = { .opcode = IBV_WR_SEND, .send_flags = IBV_SEND_SIGNALED };

	for (int i = 0; i < CHUNKS + IN_FLIGHT; i++) {
		if (i >= IN_FLIGHT)
			await(end, first ? end->sends : end->recvs);
		if (first && i < CHUNKS)
			must(!post_send(end, wr, 0, CHUNK), "post");
		else if (!first && i >= IN_FLIGHT)
			receive(end);
	}
}

static void device_pings(struct end *end, bool first)
{
	struct ibv_send_wr wr = { .opcode = IBV_WR_SEND, .send_flags = IBV_SEND_SIGNALED };

	/* That a ping has been sent is known when the pong comes. */
	for (int i = 0; i < PINGS; i++) {
		if (first)
			must(!post_send(end, wr, CHUNK, PING), "post");
		await(end, end->recvs);
		receive(end);
		if (first || i)
			await(end, end->sends);
		if (!first)
			must(!post_send(end, wr, CHUNK, PING), "post");
	}
	if (!first)
		await(end, end->sends);
}

/* Both processes */

struct figures {
	double bulk[2][ROUNDS], ping[2][ROUNDS]; /* [0] socket, [1] device */
};

static void run(int fd, struct end *end, bool first, struct figures *figures)
{
	struct ibv_qp_attr quick = { .min_rnr_timer = 1 };

	must(!ibv_modify_qp(end->id->qp, &quick, IBV_QP_MIN_RNR_TIMER), "ibv_modify_qp");
	for (int i = 0; i < ROUNDS; i++) {
		double start = now(), t;

		socket_bulk(fd, first);
		figures->bulk[0][i] = (t = now()) - start;
		device_bulk(end, first);
		figures->bulk[1][i] = now() - t;
		start = now();
		socket_pings(fd, first);
		figures->ping[0][i] = (t = now()) - start;
		device_pings(end, first);
		figures->ping[1][i] = now() - t;
	}
}

static int by_size(const void *a, const void *b)
{
	return *(const double *)a < *(const double *)b ? -1 : 1;
}

static double median(double values[ROUNDS])
{
	qsort(values, ROUNDS, sizeof(*values), by_size);
	return values[ROUNDS / 2];
}

static void report(struct figures *figures)
{
	double bytes = (double)CHUNK * CHUNKS / 1e9;
	double bulk[2] = { bytes / median(figures->bulk[0]), bytes / median(figures->bulk[1]) };
	double ping[2] = { median(figures->ping[0]) / PINGS * 1e6, median(figures->ping[1]) / PINGS * 1e6 };

	printf("                      AF_UNIX   software verbs   ratio\n");
	printf("bulk, 64 KiB           %5.2f         %5.2f GB/s    %4.2f   (goal: at least 0.5)\n", bulk[0],
	       bulk[1], bulk[1] / bulk[0]);
	printf("ping-pong, 64 bytes   %6.1f        %6.1f us      %4.2f   (goal: at most 4)\n", ping[0],
	       ping[1], ping[1] / ping[0]);
}

static void ready(struct end *end)
{
	make_qp(end, &usual_terms);
	for (int i = 0; i < 2 * IN_FLIGHT; i++)
		receive(end);
}

static void be_second(int fd)
{
	struct rdma_conn_param param = { .retry_count = 7, .rnr_retry_count = 7 };
	struct sockaddr_in there;
	struct figures figures;
	struct end end;

	move(fd, (char *)&there, sizeof(there), false);
	resolve(&end, (struct sockaddr *)&there, RDMA_PS_TCP);
	ready(&end);
	must(!rdma_connect(end.id, &param), "rdma_connect");
	expect_event(end.events, RDMA_CM_EVENT_ESTABLISHED);
	run(fd, &end, false, &figures);
}

static void be_first(int fd)
{
	struct rdma_conn_param param = { .rnr_retry_count = 7 };
	struct rdma_event_channel *events;
	struct rdma_cm_id *listener;
	struct rdma_cm_event event;
	struct figures figures;
	struct end end = { 0 };

	listen_here(&events, &listener, RDMA_PS_TCP);
	move(fd, (char *)rdma_get_local_addr(listener), sizeof(struct sockaddr_in), true);
	next_event(events, &event);
	end.id = event.id;
	ready(&end);
	must(!rdma_accept(end.id, &param), "rdma_accept");
	expect_event(events, RDMA_CM_EVENT_ESTABLISHED);
	run(fd, &end, true, &figures);
	report(&figures);
}

START_TEST(both_ways_in_turns)
{
	int pair[2];
	pid_t pid;

	must(!socketpair(AF_UNIX, SOCK_STREAM, 0, pair), "socketpair");
	pid = fork();
	must(pid >= 0, "fork");
	close(pair[pid ? 1 : 0]);    /* so that each sees the other end */
	if (!pid) {
		be_second(pair[1]);
		_exit(0);
	}
	be_first(pair[0]);
	must(waitpid(pid, NULL, 0) == pid, "waitpid");
}
END_TEST

/* A suite, as the helpers fail the running test. */
int main(void)
{
	Suite *s = suite_create("speed of software verbs");

	tcase_add_test(group(s, "", 120), both_ways_in_turns);
	return run_suite(s);
}
