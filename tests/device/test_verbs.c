/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What a device does, whatever device it is: the contract of verbs that rsk, and any program, builds on; that
 * of the connection manager is in test_rdmacm.c. Run over a real device it tells what is true; software verbs
 * must pass the same tests.
 */
#include <poll.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "faults.h"
#include "peer.h"
#include "process.h"
#include "rawpeer.h"
#include "verbs.h"

static const struct ibv_send_wr a_send = { .opcode = IBV_WR_SEND, .send_flags = IBV_SEND_SIGNALED };

/* -- moving data ------------------------------------------------------------------------------- */

static void fill(uint8_t *bytes, size_t len, unsigned seed)
{
	for (size_t i = 0; i < len; i++)
		bytes[i] = (uint8_t)(i * 7 + i / 251 + seed);
}

START_TEST(messages_arrive_whole_and_in_order)
{
	static const uint32_t sizes[] = { 0, 1, 7, 4096, 4097, 100000, VERBS_BYTES / 2 };
	struct link l = linked(&usual_terms);

	for (size_t i = 0; i < COUNT(sizes); i++)
		post_recv(&l.b, i, 0, VERBS_BYTES);
	for (size_t i = 0; i < COUNT(sizes); i++) {
		struct ibv_wc wc;

		fill(l.a.memory, sizes[i], (unsigned)i);
		ck_assert_int_eq(post_send(&l.a, a_send, 0, sizes[i]), 0);
		wc = completion(l.b.recvs);
		ck_assert_int_eq(wc.status, IBV_WC_SUCCESS);
		ck_assert_int_eq(wc.opcode, IBV_WC_RECV);
		ck_assert_uint_eq(wc.wr_id, i);
		ck_assert_uint_eq(wc.byte_len, sizes[i]);
		ck_assert_mem_eq(l.b.memory, l.a.memory, sizes[i]);
		expect_status(l.a.sends, IBV_WC_SUCCESS);
	}
	link_end(&l);
}
END_TEST

START_TEST(write_and_read_move_memory_of_the_other_end)
{
	struct link l = linked(&usual_terms);
	size_t half = VERBS_BYTES / 2;

	fill(l.a.memory, half, 3);
	ck_assert_int_eq(post_send(&l.a, remote(IBV_WR_RDMA_WRITE, &l.b, half), 0, half), 0);
	expect_status(l.a.sends, IBV_WC_SUCCESS);
	ck_assert_mem_eq(l.b.memory + half, l.a.memory, half);
	ck_assert_int_eq(post_send(&l.a, remote(IBV_WR_RDMA_READ, &l.b, half), half, half), 0);
	ck_assert_int_eq(completion(l.a.sends).opcode, IBV_WC_RDMA_READ);
	ck_assert_mem_eq(l.a.memory + half, l.a.memory, half);
	link_end(&l);
}
END_TEST

START_TEST(reads_and_writes_complete_in_the_order_posted)
{
	struct link l = linked(&usual_terms);

	for (uint64_t i = 0; i < 12; i++) {
		struct ibv_send_wr wr = remote(i % 3 ? IBV_WR_RDMA_WRITE : IBV_WR_RDMA_READ, &l.b, 0);

		wr.wr_id = i;
		ck_assert_int_eq(post_send(&l.a, wr, 65536, 40000), 0);
	}
	for (uint64_t i = 0; i < 12; i++)
		ck_assert_uint_eq(completion(l.a.sends).wr_id, i);
	link_end(&l);
}
END_TEST

START_TEST(immediate_data_takes_a_receive)
{
	struct ibv_send_wr wr;
	struct ibv_wc wc;
	struct link l;

	if (lacks("iWARP has no immediate data"))
		return;
	l = linked(&usual_terms);
	wr = remote(IBV_WR_RDMA_WRITE_WITH_IMM, &l.b, 100);
	wr.imm_data = htonl(0x12345678);
	post_recv(&l.b, 5, 0, 0);
	memset(l.a.memory, 9, 50);
	ck_assert_int_eq(post_send(&l.a, wr, 0, 50), 0);
	wc = completion(l.b.recvs);
	ck_assert_int_eq(wc.opcode, IBV_WC_RECV_RDMA_WITH_IMM);
	ck_assert_uint_eq(ntohl(wc.imm_data), 0x12345678);
	ck_assert_uint_eq(wc.byte_len, 50);
	ck_assert_uint_eq(wc.wc_flags & IBV_WC_WITH_IMM, IBV_WC_WITH_IMM);
	ck_assert_mem_eq(l.b.memory + 100, l.a.memory, 50);
	link_end(&l);
}
END_TEST

START_TEST(several_pieces_are_gathered_and_scattered)
{
	struct link l = linked(&usual_terms);
	struct ibv_sge from[2] = { { (uintptr_t)l.a.memory, 10, l.a.mr->lkey },
				   { (uintptr_t)l.a.memory + 1000, 20, l.a.mr->lkey } };
	struct ibv_sge to[2] = { { (uintptr_t)l.b.memory + 500, 25, l.b.mr->lkey },
				 { (uintptr_t)l.b.memory, 25, l.b.mr->lkey } };
	struct ibv_recv_wr recv = { .sg_list = to, .num_sge = 2 }, *bad;
	struct ibv_send_wr wr = a_send;

	fill(l.a.memory, 2000, 1);
	ck_assert_int_eq(ibv_post_recv(l.b.id->qp, &recv, &bad), 0);
	wr.sg_list = from;
	wr.num_sge = 2;
	ck_assert_int_eq(post_send(&l.a, wr, 0, 0), 0);
	ck_assert_uint_eq(completion(l.b.recvs).byte_len, 30);
	ck_assert_mem_eq(l.b.memory + 500, l.a.memory, 10);
	ck_assert_mem_eq(l.b.memory + 510, l.a.memory + 1000, 15);
	ck_assert_mem_eq(l.b.memory, l.a.memory + 1015, 5);
	link_end(&l);
}
END_TEST

START_TEST(only_signalled_work_completes)
{
	struct link l = linked(&usual_terms);
	struct ibv_send_wr silent = remote(IBV_WR_RDMA_WRITE, &l.b, 0);
	struct ibv_send_wr loud = silent;

	silent.send_flags = 0;
	silent.wr_id = 1;
	loud.wr_id = 2;
	ck_assert_int_eq(post_send(&l.a, silent, 0, 8), 0);
	ck_assert_int_eq(post_send(&l.a, loud, 0, 8), 0);
	ck_assert_uint_eq(completion(l.a.sends).wr_id, 2);
	link_end(&l);
}
END_TEST

/* -- refusing ---------------------------------------------------------------------------------- */

/* The QP is in the error state, and the receives that were posted are flushed. */
static void check_failed(struct end *end, int recvs)
{
	for (int i = 0; i < recvs; i++)
		expect_status(end->recvs, IBV_WC_WR_FLUSH_ERR);
	ck_assert_int_eq(state_of(end), IBV_QPS_ERR);
}

START_TEST(wrong_key_is_a_remote_access_error)
{
	static const enum ibv_wr_opcode opcodes[] = { IBV_WR_RDMA_WRITE, IBV_WR_RDMA_READ };
	struct link l = linked(&usual_terms);
	struct ibv_send_wr wr = remote(opcodes[_i], &l.b, 0);

	wr.wr.rdma.rkey ^= 0x5a00;
	post_recv(&l.a, 0, 0, 8);
	ck_assert_int_eq(post_send(&l.a, wr, 0, 8), 0);
	ck_assert_int_eq(post_send(&l.a, a_send, 0, 8), 0);
	expect_status(l.a.sends, IBV_WC_REM_ACCESS_ERR);
	expect_status(l.a.sends, IBV_WC_WR_FLUSH_ERR);
	check_failed(&l.a, 1);
	link_end(&l);
}
END_TEST

START_TEST(beyond_the_end_is_a_remote_access_error)
{
	struct link l = linked(&usual_terms);

	ck_assert_int_eq(post_send(&l.a, remote(IBV_WR_RDMA_WRITE, &l.b, VERBS_BYTES - 4), 0, 8), 0);
	expect_status(l.a.sends, IBV_WC_REM_ACCESS_ERR);
	link_end(&l);
}
END_TEST

START_TEST(deregistered_memory_is_closed)
{
	struct link l = linked(&usual_terms);
	struct ibv_send_wr wr = remote(IBV_WR_RDMA_WRITE, &l.b, 0);

	ck_assert_int_eq(ibv_dereg_mr(l.b.mr), 0);
	l.b.mr = NULL;
	ck_assert_int_eq(post_send(&l.a, wr, 0, 8), 0);
	expect_status(l.a.sends, IBV_WC_REM_ACCESS_ERR);
	link_end(&l);
}
END_TEST

START_TEST(memory_is_only_open_for_what_it_was_registered_for)
{
	struct link l = linked(&usual_terms);
	struct ibv_mr *readable = ibv_reg_mr(l.b.pd, l.b.memory, 4096, IBV_ACCESS_REMOTE_READ);
	struct ibv_send_wr wr = remote(IBV_WR_RDMA_READ, &l.b, 0);

	ck_assert_ptr_nonnull(readable);
	wr.wr.rdma.rkey = readable->rkey;
	ck_assert_int_eq(post_send(&l.a, wr, 0, 8), 0);
	expect_status(l.a.sends, IBV_WC_SUCCESS);
	wr.opcode = IBV_WR_RDMA_WRITE;
	ck_assert_int_eq(post_send(&l.a, wr, 0, 8), 0);
	expect_status(l.a.sends, IBV_WC_REM_ACCESS_ERR);
	ck_assert_int_eq(ibv_dereg_mr(readable), 0);
	link_end(&l);
}
END_TEST

START_TEST(wrong_local_key_is_a_local_protection_error)
{
	struct link l = linked(&usual_terms);
	struct ibv_sge sge = { (uintptr_t)l.a.memory, 8, l.a.mr->lkey ^ 0x5a00 };
	struct ibv_send_wr wr = remote(IBV_WR_RDMA_WRITE, &l.b, 0);

	wr.sg_list = &sge;
	wr.num_sge = 1;
	ck_assert_int_eq(post_send(&l.a, wr, 0, 0), 0);
	expect_status_or(l.a.sends, IBV_WC_LOC_PROT_ERR, IBV_WC_LOC_QP_OP_ERR);
	check_failed(&l.a, 0);
	link_end(&l);
}
END_TEST

START_TEST(message_longer_than_the_receive_fails_both_ends)
{
	struct link l = linked(&usual_terms);

	post_recv(&l.b, 0, 0, 8);
	ck_assert_int_eq(post_send(&l.a, a_send, 0, 9), 0);
	expect_status_or(l.a.sends, IBV_WC_REM_INV_REQ_ERR, IBV_WC_REM_OP_ERR);
	expect_status_or(l.b.recvs, IBV_WC_LOC_LEN_ERR, IBV_WC_LOC_QP_OP_ERR);
	link_end(&l);
}
END_TEST

START_TEST(queues_refuse_what_they_cannot_hold)
{
	struct link l = linked(&usual_terms);
	struct ibv_sge sges[40] = { { 0 } };
	struct ibv_send_wr many = { .opcode = IBV_WR_SEND, .sg_list = sges, .num_sge = COUNT(sges) };
	struct ibv_recv_wr recv = { .sg_list = sges, .num_sge = COUNT(sges) }, *bad;
	struct ibv_qp_init_attr init;
	struct ibv_qp_attr attr;
	int ret = 0;

	ck_assert_int_eq(ibv_query_qp(l.a.id->qp, &attr, IBV_QP_CAP, &init), 0);
	ck_assert_uint_ge(init.cap.max_recv_wr, VERBS_QUEUE);
	ck_assert_int_ne(post_send(&l.a, many, 0, 0), 0);
	ck_assert_int_ne(ibv_post_recv(l.a.id->qp, &recv, &bad), 0);
	ck_assert_ptr_eq(bad, &recv);
	recv.num_sge = 0;
	for (unsigned i = 0; i < 4 * init.cap.max_recv_wr && !ret; i++)
		ret = ibv_post_recv(l.a.id->qp, &recv, &bad);
	ck_assert_int_eq(ret, ENOMEM);
	link_end(&l);
}
END_TEST

START_TEST(atomic_operations_are_refused_where_there_are_none)
{
	static const enum ibv_wr_opcode opcodes[] = { IBV_WR_ATOMIC_CMP_AND_SWP, IBV_WR_ATOMIC_FETCH_AND_ADD };
	struct link l = linked(&usual_terms);
	struct ibv_send_wr wr = {
		.opcode = opcodes[_i],
		.wr.atomic = { .remote_addr = (uintptr_t)l.b.memory, .rkey = l.b.mr->rkey },
	};
	struct ibv_device_attr attr;

	ck_assert_int_eq(ibv_query_device(l.a.id->verbs, &attr), 0);
	if (attr.atomic_cap == IBV_ATOMIC_NONE)
		ck_assert_int_ne(post_send(&l.a, wr, 0, 8), 0);
	else
		skip("the device has atomic operations");
	link_end(&l);
}
END_TEST

/* -- receiver not ready, peer gone ------------------------------------------------------------- */

START_TEST(sender_waits_for_a_receive)
{
	struct link l = linked(&usual_terms);
	struct ibv_qp_attr quick = { .min_rnr_timer = 1 };
	struct ibv_wc wc;

	ck_assert_int_eq(ibv_modify_qp(l.b.id->qp, &quick, IBV_QP_MIN_RNR_TIMER), 0);
	memset(l.a.memory, 5, 100);
	ck_assert_int_eq(post_send(&l.a, a_send, 0, 100), 0);
	ck_assert_int_eq(post_send(&l.a, remote(IBV_WR_RDMA_WRITE, &l.b, 200), 0, 100), 0);
	poll(NULL, 0, QUIET_MS);
	ck_assert_int_eq(ibv_poll_cq(l.a.sends, 1, &wc), 0);
	post_recv(&l.b, 0, 0, 100);
	expect_status(l.b.recvs, IBV_WC_SUCCESS);
	ck_assert_mem_eq(l.b.memory, l.a.memory, 100);
	expect_status(l.a.sends, IBV_WC_SUCCESS);
	expect_status(l.a.sends, IBV_WC_SUCCESS);
	ck_assert_mem_eq(l.b.memory + 200, l.a.memory, 100);
	link_end(&l);
}
END_TEST

START_TEST(sender_gives_up_when_no_receive_comes)
{
	struct terms terms = usual_terms;
	struct ibv_qp_attr quick = { .min_rnr_timer = 1 };
	struct link l;

	terms.rnr_retry = 2;
	l = linked(&terms);
	ck_assert_int_eq(ibv_modify_qp(l.b.id->qp, &quick, IBV_QP_MIN_RNR_TIMER), 0);
	ck_assert_int_eq(post_send(&l.a, a_send, 0, 8), 0);
	expect_status(l.a.sends, IBV_WC_RNR_RETRY_EXC_ERR);
	check_failed(&l.a, 0);
	link_end(&l);
}
END_TEST

START_TEST(peer_in_the_error_state_answers_nothing)
{
	struct link l = linked(&usual_terms);
	struct ibv_qp_attr error = { .qp_state = IBV_QPS_ERR };

	ck_assert_int_eq(ibv_modify_qp(l.b.id->qp, &error, IBV_QP_STATE), 0);
	ck_assert_int_eq(post_send(&l.a, remote(IBV_WR_RDMA_WRITE, &l.b, 0), 0, 8), 0);
	expect_status(l.a.sends, IBV_WC_RETRY_EXC_ERR);
	link_end(&l);
}
END_TEST

START_TEST(error_state_flushes_the_receives)
{
	struct link l = linked(&usual_terms);
	struct ibv_qp_attr error = { .qp_state = IBV_QPS_ERR };

	for (uint64_t i = 0; i < 3; i++)
		post_recv(&l.a, i, 0, 8);
	ck_assert_int_eq(ibv_modify_qp(l.a.id->qp, &error, IBV_QP_STATE), 0);
	for (uint64_t i = 0; i < 3; i++) {
		struct ibv_wc wc = completion(l.a.recvs);

		ck_assert_int_eq(wc.status, IBV_WC_WR_FLUSH_ERR);
		ck_assert_uint_eq(wc.wr_id, i);
	}
	link_end(&l);
}
END_TEST

START_TEST(send_in_the_error_state_is_flushed)
{
	struct link l = linked(&usual_terms);
	struct ibv_qp_attr error = { .qp_state = IBV_QPS_ERR };

	ck_assert_int_eq(ibv_modify_qp(l.a.id->qp, &error, IBV_QP_STATE), 0);
	ck_assert_int_eq(post_send(&l.a, a_send, 0, 8), 0);
	expect_status(l.a.sends, IBV_WC_WR_FLUSH_ERR);
	link_end(&l);
}
END_TEST

static void connect_and_wait(struct peer *me)
{
	struct address there;
	struct end end;
	struct rdma_conn_param param = { .retry_count = 2, .rnr_retry_count = 7 };

	peer_listen(me, &there, sizeof(there));
	resolve(&end, &there.any, RDMA_PS_TCP);
	make_qp(&end, &usual_terms);
	ck_assert_int_eq(rdma_connect(end.id, &param), 0);
	expect_event(end.events, RDMA_CM_EVENT_ESTABLISHED);
	/* On iWARP the other end may not speak first. */
	ck_assert_int_eq(post_send(&end, a_send, 0, 8), 0);
	expect_status(end.sends, IBV_WC_SUCCESS);
	peer_signal(me);
	peer_await(me);
}

START_TEST(killed_peer_is_a_dead_node)
{
	struct address here = { .len = sizeof(here.v4) };
	struct rdma_conn_param param = { .rnr_retry_count = 7 };
	struct rdma_event_channel *events;
	struct rdma_cm_id *listener;
	struct rdma_cm_event event;
	struct end end;
	struct peer p;

	peer_start(&p, connect_and_wait);
	listen_here(&events, &listener, RDMA_PS_TCP);
	memcpy(&here.room, rdma_get_local_addr(listener), sizeof(here.v4));
	peer_say(&p, &here, sizeof(here));
	ck_assert_int_eq(next_event(events, &event), RDMA_CM_EVENT_CONNECT_REQUEST);
	end = (struct end){ .id = event.id };
	make_qp(&end, &usual_terms);
	post_recv(&end, 0, 0, 8);
	ck_assert_int_eq(rdma_accept(end.id, &param), 0);
	expect_event(events, RDMA_CM_EVENT_ESTABLISHED);
	peer_await(&p);
	expect_status(end.recvs, IBV_WC_SUCCESS);
	peer_kill(&p);
	expect_event(events, RDMA_CM_EVENT_DISCONNECTED);
	ck_assert_int_eq(post_send(&end, a_send, 0, 8), 0);
	expect_status(end.sends, IBV_WC_RETRY_EXC_ERR);
}
END_TEST

static bool descriptors_get_lost;

/* Instead of libc's. A process that can have no more of them is told of no descriptor that was sent to it. */
ssize_t recvmsg(int fd, struct msghdr *msg, int flags)
{
	if (descriptors_get_lost)
		msg->msg_controllen = 0;
	return syscall(SYS_recvmsg, fd, msg, flags);
}

/* Software verbs send the way between two ends as a descriptor. */
START_TEST(lost_descriptor_is_a_peer_that_is_not_there)
{
	struct link l;

	if (!can_fail())
		return;
	descriptors_get_lost = true;
	l = linked(&usual_terms);
	descriptors_get_lost = false;
	/* On iWARP whoever accepted may not speak first. */
	ck_assert_int_eq(post_send(&l.a, a_send, 0, 8), 0);
	expect_status(l.a.sends, IBV_WC_RETRY_EXC_ERR);
	check_failed(&l.a, 0);
	link_end(&l);
}
END_TEST

/* -- completion events ------------------------------------------------------------------------- */

static void take_event(struct end *end, struct ibv_cq *expected)
{
	struct ibv_cq *cq;
	void *context;

	ck_assert_int_eq(ibv_get_cq_event(end->channel, &cq, &context), 0);
	ck_assert_ptr_eq(cq, expected);
	ibv_ack_cq_events(cq, 1);
}

START_TEST(arming_is_for_the_next_completion_only)
{
	struct link l = linked(&usual_terms);
	struct ibv_send_wr wr = remote(IBV_WR_RDMA_WRITE, &l.b, 0);

	ck_assert_int_eq(post_send(&l.a, wr, 0, 8), 0);
	expect_status(l.a.sends, IBV_WC_SUCCESS);
	ck_assert_int_eq(ibv_req_notify_cq(l.a.sends, 0), 0);
	ck_assert(!has_event(l.a.channel));
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(post_send(&l.a, wr, 0, 8), 0);
	await_event(l.a.channel);
	take_event(&l.a, l.a.sends);
	ck_assert(!has_event(l.a.channel));
	link_end(&l);
}
END_TEST

START_TEST(solicited_arming_waits_for_a_solicited_message)
{
	struct link l = linked(&usual_terms);
	struct ibv_send_wr loud = a_send;

	loud.send_flags |= IBV_SEND_SOLICITED;
	post_recv(&l.b, 0, 0, 8);
	post_recv(&l.b, 1, 0, 8);
	ck_assert_int_eq(ibv_req_notify_cq(l.b.recvs, 1), 0);
	ck_assert_int_eq(post_send(&l.a, a_send, 0, 8), 0);
	ck_assert(!has_event(l.b.channel));
	ck_assert_int_eq(post_send(&l.a, loud, 0, 8), 0);
	await_event(l.b.channel);
	take_event(&l.b, l.b.recvs);
	link_end(&l);
}
END_TEST

START_TEST(events_go_with_their_queue)
{
	struct link l = linked(&usual_terms);
	struct ibv_send_wr wr = remote(IBV_WR_RDMA_WRITE, &l.b, 0);

	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(ibv_req_notify_cq(l.a.sends, 0), 0);
		ck_assert_int_eq(post_send(&l.a, wr, 0, 8), 0);
		expect_status(l.a.sends, IBV_WC_SUCCESS);
	}
	await_event(l.a.channel);
	rdma_destroy_qp(l.a.id);
	ck_assert_int_eq(ibv_destroy_cq(l.a.sends), 0);
	ck_assert(!has_event(l.a.channel));
	l.a.sends = ibv_create_cq(l.a.id->verbs, 1, NULL, NULL, 0);
	link_end(&l);
}
END_TEST

/* -- asynchronous events ----------------------------------------------------------------------- */

/* Waits up to @ms for an event of this type; passes over others. */
static bool async_event(const struct end *end, enum ibv_event_type type, int ms, struct ibv_async_event *event)
{
	struct pollfd ready = { .fd = end->id->verbs->async_fd, .events = POLLIN };

	while (poll(&ready, 1, ms) == 1) {
		ck_assert_int_eq(ibv_get_async_event(end->id->verbs, event), 0);
		ibv_ack_async_event(event);
		if (event->event_type == type)
			return true;
	}
	return false;
}

/* A device may make a queue larger than it was asked for: not by this much. */
static struct link with_small_queue(void)
{
	struct terms terms = usual_terms;

	terms.cq_entries = 4;
	return linked(&terms);
}

static void overflow(struct link *l)
{
	for (int i = 0; i < VERBS_QUEUE; i++)
		ck_assert_int_eq(post_send(&l->a, remote(IBV_WR_RDMA_WRITE, &l->b, 0), 0, 8), 0);
}

START_TEST(full_queue_is_an_asynchronous_event)
{
	struct link l = with_small_queue();
	struct ibv_async_event event;

	overflow(&l);
	ck_assert_msg(async_event(&l.a, IBV_EVENT_CQ_ERR, LIMIT_MS, &event), "no asynchronous event");
	ck_assert_ptr_eq(event.element.cq, l.a.sends);
	link_end(&l);
}
END_TEST

static void raise_event(struct peer *me)
{
	struct link l = with_small_queue();
	struct pollfd ready = { .fd = l.a.id->verbs->async_fd, .events = POLLIN };

	overflow(&l);
	ck_assert_msg(poll(&ready, 1, LIMIT_MS) == 1, "no asynchronous event");
	peer_signal(me);
	peer_await(me);
}

/* A child opens real devices anew; that of software verbs is always open. */
START_TEST(child_has_asynchronous_events_of_its_own)
{
	struct pollfd ready = { .events = POLLIN };
	struct ibv_async_event event;
	struct peer child;
	struct link l;

	if (!can_fail())
		return;
	l = with_small_queue();
	ready.fd = l.a.id->verbs->async_fd;
	peer_start(&child, raise_event);
	peer_await(&child);
	ck_assert_msg(poll(&ready, 1, QUIET_MS) == 0, "an event of the child");
	overflow(&l);
	ck_assert_msg(async_event(&l.a, IBV_EVENT_CQ_ERR, LIMIT_MS, &event), "no asynchronous event");
	peer_signal(&child);
	link_end(&l);
}
END_TEST

static void take_message(struct link *l)
{
	ck_assert_int_eq(post_send(&l->a, a_send, 0, 8), 0);
	expect_status(l->a.sends, IBV_WC_SUCCESS);
	expect_status(l->b.recvs, IBV_WC_SUCCESS);
}

START_TEST(shared_queue_that_runs_low_is_told_of_once)
{
	struct ibv_srq_attr low = { .srq_limit = 2 };
	struct terms terms = usual_terms;
	struct ibv_async_event event;
	struct link l;

	terms.srq = true;
	l = linked(&terms);
	for (uint64_t i = 0; i < 5; i++)
		post_recv(&l.b, i, 0, 8);
	ck_assert_int_eq(ibv_modify_srq(l.b.srq, &low, IBV_SRQ_LIMIT), 0);
	take_message(&l);
	ck_assert(!async_event(&l.b, IBV_EVENT_SRQ_LIMIT_REACHED, QUIET_MS, &event));
	for (int i = 0; i < 3; i++)
		take_message(&l);
	ck_assert_msg(async_event(&l.b, IBV_EVENT_SRQ_LIMIT_REACHED, LIMIT_MS, &event), "no asynchronous event");
	ck_assert_ptr_eq(event.element.srq, l.b.srq);
	take_message(&l);
	ck_assert(!async_event(&l.b, IBV_EVENT_SRQ_LIMIT_REACHED, QUIET_MS, &event));
	link_end(&l);
}
END_TEST

/* -- objects ----------------------------------------------------------------------------------- */

START_TEST(objects_in_use_cannot_be_destroyed)
{
	struct link l = linked(&usual_terms);

	ck_assert_int_eq(ibv_destroy_cq(l.a.sends), EBUSY);
	ck_assert_int_eq(ibv_dealloc_pd(l.a.pd), EBUSY);
	ck_assert_int_eq(ibv_destroy_comp_channel(l.a.channel), EBUSY);
	link_end(&l);
}
END_TEST

START_TEST(connections_in_a_row_leave_nothing)
{
	struct link l = linked(&usual_terms);
	int descriptors, threads;

	link_end(&l);
	descriptors = open_descriptors();
	threads = running_threads();
	for (int i = 0; i < 50; i++) {
		l = linked(&usual_terms);
		post_recv(&l.b, 0, 0, 8);
		ck_assert_int_eq(post_send(&l.a, a_send, 0, 8), 0);
		expect_status(l.b.recvs, IBV_WC_SUCCESS);
		link_end(&l);
	}
	ck_assert_int_eq(open_descriptors(), descriptors);
	ck_assert_int_eq(running_threads(), threads);
}
END_TEST

START_TEST(states_follow_in_order)
{
	struct link l = linked(&usual_terms);
	struct ibv_qp_attr attr = { .qp_state = IBV_QPS_INIT };

	ck_assert_int_eq(state_of(&l.a), IBV_QPS_RTS);
	ck_assert_int_eq(ibv_modify_qp(l.a.id->qp, &attr, IBV_QP_STATE), EINVAL);
	attr.qp_state = IBV_QPS_RESET;
	ck_assert_int_eq(ibv_modify_qp(l.a.id->qp, &attr, IBV_QP_STATE), 0);
	attr.qp_state = IBV_QPS_RTS;
	ck_assert_int_eq(ibv_modify_qp(l.a.id->qp, &attr, IBV_QP_STATE), EINVAL);
	ck_assert_int_eq(post_send(&l.a, a_send, 0, 8), EINVAL);
	link_end(&l);
}
END_TEST

/* Back to where it was before it met the other; what takes it to @state. */
static struct ibv_qp_attr begun_anew(struct end *end, enum ibv_qp_state state)
{
	struct ibv_qp_init_attr init;
	struct ibv_qp_attr attr;
	int mask = IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN | IBV_QP_MAX_DEST_RD_ATOMIC |
		   IBV_QP_MIN_RNR_TIMER | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS;

	ck_assert_int_eq(ibv_query_qp(end->id->qp, &attr, mask, &init), 0);
	attr.qp_state = IBV_QPS_RESET;
	ck_assert_int_eq(ibv_modify_qp(end->id->qp, &attr, IBV_QP_STATE), 0);
	attr.qp_state = IBV_QPS_INIT;
	ck_assert_int_eq(ibv_modify_qp(end->id->qp, &attr, IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT |
				       IBV_QP_ACCESS_FLAGS), 0);
	attr.qp_state = state;
	return attr;
}

/* Software verbs need one for the way between two ends. */
START_TEST(want_of_descriptors_is_no_wrong_step)
{
	int mask = IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN |
		   IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER;
	struct ibv_qp_attr attr;
	struct end *first;           /* which makes the way to the other */
	struct link l;

	if (!can_fail())
		return;
	l = linked(&usual_terms);
	first = l.a.id->qp->qp_num < l.b.id->qp->qp_num ? &l.a : &l.b;
	attr = begun_anew(first, IBV_QPS_RTR);
	use_up_descriptors();
	ck_assert_int_eq(ibv_modify_qp(first->id->qp, &attr, mask), EMFILE);
	give_descriptors_back();
	ck_assert_int_eq(state_of(first), IBV_QPS_INIT);
	ck_assert_int_eq(ibv_modify_qp(first->id->qp, &attr, mask), 0);
	ck_assert_int_eq(state_of(first), IBV_QPS_RTR);
	link_end(&l);
}
END_TEST

/* As softverbs(7) says. */
START_TEST(state_that_the_device_lacks_is_refused)
{
	struct ibv_qp_attr attr = { .qp_state = IBV_QPS_SQD };
	struct link l;

	if (!can_fail())
		return;
	l = linked(&usual_terms);
	ck_assert_int_eq(ibv_modify_qp(l.a.id->qp, &attr, IBV_QP_STATE), EINVAL);
	ck_assert_int_eq(state_of(&l.a), IBV_QPS_RTS);
	post_recv(&l.b, 0, 0, 8);
	take_message(&l);
	link_end(&l);
}
END_TEST

START_TEST(memory_that_is_not_there_cannot_be_registered)
{
	struct link l = linked(&usual_terms);
	void *hole = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ck_assert_ptr_ne(hole, MAP_FAILED);
	munmap(hole, 8192);
	ck_assert_ptr_null(ibv_reg_mr(l.a.pd, hole, 8192, IBV_ACCESS_LOCAL_WRITE));
	ck_assert_int_eq(errno, EFAULT);
	ck_assert_ptr_null(ibv_reg_mr(l.a.pd, l.a.memory, 4096, IBV_ACCESS_REMOTE_WRITE));
	ck_assert_int_eq(errno, EINVAL);
	link_end(&l);
}
END_TEST

/* -- datagrams --------------------------------------------------------------------------------- */

START_TEST(datagram_comes_behind_its_route_header)
{
	struct terms terms = usual_terms;
	struct ibv_send_wr wr = a_send;
	struct ibv_wc wc;
	struct link l;

	if (lacks("iWARP has no datagrams"))
		return;
	terms.ps = RDMA_PS_UDP;
	l = linked(&terms);
	wr.wr.ud.ah = ibv_create_ah(l.a.pd, &l.where.ah_attr);
	ck_assert_ptr_nonnull(wr.wr.ud.ah);
	wr.wr.ud.remote_qpn = l.where.qp_num;
	wr.wr.ud.remote_qkey = l.where.qkey + 1;
	fill(l.a.memory, 100, 1);
	post_recv(&l.b, 1, 0, 200);
	ck_assert_int_eq(post_send(&l.a, wr, 0, 100), 0);
	expect_status(l.a.sends, IBV_WC_SUCCESS);
	ck_assert_msg(!has_event(l.b.channel) && !ibv_poll_cq(l.b.recvs, 1, &wc), "a wrong Q_Key passed");
	wr.wr.ud.remote_qkey = l.where.qkey;
	ck_assert_int_eq(post_send(&l.a, wr, 0, 100), 0);
	wc = completion(l.b.recvs);
	ck_assert_int_eq(wc.status, IBV_WC_SUCCESS);
	ck_assert_uint_eq(wc.byte_len, 140);
	ck_assert_uint_eq(wc.src_qp, l.a.id->qp->qp_num);
	ck_assert(wc.wc_flags & IBV_WC_GRH);
	ck_assert_mem_eq(l.b.memory + 40, l.a.memory, 100);
	ck_assert_int_eq(ibv_destroy_ah(wr.wr.ud.ah), 0);
	link_end(&l);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("verbs");
	TCase *tc;

	tc = group(s, "moving data", 120);
	tcase_add_test(tc, messages_arrive_whole_and_in_order);
	tcase_add_test(tc, write_and_read_move_memory_of_the_other_end);
	tcase_add_test(tc, reads_and_writes_complete_in_the_order_posted);
	tcase_add_test(tc, immediate_data_takes_a_receive);
	tcase_add_test(tc, several_pieces_are_gathered_and_scattered);
	tcase_add_test(tc, only_signalled_work_completes);

	tc = group(s, "refusing", 120);
	tcase_add_loop_test(tc, wrong_key_is_a_remote_access_error, 0, 2);
	tcase_add_test(tc, beyond_the_end_is_a_remote_access_error);
	tcase_add_test(tc, deregistered_memory_is_closed);
	tcase_add_test(tc, memory_is_only_open_for_what_it_was_registered_for);
	tcase_add_test(tc, wrong_local_key_is_a_local_protection_error);
	tcase_add_test(tc, message_longer_than_the_receive_fails_both_ends);
	tcase_add_test(tc, queues_refuse_what_they_cannot_hold);
	tcase_add_loop_test(tc, atomic_operations_are_refused_where_there_are_none, 0, 2);

	tc = group(s, "not ready, or gone", 120);
	tcase_add_test(tc, sender_waits_for_a_receive);
	tcase_add_test(tc, sender_gives_up_when_no_receive_comes);
	tcase_add_test(tc, peer_in_the_error_state_answers_nothing);
	tcase_add_test(tc, error_state_flushes_the_receives);
	tcase_add_test(tc, send_in_the_error_state_is_flushed);
	tcase_add_test(tc, killed_peer_is_a_dead_node);
	tcase_add_test(tc, lost_descriptor_is_a_peer_that_is_not_there);

	tc = group(s, "completion events", 120);
	tcase_add_test(tc, arming_is_for_the_next_completion_only);
	tcase_add_test(tc, solicited_arming_waits_for_a_solicited_message);
	tcase_add_test(tc, events_go_with_their_queue);

	tc = group(s, "asynchronous events", 120);
	tcase_add_test(tc, full_queue_is_an_asynchronous_event);
	if (!CHILDREN_HAVE_NO_THREADS)
		tcase_add_test(tc, child_has_asynchronous_events_of_its_own);
	tcase_add_test(tc, shared_queue_that_runs_low_is_told_of_once);

	tc = group(s, "objects", 120);
	tcase_add_test(tc, objects_in_use_cannot_be_destroyed);
	tcase_add_test(tc, connections_in_a_row_leave_nothing);
	tcase_add_test(tc, states_follow_in_order);
	tcase_add_test(tc, want_of_descriptors_is_no_wrong_step);
	tcase_add_test(tc, state_that_the_device_lacks_is_refused);
	tcase_add_test(tc, memory_that_is_not_there_cannot_be_registered);

	tc = group(s, "datagrams", 120);
	tcase_add_test(tc, datagram_comes_behind_its_route_header);
	return run_suite(s);
}
