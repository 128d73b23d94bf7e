/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* A configuration file with anything in it: the first byte chooses the knob, the rest is its file. */
#include "fuzz.h"

#include <unistd.h>

#include "knobs.h"

static char dir[] = "/tmp/rsk-fuzz-XXXXXX";

static void remove_dir(void)
{
	rmdir(dir);
}

static void make_dir(void)
{
	claim(mkdtemp(dir));
	claim(!atexit(remove_dir));
	setenv("RSK_LOG", "off", 1);
	for (int i = RSK_KNOB_LOG + 1; i < RSK_KNOBS; i++)
		unsetenv(rsk_knobs[i].variable);
}

static void put_file(const char *path, const struct input *in)
{
	FILE *f = fopen(path, "w");

	claim(f && fwrite(in->at, 1, in->left, f) == in->left && !fclose(f));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	int which = RSK_KNOB_LOG + 1 + take_byte(&in) % (RSK_KNOBS - 1), values[RSK_KNOBS];
	const struct rsk_knob_info *knob = &rsk_knobs[which];
	char path[256];

	if (strstr(dir, "XXXXXX"))
		make_dir();
	snprintf(path, sizeof(path), "%s/%s", dir, knob->name);
	put_file(path, &in);
	rsk_knobs_read(dir, dir, values);
	claim(values[which] == knob->initial ||
	      (values[which] >= knob->min && values[which] <= knob->max));
	unlink(path);
	return 0;
}
