/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * A record that one call sent meets the end of a receive segment now and then, and arrives in two messages.
 * Programs that ask for whole records rarely expect that, because with TCP it hardly happens. So the first
 * part is not shown until the rest is there, or a time has passed.
 *
 * What tells a first part from a record that merely ends where the segment does: it is shorter than the
 * record before. A stream in which that was wrong once is taken as it comes. Where records have been of one
 * length it is nearly certain, and the time outlasts a packet that was lost: over RoCE it is sent again after
 * two seconds. Pure, as credit.h.
 */
#ifndef RSK_HOLD_H
#define RSK_HOLD_H

#include <stdbool.h>
#include <stdint.h>

enum {
	RSK_HOLD_MAX = 16 << 10,     /* longer records are sent in several messages anyway */
	RSK_HOLD_MS = 200,           /* the rest is microseconds behind, unless the sender loses its CPU */
	RSK_HOLD_SURE_MS = 5000,
};

struct rsk_hold {
	uint32_t bytes;              /* held back at present */
	uint32_t record;             /* bytes of the last record */
	bool steady;                 /* the last two records were of one length */
	bool in_vain;                /* a hold ended by time: none any more */
};

/* A message of @len bytes has arrived; @fills_segment: it ends where its segment does. */
static inline void rsk_hold_message(struct rsk_hold *hold, uint32_t len, bool fills_segment)
{
	uint32_t record = hold->bytes + len;

	if (fills_segment && len < hold->record && hold->record < RSK_HOLD_MAX && !hold->bytes) {
		hold->bytes = hold->in_vain ? 0 : len;
		return;
	}
	hold->steady = record == hold->record;
	hold->record = record;
	hold->bytes = 0;
}

/* How long to wait for the rest. */
static inline int rsk_hold_ms(const struct rsk_hold *hold)
{
	return hold->steady ? RSK_HOLD_SURE_MS : RSK_HOLD_MS;
}

/* The rest did not come in time. */
static inline void rsk_hold_give_up(struct rsk_hold *hold)
{
	hold->record = hold->bytes;
	hold->bytes = 0;
	hold->in_vain = true;
}

#endif
