/* registryabi: the calls of RootRegistry, and what state() returns.
 *
 * contracts/README.md "The registry of roots" has the words that are signed.
 * Writers append to `out`; nothing here asks the chain. */
#ifndef KMS_GATE_REGISTRYABI_H
#define KMS_GATE_REGISTRYABI_H

#include "common/base/buf.h"
#include "common/crypto/k256.h"

#define REGISTRY_EPOCHS_MAX 64 /* MAX_EPOCHS of the contract */
#define REGISTRY_HANDOVERS_MAX 64 /* MAX_HANDOVERS: in one call */

enum registry_mode {
	REGISTRY_ROUTINE, /* the root before signs the new one */
	REGISTRY_EMERGENCY, /* it may be stolen: the anchor's signer signs */
};

enum registry_status { /* as on chain */
	REGISTRY_NONE,
	REGISTRY_ORDERED,
	REGISTRY_PUBLISHED,
	REGISTRY_ACTIVE, /* in use; the newest of them is `active` */
	REGISTRY_TAINTED, /* for old data alone, and only by number */
	REGISTRY_DESTROYED,
};
const char *registry_status_text(enum registry_status s);

/* Times are unix seconds of blocks; 0: not yet. */
struct registry_epoch {
	uint64_t number;
	enum registry_status status;
	enum registry_mode mode;
	struct k256_pub k256; /* zeros while ORDERED */
	uint8_t signer[20]; /* the same key, as an address */
	uint8_t ca_spki_hash[32]; /* SHA-256 of the root CA's SPKI */
	uint64_t order; /* that it was published under */
	uint64_t published_at, activated_at, tainted_at;
	uint64_t retire_at; /* from then on it may be destroyed; 0: not */
	uint64_t destroyed_at;
	uint64_t held_as_of;
	uint16_t holders; /* bit i: the anchor's seat i, at held_seats */
	uint8_t held_seats[32];
};

struct registry_order {
	uint64_t number; /* counts the orders ever given */
	uint64_t epoch; /* 0: nothing is ordered */
	enum registry_mode mode;
	uint64_t ordered_at, not_before;
	uint64_t retire_after; /* seconds; 0: no end is set */
	uint8_t confirmed[32]; /* EMERGENCY: root hash of the second vote */
};

struct registry_state {
	uint8_t kms[20], anchor[20];
	uint8_t authority[20], pending_authority[20], guardian[20];
	uint64_t veto_window_s, notice_s, holders_age_s;
	uint8_t seats_hash[32]; /* of the anchor's seats */
	uint64_t active;
	uint64_t vetoes; /* ever */
	uint64_t handovers;
	uint8_t handover_head[32];
	struct registry_order order;
	struct registry_epoch epoch[REGISTRY_EPOCHS_MAX]; /* ascending */
	size_t n_epochs; /* 0: no genesis was registered */
};
/* The one with that number, or NULL; those before the first are destroyed. */
const struct registry_epoch *registry_epoch_of(
    const struct registry_state *s, uint64_t number);

/* An offset, 21 words with the order's 7, the number of epochs, and 16 words
 * an epoch: what the contract writes at most. */
#define REGISTRYABI_STATE_MAX ((23u + 16u * REGISTRY_EPOCHS_MAX) * 32u)

enum err registryabi_call_state(struct buf *out);
/* registryabi_state reads the one encoding that the contract writes, and
 * accepts only what the contract can be in.  ERR_MALFORMED. */
enum err registryabi_state(struct registry_state *out, struct bytes in);
enum err registryabi_call_pin_of(
    struct buf *out, const uint8_t app_id[static 20]);

/* ---- what is signed ---- */

struct registryabi_at {
	uint64_t chain_id;
	uint8_t contract[20];
};

/* keccak256(k256 key 33 || SHA-256 of the CA's SPKI 32). */
void registry_root_hash(uint8_t out[static 32], const struct k256_pub *k256,
    const uint8_t ca_spki_hash[static 32]);

struct registry_holders {
	uint64_t order, epoch;
	uint8_t root_hash[32];
	uint8_t seats_hash[32];
	uint16_t seats; /* bit i: the anchor's seat i */
	uint64_t as_of; /* time of the block that the signers had seen */
};
/* Signed by the new root and by the anchor's signer. */
void registry_holders_digest(uint8_t out[static 32],
    const struct registryabi_at *at, const struct registry_holders *h);

struct registry_handover {
	uint64_t audit; /* number of its entry in the ledger's audit log */
	uint64_t epoch;
	uint8_t slot[32];
	uint8_t incarnation[32];
	uint8_t device_id[32];
	uint8_t mr_aggregated[32];
};
/* head' = keccak256(head | number | the six words), in place. */
void registry_handover_step(uint8_t head[static 32], uint64_t number,
    const struct registry_handover *h);
/* Signed by the anchor's signer. */
void registry_handover_digest(uint8_t out[static 32],
    const struct registryabi_at *at, uint64_t count_after,
    const uint8_t head_after[static 32]);

/* ---- calls of nodes: anyone may relay them ---- */

enum err registryabi_publish_root(struct buf *out, const struct k256_pub *k256,
    const uint8_t ca_spki_hash[static 32], const struct k256_sig65 *certificate,
    const struct registry_holders *h, const struct k256_sig65 *by_root,
    const struct k256_sig65 *by_cluster);
enum err registryabi_attest_holders(struct buf *out,
    const struct registry_holders *h, const struct k256_sig65 *by_root,
    const struct k256_sig65 *by_cluster);
enum err registryabi_activate(struct buf *out, uint64_t epoch);
/* ERR_LIMIT: n is 0 or above REGISTRY_HANDOVERS_MAX. */
enum err registryabi_record_handovers(struct buf *out, uint64_t from,
    const struct registry_handover *list, size_t n,
    const struct k256_sig65 *sig);

/* ---- calls of the authority, and of apps ---- */

enum err registryabi_register_genesis(struct buf *out,
    const struct k256_pub *k256, const uint8_t ca_spki_hash[static 32]);
enum err registryabi_order_rotation(struct buf *out, enum registry_mode mode,
    uint64_t not_before, uint64_t retire_after);
enum err registryabi_withdraw_order(struct buf *out);
enum err registryabi_confirm_root(
    struct buf *out, uint64_t epoch, const uint8_t root_hash[static 32]);
enum err registryabi_veto_root(struct buf *out, uint64_t epoch);
enum err registryabi_taint(struct buf *out, uint64_t epoch);
enum err registryabi_retire(struct buf *out, uint64_t epoch, uint64_t at);
enum err registryabi_destroy(struct buf *out, uint64_t epoch);
enum err registryabi_pin(
    struct buf *out, const uint8_t app_id[static 20], uint64_t epoch);

#endif
