#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "kms/ctl/quotereport.h"

enum err
quotereport_init(struct quotereport *r)
{
	*r = (struct quotereport){ .rows = json_array() };
	return r->rows != NULL ? ERR_OK : ERR_NOMEM;
}

void
quotereport_fini(struct quotereport *r)
{
	json_decref(r->rows);
	r->rows = NULL;
}

void
quotereport_row(struct quotereport *r, const struct quoterow *row)
{
	json_t *v;

	if (r->n == QUOTEREPORT_ROWS)
		return;
	/* What does not fit JSON (a name that is no UTF-8) shows as null. */
	v = json_pack("{s:I, s:s, s:s, s:s?, s:s?, s:s?, s:s?}", "step",
	    (json_int_t)row->step, "check", row->check, "result", "", "found",
	    row->found, "found_in", row->found_in, "expected", row->expected,
	    "expected_in", row->expected_in);
	if (v == NULL)
		v = json_pack("{s:I, s:s, s:s, s:n, s:n, s:n, s:n}", "step",
		    (json_int_t)row->step, "check", row->check, "result", "",
		    "found", "found_in", "expected", "expected_in");
	if (json_array_append_new(r->rows, v) != 0)
		return;
	r->mark[r->n].codes = row->codes;
	r->mark[r->n].subject = row->subject;
	r->mark[r->n].holds = row->holds;
	r->mark[r->n].beside = row->step >= QUOTEREPORT_REFS;
	r->n++;
}

/* Codes of tdx-dcap.md 4 that name a field, a place or a size: the word
 * behind them belongs to the code ("FIELD pcrs", "CERT_TIME 0"). */
static bool
takes_word(const char *code, size_t n)
{
	static const char *const codes[] = { "FIELD", "DUPLICATE", "TRAILING",
		"DOC_SIZE", "REPORT_SIZE", "CERT_PARSE", "CERT_ALGO",
		"CERT_TIME", "CHAIN_ISSUER", "CHAIN_SIG", "CHAIN_SHAPE" };

	for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
		if (strlen(codes[i]) == n && memcmp(codes[i], code, n) == 0)
			return true;
	return false;
}

bool
quotereport_code(char out[static QUOTEREPORT_CODE], const struct refusal *why)
{
	const char *s = why->detail;
	size_t n = strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789");

	if (n == 0)
		return false;
	if (s[n] == ' ' && takes_word(s, n))
		n += 1 + strcspn(s + n + 1, " :");
	else if (s[n] != ':')
		return false;
	if (n >= QUOTEREPORT_CODE)
		return false;
	memcpy(out, s, n);
	out[n] = '\0';
	return true;
}

bool
quotereport_is_caller(const char *code)
{
	static const char *const codes[] = { "POLICY_TCB_STATUS",
		"POLICY_ADVISORY", "POLICY_PLATFORM", "POLICY_EVAL_NUMBER",
		"POLICY_TEE", "POLICY_PRODUCT", "POLICY_VMPL", "POLICY_VLEK",
		"POLICY_CHIP_MASKED", "POLICY_ALIAS_CHECK", "POLICY_CRL",
		"POLICY_TCB", "REFERENCE", "EVENT_LOG", "OS_IMAGE",
		"BOOT_INFO" };

	for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
		if (strcmp(codes[i], code) == 0)
			return true;
	return strncmp(code, "TLS_", 4) == 0;
}

static bool
has_code(const char *codes, const char *code)
{
	while (codes != NULL && *codes != '\0') {
		size_t n = strcspn(codes, " ");

		if (n > 0 && strncmp(codes, code, n) == 0 &&
		    (code[n] == '\0' || code[n] == ' ' || codes[n - 1] == '_'))
			return true;
		codes += n + (codes[n] == ' ');
	}
	return false;
}

static bool
is_about(const char *subject, const struct refusal *why)
{
	const char *rest = strchr(why->detail, ':');
	size_t n;

	if (subject == NULL)
		return true;
	if (rest == NULL || rest[1] != ' ')
		return false;
	rest += 2;
	n = strlen(subject);
	return strncmp(rest, subject, n) == 0 && strchr(" :", rest[n]) != NULL;
}

/* The first row that the refusal is about; r->n if none is. */
static unsigned
refused_row(const struct quotereport *r, const struct refusal *why)
{
	char code[QUOTEREPORT_CODE];
	unsigned i = 0;

	if (!quotereport_code(code, why))
		return r->n;
	while (i < r->n &&
	    (r->mark[i].holds == ROW_HOLDS ||
		!has_code(r->mark[i].codes, code) ||
		!is_about(r->mark[i].subject, why)))
		i++;
	return i;
}

static void
set_result(struct quotereport *r, unsigned i, const char *result)
{
	(void)json_set_str(json_array_get(r->rows, i), "result", result);
}

bool
quotereport_settle(struct quotereport *r, const struct refusal *why)
{
	unsigned at = why != NULL ? refused_row(r, why) : r->n;
	bool agrees = true;

	for (unsigned i = 0; i < r->n; i++) {
		/* Refused by something that is no row: only what was
		 * compared here is known to hold. */
		bool passed = why == NULL || i < at;

		if (why != NULL && at == r->n)
			passed = r->mark[i].holds == ROW_HOLDS;
		if (i == at) {
			set_result(r, i, "refused");
		} else if (i > at && r->mark[i].beside) {
			set_result(r, i,
			    r->mark[i].holds == ROW_DIFFERS ? "refused" : "ok");
		} else if (!passed) {
			set_result(r, i, "not checked");
		} else if (r->mark[i].holds == ROW_DIFFERS) {
			set_result(r, i, "differs");
			agrees = false;
		} else {
			set_result(r, i, "ok");
		}
	}
	return agrees;
}

const char *
quotereport_date(char out[static QUOTEREPORT_DATE], int64_t at)
{
	time_t t = (time_t)at;
	struct tm tm;

	if (at < 0 || at > INT64_C(253402300799) || gmtime_r(&t, &tm) == NULL ||
	    strftime(out, QUOTEREPORT_DATE, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
		(void)snprintf(out, QUOTEREPORT_DATE, "%" PRId64, at);
	return out;
}

/* ---- for a person ---- */

/* Text from elsewhere: printable ASCII only, so that it cannot move the
 * cursor or forge a line. */
static void
put_text(FILE *out, const char *s)
{
	for (; *s != '\0'; s++)
		(void)fputc(*s >= 0x20 && *s < 0x7f ? *s : '?', out);
}

static const char *
text_of(const json_t *obj, const char *key)
{
	return json_string_value(json_object_get(obj, key));
}

static void
put_scalar(FILE *out, const json_t *v)
{
	const json_t *x;
	size_t i;

	if (json_is_string(v))
		put_text(out, json_string_value(v));
	else if (json_is_integer(v))
		(void)fprintf(out, "%lld", (long long)json_integer_value(v));
	else if (json_is_boolean(v))
		(void)fputs(json_is_true(v) ? "yes" : "no", out);
	else if (json_is_array(v) && json_array_size(v) > 0)
		json_array_foreach(v, i, x)
		{
			(void)fputs(i > 0 ? ", " : "", out);
			put_scalar(out, x);
		}
	else
		(void)fputs(json_is_array(v) ? "none" : "-", out);
}

static void
put_side(FILE *out, const json_t *row, const char *what, const char *in)
{
	const char *value = text_of(row, what), *doc = text_of(row, in);

	if (value == NULL)
		return;
	(void)fprintf(out, "%15s%-9s ", "", what);
	put_text(out, value);
	if (doc != NULL) {
		(void)fputs("  [", out);
		put_text(out, doc);
		(void)fputc(']', out);
	}
	(void)fputc('\n', out);
}

static void
put_rows(FILE *out, const json_t *rows)
{
	const json_t *row;
	size_t i;

	json_array_foreach(rows, i, row)
	{
		const char *result = text_of(row, "result");

		(void)fprintf(out, "%-11s %2lld ", result != NULL ? result : "",
		    (long long)json_integer_value(
			json_object_get(row, "step")));
		put_text(out, text_of(row, "check"));
		(void)fputc('\n', out);
		put_side(out, row, "found", "found_in");
		put_side(out, row, "expected", "expected_in");
	}
}

/* The members of an object, one a line; objects inside are indented. */
static void
put_members(FILE *out, const json_t *obj, int indent)
{
	const char *key;
	json_t *x;

	json_object_foreach((json_t *)(uintptr_t)obj, key, x)
	{
		(void)fprintf(out, "%*s%-*s ", indent, "", 26 - indent, key);
		if (json_is_object(x)) {
			(void)fputc('\n', out);
			put_members(out, x, indent + 2);
			continue;
		}
		put_scalar(out, x);
		(void)fputc('\n', out);
	}
}

static void
put_section(FILE *out, const json_t *answer, const char *key, const char *title)
{
	const json_t *v = json_object_get(answer, key);

	if (!json_is_object(v) || json_object_size(v) == 0)
		return;
	(void)fprintf(out, "\n%s\n", title);
	put_members(out, v, 2);
}

static void
put_end(FILE *out, const json_t *answer)
{
	const json_t *why = json_object_get(answer, "refusal");
	const char *detail = text_of(why, "detail");

	(void)fputs("\nTCB status  ", out);
	put_scalar(out, json_object_get(answer, "status"));
	(void)fputs("\nadvisories  ", out);
	put_scalar(out, json_object_get(answer, "advisory_ids"));
	(void)fputs("\nresult      ", out);
	if (json_is_true(json_object_get(answer, "accepted"))) {
		(void)fputs("ACCEPTED under the policy ", out);
		put_scalar(out, json_object_get(answer, "policy_name"));
	} else {
		(void)fputs("REFUSED: ", out);
		put_scalar(out, json_object_get(why, "text"));
		if (detail != NULL && detail[0] != '\0') {
			(void)fputs(": ", out);
			put_text(out, detail);
		}
	}
	(void)fputc('\n', out);
	if (json_is_true(json_object_get(answer, "insecure")))
		(void)fputs("INSECURE    the trust anchor is not the vendor's: "
			    "this says nothing about\n            genuine "
			    "hardware\n",
		    out);
}

void
quotereport_text(FILE *out, const json_t *answer)
{
	put_section(out, answer, "tls", "TLS server");
	put_section(out, answer, "evidence", "Evidence");
	(void)fputs("\nChecks, in the order of the algorithm\n", out);
	put_rows(out, json_object_get(answer, "steps"));
	put_section(out, answer, "platform", "Platform");
	put_section(out, answer, "tcb", "TCB");
	put_section(out, answer, "measurements", "Measurements (verified)");
	put_section(out, answer, "claims_unverified",
	    "Claims (NOT verified: the evidence was refused)");
	put_section(out, answer, "boot", "Boot");
	put_section(out, answer, "policy", "Policy");
	put_end(out, answer);
}
