/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The leak checker of the address sanitizer crashes on the thread-local memory of libraries that are opened
 * as the module opens librsk. The sanitizer asks the program for its options by this name.
 */
const char *__asan_default_options(void);

const char *__asan_default_options(void)
{
	return "detect_leaks=0";
}
