/* quoterefs: the values that the caller expects, against the evidence.
 *
 * Hex on the command line, hashes of files, registers that an event log must
 * replay to.  Only what a verified quote says is compared. */
#ifndef KMS_CTL_QUOTEREFS_H
#define KMS_CTL_QUOTEREFS_H

#include "common/attest/bootinfo.h"
#include "kms/ctl/args.h"
#include "kms/ctl/quotereport.h"

/* A measurement that evidence of some kind has, by its option's name. */
struct quoteref {
	const char *name; /* "mrtd" */
	const uint8_t *p;
	size_t len;
	const char *in; /* which document: "TD report" */
};

/* quoterefs_check adds a row (step 14) for each option of `a` that names
 * one of the measurements.  ERR_DENIED: one differs.  ERR_MALFORMED: an option
 * is not hex of the right length; report data may be shorter and stands for
 * itself with zeros behind, as an agent pads it. */
enum err quoterefs_check(struct quotereport *r, const struct args *a,
    const struct quoteref *ref, size_t n, struct refusal *why);

/* quoterefs_valid checks the options' form before anything is verified:
 * ERR_MALFORMED and which in `why`. */
enum err quoterefs_valid(const struct args *a, struct refusal *why);

/* quoterefs_reply compares the report data that a reply says it asked for. */
enum err quoterefs_reply(struct quotereport *r, const uint8_t said[static 64],
    const uint8_t found[static 64], struct refusal *why);

/* What came beside the quote; empty: did not. */
struct quoteboot {
	struct bytes event_log;
	struct bytes vm_config;
	struct bytes compose; /* a file whose hash must have been measured */
	bool vm_config_explicit; /* asked for: it must hold */
};

/* quoteboot_check replays the event log into the verdict's registers, adds
 * rows (step 15), and sets `*boot` to an object that the caller owns (or
 * leaves NULL when there is no log).  ERR_DENIED: something differs. */
enum err quoteboot_check(struct quotereport *r, json_t **boot,
    const struct verdict *v, const struct quoteboot *b, struct refusal *why);

#endif
