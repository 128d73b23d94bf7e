/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Which addresses the device has: all of this host, or those that the options name. They are its GIDs, too,
 * IPv4 ones mapped to IPv6. */
#ifndef SOFT_DEVICE_H
#define SOFT_DEVICE_H

#include <stdbool.h>
#include <sys/socket.h>

#include <infiniband/verbs.h>

/* Is @addr served? The port does not matter. */
bool soft_address_is_ours(const struct sockaddr *addr);
/* One of the host itself, served or not. */
bool soft_address_is_loopback(const struct sockaddr *addr);
/* Sets @addr to one of its family that is served, if there is one. */
void soft_address_any(struct sockaddr *addr);
void soft_gid_of(const struct sockaddr *addr, union ibv_gid *gid);
/* The GID's place, or -1. */
int soft_gid_index(const union ibv_gid *gid);
/* All zero if there is none at that place. */
void soft_gid_at(int index, union ibv_gid *gid);

#endif
