/* standard: the decision of the contracts that we know, from proven slots.
 *
 * An operator lists the code of the proxies and implementations that are
 * DstackKms and DstackApp (contracts/src; dstack-compat.md 5.2, 5.5).  What the
 * listed code would answer follows from a handful of slots, in one round of
 * questions, with the contracts' own words.  The KMS contract must be on the
 * list: its owner can replace its implementation, and these nodes then wait for
 * their operators.  An app's contract need not be: ERR_UNSUPPORTED, and it is
 * executed. */
#ifndef KMS_GATE_STANDARD_H
#define KMS_GATE_STANDARD_H

#include "common/attest/bootinfo.h"
#include "kms/gate/witness.h"

enum standard_role {
	STANDARD_PROXY, /* ERC-1967: delegates all to its implementation slot */
	STANDARD_KMS, /* an implementation of DstackKms */
	STANDARD_APP, /* an implementation of DstackApp */
};
const char *standard_role_text(enum standard_role role);

struct standard_code {
	enum standard_role role;
	uint8_t hash[32]; /* keccak256 of the runtime code */
};
#define STANDARD_CODES_MAX 32u
/* "proxy:0x...", "kms:0x...", "app:0x..."; ERR_MALFORMED. */
enum err standard_code_parse(struct standard_code *out, const char *text);

/* The ERC-1967 slot of a proxy's implementation. */
extern const uint8_t standard_implementation_slot[32];

struct standard; /* opaque; thread-safe */

/* `w` is borrowed.  ERR_LIMIT: too many codes; ERR_NOMEM. */
enum err standard_new(struct standard **out, struct witness *w,
    const uint8_t kms[static 20], const struct standard_code *code, unsigned n);
void standard_free(struct standard *s); /* NULL is fine */

/* standard_check_kms: is the KMS contract's code at `at` on the list?
 * ERR_AGAIN with CHAIN_CODE and the hash if not, and as witness_world. */
enum err standard_check_kms(
    struct standard *s, const struct chain_block *at, struct refusal *why);

/* The answers of isAppAllowed and isKmsAllowed.
 *
 * ERR_OK, ERR_DENIED  as the contracts answer; the detail is their word
 * ERR_UNSUPPORTED     the app's contract is none that we know
 * ERR_AGAIN, ERR_NOMEM  as standard_check_kms */
enum err standard_app(struct standard *s, const struct chain_block *at,
    const struct boot_info *bi, struct refusal *why);
enum err standard_kms(struct standard *s, const struct chain_block *at,
    const struct boot_info *bi, struct refusal *why);

#endif
