/* kms_client: asks the KMS nodes, in order, until one gives a good answer.
 *
 * One connection is kept and used again; when it fails, the nodes are tried
 * in the order of the configuration.  What each node said is kept, logged
 * and reported, not just the first error.  A round in which a node might do
 * better later is repeated, with growing pauses, until the deadline.
 *
 * Nothing here measures anything: that happens once, after a good answer,
 * so that failover cannot measure twice.  Thread-safe; calls queue.
 *
 * Of a key epoch the first root that was accepted is the only one from then
 * on, pinned or not; and all follow from one root of epoch 0. */
#ifndef NODE_AGENT_KMS_CLIENT_H
#define NODE_AGENT_KMS_CLIENT_H

#include "node/agent/release.h"

/* How a node is reached: the attested channel (kms_link.h), or a test. */
struct kms_transport {
	void *cookie;
	enum err (*open)(void *cookie, void **conn, const char *url,
	    unsigned timeout_ms, struct refusal *why);
	enum err (*call)(void *cookie, void *conn, struct buf *reply,
	    struct bytes request, unsigned timeout_ms, struct refusal *why);
	void (*close)(void *cookie, void *conn);
	uint64_t (*now_ms)(void *cookie);
	/* Waits; false means that the program is about to end. */
	bool (*pause)(void *cookie, unsigned ms);
};

struct kms_client_options {
	struct kms_transport transport;
	const char *url[CONFIG_KMS_URLS]; /* borrowed for the life */
	size_t n_urls;
	unsigned attempt_timeout_ms; /* for each of open and call */
	struct release_terms terms; /* its pointer is borrowed too */
};

struct kms_client; /* opaque */

/* How long a call may take. */
struct kms_patience {
	uint64_t total_ms; /* 0: for ever */
	/* Also ask again after every node has refused: the contract may be
	 * about to change.  For the boot, not for an app that waits. */
	bool past_refusals;
	/* One round alone; and ERR_DENIED only if every node answered so.  One
	 * that was not asked, since its evidence or ours would not do for the
	 * channel, has said nothing: ERR_TIMEOUT.  For who holds keys. */
	bool renew;
};

enum err kms_client_new(
    struct kms_client **out, const struct kms_client_options *o);
void kms_client_free(struct kms_client *c); /* NULL is fine */

/* kms_client_app_keys fetches the app's keys: those of the epoch that the
 * app is pinned to, or of `*epoch`.  The caller wipes `*out`.
 * ERR_DENIED: every node refused; ERR_TIMEOUT: no good answer in time;
 * ERR_AGAIN: the program ends.  `*why` sums up what the nodes said. */
enum err kms_client_app_keys(struct kms_client *c, struct app_release *out,
    const uint64_t *epoch, const struct kms_patience *patience,
    struct refusal *why);

/* What a certificate shall say.  Borrows. */
struct kms_cert_request {
	uint8_t spki[P256_SPKI_LEN];
	struct bytes proof; /* DER, signcert.h */
	const char *subject;
	const char *const *alt_names;
	size_t n_alt_names;
	bool usage_server_auth;
	bool usage_client_auth;
	bool with_app_info;
	uint64_t not_before; /* 0: the default */
	uint64_t not_after;
	struct bytes attestation; /* or empty */
	uint64_t epoch;
	const uint8_t *root_spki; /* 91: what the chain must end in */
};

/* kms_client_sign_cert fetches [leaf, app CA, root CA] (DER) into three
 * empty buffers, and checks that it is for the key and under the root. */
enum err kms_client_sign_cert(struct kms_client *c, struct buf chain[static 3],
    const struct kms_cert_request *rq, const struct kms_patience *patience,
    struct refusal *why);

/* ---- counters ---- */

#define KMS_COUNTER_NAME_MAX 64
#define KMS_OPERATION_LEN 16

struct kms_counter {
	uint64_t value; /* after the increment, or as it is */
	uint64_t generation, index; /* of the log: they order answers */
	bool matched; /* of an increment: `expected` was its value */
	/* Not matched, and the request went out more than once: an earlier
	 * one may have had its effect before somebody else's. */
	bool uncertain;
};

/* kms_client_counter_get asks for the app's counter; `name` is name_ok with
 * KMS_COUNTER_NAME_MAX characters (asserted).
 *
 * No signature makes its answer the KMS's, as one does a release.  So a node
 * is asked only over a connection on which it has just released the app's
 * key: whoever can do that is the KMS (or the app itself). */
enum err kms_client_counter_get(struct kms_client *c, struct kms_counter *out,
    const char *name, const struct kms_patience *patience, struct refusal *why);

/* kms_client_counter_increment makes `expected` + 1 of it.  The request is
 * repeated, at this node and others, with the same `operation` (16 bytes)
 * until its outcome is known: it has one effect, or none (!out->matched).
 * After an error that is not ERR_DENIED it may still have its effect; then
 * the same operation may be tried again. */
enum err kms_client_counter_increment(struct kms_client *c,
    struct kms_counter *out, const char *name, uint64_t expected,
    const uint8_t operation[static KMS_OPERATION_LEN],
    const struct kms_patience *patience, struct refusal *why);

/* kms_client_node copies what the i-th node failed with last; REASON_NONE
 * if it has not failed. */
void kms_client_node(struct kms_client *c, size_t i, struct refusal *out);

#endif
