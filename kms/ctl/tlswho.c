#include <string.h>

#include "common/base/hex.h"
#include "common/crypto/hash.h"
#include "common/eth/appauth.h"
#include "common/wire/ratls.h"
#include "kms/ctl/tlswho.h"

#define TEXT_MAX (2 * 64 + 1)

/* A row of two values; what differs is kept as the job's refusal. */
static void
compare(struct quotejob *j, unsigned step, const char *code, enum reason reason,
    const char *check, struct bytes found, const char *found_in,
    struct bytes expected, const char *expected_in)
{
	char a[TEXT_MAX], b[TEXT_MAX];
	bool same = found.len == expected.len &&
	    memcmp(found.p, expected.p, found.len) == 0;
	struct refusal why;

	quotereport_row(&j->report,
	    &(struct quoterow){ .step = step,
		.check = check,
		.found = hex_encode(a, found.p, found.len),
		.found_in = found_in,
		.expected = hex_encode(b, expected.p, expected.len),
		.expected_in = expected_in,
		.codes = code,
		.holds = same ? ROW_HOLDS : ROW_DIFFERS });
	if (!same)
		quotejob_keep(j,
		    refuse(&why, reason, "%s: not so: %s", code, check), &why);
}

static void
say(struct quotejob *j, bool holds, const char *code, enum reason reason,
    const char *check, const char *found, const char *expected)
{
	struct refusal why;

	quotereport_row(&j->report,
	    &(struct quoterow){ .step = QUOTEREPORT_WHO,
		.check = check,
		.found = found,
		.expected = expected,
		.codes = code,
		.holds = holds ? ROW_HOLDS : ROW_DIFFERS });
	if (!holds)
		quotejob_keep(j,
		    refuse(&why, reason, "%s: not so: %s: %.120s", code, check,
			found != NULL ? found : ""),
		    &why);
}

static void
check_report_data(struct quotejob *j, const struct tlscert_facts *f)
{
	uint8_t want[64];

	ratls_report_data(
	    want, (struct bytes){ f->leaf_spki, sizeof f->leaf_spki });
	compare(j, QUOTEREPORT_REFS, "TLS_REPORT_DATA", REASON_REPORT_DATA,
	    "the quote is about this certificate's key",
	    BYTES_OF(j->verdict.td.report_data), "TD report", BYTES_OF(want),
	    "SHA-512(\"ratls-cert:\" || SPKI)");
	if (!f->ext.legacy)
		compare(j, QUOTEREPORT_REFS, "TLS_REPORT_DATA",
		    REASON_REPORT_DATA, "so says the attestation",
		    BYTES_OF(f->ext.report_data), "extension .8",
		    BYTES_OF(want), "as above");
}

/* {"name":"kms","id":"<hex of the root CA's SPKI>"}: which KMS gave the keys
 * at this boot. */
static bool
provider_hash(uint8_t out[static 32], const char *text)
{
	struct buf id = { 0 };
	const char *name = NULL;
	json_t *v = NULL;
	bool ok = json_parse(&v, text, strlen(text), KEY_PROVIDER_MAX, NULL,
		      0) == ERR_OK &&
	    json_get_str(&name, v, "name") == ERR_OK &&
	    strcmp(name, "kms") == 0 &&
	    json_get_hex_buf(&id, KEY_PROVIDER_MAX, v, "id") == ERR_OK;

	if (ok)
		sha256(out, id.p, id.len);
	json_decref(v);
	buf_fini(&id);
	return ok;
}

static void
check_provider(struct quotejob *j, const struct tlscert_facts *f,
    const struct tlscert_pins *pins, const char *text)
{
	uint8_t hash[32] = { 0 };
	char found[65] = "none of a KMS", expected[65];
	bool is_kms = provider_hash(hash, text);

	if (is_kms)
		hex_encode(found, hash, 32);
	/* The pin of the app may have moved since it booted: any root that is
	 * in use will do. */
	say(j,
	    is_kms &&
		(memcmp(hash, f->root_hash, 32) == 0 ||
		    tlscert_pinned(pins, hash)),
	    "TLS_KEY_PROVIDER", REASON_ROOT_MISMATCH,
	    "the measured key provider is this KMS", found,
	    hex_encode(expected, f->root_hash, 32));
}

static void
check_info(
    struct quotejob *j, const struct certext_info *i, const struct boot_info *b)
{
	const char *in = "extension .9", *measured = "event log";

	compare(j, QUOTEREPORT_WHO, "TLS_APP_INFO", REASON_REFERENCE,
	    "app info: app id", BYTES_OF(i->app_id), in, BYTES_OF(b->app_id),
	    measured);
	compare(j, QUOTEREPORT_WHO, "TLS_APP_INFO", REASON_REFERENCE,
	    "app info: compose hash", BYTES_OF(i->compose_hash), in,
	    BYTES_OF(b->compose_hash), measured);
	compare(j, QUOTEREPORT_WHO, "TLS_APP_INFO", REASON_REFERENCE,
	    "app info: instance id",
	    (struct bytes){ i->instance_id, i->has_instance_id ? 20 : 0 }, in,
	    (struct bytes){ b->instance_id, b->has_instance_id ? 20 : 0 },
	    measured);
	compare(j, QUOTEREPORT_WHO, "TLS_APP_INFO", REASON_REFERENCE,
	    "app info: OS image", BYTES_OF(i->os_image_hash), in,
	    BYTES_OF(b->os_image_hash), "vm_config");
}

/* What the contracts say of this very guest, now. */
static void
check_contracts(
    struct quotejob *j, const struct contract *k, const struct boot_info *b)
{
	struct buf call = { 0 }, answer = { 0 };
	struct refusal why = { .code = REASON_NONE };
	struct bytes text = { 0 };
	bool allowed = false;
	char reason[160] = "allowed";
	enum err e = appauth_call(&call, APPAUTH_IS_APP_ALLOWED, b);

	if (e == ERR_OK)
		e = contract_call(&answer, k, k->kms, buf_view(&call), &why);
	if (e == ERR_OK)
		e = appauth_answer(&allowed, &text, buf_view(&answer));
	if (e != ERR_OK)
		(void)snprintf(reason, sizeof reason, "no answer: %.100s",
		    why.detail[0] != '\0' ? why.detail : err_text(e));
	else if (!allowed)
		(void)snprintf(reason, sizeof reason, "%.*s",
		    (int)(text.len < 150 ? text.len : 150),
		    (const char *)text.p);
	say(j, e == ERR_OK && allowed, "TLS_CONTRACT", REASON_CONTRACT_OTHER,
	    "the contracts allow this app, image and machine", reason,
	    "allowed");
	buf_fini(&call);
	buf_fini(&answer);
}

static void
check_guest(struct quotejob *j, const struct tlscert_facts *f,
    const struct tlswho *w, const struct boot_info *b)
{
	compare(j, QUOTEREPORT_WHO, "TLS_APP", REASON_REFERENCE,
	    "the certificate is the measured app's", BYTES_OF(f->app_id),
	    "extension .3", BYTES_OF(b->app_id), "event log");
	if (w->app_id != NULL)
		compare(j, QUOTEREPORT_WHO, "TLS_APP", REASON_REFERENCE,
		    "the app is the one expected", BYTES_OF(b->app_id),
		    "event log", (struct bytes){ w->app_id, 20 }, "--app");
	if (w->compose_hash != NULL)
		compare(j, QUOTEREPORT_WHO, "TLS_COMPOSE", REASON_REFERENCE,
		    "the compose hash is the one expected",
		    BYTES_OF(b->compose_hash), "event log",
		    (struct bytes){ w->compose_hash, 32 }, "--compose-hash");
	if (w->os_image_hash != NULL)
		compare(j, QUOTEREPORT_WHO, "TLS_OS_IMAGE", REASON_OS_IMAGE,
		    "the OS image is the one expected",
		    BYTES_OF(b->os_image_hash), "recomputed",
		    (struct bytes){ w->os_image_hash, 32 }, "--os-image");
	if (f->ext.has_info)
		check_info(j, &f->ext.info, b);
}

void
tlswho_check(
    struct quotejob *j, const struct tlscert_facts *f, const struct tlswho *w)
{
	const struct buf *vm =
	    j->vm_config.len > 0 ? &j->vm_config : &j->file.ev.vm_config;
	struct boot_info app, kms;
	struct refusal why;
	enum err e;

	check_report_data(j, f);
	e = boot_info_build(&app, &j->verdict, buf_view(&j->file.ev.event_log),
	    buf_view(vm), BOOT_APP, &why);
	if (e == ERR_OK)
		e = boot_info_build(&kms, &j->verdict,
		    buf_view(&j->file.ev.event_log), buf_view(vm), BOOT_KMS,
		    &why);
	say(j, e == ERR_OK, "TLS_BOOT", REASON_BOOT_INFO,
	    "the log says who has booted, and from which image",
	    e == ERR_OK ? NULL : (e == ERR_DENIED ? why.detail : err_text(e)),
	    NULL);
	if (e != ERR_OK)
		return;
	check_guest(j, f, w, &app);
	check_provider(j, f, w->pins, kms.key_provider);
	if (w->chain != NULL)
		check_contracts(j, w->chain, &app);
}
