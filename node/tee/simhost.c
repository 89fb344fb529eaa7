#include <sys/stat.h>

#include <stdio.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/hex.h"
#include "common/base/json.h"
#include "common/base/limits.h"
#include "common/base/secret.h"
#include "common/crypto/hash.h"
#include "node/tee/simdocs.h"
#include "node/tee/simhost.h"

#define PATH_CAP 1024
#define HOST_FILE "host.json"

#define ATTR_DEBUG 0x01 /* bit 0, in byte 0 */
#define ATTR_SEPT_VE_DISABLE 0x10 /* bit 28, in byte 3 */

const char *
sim_fault_text(enum sim_fault f)
{
	static const char *const text[] = {
#define X(name, word) [SIM_FAULT_##name] = (word),
		SIM_FAULT_LIST(X)
#undef X
	};

	return f < SIM_FAULT_COUNT ? text[f] : "?";
}

enum err
sim_fault_parse(enum sim_fault *out, const char *text)
{
	for (unsigned i = 0; i < SIM_FAULT_COUNT; i++)
		if (strcmp(text, sim_fault_text((enum sim_fault)i)) == 0) {
			*out = (enum sim_fault)i;
			return ERR_OK;
		}
	return ERR_NOTFOUND;
}

bool
sim_name_ok(const char *name)
{
	size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-");

	return n > 0 && n <= SIM_NAME_MAX && name[n] == '\0' && name[0] != '-';
}

void
sim_host_fini(struct sim_host *h)
{
	sim_qe_fini(&h->qe);
	p256_secret_wipe(&h->pck_key);
	secret_wipe(h->fuse_key, sizeof h->fuse_key);
}

void
sim_host_td(struct td_report *td, const struct sim_host *h)
{
	static const uint8_t xfam[8] = { 0xe7, 0x02, 0x06 };
	static const char module[] = SIM_ORGANIZATION " TDX module 1";

	memcpy(td->tee_tcb_svn, h->platform.tee_tcb_svn, 16);
	sha384(td->mrseam, module, sizeof module - 1);
	memset(td->mrsignerseam, 0, sizeof td->mrsignerseam);
	memset(td->seam_attributes, 0, sizeof td->seam_attributes);
	memset(td->td_attributes, 0, sizeof td->td_attributes);
	if (h->fault != SIM_FAULT_NO_SEPT_VE)
		td->td_attributes[3] |= ATTR_SEPT_VE_DISABLE;
	if (h->fault == SIM_FAULT_DEBUG)
		td->td_attributes[0] |= ATTR_DEBUG;
	memcpy(td->xfam, xfam, sizeof xfam);
}

/* ---- the file ---- */

/* The fixed-size fields of host.json. */
#define FIELDS(X, h) \
	X("ppid", (h)->platform.ppid) \
	X("platform_instance_id", (h)->platform.instance_id) \
	X("sgx_svn", (h)->platform.sgx_svn) \
	X("tee_tcb_svn", (h)->platform.tee_tcb_svn) \
	X("pck_serial", (h)->serial.b) \
	X("pck_key", (h)->pck_key.b) \
	X("attestation_key", (h)->qe.att_key.b) \
	X("qe_id", (h)->qe.id) \
	X("qe_report", (h)->qe.report) \
	X("qe_report_signature", (h)->qe.report_signature) \
	X("qe_auth", (h)->qe.auth) \
	X("fuse_key", (h)->fuse_key)

static enum err
host_store(const struct sim_host *h, const char *path)
{
	json_t *o = json_object();
	struct buf text = { 0 };
	enum err e = o == NULL ? ERR_NOMEM : ERR_OK;

	if (e == ERR_OK)
		e = json_set_str(o, "fault", sim_fault_text(h->fault));
	if (e == ERR_OK)
		e = json_set_u64(o, "pce_svn", h->platform.pce_svn);
	if (e == ERR_OK)
		e = json_set_str(
		    o, "pck_chain", (const char *)h->qe.pck_chain.p);
#define X(name, field) \
	if (e == ERR_OK) \
		e = json_set_hex(o, name, field, sizeof(field));
	FIELDS(X, h)
#undef X
	if (e == ERR_OK)
		e = buf_reserve(&text, 32 * 1024);
	if (e == ERR_OK)
		e = json_write_pretty(&text, o);
	if (e == ERR_OK)
		e = file_write(path, text.p, text.len, 0600);
	json_wipe(o);
	buf_wipe(&text);
	return e;
}

enum err
sim_host_load(struct sim_host *out, const char *host_dir)
{
	char path[PATH_CAP];
	struct sim_host h = { 0 };
	struct buf text = { 0 };
	json_t *o = NULL;
	const char *fault, *chain;
	uint64_t pce;
	enum err e;

	if ((e = file_join(path, sizeof path, host_dir, HOST_FILE)) != ERR_OK ||
	    (e = file_read(&text, path, LIMIT_CONFIG_FILE)) != ERR_OK)
		goto done;
	e = ERR_CORRUPT;
	if (json_parse(&o, text.p, text.len, LIMIT_CONFIG_FILE, NULL, 0) !=
		ERR_OK ||
	    json_get_str(&fault, o, "fault") != ERR_OK ||
	    sim_fault_parse(&h.fault, fault) != ERR_OK ||
	    json_get_u64(&pce, o, "pce_svn") != ERR_OK || pce > UINT16_MAX ||
	    json_get_str(&chain, o, "pck_chain") != ERR_OK)
		goto done;
	h.platform.pce_svn = (uint16_t)pce;
#define X(name, field) \
	if (json_get_hex(field, sizeof(field), o, name) != ERR_OK) \
		goto done;
	FIELDS(X, &h)
#undef X
	if (!p256_secret_valid(&h.pck_key) || !p256_secret_valid(&h.qe.att_key))
		goto done;
	if ((e = buf_set(&h.qe.pck_chain, chain, strlen(chain))) != ERR_OK)
		goto done;
	*out = h;
	h = (struct sim_host){ 0 };
done:
	sim_host_fini(&h);
	json_wipe(o);
	buf_wipe(&text);
	return e;
}

/* ---- provisioning ---- */

/* A new PCK key and certificate for the platform's SVNs, and a quoting
 * enclave under it: what a machine does after a microcode update. */
static enum err
certify(struct sim_host *h, const char *dir, unsigned level, int64_t now)
{
	struct p256_pub pub;
	enum err e;

	sim_platform_svns(&h->platform, level);
	p256_generate(&h->pck_key);
	if ((e = p256_pubkey(&pub, &h->pck_key)) != ERR_OK ||
	    (e = sim_pki_issue_pck(&h->qe.pck_chain, &h->serial, dir, &pub,
		 &h->platform, now)) != ERR_OK)
		return e;
	return sim_qe_provision(&h->qe, &h->pck_key, &h->platform);
}

static enum err
host_dir(char *out, size_t cap, const char *dir, const char *name)
{
	int n;

	if (!sim_name_ok(name))
		return ERR_CONFIG;
	n = snprintf(out, cap, "%s/hosts/%s", dir, name);
	return n < 0 || (size_t)n >= cap ? ERR_LIMIT : ERR_OK;
}

enum err
sim_host_create(const char *dir, const char *name, int64_t now)
{
	char folder[PATH_CAP - 16], path[PATH_CAP];
	struct sim_host h = { .fault = SIM_FAULT_NONE };
	struct stat st;
	enum err e;

	if ((e = host_dir(folder, sizeof folder, dir, name)) != ERR_OK ||
	    (e = file_join(path, sizeof path, folder, HOST_FILE)) != ERR_OK)
		return e;
	if (stat(path, &st) == 0)
		return ERR_EXISTS;
	secret_random(h.platform.ppid, sizeof h.platform.ppid);
	secret_random(h.platform.instance_id, sizeof h.platform.instance_id);
	secret_random(h.fuse_key, sizeof h.fuse_key);
	if ((e = certify(&h, dir, 0, now)) == ERR_OK &&
	    (e = file_mkdirs(folder)) == ERR_OK)
		e = host_store(&h, path);
	sim_host_fini(&h);
	return e;
}

enum err
sim_host_set(
    const char *dir, const char *name, enum sim_fault fault, int64_t now)
{
	char folder[PATH_CAP - 16], path[PATH_CAP];
	struct sim_host h = { 0 };
	enum err e;

	if ((e = host_dir(folder, sizeof folder, dir, name)) != ERR_OK ||
	    (e = file_join(path, sizeof path, folder, HOST_FILE)) != ERR_OK ||
	    (e = sim_host_load(&h, folder)) != ERR_OK)
		return e;
	h.fault = fault;
	/* A revocation hits the certificate in use; any other state starts
	 * from a newly certified platform, so that faults do not add up. */
	if (fault == SIM_FAULT_REVOKED)
		e = sim_pki_revoke(dir, &h.serial, now);
	else
		e = certify(&h, dir, fault == SIM_FAULT_OUT_OF_DATE, now);
	if (e == ERR_OK)
		e = host_store(&h, path);
	sim_host_fini(&h);
	return e;
}
