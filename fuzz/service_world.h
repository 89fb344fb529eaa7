/* service_world: all that stands around the request table, as a fuzzer wants
 * it: the contracts' answers, the cluster, the channel's server and the
 * workers, each with a say for every question (fuzz_service.c).
 *
 * Linked in place of kms/gate, kms/cluster and node/channel's server, whose
 * functions it defines; kms/service, kms/keys and kms/state are the real. */
#ifndef FUZZ_SERVICE_WORLD_H
#define FUZZ_SERVICE_WORLD_H

#include "fuzz/must.h"
#include "kms/gate/registry.h"
#include "kms/keys/keyring.h"
#include "kms/service/service.h"

#define CALLERS 8
#define EPOCHS 3
#define BLOCKS 32 /* number % BLOCKS is a block of the log of answers */
#define WORK_MAX 300
#define OPS_MAX 300

enum say { SAY_YES, SAY_NO, SAY_AGAIN, SAYS };

struct caller {
	enum channel_role role;
	struct attested who;
	uint8_t handshake[32];
	char slot[SLOT_MAX]; /* of a peer */
	uint8_t id[32], key[64]; /* its incarnation */
	struct app_keys keys[EPOCHS]; /* what this one, and nobody else, gets */
};

/* What a worker has to do, and what the cluster was asked for. */
struct work {
	uv_work_t *w;
	uv_work_cb run;
	uv_after_work_cb after;
	bool ran;
};
struct op {
	cluster_done_fn *done;
	void *cookie;
	bool read;
	struct command command;
};

struct world {
	struct service *service;
	struct caller caller[CALLERS];
	struct keyring *ring;
	struct epoch_roots *roots[EPOCHS];
	uint8_t root[EPOCHS][2][32];
	struct epoch_public pub[EPOCHS];
	uint8_t ca_hash[EPOCHS][32];
	struct wrap_key wrap[EPOCHS];
	struct k256_secret anchor;

	/* What each says; the fuzzer sets it. */
	enum say self, info, gateway, registry, registered, verifier;
	enum say allowed[CALLERS]; /* the contract, by boot info */
	unsigned verified_as; /* whom an attestation is of */
	uint64_t block;
	bool moves; /* a new block at every question */
	uint64_t pinned, active;
	uint8_t status[EPOCHS]; /* enum registry_status */
	enum ledger_epoch_state state[EPOCHS];
	unsigned n_epochs;
	enum cluster_phase phase;
	bool serves, leased, link_takes;
	bool wrap_here[EPOCHS], anchor_here;
	struct ledger *ledger;

	/* What was asked and answered; `seq` orders it. */
	uint64_t seq;
	uint64_t self_yes, info_yes[BLOCKS];
	uint64_t app_yes[CALLERS][BLOCKS], peer_yes[CALLERS][BLOCKS];
	uint64_t choice[BLOCKS][EPOCHS + 1]; /* the registry said: this one */
	uint64_t verified[CALLERS]; /* an attestation, as of this guest */

	struct work work[WORK_MAX];
	unsigned n_work;
	struct op op[OPS_MAX];
	unsigned n_ops;
};

extern struct world sw;

void service_world_init(void); /* once */
void service_world_reset(void); /* before each input */
void service_world_end(void);
/* Who has this boot info (and kind of platform); CALLERS: nobody. */
unsigned service_world_who(const struct boot_info *bi);

/* The fuzz target's: what the service did. */
enum err service_world_reply(uint64_t conn, struct bytes reply);
void service_world_dropped(uint64_t conn);
void service_world_submitted(const struct command *c);

#endif
