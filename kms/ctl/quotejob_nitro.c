/* quotejob_nitro: the document of an AWS Nitro enclave.
 *
 * tdx-dcap.md 4.2.  It brings its certificates; they live for three hours,
 * so an old document needs --now. */
#include <string.h>

#include "common/base/hex.h"
#include "common/crypto/hash.h"
#include "kms/ctl/quotejob.h"

static void
row(struct quotejob *j, unsigned step, const char *check, const char *found,
    const char *expected, const char *codes)
{
	quotereport_row(&j->report,
	    &(struct quoterow){ .step = step,
		.check = check,
		.found = found,
		.found_in = found != NULL ? "document" : NULL,
		.expected = expected,
		.codes = codes });
}

/* `v` NULL: there is no verdict. */
static void
rows(struct quotejob *j, const struct nitro_verdict *v)
{
	char time[QUOTEREPORT_DATE], from[QUOTEREPORT_DATE],
	    until[QUOTEREPORT_DATE], root[65], window[64], now[64];

	if (v != NULL)
		(void)snprintf(window, sizeof window, "%s .. %s",
		    quotereport_date(from, v->valid_from),
		    quotereport_date(until, v->valid_until));
	(void)snprintf(now, sizeof now, "contains %s, and its own time",
	    quotereport_date(time, j->now));
	row(j, 1, "the document parses", v != NULL ? v->module_id : NULL,
	    "one COSE_Sign1 with ES384 over the known fields",
	    "DOC_SIZE CBOR CBOR_TRUNC TRAILING COSE PROTECTED UNPROTECTED "
	    "SIGNATURE_LEN FIELD DUPLICATE UNKNOWN_FIELD");
	row(j, 2, "the vendor's root",
	    v != NULL ? hex_encode(root, v->root_fingerprint, 32) : NULL,
	    args_has(j->a, "root") ? "AWS's, or that of --root"
				   : "AWS's, which is built in",
	    "ROOT");
	row(j, 3, "its certificates", NULL,
	    "each signed by the next, up to the root",
	    "CERT_PARSE CERT_ALGO CHAIN_ISSUER CHAIN_SIG CHAIN_SHAPE");
	row(j, 3, "its certificates: in date", v != NULL ? window : NULL, now,
	    "CERT_TIME");
	row(j, 4, "its signature", NULL, "by the enclave's certificate",
	    "COSE_SIG");
	row(j, 5, "its time",
	    v == NULL
		? NULL
		: quotereport_date(from, (int64_t)(v->timestamp_ms / 1000)),
	    "not old, not in the future", "TIMESTAMP_OLD TIMESTAMP_FUTURE");
	if (args_has(j->a, "nonce"))
		row(j, 5, "its nonce", NULL, "that of --nonce", "NONCE");
	row(j, 13, "no debugging (PCR 0 to 2)", NULL, "not zero",
	    "DEBUG_PCR0_ZERO");
}

static void
put_field(json_t *o, const char *key, const struct nitro_field *f)
{
	if (f->present)
		(void)json_set_hex(o, key, f->b, f->len);
}

static json_t *
measurements(const struct nitro_verdict *v)
{
	json_t *o = json_object();

	for (unsigned i = 0; i < NITRO_N_PCRS; i++) {
		char key[8];

		if ((v->pcr_mask >> i & 1) == 0)
			continue;
		(void)snprintf(key, sizeof key, "pcr%u", i);
		(void)json_set_hex(o, key, v->pcr[i], NITRO_PCR_LEN);
	}
	put_field(o, "public_key", &v->public_key);
	put_field(o, "user_data", &v->user_data);
	put_field(o, "nonce", &v->nonce);
	return o;
}

static void
references(struct quotejob *j, const struct nitro_verdict *v)
{
	static const char *const name[] = { "pcr0", "pcr1", "pcr2" };
	struct refusal why = { .code = REASON_NONE };
	struct quoteref ref[4];
	size_t n = 0;

	for (unsigned i = 0; i < 3; i++)
		if ((v->pcr_mask >> i & 1) != 0)
			ref[n++] = (struct quoteref){ name[i], v->pcr[i],
				NITRO_PCR_LEN, "document" };
	/* dstack's report data travels as user data. */
	if (v->user_data.present && v->user_data.len == 64)
		ref[n++] = (struct quoteref){ "report-data", v->user_data.b, 64,
			"document, user_data" };
	quotejob_keep(j, quoterefs_check(&j->report, j->a, ref, n, &why), &why);
}

static void
judge(struct quotejob *j, const struct nitro_verdict *v)
{
	struct refusal why = { .code = REASON_NONE };
	struct verdict common;

	verdict_of_nitro(&common, v);
	j->genuine = true;
	j->insecure = v->simulated;
	j->measurements = measurements(v);
	j->platform = json_object();
	(void)json_set_str(j->platform, "module_id", v->module_id);
	(void)json_set_u64(j->platform, "timestamp_ms", v->timestamp_ms);
	(void)json_set_hex(j->platform, "root_sha256", v->root_fingerprint, 32);
	quotejob_keep(j, verdict_accept(&common, &j->policy, &why), &why);
	references(j, v);
}

enum ctl_exit
quotejob_nitro(struct quotejob *j)
{
	const char *text = args_get(j->a, "nonce");
	struct nitro_options o = { .now = j->now };
	struct refusal why = { .code = REASON_NONE };
	uint8_t nonce[NITRO_FIELD_MAX], root[32];
	struct nitro_verdict v = { .module_id = "" };
	size_t n = 0;

	j->tee = "nitro";
	j->kind = TEE_NITRO;
	if (text != NULL) {
		text = hex_skip_0x(text);
		if (hex_decode(nonce, sizeof nonce, &n, text, strlen(text)) !=
			ERR_OK ||
		    n == 0)
			return ctl_fail(j->c, CTL_USAGE, "--nonce: not hex");
		o.nonce = (struct bytes){ nonce, n };
	}
	if (j->root.len > 0) {
		sha256(root, j->root.p, j->root.len);
		o.simulated_root = root;
		j->insecure = true;
		j->policy.allow_simulated = true;
		j->policy.nitro.allow_simulated = true;
	}
	quotejob_keep(
	    j, nitro_verify(&v, buf_view(&j->file.ev.quote), &o, &why), &why);
	rows(j, j->e == ERR_OK ? &v : NULL);
	if (j->e == ERR_OK)
		judge(j, &v);
	return CTL_OK;
}
