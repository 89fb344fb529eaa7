#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/attest/tcbinfo.h"
#include "common/base/hex.h"
#include "common/base/limits.h"

static enum err
bad(struct refusal *why, const char *what)
{
	return refuse(why, REASON_COLLATERAL_INVALID, "JSON: %s", what);
}

static bool
digits(int *out, const char *s, int n)
{
	*out = 0;
	for (int i = 0; i < n; i++) {
		if (s[i] < '0' || s[i] > '9')
			return false;
		*out = *out * 10 + (s[i] - '0');
	}
	return true;
}

enum err
tcb_date_parse(int64_t *out, const char *text)
{
	struct tm tm = { 0 }, back;
	time_t t;

	if (strlen(text) != 20 || text[4] != '-' || text[7] != '-' ||
	    text[10] != 'T' || text[13] != ':' || text[16] != ':' ||
	    text[19] != 'Z' || !digits(&tm.tm_year, text, 4) ||
	    !digits(&tm.tm_mon, text + 5, 2) ||
	    !digits(&tm.tm_mday, text + 8, 2) ||
	    !digits(&tm.tm_hour, text + 11, 2) ||
	    !digits(&tm.tm_min, text + 14, 2) ||
	    !digits(&tm.tm_sec, text + 17, 2))
		return ERR_MALFORMED;
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	back = tm;
	t = timegm(&back);
	/* The library turns 31 June into 1 July; we do not. */
	if (back.tm_year != tm.tm_year || back.tm_mon != tm.tm_mon ||
	    back.tm_mday != tm.tm_mday || back.tm_hour != tm.tm_hour ||
	    back.tm_min != tm.tm_min || back.tm_sec != tm.tm_sec)
		return ERR_MALFORMED;
	*out = t;
	return ERR_OK;
}

static enum err
get_date(int64_t *out, const json_t *obj, const char *key)
{
	const char *s;
	enum err e = json_get_str(&s, obj, key);

	return e != ERR_OK ? e : tcb_date_parse(out, s);
}

static enum err
get_uint(uint64_t *out, const json_t *obj, const char *key, uint64_t max)
{
	enum err e = json_get_u64(out, obj, key);

	return e == ERR_OK && *out > max ? ERR_MALFORMED : e;
}

static enum err
get_u16(uint16_t *out, const json_t *obj, const char *key)
{
	uint64_t v;
	enum err e = get_uint(&v, obj, key, UINT16_MAX);

	if (e == ERR_OK)
		*out = (uint16_t)v;
	return e;
}

/* Hex without "0x": a signed document has one way to write a value. */
static enum err
get_hex(uint8_t *out, size_t len, const json_t *obj, const char *key)
{
	const char *s;
	size_t got;
	enum err e = json_get_str(&s, obj, key);

	if (e != ERR_OK)
		return e;
	if (strlen(s) != 2 * len)
		return ERR_MALFORMED;
	return hex_decode(out, len, &got, s, 2 * len);
}

static bool
advisory_fits(const char *id)
{
	size_t n = strspn(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-");

	return n > 0 && n < ADVISORY_LEN && id[n] == '\0';
}

/* `module`: levels of a module or a QE know three statuses only. */
static enum err
says_parse(struct level_says *out, const json_t *level, bool module,
    struct refusal *why)
{
	const json_t *list = json_object_get(level, "advisoryIDs");
	const char *text;
	const json_t *id;
	size_t i;

	if (get_date(&out->date, level, "tcbDate") != ERR_OK)
		return bad(why, "tcbDate");
	if (json_get_str(&text, level, "tcbStatus") != ERR_OK ||
	    tcb_status_parse(&out->status, text) != ERR_OK ||
	    out->status == TCB_RELAUNCH ||
	    out->status == TCB_RELAUNCH_CONFIGURATION)
		return bad(why, "tcbStatus");
	if (module && out->status != TCB_UP_TO_DATE &&
	    out->status != TCB_OUT_OF_DATE && out->status != TCB_REVOKED)
		return bad(why, "tcbStatus of a module or QE");
	out->advisories.n = 0;
	if (list == NULL)
		return ERR_OK; /* absent when empty: 2.3 */
	if (!json_is_array(list) || json_array_size(list) > ADVISORY_MAX)
		return bad(why, "advisoryIDs");
	json_array_foreach(list, i, id)
	{
		text = json_string_value(id);
		if (text == NULL || strlen(text) != json_string_length(id) ||
		    !advisory_fits(text))
			return bad(why, "advisoryIDs entry");
		out->advisories.id[out->advisories.n++] = text;
	}
	return ERR_OK;
}

static enum err
comps_parse(uint8_t out[static TCB_COMPS], const json_t *tcb, const char *key,
    struct refusal *why)
{
	const json_t *list = json_object_get(tcb, key), *c;
	size_t i;

	/* Exactly 16: a shorter list would compare fewer (P10). */
	if (!json_is_array(list) || json_array_size(list) != TCB_COMPS)
		return bad(why, key);
	json_array_foreach(list, i, c)
	{
		uint64_t svn;

		if (get_uint(&svn, c, "svn", UINT8_MAX) != ERR_OK)
			return bad(why, key);
		out[i] = (uint8_t)svn;
	}
	return ERR_OK;
}

/* Newest first, in the order of tdx-dcap.md 2.6. */
static int
level_cmp(const void *pa, const void *pb)
{
	const struct tcb_level *a = pa, *b = pb;
	int d = memcmp(b->sgx, a->sgx, TCB_COMPS);

	if (d == 0)
		d = (b->pcesvn > a->pcesvn) - (b->pcesvn < a->pcesvn);
	return d != 0 ? d : memcmp(b->tdx, a->tdx, TCB_COMPS);
}

static int
svn_cmp(const void *pa, const void *pb)
{
	const struct svn_level *a = pa, *b = pb;

	return (b->isvsvn > a->isvsvn) - (b->isvsvn < a->isvsvn);
}

/* The non-empty, bounded array `key` of `obj`, or NULL. */
static const json_t *
get_list(const json_t *obj, const char *key, size_t max)
{
	const json_t *list = json_object_get(obj, key);

	if (!json_is_array(list) || json_array_size(list) == 0 ||
	    json_array_size(list) > max)
		return NULL;
	return list;
}

static enum err
tcb_levels_parse(struct tcb_info *t, struct refusal *why)
{
	const json_t *list = get_list(t->doc, "tcbLevels", LIMIT_TCB_LEVELS);
	const json_t *v, *tcb;
	size_t i;
	enum err e;

	if (list == NULL)
		return bad(why, "tcbLevels");
	t->level = calloc(json_array_size(list), sizeof *t->level);
	if (t->level == NULL)
		return ERR_NOMEM;
	t->n_levels = json_array_size(list);
	json_array_foreach(list, i, v)
	{
		struct tcb_level *l = &t->level[i];

		tcb = json_object_get(v, "tcb");
		if ((e = comps_parse(l->sgx, tcb, "sgxtcbcomponents", why)) !=
			ERR_OK ||
		    (t->tee == TEE_TDX &&
			(e = comps_parse(l->tdx, tcb, "tdxtcbcomponents",
			     why)) != ERR_OK) ||
		    (e = says_parse(&l->says, v, false, why)) != ERR_OK)
			return e;
		if (get_u16(&l->pcesvn, tcb, "pcesvn") != ERR_OK)
			return bad(why, "pcesvn");
	}
	qsort(t->level, t->n_levels, sizeof *t->level, level_cmp);
	for (i = 1; i < t->n_levels; i++)
		if (level_cmp(&t->level[i - 1], &t->level[i]) == 0)
			return bad(why, "two equal tcbLevels");
	return ERR_OK;
}

static enum err
svn_levels_parse(
    struct svn_level **out, size_t *n, const json_t *obj, struct refusal *why)
{
	const json_t *list = get_list(obj, "tcbLevels", LIMIT_TCB_LEVELS), *v;
	size_t i;
	enum err e;

	if (list == NULL)
		return bad(why, "tcbLevels of a module or QE");
	if ((*out = calloc(json_array_size(list), sizeof **out)) == NULL)
		return ERR_NOMEM;
	*n = json_array_size(list);
	json_array_foreach(list, i, v)
	{
		struct svn_level *l = &(*out)[i];

		if (get_u16(&l->isvsvn, json_object_get(v, "tcb"), "isvsvn") !=
		    ERR_OK)
			return bad(why, "isvsvn");
		if ((e = says_parse(&l->says, v, true, why)) != ERR_OK)
			return e;
	}
	qsort(*out, *n, sizeof **out, svn_cmp);
	for (i = 1; i < *n; i++)
		if ((*out)[i - 1].isvsvn == (*out)[i].isvsvn)
			return bad(why, "two equal isvsvn levels");
	return ERR_OK;
}

static enum err
module_parse(struct tdx_module *out, const json_t *obj, struct refusal *why)
{
	if (get_hex(out->mrsigner, sizeof out->mrsigner, obj, "mrsigner") !=
		ERR_OK ||
	    get_hex(out->attributes, sizeof out->attributes, obj,
		"attributes") != ERR_OK ||
	    get_hex(out->attributes_mask, sizeof out->attributes_mask, obj,
		"attributesMask") != ERR_OK)
		return bad(why, "TDX module");
	return ERR_OK;
}

/* "TDX_01", in either case: 2.7. */
static int
module_version(const char *id)
{
	static const char prefix[4] = { 'T', 'D', 'X', '_' };
	uint8_t v;
	size_t got;

	if (strlen(id) != 6)
		return -1;
	for (size_t i = 0; i < sizeof prefix; i++) {
		char c = id[i];

		if (c >= 'a' && c <= 'z')
			c = (char)(c - 'a' + 'A');
		if (c != prefix[i])
			return -1;
	}
	return hex_decode(&v, 1, &got, id + 4, 2) == ERR_OK ? v : -1;
}

static enum err
identities_parse(struct tcb_info *t, struct refusal *why)
{
	const json_t *list = json_object_get(t->doc, "tdxModuleIdentities");
	const json_t *v;
	size_t i;
	enum err e;

	if (list == NULL)
		return ERR_OK; /* 2.7 refuses the modules that need one */
	if (!json_is_array(list) ||
	    json_array_size(list) > LIMIT_TDX_IDENTITIES)
		return bad(why, "tdxModuleIdentities");
	t->identity = calloc(json_array_size(list) + 1, sizeof *t->identity);
	if (t->identity == NULL)
		return ERR_NOMEM;
	t->n_identities = json_array_size(list);
	json_array_foreach(list, i, v)
	{
		struct tdx_module_identity *m = &t->identity[i];
		const char *id;

		if (json_get_str(&id, v, "id") != ERR_OK)
			return bad(why, "tdxModuleIdentities id");
		m->version = module_version(id);
		for (size_t k = 0; k < i; k++)
			if (m->version >= 0 &&
			    t->identity[k].version == m->version)
				return bad(why, "two TDX modules of one id");
		if ((e = module_parse(&m->expect, v, why)) != ERR_OK ||
		    (e = svn_levels_parse(&m->level, &m->n_levels, v, why)) !=
			ERR_OK)
			return e;
	}
	return ERR_OK;
}

static enum err
dates_parse(struct signed_dates *out, const json_t *doc, struct refusal *why)
{
	uint64_t n;

	if (get_date(&out->issued, doc, "issueDate") != ERR_OK ||
	    get_date(&out->next_update, doc, "nextUpdate") != ERR_OK ||
	    out->issued > out->next_update)
		return bad(why, "issueDate or nextUpdate");
	if (get_uint(&n, doc, "tcbEvaluationDataNumber", UINT32_MAX) != ERR_OK)
		return bad(why, "tcbEvaluationDataNumber");
	out->eval_number = (uint32_t)n;
	return ERR_OK;
}

/* What tells documents apart. */
struct doc_kind {
	const char *tdx_id, *sgx_id;
	uint64_t version;
	const char *mismatch; /* the reject code for any other */
};

/* The document, its id and its version; other fields may depend on both. */
static enum err
doc_parse(json_t **out, enum tee_kind *tee, struct bytes text,
    const struct doc_kind *k, struct refusal *why)
{
	const char *got_id;
	uint64_t got_version;
	char detail[120];
	enum err e = json_parse(
	    out, text.p, text.len, LIMIT_COLLATERAL, detail, sizeof detail);

	if (e != ERR_OK)
		return e == ERR_NOMEM ? e : bad(why, detail);
	if (json_get_str(&got_id, *out, "id") != ERR_OK ||
	    json_get_u64(&got_version, *out, "version") != ERR_OK)
		return bad(why, "id or version");
	*tee = strcmp(got_id, k->tdx_id) == 0 ? TEE_TDX : TEE_SGX;
	if ((*tee == TEE_SGX && strcmp(got_id, k->sgx_id) != 0) ||
	    got_version != k->version)
		return refuse(why, REASON_COLLATERAL_INVALID,
		    "%s: \"%.16s\" version %llu", k->mismatch, got_id,
		    (unsigned long long)got_version);
	return ERR_OK;
}

static enum err
tcb_info_read(struct tcb_info *t, struct bytes text, struct refusal *why)
{
	static const struct doc_kind kind = { "TDX", "SGX", 3,
		"TCB_INFO_MISMATCH" };
	uint64_t type;
	enum err e = doc_parse(&t->doc, &t->tee, text, &kind, why);

	if (e != ERR_OK ||
	    (e = dates_parse(&t->signed_at, t->doc, why)) != ERR_OK)
		return e;
	if (json_get_u64(&type, t->doc, "tcbType") != ERR_OK || type != 0)
		return refuse(why, REASON_COLLATERAL_INVALID,
		    "TCB_INFO_MISMATCH: tcbType");
	if (get_hex(t->fmspc, sizeof t->fmspc, t->doc, "fmspc") != ERR_OK ||
	    get_hex(t->pceid, sizeof t->pceid, t->doc, "pceId") != ERR_OK)
		return bad(why, "fmspc or pceId");
	if (t->tee == TEE_TDX &&
	    ((e = module_parse(&t->module, json_object_get(t->doc, "tdxModule"),
		  why)) != ERR_OK ||
		(e = identities_parse(t, why)) != ERR_OK))
		return e;
	return tcb_levels_parse(t, why);
}

enum err
tcb_info_parse(struct tcb_info *out, struct bytes text, struct refusal *why)
{
	struct tcb_info t = { 0 };
	enum err e = tcb_info_read(&t, text, why);

	if (e == ERR_OK)
		*out = t;
	else
		tcb_info_fini(&t);
	return e;
}

void
tcb_info_fini(struct tcb_info *t)
{
	for (size_t i = 0; i < t->n_identities; i++)
		free(t->identity[i].level);
	free(t->identity);
	free(t->level);
	json_decref(t->doc);
	memset(t, 0, sizeof *t);
}

static enum err
qe_identity_read(struct qe_identity *q, struct bytes text, struct refusal *why)
{
	static const struct doc_kind kind = { "TD_QE", "QE", 2,
		"QE_IDENTITY_MISMATCH" };
	enum err e = doc_parse(&q->doc, &q->tee, text, &kind, why);

	if (e != ERR_OK ||
	    (e = dates_parse(&q->signed_at, q->doc, why)) != ERR_OK)
		return e;
	if (get_hex(q->miscselect, 4, q->doc, "miscselect") != ERR_OK ||
	    get_hex(q->miscselect_mask, 4, q->doc, "miscselectMask") !=
		ERR_OK ||
	    get_hex(q->attributes, 16, q->doc, "attributes") != ERR_OK ||
	    get_hex(q->attributes_mask, 16, q->doc, "attributesMask") !=
		ERR_OK ||
	    get_hex(q->mrsigner, 32, q->doc, "mrsigner") != ERR_OK ||
	    get_u16(&q->isvprodid, q->doc, "isvprodid") != ERR_OK)
		return bad(why, "QE identity");
	return svn_levels_parse(&q->level, &q->n_levels, q->doc, why);
}

enum err
qe_identity_parse(
    struct qe_identity *out, struct bytes text, struct refusal *why)
{
	struct qe_identity q = { 0 };
	enum err e = qe_identity_read(&q, text, why);

	if (e == ERR_OK)
		*out = q;
	else
		qe_identity_fini(&q);
	return e;
}

void
qe_identity_fini(struct qe_identity *q)
{
	free(q->level);
	json_decref(q->doc);
	memset(q, 0, sizeof *q);
}
