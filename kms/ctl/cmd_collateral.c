/* kmsctl collateral fetch: what Intel signs about a platform, saved. */
#include <string.h>

#include "common/attest/dcap.h"
#include "common/attest/pccs.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/hex.h"
#include "kms/ctl/ctl.h"
#include "kms/ctl/quotefile.h"

static enum ctl_exit
platform_of_quote(struct dcap_need *out, const struct ctl *c, const char *path)
{
	struct refusal why = { .code = REASON_NONE };
	struct quotefile f = { .form = "" };
	struct buf bytes = { 0 };
	enum ctl_exit rc = CTL_OK;
	enum err e = file_read(&bytes, path, QUOTEFILE_MAX);

	if (e != ERR_OK)
		rc = ctl_fail(c, CTL_USAGE, "%.200s: %s", path, err_text(e));
	else if ((e = quotefile_read(&f, buf_view(&bytes), &why)) != ERR_OK)
		rc = ctl_fail(c, CTL_USAGE, "%.200s: %s", path, why.detail);
	else if ((e = dcap_need(out, NULL, buf_view(&f.ev.quote), &why)) !=
	    ERR_OK)
		rc = ctl_denied(c, path, e, &why);
	quotefile_fini(&f);
	buf_fini(&bytes);
	return rc;
}

static enum ctl_exit
platform_of_args(
    struct dcap_need *out, const struct ctl *c, const struct args *a)
{
	const char *quote = args_get(a, "quote"), *fmspc = args_get(a, "fmspc"),
		   *ca = args_get(a, "ca");

	if ((quote == NULL) == (fmspc == NULL))
		return ctl_fail(c, CTL_USAGE,
		    "which platform? give --quote "
		    "FILE, or --fmspc HEX with --ca");
	if (quote != NULL)
		return platform_of_quote(out, c, quote);
	if (hex_fixed(out->fmspc, sizeof out->fmspc, fmspc) != ERR_OK)
		return ctl_fail(c, CTL_USAGE, "--fmspc: 6 bytes in hex");
	if (ca == NULL ||
	    (strcmp(ca, "platform") != 0 && strcmp(ca, "processor") != 0))
		return ctl_fail(c, CTL_USAGE, "--ca: platform or processor");
	out->platform_ca = strcmp(ca, "platform") == 0;
	out->tee = args_has(a, "sgx") ? TEE_SGX : TEE_TDX;
	return CTL_OK;
}

static enum ctl_exit
save(const struct ctl *c, const struct collateral *bundle,
    const struct dcap_need *p, const char *path)
{
	struct buf text = { 0 };
	char hex[13];
	enum err e = collateral_to_json(&text, bundle);

	if (e == ERR_OK)
		e = file_write(path, text.p, text.len, 0644);
	buf_fini(&text);
	if (e != ERR_OK)
		return ctl_fail(c, CTL_USAGE, "%.200s: %s", path, err_text(e));
	return ctl_result(c,
	    json_pack("{s:s, s:s, s:s}", "collateral", path, "fmspc",
		hex_encode(hex, p->fmspc, sizeof p->fmspc), "ca",
		p->platform_ca ? "platform" : "processor"),
	    CTL_OK);
}

/* Nothing is verified: whoever uses the bundle does that, as of its time. */
static enum ctl_exit
run_fetch(struct ctl *c, const struct args *a)
{
	const char *url = args_get(a, "pccs"), *path = args_get(a, "o");
	struct refusal why = { .code = REASON_NONE };
	struct collateral bundle = { 0 };
	struct pccs *pccs = NULL;
	struct dcap_need p;
	enum ctl_exit rc;
	enum err e;

	if (url == NULL || path == NULL)
		return ctl_fail(c, CTL_USAGE,
		    "from where, and to which file? give --pccs URL and "
		    "-o FILE");
	if ((rc = platform_of_args(&p, c, a)) != CTL_OK)
		return rc;
	if (pccs_new(&pccs, url, args_has(a, "insecure-tls")) != ERR_OK)
		return ctl_fail(c, CTL_USAGE, "--pccs %.200s: not a URL", url);
	e = pccs_get_for(
	    pccs, &bundle, p.tee, p.fmspc, p.platform_ca, clock_wall_s(), &why);
	if (e == ERR_AGAIN)
		rc = ctl_fail(c,
		    why.code == REASON_COLLATERAL_MISSING ? CTL_UNREACHABLE
							  : CTL_FAILED,
		    "%.200s: %s: %s", url, reason_text(why.code), why.detail);
	else if (e != ERR_OK)
		rc = ctl_denied(c, url, e, &why);
	else
		rc = save(c, &bundle, &p, path);
	collateral_fini(&bundle);
	pccs_free(pccs);
	return rc;
}

static const struct args_option options[] = {
	{ "pccs", "URL", "a PCCS, or Intel's own service" },
	{ "quote", "FILE", "of the platform of this quote" },
	{ "fmspc", "HEX", "or of this one, with --ca" },
	{ "ca", "NAME", "platform or processor" },
	{ "sgx", NULL, "with --fmspc: for SGX, not TDX" },
	{ "insecure-tls", NULL, "take any certificate of the PCCS" },
	{ "o", "FILE", "where to save the bundle" },
	{ NULL, NULL, NULL },
};

const struct ctl_command cmd_collateral[] = {
	{ "collateral fetch", "", "save what Intel signs about a platform",
	    options, 0, 0, run_fetch },
	{ .name = NULL },
};
