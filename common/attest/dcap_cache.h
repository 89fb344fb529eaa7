/* dcap_cache: what a verifier has verified already, by content.
 *
 * A container only: keys are SHA-256 over everything that the stored result
 * depends on, so an entry is either right or not found; whoever takes one
 * out compares its window with `now` each time (tdx-dcap.md 6).  Each kind
 * has a fixed number of places, and the one unused longest makes room.
 * Thread-safe; refusals are never stored. */
#ifndef COMMON_ATTEST_DCAP_CACHE_H
#define COMMON_ATTEST_DCAP_CACHE_H

#include <stdatomic.h>
#include <stdint.h>

#include "common/base/err.h"

enum dcap_cache_kind {
	DCAP_CACHE_PLATFORM, /* which collateral a PCK chain asks for */
	DCAP_CACHE_BUNDLE, /* collateral under a root */
	DCAP_CACHE_PCK, /* a PCK chain under a bundle */
	DCAP_CACHE_QE, /* a QE report under a PCK chain */
	DCAP_CACHE_KINDS
};

/* The head of whatever can be stored; immutable once it is shared. */
struct dcap_obj {
	atomic_uint refs;
	void (*destroy)(struct dcap_obj *o); /* frees the whole object */
};

void dcap_obj_init(struct dcap_obj *o, void (*destroy)(struct dcap_obj *));
struct dcap_obj *dcap_obj_ref(struct dcap_obj *o);
void dcap_obj_unref(struct dcap_obj *o); /* NULL is fine */

struct dcap_cache; /* opaque */

enum err dcap_cache_new(struct dcap_cache **out);
void dcap_cache_free(struct dcap_cache *k);

/* A reference that the caller unrefs, or NULL. */
struct dcap_obj *dcap_cache_get(struct dcap_cache *k, enum dcap_cache_kind kind,
    const uint8_t key[static 32]);
/* Takes a reference of its own; replaces what had the same key. */
void dcap_cache_put(struct dcap_cache *k, enum dcap_cache_kind kind,
    const uint8_t key[static 32], struct dcap_obj *o);

struct dcap_cache_stats {
	uint64_t hits[DCAP_CACHE_KINDS];
	uint64_t misses[DCAP_CACHE_KINDS];
	unsigned held[DCAP_CACHE_KINDS];
};
void dcap_cache_stats(struct dcap_cache_stats *out, struct dcap_cache *k);

#endif
