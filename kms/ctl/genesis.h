/* genesis: put the first roots of a KMS on chain, once their quote holds. */
#ifndef KMS_CTL_GENESIS_H
#define KMS_CTL_GENESIS_H

#include "common/attest/evidence.h"
#include "kms/ctl/contract.h"

/* What a node in phase "genesis" offers at /genesis. */
struct genesis {
	uint64_t number;
	uint8_t k256_pub[33];
	struct buf ca_spki; /* owns all; genesis_fini */
	struct evidence evidence;
	/* Where the replicated log begins, and who speaks for it on chain. */
	struct {
		uint64_t index;
		uint8_t hash[32];
		uint8_t incarnation[INCARNATION_ID_LEN];
		uint8_t signer[20];
		struct buf quote; /* over all of these */
	} anchor;
};
void genesis_fini(struct genesis *g);

/* genesis_read: ERR_MALFORMED, `why` says which member. */
enum err genesis_read(
    struct genesis *out, const json_t *v, struct refusal *why);

/* genesis_check verifies both quotes, that they are over these very keys and
 * this beginning of a log for this anchor, and that the KMS contract allows
 * the machine.  ERR_DENIED and `why`. */
enum err genesis_check(struct attested *out, const struct genesis *g,
    struct verifier *v, const struct contract *k, int64_t now,
    struct refusal *why);

/* genesis_done: the contract names a root already.  ERR_DENIED and `why`. */
enum err genesis_done(bool *out, const struct contract *k, struct refusal *why);

/* genesis_send opens the anchor, gives its signer
 * `fund_wei`, and then publishes the roots: in this order, as the roots are
 * what the nodes wait for.  What was done before is not done again.
 * ERR_DENIED: GENESIS_DONE when the anchor was opened for another cluster. */
enum err genesis_send(uint64_t *block, const struct ctl *c,
    const struct contract *k, const struct genesis *g, uint64_t fund_wei,
    struct refusal *why);

/* genesis_publish does it all for one node, and waits until it is mined.
 * ERR_EXISTS: the contract names a root already. */
struct genesis_options {
	const char *node; /* URL of the admin listener */
	const char *pccs_url;
	bool pccs_insecure_tls;
	struct bytes simulated_root; /* DER, or empty */
	uint64_t fund_wei; /* for the account that the anchor's signer is */
};
struct genesis_result {
	struct attested who;
	uint64_t block;
	uint8_t signer[20];
};
#define GENESIS_FUND_LAB 10000000000000000000u /* 10 ether */
enum err genesis_publish(struct genesis_result *out, const struct ctl *c,
    const struct contract *k, const struct genesis_options *o,
    struct refusal *why);

#endif
