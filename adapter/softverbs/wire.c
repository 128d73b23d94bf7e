/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Shared rings: see wire.h. */
#include "wire.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WIRE_BYTES = 2 * sizeof(struct soft_ring) };

static int map_wire(struct soft_wire *wire, int fd, bool creator)
{
	struct soft_ring *map = mmap(NULL, WIRE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (map == MAP_FAILED)
		return -errno;
	madvise(map, WIRE_BYTES, MADV_DONTFORK);
	*wire = (struct soft_wire){
		.map = map,
		.in = &map[creator ? 0 : 1],
		.out = &map[creator ? 1 : 0],
	};
	return 0;
}

int soft_wire_create(struct soft_wire *wire, int *fd)
{
	int ret;

	*fd = memfd_create("softverbs", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (*fd < 0)
		return -errno;
	ret = ftruncate(*fd, WIRE_BYTES) ? -errno : map_wire(wire, *fd, true);
	/* The other end must not have to fear that the memory shrinks under it. */
	if (!ret)
		ret = fcntl(*fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_SEAL) ? -errno : 0;
	if (ret)
		close(*fd);
	return ret;
}

int soft_wire_attach(struct soft_wire *wire, int fd)
{
	struct stat st;
	int ret = 0, seals = fcntl(fd, F_GET_SEALS);

	if (seals < 0 || !(seals & F_SEAL_SHRINK) || fstat(fd, &st) || st.st_size != WIRE_BYTES)
		ret = -EPROTO;
	if (!ret)
		ret = map_wire(wire, fd, false);
	close(fd);
	return ret;
}

void soft_wire_detach(struct soft_wire *wire)
{
	if (!wire->map)
		return;
	atomic_store(&wire->out->gone, 1);
	munmap(wire->map, WIRE_BYTES);
	*wire = (struct soft_wire){ 0 };
}

static size_t padding(uint32_t size)
{
	return -(size_t)size & 7;
}

/* Sending */

uint32_t soft_wire_room(struct soft_wire *wire)
{
	uint32_t used = wire->out_head - atomic_load_explicit(&wire->out->tail, memory_order_acquire);

	if (used > SOFT_RING_BYTES) {
		wire->broken = true;
		return 0;
	}
	return SOFT_RING_BYTES - used;
}

void soft_wire_put(struct soft_wire *wire, const void *bytes, size_t len)
{
	uint32_t at = wire->out_head % SOFT_RING_BYTES;
	size_t first = len < SOFT_RING_BYTES - at ? len : SOFT_RING_BYTES - at;

	if (!len)
		return;
	memcpy(wire->out->bytes + at, bytes, first);
	memcpy(wire->out->bytes, (const uint8_t *)bytes + first, len - first);
	wire->out_head += (uint32_t)len;
}

void soft_wire_begin(struct soft_wire *wire, const struct soft_head *head)
{
	soft_wire_put(wire, head, sizeof(*head));
}

void soft_wire_end(struct soft_wire *wire)
{
	wire->out_head += padding(wire->out_head);
	atomic_store(&wire->out->head, wire->out_head);
}

bool soft_wire_wait_room(struct soft_wire *wire, uint32_t bytes)
{
	atomic_exchange(&wire->out->blocked, 1);
	return soft_wire_room(wire) >= bytes;
}

/* Receiving */

static uint32_t pending(struct soft_wire *wire)
{
	uint32_t n = atomic_load(&wire->in->head) - wire->in_tail;

	if (n > SOFT_RING_BYTES)
		wire->broken = true;
	return wire->broken ? 0 : n;
}

void soft_wire_get(struct soft_wire *wire, void *bytes, size_t len)
{
	uint32_t at = wire->in_tail % SOFT_RING_BYTES;
	size_t first = len < SOFT_RING_BYTES - at ? len : SOFT_RING_BYTES - at;

	if (!len)
		return;
	memcpy(bytes, wire->in->bytes + at, first);
	memcpy((uint8_t *)bytes + first, wire->in->bytes, len - first);
	wire->in_tail += (uint32_t)len;
}

void soft_wire_get_remote(struct soft_wire *wire, void *bytes, size_t len)
{
	enum { SMALL = 256 };
	_Atomic(uint64_t) *words = bytes;
	uint64_t copy[SMALL / 8];

	/* What programs watch is small; data they look at when they have been told. */
	if (len > SMALL || len % 8 || (uintptr_t)bytes % 8) {
		soft_wire_get(wire, bytes, len);
		return;
	}
	soft_wire_get(wire, copy, len);
	for (size_t i = 0; i < len / 8; i++)
		atomic_store_explicit(&words[i], copy[i], memory_order_relaxed);
}

void soft_wire_skip(struct soft_wire *wire, size_t len)
{
	wire->in_tail += (uint32_t)len;
}

bool soft_wire_next(struct soft_wire *wire, struct soft_head *head)
{
	uint32_t n = pending(wire);

	if (!n)
		return false;
	if (n < sizeof(*head)) {
		wire->broken = true;
		return false;
	}
	soft_wire_get(wire, head, sizeof(*head));
	if (head->op >= SOFT_OPS || head->size > SOFT_PAYLOAD_MAX || head->size > head->total ||
	    sizeof(*head) + head->size + padding(head->size) > n) {
		wire->broken = true;
		return false;
	}
	return true;
}

bool soft_wire_done(struct soft_wire *wire, const struct soft_head *head)
{
	wire->in_tail += (uint32_t)padding(head->size);
	atomic_store(&wire->in->tail, wire->in_tail);
	/* Not for every packet: a sender that waits should find room for some. */
	if (!atomic_load(&wire->in->blocked) ||
	    atomic_load(&wire->in->head) - wire->in_tail > SOFT_RING_BYTES / 2)
		return false;
	return atomic_exchange(&wire->in->blocked, 0);
}
