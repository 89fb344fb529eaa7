/* quotejob: what the verifications share: common words, and the answer. */
#include <string.h>

#include "common/attest/tcbinfo.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/crypto/hash.h"
#include "kms/ctl/quotejob.h"
#include "kms/ctl/quotepolicy.h"

void
quotejob_keep(struct quotejob *j, enum err e, const struct refusal *why)
{
	if (j->e == ERR_OK && e != ERR_OK) {
		j->e = e;
		j->why = *why;
	}
}

enum ctl_exit
quotejob_file(
    struct quotejob *j, struct buf *out, const char *option, size_t max)
{
	const char *path = args_get(j->a, option);
	enum err e;

	if (path == NULL)
		return CTL_OK;
	e = file_read(out, path, max);
	if (e == ERR_OK && out->len == 0)
		e = ERR_MALFORMED;
	return e == ERR_OK ? CTL_OK
			   : ctl_fail(j->c, CTL_USAGE, "--%s %.200s: %s",
				 option, path, err_text(e));
}

/* ---- the words ---- */

enum ctl_exit
quotejob_now(struct quotejob *j)
{
	const char *text = args_get(j->a, "now");
	uint64_t t;

	if (text == NULL) {
		j->now = clock_wall_s();
		return CTL_OK;
	}
	if (tcb_date_parse(&j->now, text) == ERR_OK)
		return CTL_OK;
	if (args_u64(&t, text, INT64_MAX) != ERR_OK)
		return ctl_fail(j->c, CTL_USAGE,
		    "--now: seconds since 1970, "
		    "or 2026-01-02T03:04:05Z");
	j->now = (int64_t)t;
	return CTL_OK;
}

enum ctl_exit
quotejob_policy(struct quotejob *j)
{
	const char *word = args_get(j->a, "policy");
	char why[YAML_WHY_MAX];

	if (quotepolicy_load(&j->policy, word, why) != ERR_OK)
		return ctl_fail(j->c, CTL_USAGE, "--policy: %s", why);
	j->policy_name = word != NULL ? word : "default";
	return CTL_OK;
}

/* ---- the answer ---- */

static json_t *
evidence_json(const struct quotejob *j)
{
	const struct buf *q = &j->file.ev.quote;
	json_t *o = json_object();
	char date[QUOTEREPORT_DATE];
	uint8_t hash[32];

	sha256(hash, q->p, q->len);
	(void)json_set_str(o, "file", j->source);
	(void)json_set_str(o, "form", j->file.form);
	(void)json_set_u64(o, "bytes", q->len);
	(void)json_set_hex(o, "sha256", hash, 32);
	(void)json_set_str(o, "as_of", quotereport_date(date, j->now));
	if (j->collateral_from != NULL)
		(void)json_set_str(o, "collateral", j->collateral_from);
	return o;
}

static json_t *
refusal_json(const struct quotejob *j)
{
	char code[QUOTEREPORT_CODE];

	if (j->e == ERR_OK)
		return json_null();
	if (j->why.code == REASON_NONE)
		return json_pack("{s:n, s:s, s:s, s:s}", "code", "label",
		    "internal", "text", err_text(j->e), "detail", "");
	return json_pack("{s:s?, s:s, s:s, s:s}", "code",
	    quotereport_code(code, &j->why) ? code : NULL, "label",
	    reason_label(j->why.code), "text", reason_text(j->why.code),
	    "detail", j->why.detail);
}

/* The reject code: why the evidence itself is refused, whoever asks. */
static bool
rejected(const struct quotejob *j, char code[static QUOTEREPORT_CODE])
{
	return j->e != ERR_OK && quotereport_code(code, &j->why) &&
	    !quotereport_is_caller(code);
}

static void
put(json_t *o, const char *key, json_t *v)
{
	(void)json_object_set_new(o, key, v != NULL ? v : json_null());
}

/* Genuine, yet rejected by what no policy allows: the status is told apart,
 * so that nobody takes it for a result. */
static void
put_status(json_t *o, struct quotejob *j)
{
	char code[QUOTEREPORT_CODE];
	bool reject = rejected(j, code);
	json_t *list = j->advisory_ids != NULL ? j->advisory_ids : json_array();
	json_t *status =
	    j->status != NULL ? json_string(j->status) : json_null();

	j->advisory_ids = NULL;
	if (j->genuine && reject) {
		put(o, "without_policy",
		    json_pack(
			"{s:o, s:o}", "status", status, "advisory_ids", list));
		status = json_null();
		list = json_array();
	}
	put(o, "status", status);
	put(o, "advisory_ids", list);
	put(o, "reject", reject ? json_string(code) : json_null());
}

static enum ctl_exit
tell(struct quotejob *j, json_t *tls)
{
	json_t *o = json_object();
	enum ctl_exit rc = j->e == ERR_OK ? CTL_OK : CTL_FAILED;

	if (j->e == ERR_AGAIN && j->why.code == REASON_COLLATERAL_MISSING)
		rc = CTL_UNREACHABLE;
	put(o, "tee", j->tee != NULL ? json_string(j->tee) : json_null());
	put(o, "accepted", json_boolean(j->e == ERR_OK));
	put(o, "insecure", json_boolean(j->insecure));
	put_status(o, j);
	put(o, "refusal", refusal_json(j));
	put(o, "now", json_integer((json_int_t)j->now));
	put(o, "policy_name", json_string(j->policy_name));
	put(o, "evidence", evidence_json(j));
	if (tls != NULL)
		put(o, "tls", tls);
	put(o, "steps", json_incref(j->report.rows));
	put(o, "platform", json_incref(j->platform));
	put(o, "tcb", json_incref(j->tcb));
	put(o, "measurements", json_incref(j->measurements));
	put(o, "claims_unverified", json_incref(j->claims));
	put(o, "boot", json_incref(j->boot));
	put(o, "policy", json_incref(j->policy_json));
	if (j->c->json)
		return ctl_result(j->c, o, rc);
	quotereport_text(j->c->out, o);
	json_decref(o);
	return rc;
}

static void
settle(struct quotejob *j)
{
	bool agrees =
	    quotereport_settle(&j->report, j->e == ERR_OK ? NULL : &j->why);

	/* Two readings of one document: if they differ, believe neither. */
	if (j->e == ERR_OK && !agrees)
		j->e = refuse(&j->why, REASON_INTERNAL,
		    "INCONSISTENT: a check that was passed differs here");
}

enum ctl_exit
quotejob_answer(struct quotejob *j, json_t *tls)
{
	j->policy_json = quotepolicy_json(&j->policy, j->kind);
	settle(j);
	return tell(j, tls);
}

void
quotejob_fini(struct quotejob *j)
{
	json_decref(j->advisory_ids);
	json_decref(j->platform);
	json_decref(j->tcb);
	json_decref(j->measurements);
	json_decref(j->claims);
	json_decref(j->boot);
	json_decref(j->policy_json);
	quotereport_fini(&j->report);
	quotefile_fini(&j->file);
	buf_fini(&j->root);
	buf_fini(&j->event_log);
	buf_fini(&j->vm_config);
	buf_fini(&j->compose);
}
