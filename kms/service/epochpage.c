#include <string.h>

#include "common/base/clock.h"
#include "common/base/json.h"
#include "common/crypto/hash.h"
#include "kms/service/epochpage.h"

static const char *
state_text(enum ledger_epoch_state s)
{
	switch (s) {
	case LEDGER_EPOCH_PREPARED:
		return "prepared";
	case LEDGER_EPOCH_ACTIVE:
		return "active";
	case LEDGER_EPOCH_TAINTED:
		return "tainted";
	case LEDGER_EPOCH_DESTROYED:
		return "destroyed";
	}
	return "?";
}

/* The slots whose holders have the newest epoch's key, of all but epoch 0. */
static json_t *
holders(const struct ledger *l)
{
	json_t *list = json_array();

	for (size_t i = 0; i < ledger_n_members(l); i++)
		if (ledger_member(l, i)->held == LEDGER_HELD)
			(void)json_array_append_new(
			    list, json_string(ledger_member(l, i)->who.slot));
	return list;
}

static void
add_origin(json_t *o, const struct ledger *l, const struct ledger_epoch *ep)
{
	(void)!json_set_str(o, "mode",
	    ep->mode == REGISTRY_EMERGENCY ? "emergency" : "routine");
	(void)!json_set_u64(o, "order", ep->origin.order);
	(void)!json_set_u64(o, "vetoes", ep->origin.vetoes);
	(void)!json_set_u64(o, "attempt", ep->origin.attempt);
	if (ep->pub.number + 1 == ledger_n_epochs(l))
		(void)!json_set_new(o, "holders", holders(l));
}

static json_t *
epoch_json(const struct cluster *c, const struct ledger_epoch *ep)
{
	const struct ledger *l = core_ledger(cluster_core(c));
	const struct epoch_public *p = &ep->pub;
	json_t *o = json_object();
	uint8_t spki[P256_SPKI_LEN], hash[32], address[20] = { 0 };

	(void)!p256_spki(spki, &p->ca);
	sha256(hash, spki, sizeof spki);
	(void)!k256_address(address, &p->k256);
	(void)!json_set_u64(o, "number", p->number);
	(void)!json_set_hex(o, "k256_pub", p->k256.b, 33);
	(void)!json_set_hex(o, "address", address, 20);
	(void)!json_set_hex(o, "ca_spki_sha256", hash, 32);
	(void)!json_set_str(o, "state", state_text(ep->state));
	(void)!json_set_bool(
	    o, "anchored", ledger_epoch_anchored(l, p->number));
	(void)!json_set_bool(o, "here", cluster_has_roots(c, p->number));
	if (p->number > 0)
		add_origin(o, l, ep);
	return o;
}

json_t *
epochpage_epochs(const struct cluster *c)
{
	const struct ledger *l = core_ledger(cluster_core(c));
	json_t *list = json_array();

	for (size_t i = 0; i < ledger_n_epochs(l); i++)
		(void)json_array_append_new(
		    list, epoch_json(c, ledger_epoch(l, i)));
	return list;
}

json_t *
epochpage_registry(const struct cluster *c)
{
	const struct ledger *l = core_ledger(cluster_core(c));
	const struct registry_state *v = core_registry(cluster_core(c));
	struct cluster_info info;
	struct core_status s;
	json_t *o;

	cluster_info(c, &info);
	if (!info.has_registry)
		return json_null();
	core_status(cluster_core(c), &s);
	o = json_object();
	(void)!json_set_new(o, "age_s",
	    info.registry_read == 0
		? json_null()
		: json_integer(clock_wall_s() - info.registry_read));
	(void)!json_set_new(o, "error",
	    info.registry_error == REASON_NONE
		? json_null()
		: json_string(reason_label(info.registry_error)));
	(void)!json_set_new(o, "trouble",
	    s.trouble == NULL ? json_null() : json_string(s.trouble));
	(void)!json_set_u64(o, "trouble_at", s.trouble_at);
	(void)!json_set_u64(o, "handovers", ledger_n_handovers(l));
	if (v == NULL)
		return o;
	(void)!json_set_u64(o, "active", v->active);
	(void)!json_set_u64(o, "order", v->order.number);
	(void)!json_set_u64(o, "order_epoch", v->order.epoch);
	(void)!json_set_u64(o, "handovers_recorded", v->handovers);
	return o;
}

void
epochpage_metrics(const struct cluster *c, struct metrics_cluster *out)
{
	const struct ledger *l = core_ledger(cluster_core(c));
	struct cluster_info info;

	cluster_info(c, &info);
	out->n_epochs = ledger_n_epochs(l);
	for (size_t i = 0; i < out->n_epochs; i++) {
		out->epoch_state[i] = (uint8_t)ledger_epoch(l, i)->state;
		out->epoch_here[i] = cluster_has_roots(c, i);
	}
	out->has_registry = info.has_registry;
	out->registry_age_ms = info.registry_read == 0
	    ? -1
	    : 1000 * (clock_wall_s() - info.registry_read);
	out->handovers = ledger_n_handovers(l);
	out->handovers_recorded = core_registry(cluster_core(c)) != NULL
	    ? core_registry(cluster_core(c))->handovers
	    : 0;
}
