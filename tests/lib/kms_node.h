/* kms_node: a KMS node in process, wired as kms/kmsd.c does, on loopback, in a
 * world (kms_world.h).
 *
 * It runs by itself, with the timers of the real thing: a test changes the
 * world and waits for the phase that must follow. */
#ifndef TESTS_LIB_KMS_NODE_H
#define TESTS_LIB_KMS_NODE_H

#include "kms/service/service.h"
#include "tests/lib/kms_world.h"

struct kms_node; /* opaque */

/* kms_node_start: `slot` is one of the world's; the others are its peers,
 * whether they run or not.  `genesis`: it may make the first roots. */
struct kms_node *kms_node_start(
    struct kms_world *w, const char *slot, bool genesis);
/* The same on the disk of that slot, sealed, which outlives the node. */
struct kms_node *kms_node_start_sealed(
    struct kms_world *w, const char *slot, bool genesis);
/* As if the machine had lost power, but with an orderly end of its threads:
 * the others are told nothing. */
void kms_node_stop(struct kms_node *n);
const char *kms_node_url(const struct kms_node *n);
/* Where anyone may ask it (kms/service/public.h), on loopback. */
uint16_t kms_node_public_port(const struct kms_node *n);
struct metrics *kms_node_metrics(struct kms_node *n);
struct keyring *kms_node_keyring(struct kms_node *n);
struct self *kms_node_self(struct kms_node *n);
struct service *kms_node_service(struct kms_node *n);
const struct kmsd_config *kms_node_config(const struct kms_node *n);
struct incarnation *kms_node_incarnation(struct kms_node *n);
struct links_stats kms_node_links(struct kms_node *n);

enum cluster_phase kms_node_phase(struct kms_node *n);
void kms_node_wait(struct kms_node *n, enum cluster_phase want);
/* kms_node_alone leaves the first seat alone on chain, which `n` must hold,
 * and waits until `n` knows: who is alone with three seats serves nobody. */
void kms_node_alone(struct kms_world *w, struct kms_node *n);
/* kms_node_halted: why its life is over, HALT_NONE while it is not.  kmsd
 * would begin another. */
enum core_halt kms_node_halted(struct kms_node *n);
/* Leaves in an orderly way, and waits until the cluster has let it go. */
void kms_node_drain(struct kms_node *n);
/* kms_node_genesis: what it offers to the chain; waits for it. */
struct cluster_genesis kms_node_genesis(struct kms_node *n);

/* kms_node_do runs `fn` on the node's loop and waits for its end. */
void kms_node_do(
    struct kms_node *n, void (*fn)(struct cluster *c, void *arg), void *arg);

#define KMS_UNTIL(cond) \
	do { \
		uint64_t end_ = clock_mono_ms() + KMS_WAIT_MS; \
		while (!(cond)) { \
			cr_assert(clock_mono_ms() < end_, "never: %s", #cond); \
			(void)nanosleep( \
			    &(const struct timespec){ .tv_nsec = 2000000 }, \
			    NULL); \
		} \
	} while (0)

#endif
