#include <stdlib.h>
#include <string.h>

#include <jansson.h>
#include <openssl/crypto.h>

#include "common/base/memfail.h"

static _Thread_local uint64_t failed;

static void *
got(void *p)
{
	failed += p == NULL;
	return p;
}

void *
memfail_malloc(size_t len)
{
	return got(malloc(len));
}

void *
memfail_calloc(size_t n, size_t len)
{
	return got(calloc(n, len));
}

void *
memfail_realloc(void *p, size_t len)
{
	return got(realloc(p, len));
}

char *
memfail_strdup(const char *s)
{
	return got(strdup(s));
}

static void *
ssl_malloc(size_t len, const char *file, int line)
{
	(void)file, (void)line;
	return got(malloc(len));
}

static void *
ssl_realloc(void *p, size_t len, const char *file, int line)
{
	(void)file, (void)line;
	return got(realloc(p, len));
}

static void
ssl_free(void *p, const char *file, int line)
{
	(void)file, (void)line;
	free(p);
}

/* OpenSSL takes it before its first allocation only.  If something else was
 * first, errors are told as they are: nothing but their names depends on it. */
__attribute__((constructor(101))) static void
take(void)
{
	(void)CRYPTO_set_mem_functions(ssl_malloc, ssl_realloc, ssl_free);
	json_set_alloc_funcs(memfail_malloc, free);
}

enum err
memfail_note(void)
{
	failed++;
	return ERR_NOMEM;
}

uint64_t
memfail_count(void)
{
	return failed;
}

enum err
memfail_err(uint64_t before, enum err e)
{
	return e != ERR_OK && failed != before ? ERR_NOMEM : e;
}
