/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Callbacks on readiness: rsk_watch(). */
#ifndef RSK_WATCH_H
#define RSK_WATCH_H

/* In a forked child: nothing is watched. */
void rsk_watch_forget(void);

#endif
