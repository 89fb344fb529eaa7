#include <assert.h>
#include <string.h>

#include "common/base/rd.h"
#include "common/base/wr.h"
#include "kms/cluster/core_int.h"

#define HEAD_LEN (2 + 1 + 1 + 8 + 8 + 8)
#define LABEL_MAX 40

static void
write_label(struct wr *w, enum reason r)
{
	const char *s = reason_label(r);

	wr_u8(w, (uint8_t)strlen(s));
	wr_str(w, s);
}

static void
write_body(struct wr *w, const struct corewire *m)
{
	switch (m->type) {
	case WIRE_JOIN:
		wr_bytes(w, m->nonce, sizeof m->nonce);
		wr_u8(w, m->certified ? 1 : 0);
		wr_be64(w, m->disk_generation);
		wr_be64(w, m->last);
		wr_be64(w, m->last_term);
		wr_u8(w, (uint8_t)m->n_points);
		for (unsigned i = 0; i < m->n_points; i++) {
			wr_be64(w, m->point[i].index);
			wr_bytes(w, m->point[i].hash, 32);
		}
		return;
	case WIRE_CERTIFICATE:
		wr_bytes(w, m->nonce, sizeof m->nonce);
		wr_be64(w, m->match);
		wr_be64(w, m->term);
		wr_be64(w, m->commit);
		return;
	case WIRE_REFUSED:
		wr_bytes(w, m->nonce, sizeof m->nonce);
		write_label(w, m->reason);
		return;
	case WIRE_FORWARDED:
		wr_be64(w, m->ticket);
		wr_u8(w, (uint8_t)m->kind);
		wr_u8(w, (uint8_t)m->err);
		write_label(w, m->reason);
		wr_be64(w, m->value);
		wr_be64(w, m->index);
		return;
	case WIRE_READ:
		wr_be64(w, m->ticket);
		return;
	case WIRE_READ_AT:
		wr_be64(w, m->ticket);
		wr_u8(w, m->ok ? 1 : 0);
		wr_be64(w, m->index);
		return;
	case WIRE_ROUND:
	case WIRE_ROUND_OK:
		wr_be64(w, m->number);
		wr_be64(w, m->term);
		return;
	case WIRE_EVICTED:
		wr_be64(w, m->index);
		return;
	case WIRE_FORWARD:
		wr_be64(w, m->ticket);
		return;
	case WIRE_RAFT:
	case WIRE_LEAVE:
		return;
	}
}

enum err
corewire_write(struct buf *out, const struct corewire *m)
{
	uint8_t b[HEAD_LEN + 64 + CORE_CHECKPOINTS * 40 + LABEL_MAX];
	struct wr w = { .p = b, .cap = sizeof b };
	enum err e;

	wr_str(&w, "KP");
	wr_u8(&w, 1);
	wr_u8(&w, (uint8_t)m->type);
	wr_be64(&w, m->cluster);
	wr_be64(&w, m->generation);
	wr_be64(&w, m->to);
	write_body(&w, m);
	assert(wr_ok(&w));
	if ((e = buf_append(out, b, w.len, SIZE_MAX)) != ERR_OK)
		return e;
	return buf_append(out, m->body.p, m->body.len, SIZE_MAX);
}

static void
read_nonce(struct rd *r, struct corewire *m)
{
	const uint8_t *p = rd_bytes(r, sizeof m->nonce);

	if (p != NULL)
		memcpy(m->nonce, p, sizeof m->nonce);
}

static bool
read_bool(struct rd *r)
{
	uint8_t v = rd_u8(r);

	if (v > 1)
		r->bad = true;
	return v == 1;
}

static enum reason
read_label(struct rd *r)
{
	uint8_t n = rd_u8(r);
	const uint8_t *p = rd_bytes(r, n);
	char s[LABEL_MAX];

	if (p == NULL || n >= sizeof s || memchr(p, 0, n) != NULL) {
		r->bad = true;
		return REASON_INTERNAL;
	}
	memcpy(s, p, n);
	s[n] = '\0';
	return reason_from_label(s);
}

static void
read_join(struct rd *r, struct corewire *m)
{
	read_nonce(r, m);
	m->certified = read_bool(r);
	m->disk_generation = rd_be64(r);
	m->last = rd_be64(r);
	m->last_term = rd_be64(r);
	m->n_points = rd_u8(r);
	if (m->n_points > CORE_CHECKPOINTS) {
		r->bad = true;
		return;
	}
	for (unsigned i = 0; i < m->n_points; i++) {
		const uint8_t *p;

		m->point[i].index = rd_be64(r);
		if ((p = rd_bytes(r, 32)) != NULL)
			memcpy(m->point[i].hash, p, 32);
	}
}

static void
read_forwarded(struct rd *r, struct corewire *m)
{
	uint8_t kind, e;

	m->ticket = rd_be64(r);
	kind = rd_u8(r);
	e = rd_u8(r);
	m->reason = read_label(r);
	m->value = rd_be64(r);
	m->index = rd_be64(r);
	if (kind > CORE_UNKNOWN || e > ERR_NOMEM)
		r->bad = true;
	m->kind = kind;
	m->err = e;
}

static void
read_body(struct rd *r, struct corewire *m)
{
	switch (m->type) {
	case WIRE_JOIN:
		read_join(r, m);
		return;
	case WIRE_CERTIFICATE:
		read_nonce(r, m);
		m->match = rd_be64(r);
		m->term = rd_be64(r);
		m->commit = rd_be64(r);
		return;
	case WIRE_REFUSED:
		read_nonce(r, m);
		m->reason = read_label(r);
		return;
	case WIRE_FORWARDED:
		read_forwarded(r, m);
		return;
	case WIRE_READ:
		m->ticket = rd_be64(r);
		return;
	case WIRE_READ_AT:
		m->ticket = rd_be64(r);
		m->ok = read_bool(r);
		m->index = rd_be64(r);
		return;
	case WIRE_ROUND:
	case WIRE_ROUND_OK:
		m->number = rd_be64(r);
		m->term = rd_be64(r);
		return;
	case WIRE_EVICTED:
		m->index = rd_be64(r);
		return;
	case WIRE_FORWARD:
		m->ticket = rd_be64(r);
		m->body.len = r->left;
		m->body.p = rd_bytes(r, r->left);
		return;
	case WIRE_RAFT:
		m->body.len = r->left;
		m->body.p = rd_bytes(r, r->left);
		return;
	case WIRE_LEAVE:
		return;
	}
	r->bad = true;
}

enum err
corewire_read(struct corewire *out, struct bytes in)
{
	struct rd r = { .p = in.p, .left = in.len };
	struct corewire m = { 0 };
	const uint8_t *magic = rd_bytes(&r, 2);
	uint8_t version = rd_u8(&r), type = rd_u8(&r);

	m.cluster = rd_be64(&r);
	m.generation = rd_be64(&r);
	m.to = rd_be64(&r);
	if (magic == NULL || memcmp(magic, "KP", 2) != 0 || version != 1 ||
	    type < WIRE_RAFT || type > WIRE_LEAVE)
		return ERR_MALFORMED;
	m.type = type;
	read_body(&r, &m);
	if (!rd_done(&r))
		return ERR_MALFORMED;
	*out = m;
	return ERR_OK;
}
