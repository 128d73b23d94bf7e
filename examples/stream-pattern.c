/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What is sent when data is verified.
 */
#include "rsk-stream.h"

#include <endian.h>
#include <string.h>

void pattern_rstream(uint8_t *to, size_t len, uint64_t offset, bool from_client)
{
	(void)from_client; /* the same both ways */
	while (len--)
		*to++ = (uint8_t)offset++;
}

/* The mixing function of splitmix64. It is a bijection: no two words of a stream are equal. */
static uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
	x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
	return htole64(x ^ (x >> 31));
}

/* Blocks of any size that are lost, doubled, swapped or echoed show. */
void pattern_strong(uint8_t *to, size_t len, uint64_t offset, bool from_client)
{
	uint64_t direction = from_client ? 1ULL << 63 : 0;

	while (len) {
		uint64_t word = mix(direction | offset / sizeof(word));
		size_t skip = offset % sizeof(word), n = sizeof(word) - skip;

		if (n > len)
			n = len;
		memcpy(to, (uint8_t *)&word + skip, n);
		to += n;
		offset += n;
		len -= n;
	}
}
