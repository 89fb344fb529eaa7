/* evalfloor: the highest tcbEvaluationDataNumber that was ever verified, per
 * platform type and for the QE identity.
 *
 * Collateral stays valid for a month; who serves it could replay what was
 * current before a TCB recovery (tdx-dcap.md 2.12).  So a number never goes
 * down.  Only what passed verification raises a floor, or what is known to
 * have: from a sealed store (kms/service/floors.h) or from other members.
 * Such an owner writes them whenever evalfloor_changes has moved, and merges
 * what it has at start; merging raises and never lowers, so order does not
 * matter.  Thread-safe. */
#ifndef COMMON_ATTEST_EVALFLOOR_H
#define COMMON_ATTEST_EVALFLOOR_H

#include "common/attest/verdict.h"

/* Intel lists about 100 platform types; each has two numbers. */
#define EVALFLOOR_MAX 512

struct eval_floor {
	enum tee_kind tee; /* TEE_TDX or TEE_SGX */
	bool qe; /* of the QE identity; `fmspc` is zero then */
	uint8_t fmspc[6];
	uint32_t number;
};

struct evalfloor; /* opaque */

enum err evalfloor_new(struct evalfloor **out);
void evalfloor_free(struct evalfloor *f);

/* evalfloor_check refuses a verdict whose collateral is older than what was
 * seen (REASON_COLLATERAL_INVALID, "EVAL_NUMBER: ..."), else raises both
 * floors to its numbers.  A full table refuses what it cannot note. */
enum err evalfloor_check(
    struct evalfloor *f, const struct verdict *v, struct refusal *why);

/* evalfloor_raise sets a floor unless it is higher already.
 * ERR_MALFORMED: not a floor; ERR_LIMIT: the table is full. */
enum err evalfloor_raise(struct evalfloor *f, const struct eval_floor *e);

/* All floors in order of tee, qe, fmspc, at most `cap`; returns how many
 * there are. */
size_t evalfloor_list(struct eval_floor *out, size_t cap, struct evalfloor *f);
/* Grows with each change. */
uint64_t evalfloor_changes(struct evalfloor *f);

/* All floors as bytes, in one form for each set of floors:
 *
 *   off  len
 *   0    1     form, 1
 *   1    2     number of floors, big-endian
 *   3    12 n  in ascending order, each: tee 1 | qe 1 | fmspc 6 | number 4,
 *              big-endian */
#define EVALFLOOR_LIST_MAX (3 + EVALFLOOR_MAX * 12)
/* evalfloor_write replaces `out`. */
enum err evalfloor_write(struct buf *out, struct evalfloor *f);
/* evalfloor_merge raises all floors that are higher in the list `in`.
 * ERR_MALFORMED: not exactly one list; ERR_LIMIT: more than the table holds;
 * with either, no floor has moved. */
enum err evalfloor_merge(struct evalfloor *f, struct bytes in);

#endif
