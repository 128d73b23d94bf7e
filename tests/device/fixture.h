/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What the device tests share: listeners and connected pairs, streams of bytes that can be told
 * apart, threads that are known to be blocked, and peers that live in a process of their own.
 *
 * Everything here fails the running test by itself when something goes wrong, so tests check only
 * what they claim. Nothing waits for time to pass: waits end with an event, or fail at LIMIT_MS.
 *
 * Each test runs in a fresh process (Check's fork mode, always), which has made no rsk call yet. A
 * test that needs a peer process starts it first.
 */
#ifndef RSK_TEST_FIXTURE_H
#define RSK_TEST_FIXTURE_H

#include <check.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <rsk/rsk.h>

/* Nothing on a live connection takes this long, not even emulated and with one processor. */
#define LIMIT_MS 60000

/* A wait for something that must not happen. */
#define QUIET_MS 100

#define KIB 1024ul
#define MIB (1024ul * 1024ul)
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* -- suites ------------------------------------------------------------------------------------ */

/* A group of tests in @s, each of which may take @limit_s seconds. */
TCase *group(Suite *s, const char *name, int limit_s);

/* main() of a test program: 0, 1, or 77 with a line that says why nothing ran. */
int run_suite(Suite *s);

/* Whether the environment names a device address of the family. */
bool have_family(int family);

/* -- checks ------------------------------------------------------------------------------------ */

void check_ok(long ret, const char *call, const char *file, int line);
void check_fails(long ret, int error, const char *call, const char *file, int line);

/* The call returns 0. */
#define OK(call) check_ok((call), #call, __FILE__, __LINE__)

/* The call returns -1 with this errno. */
#define FAILS(call, error) check_fails((call), (error), #call, __FILE__, __LINE__)

/* -- addresses --------------------------------------------------------------------------------- */

struct address {
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
		struct sockaddr_storage room;
	};
	socklen_t len;
};

struct address address_of_text(const char *numeric, uint16_t port);
struct address address_of_device(int family, uint16_t port);
struct address address_wildcard(int family);
struct address local_address(int fd);
struct address peer_address(int fd);
uint16_t address_port(const struct address *a);
void check_same_address(const struct address *a, const struct address *b);

/* An address of the device with a port where nobody listens, nor will while the test runs. */
struct address address_deserted(void);

/* "10.0.0.2:7471" or "[fd00::2]:7471", in a buffer that the thread's next call reuses. */
const char *address_text(const struct address *a);

/* -- sockets and pairs ------------------------------------------------------------------------- */

struct option {
	int level;
	int name;
	int value;
};

/* A list of options that are ints: OPTIONS({ SOL_RDMA, RDMA_RQSIZE, 16 }) */
#define OPTIONS(...) ((const struct option[]){ __VA_ARGS__, { 0, 0, 0 } })
#define NO_OPTIONS NULL

struct pair {
	int a; /* the end that connected */
	int b; /* the end that was accepted */
};

int socket_with(int family, const struct option *options);
int get_option(int fd, int level, int name);
void set_nonblocking(int fd, bool on);

/* A listener at the device's address, on a port of its own. */
int listener(void);
int listener_with(int family, const struct option *options, int backlog);

/* A non-blocking connect that has begun. */
int connect_begun(const struct address *to, const struct option *options);

/* Waits until it is decided, and says how: 0 or an errno. */
int connect_outcome(int fd);

/* Waits until it is connected, and makes the socket blocking. */
void connect_finished(int fd);

/* A connected socket; somebody may still have to accept it. */
int connected_to(const struct address *to);

int accept_from(int listening);

struct pair pair_connected(void);
struct pair pair_with(int family, const struct option *a, const struct option *b);
struct pair pair_on(int listening);

/* A pair that has room for only a few kilobytes in each direction. */
struct pair pair_narrow(void);

void pair_close(struct pair p);

/* -- readiness --------------------------------------------------------------------------------- */

/* Waits with rsk_poll() until the descriptor has any bits; returns them. */
short wait_for(int fd, short events);

/* The bits rsk_poll() sees now. */
short ready_now(int fd, short events);

/* Waits with poll(2), as a foreign event loop does, until the descriptor is readable. */
void wait_readable_in_kernel(int fd);

/* Sends until there is no room at either end; returns how many bytes of stream @seed went in. */
uint64_t fill_send_side(int fd, uint64_t seed);

void check_end_of_file(int fd);

/* The two ends are connected to each other: a byte each way says so. */
void check_connected(int a, int b);

/* -- threads ----------------------------------------------------------------------------------- */

struct task {
	void (*body)(void *arg);
	void *arg;
	pthread_t thread;
	_Atomic int tid;
	atomic_bool done;
};

void task_start(struct task *t, void (*body)(void *arg), void *arg);
void task_join(struct task *t);

/* Waits until the thread sleeps in the kernel, or is done. */
void task_wait_asleep(struct task *t);

/* -- streams ----------------------------------------------------------------------------------- */

/* Bytes of a stream depend on its seed and their offset only, and do not repeat. */
void pattern_fill(void *buf, size_t len, uint64_t seed, uint64_t offset);
void pattern_check(const void *buf, size_t len, uint64_t seed, uint64_t offset);

/* Numbers that look random and are the same in each run. */
struct dice {
	uint64_t state;
};

uint64_t roll(struct dice *d, uint64_t lowest, uint64_t highest);

typedef ssize_t (*mover)(int fd, void *buf, size_t len);

struct stream {
	uint64_t seed;
	uint64_t bytes;
	size_t send_piece; /* largest piece for one call; 0: 64 KiB */
	size_t take_piece;
	bool ragged;       /* pieces of 1 .. largest bytes */
	mover send_by;     /* NULL: rsk_send() */
	mover take_by;     /* NULL: rsk_recv() */
};

/* Both work on blocking and on non-blocking sockets. */
void stream_send(int fd, const struct stream *s);
void stream_take(int fd, const struct stream *s);

/* One end of a stream, worked by a thread. Join its task. */
struct stream_end {
	int fd;
	const struct stream *stream;
	struct task task;
};

void stream_send_in_thread(struct stream_end *end, int fd, const struct stream *s);
void stream_take_in_thread(struct stream_end *end, int fd, const struct stream *s);

/* Sends in a thread, takes in this one. */
void stream_pass(int from, int to, const struct stream *s);

/* Two streams, four threads. */
void stream_both_ways(struct pair p, const struct stream *ab, const struct stream *ba);

/* -- blocked calls ----------------------------------------------------------------------------- */

/* A call that blocks, made by a thread of its own. */
struct call {
	ssize_t (*make)(int fd);
	int fd;
	ssize_t ret;
	int error;
	struct task task;
};

/* Returns when the thread is blocked in make(fd). */
void call_blocks(struct call *c, ssize_t (*make)(int fd), int fd);

/* Waits for its return; then c->ret and c->error tell how. */
void call_returns(struct call *c);

/* Calls for call_blocks(). */
ssize_t call_recv(int fd);
ssize_t call_send_4mib(int fd);
ssize_t call_accept(int fd);
ssize_t call_poll_in(int fd);

/* -- signals ----------------------------------------------------------------------------------- */

/* Counts a signal from now on. */
void count_signal(int signal, int sa_flags);
int signals_counted(void);

/* Interrupts the thread that makes the call, and waits until its handler ran. */
void call_interrupt(struct call *c, int signal);

/* -- peers in a process of their own ----------------------------------------------------------- */

struct peer {
	pid_t pid;
	int tell;
	int hear;
};

/* Call before anything of rsk. The peer ends when @body returns, without exit handlers. */
void peer_start(struct peer *p, void (*body)(struct peer *me));

/* The two meet: what the test says in order is heard in order, and the reverse. */
void peer_say(struct peer *p, const void *what, size_t len);
void peer_listen(struct peer *p, void *what, size_t len);
void peer_signal(struct peer *p);
void peer_await(struct peer *p);

/* In the test: the connection that the peer makes with peer_connect(). */
int peer_accept(struct peer *p, const struct option *options);
int peer_connect(struct peer *me, const struct option *options);

void peer_kill(struct peer *p);

/* Waits for its end, which must be exit status 0. */
void peer_finish(struct peer *p);

/* -- this process ------------------------------------------------------------------------------ */

int open_descriptors(void);
int running_threads(void);
long resident_kib(void);

/* For what happens in the background and raises no event; fails the test naming @what. */
void wait_until(bool (*reached)(long goal), long goal, const char *what);

uint64_t now_ms(void);

/* Gives up a capability (CAP_*) for good, if the process has it. */
void drop_capability(int capability);

#endif
