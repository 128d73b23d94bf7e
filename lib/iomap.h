/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Mappings: memory of one side that the other writes to directly, at offsets that the first has chosen.
 *
 * Each side has a table behind its target list. The peer writes its mappings there, one entry each, with
 * a message that says which; we take a copy then, check it, and look at nothing else when we write. So a
 * table's owner is the one that writes to the mappings, and the table's size is its own choice.
 *
 * The protocol has no message for the end of a mapping, and rsockets tells nobody. We overwrite the entry
 * with an empty one, which either implementation takes for no mapping. What the peer has posted before
 * that arrives meets memory that is no longer registered, and its connection fails: programs must agree
 * on when a mapping ends.
 *
 * Each such message costs a credit: see credit.h for what that means towards rsockets.
 *
 * Locks: all of this is guarded by the state lock. Registering and deregistering, which take long, are
 * done without it.
 */
#ifndef RSK_IOMAP_H
#define RSK_IOMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire.h"

struct rsk_sock;

struct rsk_maps {
	/* What the peer lets us write to: */
	struct rsk_mapping *theirs;  /* by index, as checked when it was told */
	unsigned room;               /* entries of our table */
	unsigned told;               /* entries in use end here */
	/* What we let the peer write to: */
	struct rsk_map *ours;        /* by index, ascending */
	unsigned count;              /* of those that the peer knows, or will be told the end of */
	unsigned peer_room;          /* entries of its table */
};

/* Makes room for @entries that the peer may tell us of. 0 or -ENOMEM. Engine thread. */
int rsk_maps_setup(struct rsk_sock *sk, unsigned entries);
/* Frees that, and what is left of our own. */
void rsk_maps_destroy(struct rsk_sock *sk);

/* The peer wrote entry @index of our table. 0 or -EPROTO. State lock held. */
int rsk_maps_told(struct rsk_sock *sk, uint32_t index);

/* Where to write @len bytes for @offset of the peer's mappings: *to, whose length may be shorter. 0, or
 * -ENXIO: nowhere. State lock held. */
int rsk_maps_find(struct rsk_sock *sk, uint64_t offset, uint32_t len, struct rsk_entry *to);

/* Lets the peer write to @buf, at @offset. 0 or -errno. @offered: false registers the memory and no more. */
int rsk_maps_add(struct rsk_sock *sk, void *buf, size_t len, bool offered, uint64_t offset);
/* Ends a mapping: when this returns the peer cannot write there. 0, or -EINVAL: there is none. */
int rsk_maps_remove(struct rsk_sock *sk, void *buf, size_t len);
/* Ends all. */
void rsk_maps_remove_all(struct rsk_sock *sk);

/* Tells the peer that a mapping has ended, if one has and there is a credit; false when not. State lock. */
bool rsk_maps_tell_end(struct rsk_sock *sk);

#endif
