/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* The errors of rsk_epoll_*() are the kernel's, found by making the same mistakes with both. */
#include <fcntl.h>
#include <limits.h>
#include <sys/wait.h>
#include <unistd.h>

#include "epoll.h"
#include "peer.h"
#include "stream.h"

/* -- mistakes ---------------------------------------------------------------------------------- */

/* The kernel's calls and ours, on sockets of either. */
struct calls {
	int (*create)(int flags);
	int (*ctl)(int ep, int op, int fd, struct epoll_event *event);
	int (*wait)(int ep, struct epoll_event *events, int maxevents, int timeout);
	int (*pwait2)(int ep, struct epoll_event *events, int maxevents, const struct timespec *timeout,
		      const sigset_t *mask);
	int (*open_socket)(int domain, int type, int protocol);
	int (*close)(int fd);
};

static const struct calls kernels = { epoll_create1, epoll_ctl, epoll_wait, epoll_pwait2, socket, close };
static const struct calls ours = { rsk_epoll_create1, rsk_epoll_ctl, rsk_epoll_wait, rsk_epoll_pwait2,
				   rsk_socket, rsk_close };

enum { NONE, NEVER_OPEN, CLOSED, A_PIPE, A_FILE, SET, MEMBER, EXCLUSIVE_MEMBER, STRANGER, OTHER_SET, SET_AROUND,
       PIPE_MEMBER, THINGS };

static const char *const thing_names[THINGS] = {
	"-1", "a number that was never open", "a closed socket", "a pipe", "a file", "the instance", "a member",
	"an exclusive member", "no member", "another instance", "an instance that it is in", "a pipe that is a member",
};

struct scene {
	int fd[THINGS];
	int pipe_ends[2], member_pipe[2];
};

static void scene_open(struct scene *s, const struct calls *c)
{
	struct epoll_event in = { .events = EPOLLIN }, alone = { .events = EPOLLIN | EPOLLEXCLUSIVE };

	ck_assert_int_eq(pipe(s->pipe_ends), 0);
	ck_assert_int_eq(pipe(s->member_pipe), 0);
	s->fd[NONE] = -1;
	s->fd[NEVER_OPEN] = 60000;
	s->fd[A_PIPE] = s->pipe_ends[0];
	s->fd[PIPE_MEMBER] = s->member_pipe[0];
	s->fd[A_FILE] = open("/proc/self/exe", O_RDONLY);
	s->fd[SET] = c->create(0);
	s->fd[MEMBER] = c->open_socket(AF_INET, SOCK_STREAM, 0);
	s->fd[EXCLUSIVE_MEMBER] = c->open_socket(AF_INET, SOCK_STREAM, 0);
	s->fd[STRANGER] = c->open_socket(AF_INET, SOCK_STREAM, 0);
	s->fd[OTHER_SET] = c->create(0);
	s->fd[SET_AROUND] = c->create(0);
	ck_assert_int_eq(c->ctl(s->fd[SET], EPOLL_CTL_ADD, s->fd[MEMBER], &in), 0);
	ck_assert_int_eq(c->ctl(s->fd[SET], EPOLL_CTL_ADD, s->fd[EXCLUSIVE_MEMBER], &alone), 0);
	ck_assert_int_eq(c->ctl(s->fd[SET], EPOLL_CTL_ADD, s->fd[PIPE_MEMBER], &in), 0);
	ck_assert_int_eq(c->ctl(s->fd[SET_AROUND], EPOLL_CTL_ADD, s->fd[SET], &in), 0);
	s->fd[CLOSED] = c->open_socket(AF_INET, SOCK_STREAM, 0);
	ck_assert_int_eq(c->ctl(s->fd[SET], EPOLL_CTL_ADD, s->fd[CLOSED], &in), 0);
	c->close(s->fd[CLOSED]);
}

static void scene_close(struct scene *s, const struct calls *c)
{
	static const int opened[] = { SET, MEMBER, EXCLUSIVE_MEMBER, STRANGER, OTHER_SET, SET_AROUND };

	for (size_t i = 0; i < COUNT(opened); i++)
		ck_assert_int_eq(c->close(s->fd[opened[i]]), 0);
	close(s->fd[A_FILE]);
	for (int i = 0; i < 2; i++) {
		close(s->pipe_ends[i]);
		close(s->member_pipe[i]);
	}
}

static int outcome(const struct calls *c, int set, int op, int thing, const struct epoll_event *event)
{
	struct epoll_event copy = event ? *event : (struct epoll_event){ 0 };
	struct scene s;
	int ret;

	scene_open(&s, c);
	ret = c->ctl(s.fd[set], op, s.fd[thing], event ? &copy : NULL);
	ret = ret < 0 ? errno : ret;
	scene_close(&s, c);
	return ret;
}

static void compare_ctl(int set, int op, int thing, const struct epoll_event *event)
{
	int expected = outcome(&kernels, set, op, thing, event), got = outcome(&ours, set, op, thing, event);

	ck_assert_msg(got == expected, "ctl of %s, operation %d, with %s, events %#x%s: %s; the kernel's: %s",
		      thing_names[set], op, thing_names[thing], event ? event->events : 0,
		      event ? "" : " (NULL)", strerror(got), strerror(expected));
}

START_TEST(ctl_errors_are_the_kernels)
{
	static const int sets[] = { NONE, NEVER_OPEN, CLOSED, A_PIPE, SET, MEMBER };
	static const int ops[] = { EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLL_CTL_DEL, 0, 99, -1 };
	static const uint32_t events[] = { 0, EPOLLIN, EPOLLIN | EPOLLEXCLUSIVE,
					   EPOLLIN | EPOLLEXCLUSIVE | EPOLLONESHOT,
					   EPOLLRDHUP | EPOLLEXCLUSIVE, EPOLLIN | EPOLLET | EPOLLEXCLUSIVE };

	for (size_t set = 0; set < COUNT(sets); set++) {
		for (int thing = 0; thing < THINGS; thing++) {
			compare_ctl(sets[set], ops[_i], thing, NULL);
			for (size_t i = 0; i < COUNT(events); i++) {
				struct epoll_event event = { .events = events[i] };

				compare_ctl(sets[set], ops[_i], thing, &event);
			}
		}
	}
}
END_TEST

static int wait_outcome(const struct calls *c, int set, int maxevents, const struct timespec *limit)
{
	struct epoll_event e[4];
	struct scene s;
	int ret;

	scene_open(&s, c);
	/* Nothing is there in this one: its answer is 0. */
	ret = limit ? c->pwait2(s.fd[set], e, maxevents, limit, NULL) : c->wait(s.fd[set], e, maxevents, 0);
	ret = ret < 0 ? errno : ret;
	scene_close(&s, c);
	return ret;
}

START_TEST(wait_errors_are_the_kernels)
{
	static const int sets[] = { NONE, NEVER_OPEN, CLOSED, A_PIPE, A_FILE, MEMBER, OTHER_SET };
	static const int maxevents[] = { 0, -1, INT_MIN, INT_MAX, INT_MAX / 12 + 1, 1 };
	static const struct timespec limits[] = { { 0, 0 }, { -1, 0 }, { 0, -1 }, { 0, 1000000000 } };

	for (size_t i = 0; i < COUNT(sets); i++)
		ck_assert_int_eq(wait_outcome(&ours, sets[i], 1, NULL),
				 wait_outcome(&kernels, sets[i], 1, NULL));
	for (size_t i = 0; i < COUNT(maxevents); i++)
		ck_assert_int_eq(wait_outcome(&ours, OTHER_SET, maxevents[i], NULL),
				 wait_outcome(&kernels, OTHER_SET, maxevents[i], NULL));
	for (size_t i = 0; i < COUNT(limits); i++)
		ck_assert_int_eq(wait_outcome(&ours, OTHER_SET, 1, &limits[i]),
				 wait_outcome(&kernels, OTHER_SET, 1, &limits[i]));
	FAILS(rsk_epoll_wait(instance(), NULL, 1, 0), EFAULT);
}
END_TEST

START_TEST(create_errors_are_the_kernels)
{
	static const int flags[] = { 0, EPOLL_CLOEXEC, 1, O_NONBLOCK, -1 };

	for (size_t i = 0; i < COUNT(flags); i++) {
		int expected = epoll_create1(flags[i]), got = rsk_epoll_create1(flags[i]);

		ck_assert_int_eq(got < 0, expected < 0);
		if (got < 0)
			continue;
		ck_assert_int_eq(fcntl(got, F_GETFD), fcntl(expected, F_GETFD));
		OK(rsk_close(got));
		close(expected);
	}
	FAILS(rsk_epoll_create1(1), EINVAL);
}
END_TEST

START_TEST(other_calls_do_not_take_an_instance_for_a_socket)
{
	int ep = instance();
	char byte;

	FAILS(rsk_send(ep, "x", 1, 0), EBADF);
	FAILS(rsk_recv(ep, &byte, 1, 0), EBADF);
	FAILS(rsk_listen(ep, 1), EBADF);
	FAILS(rsk_shutdown(ep, SHUT_RDWR), EBADF);
	FAILS(rsk_fcntl(ep, F_GETFL), EBADF);
	FAILS(rsk_watch(ep, EPOLLIN, NULL, NULL), EBADF);
	ck_assert_int_eq(ready_now(ep, POLLIN), 0);
	OK(rsk_close(ep));
}
END_TEST

START_TEST(child_has_instances_of_its_own)
{
	struct pair p = pair_connected();
	int ep = instance_with(p.b, EPOLLIN), status;
	struct kernel_pair k = kernel_pipe();
	pid_t child;

	add(ep, k.fd, EPOLLIN);
	child = fork();
	if (!child) {
		struct epoll_event e = { .events = EPOLLIN, .data.fd = k.fd };
		int own = rsk_epoll_create1(0), fd;

		if (rsk_epoll_wait(ep, &e, 1, 0) != -1 || errno != EINVAL)
			_exit(1);
		if (own < 0 || rsk_epoll_ctl(own, EPOLL_CTL_ADD, k.fd, &e))
			_exit(2);
		fd = rsk_socket(AF_INET, SOCK_STREAM, 0);
		e = (struct epoll_event){ .events = EPOLLOUT, .data.fd = fd };
		if (fd < 0 || rsk_epoll_ctl(own, EPOLL_CTL_ADD, fd, &e))
			_exit(3);
		if (rsk_epoll_wait(own, &e, 1, LIMIT_MS) != 1 || e.data.fd != fd)
			_exit(4);
		_exit(0);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(status, 0);
	say(p.a, "x");
	ck_assert_uint_eq(reported(ep, p.b), EPOLLIN);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("epoll errors");
	TCase *tc;

	tc = group(s, "mistakes", 150);
	tcase_add_loop_test(tc, ctl_errors_are_the_kernels, 0, 6);
	tcase_add_test(tc, wait_errors_are_the_kernels);
	tcase_add_test(tc, create_errors_are_the_kernels);
	tcase_add_test(tc, other_calls_do_not_take_an_instance_for_a_socket);
	if (!CHILDREN_HAVE_NO_THREADS)
		tcase_add_test(tc, child_has_instances_of_its_own);
	return run_suite(s);
}
