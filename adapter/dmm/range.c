/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The range of our descriptors: see range.h. The file is JSON as json-c takes it: comments, trailing
 * commas. It is read for two numbers of one flat object, so a list of tokens is all the structure needed.
 */
#include "range.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct entry {
	char name[16];               /* stack_name */
	struct dmm_range range;
};

static const struct entry unset = { "", { 0, DMM_MAXFD_DEFAULT } };

static const char *skip_space(const char *at)
{
	for (;;) {
		const char *end;

		while (isspace((unsigned char)*at))
			at++;
		if (at[0] != '/' || (at[1] != '*' && at[1] != '/'))
			return at;
		end = strstr(at + 2, at[1] == '*' ? "*/" : "\n");
		at = end ? end + (at[1] == '*' ? 2 : 1) : at + strlen(at);
	}
}

/* Takes a token: a string or a bare word into @word, and 'w' is returned; else the character itself; 0 at
 * the end. */
static int next_token(const char **text, char word[static 32])
{
	const char *at = skip_space(*text);
	size_t len;

	if (*at == '"') {
		len = strcspn(++at, "\"");
		*text = at + len + (at[len] == '"');
	} else {
		len = strcspn(at, "{}[]:,/ \t\r\n");
		if (!len) {
			*text = at + (*at != '\0');
			return *at;
		}
		*text = at + len;
	}
	snprintf(word, 32, "%.*s", (int)(len < 32 ? len : 31), at);
	return 'w';
}

static void note(struct entry *entry, const char *key, const char *value)
{
	if (!strcmp(key, "stack_name"))
		snprintf(entry->name, sizeof(entry->name), "%.15s", value);
	else if (!strcmp(key, "minfd"))
		entry->range.min = atoi(value);
	else if (!strcmp(key, "maxfd") && atoi(value))
		entry->range.max = atoi(value);
}

static struct dmm_range clip(struct dmm_range range)
{
	if (range.min < 0)
		range.min = 0;
	if (range.max >= DMM_FDS)
		range.max = DMM_FDS - 1;
	return range;
}

struct dmm_range dmm_range_parse(const char *text)
{
	struct entry entry = unset;
	char word[32] = "", key[32] = "";
	int token;

	while ((token = next_token(&text, word))) {
		if (token == '{') {
			entry = unset;
		} else if (token == ':') {
			memcpy(key, word, sizeof(key));
			continue;
		} else if (token == 'w' && *key) {
			note(&entry, key, word);
		} else if (token == '}' && !strcmp(entry.name, "rsocket")) {
			return clip(entry.range);
		}
		if (token != 'w' || *key)
			*key = '\0';
	}
	return unset.range;
}

struct dmm_range dmm_range_configured(void)
{
	const char *name = getenv("NSTACK_MOD_CFG_FILE");
	struct dmm_range range = unset.range;
	char *text = malloc(1 << 20);        /* nStack reads no more */
	FILE *f = fopen(name && *name ? name : "./module_config.json", "re");
	size_t len;

	if (text && f) {
		len = fread(text, 1, (1 << 20) - 1, f);
		text[len] = '\0';
		range = dmm_range_parse(text);
	}
	if (f)
		fclose(f);
	free(text);
	return range;
}
