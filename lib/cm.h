/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Connection management: this is the only module that calls rdma_*. All ids share one event channel,
 * which the engine thread reads, so connections come and go whatever the application does.
 *
 * A socket's state changes by one table: state x event -> next state, action (cm_table.c). Actions
 * run on the engine thread; one that fails leads to RSK_FAILED whatever the table says. Half close is
 * not a state: see shut_rd and friends in sock.h.
 *
 *   IDLE -> RESOLVE_ADDR -> RESOLVE_ROUTE -> CONNECTING -> CONNECTED      (connect)
 *   IDLE -> LISTENING                                                     (listen)
 *   REQUESTED -> ACCEPTING -> CONNECTED                                   (each connection of a listener)
 *   CONNECTED -> ENDED, or FAILED from anywhere
 *   LISTENING -> IDLE, or FAILED before it was ever CONNECTED             (shutdown; connect, having said so)
 */
#ifndef RSK_CM_H
#define RSK_CM_H

#include <stdint.h>
#include <sys/socket.h>

#include <infiniband/sa.h>

#include "backlog.h"
#include "progress.h"
#include "wire.h"

struct rdma_cm_id;
struct rsk_sock;

enum rsk_state {
	RSK_IDLE,
	RSK_LISTENING,
	RSK_RESOLVE_ADDR,
	RSK_RESOLVE_ROUTE,
	RSK_CONNECTING,
	RSK_REQUESTED,               /* a connection request that waits for room in the backlog */
	RSK_ACCEPTING,               /* answered; the peer has not confirmed yet */
	RSK_CONNECTED,
	RSK_ENDED,                   /* over, in order */
	RSK_FAILED,
	RSK_STATES
};

enum rsk_cm_event {
	RSK_CM_ADDR_RESOLVED,
	RSK_CM_ADDR_ERROR,
	RSK_CM_ROUTE_RESOLVED,
	RSK_CM_ROUTE_ERROR,
	RSK_CM_REQUEST,              /* to a listener: somebody wants to connect */
	RSK_CM_ADMIT,                /* our own: there is room in the backlog */
	RSK_CM_ESTABLISHED,
	RSK_CM_REJECTED,
	RSK_CM_UNREACHABLE,
	RSK_CM_ERROR,
	RSK_CM_DISCONNECTED,
	RSK_CM_DEVICE_REMOVED,
	RSK_CM_TIMED_OUT,            /* our own: the time limit of connecting */
	RSK_CM_EVENTS
};

enum rsk_cm_action {
	RSK_ACT_RESOLVE_ROUTE,
	RSK_ACT_RETRY_ADDR,
	RSK_ACT_RETRY_ROUTE,
	RSK_ACT_CONNECT,
	RSK_ACT_QUEUE_REQUEST,
	RSK_ACT_ACCEPT,
	RSK_ACT_OPEN_ACTIVE,
	RSK_ACT_OPEN_PASSIVE,
	RSK_ACT_FAIL,
	RSK_ACT_PEER_LEFT,
	RSK_ACTIONS
};

struct rsk_cm_rule {
	enum rsk_state state;
	enum rsk_cm_event event;
	enum rsk_state next;
	enum rsk_cm_action action;
};

/* The rule for a pair, or NULL: such an event means nothing in that state. */
const struct rsk_cm_rule *rsk_cm_rule(enum rsk_state state, enum rsk_cm_event event);
const char *rsk_state_name(enum rsk_state state);
const char *rsk_cm_event_name(enum rsk_cm_event event);

enum {
	RSK_CM_ROUTES = 2,           /* a path and its alternate */
};

/* A socket's part. Touched on the engine thread, except where said. */
struct rsk_cm {
	struct rdma_cm_id *id;       /* changed under the state lock */
	unsigned attempts;           /* of the present resolution */
	struct rsk_timer limit;
	struct rsk_hello peer;
	uint8_t responder_resources, initiator_depth;
	struct ibv_path_data route[RSK_CM_ROUTES]; /* RDMA_ROUTE; until connecting under the state lock */
	unsigned nroutes;

	struct rsk_backlog backlog;  /* of a listener */
	/* A child's listener, until it is established, and its place in the queue. */
	struct rsk_sock *listener, *next;
};

/* Opens the event channel and starts the engine. 0 or -errno. */
int rsk_cm_start(void);
void rsk_cm_forget(void);

/* Application threads, under no lock; the caller sees to it that only one of these runs. */
int rsk_cm_bind(struct rsk_sock *sk, const struct sockaddr *addr);
int rsk_cm_listen(struct rsk_sock *sk, int backlog);
/* Connects to sk->peer, from state RSK_RESOLVE_ADDR on. An error that shows at once is returned, and
 * the socket has failed. */
int rsk_cm_connect(struct rsk_sock *sk);
/* Ends a listener, or gives up what a failed attempt to connect has left: the socket is idle again, and bound
 * if it was by rsk_bind(). */
void rsk_cm_rewind(struct rsk_sock *sk);
/* Answers a request: the backlog has room for it. Engine thread. */
void rsk_cm_admit(struct rsk_sock *child);

/* RDMA_ROUTE, cm_route.c. State lock held. 0 or -EINVAL. */
int rsk_cm_set_route(struct rsk_sock *sk, const void *paths, size_t len);
int rsk_cm_get_route(const struct rsk_sock *sk, void *paths, socklen_t *len);
/* Gives the id the route that was set, and the type of service. Engine thread, connecting. */
int rsk_cm_use_route(struct rsk_sock *sk);
void rsk_cm_set_tos(struct rsk_sock *sk);

/* Tells the peer that the connection is over. Engine thread. */
void rsk_cm_hang_up(struct rsk_sock *sk);
/* Gives back the QP and the id, closes a listener's children. Engine thread. */
void rsk_cm_destroy(struct rsk_sock *sk);

#endif
