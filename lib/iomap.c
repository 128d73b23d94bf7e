/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Mappings: see iomap.h. */
#include "iomap.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "sock.h"
#include "stream.h"

/* Memory of the application's that the peer may write to. */
struct rsk_map {
	struct rsk_map *next;
	struct rsk_mem mem;          /* not registered: it has ended, and the peer is still to be told */
	unsigned index;              /* in the peer's table */
};

enum { NOT_OFFERED = WIRE_MAPPINGS_MAX }; /* an index beyond all tables */

static bool has_ended(const struct rsk_map *map)
{
	return !map->mem.mr;
}

/* Their mappings */

int rsk_maps_setup(struct rsk_sock *sk, unsigned entries)
{
	sk->maps.theirs = calloc(entries + !entries, sizeof(*sk->maps.theirs));
	if (!sk->maps.theirs)
		return -ENOMEM;
	sk->maps.room = entries;
	return 0;
}

void rsk_maps_destroy(struct rsk_sock *sk)
{
	rsk_maps_remove_all(sk);
	free(sk->maps.theirs);
	sk->maps.theirs = NULL;
}

/* The peer may write an entry anew while it is read: of that, another message tells. */
static void copy_entry(uint8_t copy[static WIRE_MAPPING_SIZE], const uint8_t *entry)
{
	const _Atomic(uint64_t) *words = (const void *)entry;

	for (size_t i = 0; i < WIRE_MAPPING_SIZE / 8; i++) {
		uint64_t word = atomic_load_explicit(&words[i], memory_order_relaxed);

		memcpy(copy + 8 * i, &word, 8);
	}
}

int rsk_maps_told(struct rsk_sock *sk, uint32_t index)
{
	struct rsk_maps *maps = &sk->maps;
	uint8_t entry[WIRE_MAPPING_SIZE];
	struct rsk_mapping mapping;
	int ret;

	if (index >= maps->room)
		return -EPROTO;
	copy_entry(entry, sk->rx.mappings + (size_t)index * WIRE_MAPPING_SIZE);
	ret = rsk_wire_get_mapping(&mapping, entry);
	if (ret)
		return ret;
	maps->theirs[index] = mapping;
	if (index >= maps->told)
		maps->told = index + 1;
	return 0;
}

static const struct rsk_mapping *find(const struct rsk_maps *maps, uint64_t offset)
{
	for (const struct rsk_mapping *at = maps->theirs; at < maps->theirs + maps->told; at++) {
		if (offset - at->offset < at->length)
			return at;
	}
	return NULL;
}

int rsk_maps_find(struct rsk_sock *sk, uint64_t offset, uint32_t len, struct rsk_entry *to)
{
	const struct rsk_mapping *mapping = find(&sk->maps, offset);
	uint64_t from_start;
	int ret;

	if (!mapping) {
		/* The application may have heard of it in another way than by this connection. */
		rsk_stream_progress(sk);
		ret = rsk_stream_check_send(sk);
		if (ret)
			return ret;
		mapping = find(&sk->maps, offset);
	}
	if (!mapping) {
		rsk_sock_explain(sk, ENXIO, "write to offset %#llx: no mapping of the peer's is there",
				 (unsigned long long)offset);
		return -ENXIO;
	}
	from_start = offset - mapping->offset;
	*to = (struct rsk_entry){ mapping->addr + from_start, mapping->key,
				  mapping->length - (uint32_t)from_start };
	if (to->length > len)
		to->length = len;
	return 0;
}

/* Our mappings */

/* Posts an entry for the peer's table. The caller has seen to a credit and room for a control message. */
static void tell(struct rsk_sock *sk, unsigned index, const struct rsk_mapping *mapping)
{
	uint64_t at = (uint64_t)WIRE_ENTRY_SIZE * sk->tx.peer_list.length +
		      (uint64_t)WIRE_MAPPING_SIZE * index;
	uint8_t *bytes = rsk_stream_out_slot(sk);

	rsk_wire_put_mapping(bytes, mapping, sk->tx.swap);
	rsk_stream_write_list(sk, at, bytes, WIRE_MAPPING_SIZE, rsk_wire_msg(WIRE_OP_IOMAP_SGL, index),
			      "a mapping");
}

static void discard(struct rsk_sock *sk, struct rsk_map **link)
{
	struct rsk_map *map = *link;

	*link = map->next;
	if (map->index != NOT_OFFERED)
		sk->maps.count--;
	free(map);
}

bool rsk_maps_tell_end(struct rsk_sock *sk)
{
	static const struct rsk_mapping nothing;
	struct rsk_map **link = &sk->maps.ours;

	while (*link && !has_ended(*link))
		link = &(*link)->next;
	if (!*link || sk->shut_wr) {
		sk->tx.due &= ~RSK_DUE_MAPS;
		return false;
	}
	if (!rsk_tx_credit_iomap(&sk->tx.credit))
		return false;
	tell(sk, (*link)->index, &nothing);
	discard(sk, link);
	return true;
}

/* Where the first index that is free belongs in the list. A mapping that has ended counts as free: the
 * new entry tells the peer of its end, too. */
static struct rsk_map **first_free(struct rsk_maps *maps, unsigned *index)
{
	struct rsk_map **link = &maps->ours;

	for (*index = 0; *link && (*link)->index == *index && !has_ended(*link); (*index)++)
		link = &(*link)->next;
	return link;
}

static int check_connected(const struct rsk_sock *sk)
{
	int ret = rsk_stream_check_send(sk);

	return ret == -EAGAIN ? -ENOTCONN : ret;
}

/* Is there a place for a new mapping, and will there be a credit? State lock held. */
static int check_add(struct rsk_sock *sk)
{
	struct rsk_maps *maps = &sk->maps;
	int ret = check_connected(sk);
	unsigned index;

	if (ret)
		return ret;
	first_free(maps, &index);
	if (index >= maps->peer_room) {
		rsk_sock_explain(sk, ENOMEM, "map: all %u entries of the peer's table are in use",
				 maps->peer_room);
		return -ENOMEM;
	}
	/* Each costs a message now, and one at its end. */
	if (rsk_tx_credit_iomap_budget(&sk->tx.credit) < maps->count + 2) {
		rsk_sock_explain(sk, ENOBUFS, "map: the peer has not returned the credits of earlier ones");
		return -ENOBUFS;
	}
	return 0;
}

static bool can_add(struct rsk_sock *sk)
{
	rsk_stream_progress(sk);
	return check_add(sk) || (rsk_stream_can_control(sk) && rsk_tx_credit_left(&sk->tx.credit));
}

/* Waits until a message can be sent. State lock held. */
static int wait_for_credit(struct rsk_sock *sk)
{
	int ret;

	if (can_add(sk))
		return check_add(sk);
	if (rsk_sock_nonblocking(sk, 0)) {
		rsk_sock_poll(sk, POLLOUT, RSK_LOOK_AND_ARM);
		return -EAGAIN;
	}
	ret = rsk_sock_wait(sk, can_add, true, rsk_deadline(&sk->options.sndtimeo));
	return ret ? ret : check_add(sk);
}

/* Gives the mapping an index and tells the peer. State lock held. */
static int offer(struct rsk_sock *sk, struct rsk_map *map, uint64_t offset)
{
	const struct rsk_mapping mapping = { offset, (uintptr_t)map->mem.addr, map->mem.mr->rkey,
					     (uint32_t)map->mem.len };
	struct rsk_map **link;
	int ret = wait_for_credit(sk);

	if (ret)
		return ret;
	link = first_free(&sk->maps, &map->index);
	if (*link && (*link)->index == map->index)
		discard(sk, link);
	rsk_tx_credit_iomap(&sk->tx.credit);
	tell(sk, map->index, &mapping);
	ret = check_connected(sk);   /* posting may have failed */
	if (ret)
		return ret;
	map->next = *link;
	*link = map;
	sk->maps.count++;
	return 0;
}

/* Registered for this side only: at the end of the list. State lock held. */
static int keep(struct rsk_sock *sk, struct rsk_map *map)
{
	struct rsk_map **link = &sk->maps.ours;
	int ret = check_connected(sk);

	if (ret)
		return ret;
	while (*link)
		link = &(*link)->next;
	map->index = NOT_OFFERED;
	*link = map;
	return 0;
}

int rsk_maps_add(struct rsk_sock *sk, void *buf, size_t len, bool offered, uint64_t offset)
{
	struct rsk_map *map;
	int ret;

	/* There is no device to register with before. And a credit may have come back meanwhile. */
	rsk_lock(&sk->lock);
	rsk_stream_progress(sk);
	ret = offered ? check_add(sk) : check_connected(sk);
	rsk_unlock(&sk->lock);
	if (ret)
		return ret;
	map = calloc(1, sizeof(*map));
	if (!map)
		return -ENOMEM;
	ret = rsk_mem_register(&map->mem, sk->qp.dev, buf, len, offered);
	if (!ret) {
		rsk_lock(&sk->lock);
		ret = offered ? offer(sk, map, offset) : keep(sk, map);
		rsk_unlock(&sk->lock);
	}
	if (ret) {
		rsk_mem_unregister(&map->mem);
		free(map);
	}
	return ret;
}

int rsk_maps_remove(struct rsk_sock *sk, void *buf, size_t len)
{
	struct rsk_map **link = &sk->maps.ours;
	struct rsk_mem mem;

	rsk_lock(&sk->lock);
	while (*link && (has_ended(*link) || (*link)->mem.addr != buf || (*link)->mem.len != len))
		link = &(*link)->next;
	if (!*link) {
		rsk_unlock(&sk->lock);
		return -EINVAL;
	}
	mem = (*link)->mem;
	if ((*link)->index == NOT_OFFERED) {
		discard(sk, link);
	} else {
		(*link)->mem.mr = NULL;
		sk->tx.due |= RSK_DUE_MAPS;
		rsk_stream_send_control(sk);
	}
	rsk_unlock(&sk->lock);
	rsk_mem_unregister(&mem);
	return 0;
}

void rsk_maps_remove_all(struct rsk_sock *sk)
{
	struct rsk_map *map, *next;

	rsk_lock(&sk->lock);
	map = sk->maps.ours;
	sk->maps.ours = NULL;
	sk->maps.count = 0;
	rsk_unlock(&sk->lock);
	for (; map; map = next) {
		next = map->next;
		rsk_mem_unregister(&map->mem);
		free(map);
	}
}
