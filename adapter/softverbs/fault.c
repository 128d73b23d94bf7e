/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Fault scripts: see fault.h, and softverbs(7) for the language. */
#include "fault.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <infiniband/verbs.h>

#include "node.h"

enum { RULES_MAX = 64, WORDS_MAX = 6 };

/* At @place: the @first time and, if @every, each so-manieth after that; or when an amount is @above. */
struct rule {
	enum soft_place place;
	unsigned long first, every;
	uint64_t above;
	unsigned percent;
	struct soft_fault fault;
};

static struct rule rules[RULES_MAX];
static int nrules;
static unsigned long times[SOFT_PLACES];
static uint64_t dice;

struct name {
	const char *name;
	int value;
};

static const struct name places[] = {
	{ "post-send", SOFT_AT_POST_SEND }, { "post-recv", SOFT_AT_POST_RECV },
	{ "completion", SOFT_AT_COMPLETION }, { "event", SOFT_AT_EVENT },
	{ "receive", SOFT_AT_RECEIVE }, { "connect", SOFT_AT_CONNECT },
	{ "reg-mr", SOFT_AT_REG_MR }, { "alloc-pd", SOFT_AT_ALLOC_PD },
	{ "create-channel", SOFT_AT_CREATE_CHANNEL }, { "create-cq", SOFT_AT_CREATE_CQ },
	{ "create-qp", SOFT_AT_CREATE_QP }, { "create-srq", SOFT_AT_CREATE_SRQ },
	{ "create-ah", SOFT_AT_CREATE_AH }, { "create-id", SOFT_AT_CREATE_ID },
	{ "create-event-channel", SOFT_AT_CREATE_EVENT_CHANNEL }, { NULL, 0 },
};

static const struct name errnos[] = {
	{ "ENOMEM", ENOMEM }, { "EINVAL", EINVAL }, { "EAGAIN", EAGAIN }, { "EIO", EIO },
	{ "ENODEV", ENODEV }, { "EMFILE", EMFILE }, { "ENOSPC", ENOSPC }, { "EPERM", EPERM },
	{ "EFAULT", EFAULT }, { "EOPNOTSUPP", EOPNOTSUPP }, { NULL, 0 },
};

static const struct name statuses[] = {
	{ "loc-len", IBV_WC_LOC_LEN_ERR }, { "loc-qp-op", IBV_WC_LOC_QP_OP_ERR },
	{ "loc-prot", IBV_WC_LOC_PROT_ERR }, { "flush", IBV_WC_WR_FLUSH_ERR },
	{ "bad-resp", IBV_WC_BAD_RESP_ERR }, { "loc-access", IBV_WC_LOC_ACCESS_ERR },
	{ "rem-inv-req", IBV_WC_REM_INV_REQ_ERR }, { "rem-access", IBV_WC_REM_ACCESS_ERR },
	{ "rem-op", IBV_WC_REM_OP_ERR }, { "retry-exc", IBV_WC_RETRY_EXC_ERR },
	{ "rnr-retry-exc", IBV_WC_RNR_RETRY_EXC_ERR }, { "fatal", IBV_WC_FATAL_ERR },
	{ "resp-timeout", IBV_WC_RESP_TIMEOUT_ERR }, { "general", IBV_WC_GENERAL_ERR }, { NULL, 0 },
};

enum argument { NO_ARGUMENT, ERRNO, STATUS, NUMBER };

static const struct {
	const char *name;
	enum soft_action action;
	enum argument argument;
	unsigned places;             /* where it makes sense: bits */
} actions[] = {
	{ "fail", SOFT_FAIL, ERRNO, ~(1u << SOFT_AT_COMPLETION | 1u << SOFT_AT_EVENT | 1u << SOFT_AT_RECEIVE) },
	{ "status", SOFT_STATUS, STATUS, 1u << SOFT_AT_COMPLETION },
	{ "delay", SOFT_DELAY, NUMBER, 1u << SOFT_AT_COMPLETION | 1u << SOFT_AT_EVENT },
	{ "rnr", SOFT_RNR, NO_ARGUMENT, 1u << SOFT_AT_RECEIVE },
	{ "reject", SOFT_REJECT, NUMBER, 1u << SOFT_AT_CONNECT },
	{ "ignore", SOFT_IGNORE, NO_ARGUMENT, 1u << SOFT_AT_CONNECT },
	{ "partition", SOFT_PARTITION, NUMBER, 1u << SOFT_AT_POST_SEND },
	{ "link-down", SOFT_LINK_DOWN, NUMBER, 1u << SOFT_AT_POST_SEND },
};

/* Asking */

static unsigned roll_percent(void)
{
	dice = dice * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (unsigned)(dice >> 33) % 100;
}

static bool applies(const struct rule *rule, unsigned long time, uint64_t amount)
{
	if (rule->above)
		return amount > rule->above;
	if (rule->percent)
		return roll_percent() < rule->percent;
	if (time < rule->first)
		return false;
	return time == rule->first || (rule->every && (time - rule->first) % rule->every == 0);
}

struct soft_fault soft_fault_at(enum soft_place place, uint64_t amount)
{
	unsigned long time;

	if (!nrules)
		return (struct soft_fault){ 0 };
	time = ++times[place];
	for (int i = 0; i < nrules; i++) {
		if (rules[i].place == place && applies(&rules[i], time, amount))
			return rules[i].fault;
	}
	return (struct soft_fault){ 0 };
}

int soft_fail_at(enum soft_place place)
{
	struct soft_fault fault = soft_fault_at(place, 0);

	return fault.action == SOFT_FAIL ? fault.value : 0;
}

/* Reading a script */

static bool look_up(const struct name *names, const char *word, int *value)
{
	for (; names->name; names++) {
		if (!strcmp(names->name, word)) {
			*value = names->value;
			return true;
		}
	}
	return false;
}

static bool number(const char *word, unsigned long *value)
{
	char *end;

	errno = 0;
	*value = strtoul(word, &end, 10);
	return !errno && *word >= '0' && *word <= '9' && !*end && *value <= INT_MAX;
}

/* Which time: "N", "every N", "N every M", "P%", "above BYTES". Returns the words it took, or 0. */
static int read_when(struct rule *rule, char **words, int n)
{
	unsigned long value;
	size_t length = strlen(words[0]);

	if (!strcmp(words[0], "above") && n > 1 && number(words[1], &value) && value) {
		rule->above = value;
		return 2;
	}
	if (!strcmp(words[0], "every") && n > 1 && number(words[1], &rule->every) && rule->every) {
		rule->first = rule->every;
		return 2;
	}
	if (length > 1 && words[0][length - 1] == '%') {
		words[0][length - 1] = 0;
		if (!number(words[0], &value) || !value || value > 100)
			return 0;
		rule->percent = (unsigned)value;
		return 1;
	}
	if (!number(words[0], &rule->first) || !rule->first)
		return 0;
	if (n > 2 && !strcmp(words[1], "every"))
		return number(words[2], &rule->every) && rule->every ? 3 : 0;
	return 1;
}

static const char *read_action(struct rule *rule, char **words, int n)
{
	unsigned long value = 0;

	for (size_t i = 0; i < sizeof(actions) / sizeof(actions[0]); i++) {
		if (strcmp(actions[i].name, words[0]))
			continue;
		if (!(actions[i].places & 1u << rule->place))
			return "this cannot happen there";
		rule->fault.action = actions[i].action;
		if (n != (actions[i].argument == NO_ARGUMENT ? 1 : 2))
			return "too many or too few words";
		if (actions[i].argument == ERRNO && !look_up(errnos, words[1], &rule->fault.value))
			return "no such errno";
		if (actions[i].argument == STATUS && !look_up(statuses, words[1], &rule->fault.value))
			return "no such status";
		if (actions[i].argument == NUMBER) {
			if (!number(words[1], &value))
				return "not a number";
			rule->fault.value = (int)value;
		}
		return NULL;
	}
	return "no such fault";
}

static const char *read_rule(struct rule *rule, char **words, int n)
{
	unsigned long seed;
	int place, taken;

	if (!strcmp(words[0], "seed") && n == 2 && number(words[1], &seed)) {
		dice = seed;
		return NULL;
	}
	if (!look_up(places, words[0], &place))
		return "no such place";
	rule->place = (enum soft_place)place;
	taken = n > 1 ? read_when(rule, words + 1, n - 1) : 0;
	if (!taken)
		return "which time is not clear";
	if (n == taken + 1)
		return "no fault";
	nrules++;
	return read_action(rule, words + taken + 1, n - taken - 1);
}

/* Lines are also ended by ';'. Returns what is wrong, or NULL; *line is where. */
static const char *read_script(char *text, int *line)
{
	const char *wrong = NULL;

	nrules = 0;
	memset(rules, 0, sizeof(rules));
	memset(times, 0, sizeof(times));
	dice = 1;
	for (*line = 1; text && !wrong; ++*line) {
		char *words[WORDS_MAX], *rest, *end = text + strcspn(text, ";\n");
		char *next = *end ? end + 1 : NULL;
		int n = 0;

		*end = 0;
		text[strcspn(text, "#")] = 0;
		for (char *word = strtok_r(text, " \t", &rest); word && n < WORDS_MAX;
		     word = strtok_r(NULL, " \t", &rest))
			words[n++] = word;
		if (n && nrules == RULES_MAX)
			wrong = "too many rules";
		else if (n)
			wrong = read_rule(&rules[nrules], words, n);
		text = next;
	}
	--*line;
	if (wrong)
		nrules = 0;
	return wrong;
}

/* For tests, which find it with dlsym(): replaces the script, NULL ends all faults, counts start anew. 0 or
 * -1. A ruined script is no script. */
int softverbs_faults(const char *script);
int softverbs_faults(const char *script)
{
	char *text = script ? strdup(script) : NULL;
	const char *wrong;
	int line;

	soft_lock();
	wrong = read_script(text, &line);
	soft_unlock();
	free(text);
	if (!wrong)
		return 0;
	errno = EINVAL;
	return -1;
}

static char *read_file(const char *path)
{
	FILE *file = fopen(path, "r");
	char *text = NULL;
	size_t size = 0;

	if (!file)
		return NULL;
	if (getdelim(&text, &size, 0, file) < 0 && !feof(file)) {
		free(text);
		text = NULL;
	}
	fclose(file);
	return text;
}

static __attribute__((constructor)) void read_environment(void)
{
	const char *given = getenv("SOFTVERBS_FAULTS"), *wrong;
	const char *source = given && *given == '@' ? given + 1 : "SOFTVERBS_FAULTS";
	char *text;
	int line;

	if (!given)
		return;
	text = *given == '@' ? read_file(source) : strdup(given);
	if (!text) {
		dprintf(STDERR_FILENO, "softverbs: %s: cannot be read\n", source);
		_exit(2);
	}
	wrong = read_script(text, &line);
	free(text);
	if (wrong) {
		dprintf(STDERR_FILENO, "softverbs: %s:%d: %s\n", source, line, wrong);
		_exit(2);
	}
}
