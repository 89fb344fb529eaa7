/* logworld: one node's log on disk, with a real engine that is its cluster's
 * only voter.  Every turn's effects become one CORE_WRITE, as core does it. */
#ifndef TESTS_LIB_LOGWORLD_H
#define TESTS_LIB_LOGWORLD_H

#include "kms/cluster/disklog.h"

struct logworld {
	struct store *store; /* owns; NULL: closed */
	struct engine *engine; /* owns */
	uint64_t generation, now, number;
	uint8_t incarnation[32];
	/* The write that turn makes of what came together. */
	struct core_write write;
	uint64_t term, vote;
};

/* What a state is, as one number: everything that load gave. */
struct logworld_print {
	uint8_t b[32];
};

enum err logworld_open(
    struct logworld *w, const char *dir, const char *slot, size_t map_max);
void logworld_close(struct logworld *w);

/* logworld_start begins a new life: from what the disk has up to `match`
 * (0: wipes it), it opens the next generation. */
enum err logworld_start(struct logworld *w, uint64_t match);

/* logworld_prepare opens a transaction with what the engine wants written;
 * then store_commit or store_abort, and logworld_done if it is durable.
 * ERR_NOTFOUND: there is nothing. */
enum err logworld_prepare(struct logworld *w);
enum err logworld_done(struct logworld *w);
/* Prepare, commit, done, until there is nothing left to write. */
enum err logworld_turn(struct logworld *w);

/* n commands of `len` bytes each. */
enum err logworld_submit(struct logworld *w, unsigned n, size_t len);
enum err logworld_compact(struct logworld *w, size_t len, unsigned trailing);

/* What load says now: ERR_OK also for an empty store. */
enum err logworld_look(struct store *s, struct logworld_print *out,
    uint64_t *last, struct refusal *why);

#endif
