/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Scripts: cases of socket calls, one a line, each with its result.
 *
 *   case end_of_file_follows_the_data         # a name that is a claim
 *   pair A B                = 0
 *   send A "bye"            = 3
 *   close A                 = 0
 *   recv B 10               = "bye"
 *   send B "x"              = tcp: 1  rsk: EPIPE   # why rsk differs: the reason is not optional
 *
 * A word is a name, a number, constants of C joined by |, or text in quotes. What the operations are,
 * and what their results look like, stands in interpret.c, beside each.
 */
#ifndef RSK_TEST_SCRIPT_H
#define RSK_TEST_SCRIPT_H

#include <stddef.h>

enum { WORDS_MAX = 12, LINES_MAX = 64 };

struct script_line {
	const char *file;
	int number;
	char *word[WORDS_MAX];       /* the operation and its arguments; NULL behind the last */
	char *want;                  /* the result, over the protocol that is tested */
};

struct script_case {
	const char *name;
	struct script_line line[LINES_MAX];
	int lines;
};

struct script {
	struct script_case *cases;
	size_t count;
};

/* Reads all *.script files of a directory, in the order of their names. What is wrong in one ends the
 * program with a line that says where. */
struct script script_read(const char *dir, const char *backend);

#endif
