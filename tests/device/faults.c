/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
#include "faults.h"

#include <dlfcn.h>
#include <stdio.h>

static int (*set)(const char *script);
static void (*count)(int *qps, int *cqs, int *mrs);

bool can_fail(void)
{
	void *functions[2] = { dlsym(RTLD_DEFAULT, "softverbs_faults"),
			       dlsym(RTLD_DEFAULT, "softverbs_in_use") };

	memcpy(&set, &functions[0], sizeof(set));
	memcpy(&count, &functions[1], sizeof(count));
	if (!set || !count)
		printf("skipped: a device that cannot be made to fail\n");
	return set && count;
}

bool set_faults(const char *script)
{
	return !set(script);
}

void faults(const char *script)
{
	ck_assert_msg(set_faults(script), "a script with an error: %s", script);
}

void in_use(int *qps, int *cqs, int *mrs)
{
	count(qps, cqs, mrs);
}
