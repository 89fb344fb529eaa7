#include <stdlib.h>
#include <string.h>

#include "common/attest/attestation.h"
#include "common/attest/attestation_v1.h"
#include "common/attest/eventlog.h"
#include "common/base/json.h"
#include "common/base/limits.h"
#include "common/base/memfail.h"
#include "common/base/rd.h"

#define VERSION_0 0
#define PLATFORM_TDX 0

/* The event log is there twice, its second time without digests. */
#define ATTESTATION_MAX (LIMIT_QUOTE + 2 * LIMIT_EVENT_LOG + LIMIT_VM_CONFIG)

/* ---- Writing: appends until something fails, asked once at the end. ---- */

struct sink {
	struct buf b; /* owns */
	enum err e;
};

static void
put(struct sink *s, const void *p, size_t len)
{
	if (s->e == ERR_OK)
		s->e = buf_append(&s->b, p, len, ATTESTATION_MAX);
}

static void
put_le(struct sink *s, uint64_t v, size_t len)
{
	uint8_t b[8];

	for (size_t i = 0; i < len; i++)
		b[i] = (uint8_t)(v >> 8 * i);
	put(s, b, len);
}

/* SCALE compact integer: the low two bits say how long it is. */
static void
put_compact(struct sink *s, size_t n)
{
	if (n < 1u << 6)
		put_le(s, (uint64_t)n << 2, 1);
	else if (n < 1u << 14)
		put_le(s, (uint64_t)n << 2 | 1, 2);
	else if (n < 1u << 30)
		put_le(s, (uint64_t)n << 2 | 2, 4);
	else
		s->e = ERR_LIMIT;
}

static void
put_bytes(struct sink *s, struct bytes b)
{
	put_compact(s, b.len);
	put(s, b.p, b.len);
}

static void
put_text(struct sink *s, const char *text)
{
	put_bytes(s, (struct bytes){ (const uint8_t *)text, strlen(text) });
}

static void
put_events(struct sink *s, const struct event_log *log, bool stripped)
{
	size_t n = 0;

	for (size_t i = 0; i < log->n; i++)
		n += !stripped || log->event[i].imr == 3 ||
		    event_log_is_acpi(&log->event[i]);
	put_compact(s, n);
	for (size_t i = 0; i < log->n; i++) {
		const struct event *e = &log->event[i];
		bool bare = stripped && e->imr == 3;

		if (stripped && e->imr != 3 && !event_log_is_acpi(e))
			continue;
		put_le(s, e->imr, 4);
		put_le(s, e->type, 4);
		put_bytes(s, (struct bytes){ e->digest, bare ? 0 : 48 });
		put_text(s, e->name);
		put_bytes(s, e->payload);
	}
}

static void
put_runtime_events(struct sink *s, const struct event_log *log)
{
	size_t n = 0;

	for (size_t i = 0; i < log->n; i++)
		n += log->event[i].imr == 3;
	put_compact(s, n);
	for (size_t i = 0; i < log->n; i++) {
		if (log->event[i].imr != 3)
			continue;
		put_text(s, log->event[i].name);
		put_bytes(s, log->event[i].payload);
	}
}

enum err
attestation_encode(struct buf *out, const struct evidence *ev,
    const uint8_t report_data[static 64], bool stripped, struct refusal *why)
{
	struct sink s = { .e = ERR_OK };
	struct event_log log = { 0 };
	uint64_t before = memfail_count();
	enum err e = event_log_parse(&log, buf_view(&ev->event_log), why);

	if (e != ERR_OK)
		return memfail_err(before, e);
	e = ERR_UNSUPPORTED;
	for (size_t i = 0; i < log.n; i++)
		if (log.event[i].v2)
			goto done;
	put_le(&s, VERSION_0, 1);
	put_le(&s, PLATFORM_TDX, 1);
	put_bytes(&s, buf_view(&ev->quote));
	put_events(&s, &log, stripped);
	put_runtime_events(&s, &log);
	put(&s, report_data, 64);
	put_bytes(&s, buf_view(&ev->vm_config));
	if ((e = s.e) == ERR_OK)
		e = buf_append(out, s.b.p, s.b.len, SIZE_MAX);
done:
	buf_fini(&s.b);
	event_log_fini(&log);
	return memfail_err(before, e);
}

/* ---- Reading ---- */

/* A compact integer of at most `max`; poisons the cursor otherwise. */
static size_t
get_compact(struct rd *r, size_t max)
{
	/* The least value of each length: a shorter form must be used. */
	static const uint32_t least[] = { 0, 1u << 6, 1u << 14 };
	unsigned mode = r->left > 0 ? r->p[0] & 3u : 3;
	uint32_t v = 0;

	if (mode == 0)
		v = rd_u8(r);
	else if (mode == 1)
		v = rd_le16(r);
	else if (mode == 2)
		v = rd_le32(r);
	else
		r->bad = true;
	v >>= 2;
	if (r->bad || v < least[mode] || v > max) {
		r->bad = true;
		return 0;
	}
	return v;
}

static struct bytes
get_bytes(struct rd *r, size_t max)
{
	struct bytes b = { .len = get_compact(r, max) };

	b.p = rd_bytes(r, b.len);
	return b.p != NULL ? b : (struct bytes){ 0 };
}

/* A string member; text that is not UTF-8 or has a NUL poisons. */
static void
get_text(struct rd *r, json_t *obj, const char *key)
{
	struct bytes b = get_bytes(r, EVENT_NAME_MAX - 1);
	json_t *v;

	if (r->bad)
		return;
	v = json_stringn((const char *)b.p, b.len);
	if (v == NULL || memchr(b.p, '\0', b.len) != NULL) {
		json_decref(v);
		r->bad = true;
		return;
	}
	if (json_set_new(obj, key, v) != ERR_OK)
		r->bad = true;
}

static void
get_hex(struct rd *r, json_t *obj, const char *key, size_t max)
{
	struct bytes b = get_bytes(r, max);

	if (!r->bad && json_set_hex(obj, key, b.p, b.len) != ERR_OK)
		r->bad = true;
}

static void
get_event(struct rd *r, json_t *obj)
{
	uint32_t imr = rd_le32(r), type = rd_le32(r);

	if (json_set_u64(obj, "imr", imr) != ERR_OK ||
	    json_set_u64(obj, "event_type", type) != ERR_OK)
		r->bad = true;
	get_hex(r, obj, "digest", 48);
	get_text(r, obj, "event");
	get_hex(r, obj, "event_payload", LIMIT_EVENT_LOG);
}

/* The event log, as an array of JSON objects that the caller owns. */
static json_t *
get_events(struct rd *r)
{
	size_t n = get_compact(r, EVENT_MAX);
	json_t *list = json_array();

	for (size_t i = 0; !r->bad && i < n; i++) {
		json_t *obj = json_object();

		get_event(r, obj);
		if (json_array_append_new(list, obj) != 0)
			r->bad = true;
	}
	return list;
}

static bool
same_text(struct rd *r, const char *text)
{
	struct bytes b = get_bytes(r, EVENT_NAME_MAX - 1);

	return !r->bad && b.len == strlen(text) &&
	    memcmp(b.p, text, b.len) == 0;
}

/* The runtime events must be RTMR3's of the log: the peer replays one and
 * shows the other. */
static void
check_runtime_events(struct rd *r, const struct event_log *log)
{
	size_t n = get_compact(r, EVENT_MAX);

	for (size_t i = 0; !r->bad && i < log->n; i++) {
		const struct event *e = &log->event[i];
		struct bytes payload;

		if (e->imr != 3)
			continue;
		if (n-- == 0 || !same_text(r, e->name)) {
			r->bad = true;
			return;
		}
		payload = get_bytes(r, LIMIT_EVENT_LOG);
		if (payload.len != e->payload.len ||
		    (payload.len > 0 &&
			memcmp(payload.p, e->payload.p, payload.len) != 0))
			r->bad = true;
	}
	if (n != 0)
		r->bad = true;
}

enum err
attestation_decode(struct evidence *out, uint8_t report_data[static 64],
    struct bytes in, struct refusal *why)
{
	struct rd r = { .p = in.p, .left = in.len };
	struct evidence ev = { .tee = TEE_TDX };
	struct event_log log = { 0 };
	json_t *events = NULL;
	struct bytes quote, config;
	uint64_t before = memfail_count();
	const uint8_t *rd;
	enum err e;

	if (in.len > 0 && attestation_is_v1(in.p[0]))
		return attestation_v1_decode(out, report_data, in, why);
	if (in.len > ATTESTATION_MAX)
		return refuse(why, REASON_QUOTE_MALFORMED,
		    "attestation of %zu bytes", in.len);
	if (rd_u8(&r) != VERSION_0 || rd_u8(&r) != PLATFORM_TDX || r.bad)
		return refuse(why, REASON_QUOTE_UNSUPPORTED,
		    "attestation is neither version 0 of TDX nor MessagePack");
	quote = get_bytes(&r, LIMIT_QUOTE);
	events = get_events(&r);
	if (r.bad || json_write(&ev.event_log, events) != ERR_OK) {
		e = refuse(why, REASON_QUOTE_MALFORMED, "attestation events");
		goto done;
	}
	e = event_log_parse(&log, buf_view(&ev.event_log), why);
	if (e != ERR_OK)
		goto done;
	check_runtime_events(&r, &log);
	rd = rd_bytes(&r, 64);
	config = get_bytes(&r, LIMIT_VM_CONFIG);
	if (!rd_done(&r)) {
		e = refuse(
		    why, REASON_QUOTE_MALFORMED, "attestation does not parse");
		goto done;
	}
	if ((e = buf_set(&ev.quote, quote.p, quote.len)) != ERR_OK ||
	    (e = buf_set(&ev.vm_config, config.p, config.len)) != ERR_OK)
		goto done;
	memcpy(report_data, rd, 64);
	*out = ev;
	ev = (struct evidence){ 0 }; /* transferred */
done:
	evidence_fini(&ev);
	event_log_fini(&log);
	json_decref(events);
	return memfail_err(before, e);
}
