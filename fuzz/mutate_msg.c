/* mutate: messages as they are on the wire: a list of records (tag, value),
 * nested where the descriptor says that a value is a message.  So a mutation
 * can do what no honest writer does, too: a field twice, an unknown one,
 * another wire type, a number longer than it need be. */
#include <stdlib.h>
#include <string.h>

#include "fuzz/mutate_int.h"

#define DEPTH_MAX 6u

enum wire { VARINT = 0, FIXED64 = 1, LENGTH = 2, FIXED32 = 5 };

static void
put_varint(struct mutate_out *o, uint64_t v)
{
	while (v >= 0x80) {
		mutate_put_u8(o, (uint8_t)(v | 0x80));
		v >>= 7;
	}
	mutate_put_u8(o, (uint8_t)v);
}

/* In `n` bytes, which may be more than it needs. */
static void
put_long_varint(struct mutate_out *o, uint64_t v, unsigned n)
{
	for (unsigned i = 1; i < n; i++, v >>= 7)
		mutate_put_u8(o, (uint8_t)(v | 0x80));
	mutate_put_u8(o, (uint8_t)(v & 0x7f));
}

static bool
get_varint(uint64_t *out, struct mutate_span *in)
{
	uint64_t v = 0;

	for (unsigned shift = 0; shift < 70 && in->len > 0; shift += 7) {
		uint8_t b = *in->p;

		in->p++;
		in->len--;
		v |= (uint64_t)(b & 0x7f) << shift;
		if ((b & 0x80) == 0) {
			*out = v;
			return true;
		}
	}
	return false;
}

/* One field as it is on the wire. */
struct record {
	struct mutate_span all, value; /* value: without tag and length */
	uint64_t tag;
};

static bool
get_record(struct record *out, struct mutate_span *in)
{
	const uint8_t *start = in->p;
	uint64_t n = 0;

	if (!get_varint(&out->tag, in))
		return false;
	switch (out->tag & 7) {
	case VARINT:
		out->value.p = in->p;
		if (!get_varint(&n, in))
			return false;
		out->value.len = (size_t)(in->p - out->value.p);
		break;
	case LENGTH:
		if (!get_varint(&n, in) || n > in->len)
			return false;
		break;
	case FIXED64:
	case FIXED32:
		n = (out->tag & 7) == FIXED64 ? 8 : 4;
		if (n > in->len)
			return false;
		break;
	default:
		return false;
	}
	if ((out->tag & 7) != VARINT) {
		out->value = (struct mutate_span){ in->p, (size_t)n };
		in->p += n;
		in->len -= (size_t)n;
	}
	out->all = (struct mutate_span){ start, (size_t)(in->p - start) };
	return true;
}

/* The caller frees `*out`. */
static size_t
records_of(struct record **out, struct mutate_span in)
{
	struct mutate_span rest = in;
	struct record one;
	size_t n = 0, i = 0;

	while (n < MUTATE_PARTS_MAX && rest.len > 0 && get_record(&one, &rest))
		n++;
	if ((*out = malloc((n + 1) * sizeof one)) == NULL)
		return 0;
	while (i < n && get_record(&(*out)[i], &in))
		i++;
	return i;
}

static const ProtobufCFieldDescriptor *
field_of(const ProtobufCMessageDescriptor *d, uint64_t tag)
{
	return tag >> 3 > UINT32_MAX
	    ? NULL
	    : protobuf_c_message_descriptor_get_field(d, (unsigned)(tag >> 3));
}

/* The message that a record's value is; NULL: none. */
static const ProtobufCMessageDescriptor *
inner(const ProtobufCMessageDescriptor *d, const struct record *rec)
{
	const ProtobufCFieldDescriptor *f = field_of(d, rec->tag);

	return f != NULL && f->type == PROTOBUF_C_TYPE_MESSAGE &&
		(rec->tag & 7) == LENGTH
	    ? f->descriptor
	    : NULL;
}

static void put_new_message(struct mutate_out *o, struct mutate_random *r,
    const ProtobufCMessageDescriptor *d, unsigned depth);

/* Behind its length, which is known once it is written. */
static void
put_behind_length(struct mutate_out *o, const struct mutate_out *body)
{
	o->bad = o->bad || body->bad;
	put_varint(o, body->len);
	mutate_put(o, body->p, body->len);
}

static void
put_new_text(struct mutate_out *o, struct mutate_random *r, bool printable)
{
	size_t n = mutate_length(r, 600);

	put_varint(o, n);
	for (size_t i = 0; i < n; i++)
		mutate_put_u8(o,
		    printable ? (uint8_t)('a' + mutate_below(r, 26))
			      : (uint8_t)mutate_any(r));
}

static void
put_new_field(struct mutate_out *o, struct mutate_random *r,
    const ProtobufCFieldDescriptor *f, unsigned depth)
{
	struct mutate_out body;

	switch ((int)f->type) {
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_BYTES:
		put_varint(o, (uint64_t)f->id << 3 | LENGTH);
		put_new_text(o, r, f->type == PROTOBUF_C_TYPE_STRING);
		break;
	case PROTOBUF_C_TYPE_MESSAGE:
		put_varint(o, (uint64_t)f->id << 3 | LENGTH);
		body = mutate_room(o);
		if (body.p != NULL)
			put_new_message(&body, r, f->descriptor, depth + 1);
		put_behind_length(o, &body);
		free(body.p);
		break;
	default:
		put_varint(o, (uint64_t)f->id << 3 | VARINT);
		put_varint(o,
		    f->type == PROTOBUF_C_TYPE_BOOL ? mutate_below(r, 2)
						    : mutate_number(r));
		break;
	}
}

/* All fields of a message, or some: what has fixed sizes is rarely whole. */
static void
put_new_message(struct mutate_out *o, struct mutate_random *r,
    const ProtobufCMessageDescriptor *d, unsigned depth)
{
	bool all = mutate_one_in(r, 2);

	for (unsigned i = 0; i < d->n_fields && depth < DEPTH_MAX; i++) {
		const ProtobufCFieldDescriptor *f = &d->fields[i];

		/* One of a oneof is enough. */
		if ((f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0
			? mutate_one_in(r, d->n_fields / 2 + 1)
			: all || mutate_one_in(r, 3))
			put_new_field(o, r, f, depth);
	}
}

/* Something that the descriptor does not know. */
static void
put_stranger(struct mutate_out *o, struct mutate_random *r)
{
	static const uint8_t wires[] = { VARINT, FIXED64, LENGTH, 3, 4, FIXED32,
		6, 7 };
	uint8_t wire = wires[mutate_below(r, sizeof wires)];
	uint64_t id =
	    mutate_one_in(r, 2) ? mutate_below(r, 24) : mutate_number(r);

	if (mutate_one_in(r, 8))
		put_long_varint(o, id << 3 | wire, 2);
	else
		put_varint(o, id << 3 | wire);
	if (wire == VARINT) {
		put_varint(o, mutate_number(r));
	} else if (wire == LENGTH) {
		put_varint(o, 3);
		mutate_put(o, "abc", 3);
	} else {
		for (unsigned i = 0; i < (wire == FIXED64 ? 8 : 4); i++)
			mutate_put_u8(o, (uint8_t)mutate_any(r));
	}
}

static void
put_something(struct mutate_out *o, struct mutate_random *r,
    const ProtobufCMessageDescriptor *d, unsigned depth)
{
	if (d->n_fields == 0 || mutate_one_in(r, 12))
		put_stranger(o, r);
	else
		put_new_field(
		    o, r, &d->fields[mutate_below(r, d->n_fields)], depth);
}

/* A record with another value. */
static void
put_record(struct mutate_out *o, struct mutate_random *r,
    const ProtobufCMessageDescriptor *d, const struct record *rec,
    unsigned depth)
{
	const ProtobufCMessageDescriptor *in = inner(d, rec);
	struct mutate_out body = { 0 };

	put_varint(o, rec->tag);
	switch (rec->tag & 7) {
	case VARINT:
		if (mutate_one_in(r, 8))
			put_long_varint(o, mutate_number(r), 10);
		else
			put_varint(o, mutate_number(r));
		break;
	case LENGTH:
		if (mutate_one_in(r, 24)) { /* a length that is a lie */
			put_varint(o, mutate_number(r));
			mutate_put(o, rec->value.p, rec->value.len);
			break;
		}
		if ((body = mutate_room(o)).p == NULL)
			break;
		if (in != NULL && depth < DEPTH_MAX)
			mutate_put_message(&body, r, in, rec->value, depth + 1);
		else
			mutate_put_changed(&body, r, rec->value);
		put_behind_length(o, &body);
		free(body.p);
		break;
	default:
		for (size_t i = 0; i < rec->value.len; i++)
			mutate_put_u8(o, (uint8_t)mutate_any(r));
		break;
	}
}

void
mutate_put_message(struct mutate_out *o, struct mutate_random *r,
    const ProtobufCMessageDescriptor *d, struct mutate_span in, unsigned depth)
{
	struct record *rec;
	size_t n = records_of(&rec, in);
	size_t at = mutate_below(r, n), other = mutate_below(r, n);
	enum mutate_change what = n > 0 ? mutate_change(r) : MUTATE_INSERT;

	if (n == 0 && mutate_one_in(r, 2))
		put_new_message(o, r, d, depth);
	else if (n == 0)
		put_something(o, r, d, depth);
	for (size_t i = 0; i < n; i++) {
		if (what == MUTATE_SWAP && (i == at || i == other)) {
			mutate_put(o, rec[at ^ other ^ i].all.p,
			    rec[at ^ other ^ i].all.len);
			continue;
		}
		if (what == MUTATE_INSERT && i == at)
			put_something(o, r, d, depth);
		if (what == MUTATE_DROP && i == at)
			continue;
		if (what == MUTATE_VALUE && i == at)
			put_record(o, r, d, &rec[i], depth);
		else
			mutate_put(o, rec[i].all.p, rec[i].all.len);
		if (what == MUTATE_TWICE && i == at)
			mutate_put(o, rec[other].all.p, rec[other].all.len);
	}
	free(rec);
}

/* Some records of both, in an order that keeps each one's own. */
void
mutate_put_crossed(struct mutate_out *o, struct mutate_random *r,
    const ProtobufCMessageDescriptor *d, struct mutate_span a,
    struct mutate_span b)
{
	struct record *rec, *more;
	size_t n = records_of(&rec, a), m = records_of(&more, b);
	size_t deep = mutate_below(r, n);

	for (size_t i = 0; i < n; i++) {
		const ProtobufCMessageDescriptor *in = inner(d, &rec[i]);
		struct mutate_out body;
		size_t j = 0;

		while (j < m && more[j].tag != rec[i].tag)
			j++;
		if (j < m && in != NULL && i == deep &&
		    (body = mutate_room(o)).p != NULL) {
			mutate_put_crossed(
			    &body, r, in, rec[i].value, more[j].value);
			put_varint(o, rec[i].tag);
			put_behind_length(o, &body);
			free(body.p);
		} else if (j < m && mutate_one_in(r, 2)) {
			mutate_put(o, more[j].all.p, more[j].all.len);
		} else if (!mutate_one_in(r, 8)) {
			mutate_put(o, rec[i].all.p, rec[i].all.len);
		}
	}
	for (size_t j = 0; j < m; j++)
		if (mutate_one_in(r, 4))
			mutate_put(o, more[j].all.p, more[j].all.len);
	free(rec);
	free(more);
}
