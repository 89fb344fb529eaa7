/* How a node gets in (P1 to P3), and what a leader does about members: one
 * change at a time, each only after an entry of its own term is committed
 * (I5), and after the one before it is applied. */
#include <string.h>

#include "kms/cluster/core_int.h"

#define CAUGHT_UP 16 /* entries behind, when a silent holder is replaced */
#define FAR_BEHIND 16384 /* entries: too slow to count */

/* ---- the joining side ---- */

static uint64_t
head_of(const struct core *c, uint64_t *term)
{
	uint64_t last = c->engine != NULL ? engine_last(c->engine)
					  : logcache_last(&c->disk);
	bool known = c->engine != NULL ? engine_term_at(c->engine, last, term)
				       : logcache_term(&c->disk, last, term);

	if (!known)
		*term = 0;
	return last;
}

static void
send_join(struct core *c)
{
	static const struct member anybody;
	struct corewire m = { .type = WIRE_JOIN,
		.certified = c->engine != NULL,
		.disk_generation =
		    c->engine != NULL ? c->generation : c->disk_generation };
	uint64_t step = 1;

	memcpy(m.nonce, c->nonce, sizeof m.nonce);
	m.last = head_of(c, &m.last_term);
	for (uint64_t at = m.last;
	     c->engine == NULL && at > 0 && m.n_points < CORE_CHECKPOINTS;
	     step *= 2) {
		if (!logcache_hash(&c->disk, at, m.point[m.n_points].hash))
			break;
		m.point[m.n_points++].index = at;
		if (at <= step)
			break;
		at = m.last - step;
	}
	core_send(c, &anybody, &m, true);
}

/* A member that nobody confirms may have been replaced, by nodes that it does
 * not know: it knocks at every door, and is told (P8). */
static bool
is_lost(const struct core *c)
{
	return c->phase == CORE_MEMBER && !core_leads(c) &&
	    !c->o.unsafe_plain &&
	    c->now - c->confirmed_ms > 2ull * c->o.timing.evict_ms;
}

void
core_join_tick(struct core *c)
{
	bool lost = is_lost(c);

	if (c->phase != CORE_JOINING && c->phase != CORE_LEARNING &&
	    c->phase != CORE_RECOVERING && !lost)
		return;
	if (c->now < c->next_join_ms)
		return;
	c->next_join_ms =
	    c->now + (lost ? c->o.timing.evict_ms : c->o.timing.join_ms);
	send_join(c);
}

/* P2: the answer to our nonce, by a leader that a quorum has just confirmed.
 * It says how much of our disk is the cluster's history; the rest is cut. */
static void
certificate(struct core *c, const struct core_peer *p, const struct corewire *m)
{
	if (c->engine != NULL || !c->has_view ||
	    (c->phase != CORE_JOINING && c->phase != CORE_RECOVERING) ||
	    memcmp(m->nonce, c->nonce, sizeof m->nonce) != 0)
		return;
	if (m->generation != c->view.at.generation || m->match > m->commit ||
	    m->match > logcache_last(&c->disk)) {
		(void)refuse(&c->waiting, REASON_ROLLBACK,
		    "%s serves generation %llu, the chain says %llu",
		    p->who.slot, (unsigned long long)m->generation,
		    (unsigned long long)c->view.at.generation);
		return;
	}
	if (m->match < logcache_last(&c->disk))
		core_tell(c, true, "disk_cut", c->o.self.slot,
		    "entries %llu to %llu of this disk are not the cluster's",
		    (unsigned long long)m->match + 1,
		    (unsigned long long)logcache_last(&c->disk));
	c->waiting.code = REASON_NONE;
	core_start(c, m->match, m->generation, m->term, false);
	core_set_phase(c, CORE_LEARNING);
	c->next_join_ms = c->now;
}

/* ---- the answering side ---- */

const struct anchor_seat *
core_seat(const struct core *c, const char *slot)
{
	for (unsigned i = 0; c->has_view && i < c->view.n_seats; i++)
		if (strcmp(c->view.seat[i].slot, slot) == 0)
			return &c->view.seat[i];
	return NULL;
}

bool
core_seated(const struct core *c, const struct member *who)
{
	const struct anchor_seat *s = core_seat(c, who->slot);

	return c->o.unsafe_plain ||
	    (s != NULL && memcmp(s->device_id, who->device_id, 32) == 0);
}

static bool
silent(const struct core *c, const struct core_peer *p, uint64_t ms)
{
	uint64_t since = p != NULL && p->heard_ms > c->led_since_ms
	    ? p->heard_ms
	    : c->led_since_ms;

	return c->now - since >= ms;
}

/* The other incarnation in the configuration that holds the slot of `who`. */
static const struct engine_member *
holder(const struct core *c, const struct member *who)
{
	const struct engine_config *k = engine_config(c->engine);
	uint64_t id = core_id_of(c, who);
	char slot[SLOT_MAX];

	for (unsigned i = 0; i < k->n; i++) {
		core_address_slot(slot, k->member[i].address);
		if (k->member[i].id != id && strcmp(slot, who->slot) == 0)
			return &k->member[i];
	}
	return NULL;
}

/* P3 (a): may it have its slot? */
static enum reason
admission(struct core *c, const struct core_peer *p)
{
	const struct engine_member *h;
	const struct core_peer *old;

	if (!core_seated(c, &p->who))
		return REASON_SEAT;
	if (strcmp(p->who.slot, c->o.self.slot) == 0)
		return REASON_SLOT_ALIVE; /* ours */
	if (c->phase != CORE_MEMBER)
		return REASON_NOT_READY;
	h = holder(c, &p->who);
	old = h != NULL ? core_find_peer(c, h->id) : NULL;
	if (h != NULL && !(old != NULL && (old->leaves || old->denied)) &&
	    !silent(c, old, c->o.timing.evict_ms))
		return REASON_SLOT_ALIVE;
	return REASON_NONE;
}

static void
join_request(struct core *c, struct core_peer *p, const struct corewire *m)
{
	struct corewire no = { .type = WIRE_REFUSED };
	uint8_t hash[32];

	p->offers = true;
	p->offer_ms = c->now;
	p->certified = m->certified;
	p->disk_generation = m->disk_generation;
	p->last = m->last;
	p->last_term = m->last_term;
	memcpy(p->nonce, m->nonce, sizeof p->nonce);
	p->match = 0;
	if (!core_leads(c))
		return;
	if (m->certified && m->generation == c->generation &&
	    core_config_member(c, p->id) == NULL) {
		/* Whoever was never a member does not mind. */
		struct corewire gone = { .type = WIRE_EVICTED,
			.index = engine_config_index(c->engine) };

		core_send_id(c, p->id, &gone, false);
	}
	for (unsigned i = 0; i < m->n_points; i++)
		if (m->point[i].index > p->match &&
		    m->point[i].index <= engine_commit(c->engine) &&
		    engine_hash(c->engine, m->point[i].index, hash) &&
		    memcmp(hash, m->point[i].hash, sizeof hash) == 0)
			p->match = m->point[i].index;
	p->refused = admission(c, p);
	if (p->refused != REASON_NONE) {
		no.reason = p->refused;
		memcpy(no.nonce, p->nonce, sizeof no.nonce);
		core_send_id(c, p->id, &no, false);
		return;
	}
	if (!p->certified) {
		p->wants_certificate = true;
		c->wants_round = true;
	}
}

void
core_join_message(struct core *c, struct core_peer *p, const struct corewire *m)
{
	switch (m->type) {
	case WIRE_JOIN:
		join_request(c, p, m);
		return;
	case WIRE_CERTIFICATE:
		certificate(c, p, m);
		return;
	case WIRE_REFUSED:
		if (memcmp(m->nonce, c->nonce, sizeof m->nonce) == 0 &&
		    c->waiting.code != m->reason)
			(void)refuse(
			    &c->waiting, m->reason, "said %s", p->who.slot);
		return;
	case WIRE_RAFT:
	case WIRE_FORWARD:
	case WIRE_FORWARDED:
	case WIRE_READ:
	case WIRE_READ_AT:
	case WIRE_ROUND:
	case WIRE_ROUND_OK:
	case WIRE_EVICTED:
	case WIRE_LEAVE:
		return;
	}
}

/* ---- the leader's changes ---- */

unsigned
core_voters(const struct engine_config *k)
{
	unsigned n = 0;

	for (unsigned i = 0; i < k->n; i++)
		n += k->member[i].role == ENGINE_VOTER;
	return n;
}

/* Fewer voters than a majority of the seats would let too few disks decide. */
unsigned
core_min_voters(const struct core *c)
{
	return c->has_view ? c->view.n_seats / 2 + 1 : 1;
}

static void
change(struct core *c, const struct engine_config *next, const char *what,
    const char *address)
{
	uint64_t index;
	char slot[SLOT_MAX];
	enum err e = engine_reconfigure(c->engine, c->now, next, &index);

	core_address_slot(slot, address);
	if (e == ERR_OK) {
		c->busy_index = index;
		core_tell(c, false, what, slot, "%u voters at %llu",
		    core_voters(next), (unsigned long long)index);
	} else if (e != ERR_AGAIN) {
		core_check(c, e);
	}
}

/* Could a majority of its voters commit this configuration now?  It counts
 * from when it is in the log: one that cannot be committed blocks all. */
static bool
can_commit(struct core *c, const struct engine_config *k)
{
	unsigned alive = 0;

	for (unsigned i = 0; i < k->n; i++) {
		const struct core_peer *p = core_find_peer(c, k->member[i].id);

		if (k->member[i].role != ENGINE_VOTER)
			continue;
		alive += k->member[i].id == c->id ||
		    (p != NULL && !p->denied && !p->leaves &&
			c->now - p->heard_ms < c->o.timing.election_ms);
	}
	return alive > core_voters(k) / 2;
}

/* Whether it could be done. */
static bool
remove_member(struct core *c, unsigned at, const char *what)
{
	struct engine_config k = *engine_config(c->engine);
	struct engine_member gone = k.member[at];

	for (unsigned i = at; i + 1 < k.n; i++)
		k.member[i] = k.member[i + 1];
	k.member[--k.n] = (struct engine_member){ 0 };
	if (!can_commit(c, &k))
		return false;
	if (core_voters(&k) < core_min_voters(c))
		core_tell(c, true, "below_quorum", "",
		    "%u voters are left, %u seats: admit nodes",
		    core_voters(&k), c->view.n_seats);
	change(c, &k, what, gone.address);
	return true;
}

static bool
set_role(struct core *c, unsigned at, enum engine_role role, const char *what)
{
	struct engine_config k = *engine_config(c->engine);

	k.member[at].role = role;
	if (!can_commit(c, &k))
		return false;
	change(c, &k, what, k.member[at].address);
	return true;
}

static bool
log_left(struct core *c)
{
	for (size_t i = 0; i < ledger_n_members(c->ledger); i++) {
		const struct ledger_member *m = ledger_member(c->ledger, i);
		struct command cmd = { .kind = COMMAND_LEFT,
			.time = (uint64_t)c->anchor_wall_s };
		uint64_t id = core_id_of(c, &m->who);
		const struct core_peer *p = core_find_peer(c, id);

		if (!m->present || core_config_member(c, id) != NULL)
			continue;
		memcpy(cmd.u.left.slot, m->who.slot, SLOT_MAX);
		memcpy(cmd.u.left.incarnation, m->who.incarnation,
		    INCARNATION_ID_LEN);
		cmd.u.left.why =
		    p != NULL && p->why != 0 ? p->why : LEFT_REPLACED;
		core_log(c, &cmd);
		return true;
	}
	return false;
}

static bool
log_member(struct core *c)
{
	const struct engine_config *k = engine_config(c->engine);

	for (unsigned i = 0; i < k->n; i++) {
		const struct core_peer *p = core_find_peer(c, k->member[i].id);
		const struct member *who = k->member[i].id == c->id ? &c->o.self
		    : p != NULL                                     ? &p->who
								    : NULL;
		const struct ledger_member *m;
		struct command cmd = { .kind = COMMAND_MEMBER,
			.time = (uint64_t)c->anchor_wall_s };

		if (who == NULL || (p != NULL && holder(c, who) != NULL))
			continue;
		m = ledger_slot(c->ledger, who->slot);
		if (m != NULL && m->present)
			continue;
		cmd.u.member = *who;
		core_log(c, &cmd);
		return true;
	}
	return false;
}

/* Who must go: denied by the contract, without a seat, or leaving. */
static bool
remove_one(struct core *c)
{
	const struct engine_config *k = engine_config(c->engine);

	for (unsigned i = 0; i < k->n; i++) {
		const struct engine_member *m = &k->member[i];
		struct core_peer *p = core_find_peer(c, m->id);
		char slot[SLOT_MAX];

		core_address_slot(slot, m->address);
		if (m->id == c->id)
			continue; /* see core_must_hand_on */
		if (p != NULL && p->denied) {
			p->why = LEFT_DENIED;
			if (remove_member(c, i, "member_denied"))
				return true;
			continue;
		}
		if (!c->o.unsafe_plain &&
		    (core_seat(c, slot) == NULL ||
			(p != NULL && !core_seated(c, &p->who)))) {
			if (p != NULL)
				p->why = LEFT_REMOVED;
			if (remove_member(c, i, "member_removed"))
				return true;
			continue;
		}
		if (p != NULL && p->leaves &&
		    (m->role != ENGINE_VOTER ||
			core_voters(k) - 1 >= core_min_voters(c))) {
			p->why = LEFT_STOPPED;
			if (remove_member(c, i, "member_left"))
				return true;
		}
	}
	return false;
}

static bool
same_slot(const struct engine_member *a, const struct engine_member *b)
{
	char x[SLOT_MAX], y[SLOT_MAX];

	core_address_slot(x, a->address);
	core_address_slot(y, b->address);
	return strcmp(x, y) == 0;
}

/* Of two learners of one slot, the one that the ledger does not name goes. */
static bool
is_named(struct core *c, const struct engine_member *m)
{
	const struct ledger_member *l;
	struct member who;

	if (!core_who(c, m->id, &who))
		return false;
	l = ledger_slot(c->ledger, who.slot);
	return l != NULL && l->present &&
	    memcmp(l->who.incarnation, who.incarnation, INCARNATION_ID_LEN) ==
	    0;
}

/* A learner `i` and another member `j` of its slot: one of them goes (P3 c).
 * A leader may never have heard either. */
static bool
settle(struct core *c, unsigned i, unsigned j)
{
	const struct engine_config *k = engine_config(c->engine);
	const struct core_peer *p = core_find_peer(c, k->member[i].id);
	const struct core_peer *old = core_find_peer(c, k->member[j].id);
	bool learns = k->member[j].role != ENGINE_VOTER;

	if (silent(c, p, c->o.timing.evict_ms))
		return remove_member(c, i, "learner_gone");
	if (learns && !silent(c, old, c->o.timing.evict_ms) &&
	    (is_named(c, &k->member[j]) ||
		(i > j && !is_named(c, &k->member[i]))))
		return remove_member(c, i, "learner_gone");
	if (learns || k->member[j].id == c->id ||
	    !(silent(c, old, c->o.timing.evict_ms) ||
		(old != NULL && old->leaves)) ||
	    engine_match(c->engine, k->member[i].id) + CAUGHT_UP <
		engine_last(c->engine))
		return false;
	return remove_member(c, j, "member_replaced");
}

static bool
replace_one(struct core *c)
{
	const struct engine_config *k = engine_config(c->engine);

	for (unsigned i = 0; i < k->n; i++)
		for (unsigned j = 0; j < k->n; j++)
			if (i != j && k->member[i].role != ENGINE_VOTER &&
			    same_slot(&k->member[i], &k->member[j]) &&
			    settle(c, i, j))
				return true;
	return false;
}

static bool
promote_one(struct core *c)
{
	const struct engine_config *k = engine_config(c->engine);

	for (unsigned i = 0; i < k->n; i++) {
		const struct core_peer *p = core_find_peer(c, k->member[i].id);
		const struct ledger_member *m;

		if (k->member[i].role == ENGINE_VOTER || p == NULL ||
		    silent(c, p, c->o.timing.evict_ms) || p->denied)
			continue;
		m = ledger_slot(c->ledger, p->who.slot);
		if (m == NULL || !m->present ||
		    memcmp(m->who.incarnation, p->who.incarnation,
			INCARNATION_ID_LEN) != 0)
			continue;
		/* I6: nobody votes with less than what is committed. */
		if (engine_match(c->engine, p->id) < engine_commit(c->engine))
			continue;
		if (set_role(c, i, ENGINE_VOTER, "member_admitted"))
			return true;
	}
	return false;
}

static bool
admit_one(struct core *c)
{
	struct engine_config next = *engine_config(c->engine);

	if (next.n == ENGINE_MEMBERS_MAX)
		return false;
	for (unsigned i = 0; i < c->n_peers; i++) {
		struct core_peer *p = &c->peer[i];
		struct engine_member *m = &next.member[next.n];

		if (!p->offers || !p->certified || p->denied ||
		    c->now - p->offer_ms > 5ull * c->o.timing.join_ms ||
		    core_config_member(c, p->id) != NULL ||
		    admission(c, p) != REASON_NONE)
			continue;
		m->id = p->id;
		m->role = ENGINE_STANDBY;
		core_address(m->address, &p->who);
		next.n++;
		change(c, &next, "learner_added", m->address);
		return true;
	}
	return false;
}

static bool
too_slow(struct core *c, struct core_peer *p, uint64_t id)
{
	if (p == NULL)
		return false;
	if (engine_match(c->engine, id) + FAR_BEHIND >=
	    engine_last(c->engine)) {
		p->lag_since = 0;
		return false;
	}
	if (p->lag_since == 0)
		p->lag_since = c->now;
	return c->now - p->lag_since >= c->o.timing.demote_ms;
}

static void
demote_one(struct core *c)
{
	const struct engine_config *k = engine_config(c->engine);

	if (core_voters(k) - 1 < core_min_voters(c))
		return;
	for (unsigned i = 0; i < k->n; i++) {
		struct core_peer *p = core_find_peer(c, k->member[i].id);

		if (k->member[i].id == c->id ||
		    k->member[i].role != ENGINE_VOTER)
			continue;
		if (!silent(c, p, c->o.timing.demote_ms) &&
		    !too_slow(c, p, k->member[i].id))
			continue;
		if (set_role(c, i, ENGINE_STANDBY, "voter_demoted"))
			return;
	}
}

void
core_manage(struct core *c)
{
	if (!core_leads(c) || c->phase != CORE_MEMBER || c->draining ||
	    ledger_index(c->ledger) < c->busy_index ||
	    engine_config_index(c->engine) > engine_commit(c->engine))
		return;
	if (log_left(c) || log_member(c) || remove_one(c) || replace_one(c) ||
	    promote_one(c) || admit_one(c))
		return;
	demote_one(c);
}
