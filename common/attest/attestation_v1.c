#include <string.h>

#include "common/attest/attestation_v1.h"
#include "common/attest/eventlog.h"
#include "common/base/limits.h"

#define VERSION_1 1

/* An array of integers takes up to two bytes for each of a quote. */
#define ATTESTATION_MAX \
	(2 * LIMIT_QUOTE + 2 * LIMIT_EVENT_LOG + LIMIT_VM_CONFIG + 1024)

/* ---- MessagePack: appends until something fails, asked at the end. ---- */

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
	enum err e = event_log_parse(&log, buf_view(&ev->event_log), why);

	if (e != ERR_OK)
		return e;
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
	return e;
}
