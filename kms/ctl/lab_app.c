#include <string.h>
#include <unistd.h>

#include "common/attest/bootinfo.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/limits.h"
#include "common/crypto/hash.h"
#include "kms/ctl/calls.h"
#include "kms/ctl/lab_app.h"
#include "kms/ctl/lab_make.h"
#include "kms/ctl/lab_run.h"
#include "node/tee/simhost.h"

#define FINAL_MS 60000
#define REPLICAS_MAX LAB_APPS_MAX

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

/* save_compose makes a CVM's folder, with its app-compose.json. */
static enum ctl_exit
save_compose(const struct ctl *c, const struct lab *l, const char *name,
    const struct buf *text)
{
	char path[LAB_PATH_MAX];
	enum err e;

	lab_path(path, l, "apps/%s", name);
	if ((e = file_mkdirs(path)) == ERR_OK) {
		lab_path(path, l, "apps/%s/app-compose.json", name);
		e = file_write(path, text->p, text->len, 0600);
	}
	return e == ERR_OK
	    ? CTL_OK
	    : ctl_fail(c, CTL_FAILED, "%s: %s", path, err_text(e));
}

static enum ctl_exit
make_folder(struct lab_app *a, const struct ctl *c, const struct lab *l,
    const struct lab_app_wishes *w)
{
	struct buf text = { 0 };
	enum ctl_exit rc;
	enum err e;

	e = w->compose == NULL
	    ? default_compose(&text, w->name)
	    : file_read(&text, w->compose, LIMIT_APP_COMPOSE);
	if (e != ERR_OK) {
		rc = ctl_fail(c, CTL_USAGE, "%s: %s",
		    w->compose != NULL ? w->compose : "compose", err_text(e));
	} else {
		compose_hash(a->compose_hash, buf_view(&text));
		rc = save_compose(c, l, w->name, &text);
	}
	buf_fini(&text);
	return rc;
}

/* device_id is SHA-256(PPID): dstack-compat.md 3.4. */
enum err
lab_app_device(uint8_t out[static 32], const struct lab *l, const char *host)
{
	char path[LAB_PATH_MAX];
	struct sim_host h = { 0 };
	enum err e;

	if (!sim_name_ok(host))
		return ERR_NOTFOUND;
	lab_path(path, l, "hosts/%s", host);
	e = sim_host_load(&h, path);
	if (e == ERR_OK)
		sha256(out, h.platform.ppid, sizeof h.platform.ppid);
	sim_host_fini(&h);
	return e;
}

static enum ctl_exit
make_host(const struct ctl *c, const struct lab *l, const char *host)
{
	enum err e = sim_host_create(l->dir, host, clock_wall_s());

	return e == ERR_OK || e == ERR_EXISTS
	    ? CTL_OK
	    : ctl_fail(c, CTL_USAGE, "host %.60s: %s", host, err_text(e));
}

/* The devices after the first, which the deployment takes. */
static enum err
add_devices(struct contract_tx *tx, const struct lab_app *a,
    const struct lab *l, const char *const *host, unsigned n)
{
	uint8_t device[32];
	enum err e = ERR_OK;

	for (unsigned i = 0; e == ERR_OK && i < n; i++) {
		memcpy(tx[i].to, a->app_id, sizeof tx[i].to);
		if ((e = lab_app_device(device, l, host[i])) == ERR_OK)
			e = calls_bytes32(&tx[i].data, CALL_ADD_DEVICE, device);
	}
	return e;
}

static enum ctl_exit
register_app(struct lab_app *a, const struct ctl *c, const struct lab *l,
    const struct lab_app_wishes *w)
{
	const char *const *host = w->n_devices > 0 ? w->device : &w->host;
	unsigned more =
	    w->any_device || w->n_devices == 0 ? 0 : w->n_devices - 1;
	struct calls_deploy_app d = { .require_tcb = true,
		.any_device = w->any_device };
	struct contract_tx tx[REPLICAS_MAX] = { 0 }, *last = &tx[0];
	struct refusal why = { .code = REASON_NONE };
	struct contract k;
	enum ctl_exit rc = CTL_OK;
	enum err e = ERR_OK;

	lab_contract(&k, l);
	memcpy(d.owner, l->operator_address, sizeof d.owner);
	memcpy(d.compose, a->compose_hash, sizeof d.compose);
	if (!w->any_device)
		e = lab_app_device(d.device, l, host[0]);
	memcpy(tx[0].to, l->kms, sizeof tx[0].to);
	if (e == ERR_OK)
		e = calls_deploy_app(&tx[0].data, &d);
	if (e == ERR_OK)
		e = contract_send(c, &k, &tx[0], 1, &why);
	if (e == ERR_OK)
		e = contract_deployed_app(a->app_id, &k, &tx[0], &why);
	if (e == ERR_OK && more > 0) {
		last = &tx[more];
		if ((e = add_devices(&tx[1], a, l, host + 1, more)) == ERR_OK)
			e = contract_send(c, &k, &tx[1], more, &why);
	}
	if (e == ERR_OK)
		e = contract_await_final(
		    c, &k, last->receipt.block_number, FINAL_MS);
	if (e != ERR_OK)
		rc = ctl_denied(c, "registering the app", e, &why);
	for (unsigned i = 0; i <= more; i++)
		contract_tx_fini(&tx[i]);
	return rc;
}

enum ctl_exit
lab_app_allow(const struct ctl *c, const struct lab *l, const struct lab_app *a,
    const char *host)
{
	struct contract_tx tx = { .to = { 0 } };
	struct refusal why = { .code = REASON_NONE };
	struct contract k;
	enum ctl_exit rc = make_host(c, l, host);
	enum err e;

	if (rc != CTL_OK)
		return rc;
	lab_contract(&k, l);
	if ((e = add_devices(&tx, a, l, &host, 1)) == ERR_OK)
		e = contract_send(c, &k, &tx, 1, &why);
	if (e == ERR_OK)
		e = contract_await_final(
		    c, &k, tx.receipt.block_number, FINAL_MS);
	if (e != ERR_OK)
		rc = ctl_denied(c, "allowing the device", e, &why);
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

/* add_cvm gives it a port, and writes the agent's configuration, and the CVM, which is the one
 * behind the last of `l`, into sim.json. */
static enum ctl_exit
add_cvm(struct lab_app **out, const struct ctl *c, struct lab *l,
    unsigned boot_deadline_s)
{
	struct lab_app *a = &l->app[l->n_apps];
	struct refusal why = { .code = REASON_NONE };
	struct anchor_state anchor;
	struct k256_pub root;
	struct contract k;
	enum err e;

	lab_contract(&k, l);
	if ((e = contract_root(&root, &k, &why)) != ERR_OK ||
	    (e = contract_anchor(&anchor, &k, &why)) != ERR_OK)
		return ctl_denied(c, "the root on chain", e, &why);
	e = lab_free_ports(&a->public_port, 1);
	if (e == ERR_OK)
		e = lab_write_agent(
		    l, a, &root, anchor.signer, boot_deadline_s);
	if (e == ERR_OK) {
		l->n_apps++;
		e = lab_save(l);
	}
	if (e != ERR_OK)
		return ctl_fail(c, CTL_FAILED, "%s: %s", a->name, err_text(e));
	*out = a;
	return CTL_OK;
}

static enum ctl_exit
is_room(const struct ctl *c, const struct lab *l)
{
	return l->n_apps < LAB_APPS_MAX
	    ? CTL_OK
	    : ctl_fail(c, CTL_FAILED, "%u app CVMs are the most", LAB_APPS_MAX);
}

enum ctl_exit
lab_app_make(struct lab_app **out, const struct ctl *c, struct lab *l,
    const struct lab_app_wishes *w)
{
	struct lab_app *a = &l->app[l->n_apps];
	char path[LAB_PATH_MAX];
	enum ctl_exit rc;

	if ((rc = is_room(c, l)) != CTL_OK)
		return rc;
	if (w->n_devices > REPLICAS_MAX)
		return ctl_fail(
		    c, CTL_USAGE, "%u devices are the most", REPLICAS_MAX);
	*a = (struct lab_app){ .registered = w->registered };
	(void)snprintf(a->name, sizeof a->name, "%s", w->name);
	(void)snprintf(a->host, sizeof a->host, "%s", w->host);
	(void)snprintf(a->image, sizeof a->image, "%s", w->image);
	lab_path(path, l, "hosts/%s/host.json", w->host);
	if (access(path, F_OK) != 0)
		return ctl_fail(c, CTL_USAGE, "%s: no such host", w->host);
	for (unsigned i = 0; i < w->n_devices; i++)
		if ((rc = make_host(c, l, w->device[i])) != CTL_OK)
			return rc;
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
	return add_cvm(out, c, l, w->boot_deadline_s);
}

/* ---- replicas ---- */

enum err
lab_app_next_name(char out[static LAB_NAME_MAX], struct lab *l, const char *of)
{
	for (unsigned i = 2; i <= REPLICAS_MAX + 1; i++) {
		int n = snprintf(out, LAB_NAME_MAX, "%s-%u", of, i);

		if (n < 0 || n >= LAB_NAME_MAX || !sim_name_ok(out))
			return ERR_LIMIT;
		if (lab_find_app(l, out) == NULL &&
		    lab_find_node(l, out) == NULL)
			return ERR_OK;
	}
	return ERR_LIMIT;
}

enum ctl_exit
lab_app_replica(struct lab_app **out, const struct ctl *c, struct lab *l,
    const char *of, const char *host, unsigned boot_deadline_s)
{
	const struct lab_app *first = lab_find_app(l, of);
	struct lab_app *a = &l->app[l->n_apps];
	char path[LAB_PATH_MAX];
	struct buf text = { 0 };
	enum ctl_exit rc;
	enum err e;

	if ((rc = is_room(c, l)) != CTL_OK)
		return rc;
	if (first == NULL || first->of[0] != '\0')
		return ctl_fail(c, CTL_USAGE, "%.60s: no such app", of);
	*a = *first;
	(void)snprintf(a->of, sizeof a->of, "%s", first->name);
	if ((e = lab_app_next_name(a->name, l, of)) != ERR_OK)
		return ctl_fail(
		    c, CTL_USAGE, "%.60s: too long for replicas", of);
	if ((rc = make_host(c, l, host)) != CTL_OK)
		return rc;
	(void)snprintf(a->host, sizeof a->host, "%s", host);
	lab_path(path, l, "apps/%s/app-compose.json", of);
	e = file_read(&text, path, LIMIT_APP_COMPOSE);
	if (e != ERR_OK)
		rc = ctl_fail(c, CTL_FAILED, "%s: %s", path, err_text(e));
	else
		rc = save_compose(c, l, a->name, &text);
	if (rc == CTL_OK) {
		/* What the first one has now, if its file was changed. */
		compose_hash(a->compose_hash, buf_view(&text));
		rc = add_cvm(out, c, l, boot_deadline_s);
	}
	buf_fini(&text);
	return rc;
}

static bool
goes(const struct lab_app *a, const char *name)
{
	return strcmp(a->name, name) == 0 || strcmp(a->of, name) == 0;
}

enum ctl_exit
lab_app_remove(const struct ctl *c, struct lab *l, const char *name)
{
	char path[LAB_PATH_MAX], keep[LAB_NAME_MAX];
	enum err e = ERR_OK;
	unsigned kept = 0;

	/* `name` may be that of an element that moves. */
	(void)snprintf(keep, sizeof keep, "%s", name);
	for (unsigned i = 0; i < l->n_apps; i++) {
		if (!goes(&l->app[i], keep)) {
			l->app[kept++] = l->app[i];
			continue;
		}
		lab_path(path, l, "apps/%s", l->app[i].name);
		if (e == ERR_OK)
			e = lab_remove_folder(path);
	}
	l->n_apps = kept;
	/* Even then: half a folder is nothing to start. */
	if (lab_save(l) != ERR_OK)
		e = ERR_IO;
	return e == ERR_OK ? CTL_OK
			   : ctl_fail(c, CTL_FAILED, "%.60s: its folder: %s",
				 keep, err_text(e));
}
