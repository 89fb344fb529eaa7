/* Floors that only rise, shared by all nodes: the highest chain block and the
 * evaluation numbers of collateral that any node has seen.  A restart, or an
 * older disk, then cannot go back behind what the cluster knows. */
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/hex.h"
#include "kms/cluster/cluster_int.h"

#define BLOCK_EVERY_MS 30000 /* between two proposals of a chain floor */
/* A floor that the leader has not raised for so long another node raises: the
 * leader may be shown an old chain. */
#define BLOCK_LATE_MS 90000
#define PROPOSALS 8 /* of evaluation numbers, at one look */

/* "tdx:qe", "sgx:00906ed50000" */
static void
floor_name(char out[static TCB_NAME_MAX], const struct eval_floor *f)
{
	char fmspc[13];

	hex_encode(fmspc, f->fmspc, sizeof f->fmspc);
	(void)snprintf(out, TCB_NAME_MAX, "%s:%s",
	    f->tee == TEE_TDX ? "tdx" : "sgx", f->qe ? "qe" : fmspc);
}

static bool
floor_parse(struct eval_floor *out, const char *name, uint64_t number)
{
	struct eval_floor f = { .number = (uint32_t)number };

	if (number > UINT32_MAX || strlen(name) < 5)
		return false;
	if (strncmp(name, "tdx:", 4) == 0)
		f.tee = TEE_TDX;
	else if (strncmp(name, "sgx:", 4) == 0)
		f.tee = TEE_SGX;
	else
		return false;
	f.qe = strcmp(name + 4, "qe") == 0;
	if (!f.qe &&
	    (strlen(name + 4) != 12 ||
		hex_fixed(f.fmspc, sizeof f.fmspc, name + 4) != ERR_OK))
		return false;
	*out = f;
	return true;
}

/* What the ledger has becomes this node's. */
void
floorsync_adopt(struct cluster *c)
{
	const struct ledger *l = core_ledger(c->core);
	struct chain_floor at = { .has_hash = true };
	char name[TCB_NAME_MAX];
	struct eval_floor f;

	at.number = ledger_floor(l, at.hash);
	if (at.number > 0 && c->o.view != NULL)
		chainview_set_floor(c->o.view, &at);
	for (size_t i = 0; c->o.verifier != NULL && i < ledger_n_tcb_floors(l);
	     i++)
		if (floor_parse(&f, name, ledger_tcb_floor_at(l, i, name)))
			(void)!evalfloor_raise(
			    verifier_floors(c->o.verifier), &f);
}

/* How long the floor has been what it is. */
static uint64_t
floor_stood_ms(struct cluster *c, uint64_t number, uint64_t now)
{
	if (c->floor_seen_ms == 0 || number != c->floor_seen) {
		c->floor_seen = number;
		c->floor_seen_ms = now;
	}
	return now - c->floor_seen_ms;
}

static void
propose_block(struct cluster *c)
{
	struct command cmd = { .kind = COMMAND_FLOOR };
	struct chain_floor f = { 0 };
	uint64_t now = clock_boot_ms(), known, stood;
	uint8_t hash[32];

	if (c->o.view == NULL)
		return;
	known = ledger_floor(core_ledger(c->core), hash);
	stood = floor_stood_ms(c, known, now);
	if ((engine_state(core_engine(c->core)) != ENGINE_LEADER &&
		stood < BLOCK_LATE_MS) ||
	    (c->floor_at_ms != 0 && now - c->floor_at_ms < BLOCK_EVERY_MS))
		return;
	chainview_floor(c->o.view, &f);
	if (!f.has_hash || f.number <= known)
		return;
	c->floor_at_ms = now;
	cmd.u.floor.number = f.number;
	memcpy(cmd.u.floor.hash, f.hash, sizeof f.hash);
	cluster_submit(c, &cmd, NULL, NULL);
}

static void
propose_numbers(struct cluster *c)
{
	struct eval_floor f[EVALFLOOR_MAX];
	const struct ledger *l = core_ledger(c->core);
	unsigned left = PROPOSALS;
	size_t n;

	if (c->o.verifier == NULL)
		return;
	n = evalfloor_list(f, EVALFLOOR_MAX, verifier_floors(c->o.verifier));
	for (size_t i = 0; i < n && i < EVALFLOOR_MAX && left > 0; i++) {
		struct command cmd = { .kind = COMMAND_TCB_FLOOR };

		floor_name(cmd.u.tcb_floor.name, &f[i]);
		cmd.u.tcb_floor.number = f[i].number;
		if (f[i].number <= ledger_tcb_floor(l, cmd.u.tcb_floor.name))
			continue;
		cluster_submit(c, &cmd, NULL, NULL);
		left--;
	}
}

void
floorsync_propose(struct cluster *c)
{
	if (cluster_phase(c) != PHASE_READY)
		return;
	propose_block(c);
	propose_numbers(c);
}
