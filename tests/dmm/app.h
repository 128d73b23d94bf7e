/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* What an application under DMM does, in short: all calls are libc's names, which nstack.c takes over. */
#ifndef RSK_TEST_APP_H
#define RSK_TEST_APP_H

#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "../device/fixture.h"

struct ends {
	int a;                       /* connected */
	int b;                       /* accepted */
};

/* Starts the module in this process, as nStack does. Fails the test when that does not work. */
void app_start(void);

/* Writes a configuration of nStack's with this range for the module, for app_start() to find. */
void app_configure(int minfd, int maxfd);

struct sockaddr_in app_address(uint16_t port);
struct sockaddr_in app_name(int fd);

int app_listener(void);
/* A connect has begun: non-blocking. */
int app_connecting(struct sockaddr_in to);
int app_accept(int listening);
struct ends app_pair(void);
struct ends app_pair_on(int listening);
void app_set_nonblocking(int fd, bool on);
int app_socket_error(int fd);

/* Sends it all, by a blocking socket or by waiting. */
void app_send(int fd, const char *text);
/* Receives exactly this, on a non-blocking socket. */
void app_expect(int fd, const char *text);

/* An epoll set with one member. */
int app_set(int fd, uint32_t events);
void app_control(int ep, int op, int fd, uint32_t events);
/* The next event of the set; fails the test when none comes. */
uint32_t app_event(int ep);
/* Waits until the next event has these bits at least; earlier events, with fewer, are passed over. */
uint32_t app_event_with(int ep, uint32_t events);
/* The events there are now, or 0. */
uint32_t app_event_now(int ep);
/* No event comes. */
void app_quiet(int ep);

/* Fails the test when a library called what only the application may call: see host_unsafe_call(). */
void app_check_isolation(void);

/* A process of the same program, which ends when the test does. Call before app_start(). */
struct other {
	pid_t pid;
	int tell, hear;
};

void other_start(struct other *o, void (*body)(struct other *me));
void other_say(struct other *o, const void *what, size_t len);
void other_listen(struct other *o, void *what, size_t len);
void other_kill(struct other *o);

#endif
