/* kmsctl rotate status: a checklist of the rotation that is under way, or of
 * the next one, as the chain and the nodes say it at this moment. */
#include <inttypes.h>
#include <string.h>

#include "common/base/hex.h"
#include "kms/ctl/fleet.h"
#include "kms/ctl/gov.h"
#include "kms/ctl/rotate.h"
#include "kms/ctl/when.h"

#define TEXT_MAX 512

struct status {
	struct gov g;
	const struct registry_epoch *x; /* under way, or NULL */
	struct anchor_state anchor;
	bool has_anchor;
	json_t *fleet; /* owns; NULL: no node was asked */
	json_t *steps; /* owns, as the next */
	json_t *open; /* proposals */
	/* The proposal that something waits for: the newest open one. */
	bool has_wait;
	uint8_t wait_id[32];
	enum council_stage wait_stage;
	char wait_text[TEXT_MAX];
	char next[GOV_COMMAND_MAX]; /* "": nothing to do */
};

static void step(struct status *s, bool done, const char *what, const char *fmt,
    ...) __attribute__((format(printf, 4, 5)));
static void
step(struct status *s, bool done, const char *what, const char *fmt, ...)
{
	char text[TEXT_MAX];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	(void)json_array_append_new(s->steps,
	    json_pack("{s:s, s:s, s:s}", "done", done ? "[x]" : "[ ]", "step",
		what, "detail", text));
}

/* ---- what nodes say ---- */

/* The root hash that a node has for an epoch; false if it has none. */
static bool
node_root(uint8_t hash[static 32], const json_t *epoch)
{
	struct k256_pub pub;
	uint8_t ca[32];

	if (json_get_hex(pub.b, sizeof pub.b, epoch, "k256_pub") != ERR_OK ||
	    json_get_hex(ca, sizeof ca, epoch, "ca_spki_sha256") != ERR_OK)
		return false;
	registry_root_hash(hash, &pub, ca);
	return true;
}

static json_t *
node_row(const struct status *s, const json_t *n)
{
	const json_t *epochs = json_object_get(
			 json_object_get(n, "status"), "epochs"),
		     *e;
	uint64_t wanted = s->g.s.active + (s->x != NULL ? 1 : 0);
	char holds[TEXT_MAX] = "";
	json_t *root = json_null();
	uint8_t hash[32];
	size_t i, len = 0;

	json_array_foreach(epochs, i, e)
	{
		if (len < sizeof holds)
			len += (size_t)snprintf(holds + len, sizeof holds - len,
			    "%s%lld %.20s", i > 0 ? ", " : "",
			    (long long)fleet_num(e, "number"),
			    fleet_str(e, "state"));
		if ((uint64_t)fleet_num(e, "number") == wanted &&
		    node_root(hash, e)) {
			json_decref(root);
			root = gov_hash(hash);
		}
	}
	return json_pack("{s:s, s:s, s:s, s:o}", "node", fleet_str(n, "name"),
	    "phase", fleet_str(json_object_get(n, "status"), "phase"), "holds",
	    holds, "root_hash_of_the_newest", root);
}

static json_t *
nodes_json(const struct status *s)
{
	json_t *rows = json_array();
	const json_t *n;
	size_t i;

	json_array_foreach(json_object_get(s->fleet, "nodes"), i, n)(void)
	    json_array_append_new(rows, node_row(s, n));
	return rows;
}

/* How many of the nodes that were asked have that epoch. */
static void
count_nodes(const struct status *s, uint64_t epoch, char out[static TEXT_MAX])
{
	unsigned have = 0, asked = 0;
	const json_t *n, *e;
	size_t i, k;

	json_array_foreach(json_object_get(s->fleet, "nodes"), i, n)
	{
		asked++;
		json_array_foreach(
		    json_object_get(json_object_get(n, "status"), "epochs"), k,
		    e) if ((uint64_t)fleet_num(e, "number") == epoch) have++;
	}
	if (s->fleet == NULL)
		(void)snprintf(out, TEXT_MAX,
		    "the nodes do it; --nodes URL,... shows what they hold");
	else
		(void)snprintf(out, TEXT_MAX,
		    "%u of %u nodes have a root for it", have, asked);
}

/* ---- proposals ---- */

static bool
look_at(void *cookie, const struct council_checklist *p)
{
	struct status *s = cookie;
	json_t *row;

	if (p->stage != COUNCIL_VOTING && p->stage != COUNCIL_WAITING &&
	    p->stage != COUNCIL_READY)
		return true;
	row = gov_row(&s->g, p);
	if (!s->has_wait) {
		s->has_wait = true;
		s->wait_stage = p->stage;
		memcpy(s->wait_id, p->id, sizeof s->wait_id);
		(void)snprintf(s->wait_text, sizeof s->wait_text,
		    "%.200s: %.40s, %.200s", fleet_str(row, "what"),
		    council_stage_text(p->stage), fleet_str(row, "waits_for"));
	}
	(void)json_array_append_new(s->open, row);
	return true;
}

/* The next command: about the open proposal, or what `fmt` says. */
static void
next_of_proposal(struct status *s)
{
	char hex[65];

	gov_command(s->next, &s->g, true, "rotate %s 0x%s",
	    s->wait_stage == COUNCIL_VOTING ? "vote" : "execute",
	    hex_encode(hex, s->wait_id, 32));
}

/* ---- the steps ---- */

static void
step_ordered(struct status *s)
{
	const struct registry_order *o = &s->g.s.order;
	char when[WHEN_TEXT];

	if (s->x != NULL) {
		when_seen(when, o->ordered_at, s->g.now);
		step(s, true, "ordered",
		    "number %" PRIu64 ", to epoch %" PRIu64 ", %s, %s",
		    o->number, o->epoch,
		    o->mode == REGISTRY_ROUTINE ? "routine" : "emergency",
		    when);
	} else if (s->has_wait) {
		step(s, false, "a proposal", "%s", s->wait_text);
		next_of_proposal(s);
	} else {
		step(s, false, "ordered",
		    "no rotation is ordered; epoch %" PRIu64 " is active",
		    s->g.s.active);
		gov_command(s->next, &s->g, true, "rotate order");
	}
}

static void
holders_text(const struct status *s, char out[static TEXT_MAX])
{
	const struct anchor_view *v = &s->anchor.v;
	size_t n = 0;

	out[0] = '\0';
	for (unsigned i = 0; i < 15 && n < TEXT_MAX; i++) {
		if ((s->x->holders >> i & 1) == 0)
			continue;
		if (s->has_anchor && i < v->n_seats)
			n += (size_t)snprintf(out + n, TEXT_MAX - n, "%s%s",
			    n > 0 ? ", " : "", v->seat[i].slot);
		else
			n += (size_t)snprintf(out + n, TEXT_MAX - n,
			    "%sseat %u", n > 0 ? ", " : "", i);
	}
}

static void
step_published(struct status *s)
{
	char text[TEXT_MAX], when[WHEN_TEXT], signer[ACCOUNT_ADDRESS_TEXT];
	const struct registry_epoch *x = s->x;

	if (x->status == REGISTRY_PUBLISHED) {
		holders_text(s, text);
		step(s, true, "made and held", "held by %s", text);
		when_seen(when, x->published_at, s->g.now);
		account_address_text(signer, x->signer);
		step(s, true, "published", "root %s, %s", signer, when);
		return;
	}
	count_nodes(s, s->g.s.order.epoch, text);
	step(s, false, "made and held", "%s", text);
	when_seen(when, s->g.s.order.not_before, s->g.now);
	step(s, false, "published",
	    s->g.s.order.not_before > s->g.now ? "not before %s"
					       : "by the nodes%.0s",
	    when);
}

/* In an emergency the voters have the last word on which root it is. */
static void
step_confirmed(struct status *s)
{
	static const uint8_t nothing[32];
	const struct registry_order *o = &s->g.s.order;
	uint8_t hash[32];
	char hex[65];

	if (o->mode != REGISTRY_EMERGENCY)
		return;
	if (memcmp(o->confirmed, nothing, 32) != 0) {
		step(s, true, "confirmed", "root hash 0x%s",
		    hex_encode(hex, o->confirmed, 32));
		return;
	}
	if (s->has_wait) {
		step(s, false, "confirmed", "%s", s->wait_text);
		next_of_proposal(s);
		return;
	}
	if (s->x->status == REGISTRY_PUBLISHED) {
		registry_root_hash(hash, &s->x->k256, s->x->ca_spki_hash);
		step(s, false, "confirmed",
		    "a second vote, for the hash that the nodes attest; "
		    "published is 0x%s",
		    hex_encode(hex, hash, 32));
	} else {
		step(s, false, "confirmed",
		    "a second vote, for the hash that the nodes attest; may "
		    "come before the publication");
	}
	gov_command(
	    s->next, &s->g, true, "rotate confirm ROOTHASH-OF-THE-NODES");
}

static void
step_active(struct status *s)
{
	const struct registry_epoch *x = s->x;
	char end[WHEN_TEXT], age[WHEN_TEXT];
	uint64_t window;
	bool over;

	if (x->status != REGISTRY_PUBLISHED) {
		when_span(end, s->g.s.veto_window_s);
		step(s, false, "veto window", "%s, from the publication on",
		    end);
		step(s, false, "active", "by the nodes");
		return;
	}
	window = x->published_at + s->g.s.veto_window_s;
	over = s->g.now >= window;
	when_seen(end, window, s->g.now);
	step(s, over, "veto window", "%s %s", over ? "ended" : "ends", end);
	when_seen(age, x->held_as_of, s->g.now);
	step(s, s->g.now <= x->held_as_of + s->g.s.holders_age_s,
	    "holders attested lately", "as of %s; the nodes renew it", age);
	step(s, false, "active", "by the nodes, %s",
	    over ? "any moment" : "after that");
}

/* What else is waiting for somebody. */
static void
step_ends(struct status *s)
{
	for (size_t i = 0; i < s->g.s.n_epochs; i++) {
		const struct registry_epoch *x = &s->g.s.epoch[i];
		char what[48], when[WHEN_TEXT];
		bool due = x->retire_at != 0 && s->g.now >= x->retire_at;

		if (x->retire_at == 0 || x->status == REGISTRY_DESTROYED)
			continue;
		(void)snprintf(
		    what, sizeof what, "end of epoch %" PRIu64, x->number);
		when_seen(when, x->retire_at, s->g.now);
		step(s, due, what, "%s may be destroyed from %s",
		    registry_status_text(x->status), when);
		if (due && !s->has_wait && s->x == NULL)
			gov_command(s->next, &s->g, true,
			    "rotate destroy %" PRIu64, x->number);
	}
}

static json_t *
time_or_null(uint64_t at)
{
	char text[WHEN_TEXT];

	if (at == 0)
		return json_null();
	when_date(text, at);
	return json_string(text);
}

static json_t *
epochs_json(const struct status *s)
{
	static const uint8_t nobody[20];
	json_t *rows = json_array();

	for (size_t i = 0; i < s->g.s.n_epochs; i++) {
		const struct registry_epoch *x = &s->g.s.epoch[i];
		bool root = memcmp(x->signer, nobody, 20) != 0;

		(void)json_array_append_new(rows,
		    json_pack("{s:I, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o}",
			"epoch", (json_int_t)x->number, "state",
			registry_status_text(x->status), "mode",
			x->mode == REGISTRY_ROUTINE ? "routine" : "emergency",
			"root", root ? gov_address(x->signer) : json_null(),
			"published", time_or_null(x->published_at), "activated",
			time_or_null(x->activated_at), "tainted",
			time_or_null(x->tainted_at), "ends",
			time_or_null(x->retire_at), "destroyed",
			time_or_null(x->destroyed_at)));
	}
	return rows;
}

static json_t *
answer(const struct status *s)
{
	char time[WHEN_TEXT], notice[WHEN_TEXT] = "-", window[WHEN_TEXT],
			      ends[WHEN_TEXT], age[WHEN_TEXT];
	const struct gov *g = &s->g;

	when_date(time, g->now);
	if (g->has_council)
		when_span(notice, g->cs.notice_s);
	when_span(window, g->s.veto_window_s);
	when_span(ends, g->s.notice_s);
	when_span(age, g->s.holders_age_s);
	return json_pack("{s:o, s:o, s:o, s:s, s:s, s:s, s:s, s:s, s:o, s:I, "
			 "s:I, s:o, s:o, s:o, s:o, s:o}",
	    "registry", gov_address(g->k.registry), "authority",
	    gov_address(g->s.authority), "decides",
	    g->has_council ? json_sprintf("a council, %llu of %zu",
				 (unsigned long long)g->cs.k, g->cs.members.n)
			   : json_string("a contract of another kind"),
	    "chain_time", time, "notice_of_the_council", notice, "veto_window",
	    window, "notice_of_an_end", ends, "holders_age", age, "active",
	    g->s.n_epochs > 0 ? json_integer((json_int_t)g->s.active)
			      : json_null(),
	    "vetoes", (json_int_t)g->s.vetoes, "handovers",
	    (json_int_t)g->s.handovers, "next",
	    s->next[0] != '\0' ? json_string(s->next) : json_null(), "epochs",
	    epochs_json(s), "checklist", json_incref(s->steps), "proposals",
	    json_incref(s->open), "nodes", nodes_json(s));
}

/* ---- the command ---- */

static enum ctl_exit
ask_nodes(struct status *s, const struct ctl *c, const struct args *a)
{
	const char *where[16], *list = args_get(a, "nodes");
	char text[1024];
	unsigned n = 0;
	char *save = NULL;

	if (list == NULL && s->g.k.sim[0] == '\0')
		return CTL_OK;
	if (list == NULL) {
		where[n++] = s->g.k.sim;
	} else if (strlen(list) >= sizeof text) {
		return ctl_fail(c, CTL_USAGE, "--nodes: too long");
	} else {
		memcpy(text, list, strlen(list) + 1);
		for (char *p = strtok_r(text, ",", &save); p != NULL && n < 16;
		     p = strtok_r(NULL, ",", &save))
			where[n++] = p;
	}
	return fleet_look(&s->fleet, c, where, n);
}

enum ctl_exit
rotate_status(struct ctl *c, const struct args *a)
{
	struct refusal why = { .code = REASON_NONE };
	struct status s = { .steps = json_array(), .open = json_array() };
	enum ctl_exit rc = gov_open(&s.g, c, a, false, true);
	struct contract k;
	enum err e;

	if (rc != CTL_OK || (rc = ask_nodes(&s, c, a)) != CTL_OK)
		goto done;
	k = s.g.k;
	memcpy(k.anchor, s.g.s.anchor, sizeof k.anchor);
	s.has_anchor = contract_anchor(&s.anchor, &k, &why) == ERR_OK;
	if (s.g.has_council &&
	    (e = gov_each(&s.g, look_at, &s, &why)) != ERR_OK) {
		rc = ctl_denied(c, "the council", e, &why);
		goto done;
	}
	if (s.g.s.n_epochs == 0) {
		step(&s, false, "epoch 0",
		    "the registry has not taken the KMS over yet");
		gov_command(s.next, &s.g, true, "rotate init");
	} else {
		if (s.g.s.order.epoch != 0)
			s.x = registry_epoch_of(&s.g.s, s.g.s.order.epoch);
		step_ordered(&s);
		if (s.x != NULL) {
			step_published(&s);
			step_confirmed(&s);
			step_active(&s);
		}
		step_ends(&s);
	}
	if (s.next[0] == '\0' && s.has_wait)
		next_of_proposal(&s);
	rc = ctl_result(c, answer(&s), CTL_OK);
done:
	json_decref(s.fleet);
	json_decref(s.steps);
	json_decref(s.open);
	return rc;
}
