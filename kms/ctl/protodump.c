#include <string.h>

#include "common/base/hex.h"
#include "common/base/rd.h"
#include "common/wire/kms.pb-c.h"
#include "kms/ctl/protodump.h"

#define DEPTH_MAX 8u
#define TEXT_SHOWN 64u
#define HEX_WHOLE 33u /* a compressed public key */
#define HEX_BEGIN 8u

/* Keys, and what carries them in a form that may be opened. */
static const struct {
	const ProtobufCMessageDescriptor *in;
	const char *field;
} secrets[] = {
	{ &devproof__kms__v1__app_keys__descriptor, "k256_key" },
	{ &devproof__kms__v1__app_keys__descriptor, "disk_crypt_key" },
	{ &devproof__kms__v1__app_keys__descriptor, "env_crypt_key" },
	{ &devproof__kms__v1__app_keys__descriptor, "replica_key" },
	{ &devproof__kms__v1__epoch_key__descriptor, "wrap_key" },
	{ &devproof__kms__v1__peer_batch__descriptor, "message" },
};

struct dump {
	struct buf *out;
	const uint8_t *start; /* of the whole message */
	enum err e; /* nothing is written once this is not ERR_OK */
};

static bool
is_secret(const ProtobufCMessageDescriptor *d, const char *field)
{
	for (size_t i = 0; i < sizeof secrets / sizeof secrets[0]; i++)
		if (secrets[i].in == d && strcmp(secrets[i].field, field) == 0)
			return true;
	return false;
}

static void
put(struct dump *m, const char *text)
{
	if (m->e == ERR_OK)
		m->e = buf_append(m->out, text, strlen(text), SIZE_MAX);
}

/* What is wrong, and at which byte of the message. */
static void
wrong(struct dump *m, const uint8_t *at, const char *what)
{
	if (m->e != ERR_OK)
		return;
	m->e = buf_printf(
	    m->out, " !%s at byte %zu", what, (size_t)(at - m->start));
	if (m->e == ERR_OK)
		m->e = ERR_MALFORMED;
}

enum err
protodump_text(struct buf *out, struct bytes in)
{
	size_t n = in.len < TEXT_SHOWN ? in.len : TEXT_SHOWN;
	char text[TEXT_SHOWN + 1];

	for (size_t i = 0; i < n; i++)
		text[i] = in.p[i] >= 0x20 && in.p[i] < 0x7f && in.p[i] != '"'
		    ? (char)in.p[i]
		    : '?';
	text[n] = '\0';
	if (n == in.len)
		return buf_printf(out, "\"%s\"", text);
	return buf_printf(out, "\"%s...\" (%zu bytes)", text, in.len);
}

enum err
protodump_hex(struct buf *out, struct bytes in)
{
	char hex[2 * HEX_WHOLE + 1];

	if (in.len == 0)
		return buf_printf(out, "(empty)");
	if (in.len <= HEX_WHOLE)
		return buf_printf(out, "%s", hex_encode(hex, in.p, in.len));
	return buf_printf(
	    out, "%s... (%zu bytes)", hex_encode(hex, in.p, HEX_BEGIN), in.len);
}

/* Ten bytes at most; false: not one, or cut short. */
static bool
varint(uint64_t *out, struct rd *r)
{
	uint64_t v = 0;

	for (unsigned shift = 0; shift < 70; shift += 7) {
		uint8_t b = rd_u8(r);

		if (r->bad)
			return false;
		v |= (uint64_t)(b & 0x7f) << (shift < 64 ? shift : 63);
		if ((b & 0x80) == 0) {
			*out = v;
			return true;
		}
	}
	return false;
}

static void message(struct dump *m, const ProtobufCMessageDescriptor *d,
    struct bytes in, unsigned depth);

static void
spanned(struct dump *m, const ProtobufCMessageDescriptor *d,
    const ProtobufCFieldDescriptor *f, struct bytes in, unsigned depth)
{
	if (f != NULL && f->type == PROTOBUF_C_TYPE_MESSAGE) {
		message(m, f->descriptor, in, depth + 1);
		return;
	}
	if (m->e != ERR_OK)
		return;
	if (f == NULL || is_secret(d, f->name))
		m->e = buf_printf(m->out, "(%zu bytes)", in.len);
	else if (f->type == PROTOBUF_C_TYPE_STRING)
		m->e = protodump_text(m->out, in);
	else
		m->e = protodump_hex(m->out, in);
}

/* One field; false: the rest cannot be read. */
static bool
field(struct dump *m, const ProtobufCMessageDescriptor *d, struct rd *r,
    unsigned depth)
{
	const uint8_t *at = r->p, *p;
	const ProtobufCFieldDescriptor *f;
	uint64_t tag, v = 0;

	if (!varint(&tag, r) || tag >> 3 == 0 || tag > UINT32_MAX) {
		wrong(m, at, "bad tag");
		return false;
	}
	f = protobuf_c_message_descriptor_get_field(d, (unsigned)(tag >> 3));
	if (m->e == ERR_OK && f == NULL)
		m->e = buf_printf(m->out, " ?%u: ", (unsigned)(tag >> 3));
	else if (m->e == ERR_OK)
		m->e = buf_printf(m->out, " %s: ", f->name);
	at = r->p;
	switch (tag & 7) {
	case 0:
		if (!varint(&v, r)) {
			wrong(m, at, "bad number");
			return false;
		}
		if (m->e == ERR_OK)
			m->e =
			    buf_printf(m->out, "%llu", (unsigned long long)v);
		return true;
	case 1:
	case 5:
		if ((p = rd_bytes(r, (tag & 7) == 1 ? 8 : 4)) == NULL)
			break;
		put(m, "(fixed)");
		return true;
	case 2:
		if (!varint(&v, r) || v > r->left)
			break;
		p = rd_bytes(r, (size_t)v);
		spanned(m, d, f, (struct bytes){ p, (size_t)v }, depth);
		return m->e == ERR_OK;
	default:
		wrong(m, at, "unknown wire type");
		return false;
	}
	wrong(m, at, "longer than its message");
	return false;
}

static void
message(struct dump *m, const ProtobufCMessageDescriptor *d, struct bytes in,
    unsigned depth)
{
	struct rd r = { .p = in.p, .left = in.len };

	if (depth > DEPTH_MAX) {
		wrong(m, in.p, "too deep");
		return;
	}
	put(m, d->short_name);
	put(m, " {");
	while (r.left > 0 && field(m, d, &r, depth))
		if (m->out->len > PROTODUMP_MAX) {
			put(m, " ...");
			break;
		}
	put(m, " }");
}

enum err
protodump(struct buf *out, const ProtobufCMessageDescriptor *d, struct bytes in)
{
	struct dump m = { .out = out, .start = in.p };
	struct buf text = { 0 };

	m.out = &text;
	message(&m, d, in, 1);
	if (m.e != ERR_NOMEM &&
	    buf_append(out, text.p, text.len, SIZE_MAX) != ERR_OK)
		m.e = ERR_NOMEM;
	buf_fini(&text);
	return m.e;
}
