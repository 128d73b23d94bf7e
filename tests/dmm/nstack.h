/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * nStack's part, played for the tests: the library takes over the same 29 names of libc for the whole
 * process, keeps descriptors, epoll sets and ready lists as nStack does, and calls a module in the same
 * way with the same kind of locks held. A test is then an application: it calls socket(), epoll_wait()
 * and so on.
 *
 * Before host_load(), all 29 names are libc's. After it, stream sockets of AF_INET are the module's, and
 * the descriptor the application holds is a kernel socket that stands for it, as in nStack.
 */
#ifndef RSK_TEST_NSTACK_H
#define RSK_TEST_NSTACK_H

#include "../../adapter/dmm/abi.h"

/* Opens the module, registers and starts it. 0, or -1 with a line on stderr. */
int host_load(const char *module);

/* The module's table, for calls that only nStack makes. */
const struct dmm_ops *host_module(void);
/* The module's number for an application's descriptor, or -1. */
int host_number(int fd);

/* How often the module told of one of these events. */
unsigned host_told(unsigned events);
/* The nice value of the thread that told last. */
int host_told_at(void);

/* How often it told of a descriptor that is in no set: after the last del, or close. */
unsigned host_told_late(void);

/* The first call of a name that nStack answers in a way that no library expects, by anybody but the test
 * itself: "epoll_ctl called by librsk.so.0". NULL: none. */
const char *host_unsafe_call(void);

#endif
