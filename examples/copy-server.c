/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * rsk-copy's server: receives files, one client at a time.
 *
 * A file is written as NAME.part and renamed when all of it is there, so NAME is never half a
 * file. What a client did not finish is removed: no transfer can be resumed, and a full disk gets
 * its room back.
 */
#include "rsk-copy.h"

#include <endian.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <rsk/rsk.h>

#define PART_SUFFIX ".part"

struct file {
	int fd; /* -1: none is open */
	char name[PATH_MAX];
	char part[PATH_MAX + sizeof(PART_SUFFIX)];
};

struct session {
	struct peer peer;
	struct file file;
	unsigned int received, failed; /* files; one whose result could not be printed is both */
};

/* Files -------------------------------------------------------------------------------------- */

/* Names are shown on terminals; ones that would command them are refused. */
static bool is_printable(const char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			return false;
	return true;
}

/* What the client's @path is called here: its last component only, unless --any-path. */
static const char *local_name(const char *path)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash && !opt.any_path ? slash + 1 : path;

	if (!*name || !strcmp(name, ".") || !strcmp(name, "..") || !is_printable(name))
		return NULL;
	return name;
}

/* The functions of a file return 0 or an errno value, which goes to the client. */
static int file_open(struct file *file, const char *path, mode_t mode)
{
	const char *name = local_name(path);
	struct stat st;

	if (!name)
		return EINVAL;
	if (stat(name, &st) == 0 && !S_ISREG(st.st_mode)) /* not to rename over a device */
		return S_ISDIR(st.st_mode) ? EISDIR : EINVAL;
	snprintf(file->name, sizeof(file->name), "%s", name);
	snprintf(file->part, sizeof(file->part), "%s" PART_SUFFIX, name);
	if (unlink(file->part) && errno != ENOENT)
		return errno;
	file->fd = open(file->part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode & 0777);
	return file->fd < 0 ? errno : 0;
}

static int file_write(const struct file *file, const uint8_t *data, size_t len)
{
	while (len) {
		ssize_t n = write(file->fd, data, len);

		if (n < 0 && errno != EINTR)
			return errno;
		if (n > 0) {
			data += n;
			len -= (size_t)n;
		}
	}
	return 0;
}

static void file_discard(struct file *file)
{
	if (file->fd < 0)
		return;
	close(file->fd);
	file->fd = -1;
	if (unlink(file->part))
		warn("remove %s", file->part);
}

static int file_keep(struct file *file)
{
	int ret = close(file->fd); /* a full disk may show only now */

	file->fd = -1;
	if (ret || rename(file->part, file->name)) {
		ret = errno;
		(void)unlink(file->part); /* what matters is the error before */
	}
	return ret;
}

/* Requests. All return 0, or -1 when the connection cannot go on. ----------------------------- */

static int answer(struct session *s, const struct copy_header *request, int status)
{
	struct copy_header answer = {
		.command = request->command | COPY_ANSWER,
		.length = sizeof(answer),
		.value = (uint32_t)status,
		.id = request->id,
	};

	if (peer_send_header(&s->peer, answer) == 0)
		return 0;
	peer_complain(&s->peer, "answer");
	return -1;
}

/* Receive @len bytes that belong to a request, or explain why not. */
static int receive(struct session *s, void *data, size_t len)
{
	ssize_t n = peer_receive(&s->peer, data, len);

	if (n == (ssize_t)len)
		return 0;
	if (n < 0)
		peer_complain(&s->peer, "receive from");
	else
		warnx("%s closed the connection in the middle of a file", s->peer.name);
	return -1;
}

static void file_failed(struct session *s, const char *name, int status)
{
	warnx("%s from %s: %s", name, s->peer.name, strerror(status));
	s->failed++;
}

static void file_arrived(struct session *s, struct transfer *t)
{
	s->received++;
	if (transfer_finish(t)) /* the client need not care, this program's user does */
		s->failed++;
}

static int refuse(struct session *s, const struct copy_header *request, int status)
{
	file_failed(s, "request", status);
	(void)answer(s, request, status); /* the connection ends in any case */
	return -1;
}

static int serve_open(struct session *s, const struct copy_header *request)
{
	char path[PATH_MAX] = "";
	size_t len = request->length - sizeof(*request);
	int status;

	if (len == 0 || len > sizeof(path))
		return refuse(s, request, len ? ENAMETOOLONG : EINVAL);
	if (receive(s, path, len))
		return -1;
	path[sizeof(path) - 1] = '\0';

	status = s->file.fd >= 0 ? EBUSY : file_open(&s->file, path, request->value);
	if (status)
		file_failed(s, is_printable(path) ? path : "file", status);
	return answer(s, request, status);
}

/* Receive the contents into the file, until @status is not 0; returns -1 or the status. */
static int receive_contents(struct session *s, struct transfer *t)
{
	static uint8_t piece[PIECE_BYTES];
	int status = 0;

	while (t->done < t->size && !status) {
		uint64_t left = t->size - t->done;
		size_t len = left < sizeof(piece) ? left : sizeof(piece);

		if (receive(s, piece, len))
			return -1;
		transfer_add(t, piece, len);
		status = file_write(&s->file, piece, len);
	}
	return status;
}

/* A client that does not look for an early answer sends everything first. */
static int drop_contents(struct session *s, uint64_t left)
{
	static uint8_t piece[PIECE_BYTES];

	while (left) {
		size_t len = left < sizeof(piece) ? left : sizeof(piece);
		ssize_t n = peer_receive(&s->peer, piece, len);

		if (n < (ssize_t)len)
			return -1; /* it did look, and left */
		left -= len;
	}
	return 0;
}

static int serve_write(struct session *s, const struct copy_header *request)
{
	struct transfer t;
	uint64_t size;
	int status;

	if (request->length != sizeof(*request) + sizeof(size) || s->file.fd < 0)
		return refuse(s, request, EINVAL);
	if (receive(s, &size, sizeof(size)))
		return -1;

	transfer_begin(&t, s->file.name, le64toh(size));
	status = receive_contents(s, &t);
	if (status == 0)
		status = file_keep(&s->file);
	if (status == 0) {
		file_arrived(s, &t);
		return answer(s, request, 0);
	}

	transfer_abandon();
	if (status < 0)
		return -1;
	file_discard(&s->file);
	file_failed(s, s->file.name, status);
	if (answer(s, request, status))
		return -1;
	return drop_contents(s, t.size - t.done);
}

/* A file that is still open had no contents to write. */
static int serve_close(struct session *s, const struct copy_header *request)
{
	struct transfer t;
	int status;

	if (s->file.fd < 0)
		return answer(s, request, 0);
	transfer_begin(&t, s->file.name, 0);
	status = file_keep(&s->file);
	if (status)
		file_failed(s, s->file.name, status);
	else
		file_arrived(s, &t);
	return answer(s, request, status);
}

static int serve_request(struct session *s, const struct copy_header *request)
{
	switch (request->command) {
	case COPY_OPEN:
		return serve_open(s, request);
	case COPY_WRITE:
		return serve_write(s, request);
	case COPY_CLOSE:
		return serve_close(s, request);
	default:
		return refuse(s, request, EINVAL);
	}
}

/* Clients ------------------------------------------------------------------------------------ */

/* Returns whether the client sent at least one file, and all that it sent arrived. */
static bool serve_client(struct session *s)
{
	struct copy_header request;
	int ret;

	do {
		ret = peer_receive_header(&s->peer, &request);
		if (ret < 0)
			peer_complain(&s->peer, "receive from");
		else if (ret > 0 && serve_request(s, &request))
			ret = -1;
	} while (ret > 0 && !interrupted);

	if (s->file.fd >= 0) {
		warnx("%s from %s: not finished, removed", s->file.name, s->peer.name);
		file_discard(&s->file);
		s->failed++;
	}
	return s->received && !s->failed;
}

static int accept_client(int listener, struct peer *peer)
{
	struct sockaddr_storage addr;
	socklen_t len;

	do {
		len = sizeof(addr);
		peer->fd = rsk_accept(listener, (struct sockaddr *)&addr, &len);
	} while (peer->fd < 0 && errno == EINTR && !interrupted);
	if (peer->fd < 0) {
		if (!interrupted)
			complain(listener, NULL, "accept a client on port", opt.port);
		return -1;
	}
	address_text((struct sockaddr *)&addr, len, peer->name);
	if (peer_limit_silence(peer) == 0)
		return 0;
	complain(peer->fd, NULL, "set a time limit for", peer->name);
	rsk_close(peer->fd);
	return -1;
}

static int listen_on(const struct addrinfo *ai)
{
	int fd = rsk_socket(ai->ai_family, SOCK_STREAM, 0);
	char name[ADDRESS_TEXT_MAX];
	int on = 1;

	if (fd < 0) {
		complain(-1, NULL, "open a socket for", "rdma");
		return -1;
	}
	if (rsk_setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
	    rsk_bind(fd, ai->ai_addr, ai->ai_addrlen) == 0 && rsk_listen(fd, 1) == 0) {
		say_where(fd, rsk_getsockname);
		return fd;
	}
	complain(fd, NULL, "listen on", address_text(ai->ai_addr, ai->ai_addrlen, name));
	rsk_close(fd);
	return -1;
}

int run_server(void)
{
	struct addrinfo *ai;
	int listener, status = EXIT_RUN_FAILED;

	if (opt.directory && chdir(opt.directory)) {
		warn("%s", opt.directory);
		return EXIT_RUN_FAILED;
	}
	ai = resolve(opt.local, opt.port, 0, AF_UNSPEC);
	if (!ai)
		return EXIT_RUN_FAILED;
	listener = listen_on(ai);
	freeaddrinfo(ai);
	if (listener < 0)
		return EXIT_RUN_FAILED;

	do {
		struct session s = { .file.fd = -1 };

		if (accept_client(listener, &s.peer))
			break;
		status = serve_client(&s) ? EXIT_GOOD : EXIT_RUN_FAILED;
		rsk_close(s.peer.fd);
	} while (!opt.once && !interrupted);
	rsk_close(listener);
	return status;
}
