/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * rsk-copy's client: sends one file.
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

struct source {
	int fd;
	mode_t mode;
	uint64_t size;
};

static int open_source(struct source *source)
{
	struct stat st;
	char byte;

	/* O_NONBLOCK: not to wait for the writer of a FIFO, only to refuse it below. */
	source->fd = open(opt.source, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (source->fd < 0 || fstat(source->fd, &st)) {
		warn("%s", opt.source);
		return -1;
	}
	/* Files of /proc say that they are empty. */
	if (!S_ISREG(st.st_mode) || (st.st_size == 0 && read(source->fd, &byte, 1) > 0)) {
		warnx("%s: not a regular file: only a file of known size can be sent", opt.source);
		return -1;
	}
	source->mode = st.st_mode;
	source->size = (uint64_t)st.st_size;
	return 0;
}

static int connect_to(const struct addrinfo *ai, struct peer *peer)
{
	peer->fd = rsk_socket(ai->ai_family, SOCK_STREAM, 0);
	if (peer->fd < 0) {
		complain(-1, NULL, "open a socket for", opt.host);
		return -1;
	}
	address_text(ai->ai_addr, ai->ai_addrlen, peer->name);
	if (rsk_connect(peer->fd, ai->ai_addr, ai->ai_addrlen) == 0)
		return 0;
	if (!ai->ai_next) /* else the next address may do */
		peer_complain(peer, "connect to");
	rsk_close(peer->fd);
	return -1;
}

static int connect_to_server(struct peer *peer)
{
	struct addrinfo *list = resolve(opt.host, opt.port, 0, AF_UNSPEC);
	int ret = -1;

	for (struct addrinfo *ai = list; ai && ret && !interrupted; ai = ai->ai_next)
		ret = connect_to(ai, peer);
	if (list)
		freeaddrinfo(list);
	return ret;
}

/* Has the server answered while we are still sending? Then it has given up. */
static bool answered_early(const struct peer *peer)
{
	uint8_t byte;

	return rsk_recv(peer->fd, &byte, sizeof(byte), MSG_PEEK | MSG_DONTWAIT) > 0;
}

static int receive_answer(const struct peer *peer, enum command command)
{
	struct copy_header answer;
	int ret = peer_receive_header(peer, &answer);

	if (ret > 0 && answer.command != (command | COPY_ANSWER)) {
		errno = EPROTO;
		ret = -1;
	}
	if (ret < 0) {
		peer_complain(peer, "receive an answer from");
		return -1;
	}
	if (ret == 0) {
		warnx("%s closed the connection without an answer; its own message says why",
		      peer->name);
		return -1;
	}
	if (answer.value) {
		warnx("%s refuses %s: %s", peer->name, opt.destination,
		      answer.value < 4096 ? strerror((int)answer.value) : "it does not say why");
		return -1;
	}
	return 0;
}

static int send_failed(const struct peer *peer, enum command command)
{
	int error = errno;

	if (answered_early(peer)) {
		(void)receive_answer(peer, command); /* failed in any case, but now we know why */
		return -1;
	}
	errno = error;
	peer_complain(peer, "send to");
	return -1;
}

static int open_remote(const struct peer *peer, mode_t mode)
{
	char path[PATH_MAX + 8] = "";
	size_t len = strlen(opt.destination), padded = (len + 8) / 8 * 8;
	struct copy_header request = {
		.command = COPY_OPEN,
		.length = (uint16_t)(sizeof(request) + padded),
		.value = mode,
	};

	memcpy(path, opt.destination, len);
	if (peer_send_header(peer, request) || peer_send(peer, path, padded))
		return send_failed(peer, COPY_OPEN);
	return receive_answer(peer, COPY_OPEN);
}

/* Returns the bytes read, or -1 after telling the user. */
static ssize_t read_source(const struct source *source, uint8_t *piece, uint64_t left)
{
	ssize_t n;

	do {
		n = read(source->fd, piece, left < PIECE_BYTES ? left : PIECE_BYTES);
	} while (n < 0 && errno == EINTR && !interrupted);
	if (n < 0 && !interrupted)
		warn("read %s", opt.source);
	if (n == 0)
		warnx("%s became shorter while it was sent", opt.source);
	return n > 0 ? n : -1;
}

static int send_contents(const struct peer *peer, const struct source *source, struct transfer *t)
{
	static uint8_t piece[PIECE_BYTES];

	while (t->done < t->size) {
		ssize_t n = read_source(source, piece, t->size - t->done);

		if (n < 0 || interrupted)
			return -1;
		if (answered_early(peer) || peer_send(peer, piece, (size_t)n))
			return send_failed(peer, COPY_WRITE);
		transfer_add(t, piece, (size_t)n);
	}
	return 0;
}

static int write_remote(const struct peer *peer, const struct source *source, struct transfer *t)
{
	uint64_t size = htole64(source->size);
	struct copy_header request = {
		.command = COPY_WRITE,
		.length = sizeof(request) + sizeof(size),
	};

	if (peer_send_header(peer, request) || peer_send(peer, &size, sizeof(size)))
		return send_failed(peer, COPY_WRITE);
	if (send_contents(peer, source, t))
		return -1;
	return receive_answer(peer, COPY_WRITE);
}

static int close_remote(const struct peer *peer)
{
	struct copy_header request = { .command = COPY_CLOSE, .length = sizeof(request) };

	if (peer_send_header(peer, request))
		return send_failed(peer, COPY_CLOSE);
	return receive_answer(peer, COPY_CLOSE);
}

static int send_file(const struct peer *peer, const struct source *source)
{
	struct transfer t;

	if (peer_limit_silence(peer)) {
		complain(peer->fd, NULL, "set a time limit for", peer->name);
		return -1;
	}
	if (open_remote(peer, source->mode))
		return -1;
	transfer_begin(&t, opt.source, source->size);
	if ((source->size && write_remote(peer, source, &t)) || close_remote(peer)) {
		transfer_abandon();
		return -1;
	}
	return transfer_finish(&t);
}

int run_client(void)
{
	struct source source;
	struct peer peer;
	int ret = -1;

	if (open_source(&source))
		return EXIT_RUN_FAILED;
	if (connect_to_server(&peer) == 0) {
		ret = send_file(&peer, &source);
		rsk_close(peer.fd);
	}
	close(source.fd);
	return ret ? EXIT_RUN_FAILED : EXIT_GOOD;
}
