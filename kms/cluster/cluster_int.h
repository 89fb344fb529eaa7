/* cluster_int: what cluster.c and disk.c share; nobody else includes it. */
#ifndef KMS_CLUSTER_CLUSTER_INT_H
#define KMS_CLUSTER_CLUSTER_INT_H

#include "kms/cluster/cluster.h"
#include "kms/cluster/peers.h"

struct cluster {
	struct cluster_options o;
	enum cluster_phase phase;
	uint8_t incarnation[INCARNATION_LEN];
	struct state *state; /* owns */
	struct peers *peers; /* owns; used by the step, read by the loop */
	bool has_pending; /* epoch 0 is in the ring, not yet confirmed */
	struct epoch_public pending;
	uint64_t saved_floor;
	bool told_genesis_done;
	enum reason told; /* last trouble that was logged */
	uv_timer_t timer;
	uv_work_t work;
	struct step *step; /* owns: under way */
	bool stopping, timer_closed;
	void (*done)(void *cookie);
	void *done_cookie;
};

/* disk.c.  Without a store all of them succeed and do nothing. */
enum err disk_save_roots(struct cluster *c, uint64_t number);
enum err disk_forget_roots(struct cluster *c, uint64_t number);
enum err disk_put_record(struct cluster *c, struct bytes record);
/* Applies the records that fit and keeps them, in one transaction.  ERR_OK
 * also when some did not fit: they come again. */
enum err disk_apply_records(
    struct cluster *c, const struct buf *record, size_t n);
enum err disk_save_floor(struct cluster *c);
/* Loads roots, records and the floor; ERR_CORRUPT stops the node. */
enum err disk_load(struct cluster *c);

#endif
