/* What the cluster knows: answers without effects. */
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/secret.h"
#include "kms/cluster/cluster_int.h"

/* Roots of the oldest epoch in use, which come before all others: epoch 0 is
 * anchored, and the contract names it; a later one is the registry's. */
static bool
holds_roots(const struct cluster *c)
{
	const struct ledger *l = core_ledger(c->core);

	for (uint64_t n = 0; n < ledger_n_epochs(l); n++) {
		const struct ledger_epoch *ep = ledger_epoch(l, n);

		/* The registry may be seen to end one before the log does. */
		if ((ep->state != LEDGER_EPOCH_ACTIVE &&
			ep->state != LEDGER_EPOCH_TAINTED) ||
		    !core_epoch_open(c->core, n))
			continue;
		return (n > 0 || keystore_confirmed(c)) &&
		    keystore_may_open(c, n) && keyring_has(c->o.keyring, n);
	}
	return false;
}

enum cluster_phase
cluster_phase(const struct cluster *c)
{
	switch (core_phase(c->core)) {
	case CORE_WAITING:
		return PHASE_STARTING;
	case CORE_GENESIS:
		return PHASE_GENESIS;
	case CORE_JOINING:
		return PHASE_JOINING;
	case CORE_LEARNING:
		return PHASE_LEARNING;
	case CORE_MEMBER:
		/* What it made may be gone again (watch.c). */
		return holds_roots(c)                         ? PHASE_READY
		    : c->made && keyring_has(c->o.keyring, 0) ? PHASE_GENESIS
							      : PHASE_LEARNING;
	case CORE_RECOVERING:
		return PHASE_RECOVERING;
	case CORE_HALTED:
		return PHASE_HALTED;
	}
	return PHASE_STARTING;
}

const struct core *
cluster_core(const struct cluster *c)
{
	return c->core;
}

struct links *
cluster_links(const struct cluster *c)
{
	return c->links;
}

enum err
cluster_serves(const struct cluster *c, struct refusal *why)
{
	return core_serves(c->core, clock_boot_ms(), why);
}

struct ledger_epoch *
cluster_copy_epochs(const struct cluster *c, size_t *n)
{
	const struct ledger *l = core_ledger(c->core);
	struct ledger_epoch *out;

	*n = ledger_n_epochs(l);
	if ((out = calloc(*n + 1, sizeof *out)) == NULL)
		return NULL;
	for (size_t i = 0; i < *n; i++)
		out[i] = *ledger_epoch(l, i);
	return out;
}

bool
cluster_has_roots(const struct cluster *c, uint64_t number)
{
	return keystore_has(c, number) && keystore_may_open(c, number) &&
	    keyring_has(c->o.keyring, number);
}

bool
cluster_genesis(const struct cluster *c, struct cluster_genesis *out)
{
	const struct ledger_epoch *ep = ledger_epoch(core_ledger(c->core), 0);
	struct cluster_genesis g = { .anchor = { .generation = 1 } };
	struct k256_secret key;
	struct k256_pub pub;
	struct epoch_roots *r;
	enum err e;

	if (core_phase(c->core) != CORE_GENESIS || ep == NULL ||
	    (r = keyring_use(c->o.keyring, 0)) == NULL)
		return false;
	e = anchor_key(&key, r);
	keyring_done(c->o.keyring);
	if (e == ERR_OK && (e = k256_pubkey(&pub, &key)) == ERR_OK)
		e = k256_address(g.signer, &pub);
	secret_wipe(&key, sizeof key);
	g.pub = ep->pub;
	g.anchor.index = ep->index;
	if (e != ERR_OK ||
	    !engine_hash(core_engine(c->core), ep->index, g.anchor.hash))
		return false;
	*out = g;
	return true;
}

void
cluster_info(const struct cluster *c, struct cluster_info *out)
{
	struct core_status s;

	*out = c->info;
	core_status(c->core, &s);
	if (s.waiting.code != REASON_NONE)
		out->waiting = s.waiting;
	if (cluster_phase(c) == PHASE_READY)
		out->waiting.code = REASON_NONE;
}
