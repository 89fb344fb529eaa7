/* registry_says: what RootRegistry.state() and pinOf() return, for a mock. */
#ifndef TESTS_LIB_REGISTRY_SAYS_H
#define TESTS_LIB_REGISTRY_SAYS_H

#include "kms/gate/registryabi.h"
#include "tests/lib/mock_chain.h"

#define REGISTRY_STATE 0xc19d93fbu /* the anchor's state() has the same */
#define REGISTRY_PIN_OF 0xf2c0c658u

/* A registry of that KMS and anchor with no epoch yet. */
void registry_says_new(struct registry_state *s, const uint8_t kms[static 20],
    const uint8_t anchor[static 20]);
/* One more epoch, with times as the contract sets them, which is the active
 * one from now on. */
void registry_says_epoch(struct registry_state *s, const struct k256_pub *k256,
    const uint8_t ca_spki_hash[static 32], enum registry_mode mode);
/* A rotation is ordered, to the epoch after the active one. */
void registry_says_order(struct registry_state *s, enum registry_mode mode);
/* Another status: of TAINTED or DESTROYED, not of the active one. */
void registry_says_status(
    struct registry_state *s, uint64_t number, enum registry_status status);

/* Appends the contract's encoding. */
void registry_says_write(struct buf *out, const struct registry_state *s);
/* Endpoint i answers so from now on; and, of any app, this pin. */
void registry_says(struct mock_chain *m, unsigned i,
    const uint8_t contract[static 20], const struct registry_state *s);
void registry_says_pin(struct mock_chain *m, unsigned i,
    const uint8_t contract[static 20], uint64_t epoch);

#endif
