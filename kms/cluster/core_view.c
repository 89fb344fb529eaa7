/* What the core knows: answers without effects. */
#include <string.h>

#include "kms/cluster/core_int.h"

enum core_phase
core_phase(const struct core *c)
{
	return c->phase;
}

enum core_halt
core_halted(const struct core *c)
{
	return c->halt;
}

const struct engine *
core_engine(const struct core *c)
{
	return c->engine;
}

const struct ledger *
core_ledger(const struct core *c)
{
	return c->ledger;
}

const struct member *
core_self(const struct core *c)
{
	return &c->o.self;
}

uint64_t
core_generation(const struct core *c)
{
	return c->engine != NULL ? c->generation : c->disk_generation;
}

uint64_t
core_deadline(const struct core *c)
{
	uint64_t at = core_client_deadline(c);

	if (c->phase == CORE_HALTED)
		return UINT64_MAX;
	if (c->engine != NULL && engine_deadline(c->engine) < at)
		at = engine_deadline(c->engine);
	if ((c->phase == CORE_JOINING || c->phase == CORE_LEARNING ||
		c->phase == CORE_RECOVERING) &&
	    c->next_join_ms < at)
		at = c->next_join_ms;
	if (c->next_chain_ms > c->now && c->next_chain_ms < at)
		at = c->next_chain_ms;
	if (c->draining && c->drain_sent_ms < at)
		at = c->drain_sent_ms;
	return at;
}

static bool
votes(const struct core *c)
{
	const struct engine_member *m = core_config_member(c, c->id);

	return m != NULL && m->role == ENGINE_VOTER;
}

enum err
core_serves(const struct core *c, uint64_t now_ms, struct refusal *why)
{
	if (c->phase == CORE_HALTED)
		return refuse(
		    why, REASON_EVICTED, "halted: %s", core_halt_text(c->halt));
	if (c->phase != CORE_MEMBER || !votes(c))
		return refuse(why, REASON_NOT_MEMBER, "phase %s",
		    core_phase_text(c->phase));
	/* What one disk holds can be lost with one disk. */
	if (!c->o.unsafe_plain &&
	    core_voters(engine_config(c->engine)) < core_min_voters(c))
		return refuse(why, REASON_NOT_READY, "%u voters, of %u seats",
		    core_voters(engine_config(c->engine)), c->view.n_seats);
	if (core_fenced(c, now_ms))
		return refuse(why, REASON_FENCED, "last read %llu ms ago",
		    (unsigned long long)(now_ms - c->anchor_ms));
	if (c->confirmed_ms == 0 ||
	    now_ms - c->confirmed_ms > c->o.timing.fresh_ms)
		return refuse(why, REASON_NO_LEADER,
		    "no quorum has confirmed this node for %llu ms",
		    (unsigned long long)(now_ms - c->confirmed_ms));
	return ERR_OK;
}

/* Only another leader removes us, and only when those who are left can go on:
 * whoever left before that could take the majority along. */
bool
core_must_hand_on(const struct core *c)
{
	const struct engine_config *k = engine_config(c->engine);

	if (c->may_not_lead)
		return true;
	if (!c->has_view || core_seated(c, &c->o.self))
		return false;
	for (unsigned i = 0; i < c->n_peers; i++)
		for (unsigned j = 0; j < k->n; j++)
			if (k->member[j].id == c->peer[i].id &&
			    k->member[j].role == ENGINE_VOTER &&
			    core_seated(c, &c->peer[i].who))
				return true;
	return false;
}

/* ---- for operators ---- */

static struct core_node *
row(struct core_node *out, size_t *n, size_t max, const char *slot,
    const uint8_t *incarnation)
{
	struct core_node *r = NULL;

	for (size_t i = 0; i < *n; i++) {
		if (strcmp(out[i].slot, slot) != 0)
			continue;
		if (incarnation == NULL ||
		    memcmp(out[i].incarnation, incarnation,
			INCARNATION_ID_LEN) == 0)
			return &out[i];
		if (out[i].role == NODE_ABSENT)
			r = &out[i];
	}
	if (r == NULL && *n == max)
		return NULL;
	if (r == NULL) {
		r = &out[(*n)++];
		*r = (struct core_node){ 0 };
	}
	memcpy(r->slot, slot, strnlen(slot, SLOT_MAX - 1));
	if (incarnation != NULL)
		memcpy(r->incarnation, incarnation, INCARNATION_ID_LEN);
	return r;
}

static void
fill(const struct core *c, struct core_node *r, const struct core_peer *p)
{
	const struct engine_member *m = core_config_member(c, p->id);

	memcpy(r->device_id, p->who.device_id, 32);
	r->heard_ms = p->heard_ms;
	r->refused = p->refused;
	r->offer_generation = p->disk_generation;
	r->offer_index = p->last;
	r->offer_term = p->last_term;
	if (m != NULL)
		r->role = m->role == ENGINE_VOTER ? NODE_VOTER : NODE_LEARNER;
	else if (p->offers &&
	    c->now - p->offer_ms <= (p->certified
					    ? 2ull * c->o.timing.evict_ms
					    : 10ull * c->o.timing.join_ms))
		r->role = NODE_OFFERS;
	if (c->engine != NULL) {
		r->leader = engine_leader(c->engine) == p->id;
		r->match = engine_match(c->engine, p->id);
	}
}

size_t
core_nodes(const struct core *c, struct core_node *out, size_t max)
{
	const struct core_peer me = { .who = c->o.self,
		.id = c->id,
		.heard_ms = c->now,
		.refused = c->waiting.code };
	struct core_node *r;
	size_t n = 0;

	for (unsigned i = 0; c->has_view && i < c->view.n_seats; i++) {
		r = row(out, &n, max, c->view.seat[i].slot, NULL);
		if (r != NULL) {
			r->seated = true;
			memcpy(r->device_id, c->view.seat[i].device_id, 32);
		}
	}
	if ((r = row(out, &n, max, c->o.self.slot, c->o.self.incarnation)) !=
	    NULL) {
		fill(c, r, &me);
		r->self = true;
		if (c->engine != NULL) {
			r->offer_generation = c->generation;
			r->offer_index = r->match = engine_last(c->engine);
			(void)engine_term_at(
			    c->engine, r->offer_index, &r->offer_term);
		} else {
			r->role = NODE_OFFERS;
			r->offer_generation = c->disk_generation;
			r->offer_index = logcache_last(&c->disk);
			(void)logcache_term(
			    &c->disk, r->offer_index, &r->offer_term);
		}
	}
	for (unsigned i = 0; i < c->n_peers; i++) {
		const struct core_peer *p = &c->peer[i];

		/* Former lives are history. */
		if (core_config_member(c, p->id) == NULL &&
		    c->now - p->heard_ms > 60000)
			continue;
		if ((r = row(out, &n, max, p->who.slot, p->who.incarnation)) !=
		    NULL)
			fill(c, r, p);
	}
	return n;
}

void
core_status(const struct core *c, struct core_status *out)
{
	uint64_t trouble_at = 0;
	struct core_status s = { .phase = c->phase,
		.halt = c->halt,
		.fenced = core_fenced(c, c->now),
		.generation = core_generation(c),
		.applied = ledger_index(c->ledger),
		.confirmed_ms = c->confirmed_ms,
		.anchor_ms = c->has_view ? c->anchor_ms : 0,
		.anchor = c->view.at,
		.critical = ledger_critical_index(c->ledger),
		.seats = c->view.n_seats,
		.waiting = c->waiting,
		.trouble = core_rotate_trouble(c, &trouble_at),
		.trouble_at = trouble_at,
		.rounds = c->rounds_done,
		.applied_commands = c->applied_commands,
		.forwarded = c->forwarded,
		.elections = c->elections };
	const struct engine_config *k;

	if (c->engine == NULL) {
		s.last = logcache_last(&c->disk);
		*out = s;
		return;
	}
	s.term = engine_term(c->engine);
	s.last = engine_last(c->engine);
	s.commit = engine_commit(c->engine);
	s.durable = engine_durable(c->engine);
	k = engine_config(c->engine);
	s.voters = core_voters(k);
	s.learners = k->n - s.voters;
	for (unsigned i = 0; i < k->n; i++)
		if (k->member[i].id == engine_leader(c->engine))
			core_address_slot(s.leader, k->member[i].address);
	*out = s;
}
