/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Flow control arithmetic: see credit.h. */
#include "credit.h"

#include <errno.h>

void rsk_tx_credit_init(struct rsk_tx_credit *tx, uint16_t credits, const struct rsk_entry *first)
{
	*tx = (struct rsk_tx_credit){ .limit = credits, .window = credits, .nsegments = 1 };
	tx->segment[0] = *first;
}

int rsk_tx_credit_update(struct rsk_tx_credit *tx, uint32_t operand)
{
	/* The operand may have bit 16 set: the peer adds two 16-bit numbers without truncating. */
	uint16_t limit = (uint16_t)operand;

	uint16_t window = (uint16_t)(limit - tx->sent);

	/* Measured from what was sent, back and ahead cannot be confused, however large the window. */
	if (window < (uint16_t)(tx->limit - tx->sent) || window > tx->window)
		return -EPROTO;
	tx->limit = limit;
	/* Fewer credits are out than mappings have cost. */
	if (tx->iomaps > tx->window - window)
		tx->iomaps_return = true;
	return 0;
}

int rsk_tx_credit_segment(struct rsk_tx_credit *tx, const struct rsk_entry *entry)
{
	if (tx->nsegments == RSK_SEGMENTS || !entry->length ||
	    entry->addr + entry->length < entry->addr)
		return -EPROTO;
	tx->segment[tx->nsegments++] = *entry;
	return 0;
}

void rsk_rx_credit_init(struct rsk_rx_credit *rx, uint16_t credits, uint32_t first_size)
{
	*rx = (struct rsk_rx_credit){ .granted = credits, .window = credits, .advertised = 1 };
	rx->size[0] = first_size;
}

uint32_t rsk_rx_credit_grant(struct rsk_rx_credit *rx)
{
	uint32_t operand = (uint32_t)rx->received + rx->window;

	rx->granted = (uint16_t)operand;
	return operand;
}

uint32_t rsk_rx_credit_advertise(struct rsk_rx_credit *rx, uint32_t size)
{
	rx->size[rx->advertised % RSK_SEGMENTS] = size;
	return rx->advertised++;
}
