/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* What only software verbs can do: fail on demand (softverbs(7)), and count what is in use. */
#ifndef RSK_TEST_FAULTS_H
#define RSK_TEST_FAULTS_H

#include "fixture.h"

/* False, having said so: the device cannot. */
bool can_fail(void);

/* From now on these faults; NULL: none. False: the script has an error. */
bool set_faults(const char *script);
void faults(const char *script);

/* Queue pairs, completion queues, memory regions. */
void in_use(int *qps, int *cqs, int *mrs);

#endif
