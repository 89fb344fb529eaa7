/* quotereport: what a verification compared with what, row by row.
 *
 * The verifier (common/attest) decides; it says yes, or the first thing
 * that is wrong.  An auditor wants more: what each document said.  So the
 * report reads the same bytes a second time and puts one row per check, in
 * the verifier's order.  Where a row can compare by itself it does, and a
 * comparison that contradicts the verifier's yes is itself a refusal. */
#ifndef KMS_CTL_QUOTEREPORT_H
#define KMS_CTL_QUOTEREPORT_H

#include <stdio.h>

#include "common/base/buf.h"
#include "common/base/json.h"
#include "common/base/reason.h"

#define QUOTEREPORT_ROWS 96
#define QUOTEREPORT_TEXT 768 /* 64 bytes in hex, twice, and words */
#define QUOTEREPORT_DATE 24

/* Steps behind the vendor's algorithm: what else the caller expects. */
#define QUOTEREPORT_REFS 14
#define QUOTEREPORT_BOOT 15
#define QUOTEREPORT_WHO 16 /* a TLS server: step 0, and then this one */

enum row_holds {
	ROW_TOLD, /* a signature and the like: the verifier alone knows */
	ROW_HOLDS, /* compared here: equal */
	ROW_DIFFERS,
};

struct quoterow {
	unsigned step; /* of the vendor's algorithm */
	const char *check;
	const char *found; /* the three below may be NULL */
	const char *found_in; /* which document said so */
	const char *expected;
	const char *expected_in;
	/* The reject codes that mean this row, with blanks between; one that
	 * ends in '_' is a prefix. */
	const char *codes;
	const char *subject; /* first word behind the code, or NULL: any */
	enum row_holds holds;
};

struct quotereport {
	json_t *rows; /* owns */
	struct {
		const char *codes; /* static */
		const char *subject;
		enum row_holds holds;
		bool beside; /* compared whatever the policy said */
	} mark[QUOTEREPORT_ROWS];
	unsigned n;
};

enum err quotereport_init(struct quotereport *r);
void quotereport_fini(struct quotereport *r);

/* quotereport_row appends a row; texts are copied, `codes` and `subject`
 * must be static. */
void quotereport_row(struct quotereport *r, const struct quoterow *row);

/* quotereport_settle gives each row its result: "ok" before the refused
 * one, "not checked" behind it.  `why` NULL: nothing was refused.  False if
 * a row that the verifier has passed differs here. */
bool quotereport_settle(struct quotereport *r, const struct refusal *why);

/* quotereport_code copies the reject code that a refusal's detail begins
 * with; false if there is none. */
#define QUOTEREPORT_CODE 40
bool quotereport_code(
    char out[static QUOTEREPORT_CODE], const struct refusal *why);

/* quotereport_is_caller: the code of a check that depends on what the
 * caller accepts or expects, not on the evidence alone: no reject code. */
bool quotereport_is_caller(const char *code);

/* "2026-01-02T03:04:05Z" */
const char *quotereport_date(char out[static QUOTEREPORT_DATE], int64_t at);

/* quotereport_text prints the whole answer for a person. */
void quotereport_text(FILE *out, const json_t *answer);

#endif
