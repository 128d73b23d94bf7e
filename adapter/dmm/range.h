/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Which descriptors nStack takes from us. It drops those outside minfd..maxfd of module_config.json without
 * a word and never closes them, and it does not tell a module its range: so we read that file, too.
 */
#ifndef DMM_RANGE_H
#define DMM_RANGE_H

enum {
	DMM_FDS = 8192,              /* nStack's select() knows no higher ones */
	DMM_MAXFD_DEFAULT = 1024,    /* nStack's, where the file says nothing */
};

struct dmm_range {
	int min, max;                /* both included */
};

/* The range that nStack's configuration gives the stack "rsocket". */
struct dmm_range dmm_range_configured(void);

/* The same from the text of the file. */
struct dmm_range dmm_range_parse(const char *text);

#endif
