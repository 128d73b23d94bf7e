/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What DMM's socket framework ("nStack") and a stack module agree on, in our own words: nStack opens the
 * module, calls <stack name>_stack_register() with a table to fill in, and calls through that table.
 * Members come in the order of nStack's own headers; `configure --with-dmm-headers=DIR` compares.
 */
#ifndef DMM_ABI_H
#define DMM_ABI_H

#include <stddef.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

/* The socket calls. Each gets the module's own descriptor, and returns and sets errno as libc's does.
 * ioctl and fcntl are not variadic. What is NULL fails with EBADF, or is never called. */
struct dmm_socket_ops {
	int (*socket)(int domain, int type, int protocol);
	int (*bind)(int s, const struct sockaddr *addr, socklen_t len);
	int (*listen)(int s, int backlog);
	int (*shutdown)(int s, int how);
	int (*getsockname)(int s, struct sockaddr *addr, socklen_t *len);
	int (*getpeername)(int s, struct sockaddr *addr, socklen_t *len);
	int (*getsockopt)(int s, int level, int name, void *value, socklen_t *len);
	int (*setsockopt)(int s, int level, int name, const void *value, socklen_t len);
	int (*accept)(int s, struct sockaddr *addr, socklen_t *len);
	int (*accept4)(int s, struct sockaddr *addr, socklen_t *len, int flags);
	int (*connect)(int s, const struct sockaddr *addr, socklen_t len);
	ssize_t (*recv)(int s, void *buf, size_t len, int flags);
	ssize_t (*send)(int s, const void *buf, size_t len, int flags);
	ssize_t (*read)(int s, void *buf, size_t len);
	ssize_t (*write)(int s, const void *buf, size_t len);
	ssize_t (*writev)(int s, const struct iovec *iov, int count);
	ssize_t (*readv)(int s, const struct iovec *iov, int count);
	ssize_t (*sendto)(int s, const void *buf, size_t len, int flags, const struct sockaddr *addr,
			  socklen_t addrlen);
	ssize_t (*recvfrom)(int s, void *buf, size_t len, int flags, struct sockaddr *addr,
			    socklen_t *addrlen);
	ssize_t (*sendmsg)(int s, const struct msghdr *msg, int flags);
	ssize_t (*recvmsg)(int s, struct msghdr *msg, int flags);
	int (*close)(int s);
	int (*select)(int n, fd_set *in, fd_set *out, fd_set *except, struct timeval *timeout);
	int (*ioctl)(int s, unsigned long request, unsigned long arg);
	int (*fcntl)(int s, int cmd, unsigned long arg);
	int (*epoll_create)(int size);
	int (*epoll_ctl)(int ep, int op, int s, struct epoll_event *event);
	int (*epoll_wait)(int ep, struct epoll_event *events, int max, int timeout);
	pid_t (*fork)(void);
};

enum dmm_ep_op { DMM_EP_ADD, DMM_EP_MOD, DMM_EP_DEL }; /* not EPOLL_CTL_* */

/* Start, fork and events. */
struct dmm_extern_ops {
	int (*module_init)(void);
	int (*module_init_child)(void);
	int (*fork_init_child)(pid_t parent, pid_t child);
	void (*fork_parent_fd)(int s, pid_t parent);
	void (*fork_child_fd)(int s, pid_t parent, pid_t child);
	void (*fork_free_fd)(int s, pid_t parent, pid_t child);
	unsigned (*ep_ctl)(int ep, int s, int op, struct epoll_event *event, void *pdata);
	unsigned (*ep_getevt)(int ep, int s, unsigned events);
	int (*ep_prewait_proc)(int ep);
	int (*stack_fd_check)(int fd, int flag);
	int (*stack_alloc_fd)(void);
	int (*peak)(int s);
};

struct dmm_ops {
	struct dmm_socket_ops socket_ops;
	struct dmm_extern_ops extern_ops;
};

/* What nStack offers: events of a descriptor are told to event_cb() with the pdata of its ep_ctl(). */
struct dmm_host {
	void *handle;                /* the module's, of dlopen() */
	int type;                    /* the module's number */
	int (*event_cb)(void *pdata, int events);
};

/* The registration function: fills in @ops; 0, or else nStack refuses all calls of the process. */
typedef int dmm_register_fn(struct dmm_ops *ops, struct dmm_host *host);

#define DMM_AT(type, member, place) \
	_Static_assert(offsetof(type, member) == (place) * sizeof(void *), "place of " #member)

DMM_AT(struct dmm_socket_ops, accept4, 9);
DMM_AT(struct dmm_socket_ops, recv, 11);
DMM_AT(struct dmm_socket_ops, writev, 15);
DMM_AT(struct dmm_socket_ops, readv, 16);
DMM_AT(struct dmm_socket_ops, close, 21);
DMM_AT(struct dmm_socket_ops, select, 22);
DMM_AT(struct dmm_socket_ops, epoll_create, 25);
DMM_AT(struct dmm_socket_ops, fork, 28);
DMM_AT(struct dmm_ops, extern_ops, 29);
DMM_AT(struct dmm_extern_ops, fork_parent_fd, 3);
DMM_AT(struct dmm_extern_ops, ep_ctl, 6);
DMM_AT(struct dmm_extern_ops, ep_getevt, 7);
DMM_AT(struct dmm_extern_ops, peak, 11);
DMM_AT(struct dmm_host, event_cb, 2);
_Static_assert(sizeof(struct dmm_ops) == 41 * sizeof(void *), "size of the table");

#endif
