/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Opening librsk: see librsk.h. */
#include "librsk.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WITHOUT_US "This process uses other stacks only"

struct dmm_rsk rsk;

static const struct {
	const char *name;
	size_t offset;
} calls[] = {
#define DMM_CALL(call) { "rsk_" #call, offsetof(struct dmm_rsk, call) },
	DMM_RSK_CALLS(DMM_CALL)
};

/* Where the system looks; then where it was installed with us. */
static const char *const places[] = { "librsk.so.0", DMM_LIBDIR "/librsk.so.0" };

void dmm_log(const char *fmt, ...)
{
	const char *level = getenv("RSK_LOG");
	char text[512];
	va_list args;

	if (level && !strcmp(level, "off"))
		return;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	fprintf(stderr, "dmm_rsocket: %s\n", text);
}

#ifdef RSK_SANITIZED
/* The sanitizers' runtimes must be asked first for what they intercept, and refuse the flag. */
enum { OPEN_FLAGS = RTLD_NOW | RTLD_LOCAL };
#else
enum { OPEN_FLAGS = RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND };

/* With a malloc() of the program's own, libc would allocate by that one what libraries below the border
 * free by libc's. */
static bool malloc_is_replaced(void)
{
	void *libc = dlopen("libc.so.6", RTLD_LAZY | RTLD_NOLOAD);
	bool replaced = libc && dlsym(RTLD_DEFAULT, "malloc") != dlsym(libc, "malloc");

	if (libc)
		dlclose(libc);
	return replaced;
}
#endif

static void *open_library(void)
{
	char why[400] = "";

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		void *library = dlopen(places[i], OPEN_FLAGS);
		size_t used = strlen(why);

		if (library)
			return library;
		snprintf(why + used, sizeof(why) - used, "%s%s", used ? "; " : "", dlerror());
	}
	dmm_log("cannot open librsk: %s. Is it installed? " WITHOUT_US, why);
	return NULL;
}

static bool take_functions(void *library)
{
	struct dmm_rsk found;

	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		void *function = dlsym(library, calls[i].name);

		if (!function) {
			dmm_log("librsk is too old: it has no %s. " WITHOUT_US, calls[i].name);
			return false;
		}
		memcpy((char *)&found + calls[i].offset, &function, sizeof(function));
	}
	rsk = found;
	return true;
}

static bool is_open;

static void open_once(void)
{
	void *library;

#ifndef RSK_SANITIZED
	if (malloc_is_replaced()) {
		dmm_log("this program has a malloc of its own: librsk cannot be isolated from nStack. " WITHOUT_US);
		return;
	}
#endif
	library = open_library();
	/* Never closed: the engine thread runs in it. */
	is_open = library && take_functions(library);
}

bool dmm_librsk_open(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, open_once);
	return is_open;
}
