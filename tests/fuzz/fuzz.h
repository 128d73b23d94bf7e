/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What arrives from the network or from a file must never harm the process, whatever it is. Each
 * fuzz_*.c decodes its input and then claims what must hold; libFuzzer looks for an input that makes a
 * claim false, or that a sanitizer objects to (make fuzz). replay.c runs the inputs of corpus/ instead,
 * with any compiler (make check).
 */
#ifndef RSK_FUZZ_H
#define RSK_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The name is libFuzzer's. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define claim(fact) \
	do { \
		if (!(fact)) { \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #fact); \
			abort(); \
		} \
	} while (0)

/* The input, taken from the front. Behind its end there are only zeros. */
struct input {
	const uint8_t *at;
	size_t left;
};

static inline void take(struct input *in, void *to, size_t len)
{
	size_t n = len < in->left ? len : in->left;

	memset(to, 0, len);
	if (n)
		memcpy(to, in->at, n);
	in->at += n;
	in->left -= n;
}

static inline uint8_t take_byte(struct input *in)
{
	uint8_t value;

	take(in, &value, sizeof(value));
	return value;
}

static inline uint16_t take_short(struct input *in)
{
	uint16_t value;

	take(in, &value, sizeof(value));
	return value;
}

static inline uint32_t take_word(struct input *in)
{
	uint32_t value;

	take(in, &value, sizeof(value));
	return value;
}

#endif
