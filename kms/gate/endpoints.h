/* endpoints: the chain endpoints of one view, and asking them in parallel.
 *
 * Thread-safe.  An endpoint that does not answer is left out of the next
 * rounds for a while, as long as the others are enough: one silent
 * endpoint must not add its timeout to every decision.  Which endpoints
 * are asked never changes how many must agree. */
#ifndef KMS_GATE_ENDPOINTS_H
#define KMS_GATE_ENDPOINTS_H

#include <stdint.h>

#include "common/base/limits.h"
#include "common/eth/rpc.h"

struct endpoints; /* opaque */

/* A set of endpoints, bit i for endpoint i. */
typedef uint32_t endpoint_set;

/* ERR_CONFIG: none or too many, not http(s), or one URL twice. */
enum err endpoints_new(struct endpoints **out, const char *const *url,
    unsigned n, unsigned timeout_ms, uint64_t (*mono_ms)(void));
void endpoints_free(struct endpoints *es);

unsigned endpoints_count(const struct endpoints *es);

endpoint_set endpoints_all(const struct endpoints *es);
/* Those that answered lately; all, if they are fewer than `least`. */
endpoint_set endpoints_lively(struct endpoints *es, unsigned least);

struct endpoint_ask {
	unsigned endpoint;
	const char *method;
	const char *params;
	size_t max_reply;
};

/* endpoints_ask asks all questions at once and fills reply[0..n). */
void endpoints_ask(struct endpoints *es, struct rpc_reply *reply,
    const struct endpoint_ask *ask, size_t n);

/* A list of endpoints with a word about each, for a refusal's detail.  They
 * are named "host:port": a URL may contain an access key. */
struct endpoint_notes {
	char text[160];
	size_t len;
};
void endpoints_note(struct endpoint_notes *notes, const struct endpoints *es,
    unsigned i, const char *word);

/* What an endpoint said that cannot be so, or that enough others say
 * otherwise.  It is counted, and told in the log at most once a minute. */
#define ENDPOINT_ODD_LIST(X) \
	X(CHAIN, "chain") /* another chain id */ \
	X(BLOCK, "block") /* another block at a height, or another past */ \
	X(ANSWER, "answer") /* another answer to a call */ \
	X(PROOF, "proof") /* a header, proof or code that does not verify */

enum endpoint_odd {
#define X(name, label) ENDPOINT_ODD_##name,
	ENDPOINT_ODD_LIST(X)
#undef X
	    ENDPOINT_ODD_KINDS
};
const char *endpoint_odd_label(enum endpoint_odd kind);

void endpoints_odd(
    struct endpoints *es, unsigned i, enum endpoint_odd kind, const char *word);

#define ENDPOINT_LABEL_MAX 64
struct endpoint_count {
	char label[ENDPOINT_LABEL_MAX]; /* host:port */
	uint64_t odd[ENDPOINT_ODD_KINDS];
};
/* The counts since endpoints_new; returns how many endpoints there are. */
unsigned endpoints_counts(struct endpoint_count out[LIMIT_CHAIN_ENDPOINTS],
    const struct endpoints *es);

#endif
