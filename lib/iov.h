/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* A place in a list of buffers, that moves as bytes are copied. Pure. */
#ifndef RSK_IOV_H
#define RSK_IOV_H

#include <stdint.h>
#include <string.h>
#include <sys/uio.h>

/* Positions are bytes from the beginning of the list. */
struct rsk_cursor {
	const struct iovec *iov;
	size_t start;                /* position of *iov */
	size_t done;                 /* of the cursor */
	size_t total;                /* of the end */
};

static inline size_t rsk_cursor_left(const struct rsk_cursor *at)
{
	return at->total - at->done;
}

/* The bytes from here on that lie in one piece; empty only at the very end. */
static inline struct iovec rsk_cursor_piece(struct rsk_cursor *at)
{
	size_t offset = at->done - at->start;

	if (at->done == at->total)
		return (struct iovec){ 0 };
	while (offset == at->iov->iov_len) {
		at->start = at->done;
		at->iov++;
		offset = 0;
	}
	return (struct iovec){ (uint8_t *)at->iov->iov_base + offset, at->iov->iov_len - offset };
}

static inline void rsk_cursor_skip(struct rsk_cursor *at, size_t len)
{
	at->done += len;
}

/* Copies @len bytes, which must be there, from the buffers. */
static inline void rsk_cursor_gather(struct rsk_cursor *at, uint8_t *to, size_t len)
{
	while (len) {
		struct iovec piece = rsk_cursor_piece(at);
		size_t n = len < piece.iov_len ? len : piece.iov_len;

		memcpy(to, piece.iov_base, n);
		rsk_cursor_skip(at, n);
		to += n;
		len -= n;
	}
}

#endif
