/* The registry of roots on chain, followed (README.md "Rotation").
 *
 * The leader compares the registry, as read at a final block, with the ledger,
 * and does the next thing that is missing.  Nothing else is remembered, so
 * that another leader, or a later life, goes on where this one stopped; what
 * two of them do at once, the ledger's rules and the contract's tell apart. */
#include <string.h>

#include <sodium.h>

#include "common/crypto/epochcert.h"
#include "kms/cluster/core_int.h"

struct plan {
	enum { NOTHING, STATE, MAKE, WRITE } what;
	struct command state;
	uint64_t number; /* MAKE */
	struct epoch_origin origin;
	uint8_t mode;
	struct core_registry_write write;
};

/* Once for each: it may last for days. */
static void
trouble(struct core *c, const char *name, uint64_t at, const char *what)
{
	struct core_rotate *r = &c->rotate;
	unsigned max = sizeof r->told / sizeof r->told[0];

	for (unsigned i = 0; i < r->n_told && i < max; i++)
		if (strcmp(r->told[i].name, name) == 0 && r->told[i].at == at)
			return;
	r->told[r->n_told % max].name = name;
	r->told[r->n_told++ % max].at = at;
	core_tell(c, true, name, c->o.self.slot, "%llu: %s",
	    (unsigned long long)at, what);
}

const char *
core_rotate_trouble(const struct core *c, uint64_t *at)
{
	const struct core_rotate *r = &c->rotate;
	unsigned max = sizeof r->told / sizeof r->told[0];

	if (r->n_told == 0 || !core_leads(c))
		return NULL;
	*at = r->told[(r->n_told - 1) % max].at;
	return r->told[(r->n_told - 1) % max].name;
}

void
core_rotate_event(struct core *c, const struct core_event *e)
{
	struct core_rotate *r = &c->rotate;

	/* Never back: the chain view sees to it too. */
	if (r->has_view && e->registry.block->number < r->block.number)
		return;
	if (r->has_view &&
	    (r->view.order.number != e->registry.state->order.number ||
		r->view.vetoes != e->registry.state->vetoes))
		r->n_told = 0;
	r->view = *e->registry.state;
	r->block = *e->registry.block;
	r->asked_ms = e->registry.asked_ms;
	r->wall_s = e->registry.wall_s;
	r->read_ms = c->now;
	r->has_view = true;
}

void
core_rotate_kept(struct core *c, const struct k256_pub *k)
{
	c->rotate.has_kept = k != NULL;
	if (k != NULL)
		c->rotate.kept = *k;
}

const struct registry_state *
core_registry(const struct core *c)
{
	return c->rotate.has_view ? &c->rotate.view : NULL;
}

static const struct ledger_epoch *
newest(const struct core *c)
{
	return ledger_epoch(c->ledger, ledger_n_epochs(c->ledger) - 1);
}

/* What the registry says of an epoch; those before the first that it lists
 * are destroyed. */
static enum registry_status
status_of(const struct registry_state *v, uint64_t n)
{
	const struct registry_epoch *r = registry_epoch_of(v, n);

	if (r != NULL)
		return r->status;
	return v->n_epochs > 0 && n < v->epoch[0].number ? REGISTRY_DESTROYED
							 : REGISTRY_NONE;
}

bool
core_epoch_open(const struct core *c, uint64_t n)
{
	const struct ledger_epoch *e = ledger_epoch(c->ledger, n);

	return e != NULL && e->state != LEDGER_EPOCH_DESTROYED &&
	    (!c->rotate.has_view ||
		status_of(&c->rotate.view, n) != REGISTRY_DESTROYED);
}

/* ---- who holds the newest roots ---- */

/* What this node keeps is said once the ledger asks for it. */
static void
say_held(struct core *c)
{
	const struct ledger_epoch *e = newest(c);
	const struct ledger_member *m = ledger_slot(c->ledger, c->o.self.slot);
	struct command cmd = { .kind = COMMAND_HELD,
		.time = (uint64_t)c->anchor_wall_s };
	struct buf b = { 0 };

	if (e == NULL || e->pub.number == 0 ||
	    e->state != LEDGER_EPOCH_PREPARED || !c->rotate.has_kept ||
	    memcmp(&c->rotate.kept, &e->pub.k256, sizeof e->pub.k256) != 0 ||
	    c->phase != CORE_MEMBER || c->draining ||
	    c->now < c->rotate.next_held_ms || m == NULL || !m->present ||
	    m->held == LEDGER_HELD ||
	    memcmp(m->who.incarnation, c->o.self.incarnation,
		INCARNATION_ID_LEN) != 0)
		return;
	c->rotate.next_held_ms = c->now + c->o.timing.forward_ms / 2;
	cmd.u.held.number = e->pub.number;
	cmd.u.held.k256 = e->pub.k256;
	memcpy(cmd.u.held.slot, c->o.self.slot, SLOT_MAX);
	memcpy(
	    cmd.u.held.incarnation, c->o.self.incarnation, INCARNATION_ID_LEN);
	core_check(c, command_write(&b, &cmd));
	if (c->failed == ERR_OK)
		core_client_submit(c, CORE_OWN_TICKET, buf_view(&b));
	buf_fini(&b);
}

static bool
holds_and_lives(
    struct core *c, const struct ledger_member *m, uint64_t within_ms)
{
	uint64_t id = core_id_of(c, &m->who);
	const struct core_peer *p = core_find_peer(c, id);

	return m->present && m->held == LEDGER_HELD &&
	    (id == c->id || (p != NULL && c->now - p->heard_ms <= within_ms));
}

/* Every holder has been silent for so long that the roots count as lost.  A
 * holder that comes back finds others in their place, and drops them. */
static bool
are_lost(struct core *c, const struct ledger_epoch *e)
{
	struct core_rotate *r = &c->rotate;
	uint64_t silent_ms = 4ull * c->o.timing.evict_ms;

	if (r->of_index != e->index || r->of_term != engine_term(c->engine)) {
		r->of_index = e->index;
		r->of_term = engine_term(c->engine);
		r->heard_ms = c->now;
	}
	for (size_t i = 0; i < ledger_n_members(c->ledger); i++)
		if (holds_and_lives(
			c, ledger_member(c->ledger, i), c->o.timing.evict_ms))
			r->heard_ms = c->now;
	return c->now - r->heard_ms > silent_ms;
}

/* The seats whose holders have the newest roots, as evidence has them; false:
 * too few, or other seats than the registry's. */
static bool
held_by(struct core *c, struct registry_holders *h)
{
	unsigned n = 0;

	anchor_seats_hash(h->seats_hash, &c->view);
	h->seats = 0;
	for (unsigned i = 0; i < c->view.n_seats; i++) {
		const struct anchor_seat *s = &c->view.seat[i];
		const struct ledger_member *m = ledger_slot(c->ledger, s->slot);

		if (m == NULL ||
		    memcmp(m->who.device_id, s->device_id, 32) != 0 ||
		    !holds_and_lives(c, m, c->o.timing.demote_ms))
			continue;
		h->seats |= (uint16_t)(1u << i);
		n++;
	}
	return 2 * n > c->view.n_seats && 3 * n >= 2 * c->view.n_seats &&
	    memcmp(h->seats_hash, c->rotate.view.seats_hash, 32) == 0;
}

/* ---- what is missing ---- */

static bool
root_hash(uint8_t out[static 32], const struct ledger_epoch *e)
{
	uint8_t ca[32];

	if (epochcert_ca_hash(ca, &e->pub.ca) != ERR_OK)
		return false;
	registry_root_hash(out, &e->pub.k256, ca);
	return true;
}

/* The second vote of an emergency is for these roots. */
static bool
is_voted(const struct core *c, const uint8_t hash[static 32])
{
	return memcmp(hash, c->rotate.view.order.confirmed, 32) == 0;
}

static bool
is_published(const uint8_t hash[static 32], const struct registry_epoch *r)
{
	uint8_t theirs[32];

	if (r->status != REGISTRY_PUBLISHED)
		return false;
	registry_root_hash(theirs, &r->k256, r->ca_spki_hash);
	return memcmp(hash, theirs, sizeof theirs) == 0;
}

/* The ledger's states are the registry's. */
static void
plan_states(struct core *c, struct plan *p)
{
	const struct registry_state *v = &c->rotate.view;

	for (uint64_t n = 0; n < ledger_n_epochs(c->ledger); n++) {
		const struct ledger_epoch *e = ledger_epoch(c->ledger, n);
		const struct registry_epoch *r = registry_epoch_of(v, n);
		enum registry_status s = status_of(v, n);
		enum ledger_epoch_state to = LEDGER_EPOCH_PREPARED;

		if (s == REGISTRY_ACTIVE)
			to = LEDGER_EPOCH_ACTIVE;
		else if (s == REGISTRY_TAINTED)
			to = LEDGER_EPOCH_TAINTED;
		else if (s == REGISTRY_DESTROYED)
			to = LEDGER_EPOCH_DESTROYED;
		if (to <= e->state)
			continue;
		if (r != NULL &&
		    memcmp(&r->k256, &e->pub.k256, sizeof r->k256) != 0) {
			trouble(c, "root_unknown", n,
			    "the registry uses a root that nobody here has");
			continue;
		}
		if (!ledger_epoch_anchored(c->ledger, n))
			continue;
		p->what = STATE;
		p->state = (struct command){ .kind = COMMAND_EPOCH_STATE,
			.time = (uint64_t)c->rotate.wall_s };
		p->state.u.epoch_state.number = n;
		p->state.u.epoch_state.k256 = e->pub.k256;
		p->state.u.epoch_state.state = to;
		p->state.u.epoch_state.block_number = c->rotate.block.number;
		memcpy(p->state.u.epoch_state.block_hash, c->rotate.block.hash,
		    32);
		return;
	}
	if (v->n_epochs > 0 && v->active >= ledger_n_epochs(c->ledger))
		trouble(c, "root_unknown", v->active,
		    "the registry uses an epoch that nobody here has");
}

/* A write of this kind, unless one was sent a moment ago and may still show. */
static bool
plan_write(struct core *c, struct plan *p, unsigned kind)
{
	if (!c->can_write || c->now < c->rotate.next_write_ms[kind])
		return false;
	p->what = WRITE;
	p->write.kind = kind;
	return true;
}

static void
plan_evidence(struct core *c, struct plan *p, const struct ledger_epoch *e,
    const uint8_t hash[static 32], const struct registry_holders *held,
    bool publish)
{
	if (!plan_write(c, p, publish ? CORE_PUBLISH : CORE_ATTEST))
		return;
	p->write.holders = *held;
	p->write.holders.order = c->rotate.view.order.number;
	p->write.holders.epoch = e->pub.number;
	p->write.holders.as_of = c->rotate.block.timestamp;
	memcpy(p->write.holders.root_hash, hash, 32);
}

/* The roots are there: on chain with them, once enough nodes hold them. */
static void
plan_publish(struct core *c, struct plan *p, const struct ledger_epoch *e,
    const uint8_t hash[static 32])
{
	const uint8_t *vote = c->rotate.view.order.confirmed;
	struct registry_holders held;

	if (!ledger_epoch_anchored(c->ledger, e->pub.number) ||
	    !held_by(c, &held))
		return;
	if (!sodium_is_zero(vote, 32) && !is_voted(c, hash)) {
		trouble(c, "root_not_confirmed", e->pub.number,
		    "the vote is for another root than the one made here");
		return;
	}
	plan_evidence(c, p, e, hash, &held, true);
}

/* Published: kept attested, then put in use when nobody vetoes it. */
static void
plan_activate(struct core *c, struct plan *p, const struct ledger_epoch *e,
    const uint8_t hash[static 32], const struct registry_epoch *r)
{
	const struct registry_state *v = &c->rotate.view;
	uint64_t at = c->rotate.block.timestamp;
	struct registry_holders held;

	if (e->state != LEDGER_EPOCH_PREPARED || !held_by(c, &held))
		return;
	if (at >= r->held_as_of + v->holders_age_s / 2 ||
	    memcmp(r->held_seats, v->seats_hash, 32) != 0) {
		if (at > r->held_as_of)
			plan_evidence(c, p, e, hash, &held, false);
		return;
	}
	if (at < r->published_at + v->veto_window_s ||
	    (r->mode == REGISTRY_EMERGENCY && !is_voted(c, hash)))
		return;
	if (plan_write(c, p, CORE_ACTIVATE))
		p->write.holders.epoch = e->pub.number;
}

static void
plan_make(
    struct core *c, struct plan *p, uint64_t number, struct epoch_origin origin)
{
	const struct ledger_epoch *before = ledger_epoch(c->ledger, number - 1);

	if (before == NULL || before->state != LEDGER_EPOCH_ACTIVE)
		return;
	p->what = MAKE;
	p->number = number;
	p->origin = origin;
	p->mode = c->rotate.view.order.mode == REGISTRY_EMERGENCY;
}

/* The order: roots for it, and then what becomes of them.  They are made also
 * while a thief's are published, or there would be none to vote for; and that
 * vote, which vetoes his, is not against them. */
static void
plan_order(struct core *c, struct plan *p)
{
	const struct registry_state *v = &c->rotate.view;
	const struct registry_order *o = &v->order;
	const struct registry_epoch *r = registry_epoch_of(v, o->epoch);
	const struct ledger_epoch *e = ledger_epoch(c->ledger, o->epoch);
	struct epoch_origin want = { .order = o->number, .vetoes = v->vetoes };
	uint8_t hash[32];
	bool voted;

	if (o->epoch == 0 || r == NULL || (e != NULL && !root_hash(hash, e)))
		return;
	voted = e != NULL && is_voted(c, hash);
	if (e != NULL && is_published(hash, r)) {
		plan_activate(c, p, e, hash, r);
		return;
	}
	if (r->status == REGISTRY_PUBLISHED)
		trouble(c, "root_unknown", r->number,
		    "a root is published that nobody here has: veto it");
	else if (r->status != REGISTRY_ORDERED ||
	    c->rotate.block.timestamp < o->not_before)
		return;
	if (e == NULL) {
		plan_make(c, p, o->epoch, want);
		return;
	}
	if (e->state != LEDGER_EPOCH_PREPARED)
		return; /* another leader has seen more */
	want.attempt = e->origin.attempt;
	if (voted && e->origin.order == o->number)
		want.vetoes = e->origin.vetoes;
	if (epoch_origin_after(&want, &e->origin)) {
		want.attempt = 0;
		plan_make(c, p, o->epoch, want);
	} else if (epoch_origin_after(&e->origin, &want)) {
		return;
	} else if (!are_lost(c, e)) {
		if (r->status == REGISTRY_ORDERED)
			plan_publish(c, p, e, hash);
	} else if (!voted && ledger_epoch_never_held(c->ledger)) {
		want.attempt++;
		plan_make(c, p, o->epoch, want);
	} else {
		trouble(c, "roots_lost", o->epoch,
		    "they are voted for or a majority held them, and nobody is "
		    "heard of: wait for them, or withdraw the order and give "
		    "it again");
	}
}

/* Hand-overs that are not on chain yet.  First they are anchored, so that no
 * recovery can undo what was told. */
static void
plan_handovers(struct core *c, struct plan *p)
{
	uint64_t from = c->rotate.view.handovers;
	uint64_t effective = ledger_effective(c->ledger);
	struct ledger_audit a;
	struct command cmd;
	unsigned n = 0;

	if (c->rotate.view.n_epochs == 0 ||
	    from >= ledger_n_handovers(c->ledger))
		return;
	if (!ledger_handover_get(c->ledger, from, &a, &cmd)) {
		trouble(c, "handovers_lost", from,
		    "the audit log has it no more: it cannot be recorded");
		return;
	}
	if (a.index > effective) {
		if (c->checkpoint < a.index)
			c->checkpoint = engine_commit(c->engine);
		return;
	}
	if (!plan_write(c, p, CORE_HANDOVERS))
		return;
	while (n < REGISTRY_HANDOVERS_MAX &&
	    ledger_handover_get(c->ledger, from + n, &a, &cmd) &&
	    a.index <= effective)
		n++;
	p->write.from = from;
	p->write.n = n;
	memcpy(p->write.head, c->rotate.view.handover_head, 32);
}

/* ---- doing it ---- */

static void
make(struct core *c, const struct plan *p)
{
	struct core_action *a;

	if (c->now < c->rotate.next_make_ms)
		return;
	c->rotate.next_make_ms = c->now + CORE_CHAIN_RETRY_MS;
	a = core_act(c, CORE_MAKE_ROOTS);
	a->make.number = p->number;
	a->make.origin = p->origin;
	a->make.mode = p->mode;
	core_tell(c, false, "roots_wanted", c->o.self.slot,
	    "epoch %llu, order %llu, vetoes %llu, attempt %llu",
	    (unsigned long long)p->number, (unsigned long long)p->origin.order,
	    (unsigned long long)p->origin.vetoes,
	    (unsigned long long)p->origin.attempt);
}

static void
write_registry(struct core *c, const struct plan *p)
{
	uint64_t wait = CORE_CHAIN_RETRY_MS;

	/* The contract takes evidence again and again, for gas, until what
	 * was sent shows in a final block. */
	if (p->write.kind == CORE_ATTEST &&
	    c->rotate.view.holders_age_s * 1000 / 8 > wait)
		wait = c->rotate.view.holders_age_s * 1000 / 8;
	c->rotate.next_write_ms[p->write.kind] = c->now + wait;
	core_act(c, CORE_REGISTRY_WRITE)->registry = p->write;
}

/* Of this node as leader: nothing else may decide. */
static bool
decides(const struct core *c)
{
	return c->rotate.has_view && !c->o.unsafe_plain &&
	    c->phase == CORE_MEMBER && core_leads(c) && !c->draining &&
	    !c->may_not_lead && !core_fenced(c, c->now) &&
	    ledger_index(c->ledger) >= c->busy_index &&
	    ledger_generation(c->ledger) == c->generation;
}

void
core_rotate_tick(struct core *c)
{
	struct plan p = { .what = NOTHING };

	if (c->now < c->rotate.next_look_ms)
		return;
	c->rotate.next_look_ms = c->now + c->o.timing.heartbeat_ms;
	say_held(c);
	if (!decides(c))
		return;
	plan_states(c, &p);
	if (p.what == NOTHING)
		plan_order(c, &p);
	if (p.what == NOTHING)
		plan_handovers(c, &p);
	if (p.what == NOTHING)
		return;
	/* A quorum has confirmed this leader since the registry was read. */
	if (c->confirmed_ms < c->rotate.read_ms) {
		c->wants_round = true;
		return;
	}
	switch (p.what) {
	case STATE:
		core_log(c, &p.state);
		return;
	case MAKE:
		make(c, &p);
		return;
	case WRITE:
		write_registry(c, &p);
		return;
	case NOTHING:
		return;
	}
}

/* The roots that were asked for.  If another leader has made some meanwhile,
 * or the order is gone, the ledger refuses them or nobody will publish them. */
void
core_rotate_made(struct core *c, struct bytes command)
{
	struct command cmd;

	if (!decides(c) || command_parse(&cmd, command) != ERR_OK ||
	    cmd.kind != COMMAND_EPOCH ||
	    cmd.u.epoch.origin.order != c->rotate.view.order.number ||
	    cmd.u.epoch.origin.vetoes != c->rotate.view.vetoes) {
		core_tell(
		    c, false, "roots_dropped", c->o.self.slot, "made too late");
		return;
	}
	core_log(c, &cmd);
}
