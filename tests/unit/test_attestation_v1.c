/* VersionedAttestation, version 1: MessagePack as another writer makes it. */
#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include "common/attest/attestation_v1.h"
#include "common/crypto/hash.h"
#include "tests/lib/facts.h"

#define LOG \
	"[{\"imr\":0,\"event_type\":10,\"digest\":\"" \
	"111111111111111111111111111111111111111111111111" \
	"111111111111111111111111111111111111111111111111\"," \
	"\"event\":\"acpi-rsdp\",\"event_payload\":\"414350492044415441\"}," \
	"{\"imr\":3,\"event_type\":134217729,\"digest\":\"\"," \
	"\"event\":\"app-id\",\"event_payload\":\"ea54\"}," \
	"{\"imr\":3,\"event_type\":134217729,\"digest\":\"\"," \
	"\"event\":\"system-ready\",\"event_payload\":\"\"}"

/* A small one, byte for byte. */
Test(attestation_v1, small)
{
	struct evidence ev = { .tee = TEE_TDX };
	struct buf out = { 0 };
	uint8_t rd[64];

	memset(rd, 0xd7, sizeof rd);
	cr_assert_eq(buf_set(&ev.quote, "quote", 5), ERR_OK);
	cr_assert_eq(buf_printf(&ev.event_log, LOG "]"), ERR_OK);
	cr_assert_eq(buf_set(&ev.vm_config, "{}", 2), ERR_OK);
	cr_assert_eq(attestation_v1_encode(&out, &ev, rd, NULL), ERR_OK);
	cr_assert_eq(out.len, 648);
	cr_assert(facts_eq(out.p, out.len,
	    "83a776657273696f6e01a8706c6174666f726d82a46b696e64a3746478a46461"
	    "746182a571756f74659571756f7465a96576656e745f6c6f679385a3696d7200"
	    "aa6576656e745f747970650aa6646967657374c4301111111111111111111111"
	    "1111111111111111111111111111111111111111111111111111111111111111"
	    "1111111111a56576656e74a9616370692d72736470ad6576656e745f7061796c"
	    "6f6164c40941435049204441544185a3696d7203aa6576656e745f74797065ce"
	    "08000001a6646967657374c4302ad5e9854cadde0e3b724012e61e367b880d4d"
	    "00f00859dbf92deaaa14b33fd056a9ce4492b327e8a10041a0c7d0284aa56576"
	    "656e74a66170702d6964ad6576656e745f7061796c6f6164c402ea5485a3696d"
	    "7203aa6576656e745f74797065ce08000001a6646967657374c4301a76b2a80a"
	    "0be71eae59f80945d876351a7a3fb8e9fd1ff1cede5734aa84ea11fd72b4edfb"
	    "b6f04e5a85edd114c751bda56576656e74ac73797374656d2d7265616479ad65"
	    "76656e745f7061796c6f6164c400a5737461636b82a46b696e64a66473746163"
	    "6ba46461746183ab7265706f72745f64617461dc0040ccd7ccd7ccd7ccd7ccd7"
	    "ccd7ccd7ccd7ccd7ccd7ccd7ccd7ccd7ccd7ccd7ccd7ccd7ccd7ccd7ccd7ccd7"
	    "ccd7ccd7ccd7ccd7ccd7ccd7ccd7ccd7ccd7ccd7ccd7ccd7ccd7ccd7ccd7ccd7"
	    "ccd7ccd7ccd7ccd7ccd7ccd7ccd7ccd7ccd7ccd7ccd7ccd7ccd7ccd7ccd7ccd7"
	    "ccd7ccd7ccd7ccd7ccd7ccd7ccd7ccd7ccd7ccd7ccd7ae72756e74696d655f65"
	    "76656e74739282a56576656e74a66170702d6964a77061796c6f6164c402ea54"
	    "82a56576656e74ac73797374656d2d7265616479a77061796c6f6164c400a663"
	    "6f6e666967a27b7d"));
	/* It appends. */
	cr_assert_eq(attestation_v1_encode(&out, &ev, rd, NULL), ERR_OK);
	cr_assert_eq(out.len, 2 * 648);
	evidence_fini(&ev);
	buf_fini(&out);
}

static void
add_event(struct buf *log, const char *name, size_t len)
{
	cr_assert_eq(buf_printf(log,
			 ",{\"imr\":3,\"event_type\":134217729,\"digest\":\"\","
			 "\"event\":\"%s\",\"event_payload\":\"",
			 name),
	    ERR_OK);
	for (size_t i = 0; i < len; i++)
		cr_assert_eq(buf_printf(log, "5a"), ERR_OK);
	cr_assert_eq(buf_printf(log, "\"}"), ERR_OK);
}

/* With the longer heads of arrays, strings and bytes, and numbers above 127. */
Test(attestation_v1, large)
{
	static const size_t lens[] = { 255, 256, 300 };
	struct evidence ev = { .tee = TEE_TDX };
	struct buf out = { 0 };
	uint8_t rd[64], q[5000], config[300], h[32];
	char name[41];

	for (size_t i = 0; i < sizeof q; i++)
		q[i] = (uint8_t)i;
	memcpy(rd, q, sizeof rd);
	memset(config, 'c', sizeof config);
	memset(name, 'n', 40);
	name[40] = '\0';
	cr_assert_eq(buf_set(&ev.quote, q, sizeof q), ERR_OK);
	cr_assert_eq(buf_set(&ev.vm_config, config, sizeof config), ERR_OK);
	cr_assert_eq(buf_printf(&ev.event_log, LOG), ERR_OK);
	for (size_t i = 0; i < 3; i++)
		add_event(&ev.event_log, name, lens[i]);
	for (int i = 0; i < 12; i++) {
		(void)snprintf(name, sizeof name, "e%d", i);
		add_event(&ev.event_log, name, 0);
	}
	cr_assert_eq(buf_printf(&ev.event_log, "]"), ERR_OK);
	cr_assert_eq(attestation_v1_encode(&out, &ev, rd, NULL), ERR_OK);
	cr_assert_eq(out.len, 12049);
	sha256(h, out.p, out.len);
	cr_assert(facts_eq(h, 32,
	    "d0412bb74783219af3e51ed3f57941f21de40744e9d5bead0e01c1611e00e54"
	    "1"));
	evidence_fini(&ev);
	buf_fini(&out);
}

/* A log that does not parse is refused, and nothing is appended. */
Test(attestation_v1, refusals)
{
	static const char *const logs[] = { "", "{}", "[1]",
		"[{\"imr\":3,\"event_type\":134217729,\"digest\":\"00\","
		"\"event\":\"app-id\",\"event_payload\":\"ea54\"}]" };
	struct refusal why = { .code = REASON_NONE };
	const uint8_t rd[64] = { 0 };

	for (size_t i = 0; i < sizeof logs / sizeof logs[0]; i++) {
		struct evidence ev = { .tee = TEE_TDX };
		struct buf out = { 0 };

		cr_assert_eq(
		    buf_set(&ev.event_log, logs[i], strlen(logs[i])), ERR_OK);
		cr_assert_eq(
		    attestation_v1_encode(&out, &ev, rd, &why), ERR_DENIED);
		cr_assert_eq(why.code, REASON_EVENT_LOG);
		cr_assert_eq(out.len, 0);
		evidence_fini(&ev);
	}
}
