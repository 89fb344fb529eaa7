#include "kms/service/leasepage.h"

static json_t *
seconds(uint64_t ms)
{
	return json_integer((json_int_t)(ms / 1000));
}

static json_t *
clocks_json(const struct lease_status *s)
{
	return json_pack("{s:o, s:o, s:o, s:i}", "boot_s", seconds(s->boot_ms),
	    "wall_s", seconds(s->wall_ms), "peers_s", seconds(s->peers_ms),
	    "peers", (int)s->n_peers);
}

/* Where it was found, and by which clocks it is how old. */
static json_t *
found_json(const struct lease_status *s)
{
	json_t *o;

	if (!s->has)
		return json_null();
	o = json_object();
	(void)!json_set_hex(o, "batch", s->batch, sizeof s->batch);
	(void)!json_set_u64(o, "batch_time", s->batch_time);
	(void)!json_set_u64(o, "block_number", s->block_number);
	(void)!json_set_u64(o, "block_time", s->block_time);
	(void)!json_set_new(o, "elapsed_s", seconds(s->elapsed_ms));
	(void)!json_set_new(o, "clocks", clocks_json(s));
	return o;
}

json_t *
leasepage_json(const struct cluster *c)
{
	struct cluster_lease l;
	json_t *o;

	if (!cluster_lease(c, &l))
		return json_null();
	o = json_object();
	(void)!json_set_hex(o, "contract", l.contract, 20);
	(void)!json_set_bool(o, "good", l.why.code == REASON_NONE);
	(void)!json_set_new(
	    o, "left_s", json_integer((json_int_t)(l.s.left_ms / 1000)));
	(void)!json_set_new(o, "lease_s", seconds(l.s.lease_ms));
	(void)!json_set_new(o, "period_s", seconds(l.s.period_ms));
	(void)!json_set_new(o, "found", found_json(&l.s));
	(void)!json_set_u64(o, "releases", l.s.releases);
	(void)!json_set_u64(o, "max_releases", l.s.max_releases);
	(void)!json_set_u64(o, "outstanding", l.s.outstanding);
	(void)!json_set_u64(o, "renewed", l.s.renewed);
	(void)!json_set_u64(o, "sent", l.s.sent);
	(void)!json_set_u64(o, "send_failures", l.s.send_failures);
	(void)!json_set_new(o, "why",
	    l.why.code != REASON_NONE ? json_string(l.why.detail)
				      : json_null());
	(void)!json_set_new(o, "error",
	    l.error != REASON_NONE ? json_string(reason_label(l.error))
				   : json_null());
	return o;
}

void
leasepage_metrics(const struct cluster *c, struct metrics_cluster *out)
{
	struct cluster_lease l;

	out->has_lease = cluster_lease(c, &l);
	if (!out->has_lease)
		return;
	out->lease_good = l.why.code == REASON_NONE;
	out->lease_left_s = l.s.left_ms / 1000;
	out->lease_block = l.s.block_number;
	out->lease_releases = l.s.releases;
	out->lease_renewed = l.s.renewed;
	out->checkins_sent = l.s.sent;
	out->checkins_failed = l.s.send_failures;
}

bool
leasepage_good(const struct cluster *c)
{
	struct cluster_lease l;

	return !cluster_lease(c, &l) || l.why.code == REASON_NONE;
}

bool
leasepage_waits(const struct cluster *c)
{
	struct cluster_lease l;

	return cluster_lease(c, &l) && !l.s.has;
}
