/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Descriptor number -> object. A call holds its descriptor's slot from rsk_fd_get() to rsk_fd_put();
 * close marks the slot, and whoever leaves last, the closer or a call still inside, runs the
 * object's closing function. So no call sees freed memory, and the number is not reused by the
 * kernel while a call is inside.
 */
#ifndef RSK_FDTAB_H
#define RSK_FDTAB_H

#include <stdbool.h>

struct rsk_sock;

/* Publishes @sk as @fd. @closed runs when it was closed and the last call has left. 0, -ENOMEM, or
 * -EMFILE: the number is beyond the table. */
int rsk_fd_insert(int fd, struct rsk_sock *sk, void (*closed)(struct rsk_sock *));

/* The object, held until rsk_fd_put(fd), or NULL. */
struct rsk_sock *rsk_fd_get(int fd);
void rsk_fd_put(int fd);

/* Marks an open descriptor that the caller holds as closing: no further call gets in, and the last
 * rsk_fd_put() closes the object. False when another thread was first. */
bool rsk_fd_close(int fd);

/* Calls @fn for each open descriptor, held. */
void rsk_fd_each(void (*fn)(int fd, struct rsk_sock *sk));

/* After fork: nothing is open. */
void rsk_fd_forget(void);

#endif
