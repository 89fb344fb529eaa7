#include <execinfo.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <curl/curl.h>
#include <jansson.h>
#include <openssl/crypto.h>
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
	void *p; /* NULL: free place; GONE: was one */
	size_t len;
	unsigned mark;
	struct trace from;
};
static char gone;
#define GONE ((void *)&gone)

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct held held[HELD_MAX]; /* open addressing, under `lock` */
static unsigned mark; /* 0: not counting */
static unsigned n_held; /* of this mark */
static unsigned n_places; /* used or gone */

static atomic_bool armed;
static enum failmalloc_scope scope;
static enum failmalloc_mode mode;
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

static bool
fails(void)
{
	unsigned n;

	if (!atomic_load(&armed) || exempt > 0 || inside ||
	    (scope == FAILMALLOC_THREAD &&
		!pthread_equal(owner, pthread_self())))
		return false;
	n = atomic_fetch_add(&count, 1) + 1;
	if (target == 0 || n < target || (mode == FAILMALLOC_ONE && n > target))
		return false;
	if (n == target)
		trace_take(&where);
	atomic_store(&hit, true);
	return true;
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

static struct held *
find(void *p, bool place)
{
	size_t i = ((uintptr_t)p >> 4) * 0x9e3779b97f4a7c15u >> 20;
	struct held *h;

	for (;; i++) {
		h = &held[i % HELD_MAX];
		if (h->p == p || h->p == NULL)
			break;
		if (place && h->p == GONE)
			break;
	}
	return h->p == p || place ? h : NULL;
}

static void *
note(void *p, size_t len)
{
	struct held *h;
	struct trace t;

	if (p == NULL || mark == 0 || inside)
		return p;
	trace_take(&t);
	pthread_mutex_lock(&lock);
	if (n_places > HELD_MAX * 3 / 4)
		abort(); /* a test that allocates too much for this table */
	h = find(p, true);
	n_places += h->p == NULL;
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

void
failmalloc_mark(void)
{
	pthread_mutex_lock(&lock);
	mark++;
	memset(held, 0, sizeof held);
	n_held = n_places = 0;
	pthread_mutex_unlock(&lock);
}

unsigned
failmalloc_held(void)
{
	return n_held;
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
		if (held[i].p != NULL && held[i].p != GONE) {
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
ssl_malloc(size_t len, const char *file, int line)
{
	(void)file, (void)line;
	return len == 0 ? NULL : __wrap_malloc(len);
}

static void *
ssl_realloc(void *p, size_t len, const char *file, int line)
{
	(void)file, (void)line;
	if (len == 0) {
		__wrap_free(p);
		return NULL;
	}
	return __wrap_realloc(p, len);
}

static void
ssl_free(void *p, const char *file, int line)
{
	(void)file, (void)line;
	__wrap_free(p);
}

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

__attribute__((constructor(101))) static void
hooks(void)
{
	static struct raft_heap heap = { NULL, raft_malloc_hook, raft_free_hook,
		raft_calloc_hook, raft_realloc_hook, raft_aligned_hook,
		raft_aligned_free_hook };
	void *warm[2];

	(void)backtrace(warm, 2);
	if (CRYPTO_set_mem_functions(ssl_malloc, ssl_realloc, ssl_free) != 1 ||
	    curl_global_init_mem(CURL_GLOBAL_DEFAULT, __wrap_malloc,
		__wrap_free, __wrap_realloc, __wrap_strdup,
		__wrap_calloc) != CURLE_OK ||
	    uv_replace_allocator(__wrap_malloc, __wrap_realloc, __wrap_calloc,
		__wrap_free) != 0) {
		fputs("failmalloc: a hook is refused\n", stderr);
		abort();
	}
	json_set_alloc_funcs(__wrap_malloc, __wrap_free);
	raft_heap_set(&heap);
#ifndef __SANITIZE_ADDRESS__
	(void)signal(SIGSEGV, died);
#endif
	(void)signal(SIGABRT, died);
}
