/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* A place in a list of buffers, that moves as bytes are copied. Pure. */
#ifndef RSK_IOV_H
#define RSK_IOV_H

#include <stdint.h>
#include <string.h>
#include <sys/uio.h>

struct rsk_cursor {
	const struct iovec *iov;
	size_t offset;               /* in *iov */
	size_t left;                 /* bytes from here to the end */
};

/* The bytes from here on that lie in one piece; empty only at the very end. */
static inline struct iovec rsk_cursor_piece(struct rsk_cursor *at)
{
	if (!at->left)
		return (struct iovec){ 0 };
	while (at->offset == at->iov->iov_len) {
		at->iov++;
		at->offset = 0;
	}
	return (struct iovec){ (uint8_t *)at->iov->iov_base + at->offset,
			       at->iov->iov_len - at->offset };
}

static inline void rsk_cursor_skip(struct rsk_cursor *at, size_t len)
{
	at->offset += len;
	at->left -= len;
}

/* Copies @len bytes, which must be there, from or to the buffers. */
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

static inline void rsk_cursor_scatter(struct rsk_cursor *at, const uint8_t *from, size_t len)
{
	while (len) {
		struct iovec piece = rsk_cursor_piece(at);
		size_t n = len < piece.iov_len ? len : piece.iov_len;

		memcpy(piece.iov_base, from, n);
		rsk_cursor_skip(at, n);
		from += n;
		len -= n;
	}
}

#endif
