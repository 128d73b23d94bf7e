/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The stack module where there is no device: how it is found, loaded and started, what it says, and that
 * nothing below it reaches a name that nStack took over.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../adapter/dmm/range.h"
#include "../device/fixture.h"
#include "nstack.h"

/* -- the range of descriptors ------------------------------------------------------------------ */

static const struct {
	const char *text;
	int min, max;
} configurations[] = {
	{ "", 0, 1024 },
	{ "{}", 0, 1024 },
	{ "{ \"module_list\": [ { \"stack_name\": \"rsocket\" } ] }", 0, 1024 },
	{ "{ \"module_list\": [ { \"stack_name\": \"rsocket\", \"maxfd\": \"4096\" } ] }", 0, 4096 },
	{ "{ \"module_list\": [ { \"maxfd\": 20, \"minfd\": 3, \"stack_name\": \"rsocket\", }, ] }", 3, 20 },
	{ "{\"module_list\":[{\"stack_name\":\"kernel\",\"maxfd\":8000},"
	  "{\"stack_name\":\"rsocket\",\"libname\":\"x\"}]}", 0, 1024 },
	{ "{\"module_list\":[{\"stack_name\":\"rsocket\",\"maxfd\":77},"
	  "{\"stack_name\":\"kernel\",\"maxfd\":8000}]}", 0, 77 },
	{ "{ /* \"stack_name\": \"rsocket\", \"maxfd\": 1 */ \"module_list\": [ // {\n"
	  "{ \"stack_name\": /* } */ \"rsocket\", \"maxfd\": \"50\" } ] }", 0, 50 },
	{ "{ \"module_list\": [ { \"stack_name\": \"rsocket\", \"maxfd\": 0 } ] }", 0, 1024 },
	{ "{ \"module_list\": [ { \"stack_name\": \"rsocket\", \"maxfd\": 100000 } ] }", 0, DMM_FDS - 1 },
	{ "{ \"module_list\": [ { \"stack_name\": \"rsocket\", \"minfd\": -5, \"maxfd\": 9 } ] }", 0, 9 },
	{ "{ \"stack_name\": \"rsocket", 0, 1024 },
	{ "{ /* never closed", 0, 1024 },
	{ "\"maxfd\": : : { } } 7", 0, 1024 },
};

START_TEST(range_is_what_nstacks_configuration_says)
{
	struct dmm_range range = dmm_range_parse(configurations[_i].text);

	ck_assert_int_eq(range.min, configurations[_i].min);
	ck_assert_int_eq(range.max, configurations[_i].max);
}
END_TEST

/* -- loading ----------------------------------------------------------------------------------- */

START_TEST(loads_and_registers)
{
	ck_assert_int_eq(host_load(DMM_MODULE), 0);
	ck_assert_ptr_nonnull(host_module()->socket_ops.socket);
	ck_assert_ptr_nonnull(host_module()->extern_ops.ep_getevt);
}
END_TEST

START_TEST(loading_does_not_load_librsk)
{
	ck_assert_int_eq(host_load(DMM_MODULE), 0);
	ck_assert_ptr_null(dlopen("librsk.so.0", RTLD_LAZY | RTLD_NOLOAD));
}
END_TEST

/* Its thread may be at work, and is not waited for. */
START_TEST(librsk_stays_when_it_is_closed)
{
	void *librsk = dlopen("librsk.so.0", RTLD_LAZY);

	ck_assert_ptr_nonnull(librsk);
	ck_assert_int_eq(dlclose(librsk), 0);
	ck_assert_ptr_nonnull(dlopen("librsk.so.0", RTLD_LAZY | RTLD_NOLOAD));
}
END_TEST

START_TEST(exports_the_registration_function_alone)
{
	void *module = dlopen(DMM_MODULE, RTLD_LAZY);

	ck_assert_ptr_nonnull(module);
	ck_assert_ptr_nonnull(dlsym(module, "rsocket_stack_register"));
	ck_assert_ptr_null(dlsym(module, "dmm_ep_ctl"));
	ck_assert_ptr_null(dlsym(module, "rsk"));
}
END_TEST

START_TEST(registering_with_nothing_fails)
{
	dmm_register_fn *fn;
	struct dmm_host host = { 0 };
	struct dmm_ops ops;

	*(void **)&fn = dlsym(dlopen(DMM_MODULE, RTLD_LAZY), "rsocket_stack_register");
	ck_assert_int_eq(fn(&ops, &host), -1);
	ck_assert_int_eq(fn(NULL, &host), -1);
	ck_assert_int_eq(fn(&ops, NULL), -1);
}
END_TEST

/* -- calls that need no device ----------------------------------------------------------------- */

START_TEST(datagram_sockets_are_not_ours)
{
	ck_assert_int_eq(host_load(DMM_MODULE), 0);
	FAILS(host_module()->socket_ops.socket(AF_INET, SOCK_DGRAM, 0), EPROTONOSUPPORT);
	FAILS(host_module()->socket_ops.socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, 1), EPROTONOSUPPORT);
}
END_TEST

static const int strangers[] = { -1, -1000, 0, 7, 1024, 1025, 8191, 8192, 1 << 30 };

START_TEST(unknown_descriptor_fails_in_every_call)
{
	const struct dmm_socket_ops *ops;
	struct epoll_event event = { .events = EPOLLIN };
	struct sockaddr_in in = { .sin_family = AF_INET };
	struct sockaddr *addr = (struct sockaddr *)&in;
	struct iovec iov = { &in, sizeof(in) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	socklen_t len = sizeof(in);
	int s = strangers[_i], value = 0;

	ck_assert_int_eq(host_load(DMM_MODULE), 0);
	ops = &host_module()->socket_ops;
	FAILS(ops->bind(s, addr, len), EBADF);
	FAILS(ops->listen(s, 1), EBADF);
	FAILS(ops->shutdown(s, SHUT_WR), EBADF);
	FAILS(ops->getsockname(s, addr, &len), EBADF);
	FAILS(ops->getpeername(s, addr, &len), EBADF);
	FAILS(ops->getsockopt(s, SOL_SOCKET, SO_ERROR, &value, &len), EBADF);
	FAILS(ops->setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &value, sizeof(value)), EBADF);
	FAILS(ops->accept(s, NULL, NULL), EBADF);
	FAILS(ops->accept4(s, NULL, NULL, 0), EBADF);
	FAILS(ops->connect(s, addr, sizeof(in)), EBADF);
	FAILS(ops->recv(s, &in, 1, 0), EBADF);
	FAILS(ops->send(s, &in, 1, 0), EBADF);
	FAILS(ops->read(s, &in, 1), EBADF);
	FAILS(ops->write(s, &in, 1), EBADF);
	FAILS(ops->readv(s, &iov, 1), EBADF);
	FAILS(ops->writev(s, &iov, 1), EBADF);
	FAILS(ops->recvfrom(s, &in, 1, 0, NULL, NULL), EBADF);
	FAILS(ops->sendto(s, &in, 1, 0, NULL, 0), EBADF);
	FAILS(ops->recvmsg(s, &msg, 0), EBADF);
	FAILS(ops->sendmsg(s, &msg, 0), EBADF);
	FAILS(ops->ioctl(s, FIONREAD, (unsigned long)&value), EBADF);
	FAILS(ops->fcntl(s, F_GETFL, 0), EBADF);
	FAILS(ops->close(s), EBADF);
	ck_assert_int_eq((int)host_module()->extern_ops.ep_ctl(-1, s, DMM_EP_ADD, &event, &in), -1);
	ck_assert_int_eq((int)host_module()->extern_ops.ep_getevt(-1, s, EPOLLIN), 0);
}
END_TEST

START_TEST(select_finds_unknown_descriptors_not_ready)
{
	unsigned long in[DMM_FDS / 64], out[DMM_FDS / 64];
	struct timeval long_time = { 1000, 0 };
	int (*op)(int, fd_set *, fd_set *, fd_set *, struct timeval *);

	ck_assert_int_eq(host_load(DMM_MODULE), 0);
	op = host_module()->socket_ops.select;
	memset(in, 0xff, sizeof(in));
	memset(out, 0xff, sizeof(out));
	ck_assert_int_eq(op(DMM_FDS, (fd_set *)in, (fd_set *)out, NULL, &long_time), 0);
	for (size_t i = 0; i < COUNT(in); i++)
		ck_assert_uint_eq(in[i] | out[i], 0);
	FAILS(op(-1, NULL, NULL, NULL, NULL), EINVAL);
	FAILS(op(DMM_FDS + 1, NULL, NULL, NULL, NULL), EINVAL);
}
END_TEST

/* -- what it says ------------------------------------------------------------------------------ */

static char said[4096];

/* Runs @body in a process whose stdout or stderr (@fd) is read into said. */
static void listen_to(int fd, void (*body)(void))
{
	int ends[2], status;
	size_t have = 0;
	ssize_t n;
	pid_t pid;

	ck_assert_int_eq(pipe(ends), 0);
	pid = fork();
	if (pid == 0) {
		dup2(ends[1], fd);
		body();
		fflush(NULL);
		_exit(0);
	}
	close(ends[1]);
	while ((n = read(ends[0], said + have, sizeof(said) - 1 - have)) > 0)
		have += (size_t)n;
	said[have] = '\0';
	close(ends[0]);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
}

/* Runs this program anew, to do that instead of tests. */
static _Noreturn void become(const char *what)
{
	execl("/proc/self/exe", "test_module", what, NULL);
	_exit(1);
}

/* A librsk.so.0 that is none comes first in the search. */
static void without_librsk(void)
{
	char dir[] = "/tmp/rsk-dmm.XXXXXX", path[64];
	const char *old = getenv("LD_LIBRARY_PATH");
	char search[1024];
	FILE *f;

	if (!mkdtemp(dir))
		_exit(1);
	snprintf(path, sizeof(path), "%s/librsk.so.0", dir);
	f = fopen(path, "w");
	fputs("not a library\n", f);
	fclose(f);
	snprintf(search, sizeof(search), "%s:%s", dir, old ? old : "");
	setenv("LD_LIBRARY_PATH", search, 1);
	become("without-librsk");
}

/* Software verbs are taken out of the search. */
static void without_device(void)
{
	const char *search = getenv("LD_LIBRARY_PATH"), *verbs = "/softverbs/verbs:";
	char *left = strdup(search ? search : ""), *end = strstr(left, verbs), *begin = end;

	while (begin && begin > left && begin[-1] != ':')
		begin--;
	if (begin)
		memmove(begin, end + strlen(verbs), strlen(end + strlen(verbs)) + 1);
	setenv("LD_LIBRARY_PATH", left, 1);
	become("without-device");
}

/* What the programs above do instead of tests: sockets fail, each time with @error. */
static int open_sockets(int error)
{
	if (host_load(DMM_MODULE))
		return 1;
	for (int i = 0; i < 2; i++) {
		if (host_module()->socket_ops.socket(AF_INET, SOCK_STREAM, 0) != -1 || errno != error)
			return 1;
	}
	return 0;
}

static bool librsk_is_installed(void)
{
	return access(DMM_LIBDIR "/librsk.so.0", F_OK) == 0;
}

START_TEST(missing_librsk_is_named_once)
{
	if (librsk_is_installed())
		return;
	listen_to(STDERR_FILENO, without_librsk);
	ck_assert_msg(strstr(said, "dmm_rsocket: cannot open librsk") != NULL, "it says: %s", said);
	ck_assert_ptr_eq(strchr(said, '\n'), strrchr(said, '\n'));
}
END_TEST

START_TEST(missing_device_is_named_once)
{
	const char *line;

	if (access("/dev/infiniband", F_OK) == 0)
		return;
	listen_to(STDERR_FILENO, without_device);
	line = strstr(said, "dmm_rsocket: no RDMA device");
	ck_assert_msg(line && !strstr(line + 1, "dmm_rsocket:"), "it says: %s", said);
	listen_to(STDOUT_FILENO, without_device);
	ck_assert_str_eq(said, "");
}
END_TEST

START_TEST(log_can_be_switched_off)
{
	if (librsk_is_installed())
		return;
	setenv("RSK_LOG", "off", 1);
	listen_to(STDERR_FILENO, without_librsk);
	ck_assert_str_eq(said, "");
}
END_TEST

START_TEST(stdout_is_the_programs)
{
	if (librsk_is_installed())
		return;
	listen_to(STDOUT_FILENO, without_librsk);
	ck_assert_str_eq(said, "");
}
END_TEST

/* -- isolation --------------------------------------------------------------------------------- */

#ifndef RSK_SANITIZED
START_TEST(nothing_below_the_module_reaches_nstack)
{
	int fd;

	ck_assert_int_eq(host_load(DMM_MODULE), 0);
	/* Starts the engine, its event loop and the CM channel, as far as there is one. */
	fd = host_module()->socket_ops.socket(AF_INET, SOCK_STREAM, 0);
	if (fd >= 0)
		OK(host_module()->socket_ops.close(fd));
	ck_assert_ptr_nonnull(dlopen("librsk.so.0", RTLD_LAZY | RTLD_NOLOAD));
	poll(NULL, 0, QUIET_MS);     /* for the engine thread to begin */
	ck_assert_msg(!host_unsafe_call(), "%s", host_unsafe_call());
}
END_TEST
#endif

static bool trapped(long goal)
{
	(void)goal;
	return host_unsafe_call() != NULL;
}

/* The trap works: the same without the module's care. */
START_TEST(librsk_opened_carelessly_does_reach_nstack)
{
	int (*rsk_socket_plain)(int domain, int type, int protocol);
	void *librsk = dlopen("librsk.so.0", RTLD_NOW | RTLD_LOCAL);

	ck_assert_msg(librsk != NULL, "%s", dlerror());
	*(void **)&rsk_socket_plain = dlsym(librsk, "rsk_socket");
	rsk_socket_plain(AF_INET, SOCK_STREAM, 0);
	wait_until(trapped, 1, "a call of a name that nStack took over");
}
END_TEST

int main(int argc, char **argv)
{
	SRunner *runner;
	TCase *tc;
	Suite *s;
	int failed;

	if (argc == 2 && !strcmp(argv[1], "without-librsk"))
		return open_sockets(ENOSYS);
	if (argc == 2 && !strcmp(argv[1], "without-device"))
		return open_sockets(ENODEV);

	s = suite_create("module");
	tc = group(s, "range", 20);
	tcase_add_loop_test(tc, range_is_what_nstacks_configuration_says, 0, COUNT(configurations));

	tc = group(s, "loading", 20);
	tcase_add_test(tc, loads_and_registers);
	tcase_add_test(tc, loading_does_not_load_librsk);
	tcase_add_test(tc, librsk_stays_when_it_is_closed);
	tcase_add_test(tc, exports_the_registration_function_alone);
	tcase_add_test(tc, registering_with_nothing_fails);

	tc = group(s, "calls", 20);
	tcase_add_test(tc, datagram_sockets_are_not_ours);
	tcase_add_loop_test(tc, unknown_descriptor_fails_in_every_call, 0, COUNT(strangers));
	tcase_add_test(tc, select_finds_unknown_descriptors_not_ready);

	tc = group(s, "log", 20);
	tcase_add_test(tc, missing_librsk_is_named_once);
	tcase_add_test(tc, missing_device_is_named_once);
	tcase_add_test(tc, log_can_be_switched_off);
	tcase_add_test(tc, stdout_is_the_programs);

	tc = group(s, "isolation", 20);
#ifndef RSK_SANITIZED
	tcase_add_test(tc, nothing_below_the_module_reaches_nstack);
#endif
	tcase_add_test(tc, librsk_opened_carelessly_does_reach_nstack);

	runner = srunner_create(s);
	srunner_set_fork_status(runner, CK_FORK);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
