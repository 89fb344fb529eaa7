/* bench_kms: sessions and releases, measured from an app CVM's side
 * (tests/lib/app_cvm.h). */
#ifndef TESTS_BENCH_BENCH_KMS_H
#define TESTS_BENCH_BENCH_KMS_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/reason.h"

struct bench_kms; /* opaque */

/* bench_kms_boot boots a CVM of the app "bench" of the cluster in `dir`. */
enum err bench_kms_boot(
    struct bench_kms **out, const char *dir, struct refusal *why);
void bench_kms_free(struct bench_kms *b); /* NULL is fine */

/* How often it was done, and what one cost: processor time of this process
 * and of kms0 together, which other load on the machine changes little. */
struct bench_rate {
	double per_second, cpu_us;
};

/* One session after another on each of `threads` threads, for some seconds;
 * a session counts when both sides are attested. */
enum err bench_kms_sessions(struct bench_rate *out, struct bench_kms *b,
    unsigned threads, struct refusal *why);

/* One GetAppKeys after another, each thread with an open session whose
 * first release was verified in full. */
enum err bench_kms_releases(struct bench_rate *out, struct bench_kms *b,
    unsigned threads, struct refusal *why);

/* The same in rounds of some seconds, on the same sessions: one for each true
 * that `next` says, and the sessions are open before it is asked. */
struct bench_rounds {
	bool (*next)(void *cookie);
	void (*said)(void *cookie, const struct bench_rate *r);
	void *cookie;
};
enum err bench_kms_release_rounds(struct bench_kms *b, unsigned threads,
    const struct bench_rounds *rounds, struct refusal *why);

/* Of the last release: the packed request and its reply. */
void bench_kms_lengths(
    const struct bench_kms *b, size_t *request_len, size_t *reply_len);

/* Of this side's verifier: QE reports checked so far, not taken from the
 * cache. */
unsigned bench_kms_qe_checks(struct bench_kms *b);

#endif
