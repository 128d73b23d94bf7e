/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Runs a fuzzer's corpus, or the files named on the command line: see fuzz.h. */
#include "fuzz.h"

#include <glob.h>
#include <sys/stat.h>

static void run_file(const char *name)
{
	FILE *f = fopen(name, "rb");
	struct stat st;
	uint8_t *data;
	size_t n;

	if (!f || fstat(fileno(f), &st)) {
		perror(name);
		exit(1);
	}
	/* Exactly its size, so that a sanitizer sees a read beyond it. */
	data = malloc((size_t)st.st_size);
	claim(data || !st.st_size);
	n = fread(data, 1, (size_t)st.st_size, f);
	fclose(f);
	printf("%s: %zu bytes\n", name, n);
	fflush(stdout);
	LLVMFuzzerTestOneInput(data, n);
	free(data);
}

int main(int argc, char **argv)
{
	glob_t corpus;

	for (int i = 1; i < argc; i++)
		run_file(argv[i]);
	if (argc > 1)
		return 0;
	if (glob(CORPUS "/" TARGET "/*", 0, NULL, &corpus)) {
		fprintf(stderr, "%s/%s: empty\n", CORPUS, TARGET);
		return 1;
	}
	for (size_t i = 0; i < corpus.gl_pathc; i++)
		run_file(corpus.gl_pathv[i]);
	globfree(&corpus);
	return 0;
}
