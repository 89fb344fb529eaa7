/* Rounds: a majority of the voters says that our term is still theirs. */
#include <string.h>

#include "kms/cluster/core_int.h"

static bool
is_voter(const struct core *c, uint64_t id)
{
	const struct engine_member *m = core_config_member(c, id);

	return m != NULL && m->role == ENGINE_VOTER;
}

static void
round_held(struct core *c)
{
	if (c->confirmed_ms < c->round_began)
		c->confirmed_ms = c->round_began;
	c->rounds_done++;
	for (unsigned i = 0; i < c->n_requests; i++) {
		struct core_request *r = &c->request[i];

		if (r->state != REQUEST_ROUND || r->number != c->round)
			continue;
		r->index = c->round_index;
		r->state = REQUEST_APPLY;
	}
	for (unsigned i = 0; i < c->n_peers; i++) {
		struct core_peer *p = &c->peer[i];
		struct corewire m = { .type = WIRE_CERTIFICATE,
			.match = p->match,
			.term = engine_term(c->engine),
			.commit = engine_commit(c->engine) };

		/* Asked before this round began (P2). */
		if (!p->wants_certificate || p->offer_ms > c->round_began)
			continue;
		p->wants_certificate = false;
		memcpy(m.nonce, p->nonce, sizeof m.nonce);
		core_send_id(c, p->id, &m, false);
	}
	c->round_term = 0; /* none is under way */
}

static void
count_round(struct core *c)
{
	unsigned votes = is_voter(c, c->id) ? 1 : 0;

	for (unsigned i = 0; i < c->n_round_acks; i++)
		votes += is_voter(c, c->round_acks[i]);
	if (votes > core_voters(engine_config(c->engine)) / 2)
		round_held(c);
}

void
core_round_begin(struct core *c)
{
	const struct engine_config *k = engine_config(c->engine);

	c->round++;
	c->round_term = engine_term(c->engine);
	c->round_index = engine_commit(c->engine);
	c->round_began = c->now;
	c->n_round_acks = 0;
	c->wants_round = false;
	for (unsigned i = 0; i < c->n_requests; i++) {
		struct core_request *r = &c->request[i];

		if (r->kind == REQUEST_READ && r->state == REQUEST_QUEUED) {
			r->state = REQUEST_ROUND;
			r->number = c->round;
		}
	}
	for (unsigned i = 0; i < k->n; i++) {
		struct corewire m = { .type = WIRE_ROUND,
			.number = c->round,
			.term = c->round_term };

		if (k->member[i].id != c->id &&
		    k->member[i].role == ENGINE_VOTER)
			core_send_id(c, k->member[i].id, &m, true);
	}
	count_round(c);
}

void
core_round_ask(
    struct core *c, const struct core_peer *p, const struct corewire *m)
{
	struct corewire yes = {
		.type = WIRE_ROUND_OK, .number = m->number, .term = m->term
	};

	/* We have seen no higher term, hence voted in none. */
	if (engine_term(c->engine) == m->term &&
	    engine_state(c->engine) != ENGINE_LEADER)
		core_send_id(c, p->id, &yes, true);
}

void
core_round_ok(
    struct core *c, const struct core_peer *p, const struct corewire *m)
{
	if (!core_leads(c) || m->number != c->round || c->round_term == 0 ||
	    m->term != c->round_term || m->term != engine_term(c->engine) ||
	    c->n_round_acks == ENGINE_MEMBERS_MAX)
		return;
	for (unsigned i = 0; i < c->n_round_acks; i++)
		if (c->round_acks[i] == p->id)
			return;
	c->round_acks[c->n_round_acks++] = p->id;
	count_round(c);
}
