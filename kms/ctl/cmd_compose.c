/* kmsctl compose-hash */
#include "common/attest/bootinfo.h"
#include "common/base/file.h"
#include "common/base/hex.h"
#include "common/base/limits.h"
#include "common/crypto/hash.h"
#include "kms/ctl/compose.h"
#include "kms/ctl/ctl.h"

static enum ctl_exit
run_hash(struct ctl *c, const struct args *a)
{
	struct buf text = { 0 }, canon = { 0 };
	uint8_t hash[32];
	char why[120], hex[65];
	enum ctl_exit rc;
	json_t *v = NULL;
	enum err e;

	e = file_read(&text, a->pos[0], LIMIT_APP_COMPOSE);
	if (e != ERR_OK) {
		rc = ctl_fail(c, CTL_USAGE, "%s: %s", a->pos[0], err_text(e));
		goto done;
	}
	/* A guest does not parse before it hashes, but would fail after. */
	e = json_parse_js(
	    &v, text.p, text.len, LIMIT_APP_COMPOSE, why, sizeof why);
	if (e != ERR_OK) {
		rc =
		    ctl_fail(c, CTL_FAILED, "%s: not JSON: %s", a->pos[0], why);
		goto done;
	}
	if (args_has(a, "canonical") || args_has(a, "normalize")) {
		e = compose_canonical(&canon, v, args_has(a, "normalize"));
		if (e != ERR_OK) {
			rc = ctl_fail(
			    c, CTL_FAILED, "%s: %s", a->pos[0], err_text(e));
			goto done;
		}
		sha256(hash, canon.p, canon.len);
	} else {
		sha256(hash, text.p, text.len);
	}
	hex_encode(hex, hash, 32);
	rc = CTL_OK;
	if (c->json)
		rc = ctl_result(
		    c, json_pack("{s:s}", "compose_hash", hex), CTL_OK);
	else
		(void)fprintf(c->out, "%s\n", hex);
done:
	json_decref(v);
	buf_fini(&canon);
	buf_fini(&text);
	return rc;
}

static const struct args_option options[] = {
	{ "canonical", NULL, "hash the SDKs' sorted form, not the file" },
	{ "normalize", NULL, "the same, without the unused members" },
	{ NULL, NULL, NULL },
};

const struct ctl_command cmd_compose[] = {
	{ "compose-hash", "FILE", "the hash of an app-compose.json", options, 1,
	    1, run_hash },
	{ .name = NULL },
};
