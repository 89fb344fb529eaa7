#include <execinfo.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/evp.h>
#include <raft.h>
#include <sodium.h>
#include <uv.h>

#include "tests/lib/nomem/failmalloc.h"

#define HELD_MAX (1u << 17) /* blocks that are known at a time */
#define DEPTH 14

void *__real_malloc(size_t len);
void *__real_calloc(size_t n, size_t len);
void *__real_realloc(void *p, size_t len);
void __real_free(void *p);
char *__real_strdup(const char *s);
char *__real_strndup(const char *s, size_t n);
void *__real_sodium_malloc(size_t len);
void __real_sodium_free(void *p);

void *__wrap_malloc(size_t len);
void *__wrap_calloc(size_t n, size_t len);
void *__wrap_realloc(void *p, size_t len);
void __wrap_free(void *p);
char *__wrap_strdup(const char *s);
char *__wrap_strndup(const char *s, size_t n);
void *__wrap_sodium_malloc(size_t len);
void __wrap_sodium_free(void *p);

struct trace {
	void *at[DEPTH];
	int n;
};

struct held {
	void *p; /* NULL: free place; GONE: was one, of this mark */
	size_t len;
	unsigned mark;
	struct trace from;
};
static char gone;
#define GONE ((void *)&gone)

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct held held[HELD_MAX]; /* open addressing, under `lock` */
static unsigned mark; /* 0: not counting */
static bool tracing;
static enum failmalloc_scope marking;
static pthread_t marker;
static unsigned n_held; /* of this mark */
static unsigned n_places; /* used or gone */

/* Of those that were counted (failmalloc_next): whether the n-th came from
 * where none before it did. */
#define KNOWN_MAX (1u << 16)
static bool is_new[KNOWN_MAX];
static uint64_t seen[2 * KNOWN_MAX]; /* open addressing */
static atomic_uint n_known;

static atomic_bool armed;
static enum failmalloc_scope scope;
static enum failmalloc_mode mode;
static enum failmalloc_places learning;
static unsigned target;
static pthread_t owner;
static atomic_uint count;
static atomic_bool hit;
static struct trace where;

static _Thread_local unsigned exempt;
static _Thread_local bool inside; /* backtrace allocates the first time */

/* ---- which one fails ---- */

static void
trace_take(struct trace *t)
{
	inside = true;
	t->n = backtrace(t->at, DEPTH);
	inside = false;
}

/* Of this program, not of a library. */
extern const char __executable_start[], etext[];

static bool
is_ours(const void *at)
{
	return (const char *)at >= __executable_start &&
	    (const char *)at < etext;
}

/* Of the stack that asks, by the hash of its return addresses. */
static bool
is_new_place(void)
{
	struct trace t;
	uint64_t h = 14695981039346656037u; /* FNV-1a */

	trace_take(&t);
	for (int i = 0; i < t.n; i++)
		if (learning == FAILMALLOC_EVERY || is_ours(t.at[i]) ||
		    (i + 1 < t.n && is_ours(t.at[i + 1])))
			h = (h ^ (uintptr_t)t.at[i]) * 1099511628211u;
	h |= 1;
	for (size_t i = h >> 20;; i++) {
		uint64_t *s = &seen[i % (2 * KNOWN_MAX)];

		if (*s == h)
			return false;
		if (*s != 0)
			continue;
		*s = h;
		return true;
	}
}

static void
learn(unsigned n)
{
	if (n > KNOWN_MAX)
		return;
	pthread_mutex_lock(&lock);
	is_new[n - 1] = is_new_place();
	pthread_mutex_unlock(&lock);
	atomic_store(&n_known, n);
}

static bool
fails(void)
{
	unsigned n;

	if (!atomic_load(&armed) || exempt > 0 || inside ||
	    (scope == FAILMALLOC_THREAD &&
		!pthread_equal(owner, pthread_self())))
		return false;
	n = atomic_fetch_add(&count, 1) + 1;
	if (target == 0 && learning != FAILMALLOC_NONE)
		learn(n);
	if (target == 0 || n < target || (mode == FAILMALLOC_ONE && n > target))
		return false;
	if (n == target)
		trace_take(&where);
	atomic_store(&hit, true);
	return true;
}

void
failmalloc_learn(enum failmalloc_places places)
{
	learning = places;
	if (places == FAILMALLOC_NONE)
		return;
	memset(seen, 0, sizeof seen);
	atomic_store(&n_known, 0);
}

unsigned
failmalloc_next(unsigned n)
{
	unsigned known = atomic_load(&n_known);

	while (n <= known && !is_new[n - 1])
		n++;
	return n;
}

void
failmalloc_arm(enum failmalloc_scope s, enum failmalloc_mode m, unsigned n)
{
	scope = s;
	mode = m;
	target = n;
	owner = pthread_self();
	where.n = 0;
	atomic_store(&count, 0);
	atomic_store(&hit, false);
	atomic_store(&armed, true);
}

unsigned
failmalloc_disarm(void)
{
	atomic_store(&armed, false);
	return atomic_load(&count);
}

bool
failmalloc_hit(void)
{
	return atomic_load(&hit);
}

void
failmalloc_exempt(bool on)
{
	exempt += on ? 1 : -1u;
}

/* ---- what is held ---- */

/* Places of before the mark are free. */
static struct held *
find(void *p, bool place)
{
	size_t i = ((uintptr_t)p >> 4) * 0x9e3779b97f4a7c15u >> 20;
	struct held *h;

	for (;; i++) {
		h = &held[i % HELD_MAX];
		if (h->p == NULL || h->mark != mark)
			return place ? h : NULL;
		if (h->p == p || (place && h->p == GONE))
			return h;
	}
}

static bool
is_held(const struct held *h)
{
	return h->p != NULL && h->p != GONE && h->mark == mark;
}

/* Places that were left behind are free again.  A sanitizer never gives the
 * same address twice in a row, so there are many. */
static void
tidy_places(void)
{
	struct held *keep = __real_malloc(HELD_MAX / 2 * sizeof *keep);
	size_t n = 0;

	for (size_t i = 0; i < HELD_MAX; i++) {
		if (is_held(&held[i])) {
			if (keep == NULL || n == HELD_MAX / 2)
				abort(); /* more than this table is for */
			keep[n++] = held[i];
		}
		held[i].p = NULL;
	}
	for (size_t i = 0; i < n; i++)
		*find(keep[i].p, true) = keep[i];
	n_places = (unsigned)n;
	__real_free(keep);
}

static void learn_fetch(void);
static bool fetching;

static void *
note(void *p, size_t len)
{
	struct trace t = { .n = 0 };
	struct held *h;

	if (fetching && !inside)
		learn_fetch();
	if (p == NULL || mark == 0 || inside ||
	    (marking == FAILMALLOC_THREAD &&
		!pthread_equal(marker, pthread_self())))
		return p;
	if (tracing)
		trace_take(&t);
	pthread_mutex_lock(&lock);
	if (n_places > HELD_MAX * 3 / 4)
		tidy_places();
	h = find(p, true);
	n_places += h->p == NULL || h->mark != mark;
	*h = (struct held){ .p = p, .len = len, .mark = mark, .from = t };
	n_held++;
	pthread_mutex_unlock(&lock);
	return p;
}

static void
forget(void *p)
{
	struct held *h;

	if (p == NULL || mark == 0 || inside)
		return;
	pthread_mutex_lock(&lock);
	if ((h = find(p, false)) != NULL) {
		h->p = GONE;
		n_held--;
	}
	pthread_mutex_unlock(&lock);
}

/* What OpenSSL fetches from its providers it keeps, or loses when that fails
 * half-way: it is no object of ours that nobody freed.  Its own calls fetch
 * by a function without a name, which is known by the addresses that are seen
 * in the first fetch of this process. */
#define FETCH_MAX 64
static void *fetch_at[FETCH_MAX];
static unsigned n_fetch_at;

static bool
is_fetched(const struct trace *t)
{
	for (int i = 0; i < t->n; i++)
		for (unsigned k = 0; k < n_fetch_at; k++)
			if (fetch_at[k] == t->at[i])
				return true;
	return false;
}

static void
add_fetch(void *at)
{
	for (unsigned k = 0; k < n_fetch_at; k++)
		if (fetch_at[k] == at)
			return;
	if (n_fetch_at < FETCH_MAX && !is_ours(at))
		fetch_at[n_fetch_at++] = at;
}

/* The two frames above the call with a name, which is a short one. */
static void
learn_fetch(void)
{
	uintptr_t f = (uintptr_t)EVP_SIGNATURE_fetch;
	struct trace t;

	trace_take(&t);
	for (int i = 2; i < t.n; i++)
		if ((uintptr_t)t.at[i] > f && (uintptr_t)t.at[i] < f + 0x60) {
			add_fetch(t.at[i - 1]);
			add_fetch(t.at[i - 2]);
		}
}

static void
fetch_once(void)
{
	fetching = true;
	EVP_SIGNATURE_free(EVP_SIGNATURE_fetch(NULL, "ECDSA", NULL));
	fetching = false;
}

void
failmalloc_mark(enum failmalloc_scope whose, bool trace)
{
	pthread_mutex_lock(&lock);
	mark++;
	tracing = trace;
	marking = whose;
	marker = pthread_self();
	n_held = n_places = 0;
	pthread_mutex_unlock(&lock);
}

unsigned
failmalloc_held(void)
{
	unsigned n = 0;

	pthread_mutex_lock(&lock);
	for (unsigned i = 0; n_held > 0 && i < HELD_MAX; i++) {
		if (!is_held(&held[i]))
			continue;
		if (is_fetched(&held[i].from)) {
			held[i].p = GONE;
			n_held--;
		} else {
			n++;
		}
	}
	pthread_mutex_unlock(&lock);
	return n;
}

static void
trace_say(const struct trace *t)
{
	backtrace_symbols_fd(t->at, t->n, STDERR_FILENO);
}

void
failmalloc_say(const char *what, unsigned max)
{
	exempt++;
	fprintf(stderr, "%s: allocation %u of %u failed%s\n", what, target,
	    atomic_load(&count), where.n > 0 ? ", at" : "? none did");
	trace_say(&where);
	for (unsigned i = 0; i < HELD_MAX && max > 0; i++)
		if (is_held(&held[i])) {
			fprintf(stderr, "%s: %zu bytes are held, from\n", what,
			    held[i].len);
			trace_say(&held[i].from);
			max--;
		}
	exempt--;
}

/* ---- our own code ---- */

void *
__wrap_malloc(size_t len)
{
	return fails() ? NULL : note(__real_malloc(len), len);
}

void *
__wrap_calloc(size_t n, size_t len)
{
	return fails() ? NULL : note(__real_calloc(n, len), n * len);
}

void *
__wrap_realloc(void *p, size_t len)
{
	void *q;

	if (fails())
		return NULL;
	/* Forgotten first: another thread may get the address. */
	forget(p);
	if ((q = __real_realloc(p, len)) == NULL && len > 0)
		abort();
	return note(q, len);
}

void
__wrap_free(void *p)
{
	forget(p);
	__real_free(p);
}

char *
__wrap_strdup(const char *s)
{
	return fails() ? NULL : note(__real_strdup(s), strlen(s) + 1);
}

char *
__wrap_strndup(const char *s, size_t n)
{
	return fails() ? NULL : note(__real_strndup(s, n), n);
}

void *
__wrap_sodium_malloc(size_t len)
{
	return fails() ? NULL : note(__real_sodium_malloc(len), len);
}

void
__wrap_sodium_free(void *p)
{
	forget(p);
	__real_sodium_free(p);
}

/* ---- libraries that ask us ---- */

static void *
raft_malloc_hook(void *data, size_t len)
{
	(void)data;
	return __wrap_malloc(len);
}

static void
raft_free_hook(void *data, void *p)
{
	(void)data;
	__wrap_free(p);
}

static void *
raft_calloc_hook(void *data, size_t n, size_t len)
{
	(void)data;
	return __wrap_calloc(n, len);
}

static void *
raft_realloc_hook(void *data, void *p, size_t len)
{
	(void)data;
	return __wrap_realloc(p, len);
}

static void *
raft_aligned_hook(void *data, size_t align, size_t len)
{
	(void)data;
	return fails() ? NULL : aligned_alloc(align, len);
}

static void
raft_aligned_free_hook(void *data, size_t align, void *p)
{
	(void)data, (void)align;
	__wrap_free(p);
}

/* Which allocation it was, when the process dies of it. */
static void
died(int sig)
{
	failmalloc_say("failmalloc: a crash", 0);
	(void)signal(sig, SIG_DFL);
	(void)raise(sig);
}

__attribute__((constructor(102))) static void
hooks(void)
{
	static struct raft_heap heap = { NULL, raft_malloc_hook, raft_free_hook,
		raft_calloc_hook, raft_realloc_hook, raft_aligned_hook,
		raft_aligned_free_hook };
	void *warm[2];

	(void)backtrace(warm, 2);
	fetch_once();
	/* OpenSSL's, jansson's and libcurl's come through
	 * common/base/memfail.c. */
	if (uv_replace_allocator(__wrap_malloc, __wrap_realloc, __wrap_calloc,
		__wrap_free) != 0) {
		fputs("failmalloc: a hook is refused\n", stderr);
		abort();
	}
	raft_heap_set(&heap);
#ifndef __SANITIZE_ADDRESS__
	(void)signal(SIGSEGV, died);
#endif
	(void)signal(SIGABRT, died);
}
