/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
#include "process.h"

#include <dirent.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

static int entries_of(const char *path)
{
	DIR *dir = opendir(path);
	int n = 0;

	ck_assert_ptr_nonnull(dir);
	for (struct dirent *e; (e = readdir(dir));)
		n += e->d_name[0] != '.';
	closedir(dir);
	return n;
}

int open_descriptors(void)
{
	return entries_of("/proc/self/fd") - 1; /* not the one that reads the directory */
}

int running_threads(void)
{
	return entries_of("/proc/self/task");
}

static long sleeps_of(const char *task)
{
	char path[300], line[200];
	long sleeps = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/task/%s/status", task);
	f = fopen(path, "r");
	if (!f)
		return 0;
	while (fgets(line, sizeof(line), f))
		sscanf(line, "voluntary_ctxt_switches: %ld", &sleeps);
	fclose(f);
	return sleeps;
}

long sleeps_of_other_threads(void)
{
	DIR *tasks = opendir("/proc/self/task");
	struct dirent *task;
	long sleeps = 0;

	ck_assert_ptr_nonnull(tasks);
	while ((task = readdir(tasks))) {
		if (atoi(task->d_name) > 0 && atoi(task->d_name) != getpid())
			sleeps += sleeps_of(task->d_name);
	}
	closedir(tasks);
	return sleeps;
}

long resident_kib(void)
{
	FILE *f = fopen("/proc/self/statm", "r");
	long size, resident;

	ck_assert_ptr_nonnull(f);
	ck_assert_int_eq(fscanf(f, "%ld %ld", &size, &resident), 2);
	fclose(f);
	return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

long pinned_kib(void)
{
	FILE *f = fopen("/proc/self/status", "r");
	long kib = -1;
	char line[256];

	ck_assert_ptr_nonnull(f);
	while (kib < 0 && fgets(line, sizeof(line), f))
		sscanf(line, "VmPin: %ld", &kib);
	fclose(f);
	ck_assert_int_ge(kib, 0);
	return kib;
}

static struct rlimit all_files;

void use_up_descriptors(void)
{
	int lowest_free = dup(STDIN_FILENO);
	struct rlimit none;

	ck_assert_int_ge(lowest_free, 0);
	ck_assert_int_eq(close(lowest_free), 0);
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &all_files), 0);
	none = (struct rlimit){ lowest_free, all_files.rlim_max };
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
}

void give_descriptors_back(void)
{
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &all_files), 0);
}

void drop_capability(int capability)
{
	struct __user_cap_header_struct self = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct sets[2];
	int word = capability / 32;
	uint32_t bit = 1u << capability % 32;

	ck_assert_int_eq(syscall(SYS_capget, &self, sets), 0);
	sets[word].effective &= ~bit;
	sets[word].permitted &= ~bit;
	ck_assert_int_eq(syscall(SYS_capset, &self, sets), 0);
}
