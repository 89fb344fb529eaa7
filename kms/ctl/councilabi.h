/* councilabi: the calls of OperatorCouncil, and what it answers.
 *
 * contracts/README.md "The council".  Writers replace `out`; readers accept
 * only the encoding that the contract writes.  ERR_MALFORMED. */
#ifndef KMS_CTL_COUNCILABI_H
#define KMS_CTL_COUNCILABI_H

#include <stdbool.h>

#include "common/base/buf.h"

#define COUNCIL_MEMBERS_MAX 32 /* MAX_MEMBERS of the contract */
#define COUNCIL_CALLS_MAX 16 /* MAX_CALLS */
/* Calldata of all calls of a proposal: generous, beside what is sent here. */
#define COUNCIL_DATA_MAX (64u * 1024)

struct council_names {
	uint8_t a[COUNCIL_MEMBERS_MAX][20];
	size_t n;
};
bool council_names_has(
    const struct council_names *names, const uint8_t a[static 20]);

struct council_state {
	struct council_names members;
	uint64_t k;
	uint64_t vetoes_needed;
	uint64_t generation;
	uint8_t guardian[20]; /* zero: none */
	uint64_t notice_s, life_s;
	uint64_t proposals; /* ever made */
};

enum council_stage { /* as on chain */
	COUNCIL_NONE,
	COUNCIL_VOTING,
	COUNCIL_WAITING,
	COUNCIL_READY,
	COUNCIL_EXECUTED,
	COUNCIL_VETOED,
	COUNCIL_EXPIRED,
	COUNCIL_VOID,
};
const char *council_stage_text(enum council_stage s);

struct council_call {
	uint8_t target[20];
	struct bytes data; /* borrows */
};

struct council_checklist {
	uint8_t id[32];
	enum council_stage stage;
	uint64_t generation;
	uint64_t needed, missing; /* votes */
	struct council_names voted, not_voted, vetoed;
	uint64_t vetoes_needed;
	uint64_t proposed_at, votes_until, passed_at;
	uint64_t may_execute_at, may_execute_until; /* 0: it has not passed */
	uint64_t ended_at;
	struct council_call call[COUNCIL_CALLS_MAX]; /* borrow from the input */
	size_t n_calls;
};

enum err councilabi_call_state(struct buf *out);
enum err councilabi_state(struct council_state *out, struct bytes in);
/* DOMAIN(), by which a council is known, and its answer. */
enum err councilabi_call_domain(struct buf *out);
bool councilabi_is_domain(struct bytes in);
enum err councilabi_call_proposal_at(struct buf *out, uint64_t i);
enum err councilabi_call_checklist(
    struct buf *out, const uint8_t id[static 32]);
enum err councilabi_checklist(struct council_checklist *out, struct bytes in);

/* The two have the same arguments: what a proposal would be called, and to
 * make it.  ERR_LIMIT: no call, or too many or too long. */
enum err councilabi_call_proposal_id(struct buf *out,
    const struct council_call *call, size_t n, const uint8_t salt[static 32]);
enum err councilabi_propose(struct buf *out, const struct council_call *call,
    size_t n, const uint8_t salt[static 32]);

enum err councilabi_vote(struct buf *out, const uint8_t id[static 32]);
enum err councilabi_veto(struct buf *out, const uint8_t id[static 32]);
enum err councilabi_execute(struct buf *out, const uint8_t id[static 32]);
/* By a proposal of its own. */
enum err councilabi_set_members(
    struct buf *out, const struct council_names *members, uint64_t k);
enum err councilabi_set_guardian(
    struct buf *out, const uint8_t guardian[static 20]);

#endif
