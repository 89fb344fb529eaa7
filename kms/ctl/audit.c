#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/hex.h"
#include "kms/ctl/audit.h"

void
audit_chain_fini(struct audit_chain *c)
{
	free(c->handover);
	free(c->change);
	*c = (struct audit_chain){ .now = 0 };
}

void
audit_node_fini(struct audit_node *n)
{
	free(n->entry);
	*n = (struct audit_node){ .n = 0 };
}

struct audit {
	const struct audit_chain *c;
	const struct audit_node *node;
	size_t n_nodes;
	uint64_t now;
	json_t *found; /* owns */
};

static void say(struct audit *a, bool error, const char *where, const char *fmt,
    ...) __attribute__((format(printf, 4, 5)));
static void
say(struct audit *a, bool error, const char *where, const char *fmt, ...)
{
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	(void)json_array_append_new(a->found,
	    json_pack("{s:s, s:s, s:s}", "severity", error ? "error" : "note",
		"where", where, "what", text));
}

/* ---- the chain's own account ---- */

/* Events without a gap, that come to what the registry says. */
static void
check_events(struct audit *a)
{
	const struct audit_chain *c = a->c;
	uint8_t head[32] = { 0 };
	uint64_t last = 0;

	for (size_t i = 0; i < c->n_handovers; i++) {
		const struct audit_handover *h = &c->handover[i];

		if (h->number != i) {
			say(a, true, "chain",
			    "the event of hand-over %zu is missing (the next "
			    "is %" PRIu64 ")",
			    i, h->number);
			return;
		}
		registry_handover_step(head, h->number, &h->h);
		if (h->h.audit <= last)
			say(a, true, "chain",
			    "hand-over %zu is audit entry %" PRIu64
			    ", which was recorded before",
			    i, h->h.audit);
		last = h->h.audit;
	}
	if (c->n_handovers != c->state.handovers)
		say(a, true, "chain",
		    "the registry counts %" PRIu64 " hand-overs, and %zu "
		    "events are there",
		    c->state.handovers, c->n_handovers);
	else if (memcmp(head, c->state.handover_head, 32) != 0)
		say(a, true, "chain",
		    "the events of the hand-overs do not come to the "
		    "registry's head");
}

static bool
happened(const struct registry_epoch *x, enum audit_what what)
{
	switch (what) {
	case AUDIT_ACTIVATED:
		return x->activated_at != 0;
	case AUDIT_TAINTED:
		return x->tainted_at != 0;
	case AUDIT_DESTROYED:
		return x->destroyed_at != 0;
	}
	return false;
}

static const char *
what_text(enum audit_what what)
{
	static const char *const text[] = { "activated", "tainted",
		"destroyed" };

	return text[what];
}

/* Each change has its event, and each event a change. */
static void
check_changes(struct audit *a)
{
	const struct registry_state *s = &a->c->state;

	for (size_t i = 0; i < s->n_epochs; i++) {
		const struct registry_epoch *x = &s->epoch[i];
		uint8_t hash[32];

		registry_root_hash(hash, &x->k256, x->ca_spki_hash);
		for (enum audit_what w = AUDIT_ACTIVATED; w <= AUDIT_DESTROYED;
		     w++) {
			unsigned n = 0;

			for (size_t k = 0; k < a->c->n_changes; k++) {
				const struct audit_change *e = &a->c->change[k];

				n += e->what == w && e->epoch == x->number &&
				    (w == AUDIT_TAINTED ||
					memcmp(e->root_hash, hash, 32) == 0);
			}
			if (n != (happened(x, w) ? 1 : 0))
				say(a, true, "chain",
				    "epoch %" PRIu64 " was%s %s, and %u such "
				    "events are there",
				    x->number, happened(x, w) ? "" : " not",
				    what_text(w), n);
		}
	}
}

/* ---- one node ---- */

static const struct audit_entry *
entry_of(const struct audit_node *n, uint64_t number)
{
	return number < n->first || number - n->first >= n->n
	    ? NULL
	    : &n->entry[number - n->first];
}

static bool
same_handover(const struct registry_handover *h, const struct command *c)
{
	const struct member *to = &c->u.handover.to;

	return h->epoch == c->u.handover.epoch &&
	    memcmp(h->slot, to->slot, sizeof h->slot) == 0 &&
	    memcmp(h->incarnation, to->incarnation, 32) == 0 &&
	    memcmp(h->device_id, to->device_id, 32) == 0 &&
	    memcmp(h->mr_aggregated, to->mr_aggregated, 32) == 0;
}

/* What the chain says of hand-overs is in the node's log. */
static void
check_recorded(struct audit *a, const struct audit_node *n)
{
	unsigned old = 0;

	for (size_t i = 0; i < a->c->n_handovers; i++) {
		const struct audit_handover *h = &a->c->handover[i];
		const struct audit_entry *e = entry_of(n, h->h.audit);

		if (h->h.audit < n->first)
			old++;
		else if (e == NULL)
			say(a, true, n->name,
			    "hand-over %" PRIu64 " on chain is audit entry "
			    "%" PRIu64 ", and its log ends at %" PRIu64,
			    h->number, h->h.audit, n->count);
		else if (!e->known || e->cmd.kind != COMMAND_HANDOVER ||
		    !same_handover(&h->h, &e->cmd))
			say(a, true, n->name,
			    "hand-over %" PRIu64 " on chain (to %.32s, epoch "
			    "%" PRIu64 ") is not what its audit entry %" PRIu64
			    " says",
			    h->number, (const char *)h->h.slot, h->h.epoch,
			    h->h.audit);
	}
	if (old > 0)
		say(a, false, n->name,
		    "%u hand-overs are older than its log, which begins at "
		    "%" PRIu64,
		    old, n->first);
}

static bool
is_recorded(const struct audit_chain *c, uint64_t audit)
{
	for (size_t i = 0; i < c->n_handovers; i++)
		if (c->handover[i].h.audit == audit)
			return true;
	return false;
}

/* Its log says what no registry has, or not yet. */
static void
check_entry_handover(
    struct audit *a, const struct audit_node *n, const struct audit_entry *e)
{
	bool young = e->cmd.time + AUDIT_GRACE_S > a->now;

	if (is_recorded(a->c, e->number))
		return;
	say(a, !young, n->name,
	    "audit entry %" PRIu64 ", a hand-over to %.32s of epoch %" PRIu64
	    ", is not on chain%s",
	    e->number, e->cmd.u.handover.to.slot, e->cmd.u.handover.epoch,
	    young ? " yet" : "");
}

static bool
state_is(enum ledger_epoch_state s, enum audit_what *what)
{
	switch (s) {
	case LEDGER_EPOCH_ACTIVE:
		*what = AUDIT_ACTIVATED;
		return true;
	case LEDGER_EPOCH_TAINTED:
		*what = AUDIT_TAINTED;
		return true;
	case LEDGER_EPOCH_DESTROYED:
		*what = AUDIT_DESTROYED;
		return true;
	case LEDGER_EPOCH_PREPARED:
		break;
	}
	return false;
}

static void
check_entry_state(
    struct audit *a, const struct audit_node *n, const struct audit_entry *e)
{
	uint64_t number = e->cmd.u.epoch_state.number;
	const struct registry_epoch *x =
	    registry_epoch_of(&a->c->state, number);
	enum audit_what what;

	if (!state_is(e->cmd.u.epoch_state.state, &what))
		return;
	/* Those before the registry's first are destroyed. */
	if (x == NULL && number < a->c->state.active)
		return;
	if (x == NULL || !happened(x, what) ||
	    memcmp(&x->k256, &e->cmd.u.epoch_state.k256, sizeof x->k256) != 0)
		say(a, true, n->name,
		    "audit entry %" PRIu64 " says that epoch %" PRIu64
		    " is %s, and the registry does not (or of another root)",
		    e->number, number, what_text(what));
}

/* The entry of that change, by the root's key. */
static bool
says_change(const struct audit_node *n, const struct registry_epoch *x,
    enum audit_what what)
{
	for (size_t i = 0; i < n->n; i++) {
		const struct command *c = &n->entry[i].cmd;
		enum audit_what w;

		if (!n->entry[i].known)
			continue;
		/* Epoch 0 was made before there was a registry. */
		if (what == AUDIT_ACTIVATED && x->number == 0 &&
		    c->kind == COMMAND_EPOCH && c->u.epoch.pub.number == 0 &&
		    memcmp(&c->u.epoch.pub.k256, &x->k256, sizeof x->k256) == 0)
			return true;
		if (c->kind == COMMAND_EPOCH_STATE &&
		    c->u.epoch_state.number == x->number &&
		    state_is(c->u.epoch_state.state, &w) && w == what &&
		    memcmp(&c->u.epoch_state.k256, &x->k256, sizeof x->k256) ==
			0)
			return true;
	}
	return false;
}

static uint64_t
time_of(const struct registry_epoch *x, enum audit_what what)
{
	return what == AUDIT_ACTIVATED ? x->activated_at
	    : what == AUDIT_TAINTED    ? x->tainted_at
				       : x->destroyed_at;
}

/* What became of each epoch on chain is in its log. */
static void
check_followed(struct audit *a, const struct audit_node *n)
{
	const struct registry_state *s = &a->c->state;

	for (size_t i = 0; i < s->n_epochs; i++) {
		const struct registry_epoch *x = &s->epoch[i];

		for (enum audit_what w = AUDIT_ACTIVATED; w <= AUDIT_DESTROYED;
		     w++) {
			bool young = time_of(x, w) + AUDIT_GRACE_S > a->c->now;

			if (!happened(x, w) || says_change(n, x, w))
				continue;
			/* One step may have been seen as two at once. */
			if (w == AUDIT_TAINTED &&
			    says_change(n, x, AUDIT_DESTROYED))
				continue;
			if (n->first > 1)
				say(a, false, n->name,
				    "epoch %" PRIu64 " was %s: not in what is "
				    "left of its log",
				    x->number, what_text(w));
			else
				say(a, !young, n->name,
				    "epoch %" PRIu64 " was %s on chain, and "
				    "its log does not say so%s",
				    x->number, what_text(w),
				    young ? " yet" : "");
		}
	}
}

static void
check_node(struct audit *a, const struct audit_node *n)
{
	if (memcmp(n->head, n->computed, 32) != 0)
		say(a, true, n->name,
		    "its audit entries do not come to the head that it names");
	check_recorded(a, n);
	check_followed(a, n);
	for (size_t i = 0; i < n->n; i++) {
		const struct audit_entry *e = &n->entry[i];

		if (!e->known)
			say(a, true, n->name,
			    "audit entry %" PRIu64 " is no command", e->number);
		else if (e->cmd.kind == COMMAND_HANDOVER)
			check_entry_handover(a, n, e);
		else if (e->cmd.kind == COMMAND_EPOCH_STATE)
			check_entry_state(a, n, e);
	}
}

/* ---- nodes with each other ---- */

static void
check_same(struct audit *a, const struct audit_node *n)
{
	const struct audit_node *first = &a->node[0];

	for (size_t i = 0; i < n->n; i++) {
		const struct audit_entry *e = &n->entry[i],
					 *f = entry_of(first, e->number);

		if (f == NULL || memcmp(e->hash, f->hash, 32) == 0)
			continue;
		say(a, true, n->name,
		    "from audit entry %" PRIu64 " on it tells another story "
		    "than %s",
		    e->number, first->name);
		return;
	}
}

json_t *
audit_findings(const struct audit_chain *c, const struct audit_node *node,
    size_t n_nodes, uint64_t now)
{
	struct audit a = { c, node, n_nodes, now, json_array() };

	check_events(&a);
	check_changes(&a);
	for (size_t i = 0; i < n_nodes; i++) {
		check_node(&a, &node[i]);
		check_same(&a, &node[i]);
	}
	return a.found;
}

bool
audit_clean(const json_t *findings)
{
	const json_t *f;
	size_t i;

	json_array_foreach(findings, i, f)
	{
		const char *s =
		    json_string_value(json_object_get(f, "severity"));

		if (s == NULL || strcmp(s, "error") == 0)
			return false;
	}
	return true;
}
