/* kmsctl sim quote: evidence of a simulated TD, in files.
 *
 * Boots a TD of the cluster's folder, measures what a guest measures, and
 * takes one quote: no chain, no KMS node and no agent need to run. */
#include <string.h>
#include <unistd.h>

#include "common/attest/collateral.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/hex.h"
#include "common/base/limits.h"
#include "kms/ctl/ctl.h"
#include "kms/ctl/lab.h"
#include "node/agent/boot.h"
#include "node/tee/simhost.h"
#include "node/tee/simpki.h"
#include "node/tee/tee.h"

static const char default_compose[] =
    "{\n"
    "  \"manifest_version\": 2,\n"
    "  \"name\": \"quote\",\n"
    "  \"runner\": \"docker-compose\",\n"
    "  \"docker_compose_file\": \"services: {}\\n\",\n"
    "  \"key_provider\": \"kms\"\n"
    "}\n";
static const char no_provider[] = "{\"name\":\"none\",\"id\":\"\"}";

static enum err
on_log(void *cookie, struct buf *out)
{
	return tee_event_log(cookie, out);
}

static enum err
on_extend(void *cookie, const char *name, struct bytes payload)
{
	return tee_extend(cookie, name, payload);
}

/* The compose file that the guest shall have. */
static enum ctl_exit
read_compose(
    struct app_identity *out, const struct ctl *c, const struct args *a)
{
	/* The same guest each time, so that its identity is the same. */
	static const uint8_t seed[IDENTITY_SEED_LEN] = { 1 };
	const char *path = args_get(a, "compose");
	struct refusal why = { .code = REASON_NONE };
	struct buf text = { 0 };
	enum ctl_exit rc = CTL_OK;
	enum err e;

	e = path != NULL
	    ? file_read(&text, path, LIMIT_APP_COMPOSE)
	    : buf_set(&text, default_compose, sizeof default_compose - 1);
	if (e != ERR_OK)
		rc = ctl_fail(
		    c, CTL_USAGE, "--compose %.200s: %s", path, err_text(e));
	else if (identity_make(out, buf_view(&text), NULL, seed, &why) !=
	    ERR_OK)
		rc = ctl_fail(c, CTL_USAGE, "--compose: %s", why.detail);
	buf_fini(&text);
	return rc;
}

/* As an app's agent does it, but for keys: there is no KMS here. */
static enum err
measure(struct tee *t, const struct app_identity *id, struct refusal *why)
{
	const struct boot_register reg = {
		.cookie = t, .log = on_log, .extend = on_extend
	};
	struct boot_plan plan;
	enum err e;

	boot_plan_identity(&plan, id);
	if ((e = boot_run(&reg, &plan, why)) != ERR_OK ||
	    (e = tee_extend(t, "key-provider", BYTES_STR(no_provider))) !=
		ERR_OK)
		return e;
	return tee_extend(t, "system-ready", (struct bytes){ NULL, 0 });
}

static enum err
signed_part(struct buf *out, uint8_t signature[static 64], const char *dir,
    enum sim_document doc, const char *name)
{
	struct buf reply = { 0 };
	enum err e = sim_pki_document(&reply, dir, doc);

	if (e == ERR_OK)
		e = collateral_split(out, signature, buf_view(&reply), name);
	buf_fini(&reply);
	return e;
}

/* What the cluster's PCCS would serve. */
static enum err
bundle_of(struct buf *out, const char *dir)
{
	struct collateral c = { 0 };
	enum err e = sim_pki_refresh(dir, false, clock_wall_s());

	if (e == ERR_OK &&
	    (e = signed_part(&c.tcb_info, c.tcb_info_signature, dir,
		 SIM_DOC_TCB_INFO, "tcbInfo")) == ERR_OK &&
	    (e = signed_part(&c.qe_identity, c.qe_identity_signature, dir,
		 SIM_DOC_QE_IDENTITY, "enclaveIdentity")) == ERR_OK &&
	    (e = sim_pki_document(
		 &c.tcb_info_chain, dir, SIM_DOC_SIGNING_CHAIN)) == ERR_OK &&
	    (e = sim_pki_document(
		 &c.qe_identity_chain, dir, SIM_DOC_SIGNING_CHAIN)) == ERR_OK &&
	    (e = sim_pki_document(
		 &c.pck_crl_chain, dir, SIM_DOC_PCK_CA_CHAIN)) == ERR_OK &&
	    (e = sim_pki_document(&c.root_ca_crl, dir, SIM_DOC_ROOT_CRL)) ==
		ERR_OK &&
	    (e = sim_pki_document(&c.pck_crl, dir, SIM_DOC_PCK_CRL)) == ERR_OK)
		e = collateral_to_json(out, &c);
	collateral_fini(&c);
	return e;
}

static enum err
write_out(const struct args *a, const char *option, const struct buf *b)
{
	const char *path = args_get(a, option);

	return path == NULL ? ERR_OK : file_write(path, b->p, b->len, 0644);
}

static enum ctl_exit
boot(struct tee **out, const struct ctl *c, const struct lab *l,
    const struct args *a, const struct app_identity *id)
{
	const char *host = args_get(a, "host"), *image = args_get(a, "image");
	char host_dir[LAB_PATH_MAX], image_dir[LAB_PATH_MAX],
	    run_dir[LAB_PATH_MAX];
	struct refusal why = { .code = REASON_NONE };
	struct tee_options o = { .simulated = true,
		.sim_host = host_dir,
		.sim_image = image_dir,
		.run_dir = run_dir,
		.sim_compose_hash = id->compose_hash };

	host = host != NULL ? host : "app0";
	image = image != NULL ? image : "app";
	if (!sim_name_ok(host) || !sim_name_ok(image))
		return ctl_fail(c, CTL_USAGE, "--host and --image are names");
	lab_path(host_dir, l, "hosts/%s", host);
	lab_path(image_dir, l, "images/%s", image);
	lab_path(run_dir, l, "run/quote-%ld", (long)getpid());
	if (access(host_dir, F_OK) != 0 || access(image_dir, F_OK) != 0)
		return ctl_fail(
		    c, CTL_USAGE, "no host %s, or no image %s", host, image);
	if (tee_boot(out, &o, &why) != ERR_OK)
		return ctl_fail(c, CTL_FAILED, "cannot boot: %s", why.detail);
	return CTL_OK;
}

static enum ctl_exit
run_quote(struct ctl *c, const struct args *a)
{
	const char *text = args_get(a, "report-data"), *path = args_get(a, "o");
	struct app_identity id = { .name = "" };
	struct refusal why = { .code = REASON_NONE };
	struct evidence ev = { .tee = TEE_TDX };
	struct buf bundle = { 0 };
	char lab_why[LAB_WHY_MAX];
	uint8_t rd[64] = { 0 };
	struct tee *t = NULL;
	struct lab *l = NULL;
	enum ctl_exit rc;
	size_t n = 0;
	enum err e;

	if (path == NULL)
		return ctl_fail(c, CTL_USAGE, "to which file? give -o FILE");
	if (text != NULL &&
	    hex_decode(rd, sizeof rd, &n, hex_skip_0x(text),
		strlen(hex_skip_0x(text))) != ERR_OK)
		return ctl_fail(
		    c, CTL_USAGE, "--report-data: at most 64 bytes in hex");
	if (lab_load(&l, a->pos[0], lab_why) != ERR_OK)
		return ctl_fail(c, CTL_USAGE, "%s", lab_why);
	if ((rc = read_compose(&id, c, a)) != CTL_OK ||
	    (rc = boot(&t, c, l, a, &id)) != CTL_OK)
		goto done;
	if ((e = measure(t, &id, &why)) != ERR_OK ||
	    (e = tee_evidence(t, &ev, rd, &why)) != ERR_OK ||
	    (e = bundle_of(&bundle, l->dir)) != ERR_OK) {
		rc = ctl_denied(c, "quote", e, &why);
		goto done;
	}
	if ((e = write_out(a, "o", &ev.quote)) != ERR_OK ||
	    (e = write_out(a, "event-log", &ev.event_log)) != ERR_OK ||
	    (e = write_out(a, "vm-config", &ev.vm_config)) != ERR_OK ||
	    (e = write_out(a, "collateral", &bundle)) != ERR_OK)
		rc = ctl_fail(c, CTL_USAGE, "cannot write: %s", err_text(e));
	else
		rc = ctl_result(c, json_pack("{s:s}", "quote", path), CTL_OK);
done:
	tee_close(t);
	identity_fini(&id);
	evidence_fini(&ev);
	buf_fini(&bundle);
	lab_free(l);
	return rc;
}

static const struct args_option options[] = {
	{ "host", "NAME", "the machine (default app0)" },
	{ "image", "NAME", "the OS image (default app)" },
	{ "compose", "FILE", "its app-compose.json" },
	{ "report-data", "HEX", "up to 64 bytes" },
	{ "event-log", "FILE", "write the log of its boot" },
	{ "vm-config", "FILE", "write what its VM was told" },
	{ "collateral", "FILE", "write the vendor's bundle" },
	{ "o", "FILE", "write the quote" },
	{ NULL, NULL, NULL },
};

const struct ctl_command cmd_simquote[] = {
	{ "sim quote", "DIR", "boot a TD and take a quote, in files", options,
	    1, 1, run_quote },
	{ .name = NULL },
};
