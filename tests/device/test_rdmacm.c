/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* What a connection manager does, over whatever device: see test_verbs.c. */
#include <poll.h>
#include <sys/resource.h>

#include "rawpeer.h"
#include "verbs.h"

static void await_cm_event(const struct rdma_event_channel *channel)
{
	struct pollfd ready = { .fd = channel->fd, .events = POLLIN };

	ck_assert_msg(poll(&ready, 1, LIMIT_MS) == 1, "no CM event");
}

/* But on iWARP, which tells its true size. */
START_TEST(private_data_is_padded_to_the_size_of_the_message)
{
	struct link l = linked(&usual_terms);
	bool padded = !device_is_iwarp();

	ck_assert_uint_eq(l.asked.private_data_len, padded ? 56 : 0);
	ck_assert_uint_eq(l.answered.private_data_len, padded ? 196 : 0);
	ck_assert_uint_eq(l.asked.responder_resources, usual_terms.rd_atomic);
	link_end(&l);
}
END_TEST

START_TEST(nobody_listens_is_told_from_refused)
{
	struct rdma_conn_param param = { .private_data = "no", .private_data_len = 2 };
	struct rdma_event_channel *events;
	struct rdma_cm_id *listener;
	struct rdma_cm_event event;
	struct end end;

	if (lacks("iWARP has no reasons"))
		return;
	listen_here(&events, &listener, RDMA_PS_TCP);
	resolve(&end, rdma_get_local_addr(listener), RDMA_PS_TCP);
	make_qp(&end, &usual_terms);
	ck_assert_int_eq(rdma_connect(end.id, &param), 0);
	ck_assert_int_eq(next_event(events, &event), RDMA_CM_EVENT_CONNECT_REQUEST);
	ck_assert_int_eq(rdma_reject(event.id, "no", 2), 0);
	ck_assert_int_eq(rdma_destroy_id(event.id), 0);
	ck_assert_int_eq(next_event(end.events, &event), RDMA_CM_EVENT_REJECTED);
	ck_assert_int_eq(event.status, 28);
	ck_assert_uint_eq(event.param.conn.private_data_len, 148);
	free_end(&end);
	rdma_destroy_event_channel(end.events);

	resolve(&end, rdma_get_local_addr(listener), RDMA_PS_TCP);
	ck_assert_int_eq(rdma_destroy_id(listener), 0);
	make_qp(&end, &usual_terms);
	ck_assert_int_eq(rdma_connect(end.id, &param), 0);
	ck_assert_int_eq(next_event(end.events, &event), RDMA_CM_EVENT_REJECTED);
	ck_assert_int_eq(event.status, 8);
	free_end(&end);
	rdma_destroy_event_channel(end.events);
	rdma_destroy_event_channel(events);
}
END_TEST

/* Where to connect takes a descriptor it says that there is none, not that nobody listens. */
START_TEST(want_of_descriptors_is_told_from_refused)
{
	struct rdma_conn_param param = { .retry_count = 2 };
	struct rlimit usual, none;
	struct rdma_event_channel *events;
	struct rdma_cm_id *listener;
	struct rdma_cm_event event;
	struct end end;
	int ret, err;

	listen_here(&events, &listener, RDMA_PS_TCP);
	resolve(&end, rdma_get_local_addr(listener), RDMA_PS_TCP);
	make_qp(&end, &usual_terms);
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &usual), 0);
	none = usual;
	none.rlim_cur = 0;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
	ret = rdma_connect(end.id, &param);
	err = errno;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &usual), 0);
	if (ret) {
		ck_assert_int_eq(err, EMFILE);
		ck_assert_int_eq(rdma_connect(end.id, &param), 0);
	}
	ck_assert_int_eq(next_event(events, &event), RDMA_CM_EVENT_CONNECT_REQUEST);
	ck_assert_int_eq(rdma_reject(event.id, NULL, 0), 0);
	expect_event(end.events, RDMA_CM_EVENT_REJECTED);
	ck_assert_int_eq(rdma_destroy_id(event.id), 0);
	ck_assert_int_eq(rdma_destroy_id(listener), 0);
	free_end(&end);
	rdma_destroy_event_channel(end.events);
	rdma_destroy_event_channel(events);
}
END_TEST

START_TEST(listener_is_found_over_ipv6)
{
	struct rdma_event_channel *events;
	struct rdma_cm_id *listener;
	struct rdma_cm_event event;
	struct end end;

	if (!have_family(AF_INET6)) {
		skip("the device has no IPv6 address");
		return;
	}
	listen_at(address_of_device(AF_INET6, 0), 8, &events, &listener, RDMA_PS_TCP);
	resolve(&end, rdma_get_local_addr(listener), RDMA_PS_TCP);
	make_qp(&end, &usual_terms);
	ck_assert_int_eq(rdma_connect(end.id, &(struct rdma_conn_param){ 0 }), 0);
	ck_assert_int_eq(next_event(events, &event), RDMA_CM_EVENT_CONNECT_REQUEST);
	ck_assert_int_eq(rdma_get_peer_addr(event.id)->sa_family, AF_INET6);
	ck_assert_int_eq(rdma_reject(event.id, NULL, 0), 0);
	expect_event(end.events, RDMA_CM_EVENT_REJECTED);
	ck_assert_int_eq(rdma_destroy_id(event.id), 0);
	ck_assert_int_eq(rdma_destroy_id(listener), 0);
	free_end(&end);
	rdma_destroy_event_channel(end.events);
	rdma_destroy_event_channel(events);
}
END_TEST

/* An address of those that are for examples only. A device says so at once, or when it has looked. */
START_TEST(unknown_address_is_not_resolved)
{
	struct address nowhere = address_of_text("198.51.100.1", 7471);
	struct rdma_event_channel *events = rdma_create_event_channel();
	struct rdma_cm_id *id;

	ck_assert_int_eq(rdma_create_id(events, &id, NULL, RDMA_PS_TCP), 0);
	if (!rdma_resolve_addr(id, NULL, &nowhere.any, 1000))
		expect_event(events, RDMA_CM_EVENT_ADDR_ERROR);
	ck_assert_int_eq(rdma_destroy_id(id), 0);
	rdma_destroy_event_channel(events);
}
END_TEST

static void reject_next(struct rdma_event_channel *events)
{
	struct rdma_cm_event event;

	ck_assert_int_eq(next_event(events, &event), RDMA_CM_EVENT_CONNECT_REQUEST);
	ck_assert_int_eq(rdma_reject(event.id, NULL, 0), 0);
	ck_assert_int_eq(rdma_destroy_id(event.id), 0);
}

/* The backlog bounds the requests that nobody has read. The kernel drops what is beyond, and its sender tries
 * again; software verbs refuse it. Either way it is told in the end. */
START_TEST(request_beyond_the_backlog_is_answered)
{
	struct rdma_event_channel *events;
	struct rdma_cm_id *listener;
	struct pollfd either[2];
	struct end ends[2];

	listen_at(address_of_device(AF_INET, 0), 1, &events, &listener, RDMA_PS_TCP);
	for (int i = 0; i < 2; i++) {
		resolve(&ends[i], rdma_get_local_addr(listener), RDMA_PS_TCP);
		make_qp(&ends[i], &usual_terms);
		ck_assert_int_eq(rdma_connect(ends[i].id, &(struct rdma_conn_param){ 0 }), 0);
		if (!i)
			await_cm_event(events);
	}
	reject_next(events);
	expect_event(ends[0].events, RDMA_CM_EVENT_REJECTED);
	either[0] = (struct pollfd){ .fd = events->fd, .events = POLLIN };
	either[1] = (struct pollfd){ .fd = ends[1].events->fd, .events = POLLIN };
	ck_assert_msg(poll(either, 2, LIMIT_MS) > 0, "the second request was forgotten");
	if (either[0].revents)
		reject_next(events);
	expect_event(ends[1].events, RDMA_CM_EVENT_REJECTED);
	ck_assert_int_eq(rdma_destroy_id(listener), 0);
	for (int i = 0; i < 2; i++) {
		free_end(&ends[i]);
		rdma_destroy_event_channel(ends[i].events);
	}
	rdma_destroy_event_channel(events);
}
END_TEST

START_TEST(disconnecting_tells_both_ends)
{
	struct link l = linked(&usual_terms);

	post_recv(&l.a, 0, 0, 8);
	ck_assert_int_eq(rdma_disconnect(l.a.id), 0);
	expect_status(l.a.recvs, IBV_WC_WR_FLUSH_ERR);
	expect_event(l.b.events, RDMA_CM_EVENT_DISCONNECTED);
	ck_assert_int_eq(state_of(&l.b), IBV_QPS_RTS);
	ck_assert_int_eq(rdma_disconnect(l.b.id), 0);
	ck_assert_int_eq(state_of(&l.b), IBV_QPS_ERR);
	expect_event(l.a.events, RDMA_CM_EVENT_DISCONNECTED);
	expect_event(l.a.events, RDMA_CM_EVENT_TIMEWAIT_EXIT);
	link_end(&l);
}
END_TEST

/* Both ends of a connection that b has accepted and a has not read of. */
static struct link accepted(void)
{
	struct rdma_conn_param param = { .retry_count = 2, .rnr_retry_count = 7 };
	struct rdma_cm_event event;
	struct link l;

	listen_here(&l.events, &l.listener, RDMA_PS_TCP);
	resolve(&l.a, rdma_get_local_addr(l.listener), RDMA_PS_TCP);
	make_qp(&l.a, &usual_terms);
	ck_assert_int_eq(rdma_connect(l.a.id, &param), 0);
	ck_assert_int_eq(next_event(l.events, &event), RDMA_CM_EVENT_CONNECT_REQUEST);
	l.b = (struct end){ .events = l.events, .id = event.id };
	make_qp(&l.b, &usual_terms);
	ck_assert_int_eq(rdma_accept(l.b.id, &param), 0);
	return l;
}

START_TEST(only_what_is_established_can_be_disconnected)
{
	struct link l = accepted();

	ck_assert_int_eq(rdma_disconnect(l.b.id), 0);
	ck_assert_int_eq(state_of(&l.b), IBV_QPS_ERR);
	expect_event(l.a.events, RDMA_CM_EVENT_ESTABLISHED);
	expect_event(l.b.events, RDMA_CM_EVENT_ESTABLISHED);
	ck_assert_int_eq(rdma_disconnect(l.b.id), 0);
	expect_event(l.a.events, RDMA_CM_EVENT_DISCONNECTED);
	link_end(&l);
}
END_TEST

/* It may go before it learns that the connection is established, which rejects it, or after. */
START_TEST(leaving_at_once_is_seen)
{
	for (int i = 0; i < 100; i++) {
		struct link l = accepted();
		enum rdma_cm_event_type last;

		expect_event(l.a.events, RDMA_CM_EVENT_ESTABLISHED);
		free_end(&l.b);
		last = next_event(l.a.events, NULL);
		ck_assert_msg(last == RDMA_CM_EVENT_REJECTED || last == RDMA_CM_EVENT_DISCONNECTED, "%s",
			      rdma_event_str(last));
		free_end(&l.a);
		ck_assert_int_eq(rdma_destroy_id(l.listener), 0);
		rdma_destroy_event_channel(l.a.events);
		rdma_destroy_event_channel(l.events);
	}
}
END_TEST

/* As rping does. */
START_TEST(qp_may_go_before_its_id)
{
	struct link l = linked(&usual_terms);

	ck_assert_int_eq(ibv_destroy_qp(l.a.id->qp), 0);
	ck_assert_int_eq(rdma_disconnect(l.b.id), 0);
	expect_event(l.a.events, RDMA_CM_EVENT_DISCONNECTED);
	l.a.id->qp = NULL;
	link_end(&l);
}
END_TEST

START_TEST(port_belongs_to_one)
{
	struct rdma_event_channel *events;
	struct rdma_cm_id *first, *second;

	listen_here(&events, &first, RDMA_PS_TCP);
	ck_assert_int_eq(rdma_create_id(events, &second, NULL, RDMA_PS_TCP), 0);
	FAILS(rdma_bind_addr(second, rdma_get_local_addr(first)), EADDRINUSE);
	ck_assert_int_eq(rdma_destroy_id(first), 0);
	ck_assert_int_eq(rdma_destroy_id(second), 0);
	rdma_destroy_event_channel(events);
}
END_TEST

static bool has_cm_event(const struct rdma_event_channel *channel)
{
	struct pollfd ready = { .fd = channel->fd, .events = POLLIN };

	return poll(&ready, 1, QUIET_MS) == 1;
}

START_TEST(id_takes_its_events_to_another_channel)
{
	struct rdma_event_channel *other = rdma_create_event_channel();
	struct link l = linked(&usual_terms);

	ck_assert_int_eq(rdma_disconnect(l.a.id), 0);
	expect_event(l.events, RDMA_CM_EVENT_DISCONNECTED);
	ck_assert_int_eq(rdma_disconnect(l.b.id), 0);
	ck_assert_int_eq(rdma_migrate_id(l.a.id, other), 0);
	expect_event(other, RDMA_CM_EVENT_DISCONNECTED);
	ck_assert(!has_cm_event(l.a.events));
	link_end(&l);
	rdma_destroy_event_channel(other);
}
END_TEST

START_TEST(events_go_with_their_id)
{
	struct link l = linked(&usual_terms);

	ck_assert_int_eq(rdma_disconnect(l.b.id), 0);
	poll(NULL, 0, QUIET_MS);
	free_end(&l.a);
	ck_assert(!has_cm_event(l.a.events));
	rdma_destroy_event_channel(l.a.events);
	free_end(&l.b);
	ck_assert_int_eq(rdma_destroy_id(l.listener), 0);
	rdma_destroy_event_channel(l.events);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("rdmacm");
	TCase *tc;

	tc = group(s, "connection manager", 120);
	tcase_add_test(tc, private_data_is_padded_to_the_size_of_the_message);
	tcase_add_test(tc, nobody_listens_is_told_from_refused);
	tcase_add_test(tc, want_of_descriptors_is_told_from_refused);
	tcase_add_test(tc, listener_is_found_over_ipv6);
	tcase_add_test(tc, unknown_address_is_not_resolved);
	tcase_add_test(tc, request_beyond_the_backlog_is_answered);
	tcase_add_test(tc, disconnecting_tells_both_ends);
	tcase_add_test(tc, only_what_is_established_can_be_disconnected);
	tcase_add_test(tc, leaving_at_once_is_seen);
	tcase_add_test(tc, qp_may_go_before_its_id);
	tcase_add_test(tc, port_belongs_to_one);
	tcase_add_test(tc, id_takes_its_events_to_another_channel);
	tcase_add_test(tc, events_go_with_their_id);
	return run_suite(s);
}
