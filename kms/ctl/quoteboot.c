/* quoteboot: the event log of a TD, replayed, and who it says has booted.
 *
 * dstack-compat.md 1.3, 3.3, 3.4, 3.7.  Only a verdict's registers are
 * compared with; the log itself is not signed. */
#include <string.h>

#include "common/base/hex.h"
#include "kms/ctl/quoterefs.h"

#define COMPOSE_LEN 32

struct boot_run {
	struct quotereport *r;
	const struct verdict *v;
	const struct quoteboot *b;
	struct event_log log; /* owns */
	bool stripped; /* the log is: only RTMR3 can be replayed */
	json_t *boot; /* owns */
	struct refusal *why;
};

static enum err
replay(struct boot_run *x)
{
	enum err e = ERR_OK;

	for (uint32_t i = x->stripped ? 3 : 0; i < 4; i++) {
		char check[64], a[97], b[97];
		uint8_t got[48];
		bool same;
		size_t n = 0;

		for (size_t k = 0; k < x->log.n; k++)
			n += x->log.event[k].imr == i;
		event_log_replay(got, &x->log, i, NULL);
		same = memcmp(got, x->v->td.rtmr[i], 48) == 0;
		(void)snprintf(check, sizeof check,
		    "RTMR%u is the replay of its %zu events", i, n);
		quotereport_row(x->r,
		    &(struct quoterow){ .step = QUOTEREPORT_BOOT,
			.check = check,
			.found = hex_encode(a, x->v->td.rtmr[i], 48),
			.found_in = "TD report",
			.expected = hex_encode(b, got, 48),
			.expected_in = "event log",
			.codes = "EVENT_LOG",
			.holds = same ? ROW_HOLDS : ROW_DIFFERS });
		if (!same && e == ERR_OK)
			e = refuse(x->why, REASON_EVENT_LOG,
			    "EVENT_LOG: RTMR%u is not the replay of its "
			    "events",
			    i);
	}
	return e;
}

/* The event of that name, not twice before system-ready. */
static const struct event *
find_once(const struct event_log *log, const char *name, bool *twice)
{
	const struct event *e = event_log_find(log, name);
	struct event_log rest = { 0 };

	if (e == NULL)
		return NULL;
	rest.event = log->event + (e - log->event) + 1;
	rest.n = log->n - (size_t)(rest.event - log->event);
	*twice = *twice || event_log_find(&rest, name) != NULL;
	return e;
}

static void
put_measures(json_t *out, struct boot_run *x, enum boot_variant variant)
{
	uint8_t sys[32], agg[32];

	if (boot_info_measure(sys, agg, &x->v->td, &x->log, variant) != ERR_OK)
		return;
	(void)json_set_hex(out, "mr_aggregated", agg, 32);
	(void)json_set_hex(out, "mr_system", sys, 32);
}

static enum err
tell_events(struct boot_run *x)
{
	static const struct {
		const char *event, *key;
	} part[] = {
		{ "app-id", "app_id" },
		{ "compose-hash", "compose_hash" },
		{ "instance-id", "instance_id" },
	};
	const struct event *provider;
	json_t *kms = json_object();
	bool twice = false;

	for (size_t i = 0; i < sizeof part / sizeof part[0]; i++) {
		const struct event *e =
		    find_once(&x->log, part[i].event, &twice);

		if (e != NULL)
			(void)json_set_hex(
			    x->boot, part[i].key, e->payload.p, e->payload.len);
	}
	provider = find_once(&x->log, "key-provider", &twice);
	if (provider != NULL)
		(void)json_set_new(x->boot, "key_provider",
		    json_stringn((const char *)provider->payload.p,
			provider->payload.len));
	put_measures(x->boot, x, BOOT_APP);
	put_measures(kms, x, BOOT_KMS);
	(void)json_set_new(x->boot, "as_kms", kms);
	if (twice)
		return refuse(x->why, REASON_BOOT_INFO,
		    "BOOT_INFO: an identity event is there twice");
	return ERR_OK;
}

/* Legacy images have no measurement document: nothing here could recompute
 * their registers. */
static bool
has_document(struct bytes vm_config)
{
	json_t *v = NULL;
	bool has = json_parse(&v, vm_config.p, vm_config.len, vm_config.len,
		       NULL, 0) == ERR_OK &&
	    json_object_get(v, "tdx_measurement") != NULL;

	json_decref(v);
	return has;
}

static enum err
check_image(struct boot_run *x)
{
	struct quoterow row = { .step = QUOTEREPORT_BOOT,
		.check = "MRTD and RTMR0-2 are those of the OS image",
		.found_in = "TD report",
		.expected_in = "vm_config",
		.codes = "OS_IMAGE" };
	struct boot_info info;
	struct refusal why;
	char hash[65], image[128];
	enum err e;

	if (x->stripped && !has_document(x->b->vm_config)) {
		quotereport_row(x->r, &row);
		return refuse(x->why, REASON_OS_IMAGE,
		    "OS_IMAGE: no measurement document says what RTMR0-2 of a "
		    "stripped log are");
	}
	if (x->b->vm_config.len == 0)
		return ERR_OK;
	if (!x->b->vm_config_explicit && !has_document(x->b->vm_config)) {
		(void)json_set_str(x->boot, "os_image",
		    "not checked: vm_config has no measurement document");
		return ERR_OK;
	}
	e = boot_info_build(
	    &info, x->v, x->b->event_log, x->b->vm_config, BOOT_APP, &why);
	if (e == ERR_DENIED) {
		quotereport_row(x->r, &row);
		return refuse(x->why, why.code, "OS_IMAGE: %.180s", why.detail);
	}
	if (e != ERR_OK)
		return e;
	(void)snprintf(image, sizeof image, "those of image %.64s, recomputed",
	    hex_encode(hash, info.os_image_hash, 32));
	row.found = "as quoted";
	row.expected = image;
	quotereport_row(x->r, &row);
	(void)json_set_hex(x->boot, "os_image_hash", info.os_image_hash, 32);
	(void)json_set_hex(x->boot, "device_id", info.device_id, 32);
	return ERR_OK;
}

static enum err
check_compose(struct boot_run *x)
{
	const struct event *e = event_log_find(&x->log, "compose-hash");
	char a[65], b[65];
	uint8_t want[COMPOSE_LEN];
	bool same;

	if (x->b->compose.len == 0)
		return ERR_OK;
	if (e == NULL || e->payload.len != COMPOSE_LEN)
		return refuse(x->why, REASON_REFERENCE,
		    "REFERENCE: no compose hash was measured");
	compose_hash(want, x->b->compose);
	same = memcmp(want, e->payload.p, COMPOSE_LEN) == 0;
	quotereport_row(x->r,
	    &(struct quoterow){ .step = QUOTEREPORT_BOOT,
		.check = "compose hash",
		.found = hex_encode(a, e->payload.p, COMPOSE_LEN),
		.found_in = "event log, in RTMR3",
		.expected = hex_encode(b, want, COMPOSE_LEN),
		.expected_in = "--compose, SHA-256 of the file",
		.codes = "REFERENCE",
		.holds = same ? ROW_HOLDS : ROW_DIFFERS });
	if (same)
		return ERR_OK;
	return refuse(x->why, REASON_REFERENCE,
	    "REFERENCE: another app-compose file was measured");
}

enum err
quoteboot_check(struct quotereport *r, json_t **boot, const struct verdict *v,
    const struct quoteboot *b, struct refusal *why)
{
	struct boot_run x = { .r = r, .v = v, .b = b, .why = why };
	struct refusal bad;
	enum err e;

	if (b->event_log.len == 0)
		return ERR_OK;
	if (v->tee != TEE_TDX)
		return refuse(why, REASON_EVENT_LOG,
		    "EVENT_LOG: this evidence has no registers to replay to");
	e = event_log_parse(&x.log, b->event_log, &bad);
	if (e == ERR_DENIED) {
		quotereport_row(r,
		    &(struct quoterow){ .step = QUOTEREPORT_BOOT,
			.check = "the event log parses",
			.codes = "EVENT_LOG" });
		return refuse(why, bad.code, "EVENT_LOG: %.180s", bad.detail);
	}
	if (e != ERR_OK)
		return e;
	x.boot = json_object();
	x.stripped = event_log_stripped(&x.log);
	/* What the log says is shown only once it is known to be measured. */
	if ((e = replay(&x)) == ERR_OK && (e = tell_events(&x)) == ERR_OK &&
	    (e = check_image(&x)) == ERR_OK)
		e = check_compose(&x);
	*boot = x.boot;
	event_log_fini(&x.log);
	return e;
}
