/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Settings of the process: which source wins, what becomes of nonsense, and that rsk-config(5) lists
 * every knob. Each test has two directories of its own, for rsk's files and the site's.
 */
#include "knobs.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "options.h"

#include "unit.h"

static char root[] = "/tmp/rsk-test-knobs.XXXXXX", own_dir[64], site_dir[64];
static FILE *log_file;

/* Log lines go to a file; nothing is set. */
static void set_up(void)
{
	strcpy(strrchr(root, '.'), ".XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(root));
	snprintf(own_dir, sizeof(own_dir), "%s/rsk", root);
	snprintf(site_dir, sizeof(site_dir), "%s/rsocket", root);
	ck_assert_int_eq(mkdir(own_dir, 0700), 0);
	ck_assert_int_eq(mkdir(site_dir, 0700), 0);
	for (int i = 0; i < RSK_KNOBS; i++)
		unsetenv(rsk_knobs[i].variable);
	log_file = tmpfile();
	ck_assert_ptr_nonnull(log_file);
	ck_assert_int_ge(dup2(fileno(log_file), STDERR_FILENO), 0);
}

static void remove_in(const char *dir)
{
	char path[PATH_MAX];

	for (int i = 0; i < RSK_KNOBS; i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, rsk_knobs[i].name);
		if (unlink(path))
			rmdir(path);
	}
	ck_assert_int_eq(rmdir(dir), 0);
}

static void tear_down(void)
{
	fclose(log_file);
	remove_in(own_dir);
	remove_in(site_dir);
	ck_assert_int_eq(rmdir(root), 0);
}

static void put_file(const char *dir, const char *name, const char *text)
{
	char path[PATH_MAX];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	file = fopen(path, "w");
	ck_assert_ptr_nonnull(file);
	ck_assert_int_ge(fputs(text, file), 0);
	fclose(file);
}

static int read_knob(enum rsk_knob knob)
{
	int values[RSK_KNOBS];

	rsk_knobs_read(own_dir, site_dir, values);
	return values[knob];
}

/* What was logged, and from now on nothing. */
static const char *logged(void)
{
	static char text[4096];
	ssize_t n = pread(fileno(log_file), text, sizeof(text) - 1, 0);

	ck_assert_int_ge(n, 0);
	text[n] = '\0';
	ck_assert_int_eq(ftruncate(fileno(log_file), 0), 0);
	lseek(STDERR_FILENO, 0, SEEK_SET);
	return text;
}

static int lines(const char *text)
{
	int n = 0;

	while ((text = strchr(text, '\n'))) {
		text++;
		n++;
	}
	return n;
}

/* -- sources ----------------------------------------------------------------------------------- */

START_TEST(without_files_and_variables_all_is_at_its_default)
{
	int values[RSK_KNOBS];

	rsk_knobs_read(own_dir, site_dir, values);
	for (int i = 0; i < RSK_KNOBS; i++) {
		/* Where the kernel has a setting, that is the default. */
		if (!rsk_knobs[i].site || *rsk_knobs[i].site != '/')
			ck_assert_msg(values[i] == rsk_knobs[i].initial, "%s", rsk_knobs[i].name);
	}
	ck_assert_str_eq(logged(), "");
}
END_TEST

START_TEST(directories_that_are_not_there_are_no_fault)
{
	int values[RSK_KNOBS];

	rsk_knobs_read("/nowhere/rsk", "/dev/null/rsocket", values);
	ck_assert_int_eq(values[RSK_KNOB_SQSIZE], 384);
	ck_assert_str_eq(logged(), "");
}
END_TEST

START_TEST(own_file_wins_over_the_sites_and_the_variable_over_both)
{
	put_file(site_dir, "sqsize_default", "100\n");
	ck_assert_int_eq(read_knob(RSK_KNOB_SQSIZE), 100);
	put_file(own_dir, "sqsize_default", "200\n");
	ck_assert_int_eq(read_knob(RSK_KNOB_SQSIZE), 200);
	setenv("RSK_SQSIZE_DEFAULT", "300", 1);
	ck_assert_int_eq(read_knob(RSK_KNOB_SQSIZE), 300);
	setenv("RSK_SQSIZE_DEFAULT", "", 1);
	ck_assert_int_eq(read_knob(RSK_KNOB_SQSIZE), 200);
	ck_assert_str_eq(logged(), "");
}
END_TEST

/* The names that rsockets knows; the others are rsk's alone. */
static const char *const of_rsockets[] = {
	"mem_default", "wmem_default", "sqsize_default", "rqsize_default", "inline_default",
	"iomap_size", "polling_time",
};

START_TEST(settings_of_rsockets_carry_over)
{
	for (int i = 0; i < RSK_KNOBS; i++) {
		bool shared = false;

		for (size_t j = 0; j < COUNT(of_rsockets); j++)
			shared |= !strcmp(rsk_knobs[i].name, of_rsockets[j]);
		put_file(site_dir, rsk_knobs[i].name, rsk_knobs[i].words ? "debug" : "5000");
		put_file(own_dir, "log", "warn");
		if (shared)
			ck_assert_msg(read_knob(i) == 5000, "%s", rsk_knobs[i].name);
		else
			ck_assert_msg(read_knob(i) != 5000, "%s", rsk_knobs[i].name);
	}
}
END_TEST

START_TEST(every_knob_has_a_variable_and_a_file)
{
	for (int i = 0; i < RSK_KNOBS; i++) {
		const struct rsk_knob_info *knob = &rsk_knobs[i];
		const char *number = knob->words ? knob->words[0] : "7000";
		int value = knob->words ? 0 : knob->max < 7000 ? knob->max : 7000;

		put_file(own_dir, knob->name, number);
		ck_assert_msg(read_knob(i) == value, "%s", knob->name);
		put_file(own_dir, knob->name, knob->words ? "info" : "1");
		setenv(knob->variable, number, 1);
		ck_assert_msg(read_knob(i) == value, "%s", knob->variable);
		unsetenv(knob->variable);
	}
}
END_TEST

/* -- values ------------------------------------------------------------------------------------ */

/* Of mem_default, whose default of 0 is outside its range. */
static const struct {
	const char *text;
	int value, lines;
} texts[] = {
	{ "8192", 8192, 0 },
	{ "8192\n", 8192, 0 },
	{ " \t8192 \r\n", 8192, 0 },
	{ "8192\n# more\n", 8192, 0 },
	{ "+8192", 8192, 0 },
	{ "0", 0, 0 },
	{ "4096", 4096, 0 },
	{ "4095", 4096, 1 },
	{ "-1", 4096, 1 },
	{ "16777216", 16777216, 0 },
	{ "16777217", 16777216, 1 },
	{ "99999999999999999999999999", 16777216, 1 },
	{ "-99999999999999999999999999", 4096, 1 },
	{ "", 0, 1 },
	{ "\n8192", 0, 1 },
	{ "8192 bytes", 0, 1 },
	{ "8192x", 0, 1 },
	{ "0x2000", 0, 1 },
	{ "8k", 0, 1 },
	{ "eight", 0, 1 },
	{ "8192.5", 0, 1 },
	{ "81920000000000000000000000000000000000000000000000000000000000000000000000000000", 16777216, 1 },
	{ "\xff\xfe\x01", 0, 1 },
};

START_TEST(nonsense_in_a_file_is_said_once_and_the_default_holds)
{
	const char *dirs[] = { own_dir, site_dir };

	for (size_t i = 0; i < COUNT(texts) * COUNT(dirs); i++) {
		const char *text = texts[i / 2].text, *said;
		char path[PATH_MAX];
		int value;

		put_file(dirs[i % 2], "mem_default", text);
		value = read_knob(RSK_KNOB_MEM);
		said = logged();
		ck_assert_msg(value == texts[i / 2].value, "\"%s\" is %d", text, value);
		ck_assert_msg(lines(said) == texts[i / 2].lines, "\"%s\": %s", text, said);
		snprintf(path, sizeof(path), "%s/mem_default", dirs[i % 2]);
		if (texts[i / 2].lines)
			ck_assert_msg(strstr(said, path) != NULL, "%s", said);
		unlink(path);
	}
}
END_TEST

START_TEST(nonsense_in_a_variable_is_said_once_and_the_default_holds)
{
	for (size_t i = 0; i < COUNT(texts); i++) {
		const char *said;
		int value;

		if (!*texts[i].text || *texts[i].text == '\n' || strchr(texts[i].text, '\n'))
			continue;
		setenv("RSK_MEM_DEFAULT", texts[i].text, 1);
		value = read_knob(RSK_KNOB_MEM);
		said = logged();
		ck_assert_msg(value == texts[i].value, "\"%s\" is %d", texts[i].text, value);
		ck_assert_msg(lines(said) == texts[i].lines, "\"%s\": %s", texts[i].text, said);
		if (texts[i].lines)
			ck_assert_msg(strstr(said, "RSK_MEM_DEFAULT") != NULL, "%s", said);
	}
}
END_TEST

START_TEST(line_says_what_would_be_right_and_what_is_used)
{
	setenv("RSK_POLLING_TIME", "soon", 1);
	read_knob(RSK_KNOB_POLLING_TIME);
	ck_assert_str_eq(logged(), "rsk: warn: RSK_POLLING_TIME: \"soon\" is not a number of us from 0 to "
			 "1000000; using 10\n");
	unsetenv("RSK_POLLING_TIME");
	setenv("RSK_LOG", "loud", 1);
	ck_assert_int_eq(read_knob(RSK_KNOB_LOG), 2);
	ck_assert_str_eq(logged(), "rsk: warn: RSK_LOG: \"loud\" is none of off, error, warn, info, "
			 "debug; using warn\n");
}
END_TEST

START_TEST(what_cannot_be_read_is_said)
{
	char path[PATH_MAX];

	/* As a directory it can be opened and not read, by root either. */
	snprintf(path, sizeof(path), "%s/rqsize_default", own_dir);
	ck_assert_int_eq(mkdir(path, 0700), 0);
	ck_assert_int_eq(read_knob(RSK_KNOB_RQSIZE), 384);
	ck_assert_int_eq(lines(logged()), 1);
	/* A name that leads nowhere, other than by not being there. */
	snprintf(path, sizeof(path), "%s/sqsize_default", own_dir);
	ck_assert_int_eq(symlink("sqsize_default", path), 0);
	ck_assert_int_eq(read_knob(RSK_KNOB_SQSIZE), 384);
	ck_assert_int_eq(lines(logged()), 2);
}
END_TEST

START_TEST(complaints_obey_the_log_level)
{
	setenv("RSK_LOG", "error", 1);
	setenv("RSK_POLLING_TIME", "soon", 1);
	ck_assert_int_eq(read_knob(RSK_KNOB_POLLING_TIME), 10);
	ck_assert_str_eq(logged(), "");
}
END_TEST

/* -- the table --------------------------------------------------------------------------------- */

START_TEST(table_is_sound)
{
	for (int i = 0; i < RSK_KNOBS; i++) {
		const struct rsk_knob_info *knob = &rsk_knobs[i];

		ck_assert_ptr_nonnull(knob->name);
		ck_assert_ptr_nonnull(knob->unit);
		ck_assert_msg(!strncmp(knob->variable, "RSK_", 4), "%s", knob->variable);
		ck_assert_int_le(knob->min, knob->max);
		for (int j = 0; j < i; j++)
			ck_assert_str_ne(knob->name, rsk_knobs[j].name);
	}
	ck_assert_int_eq(rsk_knobs[RSK_KNOB_INLINE].min, 0);
}
END_TEST

/* The page's row of this knob, without its markup: name, variable, range, default. */
static bool page_has(const char *page, const struct rsk_knob_info *knob)
{
	char row[256];

	if (knob->words)
		snprintf(row, sizeof(row), "\n%s\t%s\toff .. debug\t%s\n", knob->name, knob->variable,
			 knob->words[knob->initial]);
	else
		snprintf(row, sizeof(row), "\n%s\t%s\t%d .. %d %s\t%d\n", knob->name, knob->variable,
			 knob->min, knob->max, knob->unit, knob->initial);
	return strstr(page, row) != NULL;
}

START_TEST(manual_page_lists_every_knob_with_its_default)
{
	static char page[65536];
	FILE *file = fopen(TOP_SRCDIR "/lib/rsk-config.5", "r");

	ck_assert_ptr_nonnull(file);
	page[fread(page, 1, sizeof(page) - 1, file)] = '\0';
	fclose(file);
	for (int i = 0; i < RSK_KNOBS; i++)
		ck_assert_msg(page_has(page, &rsk_knobs[i]), "%s", rsk_knobs[i].name);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("knobs");
	TCase *tc = group(s, "sources");

	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_add_test(tc, without_files_and_variables_all_is_at_its_default);
	tcase_add_test(tc, directories_that_are_not_there_are_no_fault);
	tcase_add_test(tc, own_file_wins_over_the_sites_and_the_variable_over_both);
	tcase_add_test(tc, settings_of_rsockets_carry_over);
	tcase_add_test(tc, every_knob_has_a_variable_and_a_file);

	tc = group(s, "values");
	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_add_test(tc, nonsense_in_a_file_is_said_once_and_the_default_holds);
	tcase_add_test(tc, nonsense_in_a_variable_is_said_once_and_the_default_holds);
	tcase_add_test(tc, line_says_what_would_be_right_and_what_is_used);
	tcase_add_test(tc, what_cannot_be_read_is_said);
	tcase_add_test(tc, complaints_obey_the_log_level);

	tc = group(s, "the table");
	tcase_add_test(tc, table_is_sound);
	tcase_add_test(tc, manual_page_lists_every_knob_with_its_default);
	return run_suite(s);
}
