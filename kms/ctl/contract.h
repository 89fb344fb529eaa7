/* contract: calls and transactions of one KMS contract, its apps and its
 * cluster's anchor, by one endpoint and one paying account. */
#ifndef KMS_CTL_CONTRACT_H
#define KMS_CTL_CONTRACT_H

#include "common/eth/tx.h"
#include "kms/ctl/ctl.h"
#include "kms/ctl/ether.h"
#include "kms/gate/anchorabi.h"

#define CONTRACT_URL_MAX 256
#define CONTRACT_PATH_MAX 512

struct contract {
	char rpc[CONTRACT_URL_MAX];
	char key_file[CONTRACT_PATH_MAX]; /* "": cannot send */
	uint64_t chain_id; /* 0: not told; cannot send */
	uint8_t kms[20];
	bool has_kms;
	uint8_t anchor[20]; /* its cluster's ClusterAnchor */
	bool has_anchor;
	uint8_t registry[20]; /* its RootRegistry */
	bool has_registry;
	char sim[CONTRACT_PATH_MAX]; /* folder of its lab, or "" */
};

/* What the commands that speak to a chain have in common. */
#define CONTRACT_OPTIONS_READ \
	{ "sim", "DIR", "take the rest from a simulated cluster" }, \
	    { "rpc", "URL", "the chain's JSON-RPC endpoint" }, \
	{ \
		"kms", "0xADDR", "the KMS contract" \
	}
#define CONTRACT_OPTIONS_SEND \
	CONTRACT_OPTIONS_READ, \
	    { "chain-id", "N", "the chain that the transaction is for" }, \
	{ \
		"key-file", "FILE", \
		    "the account that signs and pays (mode 0600)" \
	}

#define CONTRACT_OPTION_ANCHOR \
	{ \
		"anchor", "0xADDR", "the anchor contract of its cluster" \
	}

#define CONTRACT_OPTION_REGISTRY \
	{ \
		"registry", "0xADDR", "the registry of its roots" \
	}

/* contract_from_args reads these options; `send` and `need_kms` say which
 * must be there.  On failure it has told the user; returns the exit code. */
enum ctl_exit contract_from_args(struct contract *out, const struct ctl *c,
    const struct args *a, bool send, bool need_kms);

/* contract_call asks the newest block.  ERR_DENIED and `why`. */
enum err contract_call(struct buf *answer, const struct contract *k,
    const uint8_t to[static 20], struct bytes data, struct refusal *why);
enum err contract_call_bool(bool *out, const struct contract *k,
    const uint8_t to[static 20], struct bytes data, struct refusal *why);
/* The same as if `from` (NULL: nobody) sent it: what it would answer, or why
 * it would be refused, which contract_reason cuts out of `why`. */
enum err contract_call_from(struct buf *answer, const struct contract *k,
    const uint8_t *from, const uint8_t to[static 20], struct bytes data,
    struct refusal *why);
const char *contract_reason(const struct refusal *why);
enum err contract_block_time(
    uint64_t *out, const struct contract *k, struct refusal *why);
enum err contract_chain_id(
    uint64_t *out, const struct contract *k, struct refusal *why);
/* An answer that nobody looks at. */
enum err contract_rpc(const struct contract *k, const char *method,
    const char *params, struct refusal *why);
enum err contract_block_number(uint64_t *out, const struct contract *k,
    const char *tag, struct refusal *why);

/* contract_has_code: is there a contract, not an account? */
enum err contract_has_code(bool *out, const struct contract *k,
    const uint8_t at[static 20], struct refusal *why);
/* contract_implementation reads where a proxy's code is (ERC-1967); `proxy`
 * is false if it is none. */
enum err contract_implementation(bool *proxy, uint8_t code[static 20],
    const struct contract *k, const uint8_t at[static 20], struct refusal *why);

/* contract_anchor reads the state of the anchor, which k->has_anchor.
 * ERR_DENIED and `why`. */
enum err contract_anchor(
    struct anchor_state *out, const struct contract *k, struct refusal *why);

/* contract_balance: in ether, "over 18" if there is more than fits. */
enum err contract_balance(char out[static ETHER_TEXT], const struct contract *k,
    const uint8_t address[static 20], struct refusal *why);

/* contract_root reads the root that the KMS contract names.  ERR_DENIED and
 * `why` if there is none. */
enum err contract_root(
    struct k256_pub *out, const struct contract *k, struct refusal *why);

/* One transaction; a zeroed struct with `to` and `data` set is unsent. */
struct contract_tx {
	uint8_t to[20];
	uint64_t value; /* wei */
	struct buf data; /* owns; contract_tx_fini */
	uint8_t hash[32];
	struct tx_receipt receipt;
};
void contract_tx_fini(struct contract_tx *t);

/* contract_send signs and sends them in order and waits until all are
 * mined.  ERR_DENIED: `why` (a reverted one is CONTRACT_OTHER). */
enum err contract_send(const struct ctl *c, const struct contract *k,
    struct contract_tx *tx, size_t n, struct refusal *why);

/* contract_await_final waits until block `number` is finalized, which is
 * what KMS nodes read, and, in a lab, until all of them have.  ERR_TIMEOUT. */
enum err contract_await_final(const struct ctl *c, const struct contract *k,
    uint64_t number, uint64_t limit_ms);

/* contract_deployed_app finds the app that a mined deployAndRegisterApp
 * has made: AppDeployedViaFactory by the KMS contract. */
enum err contract_deployed_app(uint8_t app[static 20], const struct contract *k,
    const struct contract_tx *t, struct refusal *why);

#endif
