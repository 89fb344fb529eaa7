#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/attest/eventlog.h"
#include "common/base/hex.h"
#include "common/base/json.h"
#include "common/base/limits.h"
#include "common/base/planted.h"
#include "common/crypto/hash.h"

#define READY "system-ready"

static bool
is_runtime(const struct event *e)
{
	return e->imr == 3 && e->type == EVENT_RUNTIME;
}

void
event_digest_v1(uint8_t out[static 48], const char *name, struct bytes payload)
{
	const uint8_t type[4] = { 0x01, 0x00, 0x00, 0x08 };

	static_assert(EVENT_RUNTIME == 0x08000001, "u32le above");
	sha384_v(out,
	    (const struct bytes[]){ BYTES_OF(type), BYTES_STR(":"),
		{ (const uint8_t *)name, strlen(name) }, BYTES_STR(":"),
		payload },
	    5);
}

/* The JCS text of a V2 event, whose hash is its digest.  Its name needs no
 * escape: parse_runtime has seen to that. */
static enum err
preimage_v2(struct buf *out, const struct event *e)
{
	enum err err =
	    buf_printf(out, "{\"name\":\"%s\",\"payload\":\"", e->name);

	if (err == ERR_OK)
		err = buf_reserve(out, out->len + 2 * e->payload.len + 32);
	if (err != ERR_OK)
		return err;
	hex_encode((char *)out->p + out->len, e->payload.p, e->payload.len);
	out->len += 2 * e->payload.len;
	return buf_printf(out, "\",\"type\":%u}", EVENT_RUNTIME);
}

/* V2 digest; a preimage that is shown must be the one that is hashed. */
static enum err
digest_v2(uint8_t out[static 48], const struct event *e, const json_t *obj,
    struct refusal *why)
{
	struct buf text = { 0 }, shown = { 0 };
	enum err err = preimage_v2(&text, e);

	if (err != ERR_OK)
		goto done;
	err = json_get_hex_buf(&shown, LIMIT_EVENT_LOG, obj, "preimage");
	if (err != ERR_NOTFOUND &&
	    (err != ERR_OK || shown.len != text.len ||
		memcmp(shown.p, text.p, text.len) != 0)) {
		err = refuse(
		    why, REASON_EVENT_LOG, "preimage is not that of the event");
		goto done;
	}
	sha384(out, text.p, text.len);
	err = ERR_OK;
done:
	buf_fini(&text);
	buf_fini(&shown);
	return err;
}

/* Names of V2 events go into JSON text as they are. */
static bool
plain_name(const char *name)
{
	for (; *name != '\0'; name++)
		if (*name < 0x20 || *name > 0x7e || *name == '"' ||
		    *name == '\\')
			return false;
	return true;
}

/* A runtime event: the digest is computed, and one that is shown is
 * compared ("stripped" logs leave it empty). */
static enum err
parse_runtime(struct event *e, const json_t *obj, const char *digest,
    bool ready, struct refusal *why)
{
	uint8_t shown[48];
	uint64_t version = 1;
	enum err err = json_get_u64(&version, obj, "version");

	if ((err != ERR_OK && err != ERR_NOTFOUND) || version < 1 ||
	    version > 2)
		return refuse(why, REASON_EVENT_LOG, "event version");
	e->v2 = version == 2;
	/* The V1 digest does not say where the name ends.  A colon in a name
	 * would let a host show ("key-provider", "{...") as another event,
	 * and so hide it.  No event of the system has one; what apps emit
	 * after system-ready is not looked at. */
	if (!ready && strchr(e->name, ':') != NULL)
		return refuse(why, REASON_EVENT_LOG, "event name with a colon");
	if (e->v2) {
		if (!plain_name(e->name))
			return refuse(why, REASON_EVENT_LOG, "event name");
		if ((err = digest_v2(e->digest, e, obj, why)) != ERR_OK)
			return err;
	} else {
		event_digest_v1(e->digest, e->name, e->payload);
	}
	if (digest[0] == '\0')
		return ERR_OK;
	if (hex_fixed(shown, sizeof shown, digest) != ERR_OK ||
	    memcmp(shown, e->digest, sizeof shown) != 0)
		return refuse(why, REASON_EVENT_LOG,
		    "digest of event %s is not its own", e->name);
	return ERR_OK;
}

static enum err
parse_event(struct event *e, struct buf *payloads, const json_t *obj,
    bool ready, struct refusal *why)
{
	const char *digest, *name;
	uint64_t imr, type;
	size_t at = payloads->len;

	if (json_get_u64(&imr, obj, "imr") != ERR_OK || imr > 3 ||
	    json_get_u64(&type, obj, "event_type") != ERR_OK ||
	    type > UINT32_MAX ||
	    json_get_str(&digest, obj, "digest") != ERR_OK ||
	    json_get_str(&name, obj, "event") != ERR_OK ||
	    (strlen(name) >= sizeof e->name && !PLANTED(9)))
		return refuse(why, REASON_EVENT_LOG, "event does not parse");
	/* Room for all is reserved, so that pointers into it stay. */
	if (json_get_hex_buf(payloads, payloads->cap, obj, "event_payload") !=
	    ERR_OK)
		return refuse(why, REASON_EVENT_LOG, "event payload");
	e->imr = (uint32_t)imr;
	e->type = (uint32_t)type;
	memcpy(e->name, name, strlen(name) + 1);
	e->payload = (struct bytes){ payloads->p + at, payloads->len - at };
	if (is_runtime(e))
		return parse_runtime(e, obj, digest, ready, why);
	/* A nameless event in RTMR3 could stand for any named one. */
	if (e->imr == 3)
		return refuse(
		    why, REASON_EVENT_LOG, "event type %u in RTMR3", e->type);
	if (hex_fixed(e->digest, sizeof e->digest, digest) != ERR_OK)
		return refuse(why, REASON_EVENT_LOG, "event digest");
	return ERR_OK;
}

enum err
event_log_parse(struct event_log *out, struct bytes json, struct refusal *why)
{
	struct event_log log = { 0 };
	json_t *root = NULL, *obj;
	bool ready = false;
	char text[120];
	size_t i;
	enum err e = json_parse(
	    &root, json.p, json.len, LIMIT_EVENT_LOG, text, sizeof text);

	if (e != ERR_OK)
		return refuse(why, REASON_EVENT_LOG, "%s", text);
	if (!json_is_array(root) || json_array_size(root) > EVENT_MAX) {
		e = refuse(why, REASON_EVENT_LOG, "not an array of events");
		goto done;
	}
	e = ERR_NOMEM;
	log.event = calloc(json_array_size(root) + 1, sizeof *log.event);
	if (log.event == NULL ||
	    buf_reserve(&log.payloads, json.len / 2 + 1) != ERR_OK)
		goto done;
	json_array_foreach(root, i, obj)
	{
		struct event *ev = &log.event[i];

		e = parse_event(ev, &log.payloads, obj, ready, why);
		if (e != ERR_OK)
			goto done;
		log.n++;
		ready =
		    ready || (is_runtime(ev) && strcmp(ev->name, READY) == 0);
	}
	*out = log;
	log = (struct event_log){ 0 }; /* transferred */
	e = ERR_OK;
done:
	event_log_fini(&log);
	json_decref(root);
	return e;
}

void
event_log_fini(struct event_log *l)
{
	free(l->event);
	buf_fini(&l->payloads);
	*l = (struct event_log){ 0 };
}

void
rtmr_extend(uint8_t rtmr[static 48], const uint8_t digest[static 48])
{
	sha384_v(
	    rtmr, (const struct bytes[]){ { rtmr, 48 }, { digest, 48 } }, 2);
}

void
event_log_replay(uint8_t out[static 48], const struct event_log *l,
    uint32_t imr, const char *until)
{
	memset(out, 0, 48);
	for (size_t i = 0; i < l->n; i++) {
		const struct event *e = &l->event[i];

		if (e->imr != imr)
			continue;
		rtmr_extend(out, e->digest);
		if (until != NULL && is_runtime(e) &&
		    strcmp(e->name, until) == 0)
			return;
	}
}

const struct event *
event_log_find(const struct event_log *l, const char *name)
{
	for (size_t i = 0; i < l->n; i++) {
		const struct event *e = &l->event[i];

		if (!is_runtime(e))
			continue;
		if (strcmp(e->name, name) == 0)
			return e;
		if (strcmp(e->name, READY) == 0)
			return NULL;
	}
	return NULL;
}

bool
event_log_is_acpi(const struct event *e)
{
	return e->imr == 0 && e->payload.len == 9 &&
	    memcmp(e->payload.p, "ACPI DATA", 9) == 0;
}

bool
event_log_stripped(const struct event_log *l)
{
	size_t acpi = 0;

	for (size_t i = 0; i < l->n; i++) {
		if (l->event[i].imr == 3)
			continue;
		if (!event_log_is_acpi(&l->event[i]))
			return false;
		acpi++;
	}
	return acpi == 3;
}
