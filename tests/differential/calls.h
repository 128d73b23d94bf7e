/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* The socket calls under test: the same source is compiled once for the kernel's and once for ours. */
#ifndef RSK_TEST_CALLS_H
#define RSK_TEST_CALLS_H

#include <poll.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <rsk/rsk.h>

#ifdef OVER_TCP
#define CALL(name) name
#define BACKEND "tcp"
#else
#define CALL(name) rsk_##name
#define BACKEND "rsk"
#endif

#endif
