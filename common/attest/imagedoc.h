/* imagedoc: measurement.tdx.cbor, what an OS image says it measures to.
 *
 * CBOR, version 3 (dstack-compat.md 3.7 step 2):
 *
 *   { version: 3,
 *     image: { cmdline_sha384, kernel_authenticode, initrd_sha384: h'48' },
 *     tdvf: { ovmf: "pre202505", mrtd: { single_pass, two_pass: h'48' },
 *             td_hob: h'...' } }
 *
 * Exactly these members: others, repeated or missing ones are refused. */
#ifndef COMMON_ATTEST_IMAGEDOC_H
#define COMMON_ATTEST_IMAGEDOC_H

#include "common/base/buf.h"

/* The accepted memory of the firmware: a few ranges (real ones have four). */
#define IMAGE_DOC_RANGES 16
/* Real documents have 384 bytes. */
#define IMAGE_DOC_MAX 4096

struct image_range {
	uint64_t start; /* bytes, whole pages */
	uint64_t end;
};

struct image_doc {
	uint8_t cmdline_sha384[48];
	uint8_t kernel_authenticode[48];
	uint8_t initrd_sha384[48];
	uint8_t mrtd_single_pass[48];
	uint8_t mrtd_two_pass[48];
	uint64_t hob_addr;
	struct image_range range[IMAGE_DOC_RANGES]; /* ascending, disjoint */
	size_t n_ranges;
};

/* image_doc_parse: ERR_MALFORMED, and the static text `*what` says where. */
enum err image_doc_parse(
    struct image_doc *out, const char **what, struct bytes in);

#endif
