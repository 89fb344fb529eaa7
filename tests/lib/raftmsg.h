/* raftmsg: engine messages as a test wants them, right or wrong.  The bytes
 * are enginewire.c's table. */
#ifndef TESTS_LIB_RAFTMSG_H
#define TESTS_LIB_RAFTMSG_H

#include "kms/cluster/engine.h"

enum raftmsg_type {
	MSG_APPEND = 1,
	MSG_APPENDED = 2,
	MSG_VOTE = 3,
	MSG_VOTED = 4,
	MSG_SNAPSHOT = 5,
	MSG_TIMEOUT = 6,
};

struct raftmsg_entry {
	uint64_t term;
	uint8_t kind;
	struct bytes data;
};

struct raftmsg {
	uint8_t type;
	uint8_t version_xor; /* 0: the right version */
	uint64_t term;
	uint64_t prev, prev_term; /* APPEND */
	uint8_t hash[32]; /* APPEND: of prev; SNAPSHOT: of last */
	uint64_t commit;
	const struct raftmsg_entry *entry;
	uint32_t n;
	uint64_t rejected; /* APPENDED */
	uint64_t last, last_term; /* all others but VOTED */
	uint64_t candidate;
	uint8_t flags;
	uint64_t config_index;
	struct bytes config, data;
};

void raftmsg_write(struct buf *out, const struct raftmsg *m);
/* raftmsg_limit keeps the entries of an APPEND up to `index`. */
void raftmsg_limit(struct buf *append, uint64_t index);

#endif
