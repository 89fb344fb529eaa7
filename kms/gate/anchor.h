/* anchor: what the chain keeps for the cluster (contracts/src/ClusterAnchor).
 *
 * The anchor is {generation, index, hash} of the replicated log, and changes
 * only by compare-and-swap; beside it stand the seats (which device may hold
 * which slot), the operators' order to recover, and the announcement of a
 * recovery.  raft-nng-rollback.md 5.2 to 5.4. */
#ifndef KMS_GATE_ANCHOR_H
#define KMS_GATE_ANCHOR_H

#include "kms/gate/chainview.h"
#include "kms/state/command.h"

#define ANCHOR_SEATS_MAX 15

struct anchor_point {
	uint64_t generation; /* 0: no cluster was ever opened */
	uint64_t index;
	uint8_t hash[32];
};

struct anchor_view {
	struct chain_block block; /* at which it was read */
	struct anchor_point at;
	uint64_t wait_s; /* W: between announcement and opening */
	struct anchor_seat {
		char slot[SLOT_MAX];
		uint8_t device_id[32];
	} seat[ANCHOR_SEATS_MAX];
	unsigned n_seats;
	/* Operators name the node that shall recover the cluster. */
	struct {
		bool set;
		uint8_t incarnation[INCARNATION_ID_LEN];
		bool lossy; /* with fewer disks than the rule asks for */
	} order;
	/* A recovery that was announced: `to.generation` is at.generation + 1. */
	struct {
		bool set;
		struct anchor_point to;
		uint8_t incarnation[INCARNATION_ID_LEN];
		uint64_t open_at; /* unix seconds, block time */
	} announced;
	/* Who opened at.generation: of two nodes with one head, only one. */
	uint8_t opener[INCARNATION_ID_LEN];
	uint64_t vetoes; /* ever */
	uint8_t signer[20]; /* who speaks for the cluster; zero: nobody yet */
};

/* anchor_seats_hash is what RootRegistry calls the seats' hash: keccak256 of
 * the ABI encoding of ClusterAnchor's `seats`. */
void anchor_seats_hash(uint8_t out[static 32], const struct anchor_view *v);

struct anchor; /* opaque; thread-safe, blocks as chainview does */

struct anchor_options {
	struct chainview *view; /* borrowed for the life */
	uint64_t chain_id;
	uint8_t contract[20];
	uint8_t kms[20]; /* whose anchor it must be; zero: anybody's */
	/* Where transactions go, in this order until one takes it. */
	const char *const *urls; /* copied */
	unsigned n_urls;
	unsigned timeout_ms;
};
/* ERR_CONFIG: no chain id, contract, timeout, or http(s) URL; too many. */
enum err anchor_new(struct anchor **out, const struct anchor_options *o);
void anchor_free(struct anchor *a); /* NULL is fine */

/* anchor_read reads all of it at one block of the chain view.  ERR_AGAIN
 * with a CHAIN_ reason; CHAIN_ANSWER if what the quorum says is none. */
enum err anchor_read(struct anchor *a, int64_t now, struct anchor_view *out,
    struct refusal *why);
/* The same.  `odd` lists the endpoints that told another state at the same
 * block than the quorum did, "" if there are none. */
enum err anchor_read_noting(struct anchor *a, int64_t now,
    struct anchor_view *out, char odd[static CHAINVIEW_ODD],
    struct refusal *why);

/* The cluster's own key on chain: derived from the root of epoch 0, so that
 * every node that holds it can speak for the cluster, and nobody else.  Its
 * address also pays for the transactions.  ERR_MALFORMED: not epoch 0.
 * Wipe it. */
enum err anchor_key(struct k256_secret *out, struct epoch_roots *epoch0);

/* The report data of the quote over a cluster's beginning, which an operator
 * puts on chain: SHA-512("devproof-kms/genesis-anchor/v1" || chain id u64be ||
 * anchor contract 20 || k256 public key 33 || index u64be || hash 32 ||
 * incarnation 32 || signer 20). */
struct anchor_genesis {
	uint64_t chain_id;
	uint8_t contract[20];
	struct k256_pub root;
	struct anchor_point at;
	uint8_t incarnation[INCARNATION_ID_LEN];
	uint8_t signer[20];
};
void anchor_genesis_report_data(
    uint8_t out[static 64], const struct anchor_genesis *g);

enum anchor_write_kind {
	ANCHOR_ADVANCE, /* from -> to, same generation */
	ANCHOR_ANNOUNCE, /* from.generation + 1 shall open at `to` */
	ANCHOR_VETO, /* against what is announced; the cluster lives */
	ANCHOR_OPEN, /* from -> to, the announcement has come of age */
};
struct anchor_write {
	enum anchor_write_kind kind;
	struct anchor_point from; /* the current one; not of a VETO */
	struct anchor_point to; /* its generation follows from the kind */
	uint8_t incarnation[INCARNATION_ID_LEN]; /* ANNOUNCE, OPEN */
};

/* anchor_send signs and sends one write and waits until it is mined (not
 * final: anchor_read says when it counts), for two minutes at most.  All but
 * ADVANCE read the anchor first, as their signatures name the order that
 * they belong to; a VETO is against whatever that read finds announced.
 *
 * ERR_DENIED CONTRACT_OTHER: the contract refuses (another write came first,
 * too early, vetoed); ERR_AGAIN: chain not reachable, or no gas.  After
 * ERR_AGAIN it may still be mined: read before sending anew. */
enum err anchor_send(struct anchor *a, const struct anchor_write *w,
    const struct k256_secret *key, int64_t now, struct refusal *why);

#endif
