/* vekext: what a VCEK or VLEK says about itself: tdx-dcap.md 4.1.
 *
 * AMD's extensions 1.3.6.1.4.1.3704.1.x name the product, the TCB that the
 * key was derived for, and the chip (VCEK) or the cloud (VLEK). */
#ifndef COMMON_ATTEST_VEKEXT_H
#define COMMON_ATTEST_VEKEXT_H

#include "common/attest/certpath.h"

#define VEKEXT_HWID_MAX 64
#define VEKEXT_TEXT_MAX 64
#define VEKEXT_N_SPL 9

struct vekext {
	char product[VEKEXT_TEXT_MAX]; /* "Milan-B0", "Genoa", ... */
	bool has_spl[VEKEXT_N_SPL + 1]; /* by last arc: 1 .. 9 */
	uint8_t spl[VEKEXT_N_SPL + 1];
	size_t hwid_len; /* 0: none, 8 or 64 */
	uint8_t hwid[VEKEXT_HWID_MAX];
	char csp_id[VEKEXT_TEXT_MAX]; /* "": none */
};

/* vekext_read reads the extensions of the path's leaf.  ERR_MALFORMED: one
 * is there twice or does not parse, or there is no product. */
enum err vekext_read(struct vekext *out, const struct certpath *p);

#endif
