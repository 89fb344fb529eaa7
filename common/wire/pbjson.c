/* Reading: one pass over the wire, which makes members as they come.
 * Writing: one pass for the length, and one for the bytes, by the same
 * code, so that a secret's buffer never grows. */
#include <assert.h>
#include <string.h>

#include "common/base/hex.h"
#include "common/base/memfail.h"
#include "common/base/planted.h"
#include "common/base/secret.h"
#include "common/wire/pbjson.h"

/* Protobuf's wire types. */
enum wire { VARINT = 0, FIXED64 = 1, LENGTH = 2, FIXED32 = 5 };

static enum wire
wire_of(const ProtobufCFieldDescriptor *f)
{
	switch ((int)f->type) {
	case PROTOBUF_C_TYPE_BOOL:
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_UINT64:
		return VARINT;
	default: /* those that no message here has end in an assertion */
		return LENGTH;
	}
}

/* ---- reading ---- */

struct reader {
	size_t values; /* so far, in the whole message */
};

static enum err
get_varint(uint64_t *out, struct bytes *in)
{
	uint64_t v = 0;

	for (unsigned shift = 0;; shift += 7) {
		uint8_t b;

		if (in->len == 0)
			return ERR_MALFORMED;
		b = *in->p++;
		in->len--;
		/* The tenth byte has one bit left, and is the last. */
		if (shift == 63 && b > 1)
			return ERR_MALFORMED;
		v |= (uint64_t)(b & 0x7f) << shift;
		if ((b & 0x80) == 0) {
			*out = v;
			return ERR_OK;
		}
	}
}

static enum err
get_span(struct bytes *out, struct bytes *in, uint64_t len)
{
	if (len > in->len && !PLANTED(1))
		return ERR_MALFORMED;
	*out = (struct bytes){ in->p, (size_t)len };
	in->p += len;
	in->len -= (size_t)len;
	return ERR_OK;
}

/* One field's tag and what it has; `*number` or `*span`. */
static enum err
get_field(uint32_t *id, enum wire *wire, uint64_t *number, struct bytes *span,
    struct bytes *in)
{
	uint64_t tag, len;
	enum err e;

	if ((e = get_varint(&tag, in)) != ERR_OK)
		return e;
	/* Numbers are 1 to 2^29 - 1. */
	if (tag >> 3 == 0 || tag > UINT32_MAX)
		return ERR_MALFORMED;
	*id = (uint32_t)(tag >> 3);
	switch (tag & 7) {
	case VARINT:
		*wire = VARINT;
		return get_varint(number, in);
	case FIXED64:
		*wire = FIXED64;
		return get_span(span, in, 8);
	case FIXED32:
		*wire = FIXED32;
		return get_span(span, in, 4);
	case LENGTH:
		*wire = LENGTH;
		if ((e = get_varint(&len, in)) != ERR_OK)
			return e;
		return get_span(span, in, len);
	default:
		return ERR_MALFORMED; /* groups are long gone */
	}
}

static enum err
read_bytes(json_t **out, struct bytes in)
{
	struct buf hex = { 0 };
	enum err e = buf_reserve(&hex, 2 * in.len + 1);

	if (e != ERR_OK)
		return e;
	hex_encode((char *)hex.p, in.p, in.len);
	hex.len = 2 * in.len;
	*out = json_stringn_nocheck((const char *)hex.p, hex.len);
	buf_wipe(&hex);
	return *out != NULL ? ERR_OK : ERR_NOMEM;
}

static enum err read_message(struct reader *r, json_t *obj,
    const ProtobufCMessageDescriptor *d, struct bytes in, unsigned depth);

static enum err
read_value(struct reader *r, json_t **out, const ProtobufCFieldDescriptor *f,
    uint64_t number, struct bytes span, unsigned depth)
{
	enum err e;

	switch ((int)f->type) {
	case PROTOBUF_C_TYPE_BOOL:
		*out = json_boolean(number != 0);
		return ERR_OK;
	case PROTOBUF_C_TYPE_UINT32:
		number &= UINT32_MAX; /* as protobuf says */
		[[fallthrough]];
	case PROTOBUF_C_TYPE_UINT64:
		if (number > INT64_MAX)
			return ERR_MALFORMED;
		*out = json_integer((json_int_t)number);
		return *out != NULL ? ERR_OK : ERR_NOMEM;
	case PROTOBUF_C_TYPE_STRING:
		/* NULL as well if it is not UTF-8: see pbjson_read. */
		*out = json_stringn(
		    span.len > 0 ? (const char *)span.p : "", span.len);
		return *out != NULL ? ERR_OK : ERR_MALFORMED;
	case PROTOBUF_C_TYPE_BYTES:
		return read_bytes(out, span);
	default:
		assert(f->type == PROTOBUF_C_TYPE_MESSAGE);
		if ((*out = json_object()) == NULL)
			return ERR_NOMEM;
		e = read_message(r, *out, f->descriptor, span, depth + 1);
		if (e != ERR_OK)
			json_wipe(*out);
		return e;
	}
}

/* Takes the value. */
static enum err
put_value(json_t *obj, const ProtobufCFieldDescriptor *f, json_t *v)
{
	json_t *old = json_object_get(obj, f->name);
	enum err e = ERR_OK;

	if (f->label != PROTOBUF_C_LABEL_REPEATED) {
		/* The last one counts. */
		json_incref(old); /* it may be NULL */
		e = json_set_new(obj, f->name, v);
		json_wipe(old);
		return e;
	}
	if (old == NULL) {
		if ((e = json_set_new(obj, f->name, json_array())) != ERR_OK) {
			json_wipe(v);
			return e;
		}
		old = json_object_get(obj, f->name);
	}
	return json_array_append_new(old, v) == 0 ? ERR_OK : ERR_NOMEM;
}

static enum err
read_one(struct reader *r, json_t *obj, const ProtobufCFieldDescriptor *f,
    uint64_t number, struct bytes span, unsigned depth)
{
	json_t *v = json_object_get(obj, f->name);
	enum err e;

	if (++r->values > PBJSON_VALUES_MAX)
		return ERR_LIMIT;
	/* A message may come in parts, and so its lists. */
	if (v != NULL && f->type == PROTOBUF_C_TYPE_MESSAGE &&
	    f->label != PROTOBUF_C_LABEL_REPEATED)
		return read_message(r, v, f->descriptor, span, depth + 1);
	e = read_value(r, &v, f, number, span, depth);
	return e == ERR_OK ? put_value(obj, f, v) : e;
}

/* Repeated numbers may come in one span. */
static enum err
read_packed(struct reader *r, json_t *obj, const ProtobufCFieldDescriptor *f,
    struct bytes span, unsigned depth)
{
	struct bytes none = { 0 };
	uint64_t number;
	enum err e = ERR_OK;

	while (e == ERR_OK && span.len > 0)
		if ((e = get_varint(&number, &span)) == ERR_OK)
			e = read_one(r, obj, f, number, none, depth);
	return e;
}

static enum err
read_message(struct reader *r, json_t *obj, const ProtobufCMessageDescriptor *d,
    struct bytes in, unsigned depth)
{
	enum err e = ERR_OK;

	if (depth > PBJSON_DEPTH_MAX)
		return ERR_LIMIT;
	while (e == ERR_OK && in.len > 0) {
		const ProtobufCFieldDescriptor *f;
		struct bytes span = { 0 };
		uint64_t number = 0;
		enum wire wire;
		uint32_t id;

		if ((e = get_field(&id, &wire, &number, &span, &in)) != ERR_OK)
			break;
		f = protobuf_c_message_descriptor_get_field(d, id);
		if (f == NULL)
			continue;
		if (wire == wire_of(f))
			e = read_one(r, obj, f, number, span, depth);
		else if (wire == LENGTH &&
		    f->label == PROTOBUF_C_LABEL_REPEATED)
			e = read_packed(r, obj, f, span, depth);
		else
			e = ERR_MALFORMED;
	}
	return e;
}

enum err
pbjson_read(json_t **out, const ProtobufCMessageDescriptor *d, struct bytes in)
{
	struct reader r = { .values = 0 };
	uint64_t before = memfail_count();
	json_t *obj = json_object();
	enum err e;

	if (obj == NULL)
		return ERR_NOMEM;
	e = read_message(&r, obj, d, in, 1);
	if (e == ERR_OK)
		*out = obj;
	else
		json_wipe(obj);
	/* Text that jansson does not take is not UTF-8, or there was no room
	 * for it. */
	return memfail_err(before, e);
}

/* ---- writing ---- */

/* Counts alone while `p` is NULL. */
struct writer {
	uint8_t *p; /* borrows */
	size_t len;
};

static void
put(struct writer *w, const void *p, size_t len)
{
	if (w->p != NULL && len > 0)
		memcpy(w->p + w->len, p, len);
	w->len += len;
}

static void
put_varint(struct writer *w, uint64_t v)
{
	uint8_t b[10];
	size_t n = 0;

	for (; v > 0x7f; v >>= 7)
		b[n++] = (uint8_t)(v | 0x80);
	b[n++] = (uint8_t)v;
	put(w, b, n);
}

static void
put_tag(struct writer *w, const ProtobufCFieldDescriptor *f)
{
	put_varint(w, (uint64_t)f->id << 3 | wire_of(f));
}

static enum err
write_hex(struct writer *w, const char *hex)
{
	size_t n = strlen(hex), got;

	if (n % 2 != 0)
		return ERR_MALFORMED;
	put_varint(w, n / 2);
	if (w->p != NULL &&
	    hex_decode(w->p + w->len, n / 2, &got, hex, n) != ERR_OK)
		return ERR_MALFORMED;
	w->len += n / 2;
	return ERR_OK;
}

static enum err write_message(struct writer *w,
    const ProtobufCMessageDescriptor *d, const json_t *v, unsigned depth);

/* The message, with its length before it. */
static enum err
write_inner(struct writer *w, const ProtobufCMessageDescriptor *d,
    const json_t *v, unsigned depth)
{
	struct writer count = { .p = NULL };
	enum err e = write_message(&count, d, v, depth + 1);

	if (e != ERR_OK)
		return e;
	put_varint(w, count.len);
	if (w->p != NULL)
		return write_message(w, d, v, depth + 1);
	w->len += count.len;
	return ERR_OK;
}

/* Whether the value is what a reader takes an absent field for. */
static bool
is_default(const json_t *v)
{
	return json_is_false(v) ||
	    (json_is_integer(v) && json_integer_value(v) == 0) ||
	    (json_is_string(v) && json_string_length(v) == 0);
}

static enum err
write_value(struct writer *w, const ProtobufCFieldDescriptor *f,
    const json_t *v, unsigned depth)
{
	size_t n;

	put_tag(w, f);
	switch ((int)f->type) {
	case PROTOBUF_C_TYPE_BOOL:
		if (!json_is_boolean(v))
			return ERR_MALFORMED;
		put_varint(w, json_is_true(v));
		return ERR_OK;
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_UINT64:
		if (!json_is_integer(v) || json_integer_value(v) < 0 ||
		    (f->type == PROTOBUF_C_TYPE_UINT32 &&
			json_integer_value(v) > UINT32_MAX))
			return ERR_MALFORMED;
		put_varint(w, (uint64_t)json_integer_value(v));
		return ERR_OK;
	case PROTOBUF_C_TYPE_STRING:
		if (!json_is_string(v))
			return ERR_MALFORMED;
		n = json_string_length(v);
		put_varint(w, n);
		put(w, json_string_value(v), n);
		return ERR_OK;
	case PROTOBUF_C_TYPE_BYTES:
		/* A NUL within would end the text early. */
		if (!json_is_string(v) ||
		    strlen(json_string_value(v)) != json_string_length(v))
			return ERR_MALFORMED;
		return write_hex(w, hex_skip_0x(json_string_value(v)));
	default:
		assert(f->type == PROTOBUF_C_TYPE_MESSAGE);
		return write_inner(w, f->descriptor, v, depth);
	}
}

static enum err
write_field(struct writer *w, const ProtobufCFieldDescriptor *f,
    const json_t *v, unsigned depth)
{
	enum err e = ERR_OK;
	const json_t *x;
	size_t i;

	if (v == NULL || json_is_null(v))
		return ERR_OK;
	if (f->label != PROTOBUF_C_LABEL_REPEATED) {
		if (is_default(v) &&
		    (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) == 0) {
			/* Left out; but a wrong type is still wrong. */
			struct writer none = { .p = NULL };

			return write_value(&none, f, v, depth);
		}
		return write_value(w, f, v, depth);
	}
	if (!json_is_array(v))
		return ERR_MALFORMED;
	for (i = 0; e == ERR_OK && (x = json_array_get(v, i)) != NULL; i++)
		e = write_value(w, f, x, depth);
	return e;
}

static enum err
write_message(struct writer *w, const ProtobufCMessageDescriptor *d,
    const json_t *v, unsigned depth)
{
	enum err e = ERR_OK;

	if (depth > PBJSON_DEPTH_MAX)
		return ERR_LIMIT;
	if (!json_is_object(v) && !json_is_null(v))
		return ERR_MALFORMED;
	for (unsigned i = 0; e == ERR_OK && i < d->n_fields; i++)
		e = write_field(w, &d->fields[i],
		    json_object_get(v, d->fields[i].name), depth);
	return e;
}

enum err
pbjson_write(
    struct buf *out, const ProtobufCMessageDescriptor *d, const json_t *v)
{
	struct writer w = { .p = NULL };
	size_t len;
	enum err e = write_message(&w, d, v, 1);

	if (e != ERR_OK)
		return e;
	len = w.len;
	if ((e = buf_reserve(out, out->len + len + 1)) != ERR_OK)
		return e;
	w = (struct writer){ .p = out->p + out->len };
	if ((e = write_message(&w, d, v, 1)) != ERR_OK) {
		secret_wipe(out->p + out->len, len);
		return e;
	}
	assert(w.len == len);
	out->len += len;
	out->p[out->len] = 0;
	return ERR_OK;
}
