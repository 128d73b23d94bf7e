/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Calls that cannot work fail with the errno that rsk.h names, touch nothing, and leave sockets as
 * they were.
 */
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "process.h"
#include "stream.h"

/* -- descriptors ------------------------------------------------------------------------------- */

static char byte[1];
static struct iovec one_byte = { .iov_base = byte, .iov_len = 1 };
static struct msghdr one_byte_msg = { .msg_iov = &one_byte, .msg_iovlen = 1 };
static struct address some_address;
static int some_value;

static long use_bind(int fd)
{
	return rsk_bind(fd, &some_address.any, some_address.len);
}

static long use_listen(int fd)
{
	return rsk_listen(fd, 1);
}

static long use_accept(int fd)
{
	return rsk_accept(fd, NULL, NULL);
}

static long use_accept4(int fd)
{
	return rsk_accept4(fd, NULL, NULL, 0);
}

static long use_connect(int fd)
{
	return rsk_connect(fd, &some_address.any, some_address.len);
}

static long use_shutdown(int fd)
{
	return rsk_shutdown(fd, SHUT_RDWR);
}

static long use_close(int fd)
{
	return rsk_close(fd);
}

static long use_send(int fd)
{
	return rsk_send(fd, byte, 1, MSG_NOSIGNAL);
}

static long use_sendto(int fd)
{
	return rsk_sendto(fd, byte, 1, MSG_NOSIGNAL, NULL, 0);
}

static long use_sendmsg(int fd)
{
	return rsk_sendmsg(fd, &one_byte_msg, MSG_NOSIGNAL);
}

static long use_write(int fd)
{
	return rsk_write(fd, byte, 1);
}

static long use_writev(int fd)
{
	return rsk_writev(fd, &one_byte, 1);
}

static long use_recv(int fd)
{
	return rsk_recv(fd, byte, 1, 0);
}

static long use_recvfrom(int fd)
{
	return rsk_recvfrom(fd, byte, 1, 0, NULL, NULL);
}

static long use_recvmsg(int fd)
{
	return rsk_recvmsg(fd, &one_byte_msg, 0);
}

static long use_read(int fd)
{
	return rsk_read(fd, byte, 1);
}

static long use_readv(int fd)
{
	return rsk_readv(fd, &one_byte, 1);
}

static long use_getsockname(int fd)
{
	struct address a = { .len = sizeof(a.room) };

	return rsk_getsockname(fd, &a.any, &a.len);
}

static long use_getpeername(int fd)
{
	struct address a = { .len = sizeof(a.room) };

	return rsk_getpeername(fd, &a.any, &a.len);
}

static long use_setsockopt(int fd)
{
	return rsk_setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &some_value, sizeof(some_value));
}

static long use_getsockopt(int fd)
{
	socklen_t len = sizeof(some_value);

	return rsk_getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &some_value, &len);
}

static long use_fcntl(int fd)
{
	return rsk_fcntl(fd, F_GETFL);
}

static long use_error(int fd)
{
	return rsk_error(fd, byte, 1);
}

struct use {
	const char *name;
	long (*make)(int fd);
};

static const struct use uses[] = {
	{ "bind", use_bind }, { "listen", use_listen }, { "accept", use_accept },
	{ "accept4", use_accept4 }, { "connect", use_connect }, { "shutdown", use_shutdown },
	{ "close", use_close }, { "send", use_send }, { "sendto", use_sendto },
	{ "sendmsg", use_sendmsg }, { "write", use_write }, { "writev", use_writev },
	{ "recv", use_recv }, { "recvfrom", use_recvfrom }, { "recvmsg", use_recvmsg },
	{ "read", use_read }, { "readv", use_readv }, { "getsockname", use_getsockname },
	{ "getpeername", use_getpeername }, { "setsockopt", use_setsockopt },
	{ "getsockopt", use_getsockopt }, { "fcntl", use_fcntl }, { "error", use_error },
};

static void check_use_fails(const struct use *u, int fd, int expected)
{
	long ret;

	errno = 0;
	ret = u->make(fd);
	ck_assert_msg(ret == -1 && errno == expected, "rsk_%s(%d) returned %ld (%s), should fail: %s",
		      u->name, fd, ret, strerror(errno), strerror(expected));
}

static void check_bad_descriptor(int fd)
{
	some_address = address_of_device(AF_INET, 0);
	for (size_t i = 0; i < COUNT(uses); i++)
		check_use_fails(&uses[i], fd, EBADF);
}

static const int never_open[] = { -1, INT_MIN, INT_MAX, 65536, 1023 };

START_TEST(descriptor_that_was_never_open_is_bad)
{
	check_bad_descriptor(never_open[_i]);
}
END_TEST

START_TEST(descriptor_that_was_never_open_is_bad_while_sockets_are_open)
{
	struct pair p = pair_connected();

	check_bad_descriptor(never_open[_i]);
	check_connected(p.a, p.b);
}
END_TEST

START_TEST(kernel_descriptor_is_bad_and_untouched)
{
	int pipes[2];

	ck_assert_int_eq(pipe(pipes), 0);
	check_bad_descriptor(pipes[1]);
	ck_assert_int_eq(write(pipes[1], "x", 1), 1);
	check_bad_descriptor(pipes[0]);
	ck_assert_int_eq(read(pipes[0], byte, 1), 1);
}
END_TEST

START_TEST(closed_descriptor_is_bad)
{
	struct pair p = pair_connected();
	int listening = listener(), fresh = socket_with(AF_INET, NO_OPTIONS);

	pair_close(p);
	OK(rsk_close(listening));
	OK(rsk_close(fresh));
	check_bad_descriptor(p.a);
	check_bad_descriptor(p.b);
	check_bad_descriptor(listening);
	check_bad_descriptor(fresh);
}
END_TEST

START_TEST(closed_descriptor_is_bad_when_the_kernel_gives_it_to_a_file)
{
	int fd = socket_with(AF_INET, NO_OPTIONS), file;

	OK(rsk_close(fd));
	do {
		file = open("/dev/null", O_RDWR | O_CLOEXEC);
		ck_assert_int_ge(file, 0);
	} while (file < fd);
	check_bad_descriptor(fd);
	ck_assert_int_ge(fcntl(fd, F_GETFD), file == fd ? 0 : -1);
}
END_TEST

START_TEST(descriptor_inherited_over_fork_is_bad_and_the_parent_keeps_it)
{
	struct pair p = pair_connected();
	int status = -1;
	pid_t child;

	ck_assert_int_eq(rsk_send(p.a, "x", 1, 0), 1);
	wait_for(p.b, POLLIN);
	child = fork();
	ck_assert_int_ge(child, 0);
	if (child == 0) {
		check_bad_descriptor(p.a);
		check_bad_descriptor(p.b);
		exit(0);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(status, 0);
	ck_assert_int_eq(rsk_recv(p.b, byte, 1, 0), 1);
	check_connected(p.a, p.b);
	pair_close(p);
}
END_TEST

/* -- states ------------------------------------------------------------------------------------ */

static const struct use transfers[] = {
	{ "send", use_send }, { "sendto", use_sendto }, { "sendmsg", use_sendmsg },
	{ "write", use_write }, { "writev", use_writev }, { "recv", use_recv },
	{ "recvfrom", use_recvfrom }, { "recvmsg", use_recvmsg }, { "read", use_read },
	{ "readv", use_readv }, { "getpeername", use_getpeername },
};

static void check_transfers_fail(int fd)
{
	for (size_t i = 0; i < COUNT(transfers); i++)
		check_use_fails(&transfers[i], fd, ENOTCONN);
}

START_TEST(fresh_socket_is_not_connected)
{
	int fd = socket_with(AF_INET, NO_OPTIONS);

	check_transfers_fail(fd);
	FAILS(use_shutdown(fd), ENOTCONN);
}
END_TEST

START_TEST(bound_socket_is_not_connected)
{
	int fd = socket_with(AF_INET, NO_OPTIONS);

	some_address = address_of_device(AF_INET, 0);
	OK(use_bind(fd));
	check_transfers_fail(fd);
}
END_TEST

START_TEST(listener_is_not_connected)
{
	int listening = listener();

	check_transfers_fail(listening);
	pair_close(pair_on(listening));
}
END_TEST

START_TEST(only_listeners_accept)
{
	int fd = socket_with(AF_INET, NO_OPTIONS);
	struct pair p = pair_connected();

	FAILS(use_accept(fd), EINVAL);
	FAILS(use_accept4(fd), EINVAL);
	FAILS(use_accept(p.a), EINVAL);
	FAILS(use_accept(p.b), EINVAL);
	some_address = address_of_device(AF_INET, 0);
	OK(use_bind(fd));
	FAILS(use_accept(fd), EINVAL);
}
END_TEST

START_TEST(listener_does_not_connect)
{
	int listening = listener();

	some_address = address_deserted();
	FAILS(use_connect(listening), EISCONN);
	pair_close(pair_on(listening));
}
END_TEST

START_TEST(connected_socket_does_not_listen)
{
	struct pair p = pair_connected();

	FAILS(use_listen(p.a), EINVAL);
	FAILS(use_listen(p.b), EINVAL);
	check_connected(p.a, p.b);
}
END_TEST

START_TEST(socket_is_bound_once)
{
	int fd = socket_with(AF_INET, NO_OPTIONS);
	struct pair p = pair_connected();

	some_address = address_of_device(AF_INET, 0);
	OK(use_bind(fd));
	FAILS(use_bind(fd), EINVAL);
	FAILS(use_bind(listener()), EINVAL);
	FAILS(use_bind(p.a), EINVAL);
	FAILS(use_bind(p.b), EINVAL);
}
END_TEST

/* -- addresses --------------------------------------------------------------------------------- */

START_TEST(address_of_another_host_is_not_available)
{
	some_address = address_of_text("192.0.2.1", 0);
	FAILS(use_bind(socket_with(AF_INET, NO_OPTIONS)), EADDRNOTAVAIL);
}
END_TEST

START_TEST(no_device_serves_the_loopback_address)
{
	some_address = address_of_text("127.0.0.1", 0);
	FAILS(use_bind(socket_with(AF_INET, NO_OPTIONS)), ENODEV);
}
END_TEST

START_TEST(failed_bind_may_be_followed_by_a_good_one)
{
	int fd = socket_with(AF_INET, NO_OPTIONS);

	some_address = address_of_text("192.0.2.1", 0);
	FAILS(use_bind(fd), EADDRNOTAVAIL);
	some_address = address_of_device(AF_INET, 0);
	OK(use_bind(fd));
	OK(use_listen(fd));
	pair_close(pair_on(fd));
}
END_TEST

START_TEST(taken_port_is_in_use)
{
	int listening = listener();

	some_address = local_address(listening);
	FAILS(use_bind(socket_with(AF_INET, NO_OPTIONS)), EADDRINUSE);
	pair_close(pair_on(listening));
}
END_TEST

START_TEST(privileged_port_is_denied)
{
	FILE *f = fopen("/proc/sys/net/ipv4/ip_unprivileged_port_start", "r");
	int first = 0;

	ck_assert_ptr_nonnull(f);
	ck_assert_int_eq(fscanf(f, "%d", &first), 1);
	fclose(f);
	drop_capability(CAP_NET_BIND_SERVICE);
	some_address = address_of_device(AF_INET, 1);
	if (first > 1)
		FAILS(use_bind(socket_with(AF_INET, NO_OPTIONS)), EACCES);
}
END_TEST

static const socklen_t short_lengths[] = { 0, 1, sizeof(sa_family_t),
					   sizeof(struct sockaddr_in) - 1 };

START_TEST(short_address_is_invalid)
{
	int fd = socket_with(AF_INET, NO_OPTIONS);

	some_address = address_of_device(AF_INET, 0);
	some_address.len = short_lengths[_i];
	FAILS(use_bind(fd), EINVAL);
	FAILS(use_connect(fd), EINVAL);
}
END_TEST

START_TEST(short_ipv6_address_is_invalid)
{
	int fd = socket_with(AF_INET6, NO_OPTIONS);

	some_address = address_of_text("fd00::1", 7471);
	some_address.len = sizeof(struct sockaddr_in);
	FAILS(use_bind(fd), EINVAL);
	FAILS(use_connect(fd), EINVAL);
}
END_TEST

START_TEST(address_of_another_family_is_not_supported)
{
	int v4 = socket_with(AF_INET, NO_OPTIONS), v6 = socket_with(AF_INET6, NO_OPTIONS);

	some_address = address_of_text("fd00::1", 7471);
	FAILS(use_bind(v4), EAFNOSUPPORT);
	FAILS(use_connect(v4), EAFNOSUPPORT);
	some_address = address_of_device(AF_INET, 7471);
	some_address.len = sizeof(some_address.v6);
	FAILS(use_bind(v6), EAFNOSUPPORT);
	FAILS(use_connect(v6), EAFNOSUPPORT);
}
END_TEST

/* -- creating ---------------------------------------------------------------------------------- */

static const struct {
	int domain;
	int type;
	int protocol;
	int error;
} impossible[] = {
	{ AF_UNIX, SOCK_STREAM, 0, EAFNOSUPPORT },
	{ AF_UNSPEC, SOCK_STREAM, 0, EAFNOSUPPORT },
	{ AF_NETLINK, SOCK_STREAM, 0, EAFNOSUPPORT },
	{ -1, SOCK_STREAM, 0, EAFNOSUPPORT },
	{ 12345, SOCK_STREAM, 0, EAFNOSUPPORT },
	{ AF_INET, SOCK_DGRAM, 0, EPROTONOSUPPORT },
	{ AF_INET6, SOCK_DGRAM, IPPROTO_UDP, EPROTONOSUPPORT },
	{ AF_INET, SOCK_STREAM, IPPROTO_UDP, EPROTONOSUPPORT },
	{ AF_INET, SOCK_STREAM, IPPROTO_SCTP, EPROTONOSUPPORT },
	{ AF_INET, SOCK_STREAM, 250, EPROTONOSUPPORT },
	{ AF_INET, SOCK_STREAM, -1, EPROTONOSUPPORT },
	{ AF_INET, 0, 0, EINVAL },
	{ AF_INET, 9, 0, EINVAL },
	{ AF_INET, SOCK_STREAM | 0x100, 0, EINVAL },
	{ AF_INET, SOCK_STREAM | 0x40000000, 0, EINVAL },
	{ AF_INET, -1, 0, EINVAL },
};

START_TEST(impossible_socket_is_not_made)
{
	FAILS(rsk_socket(impossible[_i].domain, impossible[_i].type, impossible[_i].protocol),
	      impossible[_i].error);
}
END_TEST

START_TEST(protocol_tcp_may_be_named)
{
	ck_assert_int_ge(rsk_socket(AF_INET, SOCK_STREAM, IPPROTO_TCP), 0);
	ck_assert_int_ge(rsk_socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP), 0);
}
END_TEST

/* -- pointers ---------------------------------------------------------------------------------- */

START_TEST(null_addresses_are_faults)
{
	int fd = socket_with(AF_INET, NO_OPTIONS), listening = listener();
	struct pair p = pair_connected();
	struct address a = { .len = sizeof(a.room) };

	FAILS(rsk_bind(fd, NULL, sizeof(struct sockaddr_in)), EFAULT);
	FAILS(rsk_connect(fd, NULL, sizeof(struct sockaddr_in)), EFAULT);
	FAILS(rsk_getsockname(p.a, NULL, &a.len), EFAULT);
	FAILS(rsk_getsockname(p.a, &a.any, NULL), EFAULT);
	FAILS(rsk_getpeername(p.a, NULL, &a.len), EFAULT);
	FAILS(rsk_getpeername(p.a, &a.any, NULL), EFAULT);

	set_nonblocking(listening, true);
	FAILS(rsk_accept(listening, &a.any, NULL), EFAULT);
}
END_TEST

START_TEST(null_buffers_are_faults)
{
	struct pair p = pair_connected();
	struct iovec nowhere = { .iov_base = NULL, .iov_len = 1 };
	struct msghdr to_nowhere = { .msg_iov = &nowhere, .msg_iovlen = 1 };
	struct msghdr no_vector = { .msg_iov = NULL, .msg_iovlen = 1 };

	ck_assert_int_eq(rsk_send(p.b, "x", 1, 0), 1);
	wait_for(p.a, POLLIN);
	FAILS(rsk_send(p.a, NULL, 1, 0), EFAULT);
	FAILS(rsk_sendto(p.a, NULL, 1, 0, NULL, 0), EFAULT);
	FAILS(rsk_write(p.a, NULL, 1), EFAULT);
	FAILS(rsk_writev(p.a, NULL, 1), EFAULT);
	FAILS(rsk_writev(p.a, &nowhere, 1), EFAULT);
	FAILS(rsk_sendmsg(p.a, NULL, 0), EFAULT);
	FAILS(rsk_sendmsg(p.a, &no_vector, 0), EFAULT);
	FAILS(rsk_sendmsg(p.a, &to_nowhere, 0), EFAULT);
	FAILS(rsk_recv(p.a, NULL, 1, 0), EFAULT);
	FAILS(rsk_recvfrom(p.a, NULL, 1, 0, NULL, NULL), EFAULT);
	FAILS(rsk_read(p.a, NULL, 1), EFAULT);
	FAILS(rsk_readv(p.a, NULL, 1), EFAULT);
	FAILS(rsk_readv(p.a, &nowhere, 1), EFAULT);
	FAILS(rsk_recvmsg(p.a, NULL, 0), EFAULT);
	FAILS(rsk_recvmsg(p.a, &no_vector, 0), EFAULT);
	FAILS(rsk_recvmsg(p.a, &to_nowhere, 0), EFAULT);
	ck_assert_int_eq(rsk_recv(p.a, byte, 1, 0), 1);
	check_connected(p.a, p.b);
}
END_TEST

START_TEST(other_null_pointers_are_faults)
{
	int fd = socket_with(AF_INET, NO_OPTIONS);
	socklen_t len = sizeof(some_value);

	FAILS(rsk_setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, NULL, sizeof(int)), EFAULT);
	FAILS(rsk_getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, NULL, &len), EFAULT);
	FAILS(rsk_getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &some_value, NULL), EFAULT);
	FAILS(rsk_error(fd, NULL, 1), EFAULT);
	FAILS(rsk_poll(NULL, 1, 0), EFAULT);
}
END_TEST

START_TEST(empty_vectors_may_point_nowhere)
{
	struct pair p = pair_connected();
	struct iovec iov[] = { { NULL, 0 }, { "x", 1 }, { NULL, 0 } };

	ck_assert_int_eq(rsk_writev(p.a, iov, 3), 1);
	iov[1].iov_base = byte;
	ck_assert_int_eq(rsk_readv(p.b, iov, 3), 1);
	ck_assert_int_eq(rsk_writev(p.a, iov, 1), 0);
	ck_assert_int_eq(rsk_writev(p.a, NULL, 0), 0);
	ck_assert_int_eq(rsk_readv(p.b, NULL, 0), 0);
}
END_TEST

/* -- lengths, counts, flags -------------------------------------------------------------------- */

START_TEST(zero_bytes_are_nothing)
{
	struct pair p = pair_connected();

	ck_assert_int_eq(rsk_send(p.a, "", 0, 0), 0);
	ck_assert_int_eq(rsk_send(p.a, NULL, 0, 0), 0);
	ck_assert_int_eq(rsk_write(p.a, "", 0), 0);
	ck_assert_int_eq(rsk_recv(p.b, byte, 0, 0), 0);
	ck_assert_int_eq(rsk_recv(p.b, NULL, 0, 0), 0);
	ck_assert_int_eq(rsk_recv(p.b, byte, 0, MSG_WAITALL), 0);
	ck_assert_int_eq(rsk_recv(p.b, byte, 0, MSG_PEEK), 0);
	ck_assert_int_eq(rsk_read(p.b, byte, 0), 0);
	FAILS(rsk_recv(p.b, byte, 1, MSG_DONTWAIT), EAGAIN);
	ck_assert_int_eq(ready_now(p.b, POLLIN), 0);
	check_connected(p.a, p.b);
}
END_TEST

START_TEST(vector_counts_are_checked)
{
	static struct iovec iov[IOV_MAX + 1];
	struct msghdr too_many = { .msg_iov = iov, .msg_iovlen = IOV_MAX + 1 };
	struct pair p = pair_connected();

	FAILS(rsk_writev(p.a, iov, -1), EINVAL);
	FAILS(rsk_writev(p.a, iov, IOV_MAX + 1), EINVAL);
	FAILS(rsk_readv(p.a, iov, -1), EINVAL);
	FAILS(rsk_readv(p.a, iov, IOV_MAX + 1), EINVAL);
	FAILS(rsk_sendmsg(p.a, &too_many, 0), EMSGSIZE);
	FAILS(rsk_recvmsg(p.a, &too_many, 0), EMSGSIZE);
}
END_TEST

START_TEST(vectors_longer_than_a_result_can_tell_are_invalid)
{
	struct iovec iov[] = { { byte, SSIZE_MAX }, { byte, 1 } };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };
	struct pair p = pair_connected();

	FAILS(rsk_writev(p.a, iov, 2), EINVAL);
	FAILS(rsk_readv(p.a, iov, 2), EINVAL);
	FAILS(rsk_sendmsg(p.a, &msg, 0), EINVAL);
	FAILS(rsk_recvmsg(p.a, &msg, 0), EINVAL);
	iov[1].iov_len = SIZE_MAX;
	FAILS(rsk_writev(p.a, iov, 2), EINVAL);
	check_connected(p.a, p.b);
}
END_TEST

static const int send_flags[] = { MSG_OOB, MSG_PEEK, MSG_WAITALL, MSG_TRUNC, MSG_ERRQUEUE, MSG_FASTOPEN,
				  1 << 28 };
static const int recv_flags[] = { MSG_ERRQUEUE, MSG_MORE, MSG_DONTROUTE, 1 << 28 };

START_TEST(unknown_flags_are_not_supported)
{
	struct pair p = pair_connected();

	for (size_t i = 0; i < COUNT(send_flags); i++) {
		int flags = send_flags[i] | MSG_NOSIGNAL;

		FAILS(rsk_send(p.a, "x", 1, flags), EOPNOTSUPP);
		FAILS(rsk_sendto(p.a, "x", 1, flags, NULL, 0), EOPNOTSUPP);
		FAILS(rsk_sendmsg(p.a, &one_byte_msg, flags), EOPNOTSUPP);
	}
	for (size_t i = 0; i < COUNT(recv_flags); i++) {
		int flags = recv_flags[i] | MSG_DONTWAIT;

		FAILS(rsk_recv(p.a, byte, 1, flags), EOPNOTSUPP);
		FAILS(rsk_recvfrom(p.a, byte, 1, flags, NULL, NULL), EOPNOTSUPP);
		FAILS(rsk_recvmsg(p.a, &one_byte_msg, flags), EOPNOTSUPP);
	}
	ck_assert_int_eq(ready_now(p.b, POLLIN), 0);
}
END_TEST

START_TEST(there_is_no_urgent_data_to_receive)
{
	struct pair p = pair_connected();

	FAILS(rsk_recv(p.a, byte, 1, MSG_OOB), EINVAL);
	FAILS(rsk_recv(p.a, byte, 1, MSG_OOB | MSG_DONTWAIT), EINVAL);
}
END_TEST

START_TEST(flags_without_a_meaning_are_taken)
{
	struct pair p = pair_connected();

	ck_assert_int_eq(rsk_send(p.a, "x", 1, MSG_EOR | MSG_CONFIRM | MSG_DONTROUTE | MSG_MORE), 1);
	ck_assert_int_eq(rsk_recv(p.b, byte, 1, MSG_CMSG_CLOEXEC | MSG_NOSIGNAL), 1);
}
END_TEST

START_TEST(destination_is_refused_on_a_connected_socket)
{
	struct pair p = pair_connected();
	struct address there = peer_address(p.a);
	struct msghdr msg = { .msg_name = &there, .msg_namelen = there.len, .msg_iov = &one_byte,
			      .msg_iovlen = 1 };

	FAILS(rsk_sendto(p.a, "x", 1, 0, &there.any, there.len), EISCONN);
	FAILS(rsk_sendmsg(p.a, &msg, 0), EISCONN);
}
END_TEST

START_TEST(control_data_is_not_supported)
{
	char control[CMSG_SPACE(sizeof(int))] = "";
	struct msghdr msg = { .msg_iov = &one_byte, .msg_iovlen = 1, .msg_control = control,
			      .msg_controllen = sizeof(control) };
	struct pair p = pair_connected();

	FAILS(rsk_sendmsg(p.a, &msg, 0), EOPNOTSUPP);
}
END_TEST

START_TEST(shutdown_knows_three_ways)
{
	struct pair p = pair_connected();

	FAILS(rsk_shutdown(p.a, 7), EINVAL);
	FAILS(rsk_shutdown(p.a, -1), EINVAL);
	check_connected(p.a, p.b);
}
END_TEST

START_TEST(accept4_knows_two_flags)
{
	int listening = listener();

	set_nonblocking(listening, true);
	FAILS(rsk_accept4(listening, NULL, NULL, 1), EINVAL);
	FAILS(rsk_accept4(listening, NULL, NULL, SOCK_NONBLOCK | 0x100), EINVAL);
	FAILS(rsk_accept4(listening, NULL, NULL, -1), EINVAL);
}
END_TEST

START_TEST(negative_room_for_an_address_is_invalid)
{
	struct pair p = pair_connected();
	int listening = listener();
	struct address a = { .len = -1 };

	set_nonblocking(listening, true);
	FAILS(rsk_accept(listening, &a.any, &a.len), EINVAL);
	FAILS(rsk_getsockname(p.a, &a.any, &a.len), EINVAL);
	FAILS(rsk_getpeername(p.a, &a.any, &a.len), EINVAL);
}
END_TEST

START_TEST(error_text_needs_room)
{
	int fd = socket_with(AF_INET, NO_OPTIONS);
	char text[4] = "xyz";

	FAILS(rsk_error(fd, text, 0), EINVAL);
	ck_assert_str_eq(text, "xyz");
	OK(rsk_error(fd, text, sizeof(text)));
	ck_assert_str_eq(text, "");
}
END_TEST

START_TEST(error_text_is_cut_to_its_room)
{
	int fd = socket_with(AF_INET, NO_OPTIONS);
	char whole[512], text[9] = "********";

	some_address = address_deserted();
	FAILS(use_connect(fd), ECONNREFUSED);
	OK(rsk_error(fd, whole, sizeof(whole)));
	ck_assert_uint_gt(strlen(whole), 8);
	OK(rsk_error(fd, text, 8));
	ck_assert_int_eq(text[7], '\0');
	ck_assert_int_eq(strncmp(text, whole, 7), 0);
}
END_TEST

static const int fcntl_commands[] = { F_DUPFD, F_DUPFD_CLOEXEC, F_SETOWN, F_GETLK, -1, 12345 };

START_TEST(fcntl_knows_four_commands)
{
	int fd = socket_with(AF_INET, NO_OPTIONS);

	for (size_t i = 0; i < COUNT(fcntl_commands); i++)
		FAILS(rsk_fcntl(fd, fcntl_commands[i], 0), EINVAL);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("misuse");
	TCase *tc;

	tc = group(s, "descriptors", 150);
	tcase_add_loop_test(tc, descriptor_that_was_never_open_is_bad, 0, COUNT(never_open));
	tcase_add_loop_test(tc, descriptor_that_was_never_open_is_bad_while_sockets_are_open, 0,
			    COUNT(never_open));
	tcase_add_test(tc, kernel_descriptor_is_bad_and_untouched);
	tcase_add_test(tc, closed_descriptor_is_bad);
	tcase_add_test(tc, closed_descriptor_is_bad_when_the_kernel_gives_it_to_a_file);
	tcase_add_test(tc, descriptor_inherited_over_fork_is_bad_and_the_parent_keeps_it);

	tc = group(s, "states", 150);
	tcase_add_test(tc, fresh_socket_is_not_connected);
	tcase_add_test(tc, bound_socket_is_not_connected);
	tcase_add_test(tc, listener_is_not_connected);
	tcase_add_test(tc, only_listeners_accept);
	tcase_add_test(tc, listener_does_not_connect);
	tcase_add_test(tc, connected_socket_does_not_listen);
	tcase_add_test(tc, socket_is_bound_once);

	tc = group(s, "addresses", 150);
	tcase_add_test(tc, address_of_another_host_is_not_available);
	tcase_add_test(tc, no_device_serves_the_loopback_address);
	tcase_add_test(tc, failed_bind_may_be_followed_by_a_good_one);
	tcase_add_test(tc, taken_port_is_in_use);
	tcase_add_test(tc, privileged_port_is_denied);
	tcase_add_loop_test(tc, short_address_is_invalid, 0, COUNT(short_lengths));
	tcase_add_test(tc, short_ipv6_address_is_invalid);
	tcase_add_test(tc, address_of_another_family_is_not_supported);

	tc = group(s, "creating", 150);
	tcase_add_loop_test(tc, impossible_socket_is_not_made, 0, COUNT(impossible));
	tcase_add_test(tc, protocol_tcp_may_be_named);

	tc = group(s, "pointers", 150);
	tcase_add_test(tc, null_addresses_are_faults);
	tcase_add_test(tc, null_buffers_are_faults);
	tcase_add_test(tc, other_null_pointers_are_faults);
	tcase_add_test(tc, empty_vectors_may_point_nowhere);

	tc = group(s, "lengths, counts, flags", 150);
	tcase_add_test(tc, zero_bytes_are_nothing);
	tcase_add_test(tc, vector_counts_are_checked);
	tcase_add_test(tc, vectors_longer_than_a_result_can_tell_are_invalid);
	tcase_add_test(tc, unknown_flags_are_not_supported);
	tcase_add_test(tc, there_is_no_urgent_data_to_receive);
	tcase_add_test(tc, flags_without_a_meaning_are_taken);
	tcase_add_test(tc, destination_is_refused_on_a_connected_socket);
	tcase_add_test(tc, control_data_is_not_supported);
	tcase_add_test(tc, shutdown_knows_three_ways);
	tcase_add_test(tc, accept4_knows_two_flags);
	tcase_add_test(tc, negative_room_for_an_address_is_invalid);
	tcase_add_test(tc, error_text_needs_room);
	tcase_add_test(tc, error_text_is_cut_to_its_room);
	tcase_add_test(tc, fcntl_knows_four_commands);
	return run_suite(s);
}
