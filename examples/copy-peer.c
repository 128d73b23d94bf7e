/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What both ends of rsk-copy do with a connection and with the file that passes through it.
 */
#include "rsk-copy.h"

#include <endian.h>
#include <err.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include <rsk/rsk.h>

enum {
	SILENCE_LIMIT_S = 60,
	SHOW_EVERY_NS = 200000000,
	BAR_WIDTH = 30,
};

int peer_limit_silence(const struct peer *peer)
{
	struct timeval limit = { .tv_sec = SILENCE_LIMIT_S };

	if (rsk_setsockopt(peer->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) ||
	    rsk_setsockopt(peer->fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)))
		return -1;
	return 0;
}

/* A call failed: go on? EAGAIN of a blocking socket is its time limit. */
static bool try_again(void)
{
	if (errno == EAGAIN)
		errno = ETIMEDOUT;
	return errno == EINTR && !interrupted;
}

int peer_send(const struct peer *peer, const void *data, size_t len)
{
	const uint8_t *from = data;

	while (len) {
		ssize_t n = rsk_send(peer->fd, from, len, MSG_NOSIGNAL);

		if (n < 0 && !try_again())
			return -1;
		if (n > 0) {
			from += n;
			len -= (size_t)n;
		}
	}
	return 0;
}

ssize_t peer_receive(const struct peer *peer, void *data, size_t len)
{
	uint8_t *to = data;
	size_t done = 0;

	while (done < len) {
		ssize_t n = rsk_recv(peer->fd, to + done, len - done, MSG_WAITALL);

		if (n == 0)
			break;
		if (n < 0 && !try_again())
			return -1;
		if (n > 0)
			done += (size_t)n;
	}
	return (ssize_t)done;
}

int peer_send_header(const struct peer *peer, struct copy_header header)
{
	header.length = htole16(header.length);
	header.value = htole32(header.value);
	return peer_send(peer, &header, sizeof(header));
}

int peer_receive_header(const struct peer *peer, struct copy_header *header)
{
	ssize_t n = peer_receive(peer, header, sizeof(*header));

	if (n <= 0)
		return (int)n;
	header->length = le16toh(header->length);
	header->value = le32toh(header->value);
	if (n < (ssize_t)sizeof(*header) || header->version != 0 ||
	    header->length < sizeof(*header)) {
		errno = EPROTO;
		return -1;
	}
	return 1;
}

void peer_complain(const struct peer *peer, const char *doing)
{
	if (interrupted)
		return;
	if (errno == EPROTO)
		warnx("%s %s: that is not what rsk-copy or rcopy says: is it another program?",
		      doing, peer->name);
	else
		complain(peer->fd, NULL, doing, peer->name);
}

static double mib_per_second(uint64_t bytes, uint64_t ns)
{
	return (double)bytes / (1 << 20) / ((double)(ns ? ns : 1) / 1e9);
}

static void show(const struct transfer *t, uint64_t now)
{
	double part = t->size ? (double)t->done / (double)t->size : 0;
	char bar[BAR_WIDTH + 1];

	for (unsigned int i = 0; i < BAR_WIDTH; i++)
		bar[i] = i < part * BAR_WIDTH ? '#' : '.';
	bar[BAR_WIDTH] = '\0';
	fprintf(stderr, "\r%s %3.0f%% %s %.1f MiB/s ", bar, part * 100, t->name,
		mib_per_second(t->done, now - t->start_ns));
}

static void wipe(void)
{
	if (opt.progress)
		fputs("\r\033[K", stderr);
}

void transfer_begin(struct transfer *t, const char *name, uint64_t size)
{
	*t = (struct transfer){ .name = name, .size = size, .start_ns = now_ns() };
	sha256_init(&t->sha256);
}

void transfer_add(struct transfer *t, const uint8_t *data, size_t len)
{
	uint64_t now = opt.progress ? now_ns() : 0;

	sha256_update(&t->sha256, len, data);
	t->done += len;
	if (opt.progress && now - t->shown_ns >= SHOW_EVERY_NS) {
		show(t, now);
		t->shown_ns = now;
	}
}

int transfer_finish(struct transfer *t)
{
	uint64_t elapsed_ns = now_ns() - t->start_ns;
	uint8_t digest[SHA256_DIGEST_SIZE];

	wipe();
	sha256_digest(&t->sha256, sizeof(digest), digest);
	printf("%s: %" PRIu64 " bytes, %.2f s, %.1f MiB/s, sha256 ", t->name, t->done,
	       (double)elapsed_ns / 1e9, mib_per_second(t->done, elapsed_ns));
	for (size_t i = 0; i < sizeof(digest); i++)
		printf("%02x", digest[i]);
	putchar('\n');
	if (!fflush(stdout) && !ferror(stdout))
		return 0;
	warnx("standard output: results not written");
	clearerr(stdout); /* the next file's may be */
	return -1;
}

void transfer_abandon(void)
{
	wipe();
}
