/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* What this process uses and may do. */
#ifndef RSK_TEST_PROCESS_H
#define RSK_TEST_PROCESS_H

#include "fixture.h"

int open_descriptors(void);
int running_threads(void);
/* How often all but the main one have gone to sleep. */
long sleeps_of_other_threads(void);
long resident_kib(void);
long pinned_kib(void);

/* From now on no descriptor can be had, without a low limit getting into poll(2)'s way. */
void use_up_descriptors(void);
void give_descriptors_back(void);

/* Gives up a capability (CAP_*) for good, if the process has it. */
void drop_capability(int capability);

#endif
