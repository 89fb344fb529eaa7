/* evalfloor: the highest tcbEvaluationDataNumber that was ever verified, per
 * platform type and for the QE identity.
 *
 * Collateral stays valid for a month; who serves it could replay what was
 * current before a TCB recovery (tdx-dcap.md 2.12).  So a number never goes
 * down.  Only what passed verification raises a floor.  The owner may persist
 * them: evalfloor_list after evalfloor_changes has moved, evalfloor_raise at
 * start.  Thread-safe. */
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

/* All floors, at most `cap`; returns how many there are. */
size_t evalfloor_list(struct eval_floor *out, size_t cap, struct evalfloor *f);
/* Grows with each change. */
uint64_t evalfloor_changes(struct evalfloor *f);

#endif
