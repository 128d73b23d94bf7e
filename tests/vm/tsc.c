/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * tsc - print the frequency of this machine's time-stamp counter in kHz.
 *
 * The emulator hands the host's counter to its guest, which must be told how fast that counter runs: a wrong
 * figure makes its clock wrong by as much. (Left alone, the kernel measures it by an emulated timer, and on a
 * busy machine fails or hangs.)
 */
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <x86intrin.h>

struct sample {
    int64_t ns;
    uint64_t ticks;
};

static int64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* The counter's value between two readings of the clock that lie as close together as luck allows. */
static struct sample take_sample(void)
{
    struct sample best = { 0, 0 };
    int64_t narrowest = INT64_MAX;

    for (int i = 0; i < 50; i++) {
        int64_t before = now_ns();
        uint64_t ticks = __rdtsc();
        int64_t after = now_ns();

        if (after - before < narrowest) {
            narrowest = after - before;
            best = (struct sample){ before + narrowest / 2, ticks };
        }
    }
    return best;
}

static double khz_between(struct sample a, struct sample b)
{
    return (double)(b.ticks - a.ticks) * 1e6 / (double)(b.ns - a.ns);
}

/* Usually two spans of 15 ms agree at once. If none do, the average of the whole third of a second is printed. */
int main(void)
{
    struct timespec pause = { 0, 15 * 1000 * 1000 };
    struct sample first = take_sample(), last = first, next;
    double khz = 0, before;

    for (int i = 0; i < 20; i++) {
        nanosleep(&pause, NULL);
        next = take_sample();
        before = khz;
        khz = khz_between(last, next);
        last = next;
        if (khz > before * 0.9999 && khz < before * 1.0001)
            break;
    }
    printf("%.0f\n", khz_between(first, last));
    return 0;
}
