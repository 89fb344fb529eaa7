#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/bench_line.h"
#include "tests/bench/bench_load.h"

#define SYNCS 400

struct worker {
	const struct bench_load_work *w;
	void *state; /* owns */
	const _Atomic int *phase; /* 0 warm up, 1 measured, 2 over */
	double *ms; /* owns */
	size_t n, cap;
	enum err e;
	pthread_t id;
};

static enum err
note(struct worker *k, double ms)
{
	if (k->n == k->cap) {
		size_t cap = k->cap == 0 ? 1024 : 2 * k->cap;
		void *p = realloc(k->ms, cap * sizeof *k->ms);

		if (p == NULL)
			return ERR_NOMEM;
		k->ms = p;
		k->cap = cap;
	}
	k->ms[k->n++] = ms;
	return ERR_OK;
}

static void *
run(void *arg)
{
	struct worker *k = arg;
	int phase;

	while (k->e == ERR_OK && (phase = atomic_load(k->phase)) != 2) {
		double began = bench_now_us();

		k->e = k->w->once(k->state);
		/* Only what lies in the measured time as a whole. */
		if (k->e == ERR_OK && phase == 1 && atomic_load(k->phase) == 1)
			k->e = note(k, (bench_now_us() - began) / 1e3);
	}
	return NULL;
}

static void
rest(double us)
{
	struct timespec t = { .tv_sec = (time_t)(us / 1e6),
		.tv_nsec =
		    (long)((us / 1e6 - (double)(time_t)(us / 1e6)) * 1e9) };

	while (nanosleep(&t, &t) != 0)
		continue;
}

static int
by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

double
bench_load_quantile(double *v, size_t n, double k)
{
	if (n == 0)
		return 0;
	qsort(v, n, sizeof *v, by_size);
	return v[(size_t)(k * (double)n)];
}

static enum err
sum_up(struct bench_load_result *out, struct worker *k, unsigned threads,
    double us)
{
	size_t n = 0, at = 0;
	double *all;

	for (unsigned i = 0; i < threads; i++)
		n += k[i].n;
	if ((all = calloc(n + 1, sizeof *all)) == NULL)
		return ERR_NOMEM;
	for (unsigned i = 0; i < threads; i++)
		for (size_t j = 0; j < k[i].n; j++)
			all[at++] = k[i].ms[j];
	out->n = n;
	out->per_second = (double)n / (us / 1e6);
	out->p50_ms = bench_load_quantile(all, n, 0.5);
	out->p99_ms = bench_load_quantile(all, n, 0.99);
	free(all);
	return ERR_OK;
}

enum err
bench_load(struct bench_load_result *out, const struct bench_load_work *w,
    unsigned threads, double seconds)
{
	struct worker *k = calloc(threads, sizeof *k);
	_Atomic int phase = 0;
	unsigned open = 0;
	enum err e = k == NULL ? ERR_NOMEM : ERR_OK;
	double began = 0;

	for (unsigned i = 0; e == ERR_OK && i < threads; i++) {
		k[i].w = w;
		k[i].phase = &phase;
		if ((e = w->open(w->cookie, &k[i].state, i)) == ERR_OK)
			open++;
	}
	if (e == ERR_OK) {
		for (unsigned i = 0; i < threads; i++)
			if (pthread_create(&k[i].id, NULL, run, &k[i]) != 0)
				abort();
		rest(seconds / 4 * 1e6);
		began = bench_now_us();
		atomic_store(&phase, 1);
		rest(seconds * 1e6);
		atomic_store(&phase, 2);
		began = bench_now_us() - began;
		for (unsigned i = 0; i < threads; i++)
			(void)pthread_join(k[i].id, NULL);
	}
	for (unsigned i = 0; i < open; i++) {
		w->close(k[i].state);
		if (k[i].e != ERR_OK)
			e = k[i].e;
	}
	if (e == ERR_OK)
		e = sum_up(out, k, threads, began);
	for (unsigned i = 0; i < open; i++)
		free(k[i].ms);
	free(k);
	return e;
}

void
bench_load_line(FILE *json, const char *name, unsigned clients,
    const struct bench_load_result *r)
{
	(void)fprintf(json,
	    "{\"name\":\"%s\",\"value\":%.1f,\"unit\":\"1/s\",\"clients\":%u,"
	    "\"p50_ms\":%.2f,\"p99_ms\":%.2f}\n",
	    name, r->per_second, clients, r->p50_ms, r->p99_ms);
}

void
bench_load_times(FILE *json, const char *name, double *ms, size_t n)
{
	double p50 = bench_load_quantile(ms, n, 0.5);

	(void)fprintf(json,
	    "{\"name\":\"%s\",\"value\":%.2f,\"unit\":\"ms\",\"n\":%zu,"
	    "\"min_ms\":%.2f,\"p50_ms\":%.2f,\"p99_ms\":%.2f}\n",
	    name, p50, n, n > 0 ? ms[0] : 0, p50,
	    bench_load_quantile(ms, n, 0.99));
}

enum err
bench_load_disk(FILE *json, const char *name, const char *dir)
{
	static const uint8_t page[4096];
	double ms[SYNCS];
	char path[256];
	unsigned n = 0;
	int fd;

	(void)snprintf(path, sizeof path, "%s/sync", dir);
	if ((fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600)) < 0)
		return ERR_IO;
	for (unsigned i = 0; i < SYNCS; i++)
		if (pwrite(fd, page, sizeof page, i * 4096) != sizeof page)
			goto done;
	if (fsync(fd) != 0)
		goto done;
	while (n < SYNCS) {
		double began = bench_now_us();

		if (pwrite(fd, page, sizeof page, n * 4096) != sizeof page ||
		    fdatasync(fd) != 0)
			goto done;
		ms[n++] = (bench_now_us() - began) / 1e3;
	}
	bench_load_times(json, name, ms, n);
done:
	(void)close(fd);
	return n == SYNCS ? ERR_OK : ERR_IO;
}
