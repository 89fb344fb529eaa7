#include <string.h>

#include "common/attest/collateral.h"
#include "common/base/hex.h"
#include "common/base/json.h"
#include "common/base/limits.h"
#include "common/crypto/hash.h"

enum kind { TEXT, HEX, SIGNATURE };

/* Every member of the bundle; reader and writer share the table. */
static const struct member {
	const char *name;
	enum kind kind;
	bool optional;
	size_t offset;
} members[] = {
#define AT(field) offsetof(struct collateral, field)
	{ "tcb_info", TEXT, false, AT(tcb_info) },
	{ "tcb_info_signature", SIGNATURE, false, AT(tcb_info_signature) },
	{ "tcb_info_issuer_chain", TEXT, false, AT(tcb_info_chain) },
	{ "qe_identity", TEXT, false, AT(qe_identity) },
	{ "qe_identity_signature", SIGNATURE, false,
	    AT(qe_identity_signature) },
	{ "qe_identity_issuer_chain", TEXT, false, AT(qe_identity_chain) },
	{ "root_ca_crl", HEX, false, AT(root_ca_crl) },
	{ "pck_crl", HEX, false, AT(pck_crl) },
	{ "pck_crl_issuer_chain", TEXT, true, AT(pck_crl_chain) },
	{ "pck_certificate_chain", TEXT, true, AT(pck_chain) },
#undef AT
};
#define N_MEMBERS (sizeof members / sizeof members[0])

/* The field of `c` that a row of the table names. */
static void *
field(struct collateral *c, const struct member *m)
{
	return (uint8_t *)c + m->offset;
}

static const void *
field_const(const struct collateral *c, const struct member *m)
{
	return (const uint8_t *)c + m->offset;
}

/* 64 bytes r || s in exactly 128 digits. */
static enum err
signature_read(uint8_t out[static 64], const char *text, size_t len)
{
	size_t got;

	return len == 128 ? hex_decode(out, 64, &got, text, len)
			  : ERR_MALFORMED;
}

static enum err
member_read(struct collateral *c, const json_t *doc, const struct member *m)
{
	const char *text;
	enum err e = json_get_str(&text, doc, m->name);

	if (e == ERR_NOTFOUND && m->optional)
		return ERR_OK;
	if (e != ERR_OK)
		return e;
	switch (m->kind) {
	case TEXT:
		return buf_set(field(c, m), text, strlen(text));
	case HEX:
		return json_get_hex_buf(
		    field(c, m), LIMIT_COLLATERAL, doc, m->name);
	case SIGNATURE:
		return signature_read(field(c, m), text, strlen(text));
	}
	return ERR_MALFORMED;
}

enum err
collateral_from_json(
    struct collateral *out, const void *text, size_t len, struct refusal *why)
{
	struct collateral c = { 0 };
	json_t *doc = NULL;
	char detail[120];
	enum err e;

	e = json_parse(
	    &doc, text, len, LIMIT_COLLATERAL, detail, sizeof detail);
	if (e != ERR_OK) {
		e = refuse(why, REASON_COLLATERAL_INVALID, "JSON: %s", detail);
		goto done;
	}
	for (size_t i = 0; i < N_MEMBERS; i++) {
		e = member_read(&c, doc, &members[i]);
		if (e == ERR_NOMEM)
			goto done;
		if (e != ERR_OK) {
			e = refuse(why, REASON_COLLATERAL_INVALID,
			    "JSON: bundle member %s", members[i].name);
			goto done;
		}
	}
	*out = c;
	memset(&c, 0, sizeof c); /* transferred */
done:
	json_decref(doc);
	collateral_fini(&c);
	return e;
}

enum err
collateral_to_json(struct buf *out, const struct collateral *c)
{
	json_t *doc = json_object();
	enum err e = doc != NULL ? ERR_OK : ERR_NOMEM;

	for (size_t i = 0; i < N_MEMBERS && e == ERR_OK; i++) {
		const struct member *m = &members[i];
		const struct buf *b = field_const(c, m);

		if (m->kind == SIGNATURE)
			e = json_set_hex(doc, m->name, field_const(c, m), 64);
		else if (m->optional && b->len == 0)
			continue;
		else if (m->kind == HEX)
			e = json_set_hex(doc, m->name, b->p, b->len);
		else
			e = json_set_new(doc, m->name,
			    json_stringn((const char *)b->p, b->len));
	}
	if (e == ERR_OK)
		e = json_write(out, doc);
	json_decref(doc);
	return e;
}

/* A scanner over the reply's own bytes: parsing and writing them again
 * would not give the bytes that were signed. */
struct scan {
	const char *p;
	size_t left;
};

static void
skip_space(struct scan *s)
{
	while (s->left > 0 && memchr(" \t\r\n", *s->p, 4) != NULL) {
		s->p++;
		s->left--;
	}
}

static bool
eat(struct scan *s, char c)
{
	skip_space(s);
	if (s->left == 0 || *s->p != c)
		return false;
	s->p++;
	s->left--;
	return true;
}

/* A string without escapes, between its quotes. */
static bool
plain_string(struct scan *s, struct bytes *out)
{
	const char *start, *end;

	if (!eat(s, '"'))
		return false;
	start = s->p;
	end = memchr(start, '"', s->left);
	if (end == NULL || memchr(start, '\\', (size_t)(end - start)) != NULL)
		return false;
	*out = (struct bytes){ (const uint8_t *)start, (size_t)(end - start) };
	s->left -= (size_t)(end - start) + 1;
	s->p = end + 1;
	return true;
}

/* From one '{' to its '}', both included; braces in strings do not count. */
static bool
whole_object(struct scan *s, struct bytes *out)
{
	const char *start;
	size_t depth = 0;
	bool quoted = false;

	skip_space(s);
	start = s->p;
	if (s->left == 0 || *start != '{')
		return false;
	while (s->left > 0) {
		char c = *s->p;

		s->p++;
		s->left--;
		if (quoted && c == '\\' && s->left > 0) {
			s->p++;
			s->left--;
		} else if (c == '"') {
			quoted = !quoted;
		} else if (!quoted && c == '{') {
			depth++;
		} else if (!quoted && c == '}' && --depth == 0) {
			*out = (struct bytes){ (const uint8_t *)start,
				(size_t)(s->p - start) };
			return true;
		}
	}
	return false;
}

static bool
is_text(struct bytes b, const char *text)
{
	return b.len == strlen(text) && memcmp(b.p, text, b.len) == 0;
}

enum err
collateral_split(struct buf *inner, uint8_t signature[static 64],
    struct bytes reply, const char *name)
{
	struct scan s = { (const char *)reply.p, reply.len };
	struct bytes key, object = { 0 }, hex = { 0 };
	uint8_t sig[64];
	enum err e;

	if (reply.len > LIMIT_COLLATERAL || !eat(&s, '{'))
		return ERR_MALFORMED;
	/* The two members, once each, in either order, and no other. */
	for (int i = 0; i < 2; i++) {
		if ((i > 0 && !eat(&s, ',')) || !plain_string(&s, &key) ||
		    !eat(&s, ':'))
			return ERR_MALFORMED;
		if (is_text(key, name) && object.p == NULL) {
			if (!whole_object(&s, &object))
				return ERR_MALFORMED;
		} else if (is_text(key, "signature") && hex.p == NULL) {
			if (!plain_string(&s, &hex))
				return ERR_MALFORMED;
		} else {
			return ERR_MALFORMED;
		}
	}
	if (!eat(&s, '}'))
		return ERR_MALFORMED;
	skip_space(&s);
	if (s.left > 0)
		return ERR_MALFORMED;
	e = signature_read(sig, (const char *)hex.p, hex.len);
	if (e == ERR_OK)
		e = buf_set(inner, object.p, object.len);
	if (e == ERR_OK)
		memcpy(signature, sig, sizeof sig);
	return e;
}

void
collateral_id(uint8_t id[static 32], const struct collateral *c)
{
	uint64_t len[N_MEMBERS];
	struct bytes part[2 * N_MEMBERS];

	if (c->sealed) {
		memcpy(id, c->id, 32);
		return;
	}
	for (size_t i = 0; i < N_MEMBERS; i++) {
		const struct buf *b = field_const(c, &members[i]);
		bool fixed = members[i].kind == SIGNATURE;

		part[2 * i + 1] = fixed
		    ? (struct bytes){ field_const(c, &members[i]), 64 }
		    : buf_view(b);
		len[i] = part[2 * i + 1].len;
		part[2 * i] =
		    (struct bytes){ (const uint8_t *)&len[i], sizeof len[i] };
	}
	sha256_v(id, part, 2 * N_MEMBERS);
}

void
collateral_seal(struct collateral *c)
{
	c->sealed = false;
	collateral_id(c->id, c);
	c->sealed = true;
}

void
collateral_fini(struct collateral *c)
{
	for (size_t i = 0; i < N_MEMBERS; i++)
		if (members[i].kind != SIGNATURE)
			buf_fini(field(c, &members[i]));
	memset(c, 0, sizeof *c);
}
