/* quoteintel_int: what the two halves of quoteintel share. */
#ifndef KMS_CTL_QUOTEINTEL_INT_H
#define KMS_CTL_QUOTEINTEL_INT_H

#include "common/attest/quote.h"
#include "common/attest/tcb.h"
#include "kms/ctl/quoteintel.h"

/* One reading. */
struct quotereading {
	struct quotereport *r;
	const struct quoteintel *q;
	bool has_quote, has_tcb, has_qe, has_pck;
	struct quote quote; /* borrows from the input */
	struct tcb_info tcb; /* owns these two */
	struct qe_identity qe;
	struct pckext pck;
};

/* Text on the stack for one side of a row. */
struct quotetext {
	char s[QUOTEREPORT_TEXT];
};

const char *quotetext_say(struct quotetext *t, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
const char *quotetext_hex(struct quotetext *t, const uint8_t *p, size_t len);

static inline enum row_holds
row_holds_if(bool yes)
{
	return yes ? ROW_HOLDS : ROW_DIFFERS;
}

/* Steps 2 to 6: the trust anchor and the documents under it. */
void quotedocs_root(struct quotereading *x);
void quotedocs_signed(struct quotereading *x);
void quotedocs_pck(struct quotereading *x);
/* The PCK chain and where it is: in the quote, else in the collateral. */
struct bytes quotedocs_pck_pem(const struct quotereading *x, const char **from);

#endif
