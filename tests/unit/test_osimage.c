/* Registers of an OS image: recomputed alike, or refused with the reason. */
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>
#include <sodium.h>

#include "common/attest/imagedoc.h"
#include "common/attest/osimage.h"
#include "common/base/json.h"
#include "common/crypto/hash.h"
#include "tests/lib/facts.h"
#include "tests/lib/guest.h"

static enum err
measure(struct os_registers *out, const struct guest *g, struct refusal *why)
{
	struct buf vm = guest_text(g->vm), text = guest_text(g->log);
	struct event_log log;
	enum err e;

	cr_assert_eq(event_log_parse(&log, buf_view(&text), NULL), ERR_OK);
	e = os_image_measure(out, buf_view(&vm), &log, why);
	event_log_fini(&log);
	buf_fini(&text);
	buf_fini(&vm);
	return e;
}

static void
refused(const struct guest *g, const char *what)
{
	struct os_registers r = { .mrtd = { 7 } };
	struct refusal why = { 0 };

	cr_assert_eq(measure(&r, g, &why), ERR_DENIED, "%s", what);
	cr_assert_eq(why.code, REASON_OS_IMAGE, "%s", what);
	cr_assert_eq(r.mrtd[0], 7, "%s", what);
}

/* Registers of the made-up image, from another implementation of the
 * recipe, at the three kinds of memory size. */
Test(osimage, known_answers)
{
	static const struct {
		uint64_t memory;
		const char *rtmr0;
	} t[] = {
		{ 0x80000000,
		    "bc68d1d219c0b911805aadf54d95aacc253ba828acff9419e29a15e3ff"
		    "88a9b0df3faa482a815ad902dabd5c0b11a555" },
		{ 0xb0000000,
		    "a11ba75ae43569a932d85e3d52adde9a4e0da2130bb2b7f23ac0a22ec7"
		    "bfbe1cb4443aa1fca89b75a235e3a635744589" },
		{ 0x200000000,
		    "5092c3814b23bed63cccc34bbe9c3a8b7708350041fc217a67ac40a668"
		    "4b142f1716a7b34eddb5ecb09c99e7b52c82cb" },
	};
	struct os_registers r;
	struct refusal why = { 0 };
	struct guest g;

	guest_init(&g);
	for (size_t i = 0; i < sizeof t / sizeof t[0]; i++) {
		cr_assert_eq(
		    json_set_u64(g.vm, "memory_size", t[i].memory), ERR_OK);
		cr_assert_eq(measure(&r, &g, &why), ERR_OK, "%s", why.detail);
		cr_assert(facts_eq(r.rtmr[0], 48, t[i].rtmr0));
	}
	cr_assert(facts_eq(r.rtmr[1], 48,
	    "9410f3545548cde38974a9a2bb8d3aac339c8cec42de5ca92525072c3cc17287"
	    "8ca4c7197f7d9d1b95dea0ccf80a3b06"));
	cr_assert(facts_eq(r.rtmr[2], 48,
	    "ccd60ec6dd7bbe5575e63c6d28956d65ddf465e76a0538e6fbccf55b0919aca2"
	    "657514b2b748c1a09f6fafbc0d342d60"));
	cr_assert(facts_eq(r.os_image_hash, 32,
	    "9c0753e5fe2584ac6bb5746f1fe29345e37296d0a2e8963305a10f13807b304"
	    "9"));
	guest_fini(&g);
}

/* QEMU 8 adds pages in two passes, 9 and later (and unnamed) in one; the
 * peer's override says two passes when true. */
Test(osimage, mrtd_variant)
{
	struct os_registers r;
	uint8_t one[48], two[48];
	struct guest g;

	sha384(one, "single", 6);
	sha384(two, "two", 3);
	guest_init(&g);
	cr_assert_eq(measure(&r, &g, NULL), ERR_OK);
	cr_assert_arr_eq(r.mrtd, two, 48);
	json_object_set_new(g.vm, "qemu_single_pass_add_pages", json_false());
	cr_assert_eq(measure(&r, &g, NULL), ERR_OK);
	cr_assert_arr_eq(r.mrtd, one, 48);
	json_object_set_new(g.vm, "qemu_version", json_string("9.0.0"));
	json_object_set_new(g.vm, "qemu_single_pass_add_pages", json_true());
	cr_assert_eq(measure(&r, &g, NULL), ERR_OK);
	cr_assert_arr_eq(r.mrtd, two, 48);
	json_object_del(g.vm, "qemu_single_pass_add_pages");
	cr_assert_eq(measure(&r, &g, NULL), ERR_OK);
	cr_assert_arr_eq(r.mrtd, one, 48);
	json_object_del(g.vm, "qemu_version");
	cr_assert_eq(measure(&r, &g, NULL), ERR_OK);
	cr_assert_arr_eq(r.mrtd, one, 48);
	guest_fini(&g);
}

/* A vm_config inside a vm_config is unwrapped once, not twice. */
Test(osimage, unwrap_once)
{
	struct os_registers r, plain;
	struct guest g;

	guest_init(&g);
	cr_assert_eq(measure(&plain, &g, NULL), ERR_OK);
	for (int depth = 1; depth <= 2; depth++) {
		struct buf inner = guest_text(g.vm);
		json_t *outer = json_pack(
		    "{s:s, s:s}", "a", "b", "vm_config", (char *)inner.p);

		json_decref(g.vm);
		g.vm = outer;
		buf_fini(&inner);
		if (depth == 1) {
			cr_assert_eq(measure(&r, &g, NULL), ERR_OK);
			cr_assert_arr_eq(&r, &plain, sizeof r);
		} else {
			refused(&g, "two layers");
		}
	}
	json_object_set_new(g.vm, "vm_config", json_string("not json"));
	refused(&g, "inner text");
	json_object_set_new(g.vm, "vm_config", json_integer(1));
	refused(&g, "inner type");
	guest_fini(&g);
}

/* Old configurations and each missing or wrong member are refused. */
Test(osimage, config_refusals)
{
	static const struct {
		const char *key;
		const char *value; /* JSON, NULL removes it */
	} t[] = {
		{ "os_image_hash", NULL },
		{ "os_image_hash", "\"00\"" },
		{ "os_image_hash",
		    "\"00000000000000000000000000000000000000000000000000000000"
		    "00000000\"" },
		{ "tdx_attestation_variant", NULL },
		{ "tdx_attestation_variant", "\"legacy\"" },
		{ "tdx_attestation_variant", "1" },
		{ "tdx_measurement", NULL },
		{ "tdx_measurement", "null" },
		{ "tdx_measurement", "\"x\"" },
		{ "tdx_measurement", "{}" },
		{ "tdx_measurement",
		    "{\"checksum_file\":\"\",\"measurement\":\"\"}" },
		{ "tdx_measurement",
		    "{\"checksum_file\":\"!!\",\"measurement\":\"AAAA\"}" },
		{ "memory_size", NULL },
		{ "memory_size", "2147483647" },
		{ "memory_size", "2147483649" },
		{ "memory_size", "2952790015" },
		{ "memory_size", "\"2147483648\"" },
		{ "memory_size", "-1" },
		{ "qemu_version", "\"7.2.0\"" },
		{ "qemu_version", "\"8.2\"" },
		{ "qemu_version", "\"8.2.2.1\"" },
		{ "qemu_version", "\"8.2.2 \"" },
		{ "qemu_version", "\"8..2\"" },
		{ "qemu_version", "\"+8.2.2\"" },
		{ "qemu_version", "\"0008.2.2\"" },
		{ "qemu_version", "8" },
		{ "qemu_single_pass_add_pages", "1" },
		{ "ovmf_variant", "\"stable202505\"" },
		{ "ovmf_variant", "1" },
	};
	struct guest g;

	for (size_t i = 0; i < sizeof t / sizeof t[0]; i++) {
		guest_init(&g);
		if (t[i].value == NULL)
			json_object_del(g.vm, t[i].key);
		else
			json_object_set_new(g.vm, t[i].key,
			    json_loads(t[i].value, JSON_DECODE_ANY, NULL));
		refused(&g, t[i].value != NULL ? t[i].value : t[i].key);
		guest_fini(&g);
	}
	guest_init(&g);
	json_decref(g.vm);
	g.vm = json_array();
	refused(&g, "not an object");
	guest_fini(&g);
}

static void
set_sums(struct guest *g, const char *sums)
{
	char text[1024];
	uint8_t h[32];

	sodium_bin2base64(text, sizeof text, (const uint8_t *)sums,
	    strlen(sums), sodium_base64_VARIANT_ORIGINAL);
	json_object_set_new(facts_get(g->vm, "tdx_measurement"),
	    "checksum_file", json_string(text));
	sha256(h, sums, strlen(sums));
	cr_assert_eq(json_set_hex(g->vm, "os_image_hash", h, 32), ERR_OK);
}

/* The checksum file must name the document, once, by its hash. */
Test(osimage, checksum_file)
{
	uint8_t doc[GUEST_DOC_LEN], h[32];
	char hex[65], sums[600];
	struct os_registers r;
	struct guest g;

	guest_init(&g);
	guest_doc(doc);
	sha256(h, doc, sizeof doc);
	sodium_bin2hex(hex, sizeof hex, h, 32);
	snprintf(sums, sizeof sums,
	    "%s  bzImage\n\n%s  measurement.tdx.cbor\n%s  x", hex, hex, hex);
	set_sums(&g, sums);
	cr_assert_eq(measure(&r, &g, NULL), ERR_OK);

	snprintf(sums, sizeof sums, "%s  measurement.tdx.cbo\n", hex);
	set_sums(&g, sums);
	refused(&g, "another name");
	snprintf(sums, sizeof sums,
	    "%s  measurement.tdx.cbor\n%s  measurement.tdx.cbor\n", hex, hex);
	set_sums(&g, sums);
	refused(&g, "twice");
	snprintf(sums, sizeof sums, "%s measurement.tdx.cbor\n", hex);
	set_sums(&g, sums);
	refused(&g, "one space");
	snprintf(sums, sizeof sums, "%s  measurement.tdx.cbor\nshort\n", hex);
	set_sums(&g, sums);
	refused(&g, "bad line");
	hex[63] ^= 1;
	snprintf(sums, sizeof sums, "%s  measurement.tdx.cbor\n", hex);
	set_sums(&g, sums);
	refused(&g, "another hash");
	guest_fini(&g);
}

/* Exactly three ACPI events, with their names or none. */
Test(osimage, acpi_events)
{
	struct os_registers r;
	struct guest g;
	json_t *e;

	guest_init(&g);
	e = json_array_get(g.log, guest_at(&g, "acpi-rsdp"));
	json_object_set_new(e, "event", json_string("acpi-tables"));
	refused(&g, "another order");
	json_object_set_new(e, "event", json_string(""));
	cr_assert_eq(measure(&r, &g, NULL), ERR_OK);
	json_array_append(g.log, e);
	refused(&g, "four");
	json_array_remove(g.log, json_array_size(g.log) - 1);
	json_object_set_new(e, "event_payload", json_string("41"));
	refused(&g, "not loader, rsdp, tables");
	json_array_remove(g.log, guest_at(&g, "acpi-tables"));
	refused(&g, "one");
	guest_fini(&g);
}

static enum err
doc_parse(const uint8_t *p, size_t len)
{
	struct image_doc d = { .hob_addr = 77 };
	const char *what = NULL;
	/* Exact allocations let the sanitizer see every over-read. */
	uint8_t *copy = malloc(len > 0 ? len : 1);
	enum err e;

	cr_assert_not_null(copy);
	memcpy(copy, p, len);
	e = image_doc_parse(&d, &what, (struct bytes){ copy, len });
	free(copy);
	if (e != ERR_OK) {
		cr_assert_not_null(what);
		cr_assert_eq(d.hob_addr, 77);
	}
	return e;
}

/* Every shorter document, one with a byte behind it, and every one with a
 * flipped bit outside the free byte strings is refused, never a crash. */
Test(osimage, document_bits)
{
	uint8_t doc[GUEST_DOC_LEN + 1] = { 0 };
	unsigned accepted = 0;

	guest_doc(doc);
	cr_assert_eq(doc_parse(doc, GUEST_DOC_LEN), ERR_OK);
	for (size_t n = 0; n < GUEST_DOC_LEN; n++)
		cr_assert_eq(doc_parse(doc, n), ERR_MALFORMED, "%zu", n);
	cr_assert_eq(doc_parse(doc, GUEST_DOC_LEN + 1), ERR_MALFORMED);
	for (size_t i = 0; i < 8 * GUEST_DOC_LEN; i++) {
		doc[i / 8] ^= (uint8_t)(1u << i % 8);
		accepted += doc_parse(doc, GUEST_DOC_LEN) == ERR_OK;
		doc[i / 8] ^= (uint8_t)(1u << i % 8);
	}
	/* 5 digests of 48 bytes are free; a few bits of td_hob are too. */
	cr_assert_geq(accepted, 5 * 48 * 8);
	cr_assert_leq(accepted, 5 * 48 * 8 + 12 * 8);
}

/* Documents of other shapes, with `hob` as td_hob. */
static enum err
doc_with_hob(const char *hob)
{
	uint8_t doc[GUEST_DOC_LEN + 64];
	struct buf b = { 0 };
	size_t at = GUEST_DOC_LEN - 13;
	enum err e;

	guest_doc(doc);
	facts_hex_buf(&b, hob);
	cr_assert_lt(b.len, 24);
	doc[at] = (uint8_t)(0x40 | b.len);
	memcpy(doc + at + 1, b.p, b.len);
	e = doc_parse(doc, at + 1 + b.len);
	buf_fini(&b);
	return e;
}

/* The list of accepted ranges: bounded, disjoint, in shortest form. */
Test(osimage, hob_ranges)
{
	static const char *const bad[] = { "", "80", "8010", "801009",
		"801009010006ff", /* a byte too many */
		"80100902000600", "8010090100", "801009010000", /* empty */
		"8010090200060506", /* overlap */
		"801009018080808080010101", /* too large a number */
		"80900009010006", /* 0x10 with a needless byte */
		"8010090100ffff1f", /* reaches 2 GiB */
		"80100911" };

	cr_assert_eq(doc_with_hob("80100904000609020b021010"), ERR_OK);
	/* No ranges at all, and ranges in another order, can be. */
	cr_assert_eq(doc_with_hob("80100900"), ERR_OK);
	cr_assert_eq(doc_with_hob("8010090209020006"), ERR_OK);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		cr_assert_eq(doc_with_hob(bad[i]), ERR_MALFORMED, "%s", bad[i]);
}

/* Headers that promise more than a document has are refused before memory
 * is taken for them; nesting is bounded too. */
Test(osimage, document_headers)
{
	static const char *const bad[] = { "9b00ffffffffffffff",
		"bb0000ffffffffffff", "5b7fffffffffffffff", "7fff", "5fff",
		"9fff", "bfff", "c100", "f6", "a0", "00", "ff", "a10000",
		"a36776657273696f6e03", "bf00ff" };
	static uint8_t deep[IMAGE_DOC_MAX + 1];
	struct buf b = { 0 };

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		facts_hex_buf(&b, bad[i]);
		cr_assert_eq(
		    doc_parse(b.p, b.len), ERR_MALFORMED, "%s", bad[i]);
	}
	for (size_t i = 0; i < sizeof deep; i++)
		deep[i] = i % 2 == 0 ? 0xa1 : 0x00;
	cr_assert_eq(doc_parse(deep, IMAGE_DOC_MAX), ERR_MALFORMED);
	cr_assert_eq(doc_parse(deep, IMAGE_DOC_MAX + 1), ERR_MALFORMED);
	buf_fini(&b);
}

/* A map of indefinite length says the same; a repeated or further member
 * does not. */
Test(osimage, document_members)
{
	uint8_t doc[GUEST_DOC_LEN + 32];
	size_t n = GUEST_DOC_LEN;

	guest_doc(doc);
	doc[0] = 0xbf;
	doc[n] = 0xff;
	cr_assert_eq(doc_parse(doc, n + 1), ERR_OK);

	guest_doc(doc);
	doc[0] = 0xa4;
	memcpy(doc + n, "\x61x\x00", 3);
	cr_assert_eq(doc_parse(doc, n + 3), ERR_MALFORMED);
	memcpy(doc + n, "\x67version\x03", 9);
	cr_assert_eq(doc_parse(doc, n + 9), ERR_MALFORMED);
	/* Text where bytes must be, and a digest of another length. */
	guest_doc(doc);
	cr_assert_eq(memcmp(doc + 32, "\x58\x30", 2), 0);
	doc[32] = 0x78;
	memset(doc + 34, 'a', 48);
	cr_assert_eq(doc_parse(doc, n), ERR_MALFORMED);
	guest_doc(doc);
	doc[33]--;
	memmove(doc + 34, doc + 35, n - 35);
	cr_assert_eq(doc_parse(doc, n - 1), ERR_MALFORMED);
	guest_doc(doc);
	doc[n - 13] = 0x60 | 12;
	memset(doc + n - 12, 'a', 12);
	cr_assert_eq(doc_parse(doc, n), ERR_MALFORMED);
	/* "tdvf" again in the place of "version". */
	guest_doc(doc);
	doc[9] = 2;
	cr_assert_eq(doc_parse(doc, n), ERR_MALFORMED);
}

/* The real 0.6.0 image gives MRTD and RTMR0-2 of its real quote. */
Test(osimage, real_lite_quote)
{
	json_t *v = facts_json("dstack/verifier/tdx-lite-getquote.json");
	const char *text = facts_str(v, "event_log");
	const char *vm = facts_str(v, "vm_config");
	struct os_registers r;
	struct event_log log;
	struct buf q = { 0 };

	facts_hex_buf(&q, facts_str(v, "quote"));
	cr_assert_eq(
	    event_log_parse(&log,
		(struct bytes){ (const uint8_t *)text, strlen(text) }, NULL),
	    ERR_OK);
	cr_assert_eq(
	    os_image_measure(&r,
		(struct bytes){ (const uint8_t *)vm, strlen(vm) }, &log, NULL),
	    ERR_OK);
	cr_assert_arr_eq(r.mrtd, q.p + 48 + 136, 48);
	for (int i = 0; i < 3; i++)
		cr_assert_arr_eq(
		    r.rtmr[i], q.p + 48 + 328 + 48 * i, 48, "RTMR%d", i);
	event_log_fini(&log);
	buf_fini(&q);
	json_decref(v);
}

/* The listed events are those of the real log, in its order. */
Test(osimage, real_events)
{
	json_t *v = facts_json("dstack/verifier/tdx-lite-getquote.json");
	const char *text = facts_str(v, "event_log");
	const char *vm = facts_str(v, "vm_config");
	struct os_event ev[OS_EVENTS];
	struct os_registers r;
	struct event_log log;

	cr_assert_eq(
	    event_log_parse(&log,
		(struct bytes){ (const uint8_t *)text, strlen(text) }, NULL),
	    ERR_OK);
	cr_assert_eq(
	    os_image_events(&r, ev,
		(struct bytes){ (const uint8_t *)vm, strlen(vm) }, &log, NULL),
	    ERR_OK);
	for (size_t i = 0; i < OS_EVENTS; i++) {
		cr_assert_eq(ev[i].imr, log.event[i].imr, "%zu", i);
		cr_assert_eq(ev[i].type, log.event[i].type, "%zu", i);
		cr_assert_str_eq(ev[i].name, log.event[i].name);
		cr_assert_arr_eq(ev[i].digest, log.event[i].digest, 48);
	}
	event_log_fini(&log);
	json_decref(v);
}
