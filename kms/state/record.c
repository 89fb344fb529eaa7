/* record: reader and writer of the bytes in state.h, side by side. */
#include <string.h>

#include "common/base/rd.h"
#include "common/base/wr.h"
#include "kms/state/state.h"

#define VERSION 1
#define HEAD_LEN (4 + 32 + 8 + 32 + 8 + 2)

static bool
read_slot(struct rd *r, char out[static STATE_SLOT_MAX])
{
	uint8_t n = rd_u8(r);
	const uint8_t *p = rd_bytes(r, n);

	if (p == NULL || n == 0 || n >= STATE_SLOT_MAX)
		return false;
	for (unsigned i = 0; i < n; i++)
		if (p[i] <= 0x20 || p[i] > 0x7e)
			return false;
	memcpy(out, p, n);
	out[n] = '\0';
	return true;
}

static void
read_array(struct rd *r, uint8_t *out, size_t len)
{
	const uint8_t *p = rd_bytes(r, len);

	if (p != NULL)
		memcpy(out, p, len);
}

static bool
read_member(struct rd *r, struct member_entry *m)
{
	bool ok = read_slot(r, m->slot);

	read_array(r, m->device_id, 32);
	read_array(r, m->mr_aggregated, 32);
	return ok;
}

static bool
read_epoch(struct rd *r, struct epoch_entry *e)
{
	struct k256_pub k;
	uint8_t n;

	e->pub.number = rd_be64(r);
	read_array(r, e->pub.k256.b, sizeof e->pub.k256.b);
	read_array(r, e->pub.ca.xy, sizeof e->pub.ca.xy);
	n = rd_u8(r);
	if (n != 0 && n != 65)
		return false;
	e->has_certificate = n == 65;
	read_array(r, e->certificate.b, n);
	/* Every epoch but the first is certified by its predecessor. */
	return !r->bad && e->has_certificate == (e->pub.number != 0) &&
	    k256_pub_parse(&k, e->pub.k256.b, sizeof e->pub.k256.b) == ERR_OK &&
	    p256_pub_check(&e->pub.ca) == ERR_OK;
}

static bool
read_handover(struct rd *r, struct handover_entry *h)
{
	bool ok;

	h->epoch = rd_be64(r);
	ok = read_slot(r, h->to.slot);
	read_array(r, h->incarnation, sizeof h->incarnation);
	read_array(r, h->to.device_id, 32);
	read_array(r, h->to.mr_aggregated, 32);
	h->block_number = rd_be64(r);
	read_array(r, h->block_hash, sizeof h->block_hash);
	return ok;
}

enum err
record_parse(struct record *out, struct bytes in)
{
	struct rd r = { .p = in.p, .left = in.len };
	struct record rec = { 0 };
	const uint8_t *magic;
	uint8_t kind;
	bool ok = false;

	if (in.len > STATE_RECORD_MAX)
		return ERR_MALFORMED;
	magic = rd_bytes(&r, 2);
	if (magic == NULL || magic[0] != 'K' || magic[1] != 'R' ||
	    rd_u8(&r) != VERSION)
		return ERR_MALFORMED;
	kind = rd_u8(&r);
	read_array(&r, rec.incarnation, sizeof rec.incarnation);
	rec.seq = rd_be64(&r);
	read_array(&r, rec.previous, sizeof rec.previous);
	rec.time = rd_be64(&r);
	if (rd_be16(&r) != r.left || r.bad || rec.seq == 0)
		return ERR_MALFORMED;
	switch (kind) {
	case RECORD_EPOCH:
		ok = read_epoch(&r, &rec.u.epoch);
		break;
	case RECORD_STARTED:
		ok = read_member(&r, &rec.u.started);
		break;
	case RECORD_HANDOVER:
		ok = read_handover(&r, &rec.u.handover);
		break;
	default:
		break;
	}
	if (!ok || !rd_done(&r))
		return ERR_MALFORMED;
	rec.kind = (enum record_kind)kind;
	*out = rec;
	return ERR_OK;
}

static void
write_slot(struct wr *w, const char *slot)
{
	wr_u8(w, (uint8_t)strlen(slot));
	wr_str(w, slot);
}

static void
write_body(struct wr *w, const struct record *r)
{
	switch (r->kind) {
	case RECORD_EPOCH: {
		const struct epoch_entry *e = &r->u.epoch;

		wr_be64(w, e->pub.number);
		wr_bytes(w, e->pub.k256.b, sizeof e->pub.k256.b);
		wr_bytes(w, e->pub.ca.xy, sizeof e->pub.ca.xy);
		wr_u8(w, e->has_certificate ? 65 : 0);
		if (e->has_certificate)
			wr_bytes(w, e->certificate.b, 65);
		break;
	}
	case RECORD_STARTED:
		write_slot(w, r->u.started.slot);
		wr_bytes(w, r->u.started.device_id, 32);
		wr_bytes(w, r->u.started.mr_aggregated, 32);
		break;
	case RECORD_HANDOVER: {
		const struct handover_entry *h = &r->u.handover;

		wr_be64(w, h->epoch);
		write_slot(w, h->to.slot);
		wr_bytes(w, h->incarnation, sizeof h->incarnation);
		wr_bytes(w, h->to.device_id, 32);
		wr_bytes(w, h->to.mr_aggregated, 32);
		wr_be64(w, h->block_number);
		wr_bytes(w, h->block_hash, sizeof h->block_hash);
		break;
	}
	}
}

enum err
record_write(struct buf *out, const struct record *r)
{
	uint8_t body[STATE_RECORD_MAX - HEAD_LEN], head[HEAD_LEN];
	struct wr b = { .p = body, .cap = sizeof body };
	struct wr h = { .p = head, .cap = sizeof head };
	enum err e;

	write_body(&b, r);
	wr_str(&h, "KR");
	wr_u8(&h, VERSION);
	wr_u8(&h, (uint8_t)r->kind);
	wr_bytes(&h, r->incarnation, sizeof r->incarnation);
	wr_be64(&h, r->seq);
	wr_bytes(&h, r->previous, sizeof r->previous);
	wr_be64(&h, r->time);
	wr_be16(&h, (uint16_t)b.len);
	if (!wr_ok(&b) || !wr_ok(&h))
		return ERR_LIMIT;
	if ((e = buf_append(out, head, h.len, SIZE_MAX)) != ERR_OK)
		return e;
	return buf_append(out, body, b.len, SIZE_MAX);
}
