/* Commands and reads, from this node's clients and from other nodes', and
 * the rounds that make them fresh.
 *
 * A read (P9, no leases): a host can stop a VM and its clock, so no promise
 * about time can be kept.  The leader notes its commit index, asks every
 * voter "is your term still ours?", and once a majority said yes after the
 * read had come, the noted index was current when it came. */
#include <assert.h>
#include <string.h>

#include "kms/cluster/core_int.h"

static struct core_request *
new_request(struct core *c, uint64_t ticket, uint64_t from)
{
	struct core_request *r;

	if (c->n_requests == CORE_WAITING_MAX)
		return NULL;
	r = &c->request[c->n_requests++];
	*r = (struct core_request){ .ticket = ticket,
		.from = from,
		.began_ms = c->now,
		.deadline_ms = c->now + c->o.timing.forward_ms };
	return r;
}

/* ---- answers ---- */

static void
answer(struct core *c, uint64_t ticket, uint64_t from,
    enum core_outcome_kind kind, const struct ledger_outcome *out,
    uint64_t index)
{
	struct core_action *a;

	if (from != 0) {
		struct corewire m = { .type = WIRE_FORWARDED,
			.ticket = ticket,
			.kind = kind,
			.err = out != NULL ? out->err : ERR_OK,
			.reason = out != NULL ? out->reason : REASON_NONE,
			.value = out != NULL ? out->value : 0,
			.index = index };

		core_send_id(c, from, &m, false);
		return;
	}
	if (ticket == CORE_OWN_TICKET)
		return;
	a = core_act(c, CORE_DONE);
	a->done.ticket = ticket;
	a->done.kind = kind;
	a->done.index = index;
	if (out != NULL)
		a->done.result = *out;
}

static void
answer_read(struct core *c, const struct core_request *r, bool ok)
{
	struct corewire m = { .type = WIRE_READ_AT,
		.ticket = r->ticket,
		.ok = ok,
		.index = r->index };

	if (r->from != 0)
		core_send_id(c, r->from, &m, false);
	else if (r->ticket != 0)
		answer(c, r->ticket, 0, ok ? CORE_OK : CORE_NOT_NOW, NULL,
		    r->index);
}

/* drop_request keeps the order of the others. */
static void
drop_request(struct core *c, unsigned i)
{
	buf_fini(&c->request[i].command);
	memmove(&c->request[i], &c->request[i + 1],
	    (c->n_requests - i - 1) * sizeof c->request[0]);
	c->n_requests--;
}

static void
finish(struct core *c, unsigned i, enum core_outcome_kind kind,
    const struct ledger_outcome *out)
{
	const struct core_request *r = &c->request[i];

	/* Whatever became of the last attempt, one before may have been done:
	 * only its success says what happened. */
	if (r->again && (kind != CORE_OK || out == NULL || out->err != ERR_OK))
		kind = CORE_UNKNOWN;
	if (r->kind == REQUEST_READ)
		answer_read(c, r, kind == CORE_OK);
	else
		answer(c, r->ticket, r->from, kind, out, r->index);
	drop_request(c, i);
}

/* ---- requests ---- */

static bool
takes_requests(const struct core *c)
{
	return c->phase == CORE_MEMBER && !c->draining;
}

void
core_client_submit(struct core *c, uint64_t ticket, struct bytes command)
{
	struct core_request *r;

	assert(ticket != 0 && command.len <= COMMAND_MAX);
	if (!takes_requests(c) || (r = new_request(c, ticket, 0)) == NULL) {
		answer(c, ticket, 0, CORE_NOT_NOW, NULL, 0);
		return;
	}
	r->kind = REQUEST_WRITE;
	core_check(c, buf_set(&r->command, command.p, command.len));
}

void
core_client_read(struct core *c, uint64_t ticket)
{
	struct core_request *r;

	assert(ticket != 0);
	if (!takes_requests(c) || (r = new_request(c, ticket, 0)) == NULL) {
		answer(c, ticket, 0, CORE_NOT_NOW, NULL, 0);
		return;
	}
	r->kind = REQUEST_READ;
}

/* What a member may ask the leader to write.  Who is a member, what is
 * anchored and which generation it is, a leader writes by itself. */
static bool
may_forward(enum command_kind k)
{
	switch (k) {
	case COMMAND_HANDOVER:
	case COMMAND_FLOOR:
	case COMMAND_TCB_FLOOR:
	case COMMAND_INCREMENT:
	case COMMAND_HELD:
		return true;
	case COMMAND_EPOCH:
	case COMMAND_MEMBER:
	case COMMAND_LEFT:
	case COMMAND_GENERATION:
	case COMMAND_ANCHORED:
	case COMMAND_EPOCH_STATE:
		return false;
	}
	return false;
}

/* Members forward, and nobody else: the leader knows them all. */
static bool
takes_forwarded(const struct core *c, uint64_t from)
{
	return c->phase == CORE_MEMBER && core_leads(c) &&
	    core_config_member(c, from) != NULL;
}

static void
forwarded_write(struct core *c, uint64_t from, const struct corewire *m)
{
	struct core_request *r = NULL;
	struct command cmd;

	/* What a node holds it says itself. */
	if (command_parse(&cmd, m->body) != ERR_OK || !may_forward(cmd.kind) ||
	    (cmd.kind == COMMAND_HELD &&
		core_raft_id(cmd.u.held.incarnation) != from)) {
		core_tell(c, true, "bad_message", "", "forwarded command");
		return;
	}
	if (!c->draining && takes_forwarded(c, from))
		r = new_request(c, m->ticket, from);
	if (r == NULL) {
		answer(c, m->ticket, from, CORE_NOT_NOW, NULL, 0);
		return;
	}
	r->kind = REQUEST_WRITE;
	core_check(c, buf_set(&r->command, m->body.p, m->body.len));
}

static void
forwarded_read(struct core *c, uint64_t from, const struct corewire *m)
{
	struct core_request *r = NULL;
	struct core_request no = { .ticket = m->ticket, .from = from };

	if (takes_forwarded(c, from))
		r = new_request(c, m->ticket, from);
	if (r == NULL) {
		answer_read(c, &no, false);
		return;
	}
	r->kind = REQUEST_READ;
}

static unsigned
find_sent(const struct core *c, uint64_t from, uint64_t ticket, bool write)
{
	for (unsigned i = 0; i < c->n_requests; i++)
		if (c->request[i].from == 0 && c->request[i].sent == ticket &&
		    c->request[i].asked == from &&
		    c->request[i].state == REQUEST_SENT &&
		    (c->request[i].kind == REQUEST_WRITE) == write)
			return i;
	return CORE_WAITING_MAX;
}

/* Who was asked does not lead, or not yet: it would say so again at once. */
static void
ask_later(struct core *c, struct core_request *r)
{
	r->state = REQUEST_QUEUED;
	r->retry_ms = c->now + c->o.timing.heartbeat_ms;
}

static void
forward_result(struct core *c, uint64_t from, const struct corewire *m)
{
	unsigned i = find_sent(c, from, m->ticket, true);
	struct ledger_outcome out = {
		.err = m->err, .reason = m->reason, .value = m->value
	};

	if (i == CORE_WAITING_MAX)
		return; /* given up */
	if (m->kind == CORE_NOT_NOW) {
		/* Not the leader any more, and it did nothing. */
		ask_later(c, &c->request[i]);
		return;
	}
	c->request[i].index = m->index;
	finish(c, i, m->kind, &out);
}

static void
read_result(struct core *c, uint64_t from, const struct corewire *m)
{
	unsigned i = find_sent(c, from, m->ticket, false);

	if (i == CORE_WAITING_MAX)
		return;
	if (!m->ok) {
		ask_later(c, &c->request[i]);
		return;
	}
	c->request[i].index = m->index;
	c->request[i].state = REQUEST_APPLY;
}

/* ---- freshness ---- */

/* A follower that serves keeps its own proof of freshness: a read that
 * nobody waits for. */
static void
keep_fresh(struct core *c)
{
	struct core_request *r;
	uint64_t every = c->o.timing.fresh_ms / 8 + 1;

	if (c->phase != CORE_MEMBER || c->now < c->fresh_asked_ms)
		return;
	c->fresh_asked_ms = c->now + every;
	if (engine_state(c->engine) == ENGINE_LEADER) {
		c->wants_round = true;
		return;
	}
	for (unsigned i = 0; i < c->n_requests; i++)
		if (c->request[i].ticket == 0 && c->request[i].from == 0)
			return; /* one is under way */
	if ((r = new_request(c, 0, 0)) != NULL)
		r->kind = REQUEST_READ;
}

void
core_rounds(struct core *c)
{
	uint64_t applied = ledger_index(c->ledger);

	keep_fresh(c);
	if (core_leads(c)) {
		bool lost = c->round_term != 0 &&
		    c->now - c->round_began >= 2ull * c->o.timing.heartbeat_ms;

		for (unsigned i = 0; i < c->n_requests; i++)
			c->wants_round |= c->request[i].kind == REQUEST_READ &&
			    c->request[i].state == REQUEST_QUEUED;
		if (lost) {
			/* Some did not get it: ask anew, for the same. */
			for (unsigned i = 0; i < c->n_requests; i++)
				if (c->request[i].state == REQUEST_ROUND)
					c->request[i].state = REQUEST_QUEUED;
			c->wants_round = true;
		}
		if (c->wants_round && (c->round_term == 0 || lost))
			core_round_begin(c);
	}
	for (unsigned i = 0; i < c->n_requests;) {
		const struct core_request *r = &c->request[i];

		if (r->state != REQUEST_APPLY ||
		    (r->from == 0 && r->index > applied)) {
			i++;
			continue;
		}
		if (r->from == 0 && c->confirmed_ms < r->began_ms)
			c->confirmed_ms = r->began_ms;
		finish(c, i, CORE_OK, NULL);
	}
}

/* ---- the log ---- */

/* Queued commands go into the log together, or to the leader. */
static void
log_queued(struct core *c)
{
	struct bytes data[ENGINE_BATCH];
	unsigned which[ENGINE_BATCH], n = 0;
	uint64_t index;
	enum err e;

	for (unsigned i = 0; i < c->n_requests && n < ENGINE_BATCH; i++)
		if (c->request[i].kind == REQUEST_WRITE &&
		    c->request[i].state == REQUEST_QUEUED) {
			data[n] = buf_view(&c->request[i].command);
			which[n++] = i;
		}
	if (n == 0)
		return;
	e = engine_submit(c->engine, c->now, ENTRY_COMMAND, data, n, &index);
	if (e != ERR_OK) {
		if (e != ERR_AGAIN)
			core_check(c, e);
		return;
	}
	for (unsigned i = 0; i < n; i++) {
		struct core_request *r = &c->request[which[i]];

		r->state = REQUEST_LOGGED;
		r->index = index + i;
		r->term = engine_term(c->engine);
		buf_fini(&r->command);
	}
}

static void
forward_queued(struct core *c)
{
	uint64_t leader = engine_leader(c->engine);

	if (leader == 0 || leader == c->id)
		return;
	for (unsigned i = 0; i < c->n_requests; i++) {
		struct core_request *r = &c->request[i];
		struct corewire m = { .type = r->kind == REQUEST_WRITE
			    ? WIRE_FORWARD
			    : WIRE_READ,
			.ticket = c->forwarded + 1,
			.body = buf_view(&r->command) };

		if (r->state != REQUEST_QUEUED || r->from != 0 ||
		    c->now < r->retry_ms)
			continue;
		core_send_id(c, leader, &m, true);
		r->state = REQUEST_SENT;
		/* An answer belongs to one attempt, not to the request. */
		r->sent = ++c->forwarded;
		r->asked = leader;
	}
}

void
core_client_flush(struct core *c)
{
	if (core_leads(c))
		log_queued(c);
	else if (engine_state(c->engine) == ENGINE_FOLLOWER)
		forward_queued(c);
}

void
core_client_applied(struct core *c, uint64_t index, uint64_t term,
    const struct ledger_outcome *out)
{
	for (unsigned i = 0; i < c->n_requests; i++) {
		struct core_request *r = &c->request[i];

		if (r->state != REQUEST_LOGGED || r->index != index)
			continue;
		/* Another entry in its place: ours is gone for good. */
		if (r->term == term && out != NULL)
			finish(c, i, CORE_OK, out);
		else
			finish(c, i, CORE_NOT_NOW, NULL);
		return;
	}
}

/* Another leader or term.  What others forwarded to us and is not in our
 * log was never done; what we sent to the old leader may have been.  That
 * leader may be dead for good: what can be asked again is, so that a client
 * who came while nobody led need not wait for the deadline. */
void
core_client_lost(struct core *c)
{
	c->round_term = 0;
	for (unsigned i = 0; i < c->n_requests;) {
		struct core_request *r = &c->request[i];

		if (r->state == REQUEST_ROUND)
			r->state = REQUEST_QUEUED;
		if (r->state == REQUEST_SENT && r->kind == REQUEST_READ)
			r->state = REQUEST_QUEUED;
		if (r->state == REQUEST_SENT && r->kind == REQUEST_WRITE &&
		    command_may_repeat(buf_view(&r->command))) {
			r->state = REQUEST_QUEUED;
			r->again = true;
		}
		if (r->state == REQUEST_QUEUED && r->from != 0 &&
		    engine_state(c->engine) != ENGINE_LEADER) {
			finish(c, i, CORE_NOT_NOW, NULL);
			continue;
		}
		/* The old leader will hardly answer; who asked can ask the
		 * new one whether it was done. */
		if (r->state == REQUEST_SENT && r->kind == REQUEST_WRITE) {
			finish(c, i, CORE_UNKNOWN, NULL);
			continue;
		}
		i++;
	}
}

void
core_client_tick(struct core *c)
{
	for (unsigned i = 0; i < c->n_requests;) {
		const struct core_request *r = &c->request[i];

		if (c->now < r->deadline_ms) {
			i++;
			continue;
		}
		finish(c, i,
		    r->kind == REQUEST_WRITE && r->state != REQUEST_QUEUED
			? CORE_UNKNOWN
			: CORE_NOT_NOW,
		    NULL);
	}
}

void
core_client_message(
    struct core *c, struct core_peer *p, const struct corewire *m)
{
	switch (m->type) {
	case WIRE_FORWARD:
		forwarded_write(c, p->id, m);
		return;
	case WIRE_FORWARDED:
		forward_result(c, p->id, m);
		return;
	case WIRE_READ:
		forwarded_read(c, p->id, m);
		return;
	case WIRE_READ_AT:
		read_result(c, p->id, m);
		return;
	case WIRE_ROUND:
		core_round_ask(c, p, m);
		return;
	case WIRE_ROUND_OK:
		core_round_ok(c, p, m);
		return;
	case WIRE_RAFT:
	case WIRE_JOIN:
	case WIRE_CERTIFICATE:
	case WIRE_REFUSED:
	case WIRE_EVICTED:
	case WIRE_LEAVE:
		return;
	}
}

uint64_t
core_client_deadline(const struct core *c)
{
	uint64_t at = c->phase == CORE_MEMBER ? c->fresh_asked_ms : UINT64_MAX;

	for (unsigned i = 0; i < c->n_requests; i++) {
		const struct core_request *r = &c->request[i];

		if (r->deadline_ms < at)
			at = r->deadline_ms;
		if (r->state == REQUEST_QUEUED && r->retry_ms > c->now &&
		    r->retry_ms < at)
			at = r->retry_ms;
	}
	if (c->round_term != 0 &&
	    c->round_began + 2ull * c->o.timing.heartbeat_ms < at)
		at = c->round_began + 2ull * c->o.timing.heartbeat_ms;
	return at;
}
