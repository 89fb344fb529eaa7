/* The cases by themselves, each on a stack of its own; then all memory that
 * can be read is searched for what was secret, and so was each heap block
 * when it was freed or moved: see ctime.h. */
#include <dlfcn.h>
#include <execinfo.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include "common/base/json.h"
#include "common/base/secret.h"
#include "common/crypto/k256.h"
#include "tests/ctime/ctime.h"

#define STACK_LEN (1024u * 1024)
/* Eight bytes of a secret, forwards (as it is) or backwards (as the little-
 * endian words of big numbers are): enough to be no accident, and few enough
 * to find what a register left on the stack. */
#define WINDOW 8u
#define WINDOWS_MAX 65536u
#define SHOWN_MAX 12u

extern void __libc_free(void *p);
extern void *__libc_malloc(size_t len);

/* Masked, so that the list itself is not found. */
static uint64_t mask, window[WINDOWS_MAX];
static uint16_t origin[WINDOWS_MAX]; /* which of the case's secrets */
static unsigned n_windows, n_secrets;
static uint8_t filter[65536];
static int watching, wrap_random, failed;
static unsigned hits;
static uint8_t *stack;
static const uint8_t *heap; /* where it begins; there is one */
static const char *case_name;

void __real_secret_wipe(void *p, size_t len);

/* ---- the list ---- */

static void
add(const uint8_t *p, int backwards)
{
	uint8_t b[WINDOW];
	uint64_t v;

	for (unsigned i = 0; i < WINDOW; i++)
		b[i] = p[backwards ? WINDOW - 1 - i : i];
	memcpy(&v, b, sizeof v);
	__real_secret_wipe(b, sizeof b);
	v ^= mask;
	if (n_windows == WINDOWS_MAX)
		abort();
	origin[n_windows] = (uint16_t)n_secrets;
	window[n_windows++] = v;
	filter[v & 0xffff] = 1;
}

/* HMAC begins with its key under these two masks (RFC 2104, ipad and opad). */
static const uint8_t under[] = { 0, 0x36, 0x5c };

/* Whether `masked` is of these eight bytes, in any of its forms. */
static int
is_window(const uint8_t *p, uint64_t masked)
{
	uint64_t v, all;

	for (unsigned m = 0; m < sizeof under; m++) {
		memcpy(&v, p, sizeof v);
		memset(&all, under[m], sizeof all);
		v ^= all;
		if (v == (masked ^ mask) ||
		    __builtin_bswap64(v) == (masked ^ mask))
			return 1;
	}
	return 0;
}

static void
add_all(const uint8_t *p, size_t len)
{
	uint8_t b[WINDOW];

	n_secrets++;
	for (size_t i = 0; i + WINDOW <= len; i++)
		for (unsigned m = 0; m < sizeof under; m++) {
			for (unsigned k = 0; k < WINDOW; k++)
				b[k] = p[i + k] ^ under[m];
			add(b, 0);
			add(b, 1);
		}
	__real_secret_wipe(b, sizeof b);
}

/* The number of the secret that has it, from 1. */
static unsigned
known(uint64_t masked)
{
	if (!filter[masked & 0xffff])
		return 0;
	for (unsigned i = 0; i < n_windows; i++)
		if (window[i] == masked)
			return origin[i];
	return 0;
}

static unsigned
secret_at(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof v);
	return known(v ^ mask);
}

/* Where in (p, len) the first copy begins; len: nowhere. */
static size_t
find(const uint8_t *p, size_t len)
{
	uint64_t v;

	for (size_t i = 0; i + WINDOW <= len; i++) {
		memcpy(&v, p + i, sizeof v);
		if (known(v ^ mask) != 0)
			return i;
	}
	return len;
}

static size_t
length_of_hit(const uint8_t *p, size_t len)
{
	uint64_t v;
	size_t n = WINDOW;

	for (size_t i = 1; i + WINDOW <= len; i++) {
		memcpy(&v, p + i, sizeof v);
		if (known(v ^ mask) == 0)
			break;
		n++;
	}
	return n;
}

/* ---- the heap: what is given back ---- */

static void
look_at(void *p, const char *how)
{
	void *frame[12];
	size_t len = malloc_usable_size(p), at;
	int n;

	if ((at = find(p, len)) == len)
		return;
	watching = 0; /* what follows allocates */
	hits++;
	if (hits <= SHOWN_MAX) {
		printf("# %s: a block of %zu bytes, %s, has %zu bytes of its "
		       "secret %u at %zu\n",
		    case_name, len, how,
		    length_of_hit((uint8_t *)p + at, len - at),
		    secret_at((uint8_t *)p + at), at);
		(void)fflush(stdout);
		n = backtrace(frame, 12);
		for (int i = 2; i < n; i++) {
			Dl_info d = { 0 };

			if (dladdr(frame[i], &d) != 0)
				printf("#     %s+%#lx %s\n", d.dli_fname,
				    (unsigned long)((char *)frame[i] -
					(char *)d.dli_fbase),
				    d.dli_sname != NULL ? d.dli_sname : "");
		}
	}
	watching = 1;
}

void
free(void *p)
{
	if (p != NULL && watching)
		look_at(p, "freed");
	__libc_free(p);
}

/* Always moves, as it may. */
void *
realloc(void *p, size_t len)
{
	size_t have = p != NULL ? malloc_usable_size(p) : 0;
	void *q = __libc_malloc(len);

	if (q == NULL || p == NULL)
		return q;
	memcpy(q, p, have < len ? have : len);
	if (watching)
		look_at(p, "moved");
	__libc_free(p);
	return q;
}

/* ---- all that can be read ---- */

static void
look_into(const uint8_t *p, const uint8_t *end, const char *name)
{
	while (p < end) {
		size_t at = find(p, (size_t)(end - p)), n;

		if (at == (size_t)(end - p))
			break;
		p += at;
		n = length_of_hit(p, (size_t)(end - p));
		if (hits++ < SHOWN_MAX) {
			printf("# %s: %zu bytes of its secret %u ", case_name,
			    n, secret_at(p));
			if (p >= stack && p < stack + STACK_LEN)
				printf("on the stack, %zu below its top %s\n",
				    (size_t)(stack + STACK_LEN - p), name);
			else
				printf("at %p %s\n", (const void *)p, name);
		}
		p += n;
	}
}

/* All that can be written to, but for the main thread's stack, which is this
 * function's and not the case's. */
static void
look_everywhere(void)
{
	FILE *f = fopen("/proc/self/maps", "r");
	char line[512], perm[5], name[256];
	unsigned long from, to;

	if (f == NULL)
		abort();
	while (fgets(line, sizeof line, f) != NULL) {
		name[0] = '\0';
		if (sscanf(line, "%lx-%lx %4s %*x %*s %*u %255s", &from, &to,
			perm, name) >= 3 &&
		    strncmp(perm, "rw", 2) == 0 && strcmp(name, "[stack]") != 0)
			look_into(
			    (const uint8_t *)from, (const uint8_t *)to, name);
	}
	(void)fclose(f);
}

/* ---- what the cases call ---- */

void __real_secret_random(void *out, size_t len);
void __wrap_secret_random(void *out, size_t len);

void
__wrap_secret_random(void *out, size_t len)
{
	__real_secret_random(out, len);
	if (wrap_random)
		add_all(out, len);
}

/* ---- the wipes themselves ---- */

unsigned ct_wipes __attribute__((visibility("hidden")));

void __wrap_secret_wipe(void *p, size_t len);
void __real_secret_wipe_stack(void);
void __wrap_secret_wipe_stack(void);

/* Blocks are looked at when they are freed; how many there are is the business
 * of libraries. */
static int
on_heap(const void *p)
{
	const uint8_t *end = sbrk(0);

	return (const uint8_t *)p >= heap && (const uint8_t *)p < end;
}

void
__wrap_secret_wipe(void *p, size_t len)
{
	ct_wipes += !on_heap(p);
	__real_secret_wipe(p, len);
}

#ifdef __x86_64__
/* Without a frame: the real one clears what is right below its caller's. */
__attribute__((naked)) void
__wrap_secret_wipe_stack(void)
{
	__asm__("incl ct_wipes(%rip)\n\t"
		"jmp __real_secret_wipe_stack");
}
#else
void
__wrap_secret_wipe_stack(void)
{
	ct_wipes++;
	__real_secret_wipe_stack();
}
#endif

void
ct_random(int on)
{
	wrap_random = on;
}

void
ct_secret(void *p, size_t len)
{
	add_all(p, len);
}

void
ct_draw(void *p, size_t len)
{
	__real_secret_random(p, len);
	add_all(p, len);
}

void(ct_result)(void *p, size_t len)
{
	add_all(p, len);
}

/* No more a secret, whatever it was before. */
void(ct_public)(const void *p, size_t len)
{
	const uint8_t *b = p;
	unsigned kept = 0;

	for (unsigned k = 0; k < n_windows; k++) {
		int drop = 0;

		for (size_t i = 0; !drop && i + WINDOW <= len; i++)
			drop = is_window(b + i, window[k]);
		if (drop)
			continue;
		origin[kept] = origin[k];
		window[kept++] = window[k];
	}
	n_windows = kept;
}

void(ct_gone)(void *p, size_t len)
{
	__real_secret_wipe(p, len);
}

void
ct_need(int truth, const char *what, int line)
{
	if (truth)
		return;
	printf("# line %d: not %s\n", line, what);
	failed = 1;
}

/* ---- what the last call has left ---- */

int ct_traps;
#ifdef __x86_64__
static uint8_t trap_stack[64 * 1024];

static void
on_trap(int sig, siginfo_t *si, void *context)
{
	const greg_t *reg = ((const ucontext_t *)context)->uc_mcontext.gregs;
	const void *p = (const void *)(uintptr_t)reg[REG_RDI];
	size_t len = (size_t)reg[REG_RSI];
	int was = watching;

	(void)sig;
	(void)si;
	watching = 0;
	if (reg[REG_RAX] == CT_RESULT)
		add_all(p, len);
	else if (reg[REG_RAX] == CT_PUBLIC_NOW)
		(ct_public)(p, len);
	look_into(stack, (const void *)(uintptr_t)reg[REG_RSP],
	    "when its call came back");
	watching = was;
}

/* Of this thread. */
static void
set_traps(void)
{
	const struct sigaction on = { .sa_sigaction = on_trap,
		.sa_flags = SA_SIGINFO | SA_ONSTACK };
	const stack_t own = { .ss_sp = trap_stack,
		.ss_size = sizeof trap_stack };

	ct_traps =
	    sigaltstack(&own, NULL) == 0 && sigaction(SIGTRAP, &on, NULL) == 0;
	if (!ct_traps)
		abort();
}

/* The kernel wrote what registers held. */
static void
end_traps(void)
{
	ct_traps = 0;
	memset(trap_stack, 0, sizeof trap_stack);
}
#else
static void
set_traps(void)
{
}

static void
end_traps(void)
{
}
#endif

/* ---- ---- */

static void *
on_thread(void *cookie)
{
	const struct ct_case *c = cookie;

	set_traps();
	watching = 1;
	c->run();
	watching = 0;
	end_traps();
	return NULL;
}

/* How much of the stack was used: what is not as it was painted. */
static size_t
depth(void)
{
	size_t i = 0;

	while (i < STACK_LEN && stack[i] == 0xa5)
		i++;
	return STACK_LEN - i;
}

static int
run(const struct ct_case *c)
{
	int planted = (c->planted & (CT_PLANTED_STACK | CT_PLANTED_HEAP)) != 0;
	pthread_attr_t attr;
	pthread_t t;
	int ok;

	n_windows = n_secrets = 0;
	memset(filter, 0, sizeof filter);
	memset(stack, 0xa5, STACK_LEN);
	failed = wrap_random = 0;
	hits = ct_wipes = 0;
	case_name = c->name;
	if (pthread_attr_init(&attr) != 0 ||
	    pthread_attr_setstack(&attr, stack, STACK_LEN) != 0 ||
	    pthread_create(&t, &attr, on_thread, (void *)(uintptr_t)c) != 0)
		abort();
	(void)pthread_join(t, NULL);
	(void)pthread_attr_destroy(&attr);
	look_everywhere();
	ok = !failed && (planted ? hits > 0 : hits == 0);
	printf("%sok - %s%s\n", ok ? "" : "not ", c->name,
	    planted        ? ": planted, and found"
		: hits > 0 ? ": copies of secrets stay behind"
			   : "");
	/* How many is in the file `wipes`, which run.sh compares. */
	printf("# wiped %u times: %s\n", ct_wipes, c->name);
	if (getenv("CTIME_DEPTH") != NULL)
		printf("# %s used %zu bytes of stack\n", c->name, depth());
	(void)fflush(stdout);
	return ok;
}

/* Before all others, whichever are asked for: the process's one context of
 * libsecp256k1 is made from a seed. */
static void
once(void)
{
	struct k256_secret s;

	ct_draw(&s, sizeof s);
	ct_random(1);
	NEED(k256_secret_valid(&s));
	ct_random(0);
	k256_secret_wipe(&s);
}

/* usage: wiped [WORD]: the cases whose names have it. */
int
main(int argc, char **argv)
{
	const struct ct_cases *all[] = { &ct_planted, &ct_base, &ct_crypto,
		&ct_kms, &ct_node, &ct_agent };
	void *warm[2];
	static const struct ct_case first = { "what is made once", once, 0 };
	int ok;

	if (mallopt(M_ARENA_MAX, 1) != 1)
		return 2;
	heap = sbrk(0);
	heap -= mallinfo2().arena;
	json_wiping();
	if (secret_process_init() != ERR_OK)
		return 2;
	__real_secret_random(&mask, sizeof mask);
	(void)backtrace(warm, 2); /* loads its library */
	stack = mmap(NULL, STACK_LEN, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (stack == MAP_FAILED)
		return 2;
	ok = run(&first);
	for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
		for (size_t k = 0; k < all[i]->n; k++)
			if (argc < 2 ||
			    strstr(all[i]->item[k].name, argv[1]) != NULL)
				ok &= run(&all[i]->item[k]);
	return ok ? 0 : 1;
}
