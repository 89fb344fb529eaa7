/* kmsctl verify tls: is the server at the other end the app that it says? */
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/hex.h"
#include "common/base/limits.h"
#include "common/crypto/hash.h"
#include "kms/ctl/appname.h"
#include "kms/ctl/kmsroots.h"
#include "kms/ctl/lab.h"
#include "kms/ctl/quotecerts.h"
#include "kms/ctl/tlswho.h"

#define TIMEOUT_S 20
#define TIMEOUT_MAX_S 600
#define ROOT_FILE_MAX (16u * 1024)
#define HOST_MAX 256

struct tlsjob {
	struct quotejob q;
	struct tlscert_pins pins;
	struct kmsroots roots; /* where the pins came from, if .n > 0 */
	struct tlswho who;
	uint8_t app_id[20], compose_hash[32], os_image[32];
	struct tlsclient_options server;
	char host[HOST_MAX], port[16];
	char pccs[CONTRACT_URL_MAX];
	struct tlsclient_peer peer; /* owns */
	struct tlscert_facts facts; /* owns its ext, once has_facts */
	bool has_facts;
};

/* ---- the words ---- */

static enum ctl_exit
bad(struct tlsjob *t, const char *what)
{
	return ctl_fail(t->q.c, CTL_USAGE, "%s", what);
}

/* "host:port", "[v6]:port"; a name goes into the handshake. */
static enum ctl_exit
read_server(struct tlsjob *t, const struct args *a)
{
	const char *text = a->n_pos > 0 ? a->pos[0] : NULL;
	const char *colon = text != NULL ? strrchr(text, ':') : NULL;
	const char *timeout = args_get(a, "timeout");
	uint64_t s = TIMEOUT_S;
	size_t n;

	t->server.unix_path = args_get(a, "unix");
	t->server.name = args_get(a, "name");
	if ((text == NULL) == (t->server.unix_path == NULL))
		return bad(t, "which server? HOST:PORT, or --unix SOCKET");
	if (timeout != NULL &&
	    (args_u64(&s, timeout, TIMEOUT_MAX_S) != ERR_OK || s == 0))
		return bad(t, "--timeout: must be 1 to 600 seconds");
	t->server.timeout_ms = (unsigned)(1000 * s);
	t->q.source = text != NULL ? text : t->server.unix_path;
	if (text == NULL)
		return CTL_OK;
	if (colon == NULL || colon == text || colon[1] == '\0' ||
	    strlen(colon + 1) >= sizeof t->port)
		return bad(t, "the server must be HOST:PORT");
	n = (size_t)(colon - text);
	if (text[0] == '[' && n > 2 && text[n - 1] == ']') {
		text++;
		n -= 2;
	}
	if (n >= sizeof t->host)
		return bad(t, "the server's name is too long");
	memcpy(t->host, text, n);
	(void)snprintf(t->port, sizeof t->port, "%s", colon + 1);
	t->server.host = t->host;
	t->server.port = t->port;
	return CTL_OK;
}

static enum ctl_exit
read_expected(struct tlsjob *t, const struct args *a)
{
	const char *app = args_get(a, "app"),
		   *compose = args_get(a, "compose-hash"),
		   *image = args_get(a, "os-image");
	enum ctl_exit rc;

	if (app != NULL) {
		rc = appname_resolve(t->app_id, t->q.c, a, app);
		if (rc != CTL_OK)
			return rc;
		t->who.app_id = t->app_id;
	}
	if (compose != NULL) {
		if (hex_fixed(t->compose_hash, 32, compose) != ERR_OK)
			return bad(
			    t, "--compose-hash: must be 32 bytes in hex");
		t->who.compose_hash = t->compose_hash;
	}
	if (image != NULL) {
		if (hex_fixed(t->os_image, 32, image) != ERR_OK)
			return bad(t, "--os-image: must be 32 bytes in hex");
		t->who.os_image_hash = t->os_image;
	}
	return CTL_OK;
}

/* An SPKI or its SHA-256 in hex, or a certificate's file. */
static enum ctl_exit
read_pin(struct tlsjob *t, const char *text)
{
	uint8_t spki[P256_SPKI_LEN];
	struct buf file = { 0 }, der = { 0 };
	enum ctl_exit rc = CTL_OK;
	enum err e;

	t->pins.n = 1;
	t->pins.by = "--root";
	if (hex_fixed(t->pins.hash[0], 32, text) == ERR_OK)
		return CTL_OK;
	if (hex_fixed(spki, sizeof spki, text) == ERR_OK) {
		sha256(t->pins.hash[0], spki, sizeof spki);
		return CTL_OK;
	}
	if ((e = file_read(&file, text, ROOT_FILE_MAX)) == ERR_OK &&
	    (e = quotecerts_to_der(&der, buf_view(&file))) == ERR_OK)
		e = tlscert_spki(spki, buf_view(&der));
	if (e == ERR_OK)
		sha256(t->pins.hash[0], spki, sizeof spki);
	else
		rc = ctl_fail(t->q.c, CTL_USAGE,
		    "--root %.200s: neither an SPKI (91 bytes in hex), nor its "
		    "SHA-256 (32), nor a certificate: %s",
		    text, err_text(e));
	buf_fini(&file);
	buf_fini(&der);
	return rc;
}

static enum ctl_exit
read_pins(struct tlsjob *t, const struct args *a)
{
	const char *root = args_get(a, "root");
	bool chain = args_has(a, "sim") || args_has(a, "rpc");
	enum ctl_exit rc;

	if (root == NULL && !chain)
		return bad(t,
		    "which KMS? give --root SPKI, or --rpc with --kms and "
		    "--registry, or --sim DIR");
	if (chain) {
		rc = kmsroots_from_args(&t->roots, t->q.c, a);
		if (rc != CTL_OK)
			return rc;
		if (t->roots.k.has_kms)
			t->who.chain = &t->roots.k;
	}
	if (root != NULL)
		return read_pin(t, root);
	for (size_t i = 0; i < t->roots.n && i < TLSCERT_PINS; i++)
		memcpy(t->pins.hash[t->pins.n++], t->roots.root[i].ca_spki_hash,
		    32);
	t->pins.by = t->roots.by;
	return CTL_OK;
}

/* The simulator's vendor, where a lab is named; --quote-root by file. */
static enum ctl_exit
read_vendor(struct tlsjob *t, const struct args *a)
{
	const char *dir = args_get(a, "sim");
	struct buf text = { 0 };
	char why[LAB_WHY_MAX], path[LAB_PATH_MAX];
	struct lab *l = NULL;
	enum ctl_exit rc;
	enum err e;

	rc = quotejob_file(&t->q, &text, "quote-root", ROOT_FILE_MAX);
	if (rc == CTL_OK && text.len > 0) {
		t->q.root_from = args_get(a, "quote-root");
		if (quotecerts_to_der(&t->q.root, buf_view(&text)) != ERR_OK)
			rc = bad(t, "--quote-root: not a certificate");
	}
	buf_fini(&text);
	if (rc != CTL_OK || dir == NULL)
		return rc;
	if (lab_load(&l, dir, why) != ERR_OK)
		return ctl_fail(t->q.c, CTL_USAGE, "%s", why);
	lab_pccs_url(t->pccs, l);
	if (!args_has(a, "pccs") && !args_has(a, "collateral"))
		t->q.pccs = t->pccs;
	lab_path(path, l, "sim-root.der");
	lab_free(l);
	if (t->q.root.len > 0)
		return CTL_OK;
	t->q.root_from = "the lab's sim-root.der";
	if ((e = file_read(&t->q.root, path, ROOT_FILE_MAX)) != ERR_OK)
		return ctl_fail(
		    t->q.c, CTL_USAGE, "%.200s: %s", path, err_text(e));
	return CTL_OK;
}

static enum ctl_exit
read_words(struct tlsjob *t, const struct args *a)
{
	enum ctl_exit rc;

	if ((rc = read_server(t, a)) != CTL_OK ||
	    (rc = quotejob_now(&t->q)) != CTL_OK ||
	    (rc = quotejob_policy(&t->q)) != CTL_OK ||
	    (rc = read_expected(t, a)) != CTL_OK ||
	    (rc = read_vendor(t, a)) != CTL_OK ||
	    (rc = quotejob_file(&t->q, &t->q.compose, "compose",
		 LIMIT_APP_COMPOSE)) != CTL_OK ||
	    (rc = quotejob_file(&t->q, &t->q.vm_config, "vm-config",
		 LIMIT_VM_CONFIG)) != CTL_OK)
		return rc;
	t->who.pins = &t->pins;
	return read_pins(t, a);
}

/* ---- the server ---- */

static enum ctl_exit
shake(struct tlsjob *t)
{
	struct refusal why = { .code = REASON_NONE };
	enum err e = tlsclient_shake(&t->peer, &t->server, &why);

	if (e == ERR_IO)
		return ctl_fail(t->q.c, CTL_UNREACHABLE,
		    "%.200s: nobody answers there", t->q.source);
	if (e == ERR_TIMEOUT)
		return ctl_fail(t->q.c, CTL_UNREACHABLE,
		    "%.200s: no TLS handshake within %u s", t->q.source,
		    t->server.timeout_ms / 1000);
	if (e != ERR_OK && e != ERR_DENIED)
		return ctl_fail(t->q.c, CTL_FAILED, "%s", err_text(e));
	quotereport_row(&t->q.report,
	    &(struct quoterow){ .check = "a TLS handshake, signed by the "
					 "leaf's key",
		.found = e == ERR_OK ? t->peer.version : NULL,
		.codes = "TLS_HANDSHAKE" });
	quotejob_keep(&t->q, e, &why);
	return CTL_OK;
}

static enum ctl_exit
check(struct tlsjob *t)
{
	struct refusal why = { .code = REASON_NONE };
	enum ctl_exit rc = shake(t);
	enum err e;

	if (rc != CTL_OK || t->q.e != ERR_OK)
		return rc;
	e = tlscert_check(&t->q.report, &t->facts, &t->peer, &t->pins,
	    t->server.name, t->q.now, &why);
	quotejob_keep(&t->q, e, &why);
	if (e != ERR_OK)
		return CTL_OK;
	t->has_facts = true;
	t->q.file.ev = t->facts.ext.ev; /* transferred */
	t->facts.ext.ev = (struct evidence){ 0 };
	t->q.file.kind = quotefile_kind_of(buf_view(&t->q.file.ev.quote));
	t->q.file.form =
	    t->facts.ext.legacy ? "extensions .1 and .2" : "extension .8";
	if (t->q.file.kind != QUOTEFILE_INTEL) {
		quotejob_keep(&t->q,
		    refuse(&why, REASON_QUOTE_UNSUPPORTED,
			"TLS_ATTESTATION: not a TDX quote"),
		    &why);
		return CTL_OK;
	}
	if ((rc = quotejob_intel(&t->q)) != CTL_OK)
		return rc;
	if (t->q.genuine)
		tlswho_check(&t->q, &t->facts, &t->who);
	return CTL_OK;
}

static json_t *
server_json(const struct tlsjob *t)
{
	json_t *o = json_object(), *list = json_array();

	(void)json_set_str(o, "server", t->q.source);
	(void)json_set_str(o, "version", t->peer.version);
	(void)json_set_str(o, "cipher", t->peer.cipher);
	for (size_t i = 0; i < t->peer.n; i++) {
		char date[QUOTEREPORT_DATE], text[QUOTECERTS_NAME + 64];
		struct cert_facts f;

		if (quotecerts_der(&f, buf_view(&t->peer.cert[i])) != ERR_OK)
			continue;
		(void)snprintf(text, sizeof text, "%s, until %s", f.subject,
		    quotereport_date(date, f.until));
		(void)json_array_append_new(list, json_string(text));
	}
	(void)json_set_new(o, "certificates", list);
	if (t->has_facts) {
		(void)json_set_hex(o, "app_id", t->facts.app_id, 20);
		(void)json_set_hex(o, "root_ca_sha256", t->facts.root_hash, 32);
		(void)json_set_hex(o, "key_spki", t->facts.leaf_spki,
		    sizeof t->facts.leaf_spki);
	}
	return o;
}

static enum ctl_exit
run_tls(struct ctl *c, const struct args *a)
{
	struct tlsjob *t = calloc(1, sizeof *t);
	enum ctl_exit rc = CTL_FAILED;

	if (t == NULL || quotereport_init(&t->q.report) != ERR_OK) {
		free(t);
		return ctl_fail(c, CTL_FAILED, "out of memory");
	}
	t->q.c = c;
	t->q.a = a;
	if ((rc = read_words(t, a)) == CTL_OK && (rc = check(t)) == CTL_OK)
		rc = quotejob_answer(&t->q, server_json(t));
	if (t->has_facts)
		certext_fini(&t->facts.ext);
	tlsclient_peer_fini(&t->peer);
	quotejob_fini(&t->q);
	free(t);
	return rc;
}

static const struct args_option options[] = {
	{ "unix", "SOCKET", "the server listens there" },
	{ "name", "NAME", "of the server: asked for, and in the certificate" },
	{ "timeout", "S", "for the handshake (default 20)" },
	{ "root", "SPKI",
	    "the KMS's root CA: SPKI or its SHA-256 in hex, or "
	    "a certificate" },
	CONTRACT_OPTIONS_READ,
	CONTRACT_OPTION_REGISTRY,
	{ "app", "0xID", "the app that it must be (or its name in --sim)" },
	{ "compose", "FILE", "the app-compose that must be measured" },
	{ "compose-hash", "HEX", "or its hash" },
	{ "os-image", "HEX", "the OS image that it must run" },
	{ "vm-config", "FILE", "for certificates of before .8" },
	{ "collateral", "FILE", "a saved bundle (`collateral fetch`)" },
	{ "pccs", "URL", "or a PCCS (default: Intel's own service)" },
	{ "insecure-tls", NULL, "take any certificate of the PCCS" },
	{ "now", "T", "as of: seconds, or 2026-01-02T03:04:05Z" },
	{ "policy", "P", "default, any, or a YAML file" },
	{ "quote-root", "FILE", "another vendor's anchor: marks it insecure" },
	{ NULL, NULL, NULL },
};

const struct ctl_command cmd_tls[] = {
	{ "verify tls", "[HOST:PORT]", "verify a live server, check by check",
	    options, 0, 1, run_tls },
	{ .name = NULL },
};
