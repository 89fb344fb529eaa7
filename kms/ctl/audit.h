/* audit: do the chain and the nodes tell the same story of who was given the
 * roots, and of what became of each epoch?
 *
 * Pure: from the registry's state and events, and each node's audit log, to
 * findings {"severity": "error" | "note", "where", "what"}.  An error is a
 * hand-over or an epoch change that one side has and the other has not, or
 * has otherwise; a note is what may be on its way, or is too old to compare.
 */
#ifndef KMS_CTL_AUDIT_H
#define KMS_CTL_AUDIT_H

#include "common/base/json.h"
#include "kms/gate/registryabi.h"
#include "kms/state/command.h"

#define AUDIT_NAME_MAX 64
/* What is younger may still be on its way to the other side. */
#define AUDIT_GRACE_S 120

enum audit_what { /* that happened to an epoch */
	AUDIT_ACTIVATED,
	AUDIT_TAINTED,
	AUDIT_DESTROYED,
};

struct audit_handover { /* HandoverRecorded */
	uint64_t number;
	struct registry_handover h;
};
struct audit_change { /* EpochActivated, EpochTainted, EpochDestroyed */
	enum audit_what what;
	uint64_t epoch;
	uint8_t root_hash[32]; /* zeros for AUDIT_TAINTED */
};

struct audit_chain {
	struct registry_state state;
	uint64_t now; /* of the newest block */
	struct audit_handover *handover; /* owns, as the next */
	size_t n_handovers;
	struct audit_change *change;
	size_t n_changes;
};
void audit_chain_fini(struct audit_chain *c);

struct audit_entry {
	uint64_t number;
	uint8_t hash[32]; /* of index, length and command */
	bool known; /* `cmd` was recognised */
	struct command cmd;
};
struct audit_node {
	char name[AUDIT_NAME_MAX];
	uint64_t count, first;
	uint8_t head[32]; /* what it says */
	uint8_t computed[32]; /* what its entries come to */
	struct audit_entry *entry; /* owns: numbers first .. count */
	size_t n;
};
void audit_node_fini(struct audit_node *n);

/* audit_node_page reads one page of /audit into it; `more`: there is another,
 * from number n->first + n->n on.  ERR_MALFORMED. */
enum err audit_node_page(struct audit_node *n, const json_t *page, bool *more);
/* audit_chain_log reads one log of eth_getLogs.  ERR_MALFORMED. */
enum err audit_chain_log(struct audit_chain *c, const json_t *log);
/* The topics that it knows, as an argument of eth_getLogs. */
extern const char audit_topics[];

/* `now` is the time of this machine.  The caller owns the array. */
json_t *audit_findings(const struct audit_chain *c,
    const struct audit_node *node, size_t n_nodes, uint64_t now);
bool audit_clean(const json_t *findings);

#endif
