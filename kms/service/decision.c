#include <string.h>

#include "common/base/planted.h"
#include "common/crypto/epochcert.h"
#include "kms/service/decision.h"

/* What is read is kept for its block, so a second try asks for one thing only.
 * On a busy machine that can take as long as a block, where those are seconds
 * apart. */
#define TRIES 6

static bool
same_block(const struct chain_block *a, const struct chain_block *b)
{
	return a->number == b->number &&
	    memcmp(a->hash, b->hash, sizeof a->hash) == 0;
}

/* This node is allowed, and the roots here are the contract's. */
static enum err
ask_self(struct job *j, struct chain_block *at)
{
	struct gate_kms_info info;
	struct k256_pub root;
	enum err e;

	e = self_allowed(j->o->self, j->now, &j->why);
	if (e != ERR_OK)
		return e;
	e = gate_kms_info(j->o->gate, j->now, &info, at, &j->why);
	if (e != ERR_OK)
		return e;
	if (j->n_epochs == 0 ||
	    k256_pub_parse(&root, info.k256_pub, info.k256_pub_len) != ERR_OK ||
	    memcmp(&root, &j->epochs[0].pub.k256, sizeof root) != 0)
		return refuse(&j->why, REASON_ROOT_MISMATCH,
		    "kmsInfo names another root than epoch 0");
	return ERR_OK;
}

/* What every release rests on, asked anew at the block of the moment: the
 * above, and the CVM at the other end is allowed.  `*moved`: those were two
 * blocks. */
static enum err
ask_gate(struct job *j, bool *moved)
{
	struct chain_block at;
	enum err e = ask_self(j, &at);

	if (e != ERR_OK)
		return e;
	e = gate_ask(j->o->gate, GATE_APP, &j->caller.boot, j->now,
	    &j->decision, &j->why);
	if (PLANTED(12) && e == ERR_DENIED)
		e = ERR_OK;
	if (e == ERR_OK)
		*moved = !same_block(&at, &j->decision.block);
	return e;
}

/* Where there is no registry there is epoch 0, which everybody uses. */
static enum err
choose_without(struct job *j, const uint64_t *asked, struct registry_choice *c)
{
	*c = (struct registry_choice){ .number = asked != NULL ? *asked : 0,
		.status = REGISTRY_ACTIVE };
	if (c->number != 0)
		return refuse(&j->why, REASON_EPOCH_UNKNOWN,
		    "epoch %llu; there is no registry, so only 0",
		    (unsigned long long)c->number);
	return ERR_OK;
}

/* The registry's word is about roots that this node must have, too; and what
 * the cluster has seen end has ended, though this node's view lag behind. */
static enum err
check_ledger(
    struct job *j, const struct registry_choice *c, const uint64_t *asked)
{
	unsigned long long n = (unsigned long long)c->number;
	const struct ledger_epoch *en;
	uint8_t ca_hash[32];

	if (c->number >= j->n_epochs)
		return refuse(
		    &j->why, REASON_NOT_READY, "epoch %llu is not here yet", n);
	en = &j->epochs[c->number];
	if (memcmp(&c->k256, &en->pub.k256, sizeof c->k256) != 0 ||
	    epochcert_ca_hash(ca_hash, &en->pub.ca) != ERR_OK ||
	    memcmp(c->ca_spki_hash, ca_hash, sizeof ca_hash) != 0)
		return refuse(&j->why, REASON_ROOT_MISMATCH,
		    "epoch %llu here is not what the registry names", n);
	switch (en->state) {
	case LEDGER_EPOCH_DESTROYED:
		return refuse(
		    &j->why, REASON_EPOCH_CLOSED, "epoch %llu is destroyed", n);
	case LEDGER_EPOCH_TAINTED:
		if (asked == NULL)
			return refuse(&j->why, REASON_EPOCH_CLOSED,
			    "epoch %llu is tainted: only by number", n);
		j->tainted = true;
		break;
	case LEDGER_EPOCH_PREPARED: /* the registry may be seen first */
	case LEDGER_EPOCH_ACTIVE:
		break;
	}
	return ERR_OK;
}

static enum err
choose(struct job *j, const uint64_t *asked, bool *moved)
{
	struct registry_choice c;
	enum err e;

	if (j->o->registry == NULL) {
		if ((e = choose_without(j, asked, &c)) != ERR_OK)
			return e;
	} else {
		e = registry_choose(j->o->registry, j->caller.boot.app_id,
		    asked, j->now, &c, &j->why);
		if (e != ERR_OK)
			return e;
		j->tainted = c.status == REGISTRY_TAINTED;
		if ((e = check_ledger(j, &c, asked)) != ERR_OK)
			return e;
		*moved = *moved || !same_block(&c.block, &j->decision.block);
	}
	j->epoch = PLANTED(13) ? c.pinned : c.number;
	j->pinned = c.pinned;
	return ERR_OK;
}

static enum err
decide(struct job *j, bool with_epoch, const uint64_t *asked)
{
	/* Keys go to TDX guests only: the other vendors' evidence says less
	 * (DESIGN 4). */
	if (j->caller.verdict.tee != TEE_TDX)
		return refuse(&j->why, REASON_QUOTE_UNSUPPORTED,
		    "keys are not released to this kind of platform");
	for (unsigned i = 0; i < TRIES; i++) {
		bool moved = false;
		enum err e = ask_gate(j, &moved);

		if (e == ERR_OK && with_epoch)
			e = choose(j, asked, &moved);
		if (e != ERR_OK || !moved)
			return e;
	}
	(void)refuse(&j->why, REASON_CHAIN_DISAGREE,
	    "the block moved on while it was read");
	return ERR_AGAIN;
}

enum err
decision_app(struct job *j)
{
	return decide(j, false, NULL);
}

enum err
decision_epoch(struct job *j, const uint64_t *asked)
{
	return decide(j, true, asked);
}

/* Who never was registered has no pin, which reads as 0 all the same. */
static enum err
choose_env(struct job *j, const uint8_t app_id[static 20],
    const struct chain_block *at, struct registry_choice *out, bool *moved)
{
	struct registry_choice active;
	struct chain_block asked;
	bool known = true;
	enum err e, pinned;

	e = registry_active(j->o->registry, j->now, &active, &j->why);
	if (e != ERR_OK)
		return e;
	pinned =
	    registry_choose(j->o->registry, app_id, NULL, j->now, out, &j->why);
	if (pinned != ERR_OK && pinned != ERR_DENIED)
		return pinned;
	if (pinned != ERR_OK || (out->pinned == 0 && active.number != 0)) {
		struct refusal why = { .code = REASON_NONE };

		e = gate_app_registered(
		    j->o->gate, app_id, j->now, &known, &asked, &why);
		if (e != ERR_OK) {
			j->why = why;
			return e;
		}
		*moved = *moved || !same_block(&asked, at);
	}
	if (!known)
		*out = active;
	else if (pinned != ERR_OK)
		return pinned;
	*moved = *moved || !same_block(&out->block, at);
	return ERR_OK;
}

enum err
decision_env(struct job *j, const uint8_t app_id[static 20])
{
	for (unsigned i = 0; i < TRIES; i++) {
		struct registry_choice c;
		struct chain_block at;
		bool moved = false;
		enum err e = ask_self(j, &at);

		if (e == ERR_OK && j->o->registry == NULL)
			e = choose_without(j, NULL, &c);
		else if (e == ERR_OK)
			e = choose_env(j, app_id, &at, &c, &moved);
		if (e == ERR_OK && j->o->registry != NULL)
			e = check_ledger(j, &c, NULL);
		if (e != ERR_OK)
			return e;
		if (!moved) {
			j->epoch = c.number;
			j->pinned = c.pinned;
			return ERR_OK;
		}
	}
	(void)refuse(&j->why, REASON_CHAIN_DISAGREE,
	    "the block moved on while it was read");
	return ERR_AGAIN;
}
