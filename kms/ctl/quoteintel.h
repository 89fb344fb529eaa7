/* quoteintel: the rows of an Intel quote: tdx-dcap.md 2.5, step by step.
 *
 * Reads quote and collateral a second time, for the report; what does not
 * parse has fewer rows.  It decides nothing. */
#ifndef KMS_CTL_QUOTEINTEL_H
#define KMS_CTL_QUOTEINTEL_H

#include "common/attest/collateral.h"
#include "kms/ctl/quotereport.h"

struct quoteintel {
	struct bytes quote; /* borrows all */
	const struct collateral *collateral;
	struct bytes root_der;
	const char *root_from; /* "built in", or the file */
	int64_t now;
};

/* quoteintel_rows adds the rows of steps 1 to 12. */
void quoteintel_rows(struct quotereport *r, const struct quoteintel *q);

/* quoteintel_claims: what a refused quote says of itself, nothing of it
 * verified; NULL if it does not parse.  The caller owns it. */
json_t *quoteintel_claims(struct bytes quote);

#endif
