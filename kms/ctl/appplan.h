/* appplan: what an upgrade of an app changes on chain, who must sign what, and
 * when it holds.  Pure; appplan_read asks the chain. */
#ifndef KMS_CTL_APPPLAN_H
#define KMS_CTL_APPPLAN_H

#include "kms/ctl/contract.h"

#define APPPLAN_DEVICES_MAX 16

/* How an app's contract takes changes: contracts/README.md. */
enum appplan_kind {
	APPPLAN_FOREIGN, /* rules of its own */
	APPPLAN_PLAIN, /* DstackApp: at once */
	APPPLAN_TIMELOCK, /* what lets in: after its notice */
	APPPLAN_QUORUM, /* by its own members, after their notice */
};

/* Who may change it. */
enum appplan_owner {
	APPPLAN_NOBODY, /* the zero address */
	APPPLAN_ACCOUNT,
	APPPLAN_COUNCIL, /* an OperatorCouncil: k of n, notice */
	APPPLAN_CONTROLLER, /* OpenZeppelin's TimelockController */
	APPPLAN_CONTRACT, /* some other contract */
};

/* Allowed from `from` on; 0: not, and not announced.  A contract without a
 * delay has no times: 1 stands for "is allowed". */
struct appplan_facts {
	uint8_t app[20];
	enum appplan_kind kind;
	uint64_t now; /* of the newest block */
	uint64_t notice_s; /* of the app's contract */
	enum appplan_owner owner_kind;
	uint8_t owner[20], pending_owner[20];
	uint64_t owner_notice_s, votes, members; /* of the owner */
	bool has_kms, registered;
	/* A proxy's code can be replaced, unless that was given up. */
	bool proxy, frozen;
	uint64_t any_device_from, any_tcb_from;
	uint64_t old_from, new_from; /* of the compose hashes */
	uint64_t add_from[APPPLAN_DEVICES_MAX];
	uint64_t remove_from[APPPLAN_DEVICES_MAX];
};

struct appplan_wish {
	bool has_new, has_old, drop_old;
	uint8_t new_hash[32], old_hash[32];
	uint8_t add[APPPLAN_DEVICES_MAX][32], remove[APPPLAN_DEVICES_MAX][32];
	unsigned n_add, n_remove;
	int any_device; /* 1: allow every one, 0: no more, -1: as it is */
};

const char *appplan_kind_text(enum appplan_kind k);

/* appplan_delay: seconds from "sent" to "in effect", for what lets machines in
 * and for what keeps them out. */
uint64_t appplan_delay(const struct appplan_facts *f, bool lets_in);

/* One transaction of the plan. */
#define APPPLAN_STEPS_MAX (2 * APPPLAN_DEVICES_MAX + 3)
struct appplan_step {
	bool lets_in;
	bool needed; /* false: it is so, or announced */
	uint64_t from; /* in effect; if needed, at the earliest */
	struct buf data; /* owns: the call of the app's contract */
};

/* appplan_steps writes them in the order in which they are to be sent, and
 * returns how many.  ERR_NOMEM.  appplan_fini, in any case. */
enum err appplan_steps(struct appplan_step out[static APPPLAN_STEPS_MAX],
    unsigned *n, const struct appplan_facts *f, const struct appplan_wish *w);
void appplan_fini(struct appplan_step *step, unsigned n);

/* appplan_active: when the last of what lets in holds. */
uint64_t appplan_active(
    const struct appplan_facts *f, const struct appplan_step *step, unsigned n);

/* The answer's members: contract, steps, who signs; warnings are appended. */
json_t *appplan_contract_json(const struct appplan_facts *f);
json_t *appplan_steps_json(
    const struct appplan_facts *f, const struct appplan_step *step, unsigned n);
json_t *appplan_signer(const struct appplan_facts *f);
enum err appplan_warn(
    json_t *list, const struct appplan_facts *f, const struct appplan_wish *w);

/* appplan_read fills in what the chain says; the wish says of what.
 * ERR_DENIED and `why`. */
enum err appplan_read(struct appplan_facts *out, const struct contract *k,
    const uint8_t app[static 20], const struct appplan_wish *w,
    struct refusal *why);

/* appplan_try asks the chain whether the owner's transaction would go
 * through; `why` has the contract's reason if not (ERR_DENIED). */
enum err appplan_try(const struct contract *k, const struct appplan_facts *f,
    const struct appplan_step *s, struct refusal *why);

#endif
