/* bench_load: threads that do one thing over and over: how often, and how
 * long each took. */
#ifndef TESTS_BENCH_BENCH_LOAD_H
#define TESTS_BENCH_BENCH_LOAD_H

#include <stdio.h>

#include "common/base/err.h"

struct bench_load_work {
	void *cookie;
	/* A thread's own state; called one after another, not measured. */
	enum err (*open)(void *cookie, void **state, unsigned thread);
	enum err (*once)(void *state);
	void (*close)(void *state);
};

struct bench_load_result {
	double per_second, p50_ms, p99_ms;
	size_t n;
};

/* bench_load lets `threads` threads work for `seconds`, after a quarter of
 * that unmeasured. */
enum err bench_load(struct bench_load_result *out,
    const struct bench_load_work *w, unsigned threads, double seconds);

/* The k-th of n, 0 <= k < 1, of numbers that it sorts; 0 of none. */
double bench_load_quantile(double *v, size_t n, double k);

/* {"name","value","unit":"1/s","clients","p50_ms","p99_ms"} */
void bench_load_line(FILE *json, const char *name, unsigned clients,
    const struct bench_load_result *r);
/* {"name","value":median,"unit":"ms","n","min_ms","p50_ms","p99_ms"}; sorts.
 * Of less than a hundred, p99 is the highest. */
void bench_load_times(FILE *json, const char *name, double *ms, size_t n);

/* bench_load_disk: what the disk of `dir` takes to keep four KiB, in a file
 * that has its blocks, as bench_load_times. */
enum err bench_load_disk(FILE *json, const char *name, const char *dir);

#endif
