/* ledger_epoch: the life of an epoch.
 *
 *   EPOCH ──► PREPARED ──► ACTIVE ──► TAINTED ──► DESTROYED
 *                 └──────────┴───────────┴──────────┘
 *
 * Epoch 0 is ACTIVE once it is anchored; for the others EPOCH_STATE says what
 * the registry says.  Each of its commands names the root it is about: one
 * that was replaced meanwhile is not meant. */
#include <string.h>

#include "common/base/planted.h"
#include "kms/state/ledger_int.h"

static bool
same_key(const struct ledger_epoch *e, const struct k256_pub *k)
{
	return memcmp(e->pub.k256.b, k->b, sizeof k->b) == 0;
}

static bool
same_epoch(const struct ledger_epoch *have, const struct command *c)
{
	const struct epoch_public *pub = &c->u.epoch.pub;

	/* A parsed command without certificate has zeros there; what was
	 * destroyed has lost its wrapped roots. */
	return same_key(have, &pub->k256) &&
	    memcmp(&have->pub.ca, &pub->ca, sizeof pub->ca) == 0 &&
	    (have->state == LEDGER_EPOCH_DESTROYED ||
		memcmp(have->wrapped, c->u.epoch.wrapped, WRAPPED_ROOTS_LEN) ==
		    0) &&
	    memcmp(&have->certificate, &c->u.epoch.certificate,
		sizeof have->certificate) == 0 &&
	    have->mode == c->u.epoch.mode &&
	    have->origin.order == c->u.epoch.origin.order &&
	    have->origin.vetoes == c->u.epoch.origin.vetoes &&
	    have->origin.attempt == c->u.epoch.origin.attempt;
}

bool
epoch_origin_after(const struct epoch_origin *a, const struct epoch_origin *b)
{
	if (a->order != b->order)
		return a->order > b->order;
	if (a->vetoes != b->vetoes)
		return a->vetoes > b->vetoes;
	return a->attempt > b->attempt;
}

bool
ledger_epoch_never_held(const struct ledger *l)
{
	size_t present = 0, ever = 0;

	for (size_t i = 0; i < l->n_members; i++) {
		present += l->member[i].present;
		ever += l->member[i].held != LEDGER_HELD_NOT;
	}
	return 2 * ever <= present;
}

/* May these roots take the place of others? */
static enum err
check_replaces(const struct ledger *l, struct ledger_outcome *o,
    const struct ledger_epoch *have, const struct command *c)
{
	const struct epoch_origin *new = &c->u.epoch.origin;

	if (have->pub.number == 0 || have->pub.number + 1 != l->n_epochs ||
	    have->state != LEDGER_EPOCH_PREPARED ||
	    !epoch_origin_after(new, &have->origin))
		return ledger_deny(o, REASON_ROOT_MISMATCH);
	/* They may have been published, and then nobody may lose them. */
	if (new->order == have->origin.order &&new->vetoes ==
		have->origin.vetoes &&
	    !ledger_epoch_never_held(l))
		return ledger_deny(o, REASON_ROOT_MISMATCH);
	return ERR_OK;
}

enum err
ledger_epoch_apply(struct ledger *l, struct ledger_outcome *o, uint64_t index,
    const struct command *c)
{
	uint64_t number = c->u.epoch.pub.number;
	const struct ledger_epoch *have = ledger_epoch(l, number);
	struct ledger_epoch *e;
	enum err err;

	if (have != NULL && same_epoch(have, c))
		return ERR_EXISTS;
	if (have != NULL && (err = check_replaces(l, o, have, c)) != ERR_OK)
		return err;
	if (number > l->n_epochs)
		return ledger_deny(o, REASON_EPOCH_UNKNOWN);
	/* What is not in use signs no successor. */
	if (have == NULL && number > 0 &&
	    l->epoch[number - 1].state != LEDGER_EPOCH_ACTIVE)
		return ledger_deny(o, REASON_EPOCH_CLOSED);
	if (number >= LEDGER_MAX_EPOCHS)
		return ERR_LIMIT;
	if (have == NULL)
		l->n_epochs++;
	e = &l->epoch[number];
	*e = (struct ledger_epoch){ .pub = c->u.epoch.pub,
		.has_certificate = c->u.epoch.has_certificate,
		.certificate = c->u.epoch.certificate,
		.origin = c->u.epoch.origin,
		.mode = c->u.epoch.mode,
		.state = LEDGER_EPOCH_PREPARED,
		.index = index };
	memcpy(e->wrapped, c->u.epoch.wrapped, sizeof e->wrapped);
	for (size_t i = 0; i < l->n_members; i++)
		l->member[i].held = LEDGER_HELD_NOT;
	return ERR_OK;
}

enum err
ledger_epoch_held(
    struct ledger *l, struct ledger_outcome *o, const struct command *c)
{
	const struct ledger_epoch *e = ledger_epoch(l, c->u.held.number);
	struct ledger_member *m = ledger_member_find(l, c->u.held.slot);

	if (e == NULL)
		return ledger_deny(o, REASON_EPOCH_UNKNOWN);
	if (!same_key(e, &c->u.held.k256))
		return ledger_deny(o, REASON_ROOT_MISMATCH);
	if (e->state != LEDGER_EPOCH_PREPARED)
		return ledger_deny(o, REASON_EPOCH_CLOSED);
	if (m == NULL || !ledger_holds(m, c->u.held.incarnation))
		return ledger_deny(o, REASON_NOT_MEMBER);
	if (m->held == LEDGER_HELD)
		return ERR_EXISTS;
	m->held = LEDGER_HELD;
	return ERR_OK;
}

enum err
ledger_epoch_follow(
    struct ledger *l, struct ledger_outcome *o, const struct command *c)
{
	uint64_t number = c->u.epoch_state.number;
	enum ledger_epoch_state to = c->u.epoch_state.state;
	struct ledger_epoch *e;

	if (number >= l->n_epochs)
		return ledger_deny(o, REASON_EPOCH_UNKNOWN);
	e = &l->epoch[PLANTED(5) ? l->n_epochs - 1 : number];
	if (!same_key(e, &c->u.epoch_state.k256))
		return ledger_deny(o, REASON_ROOT_MISMATCH);
	if (to == e->state)
		return ERR_EXISTS;
	if (to < e->state)
		return ledger_deny(o, REASON_ROLLBACK);
	/* Nothing was published before it was anchored. */
	if (!ledger_epoch_anchored(l, number))
		return ledger_deny(o, REASON_NOT_READY);
	e->state = to;
	if (to == LEDGER_EPOCH_DESTROYED)
		memset(e->wrapped, 0, sizeof e->wrapped);
	return ERR_OK;
}

void
ledger_note_anchor(struct ledger *l, uint64_t index)
{
	if (index > l->effective)
		l->effective = index;
	if (ledger_epoch_anchored(l, 0) &&
	    l->epoch[0].state == LEDGER_EPOCH_PREPARED)
		l->epoch[0].state = LEDGER_EPOCH_ACTIVE;
}

size_t
ledger_n_epochs(const struct ledger *l)
{
	return l->n_epochs;
}

const struct ledger_epoch *
ledger_epoch(const struct ledger *l, uint64_t n)
{
	return n < l->n_epochs ? &l->epoch[n] : NULL;
}

bool
ledger_epoch_anchored(const struct ledger *l, uint64_t n)
{
	return n < l->n_epochs && l->epoch[n].index <= l->effective;
}

uint64_t
ledger_critical_index(const struct ledger *l)
{
	return l->n_epochs > 0 ? l->epoch[l->n_epochs - 1].index : 0;
}
