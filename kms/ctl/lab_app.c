#include <string.h>
#include <unistd.h>

#include "common/attest/bootinfo.h"
#include "common/base/file.h"
#include "common/base/limits.h"
#include "common/crypto/hash.h"
#include "kms/ctl/calls.h"
#include "kms/ctl/lab_app.h"
#include "kms/ctl/lab_make.h"
#include "kms/ctl/lab_run.h"
#include "node/tee/simhost.h"

#define FINAL_MS 60000

/* The name is sim_name_ok, so it needs no escapes. */
static enum err
default_compose(struct buf *out, const char *name)
{
	return buf_printf(out,
	    "{\n"
	    "  \"manifest_version\": 2,\n"
	    "  \"name\": \"%s\",\n"
	    "  \"runner\": \"docker-compose\",\n"
	    "  \"docker_compose_file\": \"services:\\n  app:\\n    image: "
	    "alpine\\n    volumes:\\n      - /var/run/dstack.sock:"
	    "/var/run/dstack.sock\\n\",\n"
	    "  \"kms_enabled\": true,\n"
	    "  \"key_provider\": \"kms\",\n"
	    "  \"public_logs\": true,\n"
	    "  \"public_sysinfo\": true\n"
	    "}\n",
	    name);
}

static enum ctl_exit
make_folder(struct lab_app *a, const struct ctl *c, const struct lab *l,
    const struct lab_app_wishes *w)
{
	char path[LAB_PATH_MAX];
	struct buf text = { 0 };
	enum ctl_exit rc = CTL_OK;
	enum err e;

	lab_path(path, l, "apps/%s", w->name);
	if ((e = file_mkdirs(path)) != ERR_OK) {
		rc = ctl_fail(c, CTL_FAILED, "%s: %s", path, err_text(e));
		goto done;
	}
	e = w->compose == NULL
	    ? default_compose(&text, w->name)
	    : file_read(&text, w->compose, LIMIT_APP_COMPOSE);
	if (e != ERR_OK) {
		rc = ctl_fail(c, CTL_USAGE, "%s: %s",
		    w->compose != NULL ? w->compose : "compose", err_text(e));
		goto done;
	}
	compose_hash(a->compose_hash, buf_view(&text));
	lab_path(path, l, "apps/%s/app-compose.json", w->name);
	if ((e = file_write(path, text.p, text.len, 0600)) != ERR_OK)
		rc = ctl_fail(c, CTL_FAILED, "%s: %s", path, err_text(e));
done:
	buf_fini(&text);
	return rc;
}

/* device_id is SHA-256(PPID): dstack-compat.md 3.4. */
static enum err
device_of(uint8_t out[static 32], const struct lab *l, const char *host)
{
	char path[LAB_PATH_MAX];
	struct sim_host h = { 0 };
	enum err e;

	lab_path(path, l, "hosts/%s", host);
	e = sim_host_load(&h, path);
	if (e == ERR_OK)
		sha256(out, h.platform.ppid, sizeof h.platform.ppid);
	sim_host_fini(&h);
	return e;
}

static enum ctl_exit
register_app(struct lab_app *a, const struct ctl *c, const struct lab *l,
    const struct lab_app_wishes *w)
{
	struct calls_deploy_app d = { .require_tcb = true,
		.any_device = w->any_device };
	struct contract_tx tx = { .to = { 0 } };
	struct refusal why = { .code = REASON_NONE };
	struct contract k;
	enum ctl_exit rc = CTL_OK;
	enum err e = ERR_OK;

	lab_contract(&k, l);
	memcpy(d.owner, l->operator_address, sizeof d.owner);
	memcpy(d.compose, a->compose_hash, sizeof d.compose);
	if (!w->any_device)
		e = device_of(d.device, l, w->host);
	memcpy(tx.to, l->kms, sizeof tx.to);
	if (e == ERR_OK)
		e = calls_deploy_app(&tx.data, &d);
	if (e == ERR_OK)
		e = contract_send(c, &k, &tx, 1, &why);
	if (e == ERR_OK)
		e = contract_deployed_app(a->app_id, &k, &tx, &why);
	if (e == ERR_OK)
		e = contract_await_final(
		    c, &k, tx.receipt.block_number, FINAL_MS);
	if (e != ERR_OK)
		rc = ctl_denied(c, "registering the app", e, &why);
	contract_tx_fini(&tx);
	return rc;
}

/* The app's image must be on the KMS's list too; that is the owner's say,
 * and here the operator owns both. */
static enum ctl_exit
allow_image(const struct ctl *c, const struct lab *l, const char *image)
{
	char path[LAB_PATH_MAX];
	struct contract_tx tx = { .to = { 0 } };
	struct refusal why = { .code = REASON_NONE };
	struct buf text = { 0 };
	struct contract k;
	uint8_t hash[32];
	enum ctl_exit rc = CTL_OK;
	bool has = false;
	enum err e;

	lab_contract(&k, l);
	/* os_image_hash is that of the image's checksum file (3.7). */
	lab_path(path, l, "images/%s/sha256sum.txt", image);
	e = file_read(&text, path, LIMIT_VM_CONFIG);
	if (e == ERR_OK) {
		sha256(hash, text.p, text.len);
		e = calls_bytes32(&tx.data, CALL_HAS_OS_IMAGE, hash);
	}
	if (e == ERR_OK)
		e = contract_call_bool(
		    &has, &k, k.kms, buf_view(&tx.data), &why);
	if (e == ERR_OK && !has) {
		memcpy(tx.to, k.kms, sizeof tx.to);
		e = calls_bytes32(&tx.data, CALL_ADD_OS_IMAGE, hash);
		if (e == ERR_OK)
			e = contract_send(c, &k, &tx, 1, &why);
	}
	if (e != ERR_OK)
		rc = ctl_denied(c, "allowing the app's image", e, &why);
	contract_tx_fini(&tx);
	buf_fini(&text);
	return rc;
}

enum ctl_exit
lab_app_make(struct lab_app **out, const struct ctl *c, struct lab *l,
    const struct lab_app_wishes *w)
{
	struct lab_app *a = &l->app[l->n_apps];
	struct refusal why = { .code = REASON_NONE };
	char path[LAB_PATH_MAX];
	struct anchor_state anchor;
	struct k256_pub root;
	struct contract k;
	enum ctl_exit rc;
	enum err e;

	if (l->n_apps == LAB_APPS_MAX)
		return ctl_fail(
		    c, CTL_FAILED, "%u apps are the most", LAB_APPS_MAX);
	*a = (struct lab_app){ .registered = w->registered };
	(void)snprintf(a->name, sizeof a->name, "%s", w->name);
	(void)snprintf(a->host, sizeof a->host, "%s", w->host);
	(void)snprintf(a->image, sizeof a->image, "%s", w->image);
	lab_path(path, l, "hosts/%s/host.json", w->host);
	if (access(path, F_OK) != 0)
		return ctl_fail(c, CTL_USAGE, "%s: no such host", w->host);
	if ((rc = make_folder(a, c, l, w)) != CTL_OK)
		return rc;
	if (w->registered) {
		/* "other" is there to be refused. */
		if (strcmp(w->image, "other") != 0)
			rc = allow_image(c, l, w->image);
		if (rc == CTL_OK)
			rc = register_app(a, c, l, w);
		if (rc != CTL_OK)
			return rc;
	} else {
		memcpy(a->app_id, a->compose_hash, sizeof a->app_id);
	}
	lab_contract(&k, l);
	if ((e = contract_root(&root, &k, &why)) != ERR_OK ||
	    (e = contract_anchor(&anchor, &k, &why)) != ERR_OK)
		return ctl_denied(c, "the root on chain", e, &why);
	e = lab_write_agent(l, a, &root, anchor.signer, w->boot_deadline_s);
	if (e == ERR_OK) {
		l->n_apps++;
		e = lab_save(l);
	}
	if (e != ERR_OK)
		return ctl_fail(c, CTL_FAILED, "%s: %s", w->name, err_text(e));
	*out = a;
	return CTL_OK;
}
