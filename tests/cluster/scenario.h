/* scenario: what the named scenarios share. */
#ifndef TESTS_CLUSTER_SCENARIO_H
#define TESTS_CLUSTER_SCENARIO_H

#include "tests/cluster/world.h"

/* A running cluster of three; the caller's world. */
bool scene(struct world *w, bool plain);
/* `n` increments of counter 0 at the leader, all acknowledged. */
bool scene_write(struct world *w, unsigned n);
bool scene_wait_leader(struct world *w, uint64_t ms);
/* The slot's life ends, its disk stays. */
void scene_stop(struct world *w, unsigned slot);
/* A life on a copy of the disk. */
struct life *scene_start(
    struct world *w, unsigned slot, const struct disk *disk);
/* Whether l gets that far within ms. */
bool scene_phase(
    struct world *w, struct life *l, enum core_phase p, uint64_t ms);
bool scene_serves(const struct world *w, const struct life *l);
enum reason scene_waits(const struct life *l);
void scene_order(struct world *w, const struct life *l, bool lossy);
uint64_t scene_value(const struct world *w, const struct life *l);

/* One scenario: NULL, or what does not hold. */
struct scenario {
	const char *name;
	const char *(*run)(struct world *w);
	bool plain; /* protection off */
	int arg; /* for it, as w->arg */
};
extern const struct scenario scenarios_disk[], scenarios_cold[],
    scenarios_member[], scenarios_rotate[];

#define HOLDS(x) \
	do { \
		if (!(x)) \
			return #x; \
	} while (0)

#endif
