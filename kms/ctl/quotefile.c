#include <ctype.h>
#include <string.h>

#include <sodium.h>

#include "common/attest/attestation.h"
#include "common/attest/attestation_v1.h"
#include "common/base/hex.h"
#include "common/base/json.h"
#include "common/base/limits.h"
#include "kms/ctl/quotefile.h"

enum quotefile_kind
quotefile_kind_of(struct bytes in)
{
	/* COSE_Sign1, untagged or with tag 18: array(4), bstr of 4 bytes. */
	if (in.len >= 2 && in.p[0] == 0x84 && in.p[1] == 0x44)
		return QUOTEFILE_NITRO;
	if (in.len >= 3 && in.p[0] == 0xd2 && in.p[1] == 0x84 &&
	    in.p[2] == 0x44)
		return QUOTEFILE_NITRO;
	/* An Intel quote has its attestation key type, 2 or 3, where the
	 * upper half of a report's version is zero. */
	if (in.len == QUOTEFILE_SNP_LEN && in.p[0] >= 2 && in.p[0] <= 5 &&
	    in.p[1] == 0 && in.p[2] == 0 && in.p[3] == 0)
		return QUOTEFILE_SNP;
	return QUOTEFILE_INTEL;
}

static enum err
lacks(struct refusal *why, const char *what)
{
	(void)refuse(why, REASON_QUOTE_MALFORMED, "%s", what);
	return ERR_MALFORMED;
}

/* A member that is JSON text or the JSON itself: both forms are seen. */
static enum err
get_text(struct buf *out, size_t max, const json_t *obj, const char *key)
{
	const json_t *v = json_object_get(obj, key);
	enum err e = ERR_OK;

	if (v == NULL || json_is_null(v))
		return ERR_OK;
	if (json_is_string(v))
		e = buf_append(
		    out, json_string_value(v), json_string_length(v), max);
	else
		e = json_write(out, v);
	return e == ERR_OK && out->len > max ? ERR_LIMIT : e;
}

static enum err
take_attestation(struct quotefile *f, struct bytes in, struct refusal *why)
{
	enum err e = attestation_decode(&f->ev, f->report_data, in, why);

	if (e == ERR_OK) {
		f->has_report_data = true;
		f->form = "dstack attestation";
	}
	return e;
}

/* It has a form, which is just not one that is known here. */
static enum err
must_have_form(enum err e)
{
	return e == ERR_DENIED ? ERR_MALFORMED : e;
}

static enum err
read_attestation(struct quotefile *f, const json_t *v, struct refusal *why)
{
	struct buf raw = { 0 };
	enum err e = json_get_hex_buf(&raw, QUOTEFILE_MAX, v, "attestation");

	if (e != ERR_OK)
		e = lacks(why, "member \"attestation\" is not hex");
	else
		e = take_attestation(f, buf_view(&raw), why);
	buf_fini(&raw);
	return must_have_form(e);
}

static enum err
read_reply(struct quotefile *f, const json_t *v, struct refusal *why)
{
	struct buf rd = { 0 };
	enum err e = json_get_hex_buf(&f->ev.quote, QUOTEFILE_MAX, v, "quote");

	if (e != ERR_OK)
		return lacks(why,
		    "no member \"quote\" (hex) or "
		    "\"attestation\" (hex)");
	if (get_text(&f->ev.event_log, LIMIT_EVENT_LOG, v, "event_log") !=
		ERR_OK ||
	    get_text(&f->ev.vm_config, LIMIT_VM_CONFIG, v, "vm_config") !=
		ERR_OK)
		return lacks(why, "event_log or vm_config is too long");
	e = json_get_hex_buf(&rd, 64, v, "report_data");
	if (e == ERR_OK && rd.len > 0) {
		memcpy(f->report_data, rd.p, rd.len);
		f->has_report_data = true;
	}
	buf_fini(&rd);
	if (e != ERR_OK && e != ERR_NOTFOUND)
		return lacks(why, "report_data is not hex of 64 bytes");
	f->form = "GetQuote reply";
	return ERR_OK;
}

static enum err
read_json(struct quotefile *f, const json_t *v, struct refusal *why)
{
	if (json_object_get(v, "quote") == NULL &&
	    json_object_get(v, "attestation") != NULL)
		return read_attestation(f, v, why);
	return read_reply(f, v, why);
}

/* Hex digits with white space anywhere; ERR_MALFORMED if it is not that. */
static enum err
unhex(struct buf *out, struct bytes in)
{
	struct buf digits = { 0 };
	enum err e = buf_reserve(&digits, in.len + 1);
	const char *s;
	size_t n;

	for (size_t i = 0; e == ERR_OK && i < in.len; i++)
		if (!isspace(in.p[i]))
			e = buf_append(&digits, in.p + i, 1, QUOTEFILE_MAX);
	if (e != ERR_OK || digits.len == 0) {
		e = e != ERR_OK ? e : ERR_MALFORMED;
		goto done;
	}
	s = hex_skip_0x((const char *)digits.p);
	n = digits.len - (size_t)(s - (const char *)digits.p);
	if ((e = buf_reserve(out, n / 2 + 1)) != ERR_OK)
		goto done;
	e = n == 0 ? ERR_MALFORMED
		   : hex_decode(out->p, n / 2 + 1, &out->len, s, n);
	if (e != ERR_OK)
		out->len = 0;
done:
	buf_fini(&digits);
	return e;
}

/* Base64 with white space anywhere, as many tools print a quote. */
static enum err
unbase64(struct buf *out, struct bytes in)
{
	enum err e = buf_reserve(out, in.len / 4 * 3 + 3);

	if (e != ERR_OK)
		return e;
	if (sodium_base642bin(out->p, out->cap, (const char *)in.p, in.len,
		" \t\r\n", &out->len, NULL,
		sodium_base64_VARIANT_ORIGINAL) != 0 ||
	    out->len == 0) {
		out->len = 0;
		return ERR_MALFORMED;
	}
	return ERR_OK;
}

/* Bytes as they are, or a dstack attestation, which begins with its version
 * and platform, both 0, or with a map of three: no quote does. */
static enum err
read_raw(
    struct quotefile *f, struct bytes in, const char *form, struct refusal *why)
{
	struct refusal ignored;

	if (in.len > 2 && in.p[0] == 0 && in.p[1] == 0 &&
	    take_attestation(f, in, &ignored) == ERR_OK)
		return ERR_OK;
	if (in.len > 2 && attestation_is_v1(in.p[0]))
		return must_have_form(take_attestation(f, in, why));
	f->form = form;
	return buf_set(&f->ev.quote, in.p, in.len);
}

enum err
quotefile_read(struct quotefile *out, struct bytes in, struct refusal *why)
{
	struct quotefile f = { .form = "" };
	struct buf raw = { 0 };
	json_t *v = NULL;
	size_t i = 0;
	enum err e;

	while (i < in.len && isspace(in.p[i]))
		i++;
	/* A raw quote may begin with any byte if it is a broken one. */
	if (i < in.len && in.p[i] == '{' &&
	    json_parse(&v, in.p, in.len, QUOTEFILE_MAX, NULL, 0) == ERR_OK)
		e = read_json(&f, v, why);
	else if (unhex(&raw, in) == ERR_OK)
		e = read_raw(&f, buf_view(&raw), "hex text", why);
	else if (unbase64(&raw, in) == ERR_OK)
		e = read_raw(&f, buf_view(&raw), "base64 text", why);
	else
		e = read_raw(&f, in, "binary", why);
	if (e == ERR_OK) {
		f.kind = quotefile_kind_of(buf_view(&f.ev.quote));
		*out = f;
		f = (struct quotefile){ .form = "" }; /* transferred */
	}
	quotefile_fini(&f);
	buf_fini(&raw);
	json_decref(v);
	return e;
}

void
quotefile_fini(struct quotefile *f)
{
	evidence_fini(&f->ev);
}
