/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Instances of rsk_epoll_create1(), their reports, and descriptors of the kernel to put in. */
#ifndef RSK_TEST_EPOLL_H
#define RSK_TEST_EPOLL_H

#include <stdint.h>
#include <sys/epoll.h>

#include "fixture.h"

#define UNASKED (EPOLLERR | EPOLLHUP)
#define EVERYTHING (EPOLLIN | EPOLLOUT | EPOLLRDHUP)

int instance(void);
/* With the descriptor as the data of its reports. */
int change(int ep, int op, int fd, uint32_t events);
void add(int ep, int fd, uint32_t events);
int instance_with(int fd, uint32_t events);

/* Waits for the report of the only member that has one; returns its bits. */
#define reported(ep, fd) wait_for_report(ep, fd, __LINE__)
uint32_t wait_for_report(int ep, int fd, int line);

/* No report comes. */
#define silent(ep) check_silent(ep, __LINE__)
void check_silent(int ep, int line);

/* Reads @len bytes that have been reported. */
void take(int fd, size_t len);

/* What is written to one comes out of the other. */
struct kernel_pair {
	int write_end;
	int fd;
};

struct kernel_pair kernel_pipe(void);
struct kernel_pair kernel_eventfd(void);
struct kernel_pair kernel_tcp(void);
/* A pipe whose read end has that number. */
void number_pipe(int ends[2], int number);
void write_kernel(int fd);
void read_kernel(int fd);

#endif
