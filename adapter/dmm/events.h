/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Readiness for nStack, which keeps epoll sets and ready lists itself. It asks what is ready now (ep_ctl,
 * ep_getevt, select) and is told what becomes ready (event_cb). All of it is rsk_watch() and a look with
 * rsk_poll(); nothing here waits for the network.
 *
 * nStack calls ep_ctl under spinlocks of its own, but never under those that event_cb takes. Callbacks come
 * from librsk's engine thread and take no lock of ours, so that ending a watch, which waits for a running
 * one, may hold ours.
 */
#ifndef DMM_EVENTS_H
#define DMM_EVENTS_H

#include <sys/epoll.h>
#include <sys/select.h>

#include "fds.h"

/* Whom to tell. Before the first ep_ctl. */
void dmm_events_init(int (*event_cb)(void *pdata, int events));

/* These are members of struct dmm_extern_ops and struct dmm_socket_ops: see abi.h. */
unsigned dmm_ep_ctl(int ep, int s, int op, struct epoll_event *event, void *pdata);
unsigned dmm_ep_getevt(int ep, int s, unsigned events);
int dmm_select(int n, fd_set *in, fd_set *out, fd_set *except, struct timeval *timeout);

/* The descriptor is being closed: no event_cb runs after this has returned. Its lock is held. */
void dmm_events_end(struct dmm_fd *entry);

#endif
