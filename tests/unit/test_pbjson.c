#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include "common/base/hex.h"
#include "common/wire/guest_v0.pb-c.h"
#include "common/wire/guest_v1.pb-c.h"
#include "common/wire/kms.pb-c.h"
#include "common/wire/pbjson.h"

#define V0(name) (&devproof__guest__v0__##name##__descriptor)
#define V1(name) (&devproof__guest__v1__##name##__descriptor)
#define K(name) (&devproof__kms__v1__##name##__descriptor)

static struct buf
from_hex(const char *hex)
{
	struct buf b = { 0 };

	cr_assert_eq(buf_reserve(&b, strlen(hex) / 2 + 1), ERR_OK);
	cr_assert_eq(
	    hex_decode(b.p, strlen(hex) / 2, &b.len, hex, strlen(hex)), ERR_OK);
	return b;
}

static void
not_read(const ProtobufCMessageDescriptor *d, const char *hex, enum err want)
{
	struct buf in = from_hex(hex);
	json_t *out = NULL;

	cr_assert_eq(pbjson_read(&out, d, buf_view(&in)), want, "%s", hex);
	cr_assert_null(out);
	buf_fini(&in);
}

/* What is no message is none. */
Test(pbjson, reading_refused)
{
	static const char *const bad[] = {
		"0a", /* a length, and nothing */
		"0a05616263", /* too short */
		"0affffffffffffffffff01", /* 2^64 - 1 bytes */
		"0a80", /* a number without end */
		"30ffffffffffffffffffff01", /* eleven bytes of it */
		"30ffffffffffffffffff02", /* above 2^64 */
		"00", /* field 0 */
		"8080808010", /* its number too large */
		"0b", "0c", "0e", "0f", /* groups, and no wire types */
		"0801", /* a number where a string is */
		"0d00000000", "090000000000000000", /* fixed, likewise */
		"1a00", /* a string where a flag is */
		"0a01ff", /* not UTF-8 */
		"0a02c080", "0a03eda080", /* nor this: overlong, surrogate */
		"32083131313131313131", /* a string where a number is */
		"30ffffffffffffffffff01", /* above 2^63 - 1 */
		"9d0600", /* an unknown field that is cut */
	};

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		not_read(V0(get_tls_key_request), bad[i], ERR_MALFORMED);
	not_read(V1(attest_reply), "12020aff", ERR_MALFORMED);
}

/* A small message may not become a large object. */
Test(pbjson, reading_bounded)
{
	struct buf in = { 0 };
	json_t *out = NULL;

	for (unsigned i = 0; i < PBJSON_VALUES_MAX; i++)
		cr_assert_eq(buf_append(&in, "\x12", 2, SIZE_MAX), ERR_OK);
	cr_assert_eq(
	    pbjson_read(&out, V0(get_key_reply), buf_view(&in)), ERR_OK);
	cr_assert_eq(json_array_size(json_object_get(out, "signature_chain")),
	    PBJSON_VALUES_MAX);
	json_decref(out);
	out = NULL;
	cr_assert_eq(buf_append(&in, "\x12", 2, SIZE_MAX), ERR_OK);
	cr_assert_eq(
	    pbjson_read(&out, V0(get_key_reply), buf_view(&in)), ERR_LIMIT);
	cr_assert_null(out);
	buf_fini(&in);
}

static void
reads(const ProtobufCMessageDescriptor *d, const char *hex, const char *want)
{
	struct buf in = from_hex(hex), text = { 0 };
	json_t *out = NULL;

	cr_assert_eq(pbjson_read(&out, d, buf_view(&in)), ERR_OK, "%s", hex);
	cr_assert_eq(json_write(&text, out), ERR_OK);
	cr_assert_str_eq((char *)text.p, want);
	json_decref(out);
	buf_fini(&in);
	buf_fini(&text);
}

Test(pbjson, reading)
{
	reads(V0(get_key_request), "", "{}");
	reads(V0(get_key_request), "0a01611200c03e00",
	    "{\"path\":\"a\",\"purpose\":\"\",\"epoch\":0}");
	/* The last one counts. */
	reads(V0(get_key_request), "0a01610a0162", "{\"path\":\"b\"}");
	/* Unknown fields of every wire type. */
	reads(V0(get_key_request),
	    "f80701fd0701020304f9070102030405060708fa0703616263"
	    "0a0162",
	    "{\"path\":\"b\"}");
	/* Lists of text, flags of any number, numbers in too many bytes. */
	reads(V0(get_tls_key_request),
	    "0a03c3a92f120161120018ff013081808080808080808000",
	    "{\"subject\":\"\\u00E9/\",\"alt_names\":[\"a\",\"\"],"
	    "\"usage_ra_tls\":true,\"not_before\":1}");
	reads(V0(get_key_reply), "0a02abcd12000a001202ffff",
	    "{\"key\":\"\",\"signature_chain\":[\"\",\"ffff\"]}");
	/* Text may hold NUL. */
	reads(V1(get_key_request), "0a03610062", "{\"domain\":\"a\\u0000b\"}");
	/* Messages within. */
	reads(V1(attest_reply), "0a0101120012070a016e1a0207ff",
	    "{\"attestation\":\"01\",\"boottime_gpu_evidence\":[{},{"
	    "\"vendor\":\"n\",\"evidence\":\"07ff\"}]}");
}

static enum err
write_text(
    struct buf *out, const ProtobufCMessageDescriptor *d, const char *json)
{
	json_t *v = NULL;
	enum err e;

	v = json_loads(json, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
	cr_assert_not_null(v, "%s", json);
	e = pbjson_write(out, d, v);
	json_decref(v);
	return e;
}

/* A member of another type than its field's writes nothing. */
Test(pbjson, writing_refused)
{
	static const char *const bad[] = {
		"[]",
		"1",
		"\"\"",
		"{\"subject\":1}",
		"{\"subject\":0}",
		"{\"subject\":false}",
		"{\"subject\":[]}",
		"{\"subject\":{}}",
		"{\"alt_names\":\"\"}",
		"{\"alt_names\":{}}",
		"{\"alt_names\":[1]}",
		"{\"alt_names\":[null]}",
		"{\"usage_ra_tls\":0}",
		"{\"usage_ra_tls\":\"\"}",
		"{\"not_before\":\"\"}",
		"{\"not_before\":-1}",
		"{\"not_before\":1.0}",
		"{\"not_before\":true}",
	};
	static const char *const bad_hex[] = { "{\"key\":\"0\"}",
		"{\"key\":\"0g\"}", "{\"key\":\"00\\u000000\"}", "{\"key\":0}",
		"{\"signature_chain\":[\"00\",\"0\"]}" };
	struct buf out = { 0 };

	cr_assert_eq(buf_set(&out, "x", 1), ERR_OK);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		cr_assert_eq(write_text(&out, V0(get_tls_key_request), bad[i]),
		    ERR_MALFORMED, "%s", bad[i]);
	for (size_t i = 0; i < 5; i++)
		cr_assert_eq(write_text(&out, V0(get_key_reply), bad_hex[i]),
		    ERR_MALFORMED, "%s", bad_hex[i]);
	cr_assert_eq(write_text(&out, V1(attest_reply),
			 "{\"boottime_gpu_evidence\":[{\"vendor\":1}]}"),
	    ERR_MALFORMED);
	cr_assert_eq(out.len, 1);
	buf_fini(&out);
}

static void
writes(const ProtobufCMessageDescriptor *d, const char *json, const char *want)
{
	struct buf out = { 0 };
	char hex[400];

	cr_assert_eq(write_text(&out, d, json), ERR_OK, "%s", json);
	cr_assert_lt(2 * out.len, sizeof hex);
	cr_assert_str_eq(hex_encode(hex, out.p, out.len), want);
	buf_fini(&out);
}

Test(pbjson, writing)
{
	writes(V0(get_key_request), "null", "");
	writes(V0(get_key_request), "{\"other\":[1],\"path\":null}", "");
	/* By number, whatever the order; defaults are left out, but not where
	 * it matters that they are there. */
	writes(V0(get_tls_key_request),
	    "{\"not_before\":0,\"epoch\":0,\"usage_server_auth\":true,"
	    "\"usage_ra_tls\":false,\"alt_names\":[\"\",\"b\"],"
	    "\"subject\":\"\\u00e9\"}",
	    "0a02c3a9120012016220013000c03e00");
	writes(V0(get_key_reply), "{\"key\":\"0xABcd\",\"signature_chain\":[]}",
	    "0a02abcd");
	writes(V0(counter_reply),
	    "{\"value\":9223372036854775807,\"index\":128,\"generation\":0}",
	    "10ffffffffffffffff7f208001");
	writes(V0(error), "{\"error\":\"a\",\"value\":0,\"uncertain\":true}",
	    "0a0161c03e00c83e01");
	writes(V1(attest_reply),
	    "{\"boottime_gpu_evidence\":[{},{\"vendor\":\"n\"}]}",
	    "120012030a016e");
}

/* protobuf-c reads what we write, and we what it writes. */
Test(pbjson, against_protobuf_c)
{
	static char none[] = "", name[] = "a.example", cn[] = "CN=\xc3\xa9";
	Devproof__Guest__V0__GetTlsKeyRequest m;
	char *names[300];
	struct buf packed = { 0 }, written = { 0 };
	ProtobufCMessage *back;
	json_t *v;

	devproof__guest__v0__get_tls_key_request__init(&m);
	for (unsigned round = 0; round < 64; round++) {
		size_t len;

		m.n_alt_names = (size_t)round * 4;
		for (size_t i = 0; i < m.n_alt_names; i++)
			names[i] = i % 2 == 0 ? name : none;
		m.alt_names = names;
		m.subject = (round & 1) != 0 ? cn : none;
		m.usage_ra_tls = (round & 2) != 0;
		m.with_app_info = (round & 4) != 0;
		m.has_not_after_case = (round & 8) != 0
		    ? DEVPROOF__GUEST__V0__GET_TLS_KEY_REQUEST__HAS_NOT_AFTER_NOT_AFTER
		    : 0;
		m.not_after = (uint64_t)round << (round / 2);
		len = protobuf_c_message_get_packed_size(&m.base);
		cr_assert_eq(buf_reserve(&packed, len), ERR_OK);
		packed.len = protobuf_c_message_pack(&m.base, packed.p);

		cr_assert_eq(
		    pbjson_read(&v, V0(get_tls_key_request), buf_view(&packed)),
		    ERR_OK);
		written.len = 0;
		cr_assert_eq(
		    pbjson_write(&written, V0(get_tls_key_request), v), ERR_OK);
		cr_assert_eq(written.len, packed.len);
		cr_assert_eq(memcmp(written.p, packed.p, packed.len), 0);
		back = protobuf_c_message_unpack(
		    V0(get_tls_key_request), NULL, written.len, written.p);
		cr_assert_not_null(back);
		protobuf_c_message_free_unpacked(back, NULL);
		json_decref(v);
	}
	buf_fini(&packed);
	buf_fini(&written);
}

/* Repeated numbers come one by one, in a span, or both. */
Test(pbjson, packed)
{
	struct buf in = { 0 };
	json_t *out = NULL;

	not_read(K(join), "22020180", ERR_MALFORMED); /* cut within */
	not_read(K(join), "2202018001", ERR_MALFORMED); /* nor goes on */
	not_read(K(join), "220affffffffffffffffff02", ERR_MALFORMED);
	not_read(K(join), "220affffffffffffffffff01", ERR_MALFORMED);
	not_read(K(join), "250000000021", ERR_MALFORMED); /* as fixed ones */
	not_read(K(get_app_keys), "0a0105", ERR_MALFORMED); /* not repeated */
	reads(K(join), "20012203028201200422002203050607",
	    "{\"want\":[1,2,130,4,5,6,7]}");

	/* A byte each here, and a value each there. */
	cr_assert_eq(buf_append(&in, "\x22\x90\x4e", 3, SIZE_MAX), ERR_OK);
	for (unsigned i = 0; i < PBJSON_VALUES_MAX; i++)
		cr_assert_eq(buf_append(&in, "", 1, SIZE_MAX), ERR_OK);
	cr_assert_eq(pbjson_read(&out, K(join), buf_view(&in)), ERR_OK);
	cr_assert_eq(
	    json_array_size(json_object_get(out, "want")), PBJSON_VALUES_MAX);
	json_decref(out);
	out = NULL;
	cr_assert_eq(buf_append(&in, "\x20", 2, SIZE_MAX), ERR_OK);
	cr_assert_eq(pbjson_read(&out, K(join), buf_view(&in)), ERR_LIMIT);
	cr_assert_null(out);
	buf_fini(&in);
}

/* Numbers of 32 bits are cut when read, as protobuf says, and refused when
 * written: nobody meant another number. */
Test(pbjson, numbers_of_32_bits)
{
	static const char *const bad[] = { "{\"state\":4294967296}",
		"{\"state\":9223372036854775807}", "{\"state\":-1}",
		"{\"state\":-4294967295}", "{\"state\":\"1\"}" };
	struct buf out = { 0 };

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		cr_assert_eq(write_text(&out, K(epoch_public), bad[i]),
		    ERR_MALFORMED, "%s", bad[i]);
	cr_assert_eq(out.len, 0);
	not_read(K(epoch_public), "2d01000000", ERR_MALFORMED);
	writes(K(epoch_public), "{\"state\":4294967295}", "28ffffffff0f");
	reads(K(epoch_public), "28ffffffff0f", "{\"state\":4294967295}");
	reads(K(epoch_public), "288180808010", "{\"state\":1}");
	reads(K(epoch_public), "28ffffffffffffffffff01",
	    "{\"state\":4294967295}");
}

/* A message that comes in parts is one message. */
Test(pbjson, parts)
{
	reads(K(request), "3a030a01613a041202abcd3a030a0162",
	    "{\"peer_hello\":{\"slot\":\"b\",\"incarnation\":\"abcd\"}}");
	reads(K(request), "2a050a016120012a04220202032a022004",
	    "{\"join\":{\"slot\":\"a\",\"want\":[1,2,3,4]}}");
	not_read(K(request), "3a030a01613a020a02", ERR_MALFORMED);
	not_read(K(request), "3a030a01613a020801", ERR_MALFORMED);
}

/* A message within itself. */
static const ProtobufCMessageDescriptor nest;
static const ProtobufCFieldDescriptor nest_fields[] = {
	{ .name = "in",
	    .id = 1,
	    .label = PROTOBUF_C_LABEL_NONE,
	    .type = PROTOBUF_C_TYPE_MESSAGE,
	    .descriptor = &nest },
};
static const ProtobufCIntRange nest_ranges[] = { { 1, 0 }, { 0, 1 } };
static const ProtobufCMessageDescriptor nest = {
	.magic = PROTOBUF_C__MESSAGE_DESCRIPTOR_MAGIC,
	.name = "nest",
	.n_fields = 1,
	.fields = nest_fields,
	.n_field_ranges = 1,
	.field_ranges = nest_ranges,
};

/* Nobody's message has more levels than we have stack for. */
Test(pbjson, depth)
{
	uint8_t wire[2 * 40];
	json_t *v = json_object(), *back = NULL;
	struct buf out = { 0 };

	for (unsigned depth = 1; depth <= 40; depth++) {
		enum err want = depth <= PBJSON_DEPTH_MAX ? ERR_OK : ERR_LIMIT;
		size_t len = 2 * (size_t)(depth - 1);

		for (size_t i = 0; i < len; i += 2) {
			wire[i] = 1 << 3 | 2;
			wire[i + 1] = (uint8_t)(len - i - 2);
		}
		out.len = 0;
		cr_assert_eq(pbjson_write(&out, &nest, v), want, "%u", depth);
		cr_assert_eq(out.len, want == ERR_OK ? len : 0);
		cr_assert_eq(
		    pbjson_read(&back, &nest, (struct bytes){ wire, len }),
		    want, "%u", depth);
		if (want == ERR_OK) {
			cr_assert(json_equal(v, back));
			cr_assert_arr_eq(out.p, wire, len);
			json_decref(back);
			back = NULL;
		}
		cr_assert_null(back);
		v = json_pack("{s:o}", "in", v);
	}
	json_decref(v);
	buf_fini(&out);
}
