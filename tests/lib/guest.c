#include <string.h>

#include <criterion/criterion.h>
#include <sodium.h>

#include "common/attest/osimage.h"
#include "common/base/hex.h"
#include "common/base/json.h"
#include "common/crypto/hash.h"
#include "tests/lib/facts.h"
#include "tests/lib/guest.h"

static const char doc_hex[] =
    "a36776657273696f6e0365696d616765a36e636d646c696e655f736861333834"
    "58307d7d3d2bfe80fb091516cfb189f29d8b83e558f08737904aede409d0f356"
    "4ff505fc6a884c06a26cb459f7b6e9bacd63736b65726e656c5f61757468656e"
    "7469636f64655830e1685b6426d9c5be8691ff8f95eacdc11753355667394aa2"
    "3124570b14baf68ab322a3aaeb3c599c448ad5016c709a496d696e697472645f"
    "73686133383458300ea077a251cb5b89108623041521d525aa49452a84239b04"
    "232bd69ad66b2885b792748e445082253569dd304c50a1106474647666a3646f"
    "766d6669707265323032353035646d727464a26b73696e676c655f7061737358"
    "3042ccd016e9bcdef302cd72e06a464c603c65b306206f6e8ac1caa7fd3b8b8f"
    "e5a89d676902e5a7507a86a6c0f72b003e6874776f5f7061737358300b5a10c7"
    "071b313d2feee9e3864155eabfc5494d1882a3284da1015af0cb648ef37c79c8"
    "39d9fcb3120fd06e006a7be96674645f686f624c80100904000609020b021010";

void
guest_doc(uint8_t out[static GUEST_DOC_LEN])
{
	facts_hex(out, GUEST_DOC_LEN, doc_hex);
}

static json_t *
base64(const void *p, size_t len)
{
	char text[8192];

	cr_assert_lt(
	    sodium_base64_ENCODED_LEN(len, sodium_base64_VARIANT_ORIGINAL),
	    sizeof text);
	sodium_bin2base64(
	    text, sizeof text, p, len, sodium_base64_VARIANT_ORIGINAL);
	return json_string(text);
}

void
guest_set_doc(struct guest *g, const uint8_t *doc, size_t len)
{
	char hex[65], sums[200];
	uint8_t h[32];
	json_t *m = json_object();
	int n;

	sha256(h, doc, len);
	n = snprintf(sums, sizeof sums, "%s  measurement.tdx.cbor\n",
	    hex_encode(hex, h, 32));
	sha256(h, sums, (size_t)n);
	cr_assert_eq(json_set_hex(g->vm, "os_image_hash", h, 32), ERR_OK);
	json_object_set_new(m, "measurement", base64(doc, len));
	json_object_set_new(m, "checksum_file", base64(sums, (size_t)n));
	json_object_set_new(g->vm, "tdx_measurement", m);
}

static json_t *
event(uint32_t imr, uint32_t type, const uint8_t *digest, const char *name,
    struct bytes payload)
{
	json_t *e = json_object();

	cr_assert_eq(json_set_u64(e, "imr", imr), ERR_OK);
	cr_assert_eq(json_set_u64(e, "event_type", type), ERR_OK);
	cr_assert_eq(json_set_hex(e, "digest", digest, 48), ERR_OK);
	cr_assert_eq(json_set_str(e, "event", name), ERR_OK);
	cr_assert_eq(
	    json_set_hex(e, "event_payload", payload.p, payload.len), ERR_OK);
	return e;
}

void
guest_insert(struct guest *g, size_t at, const char *name, struct bytes payload)
{
	uint8_t d[48];

	event_digest_v1(d, name, payload);
	json_array_insert_new(
	    g->log, at, event(3, EVENT_RUNTIME, d, name, payload));
}

void
guest_event(struct guest *g, const char *name, struct bytes payload)
{
	guest_insert(g, json_array_size(g->log), name, payload);
}

size_t
guest_at(const struct guest *g, const char *name)
{
	json_t *e;
	size_t i;

	json_array_foreach(g->log, i, e)
	{
		if (strcmp(facts_str(e, "event"), name) == 0)
			return i;
	}
	cr_assert_fail("no event %s", name);
	return 0;
}

struct buf
guest_text(const json_t *v)
{
	struct buf b = { 0 };

	cr_assert_eq(json_write(&b, v), ERR_OK);
	return b;
}

void
guest_quote(struct guest *g)
{
	struct buf text = guest_text(g->log);
	struct event_log log = { 0 };

	cr_assert_eq(event_log_parse(&log, buf_view(&text), NULL), ERR_OK);
	for (uint32_t i = 0; i < 4; i++)
		event_log_replay(g->verdict.td.rtmr[i], &log, i, NULL);
	event_log_fini(&log);
	buf_fini(&text);
}

enum err
guest_boot(struct boot_info *out, const struct guest *g,
    enum boot_variant variant, struct refusal *why)
{
	struct buf log = guest_text(g->log), vm = guest_text(g->vm);
	enum err e = boot_info_build(
	    out, &g->verdict, buf_view(&log), buf_view(&vm), variant, why);

	buf_fini(&log);
	buf_fini(&vm);
	return e;
}

/* The boot events of the image, from three ACPI digests. */
static void
boot_events(struct guest *g)
{
	static const char *const acpi[] = { "acpi-loader", "acpi-rsdp",
		"acpi-tables" };
	const struct bytes data = BYTES_STR("ACPI DATA");
	struct event seed[3] = { 0 };
	struct event_log log = { .event = seed, .n = 3 };
	struct os_event ev[OS_EVENTS];
	struct os_registers regs;
	struct buf vm = guest_text(g->vm);

	for (size_t i = 0; i < 3; i++) {
		seed[i].type = 10;
		seed[i].payload = data;
		sha384(seed[i].digest, acpi[i], strlen(acpi[i]));
	}
	cr_assert_eq(
	    os_image_events(&regs, ev, buf_view(&vm), &log, NULL), ERR_OK);
	for (size_t i = 0; i < OS_EVENTS; i++)
		json_array_append_new(g->log,
		    event(ev[i].imr, ev[i].type, ev[i].digest, ev[i].name,
			ev[i].name[0] != '\0' ? data
					      : (struct bytes){ NULL, 0 }));
	memcpy(g->verdict.td.mrtd, regs.mrtd, 48);
	buf_fini(&vm);
}

void
guest_init(struct guest *g)
{
	const struct bytes none = { NULL, 0 };
	uint8_t doc[GUEST_DOC_LEN], b[32];

	memset(g, 0, sizeof *g);
	g->vm = json_pack("{s:i, s:I, s:s, s:s, s:s}", "cpu_count", 2,
	    "memory_size", (json_int_t)0x80000000, "qemu_version", "8.2.2",
	    "ovmf_variant", "pre202505", "tdx_attestation_variant", "lite");
	g->log = json_array();
	guest_doc(doc);
	guest_set_doc(g, doc, sizeof doc);
	boot_events(g);
	guest_event(g, "system-preparing", none);
	memset(b, 0x11, 20);
	guest_event(g, "app-id", (struct bytes){ b, 20 });
	memset(b, 0x22, 32);
	guest_event(g, "compose-hash", (struct bytes){ b, 32 });
	memset(b, 0x44, 20);
	guest_event(g, "instance-id", (struct bytes){ b, 20 });
	guest_event(g, "boot-mr-done", none);
	memset(b, 0x66, 32);
	guest_event(g, "os-image-hash", (struct bytes){ b, 32 });
	guest_event(g, "key-provider",
	    BYTES_STR("{\"name\":\"kms\",\"id\":\"3333333333333333333333333333"
		      "333333333333333333333333333333333333\"}"));
	guest_event(g, "storage-fs", BYTES_STR("ext4"));
	guest_event(g, "system-ready", none);
	g->verdict.tee = TEE_TDX;
	g->verdict.status = TCB_OUT_OF_DATE;
	g->verdict.n_advisories = 1;
	strcpy(g->verdict.advisory[0], "INTEL-SA-00837");
	guest_quote(g);
}

void
guest_fini(struct guest *g)
{
	json_decref(g->vm);
	json_decref(g->log);
}
