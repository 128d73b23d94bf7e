/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The calls of a stream socket: rsk's, or, for comparison, the kernel's. They have the same arguments and
 * results, so programs that measure both are written once.
 */
#ifndef RSK_EXAMPLES_TRANSPORT_H
#define RSK_EXAMPLES_TRANSPORT_H

#include <rsk/rsk.h>

struct transport {
	const char *name;
	int (*socket)(int domain, int type, int protocol);
	int (*setsockopt)(int fd, int level, int name, const void *value, socklen_t len);
	int (*getsockopt)(int fd, int level, int name, void *value, socklen_t *len);
	int (*bind)(int fd, const struct sockaddr *addr, socklen_t len);
	int (*listen)(int fd, int backlog);
	int (*getsockname)(int fd, struct sockaddr *addr, socklen_t *len);
	int (*accept4)(int fd, struct sockaddr *addr, socklen_t *len, int flags);
	int (*connect)(int fd, const struct sockaddr *addr, socklen_t len);
	ssize_t (*send)(int fd, const void *buf, size_t len, int flags);
	ssize_t (*recv)(int fd, void *buf, size_t len, int flags);
	int (*poll)(struct pollfd *fds, nfds_t nfds, int timeout_ms);
	int (*shutdown)(int fd, int how);
	int (*close)(int fd);
};

extern const struct transport transport_rdma, transport_tcp;

#endif
