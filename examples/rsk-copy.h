/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The parts of rsk-copy: its command line (rsk-copy.c), the two roles (copy-client.c and
 * copy-server.c) and what both do with a connection (copy-peer.c).
 *
 * The protocol is that of rcopy of rdmacm-utils. The client sends requests and waits for the answer
 * to each; an answer is a header with the request's command and id, and an errno value of Linux,
 * 0 for success.
 *
 *   OPEN    header (value: st_mode of the file), the path, filled with 1 to 8 zero bytes
 *   WRITE   header, the size as 64 bits, then that many bytes of contents; one answer after them
 *   CLOSE   header
 *
 * rcopy cannot send an empty file and answers EINVAL to a WRITE of 0 bytes. So rsk-copy leaves the
 * WRITE out then: OPEN made the file.
 */
#ifndef RSK_EXAMPLES_COPY_H
#define RSK_EXAMPLES_COPY_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <nettle/sha2.h>

#include "common.h"

enum command {
	COPY_OPEN = 1,
	COPY_CLOSE = 2,
	COPY_WRITE = 3,
	COPY_ANSWER = 0x80, /* or-ed to the command */
};

/* rcopy uses the machine's own byte order; little-endian is that of all machines it is found on. */
struct copy_header {
	uint8_t version; /* 0 */
	uint8_t command;
	uint16_t length; /* of the message, header included, contents of the file not */
	uint32_t value;
	uint64_t id;
};

_Static_assert(sizeof(struct copy_header) == 16, "the header has 16 bytes on the wire");

/* The command line; does not change while running. */
struct options {
	const char *port;
	const char *local;     /* server: address to bind to */
	const char *directory; /* server: where files go */
	bool any_path;         /* server: let clients choose the path */
	bool once;             /* server: serve one client */
	bool progress;
	const char *source; /* client; NULL: be the server */
	const char *host;
	const char *destination;
};

extern struct options opt;

/* The signal that asked the program to end, or 0. Blocking calls return then. */
extern volatile sig_atomic_t interrupted;

/* Both return an exit status. */
int run_client(void);
int run_server(void);

/* A connection. */
struct peer {
	int fd;
	char name[ADDRESS_TEXT_MAX];
};

/* So that a peer that went silent does not hold this program for ever. */
int peer_limit_silence(const struct peer *peer);

/* Returns 0, or -1 with errno. */
int peer_send(const struct peer *peer, const void *data, size_t len);

/* Returns the bytes received, fewer than @len if the peer closed; or -1 with errno. */
ssize_t peer_receive(const struct peer *peer, void *data, size_t len);

/* The same for a whole header; 1 when there is one, 0 when the peer closed instead. A header that
 * cannot be right fails with EPROTO. */
int peer_send_header(const struct peer *peer, struct copy_header header);
int peer_receive_header(const struct peer *peer, struct copy_header *header);

/* Tell the user why a peer_ function failed. Silent if it was a signal: the user knows. */
void peer_complain(const struct peer *peer, const char *doing);

/* One file on its way: its checksum, and what the user sees of it. */
struct transfer {
	const char *name;
	uint64_t size, done;
	uint64_t start_ns, shown_ns;
	struct sha256_ctx sha256;
};

void transfer_begin(struct transfer *t, const char *name, uint64_t size);
void transfer_add(struct transfer *t, const uint8_t *data, size_t len);
int transfer_finish(struct transfer *t); /* prints the result; -1 if that could not be written */
void transfer_abandon(void);

/* Size of the pieces in which files are read, sent, received and written. */
#define PIECE_BYTES (256 * 1024)

#endif
