/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* The environment variable SOFTVERBS: see options.h. */
#include "options.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct soft_options soft_options = {
	.max_qp = 4096,
	.max_cq = 65536,
	.max_mr = 65536,
	.max_pd = 4096,
	.max_srq = 4096,
	.max_ah = 65536,
	.max_qp_wr = 65535,
	.max_cqe = 1048576,
	.max_sge = 32,
	.max_inline = 512,
	.max_rd_atomic = 16,
	.timeout = 14,
};

static const struct {
	const char *name;
	size_t offset;
	int min, max;                /* 1, 1: a word without a number */
} options[] = {
	{ "iwarp", offsetof(struct soft_options, iwarp), 1, 1 },
	{ "any-user", offsetof(struct soft_options, any_user), 1, 1 },
	{ "max_qp", offsetof(struct soft_options, max_qp), 1, 4096 },
	{ "max_cq", offsetof(struct soft_options, max_cq), 1, 1 << 20 },
	{ "max_mr", offsetof(struct soft_options, max_mr), 1, 1 << 20 },
	{ "max_pd", offsetof(struct soft_options, max_pd), 1, 1 << 20 },
	{ "max_srq", offsetof(struct soft_options, max_srq), 0, 1 << 20 },
	{ "max_ah", offsetof(struct soft_options, max_ah), 0, 1 << 20 },
	{ "max_qp_wr", offsetof(struct soft_options, max_qp_wr), 1, 1 << 20 },
	{ "max_cqe", offsetof(struct soft_options, max_cqe), 1, 1 << 24 },
	{ "max_sge", offsetof(struct soft_options, max_sge), 1, SOFT_SGES_MAX },
	{ "max_inline", offsetof(struct soft_options, max_inline), 0, 4096 },
	{ "max_rd_atomic", offsetof(struct soft_options, max_rd_atomic), 1, 16 },
	{ "timeout", offsetof(struct soft_options, timeout), 0, 31 },
};

static void reject(const char *word, const char *why)
{
	dprintf(STDERR_FILENO, "softverbs: SOFTVERBS: %s: %s\n", word, why);
	_exit(2);
}

static int parse_number(const char *word, const char *text, int min, int max)
{
	char *end, why[80];
	long n;

	errno = 0;
	n = strtol(text, &end, 10);
	if (errno || end == text || *end || n < min || n > max) {
		snprintf(why, sizeof(why), "not a number from %d to %d", min, max);
		reject(word, why);
	}
	return (int)n;
}

/* @value: what follows the '=', or NULL */
static void set_option(const char *word, const char *value)
{
	size_t length = value ? (size_t)(value - 1 - word) : strlen(word);

	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		bool is_switch = options[i].min == 1 && options[i].max == 1;
		int *option = (int *)((char *)&soft_options + options[i].offset);

		if (strlen(options[i].name) != length || strncmp(options[i].name, word, length) || is_switch != !value)
			continue;
		*option = value ? parse_number(word, value, options[i].min, options[i].max) : 1;
		return;
	}
	reject(word, "no such option");
}

static bool parse_address(const char *text, struct sockaddr_storage *addr)
{
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)addr;
	struct sockaddr_in *v4 = (struct sockaddr_in *)addr;

	if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		return true;
	}
	v6->sin6_family = AF_INET6;
	return inet_pton(AF_INET6, text, &v6->sin6_addr) == 1;
}

static void set_addresses(const char *word, char *list)
{
	char *rest;

	for (char *text = strtok_r(list, ",", &rest); text; text = strtok_r(NULL, ",", &rest)) {
		if (soft_options.naddresses == SOFT_ADDRESSES_MAX)
			reject(word, "too many addresses");
		if (!parse_address(text, &soft_options.addresses[soft_options.naddresses++]))
			reject(text, "not an address");
	}
}

static __attribute__((constructor)) void read_options(void)
{
	const char *given = getenv("SOFTVERBS");
	char *text = given ? strdup(given) : NULL, *rest;

	for (char *word = text ? strtok_r(text, " \t\n", &rest) : NULL; word;
	     word = strtok_r(NULL, " \t\n", &rest)) {
		char *value = strchr(word, '=');

		if (!strncmp(word, "addresses=", 10))
			set_addresses(word, value + 1);
		else
			set_option(word, value ? value + 1 : NULL);
	}
	free(text);
}
