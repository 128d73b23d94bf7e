/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Reading scripts: see script.h. Words and names point into the text of the files, which stays. */
#include "script.h"

#include <ctype.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct reader {
	const char *file, *backend;
	int number;
	struct script *script;
};

static void wrong(const struct reader *r, const char *what)
{
	fprintf(stderr, "%s:%d: %s\n", r->file, r->number, what);
	exit(2);
}

static char *text_of(const char *file)
{
	FILE *f = fopen(file, "r");
	char *text = NULL;
	size_t room = 0;

	if (!f || getdelim(&text, &room, '\0', f) < 0) {
		perror(file);
		exit(2);
	}
	fclose(f);
	return text;
}

static char *skip_blanks(char *at)
{
	while (*at && isspace((unsigned char)*at))
		at++;
	return at;
}

/* Cuts off blanks at the end. */
static char *trim(char *text)
{
	size_t len = strlen(text);

	while (len && isspace((unsigned char)text[len - 1]))
		text[--len] = '\0';
	return skip_blanks(text);
}

/* The next word, quotes included; *at moves behind it. */
static char *next_word(char **at)
{
	char *word = skip_blanks(*at), *end = word;
	int quoted = 0;

	for (; *end && (quoted || !isspace((unsigned char)*end)); end++)
		quoted ^= *end == '"';
	*at = *end ? end + 1 : end;
	*end = '\0';
	return word;
}

/* Separates the comment at the end, if any. */
static char *cut_comment(char *text)
{
	int quoted = 0;

	for (; *text; text++) {
		quoted ^= *text == '"';
		if (*text == '#' && !quoted) {
			*text = '\0';
			return trim(text + 1);
		}
	}
	return text;
}

/* "RESULT", or "tcp: RESULT rsk: RESULT" with a reason: returns the one that is meant for us. */
static char *expectation(const struct reader *r, char *text, const char *reason)
{
	char *rsk = strstr(text, "rsk:"), *tcp = text + strlen("tcp:");

	if (strncmp(text, "tcp:", strlen("tcp:")))
		return *text ? text : (wrong(r, "no result"), text);
	if (!rsk)
		wrong(r, "what is rsk's result?");
	*rsk = '\0';
	tcp = trim(tcp);
	rsk = trim(rsk + strlen("rsk:"));
	if (!*reason)
		wrong(r, "a difference without a reason");
	if (!strcmp(tcp, rsk))
		wrong(r, "a difference that is none");
	return strcmp(r->backend, "tcp") ? rsk : tcp;
}

static struct script_case *begin_case(const struct reader *r, const char *name)
{
	struct script *script = r->script;
	struct script_case *c;

	script->cases = realloc(script->cases, (script->count + 1) * sizeof(*script->cases));
	if (!script->cases)
		wrong(r, "out of memory");
	c = &script->cases[script->count++];
	*c = (struct script_case){ .name = name };
	return c;
}

static void read_line(const struct reader *r, char *text)
{
	struct script *script = r->script;
	struct script_line line = { .file = r->file, .number = r->number };
	const char *reason = cut_comment(text);
	struct script_case *c;
	char *word;
	int n = 0;

	text = trim(text);
	if (!*text)
		return;
	word = next_word(&text);
	if (!strcmp(word, "case")) {
		begin_case(r, next_word(&text));
		return;
	}
	if (!script->count)
		wrong(r, "no case has begun");
	for (; *word && strcmp(word, "="); word = next_word(&text)) {
		if (n == WORDS_MAX - 1)
			wrong(r, "too many words");
		line.word[n++] = word;
	}
	line.want = expectation(r, trim(text), reason);
	c = &script->cases[script->count - 1];
	if (c->lines == LINES_MAX)
		wrong(r, "too many lines");
	c->line[c->lines++] = line;
}

static void read_file(struct script *script, char *file, const char *backend)
{
	struct reader r = { .file = file, .backend = backend, .script = script };
	char *text = text_of(file), *line;

	while ((line = strsep(&text, "\n"))) {
		r.number++;
		read_line(&r, line);
	}
}

struct script script_read(const char *dir, const char *backend)
{
	static glob_t files;         /* stays, too: lines name their file */
	struct script script = { 0 };
	char pattern[4096];

	snprintf(pattern, sizeof(pattern), "%s/*.script", dir);
	if (glob(pattern, 0, NULL, &files)) {
		fprintf(stderr, "%s: no script\n", dir);
		exit(2);
	}
	for (size_t i = 0; i < files.gl_pathc; i++)
		read_file(&script, files.gl_pathv[i], backend);
	return script;
}
