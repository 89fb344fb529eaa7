#include <string.h>

#include "common/attest/attestation_v1.h"
#include "common/attest/eventlog.h"
#include "common/attest/msgpackrd.h"
#include "common/base/json.h"
#include "common/base/limits.h"
#include "common/base/memfail.h"

#define VERSION_1 1

/* An array of integers takes up to two bytes for each of a quote. */
#define ATTESTATION_MAX \
	(2 * LIMIT_QUOTE + 2 * LIMIT_EVENT_LOG + LIMIT_VM_CONFIG + 1024)

/* ---- Writing MessagePack: appends until something fails, asked at the end. ---- */

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
put_be(struct sink *s, uint8_t first, uint64_t v, size_t len)
{
	uint8_t b[9] = { first };

	for (size_t i = 0; i < len; i++)
		b[1 + i] = (uint8_t)(v >> 8 * (len - 1 - i));
	put(s, b, 1 + len);
}

/* Each head in its shortest form, as every writer of MessagePack does it. */
static void
put_uint(struct sink *s, uint32_t v)
{
	if (v < 0x80)
		put_be(s, (uint8_t)v, 0, 0);
	else if (v <= UINT8_MAX)
		put_be(s, 0xcc, v, 1);
	else if (v <= UINT16_MAX)
		put_be(s, 0xcd, v, 2);
	else
		put_be(s, 0xce, v, 4);
}

static void
put_map(struct sink *s, unsigned n)
{
	put_be(s, (uint8_t)(0x80 | n), 0, 0); /* n < 16 */
}

static void
put_array(struct sink *s, size_t n)
{
	if (n < 16)
		put_be(s, (uint8_t)(0x90 | n), 0, 0);
	else if (n <= UINT16_MAX)
		put_be(s, 0xdc, n, 2);
	else
		put_be(s, 0xdd, n, 4);
}

static void
put_str(struct sink *s, struct bytes text)
{
	if (text.len < 32)
		put_be(s, (uint8_t)(0xa0 | text.len), 0, 0);
	else if (text.len <= UINT8_MAX)
		put_be(s, 0xd9, text.len, 1);
	else if (text.len <= UINT16_MAX)
		put_be(s, 0xda, text.len, 2);
	else
		put_be(s, 0xdb, text.len, 4);
	put(s, text.p, text.len);
}

static void
put_word(struct sink *s, const char *word)
{
	put_str(s, (struct bytes){ (const uint8_t *)word, strlen(word) });
}

static void
put_bin(struct sink *s, struct bytes b)
{
	if (b.len <= UINT8_MAX)
		put_be(s, 0xc4, b.len, 1);
	else if (b.len <= UINT16_MAX)
		put_be(s, 0xc5, b.len, 2);
	else
		put_be(s, 0xc6, b.len, 4);
	put(s, b.p, b.len);
}

/* Some of the format's byte strings are arrays of integers. */
static void
put_ints(struct sink *s, const uint8_t *p, size_t len)
{
	put_array(s, len);
	for (size_t i = 0; i < len; i++)
		put_uint(s, p[i]);
}

/* ---- ---- */

static void
put_events(struct sink *s, const struct event_log *log)
{
	put_array(s, log->n);
	for (size_t i = 0; i < log->n; i++) {
		const struct event *e = &log->event[i];

		put_map(s, e->v2 ? 6 : 5);
		put_word(s, "imr");
		put_uint(s, e->imr);
		put_word(s, "event_type");
		put_uint(s, e->type);
		put_word(s, "digest");
		put_bin(s, BYTES_OF(e->digest));
		put_word(s, "event");
		put_word(s, e->name);
		put_word(s, "event_payload");
		put_bin(s, e->payload);
		if (e->v2) {
			put_word(s, "version");
			put_uint(s, 2);
		}
	}
}

static void
put_runtime_events(struct sink *s, const struct event_log *log)
{
	size_t n = 0;

	for (size_t i = 0; i < log->n; i++)
		n += log->event[i].imr == 3;
	put_array(s, n);
	for (size_t i = 0; i < log->n; i++) {
		const struct event *e = &log->event[i];

		if (e->imr != 3)
			continue;
		put_map(s, e->v2 ? 3 : 2);
		put_word(s, "event");
		put_word(s, e->name);
		put_word(s, "payload");
		put_bin(s, e->payload);
		if (e->v2) {
			put_word(s, "version");
			put_uint(s, 2);
		}
	}
}

enum err
attestation_v1_encode(struct buf *out, const struct evidence *ev,
    const uint8_t report_data[static 64], struct refusal *why)
{
	struct sink s = { .e = ERR_OK };
	struct event_log log = { 0 };
	uint64_t before = memfail_count();
	enum err e = event_log_parse(&log, buf_view(&ev->event_log), why);

	if (e != ERR_OK)
		return memfail_err(before, e);
	put_map(&s, 3);
	put_word(&s, "version");
	put_uint(&s, VERSION_1);
	put_word(&s, "platform");
	put_map(&s, 2);
	put_word(&s, "kind");
	put_word(&s, "tdx");
	put_word(&s, "data");
	put_map(&s, 2);
	put_word(&s, "quote");
	put_ints(&s, ev->quote.p, ev->quote.len);
	put_word(&s, "event_log");
	put_events(&s, &log);
	put_word(&s, "stack");
	put_map(&s, 2);
	put_word(&s, "kind");
	put_word(&s, "dstack");
	put_word(&s, "data");
	put_map(&s, 3);
	put_word(&s, "report_data");
	put_ints(&s, report_data, 64);
	put_word(&s, "runtime_events");
	put_runtime_events(&s, &log);
	put_word(&s, "config");
	put_str(&s, buf_view(&ev->vm_config));
	if ((e = s.e) == ERR_OK)
		e = buf_append(out, s.b.p, s.b.len, SIZE_MAX);
	buf_fini(&s.b);
	event_log_fini(&log);
	return memfail_err(before, e);
}

/* ---- Reading ---- */

/* A str without NUL that is UTF-8, as a member of an object. */
static void
get_text(struct msgpackrd_member *m, json_t *obj, const char *key)
{
	struct bytes b = msgpackrd_text(&m->at, EVENT_NAME_MAX - 1);
	json_t *v;

	if (m->at.bad)
		return;
	v = json_stringn((const char *)b.p, b.len);
	if (v == NULL || memchr(b.p, '\0', b.len) != NULL) {
		json_decref(v);
		m->at.bad = true;
		return;
	}
	if (json_set_new(obj, key, v) != ERR_OK)
		m->at.bad = true;
}

static void
get_hex(struct msgpackrd_member *m, json_t *obj, const char *key, size_t max)
{
	struct buf b = { 0 };

	msgpackrd_bytes(&m->at, &b, max);
	if (!m->at.bad && json_set_hex(obj, key, b.p, b.len) != ERR_OK)
		m->at.bad = true;
	buf_fini(&b);
}

static void
get_u32(struct msgpackrd_member *m, json_t *obj, const char *key)
{
	uint64_t v = msgpackrd_uint(&m->at, UINT32_MAX);

	if (!m->at.bad && json_set_u64(obj, key, v) != ERR_OK)
		m->at.bad = true;
}

/* One event of the log as the JSON of eventlog.h, where its fields are judged:
 * "version" and "preimage" too. */
static void
get_event(struct rd *r, json_t *obj)
{
	enum { IMR, TYPE, DIGEST, NAME, PAYLOAD, VERSION, PREIMAGE, N };
	struct msgpackrd_member m[N] = {
		[IMR] = { .name = "imr" },
		[TYPE] = { .name = "event_type" },
		[DIGEST] = { .name = "digest" },
		[NAME] = { .name = "event" },
		[PAYLOAD] = { .name = "event_payload" },
		[VERSION] = { .name = "version", .optional = true },
		[PREIMAGE] = { .name = "preimage", .optional = true },
	};

	msgpackrd_map(r, m, N);
	if (r->bad)
		return;
	get_u32(&m[IMR], obj, "imr");
	get_u32(&m[TYPE], obj, "event_type");
	get_hex(&m[DIGEST], obj, "digest", 48);
	get_text(&m[NAME], obj, "event");
	get_hex(&m[PAYLOAD], obj, "event_payload", LIMIT_EVENT_LOG);
	if (m[VERSION].seen)
		get_u32(&m[VERSION], obj, "version");
	if (m[PREIMAGE].seen)
		get_hex(&m[PREIMAGE], obj, "preimage", LIMIT_EVENT_LOG);
	for (size_t i = 0; i < N; i++)
		r->bad = r->bad || m[i].at.bad;
}

/* The event log, as an array of JSON objects that the caller owns. */
static json_t *
get_events(struct rd *r)
{
	size_t n = msgpackrd_array(r, EVENT_MAX);
	json_t *list = json_array();

	for (size_t i = 0; !r->bad && i < n; i++) {
		json_t *obj = json_object();

		get_event(r, obj);
		if (json_array_append_new(list, obj) != 0)
			r->bad = true;
	}
	return list;
}

/* The next of the runtime events is `e`: its digest, and so a preimage, is
 * computed from what is compared here. */
static bool
same_event(struct rd *r, const struct event *e)
{
	enum { NAME, PAYLOAD, VERSION, PREIMAGE, N };
	struct msgpackrd_member m[N] = {
		[NAME] = { .name = "event" },
		[PAYLOAD] = { .name = "payload" },
		[VERSION] = { .name = "version", .optional = true },
		[PREIMAGE] = { .name = "preimage", .optional = true },
	};
	struct buf payload = { 0 };
	struct bytes name;
	uint64_t version = 1;
	bool same;

	msgpackrd_map(r, m, N);
	if (r->bad)
		return false;
	name = msgpackrd_text(&m[NAME].at, EVENT_NAME_MAX - 1);
	msgpackrd_bytes(&m[PAYLOAD].at, &payload, LIMIT_EVENT_LOG);
	if (m[VERSION].seen)
		version = msgpackrd_uint(&m[VERSION].at, 2);
	same = !m[NAME].at.bad && !m[PAYLOAD].at.bad &&
	    (!m[VERSION].seen || !m[VERSION].at.bad) &&
	    version == (e->v2 ? 2 : 1) && name.len == strlen(e->name) &&
	    (name.len == 0 || memcmp(name.p, e->name, name.len) == 0) &&
	    payload.len == e->payload.len &&
	    (payload.len == 0 ||
		memcmp(payload.p, e->payload.p, payload.len) == 0);
	buf_fini(&payload);
	return same;
}

/* The runtime events must be RTMR3's of the log: the peer replays one and
 * shows the other. */
static void
check_runtime_events(struct rd *r, const struct event_log *log)
{
	size_t n = msgpackrd_array(r, EVENT_MAX);

	for (size_t i = 0; !r->bad && i < log->n; i++) {
		if (log->event[i].imr != 3)
			continue;
		if (n-- == 0 || !same_event(r, &log->event[i])) {
			r->bad = true;
			return;
		}
	}
	if (n != 0)
		r->bad = true;
}

static enum err
malformed(struct refusal *why, const char *what)
{
	return refuse(
	    why, REASON_QUOTE_MALFORMED, "attestation of version 1: %s", what);
}

/* {"kind": `want`, "data": the cursor that `data` becomes} */
static enum err
open_kind(struct rd *data, struct msgpackrd_member *m, const char *want,
    struct refusal *why)
{
	struct msgpackrd_member in[] = { { .name = "kind" },
		{ .name = "data" } };
	char shown[33] = "";
	struct bytes kind;

	msgpackrd_map(&m->at, in, 2);
	if (m->at.bad)
		return malformed(why, m->name);
	kind = msgpackrd_text(&in[0].at, sizeof shown - 1);
	if (in[0].at.bad)
		return malformed(why, "kind");
	for (size_t i = 0; i < kind.len; i++)
		shown[i] = kind.p[i] > 0x20 && kind.p[i] < 0x7f
		    ? (char)kind.p[i]
		    : '?';
	if (strcmp(shown, want) != 0)
		return refuse(why, REASON_QUOTE_UNSUPPORTED,
		    "attestation: %s is %s, only %s is known here", m->name,
		    shown, want);
	*data = in[1].at;
	return ERR_OK;
}

/* What the platform says: quote and event log. */
static enum err
read_platform(struct evidence *ev, struct rd *r, struct refusal *why)
{
	struct msgpackrd_member m[] = { { .name = "quote" },
		{ .name = "event_log" } };
	json_t *events = NULL;
	enum err e = ERR_OK;

	msgpackrd_map(r, m, 2);
	if (r->bad)
		return malformed(why, "platform");
	msgpackrd_bytes(&m[0].at, &ev->quote, LIMIT_QUOTE);
	if (m[0].at.bad)
		return malformed(why, "quote");
	events = get_events(&m[1].at);
	if (m[1].at.bad)
		e = malformed(why, "events");
	else
		e = json_write(&ev->event_log, events);
	json_decref(events);
	return e;
}

/* What the stack says about it. */
static enum err
read_stack(struct evidence *ev, uint8_t report_data[static 64], struct rd *r,
    struct refusal *why)
{
	struct msgpackrd_member m[] = { { .name = "report_data" },
		{ .name = "runtime_events" }, { .name = "config" } };
	struct event_log log = { 0 };
	struct buf rd = { 0 };
	struct bytes config;
	enum err e;

	msgpackrd_map(r, m, 3);
	if (r->bad)
		return malformed(why, "stack");
	e = event_log_parse(&log, buf_view(&ev->event_log), why);
	if (e != ERR_OK)
		return e;
	msgpackrd_bytes(&m[0].at, &rd, 64);
	check_runtime_events(&m[1].at, &log);
	config = msgpackrd_text(&m[2].at, LIMIT_VM_CONFIG);
	if (m[0].at.bad || rd.len != 64)
		e = malformed(why, "report_data");
	else if (m[1].at.bad)
		e = malformed(why, "runtime_events are not those of the log");
	else if (m[2].at.bad)
		e = malformed(why, "config");
	else
		e = buf_set(&ev->vm_config, config.p, config.len);
	if (e == ERR_OK)
		memcpy(report_data, rd.p, 64);
	buf_fini(&rd);
	event_log_fini(&log);
	return e;
}

enum err
attestation_v1_decode(struct evidence *out, uint8_t report_data[static 64],
    struct bytes in, struct refusal *why)
{
	struct msgpackrd_member m[] = { { .name = "version" },
		{ .name = "platform" }, { .name = "stack" } };
	struct rd r = { .p = in.p, .left = in.len }, platform, stack;
	struct evidence ev = { .tee = TEE_TDX };
	uint64_t version, before = memfail_count();
	enum err e;

	if (in.len > ATTESTATION_MAX)
		return refuse(why, REASON_QUOTE_MALFORMED,
		    "attestation of %zu bytes", in.len);
	msgpackrd_map(&r, m, 3);
	if (!rd_done(&r))
		return malformed(why, "does not parse");
	version = msgpackrd_uint(&m[0].at, UINT32_MAX);
	if (m[0].at.bad || version != VERSION_1)
		return refuse(why, REASON_QUOTE_UNSUPPORTED,
		    "attestation of a version that is not known here");
	if ((e = open_kind(&platform, &m[1], "tdx", why)) == ERR_OK &&
	    (e = open_kind(&stack, &m[2], "dstack", why)) == ERR_OK &&
	    (e = read_platform(&ev, &platform, why)) == ERR_OK)
		e = read_stack(&ev, report_data, &stack, why);
	if (e == ERR_OK) {
		*out = ev;
		ev = (struct evidence){ 0 }; /* transferred */
	}
	evidence_fini(&ev);
	return memfail_err(before, e);
}
