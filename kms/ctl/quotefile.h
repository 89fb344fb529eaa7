/* quotefile: which evidence is in this file?
 *
 * The bytes decide, never the name: a raw quote, report or document, the
 * same as hex or base64 text, the reply of GetQuote (JSON: quote, event_log,
 * vm_config, report_data), the reply of Attest, of v0 or v1 (JSON: attestation)
 * or the attestation's own bytes.  Nothing is verified here, and bytes that are
 * nothing else are taken for an Intel quote, whose parser says why not. */
#ifndef KMS_CTL_QUOTEFILE_H
#define KMS_CTL_QUOTEFILE_H

#include <stdbool.h>

#include "common/attest/evidence.h"

#define QUOTEFILE_MAX (1024u * 1024)
#define QUOTEFILE_SNP_LEN 1184 /* tdx-dcap.md 4.1 */

enum quotefile_kind { QUOTEFILE_INTEL, QUOTEFILE_SNP, QUOTEFILE_NITRO };

struct quotefile {
	enum quotefile_kind kind;
	const char *form; /* static: what the file was */
	/* Owns; the log and vm_config are empty unless the file had them.
	 * `tee` is not set: an Intel quote may be of either kind. */
	struct evidence ev;
	bool has_report_data; /* what the reply says it asked for */
	uint8_t report_data[64];
};

/* quotefile_read: ERR_MALFORMED for JSON without a quote (`why` says what
 * is missing); the caller quotefile_fini()s on success. */
enum err quotefile_read(
    struct quotefile *out, struct bytes in, struct refusal *why);
void quotefile_fini(struct quotefile *f);

/* quotefile_kind_of: by the first bytes and the length. */
enum quotefile_kind quotefile_kind_of(struct bytes in);

#endif
