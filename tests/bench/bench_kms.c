#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/attest/dcap_cache.h"
#include "common/attest/evidence.h"
#include "common/base/file.h"
#include "kms/ctl/proc.h"
#include "node/agent/release.h"
#include "tests/bench/bench_kms.h"
#include "tests/bench/bench_line.h"
#include "tests/lib/app_cvm.h"

#define SECONDS 4
#define TIMEOUT_MS 10000
#define MAX_THREADS 8

struct bench_kms {
	struct app_cvm *cvm; /* owns */
	struct kms_transport t;
	struct release_terms terms;
	clockid_t kms0; /* its processor time */
	size_t request_len, reply_len;
};

/* ---- a CVM ---- */

static enum err
find_kms0(struct bench_kms *b, const char *dir)
{
	char path[CONFIG_PATH_MAX];
	enum err e = file_join(path, sizeof path, dir, "run/kms0.pid");
	pid_t pid;

	if (e != ERR_OK)
		return e;
	return proc_alive(path, &pid) &&
		clock_getcpuclockid(proc_worker(pid), &b->kms0) == 0
	    ? ERR_OK
	    : ERR_NOTFOUND;
}

enum err
bench_kms_boot(struct bench_kms **out, const char *dir, struct refusal *why)
{
	struct bench_kms *b = calloc(1, sizeof *b);
	const struct agent_config *c;
	enum err e;

	if (b == NULL)
		return ERR_NOMEM;
	if ((e = find_kms0(b, dir)) != ERR_OK ||
	    (e = app_cvm_boot(&b->cvm, dir, "bench", "cvm", why)) != ERR_OK) {
		bench_kms_free(b);
		return e;
	}
	c = &b->cvm->config;
	b->t = b->cvm->transport;
	b->terms.chain_id = c->chain_id;
	b->terms.root = c->kms_root;
	memcpy(b->terms.app_id, b->cvm->identity.app_id, 20);
	memcpy(b->terms.kms_contract, c->kms_contract, 20);
	*out = b;
	return ERR_OK;
}

void
bench_kms_free(struct bench_kms *b)
{
	if (b == NULL)
		return;
	app_cvm_free(b->cvm);
	free(b);
}

void
bench_kms_lengths(
    const struct bench_kms *b, size_t *request_len, size_t *reply_len)
{
	*request_len = b->request_len;
	*reply_len = b->reply_len;
}

unsigned
bench_kms_qe_checks(struct bench_kms *b)
{
	struct dcap_cache_stats s;

	verifier_cache_stats(&s, b->cvm->verifier);
	return (unsigned)s.misses[DCAP_CACHE_QE];
}

/* ---- threads that do one thing over and over ---- */

struct worker {
	struct bench_kms *b;
	pthread_barrier_t *turn; /* before and behind each round */
	const bool *over; /* read behind it */
	void *conn; /* owns, or NULL */
	unsigned done;
	size_t request_len, reply_len;
	enum err e;
	struct refusal why;
};

/* `before` is not measured; `once` is. */
struct work {
	enum err (*before)(struct worker *w);
	enum err (*once)(struct worker *w);
};

struct thread {
	struct worker w;
	const struct work *work;
	pthread_t id;
};

static void *
run(void *arg)
{
	struct thread *t = arg;
	struct worker *w = &t->w;
	double end;

	w->e = t->work->before(w);
	for (;;) {
		(void)pthread_barrier_wait(w->turn);
		if (*w->over)
			return NULL;
		end = bench_now_us() + SECONDS * 1e6;
		while (w->e == ERR_OK && bench_now_us() < end) {
			w->e = t->work->once(w);
			if (w->e == ERR_OK)
				w->done++;
		}
		(void)pthread_barrier_wait(w->turn);
	}
}

static double
cpu_us(const struct bench_kms *b)
{
	struct timespec own = { 0 }, kms = { 0 };

	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &own);
	(void)clock_gettime(b->kms0, &kms);
	return (double)(own.tv_sec + kms.tv_sec) * 1e6 +
	    (double)(own.tv_nsec + kms.tv_nsec) / 1e3;
}

/* One round of all the threads. */
static void
run_round(struct bench_rate *out, struct bench_kms *b, struct thread *t,
    unsigned n, pthread_barrier_t *turn)
{
	unsigned before = 0, after = 0;
	double began, cpu;

	for (unsigned i = 0; i < n; i++)
		before += t[i].w.done;
	(void)pthread_barrier_wait(turn);
	began = bench_now_us();
	cpu = cpu_us(b);
	(void)pthread_barrier_wait(turn);
	cpu = cpu_us(b) - cpu;
	began = bench_now_us() - began;
	for (unsigned i = 0; i < n; i++)
		after += t[i].w.done;
	out->per_second = (after - before) / (began / 1e6);
	out->cpu_us = cpu / (after > before ? after - before : 1);
}

static enum err
finish(struct bench_kms *b, const struct thread *t, unsigned n,
    struct refusal *why)
{
	enum err e = ERR_OK;

	for (unsigned i = 0; i < n; i++) {
		const struct worker *w = &t[i].w;

		if (w->conn != NULL)
			b->t.close(b->t.cookie, w->conn);
		if (w->request_len != 0) {
			b->request_len = w->request_len;
			b->reply_len = w->reply_len;
		}
		if (w->e != ERR_OK) {
			e = w->e;
			*why = w->why;
		}
	}
	return e;
}

static enum err
run_rounds(struct bench_kms *b, const struct work *work, unsigned n,
    const struct bench_rounds *rounds, struct refusal *why)
{
	struct thread *t = calloc(n, sizeof *t);
	pthread_barrier_t turn;
	struct bench_rate r;
	bool over = false;
	enum err e;

	assert(n > 0 && n <= MAX_THREADS);
	if (t == NULL)
		return ERR_NOMEM;
	if (pthread_barrier_init(&turn, NULL, n + 1) != 0)
		abort();
	for (unsigned i = 0; i < n; i++) {
		t[i].work = work;
		t[i].w.b = b;
		t[i].w.turn = &turn;
		t[i].w.over = &over;
		if (pthread_create(&t[i].id, NULL, run, &t[i]) != 0)
			abort();
	}
	while (rounds->next(rounds->cookie)) {
		run_round(&r, b, t, n, &turn);
		rounds->said(rounds->cookie, &r);
	}
	over = true;
	(void)pthread_barrier_wait(&turn);
	for (unsigned i = 0; i < n; i++)
		(void)pthread_join(t[i].id, NULL);
	e = finish(b, t, n, why);
	(void)pthread_barrier_destroy(&turn);
	free(t);
	return e;
}

/* ---- one round ---- */

struct one {
	bool begun;
	struct bench_rate *out;
};

static bool
one_next(void *cookie)
{
	struct one *o = cookie;
	bool first = !o->begun;

	o->begun = true;
	return first;
}

static void
one_said(void *cookie, const struct bench_rate *r)
{
	*((struct one *)cookie)->out = *r;
}

static enum err
run_all(struct bench_rate *out, struct bench_kms *b, const struct work *work,
    unsigned n, struct refusal *why)
{
	struct one o = { .out = out };
	const struct bench_rounds rounds = { one_next, one_said, &o };

	return run_rounds(b, work, n, &rounds, why);
}

/* ---- sessions ---- */

static enum err
dial(struct worker *w)
{
	const struct kms_transport *t = &w->b->t;

	return t->open(t->cookie, &w->conn, w->b->cvm->config.kms_url[0],
	    TIMEOUT_MS, &w->why);
}

static enum err
session(struct worker *w)
{
	enum err e = dial(w);

	if (e == ERR_OK)
		w->b->t.close(w->b->t.cookie, w->conn);
	w->conn = NULL;
	return e;
}

enum err
bench_kms_sessions(struct bench_rate *out, struct bench_kms *b,
    unsigned threads, struct refusal *why)
{
	/* The first fills the caches of both sides. */
	const struct work w = { session, session };

	return run_all(out, b, &w, threads, why);
}

/* ---- releases ---- */

/* Asks for the keys; `out` NULL takes the answer without verifying it. */
static enum err
ask(struct worker *w, struct app_release *out)
{
	Devproof__Kms__V1__GetAppKeys get =
	    DEVPROOF__KMS__V1__GET_APP_KEYS__INIT;
	KmsRequest rq = DEVPROOF__KMS__V1__REQUEST__INIT;
	struct buf text = { 0 }, in = { 0 };
	KmsReply *reply = NULL;
	enum err e;

	rq.id = w->done + 1;
	rq.body_case = DEVPROOF__KMS__V1__REQUEST__BODY_GET_APP_KEYS;
	rq.get_app_keys = &get;
	if ((e = msg_request_pack(&text, &rq)) != ERR_OK ||
	    (e = w->b->t.call(w->b->t.cookie, w->conn, &in, buf_view(&text),
		 TIMEOUT_MS, &w->why)) != ERR_OK ||
	    (e = msg_reply_parse(&reply, buf_view(&in))) != ERR_OK ||
	    (e = msg_reply_refusal(reply, &w->why)) != ERR_OK)
		goto done;
	w->request_len = text.len;
	w->reply_len = in.len;
	if (reply->body_case != DEVPROOF__KMS__V1__REPLY__BODY_APP_KEYS)
		e = ERR_MALFORMED;
	else if (out != NULL)
		e = release_verify(
		    out, reply->app_keys, &w->b->terms, NULL, &w->why);
done:
	msg_reply_free(reply);
	buf_wipe(&in);
	buf_fini(&text);
	return e;
}

static enum err
first_release(struct worker *w)
{
	struct app_release keys = { .epoch = 0 };
	enum err e = dial(w);

	if (e == ERR_OK)
		e = ask(w, &keys);
	release_wipe(&keys);
	return e;
}

static enum err
release(struct worker *w)
{
	return ask(w, NULL);
}

enum err
bench_kms_releases(struct bench_rate *out, struct bench_kms *b,
    unsigned threads, struct refusal *why)
{
	const struct work w = { first_release, release };

	return run_all(out, b, &w, threads, why);
}

enum err
bench_kms_release_rounds(struct bench_kms *b, unsigned threads,
    const struct bench_rounds *rounds, struct refusal *why)
{
	const struct work w = { first_release, release };

	return run_rounds(b, &w, threads, rounds, why);
}
