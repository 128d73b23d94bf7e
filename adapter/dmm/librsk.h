/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The way to librsk. nStack takes over 29 names of libc for the whole process: what a library calls by one
 * of them lands in nStack, where socket(), select(), fork(), and epoll_ctl() on a kernel descriptor do not
 * do what librsk, librdmacm, libibverbs and libev need. So the module is not linked with librsk but opens
 * it with RTLD_DEEPBIND: librsk, and all that is loaded with it, find libc's functions before nStack's.
 */
#ifndef DMM_LIBRSK_H
#define DMM_LIBRSK_H

#include <stdbool.h>

#include <rsk/rsk.h>

#define DMM_RSK_CALLS(CALL) \
	CALL(accept4) CALL(bind) CALL(close) CALL(connect) CALL(fcntl) CALL(getpeername) \
	CALL(getsockname) CALL(getsockopt) CALL(ioctl) CALL(listen) CALL(poll) CALL(read) CALL(readv) \
	CALL(recv) CALL(recvfrom) CALL(recvmsg) CALL(send) CALL(sendmsg) CALL(sendto) CALL(setsockopt) \
	CALL(shutdown) CALL(socket) CALL(watch) CALL(write) CALL(writev)

struct dmm_rsk {
#define DMM_MEMBER(name) __typeof__(rsk_##name) *name;
	DMM_RSK_CALLS(DMM_MEMBER)
};

/* librsk's functions; NULL until dmm_librsk_open() has returned true. */
extern struct dmm_rsk rsk;

/* Opens librsk at the first call. False when it cannot be: a line on stderr says why, once. */
bool dmm_librsk_open(void);

/* A line on stderr, unless RSK_LOG=off. Never on stdout, which is the program's. */
void dmm_log(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
