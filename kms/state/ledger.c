/* ledger: what each command does to the state, and what can be asked.
 *
 * A rule refuses before it changes anything; ledger_apply alone moves the
 * index and writes the audit log. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "kms/state/ledger_int.h"

enum err
ledger_new(struct ledger **out)
{
	struct ledger *l = calloc(1, sizeof *l);

	if (l == NULL)
		return ERR_NOMEM;
	l->audit.ring = calloc(LEDGER_AUDIT_MAX, sizeof *l->audit.ring);
	if (l->audit.ring == NULL) {
		free(l);
		return ERR_NOMEM;
	}
	*out = l;
	return ERR_OK;
}

void
ledger_free(struct ledger *l)
{
	if (l == NULL)
		return;
	ledger_counter_fini(&l->counters);
	free(l->audit.ring);
	free(l);
}

enum err
ledger_deny(struct ledger_outcome *o, enum reason why)
{
	o->reason = why;
	return ERR_DENIED;
}

/* The place of `slot` among the sorted members. */
static size_t
member_place(const struct ledger *l, const char *slot, bool *found)
{
	size_t i = 0;

	while (i < l->n_members && strcmp(l->member[i].who.slot, slot) < 0)
		i++;
	*found = i < l->n_members && strcmp(l->member[i].who.slot, slot) == 0;
	return i;
}

struct ledger_member *
ledger_member_find(struct ledger *l, const char *slot)
{
	bool found;
	size_t at = member_place(l, slot, &found);

	return found ? &l->member[at] : NULL;
}

bool
ledger_holds(const struct ledger_member *m, const uint8_t *incarnation)
{
	return m->present &&
	    memcmp(m->who.incarnation, incarnation, INCARNATION_ID_LEN) == 0;
}

static bool
same_member(const struct member *a, const struct member *b)
{
	return memcmp(a->incarnation, b->incarnation, INCARNATION_ID_LEN) ==
	    0 &&
	    memcmp(a->device_id, b->device_id, sizeof a->device_id) == 0 &&
	    memcmp(a->mr_aggregated, b->mr_aggregated,
		sizeof a->mr_aggregated) == 0;
}

/* May `who` take the slot that `m` describes (NULL: never seen)? */
static enum err
check_member(const struct ledger *l, struct ledger_outcome *o,
    const struct ledger_member *m, const struct member *who)
{
	if (m != NULL && m->present)
		return same_member(&m->who, who)
		    ? ERR_EXISTS
		    : ledger_deny(o, REASON_SLOT_ALIVE);
	/* One life of a node has one seat: two would be two votes. */
	for (size_t i = 0; i < l->n_members; i++)
		if (ledger_holds(&l->member[i], who->incarnation))
			return ledger_deny(o, REASON_SEAT);
	return m == NULL && l->n_members >= LEDGER_MAX_MEMBERS ? ERR_LIMIT
							       : ERR_OK;
}

static enum err
apply_member(struct ledger *l, struct ledger_outcome *o, uint64_t index,
    const struct command *c)
{
	bool found;
	size_t at = member_place(l, c->u.member.slot, &found);
	struct ledger_member *m = &l->member[at];
	enum err e = check_member(l, o, found ? m : NULL, &c->u.member);

	if (e != ERR_OK)
		return e;
	if (!found) {
		memmove(m + 1, m, (l->n_members - at) * sizeof *m);
		*m = (struct ledger_member){ 0 };
		l->n_members++;
	}
	m->who = c->u.member;
	m->present = true;
	m->since = index;
	m->lives++;
	return ERR_OK;
}

static enum err
apply_left(struct ledger *l, struct ledger_outcome *o, const struct command *c)
{
	struct ledger_member *m = ledger_member_find(l, c->u.left.slot);

	if (m == NULL ||
	    memcmp(m->who.incarnation, c->u.left.incarnation,
		INCARNATION_ID_LEN) != 0)
		return ledger_deny(o, REASON_NOT_MEMBER);
	if (!m->present)
		return ERR_EXISTS;
	m->present = false;
	if (m->held == LEDGER_HELD)
		m->held = LEDGER_HELD_BEFORE;
	return ERR_OK;
}

static enum err
apply_handover(
    struct ledger *l, struct ledger_outcome *o, const struct command *c)
{
	const struct member *to = &c->u.handover.to;
	const struct ledger_member *m = ledger_member_find(l, to->slot);

	if (ledger_epoch(l, c->u.handover.epoch) == NULL)
		return ledger_deny(o, REASON_EPOCH_UNKNOWN);
	if (m == NULL || !ledger_holds(m, to->incarnation))
		return ledger_deny(o, REASON_NOT_MEMBER);
	l->n_handovers++;
	return ERR_OK;
}

static enum err
apply_generation(
    struct ledger *l, struct ledger_outcome *o, const struct command *c)
{
	if (l->generation == UINT64_MAX)
		return ERR_LIMIT;
	if (c->u.generation.generation != l->generation + 1)
		return ledger_deny(o, REASON_FORKED);
	l->generation++;
	return ERR_OK;
}

static enum err
apply_anchored(
    struct ledger *l, struct ledger_outcome *o, const struct command *c)
{
	const struct ledger_anchor *old = &l->anchor;
	uint64_t generation = c->u.anchored.generation;
	uint64_t index = c->u.anchored.index;

	if (generation == old->generation && index == old->index) {
		if (memcmp(old->hash, c->u.anchored.hash, 32) == 0)
			return ERR_EXISTS;
		return ledger_deny(o, REASON_FORKED);
	}
	if (generation < old->generation ||
	    (generation == old->generation && index < old->index))
		return ledger_deny(o, REASON_ROLLBACK);
	/* 0 means that there is none; what this log has not reached is not
	 * of this log. */
	if (generation == 0 || generation > l->generation || index > l->index)
		return ledger_deny(o, REASON_ROLLBACK);
	l->anchor.generation = generation;
	l->anchor.index = index;
	memcpy(l->anchor.hash, c->u.anchored.hash, sizeof l->anchor.hash);
	ledger_note_anchor(l, index);
	return ERR_OK;
}

static enum err
apply_floor(struct ledger *l, struct ledger_outcome *o, const struct command *c)
{
	if (c->u.floor.number == l->floor &&
	    memcmp(c->u.floor.hash, l->floor_hash, sizeof l->floor_hash) != 0)
		return ledger_deny(o, REASON_CHAIN_DISAGREE);
	if (c->u.floor.number <= l->floor)
		return ERR_EXISTS;
	l->floor = c->u.floor.number;
	memcpy(l->floor_hash, c->u.floor.hash, sizeof l->floor_hash);
	return ERR_OK;
}

/* The place of `name` among the sorted floors. */
static size_t
tcb_place(const struct ledger *l, const char *name, bool *found)
{
	size_t i = 0;

	while (i < l->n_tcb && strcmp(l->tcb[i].name, name) < 0)
		i++;
	*found = i < l->n_tcb && strcmp(l->tcb[i].name, name) == 0;
	return i;
}

static enum err
apply_tcb_floor(struct ledger *l, const struct command *c)
{
	bool found;
	size_t at = tcb_place(l, c->u.tcb_floor.name, &found);
	struct tcb_floor *f = &l->tcb[at];

	if (c->u.tcb_floor.number <= (found ? f->number : 0))
		return ERR_EXISTS;
	if (!found) {
		if (l->n_tcb >= LEDGER_MAX_TCB_FLOORS)
			return ERR_LIMIT;
		memmove(f + 1, f, (l->n_tcb - at) * sizeof *f);
		*f = (struct tcb_floor){ 0 };
		memcpy(f->name, c->u.tcb_floor.name, sizeof f->name);
		l->n_tcb++;
	}
	f->number = c->u.tcb_floor.number;
	return ERR_OK;
}

static enum err
apply_kind(struct ledger *l, struct ledger_outcome *o, uint64_t index,
    const struct command *c)
{
	switch (c->kind) {
	case COMMAND_EPOCH:
		return ledger_epoch_apply(l, o, index, c);
	case COMMAND_MEMBER:
		return apply_member(l, o, index, c);
	case COMMAND_LEFT:
		return apply_left(l, o, c);
	case COMMAND_HANDOVER:
		return apply_handover(l, o, c);
	case COMMAND_GENERATION:
		return apply_generation(l, o, c);
	case COMMAND_ANCHORED:
		return apply_anchored(l, o, c);
	case COMMAND_FLOOR:
		return apply_floor(l, o, c);
	case COMMAND_TCB_FLOOR:
		return apply_tcb_floor(l, c);
	case COMMAND_INCREMENT:
		return ledger_counter_apply(&l->counters, o, c);
	case COMMAND_HELD:
		return ledger_epoch_held(l, o, c);
	case COMMAND_EPOCH_STATE:
		return ledger_epoch_follow(l, o, c);
	}
	return ERR_MALFORMED;
}

enum err
ledger_apply(struct ledger *l, struct ledger_outcome *out, uint64_t index,
    struct bytes command)
{
	struct ledger_outcome o = { .reason = REASON_NONE };
	struct command c;

	assert(index > l->index);
	o.err = command_parse(&c, command);
	if (o.err == ERR_OK)
		o.err = apply_kind(l, &o, index, &c);
	if (o.err == ERR_NOMEM)
		return ERR_NOMEM;
	if (o.err == ERR_OK && ledger_audit_is(c.kind))
		ledger_audit_add(&l->audit, index, command);
	l->index = index;
	*out = o;
	return ERR_OK;
}

uint64_t
ledger_index(const struct ledger *l)
{
	return l->index;
}

void
ledger_skip(struct ledger *l, uint64_t index)
{
	assert(index > l->index);
	l->index = index;
}

size_t
ledger_n_members(const struct ledger *l)
{
	return l->n_members;
}

const struct ledger_member *
ledger_member(const struct ledger *l, size_t i)
{
	return i < l->n_members ? &l->member[i] : NULL;
}

const struct ledger_member *
ledger_slot(const struct ledger *l, const char *slot)
{
	bool found;
	size_t at = member_place(l, slot, &found);

	return found ? &l->member[at] : NULL;
}

const struct ledger_anchor *
ledger_anchor(const struct ledger *l)
{
	return &l->anchor;
}

uint64_t
ledger_effective(const struct ledger *l)
{
	return l->effective;
}

uint64_t
ledger_generation(const struct ledger *l)
{
	return l->generation;
}

uint64_t
ledger_floor(const struct ledger *l, uint8_t hash[static 32])
{
	memcpy(hash, l->floor_hash, 32);
	return l->floor;
}

size_t
ledger_n_tcb_floors(const struct ledger *l)
{
	return l->n_tcb;
}

uint64_t
ledger_tcb_floor_at(
    const struct ledger *l, size_t i, char name[static TCB_NAME_MAX])
{
	assert(i < l->n_tcb);
	memcpy(name, l->tcb[i].name, TCB_NAME_MAX);
	return l->tcb[i].number;
}

uint64_t
ledger_tcb_floor(const struct ledger *l, const char *name)
{
	bool found;
	size_t at = tcb_place(l, name, &found);

	return found ? l->tcb[at].number : 0;
}
