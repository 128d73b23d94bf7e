/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Links between processes: AF_UNIX sequenced-packet sockets with abstract names, so that they live in
 * the network namespace, as IP addresses do, and vanish with their owner. There is one link between
 * two processes, made when it is first needed. CM messages, datagrams and bells ("look at this QP")
 * travel on it; what QPs send does not, see wire.h. A link that breaks is a node that died.
 *
 * Abstract names carry no permissions: both ends check whose process the other is.
 */
#ifndef SOFT_LINK_H
#define SOFT_LINK_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "node.h"

enum soft_packet_type {
	SOFT_HELLO,                  /* first on each link: the sender's node number */
	SOFT_BELL,                   /* see wire.h */
	SOFT_ATTACH,                 /* with the descriptor of a wire */
	SOFT_DETACHED,               /* there is no such QP */
	SOFT_DATAGRAM,
	SOFT_CM,
	SOFT_PACKET_TYPES,
};

/* Opens each packet. */
struct soft_packet {
	uint32_t type;               /* enum soft_packet_type */
	uint32_t to;                 /* QP or CM id it is for */
	uint32_t from;               /* QP or CM id or node it comes from */
};

enum { SOFT_PACKET_MAX = 8192 };

struct soft_link;

/* The link to who has claimed @name, or to that node. 0 or -errno: -ECONNREFUSED if nobody has, or somebody who
 * is not to be talked to. */
int soft_link_to_name(const char *name, struct soft_link **out);
int soft_link_to_node(uint32_t node, struct soft_link **out);
uint32_t soft_link_node(const struct soft_link *link);

/* Sends @packet, and @fd unless negative. It is queued if the peer is slow. */
void soft_link_send(struct soft_link *link, const struct soft_packet *packet, size_t size, int fd);
/* Sends a packet that lies in parts; it is lost if the peer is slow. */
void soft_link_send_unreliably(struct soft_link *link, struct iovec *parts, int nparts);

/* Claims a name: a socket bound to it, or -errno. Who listens on it gets links. */
int soft_link_claim(const char *name);
int soft_link_claim_number(void);
/* Takes a connection to a claimed name: for its soft_io. */
void soft_link_accept(struct soft_io *io, uint32_t events);

/* What arrives; @fd is theirs to close, -1 if there is none. */
void soft_qp_take_bell(uint32_t qpn);
void soft_qp_take_attach(struct soft_link *link, const struct soft_packet *packet, int fd);
void soft_qp_take_detached(const struct soft_packet *packet);
void soft_ud_take(const struct soft_packet *packet, size_t size);
void soft_cm_take(struct soft_link *link, const struct soft_packet *packet, size_t size);
/* The node at the other end has died. */
void soft_qp_lost(struct soft_link *link);
void soft_cm_lost(struct soft_link *link);

#endif
