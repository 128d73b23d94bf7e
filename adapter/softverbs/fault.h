/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Faults on demand: a script, from the environment variable SOFTVERBS_FAULTS or a test, says what goes
 * wrong at which place and for the how-manieth time. softverbs(7) describes the language.
 *
 * The device asks at each place; it counts only while there is a script. Device lock held.
 */
#ifndef SOFT_FAULT_H
#define SOFT_FAULT_H

#include <stdint.h>

enum soft_place {
	SOFT_AT_POST_SEND,
	SOFT_AT_POST_RECV,
	SOFT_AT_COMPLETION,
	SOFT_AT_EVENT,               /* of a CQ, on its channel */
	SOFT_AT_RECEIVE,             /* a message that takes a receive has come */
	SOFT_AT_CONNECT,
	SOFT_AT_REG_MR,
	SOFT_AT_ALLOC_PD,
	SOFT_AT_CREATE_CHANNEL,
	SOFT_AT_CREATE_CQ,
	SOFT_AT_CREATE_QP,
	SOFT_AT_CREATE_SRQ,
	SOFT_AT_CREATE_AH,
	SOFT_AT_CREATE_ID,
	SOFT_AT_CREATE_EVENT_CHANNEL,
	SOFT_PLACES,
};

enum soft_action {
	SOFT_NOTHING,
	SOFT_FAIL,                   /* value: errno */
	SOFT_STATUS,                 /* value: enum ibv_wc_status */
	SOFT_DELAY,                  /* value: milliseconds */
	SOFT_RNR,
	SOFT_REJECT,                 /* value: reason */
	SOFT_IGNORE,
	SOFT_PARTITION,              /* value: milliseconds, 0 for ever */
	SOFT_LINK_DOWN,              /* value: milliseconds */
};

struct soft_fault {
	enum soft_action action;
	int value;
};

/* What is to happen this time. @amount: bytes, for rules that speak of a size. */
struct soft_fault soft_fault_at(enum soft_place place, uint64_t amount);
/* The errno with which a call is to fail, or 0. */
int soft_fail_at(enum soft_place place);

#endif
