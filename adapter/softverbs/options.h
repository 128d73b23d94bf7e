/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What the user can choose, once, when the library is loaded: the environment variable SOFTVERBS holds
 * words such as "iwarp max_qp_wr=512", separated by blanks. An error in it ends the program with
 * status 2 and a line that says what is wrong.
 */
#ifndef SOFT_OPTIONS_H
#define SOFT_OPTIONS_H

#include <sys/socket.h>

enum { SOFT_ADDRESSES_MAX = 16, SOFT_SGES_MAX = 64 };

struct soft_options {
	int iwarp;                   /* be an iWARP device: no immediate data */
	int any_user;                /* talk to processes of other users */
	int max_qp, max_cq, max_mr, max_pd, max_srq, max_ah;
	int max_qp_wr, max_cqe, max_sge, max_inline, max_rd_atomic;
	struct sockaddr_storage addresses[SOFT_ADDRESSES_MAX];
	int naddresses;              /* 0: all of this host */
	int timeout;                 /* that the CM sets on QPs: 4.096 us << timeout for each attempt */
};

extern struct soft_options soft_options;

#endif
