/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Connection management: see cm.h. Everything from dispatch() down runs on the engine thread. */
#include "cm.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <rdma/rdma_cma.h>

#include "knobs.h"
#include "log.h"
#include "sock.h"
#include "stream.h"

enum {
	RESOLVE_MS = 1000,           /* the first attempt; doubled for each further one */
	REJECTED_NO_LISTENER = 8,    /* IB's reason code "invalid service id" */
};

/* What came with an event; copied, so that the event is acknowledged before anything is done. */
struct news {
	int status;
	uint8_t data[64];
	size_t data_len;
	struct rdma_cm_id *request;  /* the new id of a connect request */
	uint8_t responder_resources, initiator_depth;
};

static pthread_mutex_t channel_lock = PTHREAD_MUTEX_INITIALIZER;
static struct rdma_event_channel *channel;
static struct rsk_io channel_io;

static void dispatch(struct rsk_sock *sk, enum rsk_cm_event event, const struct news *news);

/* Ids and addresses */

static int set_option(struct rdma_cm_id *id, int name, int value)
{
	return rdma_set_option(id, RDMA_OPTION_ID, name, &value, sizeof(value)) ? -errno : 0;
}

/* The id comes with the first call that needs one, so a socket that is never used costs little. */
static int need_id(struct rsk_sock *sk)
{
	struct rdma_cm_id *id;
	int ret = 0;

	if (sk->cm.id)
		return 0;
	if (rdma_create_id(channel, &id, sk, RDMA_PS_TCP))
		return -errno;
	if (sk->options.reuseaddr)
		ret = set_option(id, RDMA_OPTION_ID_REUSEADDR, 1);
	if (!ret && sk->domain == AF_INET6)
		ret = set_option(id, RDMA_OPTION_ID_AFONLY, sk->options.v6only);
	if (ret) {
		rdma_destroy_id(id);
		return ret;
	}
	rsk_lock(&sk->lock);
	sk->cm.id = id;
	rsk_unlock(&sk->lock);
	return 0;
}

static size_t addr_size(const struct sockaddr *addr)
{
	return addr->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6) :
					     sizeof(struct sockaddr_in);
}

static void note_local_addr(struct rsk_sock *sk)
{
	const struct sockaddr *addr = rdma_get_local_addr(sk->cm.id);

	rsk_lock(&sk->lock);
	if (addr->sa_family)
		memcpy(&sk->local, addr, addr_size(addr));
	rsk_unlock(&sk->lock);
}

static bool is_wildcard(const struct sockaddr *addr)
{
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)addr;

	if (addr->sa_family == AF_INET6)
		return IN6_IS_ADDR_UNSPECIFIED(&in6->sin6_addr);
	return ((const struct sockaddr_in *)addr)->sin_addr.s_addr == htonl(INADDR_ANY);
}

static void drop_id(struct rsk_sock *sk)
{
	struct rdma_cm_id *id = sk->cm.id;

	rsk_lock(&sk->lock);
	sk->cm.id = NULL;
	rsk_unlock(&sk->lock);
	rdma_destroy_id(id);
}

int rsk_cm_bind(struct rsk_sock *sk, const struct sockaddr *addr)
{
	int ret = need_id(sk);

	if (ret)
		return ret;
	if (rdma_bind_addr(sk->cm.id, (struct sockaddr *)(uintptr_t)addr))
		ret = -errno;
	/* The kernel also binds to addresses that no device serves, such as 127.0.0.1. */
	else if (!sk->cm.id->verbs && !is_wildcard(addr))
		ret = -ENODEV;
	/* The next attempt may be made with other options. */
	if (ret)
		drop_id(sk);
	else
		note_local_addr(sk);
	return ret;
}

/* Actions: 0, or -errno after rsk_sock_fail() */

static int fail(struct rsk_sock *sk, int err, const char *what)
{
	rsk_lock(&sk->lock);
	rsk_sock_fail(sk, err, "%s", what);
	rsk_unlock(&sk->lock);
	return -err;
}

/* From the first step to the last, either side. */
static unsigned connect_limit_ms(void)
{
	return (unsigned)rsk_knob_value(RSK_KNOB_CONNECT_TIMEOUT) * 1000;
}

static unsigned attempt_ms(const struct rsk_cm *cm)
{
	return RESOLVE_MS << (cm->attempts < 5 ? cm->attempts : 5);
}

static int resolve_addr(struct rsk_sock *sk)
{
	if (!rdma_resolve_addr(sk->cm.id, NULL, (struct sockaddr *)&sk->peer,
			       (int)attempt_ms(&sk->cm)))
		return 0;
	return errno == EINVAL ? -ENODEV : -errno; /* siw says so of 127.0.0.1 */
}

static int retry_addr(struct rsk_sock *sk, const struct news *news)
{
	int err = -news->status;

	if (err == ETIMEDOUT) {
		sk->cm.attempts++;
		err = -resolve_addr(sk);
	}
	return err ? fail(sk, err, "no RDMA device leads to this address") : 0;
}

static int resolve_route(struct rsk_sock *sk, const struct news *news)
{
	int ret;

	(void)news;
	note_local_addr(sk);
	if (sk->cm.nroutes) {
		ret = rsk_cm_use_route(sk);
		return ret ? fail(sk, -ret, "the device does not take the route that was set") : 0;
	}
	if (!rdma_resolve_route(sk->cm.id, (int)attempt_ms(&sk->cm)))
		return 0;
	return fail(sk, errno, "cannot resolve the route");
}

static int first_resolve_route(struct rsk_sock *sk, const struct news *news)
{
	sk->cm.attempts = 0;
	return resolve_route(sk, news);
}

static int retry_route(struct rsk_sock *sk, const struct news *news)
{
	if (news->status != -ETIMEDOUT)
		return fail(sk, -news->status, "no route");
	sk->cm.attempts++;
	return resolve_route(sk, news);
}

/* Memory, CQs and the QP of a connection. */
static int make_endpoint(struct rsk_sock *sk, struct rsk_hello *hello)
{
	struct rdma_cm_id *id = sk->cm.id;
	struct ibv_qp_init_attr attr;
	int ret;

	ret = rsk_stream_setup(sk, id->verbs, &attr);
	if (sk->cm.listener && (ret == -EMFILE || ret == -ENFILE))
		return ret;          /* it can wait */
	if (ret)
		return fail(sk, -ret, ret == -ENOMEM ?
			    "no memory for the connection: is the memory-lock limit (ulimit -l) too low?" :
			    "cannot set up the connection");
	ret = rdma_create_qp(id, sk->qp.dev->pd, &attr);
	if (ret && errno == EINVAL && attr.cap.max_inline_data > rsk_qp_inline_min(&sk->qp)) {
		/* More inline than the device can do: it is a wish, not a need. */
		attr.cap.max_inline_data = rsk_qp_inline_min(&sk->qp);
		ret = rdma_create_qp(id, sk->qp.dev->pd, &attr);
	}
	if (ret)
		return fail(sk, errno, "cannot create a QP");
	ret = rsk_stream_attach(sk, id->qp, attr.cap.max_inline_data, hello);
	if (ret == -ENOTSUP)
		return fail(sk, ENOTSUP, "the device cannot send 4 bytes inline");
	return ret ? fail(sk, -ret, "cannot post receives") : 0;
}

static int start_connection(struct rsk_sock *sk, const struct news *news)
{
	uint8_t data[WIRE_HELLO_SIZE];
	struct rdma_conn_param param = {
		.private_data = data,
		.private_data_len = sizeof(data),
		.flow_control = 1,
		.retry_count = 7,
		.rnr_retry_count = 7,
	};
	struct rsk_hello hello;
	int ret = make_endpoint(sk, &hello);

	(void)news;
	if (ret)
		return ret;
	/* Some iWARP devices read once from the peer while they connect. */
	param.initiator_depth = sk->qp.iwarp;
	rsk_wire_put_hello(data, &hello);
	return rdma_connect(sk->cm.id, &param) ? fail(sk, errno, "cannot send the request") : 0;
}

static int accept_connection(struct rsk_sock *sk, const struct news *news)
{
	uint8_t data[WIRE_HELLO_SIZE];
	struct rdma_conn_param param = {
		.private_data = data,
		.private_data_len = sizeof(data),
		.responder_resources = sk->cm.responder_resources,
		.initiator_depth = sk->cm.initiator_depth,
		.flow_control = 1,
		.retry_count = 7,
		.rnr_retry_count = 7,
	};
	struct rsk_hello hello;
	int ret = make_endpoint(sk, &hello);

	(void)news;
	if (ret && sk->state != RSK_FAILED) {
		rsk_timer_stop(&sk->cm.limit);
		sk->state = RSK_REQUESTED;
		rsk_backlog_postpone(sk);
		return 0;
	}
	if (ret) {
		rdma_reject(sk->cm.id, NULL, 0);
		return ret;
	}
	rsk_qp_let_peer_begin(&sk->qp);
	rsk_wire_put_hello(data, &hello);
	return rdma_accept(sk->cm.id, &param) ? fail(sk, errno, "cannot answer the request") : 0;
}

static void open_stream(struct rsk_sock *sk, const struct rsk_hello *peer)
{
	rsk_timer_stop(&sk->cm.limit);
	note_local_addr(sk);
	rsk_lock(&sk->lock);
	rsk_stream_open(sk, peer);
	rsk_sock_wake(sk);
	rsk_unlock(&sk->lock);
}

static int open_active(struct rsk_sock *sk, const struct news *news)
{
	int ret = rsk_wire_get_hello(&sk->cm.peer, news->data, news->data_len);

	if (ret == -EPROTONOSUPPORT)
		return fail(sk, ENOTSUP, "the peer speaks another version of the protocol");
	if (ret)
		return fail(sk, EPROTO, "the peer's answer is not of the rsockets protocol");
	open_stream(sk, &sk->cm.peer);
	return 0;
}

static int open_passive(struct rsk_sock *sk, const struct news *news)
{
	(void)news;
	open_stream(sk, &sk->cm.peer);
	rsk_stream_await_peer(sk);
	rsk_backlog_established(sk);
	return 0;
}

static void refuse(struct rsk_sock *listener, struct rdma_cm_id *id, enum rsk_log_level level,
		   const char *why)
{
	struct sockaddr_storage from = { 0 };
	struct sockaddr *addr = rdma_get_peer_addr(id);
	char name[64];

	memcpy(&from, addr, addr_size(addr));
	rsk_log(level, "fd %d: connection from %s refused: %s", listener->ready.fd,
		rsk_sock_name(&from, name), why);
	rdma_reject(id, NULL, 0);
	rdma_destroy_id(id);
}

static int queue_request(struct rsk_sock *sk, const struct news *news)
{
	struct rdma_cm_id *id = news->request;
	struct rsk_hello peer;
	struct rsk_sock *child;
	int ret = rsk_wire_get_hello(&peer, news->data, news->data_len);

	if (ret) {
		refuse(sk, id, RSK_LOG_WARN, ret == -EPROTONOSUPPORT ?
		       "it speaks another version of the protocol" :
		       "its request is not of the rsockets protocol");
		return 0;
	}
	if (rsk_backlog_full(sk)) {
		refuse(sk, id, RSK_LOG_INFO, "the backlog is full");
		return 0;
	}
	child = rsk_sock_new(sk->domain);
	if (!child) {
		refuse(sk, id, RSK_LOG_INFO, "out of memory");
		return 0;
	}
	rsk_lock(&sk->lock);
	child->options = sk->options;
	rsk_unlock(&sk->lock);
	child->state = RSK_REQUESTED;
	child->cm.id = id;
	child->cm.peer = peer;
	child->cm.responder_resources = news->responder_resources;
	child->cm.initiator_depth = news->initiator_depth;
	memcpy(&child->peer, rdma_get_peer_addr(id), addr_size(rdma_get_peer_addr(id)));
	id->context = child;
	rsk_backlog_add(sk, child);
	return 0;
}

static int fail_event(struct rsk_sock *sk, enum rsk_cm_event event, int status)
{
	switch (event) {
	case RSK_CM_TIMED_OUT:
		return fail(sk, ETIMEDOUT, "no answer within the connect time limit");
	case RSK_CM_REJECTED:
		return fail(sk, ECONNREFUSED, status == REJECTED_NO_LISTENER ?
			    "refused: nobody listens there" : "refused by the listener");
	case RSK_CM_UNREACHABLE:
		return fail(sk, status < 0 ? -status : EHOSTUNREACH, "no answer from the host");
	case RSK_CM_DISCONNECTED:
		return fail(sk, ECONNRESET, "the peer gave up while connecting");
	case RSK_CM_DEVICE_REMOVED:
		return fail(sk, ENETDOWN, "the RDMA device was removed");
	default:
		return fail(sk, status < 0 ? -status : ECONNABORTED, "connecting failed");
	}
}

static int peer_left(struct rsk_sock *sk, const struct news *news)
{
	(void)news;
	rsk_lock(&sk->lock);
	/* The event came beside the QP: what the peer sent before must be taken in first. */
	rsk_stream_progress(sk);
	if (sk->state == RSK_CONNECTED && !sk->shut_by_peer) {
		rsk_sock_fail(sk, ECONNRESET, "the peer closed the connection without ending it");
	} else {
		sk->left_by_peer = true;
		if (sk->state == RSK_CONNECTED)
			sk->state = RSK_ENDED;
		rsk_qp_set_error(&sk->qp);
		rsk_sock_wake(sk);
	}
	rsk_unlock(&sk->lock);
	rsk_cm_hang_up(sk);
	return 0;
}

static int act(struct rsk_sock *sk, const struct rsk_cm_rule *rule, const struct news *news)
{
	static int (*const actions[RSK_ACTIONS])(struct rsk_sock *, const struct news *) = {
		[RSK_ACT_RESOLVE_ROUTE] = first_resolve_route,
		[RSK_ACT_RETRY_ADDR] = retry_addr,
		[RSK_ACT_RETRY_ROUTE] = retry_route,
		[RSK_ACT_CONNECT] = start_connection,
		[RSK_ACT_QUEUE_REQUEST] = queue_request,
		[RSK_ACT_ACCEPT] = accept_connection,
		[RSK_ACT_OPEN_ACTIVE] = open_active,
		[RSK_ACT_OPEN_PASSIVE] = open_passive,
		[RSK_ACT_PEER_LEFT] = peer_left,
	};

	if (rule->action == RSK_ACT_FAIL)
		return fail_event(sk, rule->event, news ? news->status : 0);
	return actions[rule->action](sk, news);
}

static void limit_passed(struct rsk_timer *timer)
{
	struct rsk_sock *sk = (struct rsk_sock *)((char *)timer - offsetof(struct rsk_sock, cm.limit));

	rsk_timer_stop(timer);
	dispatch(sk, RSK_CM_TIMED_OUT, NULL);
}

/* Takes one step of the table. */
static void dispatch(struct rsk_sock *sk, enum rsk_cm_event event, const struct news *news)
{
	const struct rsk_cm_rule *rule;
	int ret;

	rsk_lock(&sk->lock);
	rule = rsk_cm_rule(sk->state, event);
	if (rsk_log_on(RSK_LOG_DEBUG))
		rsk_log(RSK_LOG_DEBUG, "fd %d: %s, %s%s%s", sk->ready.fd, rsk_state_name(sk->state),
			rsk_cm_event_name(event), rule ? " -> " : ": ignored",
			rule ? rsk_state_name(rule->next) : "");
	/* The states that the application sees are entered by their actions, when all is in place. */
	if (rule && rule->next < RSK_CONNECTED)
		sk->state = rule->next;
	rsk_unlock(&sk->lock);
	if (!rule)
		return;

	ret = act(sk, rule, news);
	if (ret && sk->cm.listener) {
		rsk_backlog_bury(sk);
		return;
	}
	if (ret)
		rsk_timer_stop(&sk->cm.limit);
}

void rsk_cm_admit(struct rsk_sock *child)
{
	rsk_timer_start(&child->cm.limit, connect_limit_ms(), limit_passed);
	dispatch(child, RSK_CM_ADMIT, NULL);
}

/* The event channel */

static bool translate(enum rdma_cm_event_type type, enum rsk_cm_event *event)
{
	switch (type) {
	case RDMA_CM_EVENT_ADDR_RESOLVED:
		*event = RSK_CM_ADDR_RESOLVED;
		return true;
	case RDMA_CM_EVENT_ADDR_ERROR:
		*event = RSK_CM_ADDR_ERROR;
		return true;
	case RDMA_CM_EVENT_ROUTE_RESOLVED:
		*event = RSK_CM_ROUTE_RESOLVED;
		return true;
	case RDMA_CM_EVENT_ROUTE_ERROR:
		*event = RSK_CM_ROUTE_ERROR;
		return true;
	case RDMA_CM_EVENT_CONNECT_REQUEST:
		*event = RSK_CM_REQUEST;
		return true;
	case RDMA_CM_EVENT_ESTABLISHED:
		*event = RSK_CM_ESTABLISHED;
		return true;
	case RDMA_CM_EVENT_REJECTED:
		*event = RSK_CM_REJECTED;
		return true;
	case RDMA_CM_EVENT_UNREACHABLE:
		*event = RSK_CM_UNREACHABLE;
		return true;
	case RDMA_CM_EVENT_CONNECT_ERROR:
		*event = RSK_CM_ERROR;
		return true;
	case RDMA_CM_EVENT_DISCONNECTED:
		*event = RSK_CM_DISCONNECTED;
		return true;
	case RDMA_CM_EVENT_DEVICE_REMOVAL:
		*event = RSK_CM_DEVICE_REMOVED;
		return true;
	default:
		return false;        /* TIMEWAIT_EXIT, ADDR_CHANGE: nothing to do */
	}
}

static void read_news(struct news *news, const struct rdma_cm_event *event)
{
	const struct rdma_conn_param *conn = &event->param.conn;

	*news = (struct news){ .status = event->status };
	if (event->event == RDMA_CM_EVENT_CONNECT_REQUEST) {
		news->request = event->id;
		news->responder_resources = conn->responder_resources;
		news->initiator_depth = conn->initiator_depth;
	} else if (event->event != RDMA_CM_EVENT_ESTABLISHED) {
		return;
	}
	if (conn->private_data) {
		news->data_len = conn->private_data_len < sizeof(news->data) ?
				 conn->private_data_len : sizeof(news->data);
		memcpy(news->data, conn->private_data, news->data_len);
	}
}

static void read_channel(struct rsk_io *io)
{
	struct rdma_cm_event *raw;

	(void)io;
	while (!rdma_get_cm_event(channel, &raw)) {
		struct rdma_cm_id *id = raw->listen_id ? raw->listen_id : raw->id;
		struct rsk_sock *sk = id->context;
		enum rsk_cm_event event;
		struct news news;
		bool known = translate(raw->event, &event);

		read_news(&news, raw);
		/* First, as destroying an id waits for its events to be acknowledged. */
		rdma_ack_cm_event(raw);
		if (known)
			dispatch(sk, event, &news);
	}
}

static int watch_channel(void *arg)
{
	(void)arg;
	rsk_io_start(&channel_io, channel->fd, read_channel);
	return 0;
}

static int open_channel(void)
{
	int flags, ret;

	ret = rsk_progress_start();
	if (ret)
		return ret;
	channel = rdma_create_event_channel();
	if (!channel) {
		ret = errno == EMFILE || errno == ENFILE || errno == ENOMEM ? -errno : -ENODEV;
		rsk_log(RSK_LOG_INFO, "no RDMA connection manager (%s): is there an RDMA device, and is "
			"the kernel module rdma_ucm loaded?", strerror(errno));
		return ret;
	}
	flags = fcntl(channel->fd, F_GETFL);
	if (flags < 0 || fcntl(channel->fd, F_SETFL, flags | O_NONBLOCK)) {
		ret = -errno;
		rdma_destroy_event_channel(channel);
		channel = NULL;
		return ret;
	}
	fcntl(channel->fd, F_SETFD, FD_CLOEXEC);
	return rsk_progress_call(watch_channel, NULL);
}

int rsk_cm_start(void)
{
	int ret;

	pthread_mutex_lock(&channel_lock);
	ret = channel ? 0 : open_channel();
	pthread_mutex_unlock(&channel_lock);
	return ret;
}

void rsk_cm_forget(void)
{
	pthread_mutex_init(&channel_lock, NULL);
	channel = NULL;
	channel_io = (struct rsk_io){ 0 };
}

/* What the rest of the library asks for */

struct request {
	struct rsk_sock *sk;
	int backlog;
};

static int run_connect(void *arg)
{
	struct rsk_sock *sk = arg;
	int ret = need_id(sk);

	sk->cm.attempts = 0;
	if (!ret) {
		rsk_cm_set_tos(sk);
		ret = resolve_addr(sk);
	}
	if (ret)
		fail(sk, -ret, "no RDMA device leads to this address");
	else
		rsk_timer_start(&sk->cm.limit, connect_limit_ms(), limit_passed);
	return ret;
}

int rsk_cm_connect(struct rsk_sock *sk)
{
	return rsk_progress_call(run_connect, sk);
}

/* On the engine thread, so that the first request finds the state set. */
static int run_listen(void *arg)
{
	struct request *request = arg;
	struct rsk_sock *sk = request->sk;
	struct rsk_cm *cm = &sk->cm;
	int ret = 0;

	rsk_backlog_set_limit(sk, request->backlog);
	if (sk->state == RSK_LISTENING)
		return 0;
	if (!cm->id) {
		struct sockaddr_storage any = { .ss_family = (sa_family_t)sk->domain };

		ret = rsk_cm_bind(sk, (struct sockaddr *)&any);
	}
	/* The kernel counts requests that the engine has not read yet: it reads at once. */
	if (!ret && rdma_listen(cm->id, 1024))
		ret = -errno;
	if (ret)
		return ret;
	note_local_addr(sk);
	rsk_lock(&sk->lock);
	sk->state = RSK_LISTENING;
	rsk_sock_wake(sk);
	rsk_unlock(&sk->lock);
	return 0;
}

int rsk_cm_listen(struct rsk_sock *sk, int backlog)
{
	struct request request = { sk, backlog };

	return rsk_progress_call(run_listen, &request);
}

void rsk_cm_hang_up(struct rsk_sock *sk)
{
	/* Fails when there is no connection any more, or not yet: fine, too. */
	if (sk->cm.id && sk->cm.id->qp)
		(void)rdma_disconnect(sk->cm.id);
}

void rsk_cm_destroy(struct rsk_sock *sk)
{
	struct rsk_cm *cm = &sk->cm;
	struct rdma_cm_id *id = cm->id;

	rsk_timer_stop(&cm->limit);
	rsk_backlog_drop_all(sk);
	if (sk->state == RSK_REQUESTED)
		rdma_reject(id, NULL, 0);
	if (id && id->qp) {
		rsk_cm_hang_up(sk);
		rdma_destroy_qp(id);
	}
	/* What is posted for later looks for the id first. */
	rsk_lock(&sk->lock);
	cm->id = NULL;
	rsk_unlock(&sk->lock);
	rsk_stream_destroy(sk);
	if (id)
		rdma_destroy_id(id);
}

static int run_rewind(void *arg)
{
	struct rsk_sock *sk = arg;
	struct sockaddr_storage local;

	rsk_lock(&sk->lock);
	/* First, as in this state nobody else looks at what is freed. */
	sk->state = RSK_IDLE;
	local = sk->local;
	sk->local = (struct sockaddr_storage){ .ss_family = (sa_family_t)sk->domain };
	rsk_unlock(&sk->lock);
	rsk_cm_destroy(sk);
	/* Somebody may have taken the port at this moment. */
	if (sk->bound)
		sk->bound = !rsk_cm_bind(sk, (struct sockaddr *)&local);
	rsk_lock(&sk->lock);
	rsk_sock_wake(sk);
	rsk_unlock(&sk->lock);
	return 0;
}

void rsk_cm_rewind(struct rsk_sock *sk)
{
	rsk_progress_call(run_rewind, sk);
}
