/* onchain: our contracts on a test's own anvil, and the account that owns
 * them: anvil's first, which is unlocked.  Needs `make forge-build`. */
#ifndef TESTS_LIB_ONCHAIN_H
#define TESTS_LIB_ONCHAIN_H

#include "common/base/buf.h"
#include "tests/lib/anvil.h"

#define ONCHAIN_OWNER "f39fd6e51aad88f6f4ce6ab8827279cfffb92266"
#define ONCHAIN_OWNER_KEY \
	"ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"
/* Where its first transaction puts a contract. */
#define ONCHAIN_ANCHOR "5fbdb2315678afecb367f032d93f642f64180aa3"
/* And its second. */
#define ONCHAIN_REGISTRY "e7f1725e7734ce288f8367e1bb143e90bb3f0512"

/* onchain_anchor deploys a ClusterAnchor of the KMS contract `kms` at
 * ONCHAIN_ANCHOR, as the first transaction of the chain.  False if the
 * contracts have not been built. */
bool onchain_anchor(
    const struct anvil *a, const uint8_t kms[static 20], unsigned wait_s);

/* onchain_registry deploys a RootRegistry at ONCHAIN_REGISTRY, as the
 * second, for that anchor.  The authority must be a contract. */
bool onchain_registry(const struct anvil *a, const uint8_t kms[static 20],
    const uint8_t authority[static 20], unsigned window_s, unsigned notice_s,
    unsigned age_s);

/* onchain_put makes `at` a contract of this name, without constructor.
 * False as above. */
bool onchain_put(
    const struct anvil *a, const char *name, const uint8_t at[static 20]);

/* onchain_owner sends `data`, which it takes; it must not revert.  `to` is
 * hex, NULL to deploy. */
void onchain_owner(const struct anvil *a, const char *to, struct buf *data);
/* The same from another account, in hex, that anvil impersonates. */
void onchain_from(
    const struct anvil *a, const char *from, const char *to, struct buf *data);

/* onchain_new deploys contracts/out/NAME.sol/NAME.json, whose constructor's
 * arguments are `args` in hex, and sets `at`.  False as above. */
bool onchain_new(const struct anvil *a, const char *name, const char *args,
    uint8_t at[static 20]);

/* onchain_fund gives an account one ether. */
void onchain_fund(const struct anvil *a, const uint8_t address[static 20]);

#endif
