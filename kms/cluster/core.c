/* Events in, actions out.  Nothing here waits: what takes time comes back
 * as another event. */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/hex.h"
#include "common/base/rd.h"
#include "common/crypto/hash.h"
#include "kms/cluster/core_int.h"

#define SNAPSHOT_EVERY 8192
#define SNAPSHOT_TRAILING 1024

void
core_timing_default(struct core_timing *out)
{
	*out = (struct core_timing){ .heartbeat_ms = 50,
		.election_ms = 250,
		.join_ms = 100,
		.evict_ms = 1500,
		.demote_ms = 30000,
		.forward_ms = 5000,
		.fresh_ms = 5000,
		.fence_ms = 60000 };
}

const char *
core_phase_text(enum core_phase p)
{
	switch (p) {
	case CORE_WAITING:
		return "waiting";
	case CORE_GENESIS:
		return "genesis";
	case CORE_JOINING:
		return "joining";
	case CORE_LEARNING:
		return "learning";
	case CORE_MEMBER:
		return "member";
	case CORE_RECOVERING:
		return "recovering";
	case CORE_HALTED:
		return "halted";
	}
	return "?";
}

const char *
core_halt_text(enum core_halt h)
{
	switch (h) {
	case HALT_NONE:
		return "none";
	case HALT_EVICTED:
		return "evicted";
	case HALT_GENERATION:
		return "generation";
	case HALT_DIVERGED:
		return "diverged";
	case HALT_DENIED:
		return "denied";
	case HALT_INTERNAL:
		return "internal";
	case HALT_LEFT:
		return "left";
	case HALT_GAVE_WAY:
		return "gave_way";
	case HALT_DISK:
		return "disk";
	}
	return "?";
}

/* A member's name in raft: of its incarnation alone, so that no other life
 * can speak for it (I1). */
uint64_t
core_raft_id(const uint8_t incarnation[static INCARNATION_ID_LEN])
{
	uint8_t h[32];
	struct rd r = { .p = h, .left = 8 };

	sha256_v(h,
	    (const struct bytes[]){ BYTES_STR("devproof-kms/raft-id/v1"),
		{ incarnation, INCARNATION_ID_LEN } },
	    2);
	return rd_be64(&r) >> 1 | 1ull << 62;
}

uint64_t
core_id_of(const struct core *c, const struct member *m)
{
	uint8_t slot[INCARNATION_ID_LEN] = { 0 };

	if (!c->o.unsafe_plain)
		return core_raft_id(m->incarnation);
	/* Protection off: plain raft, where a restart is the same member. */
	memcpy(slot, m->slot, strnlen(m->slot, sizeof slot));
	return core_raft_id(slot);
}

void
core_address(char out[static ENGINE_ADDRESS_MAX], const struct member *m)
{
	char hex[2 * INCARNATION_ID_LEN + 1];

	hex_encode(hex, m->incarnation, INCARNATION_ID_LEN);
	(void)snprintf(out, ENGINE_ADDRESS_MAX, "%.31s/%s", m->slot, hex);
}

void
core_address_slot(char out[static SLOT_MAX], const char *address)
{
	size_t n = strcspn(address, "/");

	if (n >= SLOT_MAX)
		n = SLOT_MAX - 1;
	memcpy(out, address, n);
	out[n] = '\0';
}

enum err
core_new(struct core **out, const struct core_options *o)
{
	struct core *c = calloc(1, sizeof *c);

	if (c == NULL)
		return ERR_NOMEM;
	c->o = *o;
	if (c->o.snapshot_every == 0)
		c->o.snapshot_every = SNAPSHOT_EVERY;
	if (c->o.snapshot_trailing == 0)
		c->o.snapshot_trailing = SNAPSHOT_TRAILING;
	c->id = core_id_of(c, &o->self);
	if (ledger_new(&c->ledger) != ERR_OK) {
		free(c);
		return ERR_NOMEM;
	}
	*out = c;
	return ERR_OK;
}

void
core_action_fini(struct core_action *a)
{
	if (a->kind == CORE_SEND)
		buf_fini(&a->send.bytes);
}

void
core_free(struct core *c)
{
	struct core_action a;

	if (c == NULL)
		return;
	engine_free(c->engine);
	c->engine = NULL;
	while (core_next(c, &a))
		core_action_fini(&a);
	free(c->action);
	for (unsigned i = 0; i < c->n_requests; i++)
		buf_fini(&c->request[i].command);
	ledger_free(c->ledger);
	logcache_fini(&c->disk);
	buf_fini(&c->disk_snapshot_data);
	free(c);
}

/* ---- actions ---- */

void
core_check(struct core *c, enum err e)
{
	if (e != ERR_OK && c->failed == ERR_OK)
		c->failed = e;
}

struct core_action *
core_act(struct core *c, enum core_action_kind kind)
{
	static struct core_action lost; /* nobody reads it */
	struct core_action *grown;

	if (c->n_actions == c->actions_cap) {
		size_t cap = c->actions_cap == 0 ? 64 : c->actions_cap * 2;

		grown = realloc(c->action, cap * sizeof *grown);
		if (grown == NULL) {
			core_check(c, ERR_NOMEM);
			return &lost;
		}
		c->action = grown;
		c->actions_cap = cap;
	}
	c->action[c->n_actions] = (struct core_action){ .kind = kind };
	return &c->action[c->n_actions++];
}

void
core_tell(struct core *c, bool warn, const char *name, const char *slot,
    const char *fmt, ...)
{
	struct core_action *a = core_act(c, CORE_EVENT);
	va_list ap;

	a->event.name = name;
	a->event.warn = warn;
	(void)snprintf(a->event.slot, sizeof a->event.slot, "%s", slot);
	va_start(ap, fmt);
	(void)vsnprintf(a->event.detail, sizeof a->event.detail, fmt, ap);
	va_end(ap);
}

void
core_send(
    struct core *c, const struct member *to, struct corewire *m, bool early)
{
	struct core_action *a = core_act(c, CORE_SEND);

	m->cluster = c->o.cluster;
	m->generation = c->engine != NULL ? c->generation : 0;
	a->send.to = *to;
	a->send.early = early;
	core_check(c, corewire_write(&a->send.bytes, m));
}

bool
core_who(struct core *c, uint64_t id, struct member *out)
{
	const struct core_peer *p = core_find_peer(c, id);
	const struct engine_member *m = core_config_member(c, id);
	struct member who = { 0 };
	const char *hex;
	size_t n;

	if (p != NULL) {
		*out = p->who;
		return true;
	}
	if (m == NULL || (hex = strchr(m->address, '/')) == NULL ||
	    hex_decode(who.incarnation, sizeof who.incarnation, &n, hex + 1,
		strlen(hex + 1)) != ERR_OK ||
	    n != sizeof who.incarnation)
		return false;
	core_address_slot(who.slot, m->address);
	*out = who;
	return true;
}

void
core_send_id(struct core *c, uint64_t id, struct corewire *m, bool early)
{
	struct member who;

	if (!core_who(c, id, &who))
		return;
	m->to = id;
	core_send(c, &who, m, early);
}

void
core_set_phase(struct core *c, enum core_phase p)
{
	if (c->phase == p || c->phase == CORE_HALTED)
		return;
	c->phase = p;
	core_tell(c, false, "phase", c->o.self.slot, "%s", core_phase_text(p));
}

void
core_halt(struct core *c, enum core_halt why)
{
	if (c->phase == CORE_HALTED)
		return;
	core_set_phase(c, CORE_HALTED);
	c->halt = why;
	core_act(c, CORE_HALT)->halt = why;
}

bool
core_next(struct core *c, struct core_action *out)
{
	if (c->first_action == c->n_actions) {
		c->first_action = c->n_actions = 0;
		/* One write at a time: what comes meanwhile is the next. */
		if (c->engine != NULL && !c->write_open &&
		    c->failed == ERR_OK && c->phase != CORE_HALTED) {
			core_client_flush(c);
			core_log_emit(c);
		}
	}
	if (c->first_action == c->n_actions)
		return false;
	*out = c->action[c->first_action++];
	return true;
}

/* ---- messages ---- */

struct core_peer *
core_find_peer(struct core *c, uint64_t id)
{
	for (unsigned i = 0; i < c->n_peers; i++)
		if (c->peer[i].id == id)
			return &c->peer[i];
	return NULL;
}

static struct core_peer *
note_peer(struct core *c, const struct member *who)
{
	uint64_t id = core_id_of(c, who);
	struct core_peer *p = core_find_peer(c, id);

	if (p == NULL && c->n_peers < CORE_PEERS) {
		p = &c->peer[c->n_peers++];
	} else if (p == NULL) {
		p = &c->peer[0];
		for (unsigned i = 1; i < c->n_peers; i++)
			if (c->peer[i].heard_ms < p->heard_ms)
				p = &c->peer[i];
	}
	if (p->id != id)
		*p = (struct core_peer){ .id = id };
	p->who = *who;
	p->heard_ms = c->now;
	return p;
}

/* Who is not in our configuration was replaced in it, and is told so (P8); or
 * it is in a newer one, and knows better by the index.  A follower may be the
 * only one that an old member still knows; but who asks for its vote may also
 * be a new member, so raft gets to see it.  True: it need not. */
static bool
stranger(struct core *c, const struct core_peer *p, struct bytes body)
{
	struct corewire m = { .type = WIRE_EVICTED,
		.index = engine_config_index(c->engine) };
	bool leads = core_leads(c);

	if (leads ||
	    (c->phase == CORE_MEMBER && engine_is_vote_request(body) &&
		m.index <= engine_commit(c->engine)))
		core_send_id(c, p->id, &m, false);
	return leads;
}

/* A member as our log has it, or one that it may not have yet: then it holds a
 * seat, as the chain has it.  A node that the contract allows is no more than
 * that. */
static bool
belongs(const struct core *c, const struct core_peer *p)
{
	return core_config_member(c, p->id) != NULL || core_seated(c, &p->who);
}

static void
raft_message(struct core *c, struct core_peer *p, struct bytes body)
{
	enum err e;

	if (c->engine == NULL)
		return;
	if (core_config_member(c, p->id) == NULL && stranger(c, p, body))
		return;
	/* Who is about to become a member follows whom it has found. */
	if (c->phase == CORE_MEMBER && !belongs(c, p))
		return;
	e = engine_receive(c->engine, c->now, p->id, body);
	if (e == ERR_CORRUPT) {
		core_tell(c, true, "forked", p->who.slot,
		    "its log and ours differ under one index and term");
		core_halt(c, HALT_DIVERGED);
	} else if (e == ERR_NOMEM) {
		core_check(c, e);
	} else if (e == ERR_MALFORMED || e == ERR_AUTH) {
		core_tell(c, true, "bad_message", p->who.slot, "raft: %s",
		    err_text(e));
	}
}

static void
evicted(struct core *c, const struct core_peer *p, uint64_t index)
{
	if (!c->was_member || index <= engine_config_index(c->engine) ||
	    !belongs(c, p))
		return;
	core_tell(c, true, "evicted", p->who.slot,
	    "says that configuration %llu has no place for us",
	    (unsigned long long)index);
	core_halt(c, c->draining ? HALT_LEFT : HALT_EVICTED);
}

static void
message(struct core *c, const struct core_event *e)
{
	const struct member *from = e->message.from;
	struct core_peer *p;
	struct corewire m;

	if (memcmp(from->incarnation, c->o.self.incarnation,
		INCARNATION_ID_LEN) == 0)
		return; /* a reflection */
	if (corewire_read(&m, e->message.bytes) != ERR_OK) {
		core_tell(
		    c, true, "bad_message", from->slot, "not one of ours");
		return;
	}
	/* Another cluster's, or another life's that had our slot (T20). */
	if (m.cluster != c->o.cluster || (m.to != 0 && m.to != c->id))
		return;
	p = note_peer(c, from);
	if (p->denied)
		return;
	if (m.type == WIRE_JOIN || m.type == WIRE_CERTIFICATE ||
	    m.type == WIRE_REFUSED) {
		core_join_message(c, p, &m);
		return;
	}
	if (c->engine == NULL || m.generation != c->generation)
		return; /* of another generation */
	switch (m.type) {
	case WIRE_RAFT:
		raft_message(c, p, m.body);
		return;
	case WIRE_EVICTED:
		evicted(c, p, m.index);
		return;
	case WIRE_LEAVE:
		p->leaves = true;
		return;
	case WIRE_FORWARD:
	case WIRE_FORWARDED:
	case WIRE_READ:
	case WIRE_READ_AT:
	case WIRE_ROUND:
	case WIRE_ROUND_OK:
		core_client_message(c, p, &m);
		return;
	case WIRE_JOIN:
	case WIRE_CERTIFICATE:
	case WIRE_REFUSED:
		return;
	}
}

/* ---- the function ---- */

static void
leave(struct core *c)
{
	uint64_t leader = c->engine != NULL ? engine_leader(c->engine) : 0;
	struct corewire m = { .type = WIRE_LEAVE };

	if (c->phase != CORE_MEMBER || !c->was_member ||
	    c->now >= c->drain_deadline_ms ||
	    core_voters(engine_config(c->engine)) == 1) {
		core_halt(c, HALT_LEFT);
		return;
	}
	if (c->now < c->drain_sent_ms)
		return;
	c->drain_sent_ms = c->now + c->o.timing.election_ms / 2;
	if (engine_state(c->engine) == ENGINE_LEADER) {
		enum err e = engine_transfer(c->engine, c->now, 0);

		if (e != ERR_AGAIN)
			core_check(c, e);
	} else if (leader != 0) {
		core_send_id(c, leader, &m, false);
	}
}

/* Leadership goes to another voter, if there is one. */
static void
hand_on(struct core *c)
{
	enum err e;

	c->drain_sent_ms = c->now + 2ull * c->o.timing.election_ms;
	if (core_voters(engine_config(c->engine)) == 1)
		return;
	e = engine_transfer(c->engine, c->now, 0);
	if (e != ERR_AGAIN)
		core_check(c, e);
}

static void
drain(struct core *c)
{
	if (!c->draining)
		c->drain_deadline_ms = c->now + 8ull * c->o.timing.election_ms;
	c->draining = true;
}

static void
tick(struct core *c)
{
	core_join_tick(c);
	core_anchor_tick(c);
	if (c->engine != NULL) {
		core_check(c, engine_tick(c->engine, c->now));
		core_client_tick(c);
		core_rotate_tick(c);
	}
	if (c->draining && c->phase != CORE_HALTED)
		leave(c);
	else if (c->engine != NULL && c->now >= c->drain_sent_ms &&
	    engine_state(c->engine) == ENGINE_LEADER && core_must_hand_on(c))
		hand_on(c);
}

static void
handle(struct core *c, const struct core_event *e)
{
	struct core_peer *p;

	switch (e->kind) {
	case CORE_TICK:
		return; /* everything ticks below */
	case CORE_BOOT:
		core_log_boot(c, e);
		return;
	case CORE_MESSAGE:
		message(c, e);
		return;
	case CORE_PERSISTED:
		core_log_persisted(c, e->persisted);
		return;
	case CORE_ANCHOR:
		core_anchor_event(c, e);
		return;
	case CORE_BEGIN:
		core_log_begin(c, e);
		return;
	case CORE_SUBMIT:
		core_client_submit(c, e->submit.ticket, e->submit.command);
		return;
	case CORE_READ:
		core_client_read(c, e->read_ticket);
		return;
	case CORE_PEER_DENIED:
		p = core_find_peer(c, core_raft_id(e->denied.incarnation));
		if (p != NULL)
			p->denied = e->denied.denied;
		return;
	case CORE_DRAIN:
		drain(c);
		return;
	case CORE_CHECKPOINT:
		if (c->engine != NULL)
			c->checkpoint = engine_commit(c->engine);
		return;
	case CORE_MAY_LEAD:
		/* Only another leader can remove us. */
		c->may_not_lead = !e->may_lead;
		return;
	case CORE_CAN_WRITE:
		c->can_write = e->can_write;
		return;
	case CORE_REGISTRY:
		core_rotate_event(c, e);
		return;
	case CORE_ROOTS_MADE:
		core_rotate_made(c, e->made);
		return;
	case CORE_KEY_KEPT:
		core_rotate_kept(c, e->kept);
		return;
	}
}

enum err
core_step(struct core *c, const struct core_event *e)
{
	assert(e->now_ms >= c->now);
	c->now = e->now_ms;
	if (c->failed != ERR_OK || c->phase == CORE_HALTED)
		return c->failed;
	handle(c, e);
	if (c->phase != CORE_HALTED && c->failed == ERR_OK)
		tick(c);
	if (c->phase != CORE_HALTED && c->failed == ERR_OK &&
	    c->engine != NULL) {
		core_log_begin_term(c);
		core_log_apply(c);
		if (c->phase != CORE_HALTED)
			core_manage(c);
		core_rounds(c);
		core_log_compact(c);
	}
	return c->failed;
}
