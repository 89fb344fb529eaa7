/* memfail: was it memory that there was not?
 *
 * Most calls of OpenSSL say no more than that they failed, so a signature that
 * could not be checked looks like a wrong one, and whoever showed it is turned
 * away for good.  jansson's parser even goes on when the text of a token could
 * not grow, and returns it without a character.  Both libraries' allocations
 * come through here, and libcurl's (fetch.c); each thread counts those of its
 * own that failed, and those of buf.c and of a few deep inside a verification:
 *
 *	uint64_t before = memfail_count();
 *	... e = ERR_AUTH; ...
 *	return memfail_err(before, e);
 *
 * A program that has this file linked in has it from its start on. */
#ifndef COMMON_BASE_MEMFAIL_H
#define COMMON_BASE_MEMFAIL_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"

/* How often such allocations of this thread have failed, ever. */
uint64_t memfail_count(void);
/* memfail_note counts one; returns ERR_NOMEM. */
enum err memfail_note(void);

/* ERR_NOMEM for an error behind which one has failed since `before`. */
enum err memfail_err(uint64_t before, enum err e);

/* The C library's, counted: for libraries that take them. */
void *memfail_malloc(size_t len);
void *memfail_calloc(size_t n, size_t len);
void *memfail_realloc(void *p, size_t len);
char *memfail_strdup(const char *s);

#endif
