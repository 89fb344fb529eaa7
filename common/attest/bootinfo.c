#include <stdlib.h>
#include <string.h>

#include "common/attest/bootinfo.h"
#include "common/attest/osimage.h"
#include "common/base/hex.h"
#include "common/base/json.h"
#include "common/crypto/hash.h"
#include "common/crypto/keccak.h"

#define BOOT_DONE "boot-mr-done"

/* The required events, found once each. */
struct boot_events {
	const struct event *app_id;
	const struct event *compose_hash;
	const struct event *instance_id;
	const struct event *boot_done;
	const struct event *key_provider; /* may be NULL */
};

void
compose_hash(uint8_t out[static 32], struct bytes app_compose)
{
	sha256(out, app_compose.p, app_compose.len);
}

static bool
all_zero(const uint8_t *p, size_t n)
{
	uint8_t any = 0;

	for (size_t i = 0; i < n; i++)
		any |= p[i];
	return any == 0;
}

/* dstack-compat.md 3.4, TDX. */
enum err
boot_info_measure(uint8_t mr_system[static 32],
    uint8_t mr_aggregated[static 32], const struct td_report *td,
    const struct event_log *log, enum boot_variant variant)
{
	uint8_t provider[32] = { 0 }, rtmr3[48];
	const struct event *kp = NULL;
	bool plain = all_zero(td->mrconfigid, 48) &&
	    all_zero(td->mrowner, 48) && all_zero(td->mrownerconfig, 48);

	switch (variant) {
	case BOOT_APP:
		if (event_log_find(log, BOOT_DONE) == NULL)
			return ERR_NOTFOUND;
		event_log_replay(rtmr3, log, 3, BOOT_DONE);
		break;
	case BOOT_KMS:
		event_log_replay(rtmr3, log, 3, NULL);
		kp = event_log_find(log, "key-provider");
		break;
	}
	if (kp != NULL)
		sha256(provider, kp->payload.p, kp->payload.len);
	sha256_v(mr_system,
	    (const struct bytes[]){ BYTES_OF(td->mrtd), BYTES_OF(td->rtmr[0]),
		BYTES_OF(td->rtmr[1]), BYTES_OF(td->rtmr[2]),
		BYTES_OF(provider) },
	    5);
	/* "appended only if any byte of the three is nonzero" */
	sha256_v(mr_aggregated,
	    (const struct bytes[]){ BYTES_OF(td->mrtd), BYTES_OF(td->rtmr[0]),
		BYTES_OF(td->rtmr[1]), BYTES_OF(td->rtmr[2]), BYTES_OF(rtmr3),
		BYTES_OF(td->mrconfigid), BYTES_OF(td->mrowner),
		BYTES_OF(td->mrownerconfig) },
	    plain ? 5 : 8);
	return ERR_OK;
}

/* Every register is the replay of its events, and nothing else.  Of a
 * stripped log only RTMR3 is: check_image computes the others. */
static enum err
check_replay(const struct td_report *td, const struct event_log *log,
    struct refusal *why)
{
	uint8_t got[48];

	for (uint32_t i = event_log_stripped(log) ? 3 : 0; i < 4; i++) {
		event_log_replay(got, log, i, NULL);
		if (memcmp(got, td->rtmr[i], 48) != 0)
			return refuse(why, REASON_EVENT_LOG,
			    "RTMR%u is not the replay of its events", i);
	}
	return ERR_OK;
}

/* The firmware, kernel, command line and initrd are the named image's. */
static enum err
check_image(struct boot_info *b, const struct td_report *td,
    struct bytes vm_config, const struct event_log *log, struct refusal *why)
{
	struct os_registers r;
	enum err e = os_image_measure(&r, vm_config, log, why);

	if (e != ERR_OK)
		return e;
	if (memcmp(r.mrtd, td->mrtd, 48) != 0)
		return refuse(
		    why, REASON_OS_IMAGE, "MRTD is not that of the image");
	for (int i = 0; i < 3; i++)
		if (memcmp(r.rtmr[i], td->rtmr[i], 48) != 0)
			return refuse(why, REASON_OS_IMAGE,
			    "RTMR%d is not that of the image", i);
	memcpy(b->os_image_hash, r.os_image_hash, 32);
	return ERR_OK;
}

/* The event of that name, which must not come twice before system-ready.
 * (A log has it after system-ready as well if the app said so; that is the
 * app's word and is not looked at.) */
static enum err
find_once(const struct event **out, const struct event_log *log,
    const char *name, struct refusal *why)
{
	const struct event *e = event_log_find(log, name);
	struct event_log rest = { 0 };

	*out = e;
	if (e == NULL)
		return ERR_OK;
	rest.event = log->event + (e - log->event) + 1;
	rest.n = log->n - (size_t)(rest.event - log->event);
	if (event_log_find(&rest, name) != NULL)
		return refuse(why, REASON_BOOT_INFO, "event %s twice", name);
	return ERR_OK;
}

/* As find_once, and it must be there, with that length (SIZE_MAX: any). */
static enum err
require(const struct event **out, const struct event_log *log, const char *name,
    size_t len, struct refusal *why)
{
	enum err e = find_once(out, log, name, why);

	if (e != ERR_OK)
		return e;
	if (*out == NULL)
		return refuse(why, REASON_BOOT_INFO, "no event %s", name);
	if (len != SIZE_MAX && (*out)->payload.len != len)
		return refuse(why, REASON_BOOT_INFO, "event %s has %zu bytes",
		    name, (*out)->payload.len);
	return ERR_OK;
}

static enum err
find_events(
    struct boot_events *b, const struct event_log *log, struct refusal *why)
{
	enum err e;

	if ((e = require(&b->app_id, log, "app-id", 20, why)) != ERR_OK ||
	    (e = require(&b->compose_hash, log, "compose-hash", 32, why)) !=
		ERR_OK ||
	    (e = require(&b->instance_id, log, "instance-id", SIZE_MAX, why)) !=
		ERR_OK ||
	    (e = require(&b->boot_done, log, BOOT_DONE, 0, why)) != ERR_OK ||
	    (e = find_once(&b->key_provider, log, "key-provider", why)) !=
		ERR_OK)
		return e;
	if (b->instance_id->payload.len != 0 &&
	    b->instance_id->payload.len != 20)
		return refuse(why, REASON_BOOT_INFO,
		    "event instance-id has %zu bytes",
		    b->instance_id->payload.len);
	/* mr_aggregated of BOOT_APP covers only what is before boot-mr-done:
	 * an identity measured later would not be in it. */
	if (b->app_id > b->boot_done || b->compose_hash > b->boot_done ||
	    b->instance_id > b->boot_done)
		return refuse(why, REASON_BOOT_INFO,
		    "identity event behind boot-mr-done");
	return ERR_OK;
}

/* Reads the key-provider event: {"name":..,"id":"<hex>"}.  `kind` is
 * dstack's number (none 0, local 1, kms 2, tpm 3). */
static enum err
parse_provider(
    uint8_t *kind, struct buf *id, const struct event *e, struct refusal *why)
{
	static const char *const kinds[] = { "none", "local-sgx", "kms",
		"tpm" };
	json_t *v = NULL;
	const char *name = NULL;
	uint8_t k = 0;
	enum err err = ERR_MALFORMED;

	if (json_parse(&v, e->payload.p, e->payload.len, KEY_PROVIDER_MAX - 1,
		NULL, 0) == ERR_OK &&
	    json_get_str(&name, v, "name") == ERR_OK)
		err = json_get_hex_buf(id, KEY_PROVIDER_MAX, v, "id");
	while (err == ERR_OK && k < 4 && strcmp(name, kinds[k]) != 0)
		k++;
	json_decref(v);
	if (err != ERR_OK || k == 4)
		return refuse(
		    why, REASON_BOOT_INFO, "event key-provider does not parse");
	*kind = k;
	return ERR_OK;
}

/* dstack-compat.md 3.5: MRCONFIGID is unset, or agrees with the events. */
static enum err
check_config_id(const struct td_report *td, const struct boot_events *b,
    struct refusal *why)
{
	uint8_t want[48] = { 0 }, kind;
	struct buf id = { 0 };
	enum err e;

	if (all_zero(td->mrconfigid, 48))
		return ERR_OK;
	want[0] = td->mrconfigid[0];
	switch (want[0]) {
	case 1:
		memcpy(want + 1, b->compose_hash->payload.p, 32);
		break;
	case 2:
		if (b->key_provider == NULL)
			return refuse(why, REASON_BOOT_INFO,
			    "mr_config_id V2 without a key-provider event");
		e = parse_provider(&kind, &id, b->key_provider, why);
		if (e == ERR_OK)
			keccak256_v(want + 1,
			    (const struct bytes[]){ b->compose_hash->payload,
				b->app_id->payload, { &kind, 1 },
				buf_view(&id) },
			    4);
		buf_fini(&id);
		if (e != ERR_OK)
			return e;
		break;
	default:
		return refuse(
		    why, REASON_BOOT_INFO, "mr_config_id version %u", want[0]);
	}
	if (memcmp(want, td->mrconfigid, 48) != 0)
		return refuse(why, REASON_BOOT_INFO,
		    "mr_config_id does not match the events");
	return ERR_OK;
}

static enum err
fill(struct boot_info *b, const struct verdict *v, const struct boot_events *ev,
    const struct event_log *log, enum boot_variant variant, struct refusal *why)
{
	struct buf id = { 0 };
	uint8_t kind;
	enum err e;

	memcpy(b->app_id, ev->app_id->payload.p, 20);
	memcpy(b->compose_hash, ev->compose_hash->payload.p, 32);
	b->has_instance_id = ev->instance_id->payload.len == 20;
	if (b->has_instance_id)
		memcpy(b->instance_id, ev->instance_id->payload.p, 20);
	sha256(b->device_id, v->ppid, sizeof v->ppid);
	if (variant == BOOT_KMS && ev->key_provider != NULL) {
		e = parse_provider(&kind, &id, ev->key_provider, why);
		buf_fini(&id);
		if (e != ERR_OK)
			return e;
		memcpy(b->key_provider, ev->key_provider->payload.p,
		    ev->key_provider->payload.len);
	}
	if (boot_info_measure(
		b->mr_system, b->mr_aggregated, &v->td, log, variant) != ERR_OK)
		return refuse(why, REASON_BOOT_INFO, "no event " BOOT_DONE);
	b->tee = v->tee;
	b->tcb_status = v->status;
	memcpy(b->advisory, v->advisory, sizeof b->advisory);
	b->n_advisories = v->n_advisories;
	b->simulated = v->simulated;
	return ERR_OK;
}

enum err
boot_info_build(struct boot_info *out, const struct verdict *v,
    struct bytes event_log, struct bytes vm_config, enum boot_variant variant,
    struct refusal *why)
{
	struct boot_info b = { 0 };
	struct boot_events ev = { 0 };
	struct event_log log = { 0 };
	enum err e;

	if (v->tee != TEE_TDX)
		return refuse(why, REASON_QUOTE_UNSUPPORTED,
		    "boot information is known for TDX only");
	if ((e = event_log_parse(&log, event_log, why)) != ERR_OK)
		return e;
	if ((e = check_replay(&v->td, &log, why)) == ERR_OK &&
	    (e = check_image(&b, &v->td, vm_config, &log, why)) == ERR_OK &&
	    (e = find_events(&ev, &log, why)) == ERR_OK &&
	    (e = check_config_id(&v->td, &ev, why)) == ERR_OK &&
	    (e = fill(&b, v, &ev, &log, variant, why)) == ERR_OK)
		*out = b;
	event_log_fini(&log);
	return e;
}
