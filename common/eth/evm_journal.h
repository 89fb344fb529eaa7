/* evm_journal: what a run has touched, and what a failed frame takes back.
 *
 * EIP-2929: accounts and slots are warm once touched, until the frame that
 * touched them fails.  EIP-1153: transient slots, likewise.  All keys are in
 * one hash table whose entries stay in the order of their arrival, so that
 * going back is taking the last ones off. */
#ifndef COMMON_ETH_EVM_JOURNAL_H
#define COMMON_ETH_EVM_JOURNAL_H

#include <stdbool.h>

#include "common/eth/u256.h"

#include "common/base/err.h"

enum evm_touch { EVM_TOUCH_ACCOUNT, EVM_TOUCH_SLOT, EVM_TOUCH_TRANSIENT };

struct evm_journal {
	struct evm_touched *e; /* owns; in order of arrival */
	size_t n;
	size_t cap;
	uint32_t *table; /* owns; index + 1 into `e`, 0 is empty */
	size_t slots; /* a power of two, or 0 */
	struct evm_undo *undo; /* owns; transient values before */
	size_t n_undo;
	size_t undo_cap;
	uint64_t key[2]; /* of the hash: keys are a stranger's choice */
};

struct evm_mark {
	size_t n;
	size_t n_undo;
};

void evm_journal_init(struct evm_journal *j);
void evm_journal_fini(struct evm_journal *j);

/* evm_journal_warm: was it warm?  It is now.  `slot` is zero for accounts.
 * ERR_LIMIT: over EVM_TOUCHED_MAX; ERR_NOMEM. */
enum err evm_journal_warm(struct evm_journal *j, bool *was, enum evm_touch kind,
    const uint8_t address[static 20], const struct u256 *slot);

/* Transient slots; zero until written.  Errors as above. */
void evm_journal_load(const struct evm_journal *j, struct u256 *out,
    const uint8_t address[static 20], const struct u256 *slot);
enum err evm_journal_store(struct evm_journal *j,
    const uint8_t address[static 20], const struct u256 *slot,
    const struct u256 *value);

/* evm_journal_back undoes everything since evm_journal_mark. */
struct evm_mark evm_journal_mark(const struct evm_journal *j);
void evm_journal_back(struct evm_journal *j, struct evm_mark to);

#endif
