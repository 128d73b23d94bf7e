/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* The private data of a peer that connects or accepts: anything at all, of any length. */
#include "fuzz.h"

#include <errno.h>

#include "wire.h"

static bool wraps(const struct rsk_entry *entry)
{
	return entry->addr + entry->length < entry->addr;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t bytes[WIRE_HELLO_SIZE];
	struct rsk_hello hello, again;
	int ret = rsk_wire_get_hello(&hello, data, size);

	claim(ret == 0 || ret == -EPROTO || ret == -EPROTONOSUPPORT);
	if (ret)
		return 0;
	claim(size >= WIRE_HELLO_SIZE && data[0] == WIRE_VERSION);
	claim(hello.credits);
	claim(hello.target_list.length >= WIRE_ENTRIES_MIN);
	claim(hello.target_list.length <= WIRE_ENTRIES_MAX);
	claim(hello.segment.length && !wraps(&hello.segment));

	/* What was understood, and no more, is what is said again. */
	rsk_wire_put_hello(bytes, &hello);
	claim(!rsk_wire_get_hello(&again, bytes, sizeof(bytes)));
	claim(again.big_endian == hello.big_endian && again.iomap == hello.iomap);
	claim(again.credits == hello.credits && again.iomap_size == hello.iomap_size);
	claim(!memcmp(&again.target_list, &hello.target_list, sizeof(hello.target_list)));
	claim(!memcmp(&again.segment, &hello.segment, sizeof(hello.segment)));
	return 0;
}
