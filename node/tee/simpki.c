#include <sys/file.h>
#include <sys/stat.h>

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/file.h"
#include "common/base/hex.h"
#include "common/base/json.h"
#include "common/base/limits.h"
#include "common/base/secret.h"
#include "node/tee/simdocs.h"
#include "node/tee/simpki.h"

#define PATH_CAP 1024
#define CERT_LIFE_S (20ll * 365 * 24 * 3600)
/* Certificates begin a day early, so that a test may choose its clock. */
#define CERT_BACKDATE_S (24 * 3600)
#define BACKDATE_MAX_S 3600
#define LIFE_MIN_S 60

static const char readme[] =
    "This folder belongs to the devproof-kms simulator.\n\n"
    "pki/     an imitation of a TEE vendor: root CA, PCK CA, signing key,\n"
    "         their revocation lists and signed documents\n"
    "hosts/   simulated machines with their platform keys\n"
    "images/  simulated OS images\n\n"
    "Whoever reads these files can forge the evidence of any simulated\n"
    "machine.  No verifier outside a simulation may trust pki/root.der.\n";

static const char *const documents[] = {
	[SIM_DOC_ROOT] = "root.der",
	[SIM_DOC_ROOT_CRL] = "root.crl",
	[SIM_DOC_PCK_CRL] = "pck_ca.crl",
	[SIM_DOC_TCB_INFO] = "tcb_info.json",
	[SIM_DOC_QE_IDENTITY] = "qe_identity.json",
	[SIM_DOC_SIGNING_CHAIN] = "signing_chain.pem",
	[SIM_DOC_PCK_CA_CHAIN] = "pck_ca_chain.pem",
};

struct sim_pki {
	char dir[PATH_CAP]; /* <dir>/pki */
	int lock; /* descriptor that holds the lock */
	struct sim_authority root, pck_ca, signing;
	struct sim_serial revoked[SIM_REVOKED_MAX];
	size_t n_revoked;
	int64_t life_s;
	int64_t issued_at; /* of the documents in the files */
};

/* ---- files ---- */

static enum err
put(const struct sim_pki *p, const char *name, const void *data, size_t len,
    mode_t mode)
{
	char path[PATH_CAP + 32];
	enum err e = file_join(path, sizeof path, p->dir, name);

	return e == ERR_OK ? file_write(path, data, len, mode) : e;
}

static enum err
get(struct buf *out, const struct sim_pki *p, const char *name)
{
	char path[PATH_CAP + 32];
	enum err e = file_join(path, sizeof path, p->dir, name);

	return e == ERR_OK ? file_read(out, path, LIMIT_COLLATERAL) : e;
}

static enum err
put_authority(
    const struct sim_pki *p, const char *name, const struct sim_authority *a)
{
	char file[32], hex[65];
	enum err e;

	(void)snprintf(file, sizeof file, "%s.key", name);
	e = put(p, file, hex_encode(hex, a->key.b, 32), 64, 0600);
	secret_wipe(hex, sizeof hex);
	(void)snprintf(file, sizeof file, "%s.der", name);
	return e == ERR_OK ? put(p, file, a->der.p, a->der.len, 0644) : e;
}

static enum err
get_authority(
    struct sim_authority *out, const struct sim_pki *p, const char *name)
{
	char file[32];
	struct buf hex = { 0 };
	enum err e;

	(void)snprintf(file, sizeof file, "%s.key", name);
	if ((e = get(&hex, p, file)) == ERR_OK &&
	    hex_fixed(out->key.b, 32, (char *)hex.p) != ERR_OK)
		e = ERR_CORRUPT;
	buf_wipe(&hex);
	(void)snprintf(file, sizeof file, "%s.der", name);
	return e == ERR_OK ? get(&out->der, p, file) : e;
}

static enum err
put_state(const struct sim_pki *p)
{
	json_t *o = json_object(), *list = json_array();
	struct buf text = { 0 };
	char hex[2 * SIM_SERIAL_LEN + 1];
	enum err e = ERR_OK;

	for (size_t i = 0; i < p->n_revoked && e == ERR_OK; i++)
		if (json_array_append_new(list,
			json_string(hex_encode(
			    hex, p->revoked[i].b, SIM_SERIAL_LEN))) != 0)
			e = ERR_NOMEM;
	if (e == ERR_OK)
		e = json_set_u64(o, "life_s", (uint64_t)p->life_s);
	if (e == ERR_OK)
		e = json_set_u64(o, "issued_at", (uint64_t)p->issued_at);
	if (e == ERR_OK) {
		e = json_set_new(o, "revoked", list);
		list = NULL;
	}
	if (e == ERR_OK)
		e = json_write_pretty(&text, o);
	if (e == ERR_OK)
		e = put(p, "state.json", text.p, text.len, 0600);
	json_decref(o);
	json_decref(list);
	buf_fini(&text);
	return e;
}

static enum err
get_state(struct sim_pki *p)
{
	json_t *o = NULL, *list, *item;
	struct buf text = { 0 };
	uint64_t life, issued;
	enum err e;
	size_t i;

	if ((e = get(&text, p, "state.json")) != ERR_OK)
		goto done;
	e = ERR_CORRUPT;
	if (json_parse(&o, text.p, text.len, LIMIT_COLLATERAL, NULL, 0) !=
		ERR_OK ||
	    json_get_u64(&life, o, "life_s") != ERR_OK ||
	    json_get_u64(&issued, o, "issued_at") != ERR_OK ||
	    life < LIFE_MIN_S || life > INT32_MAX || issued > INT64_MAX)
		goto done;
	p->life_s = (int64_t)life;
	p->issued_at = (int64_t)issued;
	list = json_object_get(o, "revoked");
	if (!json_is_array(list) || json_array_size(list) > SIM_REVOKED_MAX)
		goto done;
	json_array_foreach(list, i, item) if (!json_is_string(item) ||
	    hex_fixed(p->revoked[i].b, SIM_SERIAL_LEN,
		json_string_value(item)) != ERR_OK) goto done;
	p->n_revoked = json_array_size(list);
	e = ERR_OK;
done:
	json_decref(o);
	buf_fini(&text);
	return e;
}

/* ---- opening ---- */

static void
pki_close(struct sim_pki *p)
{
	sim_authority_fini(&p->root);
	sim_authority_fini(&p->pck_ca);
	sim_authority_fini(&p->signing);
	if (p->lock >= 0)
		(void)close(p->lock);
	p->lock = -1;
}

/* Sets the folder and takes its lock. */
static enum err
pki_lock(struct sim_pki *p, const char *dir)
{
	char path[PATH_CAP + 32];
	enum err e;

	*p = (struct sim_pki){ .lock = -1 };
	if ((e = file_join(p->dir, sizeof p->dir, dir, "pki")) != ERR_OK ||
	    (e = file_join(path, sizeof path, p->dir, ".lock")) != ERR_OK)
		return e;
	p->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (p->lock < 0)
		return ERR_NOTFOUND;
	return flock(p->lock, LOCK_EX) == 0 ? ERR_OK : ERR_IO;
}

static enum err
pki_open(struct sim_pki *p, const char *dir)
{
	enum err e;

	if ((e = pki_lock(p, dir)) == ERR_OK && (e = get_state(p)) == ERR_OK &&
	    (e = get_authority(&p->root, p, "root")) == ERR_OK &&
	    (e = get_authority(&p->pck_ca, p, "pck_ca")) == ERR_OK &&
	    (e = get_authority(&p->signing, p, "tcb_signing")) == ERR_OK)
		return ERR_OK;
	pki_close(p);
	return e;
}

/* ---- documents ---- */

/* Signs `inner` and writes {"<name>":inner,"signature":"hex"}. */
static enum err
put_signed(const struct sim_pki *p, const char *file, const char *name,
    const struct buf *inner)
{
	struct buf out = { 0 };
	uint8_t sig[64];
	char hex[129];
	enum err e;

	if ((e = p256_sign_raw(sig, &p->signing.key, inner->p, inner->len)) ==
		ERR_OK &&
	    (e = buf_printf(&out, "{\"%s\":%s,\"signature\":\"%s\"}", name,
		 (const char *)inner->p, hex_encode(hex, sig, 64))) == ERR_OK)
		e = put(p, file, out.p, out.len, 0644);
	buf_fini(&out);
	return e;
}

static enum err
put_crl(const struct sim_pki *p, const char *file,
    const struct sim_authority *issuer, const struct sim_serial *revoked,
    size_t n, int64_t from, int64_t until)
{
	struct buf der = { 0 };
	enum err e = sim_crl_issue(&der, issuer, revoked, n, from, until);

	if (e == ERR_OK)
		e = put(p, file, der.p, der.len, 0644);
	buf_fini(&der);
	return e;
}

static enum err
issue_documents(struct sim_pki *p, int64_t now)
{
	int64_t back =
	    p->life_s / 8 < BACKDATE_MAX_S ? p->life_s / 8 : BACKDATE_MAX_S;
	int64_t from = now - back, until = from + p->life_s;
	struct buf tcb = { 0 }, qe = { 0 };
	enum err e;

	if ((e = sim_tcb_info_text(&tcb, from, until)) != ERR_OK ||
	    (e = sim_qe_identity_text(&qe, from, until)) != ERR_OK ||
	    (e = put_signed(p, documents[SIM_DOC_TCB_INFO], "tcbInfo", &tcb)) !=
		ERR_OK ||
	    (e = put_signed(p, documents[SIM_DOC_QE_IDENTITY],
		 "enclaveIdentity", &qe)) != ERR_OK ||
	    (e = put_crl(p, documents[SIM_DOC_ROOT_CRL], &p->root, NULL, 0,
		 from, until)) != ERR_OK ||
	    (e = put_crl(p, documents[SIM_DOC_PCK_CRL], &p->pck_ca, p->revoked,
		 p->n_revoked, from, until)) != ERR_OK)
		goto done;
	p->issued_at = now;
	e = put_state(p); /* last: it says that the others are there */
done:
	buf_fini(&tcb);
	buf_fini(&qe);
	return e;
}

static enum err
put_chain(const struct sim_pki *p, enum sim_document what,
    const struct sim_authority *first)
{
	struct buf pem = { 0 };
	enum err e;

	if ((e = sim_cert_pem(&pem, buf_view(&first->der))) == ERR_OK &&
	    (e = sim_cert_pem(&pem, buf_view(&p->root.der))) == ERR_OK)
		e = put(p, documents[what], pem.p, pem.len, 0644);
	buf_fini(&pem);
	return e;
}

static enum err
new_authority(struct sim_authority *out, enum sim_cert_kind kind,
    const struct sim_authority *issuer, int64_t now)
{
	struct sim_serial serial;
	struct p256_pub pub;
	enum err e;

	p256_generate(&out->key);
	if ((e = p256_pubkey(&pub, &out->key)) != ERR_OK)
		return e;
	return sim_cert_issue(&out->der, &serial, kind, &pub, issuer, NULL,
	    now - CERT_BACKDATE_S, now + CERT_LIFE_S);
}

/* ---- public ---- */

enum err
sim_pki_init(const char *dir, int64_t life_s, int64_t now)
{
	char path[PATH_CAP + 32];
	struct sim_pki p = { .lock = -1 };
	struct stat st;
	enum err e;

	if (life_s == 0)
		life_s = SIM_LIFE_DEFAULT_S;
	if (life_s < LIFE_MIN_S || life_s > INT32_MAX)
		return ERR_CONFIG;
	if ((e = file_join(path, sizeof path, dir, "pki")) != ERR_OK ||
	    (e = file_mkdirs(path)) != ERR_OK ||
	    (e = pki_lock(&p, dir)) != ERR_OK)
		goto done;
	if ((e = file_join(path, sizeof path, p.dir, "state.json")) != ERR_OK)
		goto done;
	if (stat(path, &st) == 0) {
		e = ERR_EXISTS;
		goto done;
	}
	p.life_s = life_s;
	if ((e = new_authority(&p.root, SIM_CERT_ROOT, &p.root, now)) !=
		ERR_OK ||
	    (e = new_authority(&p.pck_ca, SIM_CERT_PCK_CA, &p.root, now)) !=
		ERR_OK ||
	    (e = new_authority(
		 &p.signing, SIM_CERT_TCB_SIGNING, &p.root, now)) != ERR_OK ||
	    (e = put_authority(&p, "root", &p.root)) != ERR_OK ||
	    (e = put_authority(&p, "pck_ca", &p.pck_ca)) != ERR_OK ||
	    (e = put_authority(&p, "tcb_signing", &p.signing)) != ERR_OK ||
	    (e = put_chain(&p, SIM_DOC_SIGNING_CHAIN, &p.signing)) != ERR_OK ||
	    (e = put_chain(&p, SIM_DOC_PCK_CA_CHAIN, &p.pck_ca)) != ERR_OK ||
	    (e = file_join(path, sizeof path, dir, "README")) != ERR_OK ||
	    (e = file_write(path, readme, sizeof readme - 1, 0644)) != ERR_OK)
		goto done;
	e = issue_documents(&p, now);
done:
	pki_close(&p);
	return e;
}

enum err
sim_pki_refresh(const char *dir, bool force, int64_t now)
{
	struct sim_pki p;
	enum err e = pki_open(&p, dir);

	if (e != ERR_OK)
		return e;
	if (force || now < p.issued_at || now - p.issued_at > p.life_s / 2)
		e = issue_documents(&p, now);
	pki_close(&p);
	return e;
}

enum err
sim_pki_document(struct buf *out, const char *dir, enum sim_document what)
{
	char path[PATH_CAP + 32];
	int n = snprintf(path, sizeof path, "%s/pki/%s", dir, documents[what]);

	if (n < 0 || (size_t)n >= sizeof path)
		return ERR_LIMIT;
	return file_read(out, path, LIMIT_COLLATERAL);
}

enum err
sim_pki_issue_pck(struct buf *chain, struct sim_serial *serial, const char *dir,
    const struct p256_pub *key, const struct sim_platform *platform,
    int64_t now)
{
	struct buf der = { 0 }, pem = { 0 };
	struct sim_pki p;
	enum err e = pki_open(&p, dir);

	if (e != ERR_OK)
		return e;
	if ((e = sim_cert_issue(&der, serial, SIM_CERT_PCK, key, &p.pck_ca,
		 platform, now - CERT_BACKDATE_S, now + CERT_LIFE_S)) !=
		ERR_OK ||
	    (e = sim_cert_pem(&pem, buf_view(&der))) != ERR_OK ||
	    (e = sim_cert_pem(&pem, buf_view(&p.pck_ca.der))) != ERR_OK ||
	    (e = sim_cert_pem(&pem, buf_view(&p.root.der))) != ERR_OK)
		goto done;
	e = buf_set(chain, pem.p, pem.len);
done:
	buf_fini(&der);
	buf_fini(&pem);
	pki_close(&p);
	return e;
}

enum err
sim_pki_revoke(const char *dir, const struct sim_serial *serial, int64_t now)
{
	struct sim_pki p;
	enum err e = pki_open(&p, dir);

	if (e != ERR_OK)
		return e;
	for (size_t i = 0; i < p.n_revoked; i++)
		if (memcmp(p.revoked[i].b, serial->b, SIM_SERIAL_LEN) == 0)
			goto done; /* listed already */
	if (p.n_revoked == SIM_REVOKED_MAX) {
		e = ERR_LIMIT;
		goto done;
	}
	p.revoked[p.n_revoked++] = *serial;
	e = issue_documents(&p, now);
done:
	pki_close(&p);
	return e;
}
