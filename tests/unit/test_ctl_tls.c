/* kmsctl verify tls, against live servers that are almost right: each lacks
 * one thing, and is refused for that. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>
#include <openssl/x509.h>

#include "common/attest/attestation.h"
#include "common/attest/attestation_v1.h"
#include "common/attest/certmake.h"
#include "common/base/file.h"
#include "common/base/hex.h"
#include "common/base/secret.h"
#include "common/crypto/hash.h"
#include "common/wire/ratls.h"
#include "kms/ctl/ctl.h"
#include "kms/keys/certs.h"
#include "tests/lib/simworld.h"
#include "tests/lib/tls_server.h"

#define NOW SIMWORLD_NOW
#define COMPOSE "{\"name\":\"app\"}"

static struct simworld w;
static struct epoch_roots *roots, *others;
static struct epoch_public pub, other_pub;
static struct p256_secret key;
static struct tls_server *server;
static char bundle[512], vendor[512], ca_file[512], compose[512];
static char pin[2 * P256_SPKI_LEN + 1], other_pin[65], hash_hex[65];
static uint8_t compose_hash_[32];

/* What a test wants the server to show; zeros are as it should be. */
struct wish {
	uint8_t app; /* of the certificate; 0: 0x42, which is measured */
	bool no_attestation, other_key, relabelled, full_log;
	bool v1; /* of the attestation, which has the full log then */
	const char *event; /* renamed in the attestation */
	bool provider_other, provider_none;
	bool no_provider; /* at all */
	int64_t not_after;
	const char *usage; /* instead of app:custom; as long as that */
	bool leaf_of_other_app; /* signed by the right CA all the same */
	bool info_other; /* app info of another guest */
	size_t n_certs; /* 0: all three */
	bool self_signed;
	bool swap_ca; /* another root's app CA in the middle */
	enum sim_fault fault;
	enum tls_server_mode mode;
};

static void
write_file(char path[512], const char *name, const void *p, size_t len)
{
	(void)snprintf(path, 512, "%s/%s", w.dir, name);
	cr_assert_eq(file_write(path, p, len, 0600), ERR_OK);
}

static void
make_roots(struct epoch_roots **out, struct epoch_public *p)
{
	cr_assert_eq(epoch_roots_generate(out, 0), ERR_OK);
	epoch_roots_public(*out, p);
}

static void
setup(void)
{
	uint8_t spki[P256_SPKI_LEN], h[32];
	struct buf text = { 0 }, der = { 0 };
	struct collateral c;

	(void)signal(SIGPIPE, SIG_IGN); /* as kmsctl does */
	cr_assert_eq(secret_process_init(), ERR_OK);
	simworld_init(&w);
	simworld_collateral(&c, &w);
	cr_assert_eq(collateral_to_json(&text, &c), ERR_OK);
	write_file(bundle, "bundle", text.p, text.len);
	cr_assert_eq(sim_pki_document(&der, w.dir, SIM_DOC_ROOT), ERR_OK);
	write_file(vendor, "vendor.der", der.p, der.len);
	write_file(compose, "compose", COMPOSE, sizeof COMPOSE - 1);
	sha256(compose_hash_, COMPOSE, sizeof COMPOSE - 1);
	hex_encode(hash_hex, compose_hash_, 32);
	make_roots(&roots, &pub);
	make_roots(&others, &other_pub);
	cr_assert_eq(p256_spki(spki, &other_pub.ca), ERR_OK);
	sha256(h, spki, sizeof spki);
	hex_encode(other_pin, h, 32);
	cr_assert_eq(p256_spki(spki, &pub.ca), ERR_OK);
	hex_encode(pin, spki, sizeof spki);
	cr_assert_eq(certs_root(&der, roots), ERR_OK);
	write_file(ca_file, "ca.der", der.p, der.len);
	collateral_fini(&c);
	buf_fini(&text);
	buf_fini(&der);
}

static void
teardown(void)
{
	epoch_roots_free(roots);
	epoch_roots_free(others);
	simworld_fini(&w);
}

TestSuite(ctl_tls, .init = setup, .fini = teardown, .timeout = 120);

/* ---- the guest ---- */

static void
boot(struct buf *attestation, const struct wish *x,
    const uint8_t spki[static P256_SPKI_LEN])
{
	const struct epoch_public *p = x->provider_other ? &other_pub : &pub;
	uint8_t ca[P256_SPKI_LEN], rd[64], shown[64], id[20];
	struct evidence ev = { 0 };
	struct refusal why;
	char provider[300], hex[2 * P256_SPKI_LEN + 1];
	struct tee *t;

	cr_assert_eq(sim_host_set(w.dir, "h1", x->fault, NOW), ERR_OK);
	t = simworld_boot(&w);
	memset(id, 0x42, sizeof id);
	cr_assert_eq(p256_spki(ca, &p->ca), ERR_OK);
	(void)snprintf(provider, sizeof provider,
	    "{\"name\":\"%s\",\"id\":\"%s\"}",
	    x->provider_none ? "none" : "kms",
	    x->provider_none ? "" : hex_encode(hex, ca, sizeof ca));
	const struct {
		const char *name;
		struct bytes payload;
	} event[] = {
		{ "system-preparing", { NULL, 0 } },
		{ "app-id", BYTES_OF(id) },
		{ "compose-hash", BYTES_OF(compose_hash_) },
		{ "instance-id", BYTES_OF(id) },
		{ "boot-mr-done", { NULL, 0 } },
		{ "key-provider", { (uint8_t *)provider, strlen(provider) } },
		{ "system-ready", { NULL, 0 } },
	};

	for (size_t i = 0; i < sizeof event / sizeof event[0]; i++)
		if (!x->no_provider ||
		    strcmp(event[i].name, "key-provider") != 0)
			cr_assert_eq(
			    tee_extend(t, event[i].name, event[i].payload),
			    ERR_OK);
	ratls_report_data(shown, (struct bytes){ spki, P256_SPKI_LEN });
	memcpy(rd, shown, sizeof rd);
	rd[9] ^= x->other_key;
	cr_assert_eq(tee_evidence(t, &ev, rd, &why), ERR_OK, "%s", why.detail);
	cr_assert_eq(x->v1
		? attestation_v1_encode(
		      attestation, &ev, x->relabelled ? shown : rd, &why)
		: attestation_encode(attestation, &ev,
		      x->relabelled ? shown : rd, !x->full_log, &why),
	    ERR_OK);
	tee_close(t);
	evidence_fini(&ev);
	for (size_t i = 0;
	     x->event != NULL && i + strlen(x->event) <= attestation->len; i++)
		if (memcmp(attestation->p + i, x->event, strlen(x->event)) == 0)
			attestation->p[i] ^= 1;
}

/* ---- its certificate ---- */

static size_t
replace(struct buf *b, const void *from, const void *to, size_t len)
{
	size_t n = 0;

	for (size_t i = 0; i + len <= b->len; i++)
		if (memcmp(b->p + i, from, len) == 0) {
			memcpy(b->p + i, to, len);
			n++;
		}
	return n;
}

/* Signs what was changed again. */
static void
resign(struct buf *der, const struct p256_secret *by)
{
	const unsigned char *at = der->p;
	X509 *x = d2i_X509(NULL, &at, (long)der->len);
	EVP_PKEY *k = p256_evp_secret(by);
	unsigned char *out = NULL;
	int n;

	cr_assert_not_null(x);
	cr_assert_gt(X509_sign(x, k, EVP_sha256()), 0);
	cr_assert_gt(n = i2d_X509(x, &out), 0);
	cr_assert_eq(buf_set(der, out, (size_t)n), ERR_OK);
	OPENSSL_free(out);
	EVP_PKEY_free(k);
	X509_free(x);
}

static void
certify(struct buf chain[static 3], const struct wish *x)
{
	static const char *const name[] = { "localhost", "127.0.0.1" };
	struct boot_info info = { .has_instance_id = true, .key_provider = "" };
	struct cert_request rq = { .subject = "api.example",
		.org_name = "",
		.alt_names = name,
		.n_alt_names = 2,
		.usage_server_auth = true,
		.not_before = 157766400,
		.not_after = x->not_after != 0 ? x->not_after : NOW + 1000 };
	uint8_t spki[P256_SPKI_LEN], app_id[20], other[20];
	struct buf attestation = { 0 }, spare[3] = { { 0 } };
	struct p256_secret ca;

	p256_generate(&key);
	cr_assert_eq(p256_pubkey(&rq.key, &key), ERR_OK);
	cr_assert_eq(p256_spki(spki, &rq.key), ERR_OK);
	memset(app_id, x->app != 0 ? x->app : 0x42, sizeof app_id);
	boot(&attestation, x, spki);
	if (!x->no_attestation)
		rq.attestation = buf_view(&attestation);
	if (x->info_other) {
		memset(info.app_id, 0x42, 20);
		rq.app_info = &info;
	}
	cr_assert_eq(certs_app(chain, roots, app_id, &rq), ERR_OK);
	if (x->swap_ca) {
		cr_assert_eq(certs_app(spare, others, app_id, &rq), ERR_OK);
		cr_assert_eq(
		    buf_set(&chain[1], spare[1].p, spare[1].len), ERR_OK);
	}
	cr_assert_eq(keys_app_ca(&ca, roots, app_id), ERR_OK);
	if (x->usage != NULL) {
		cr_assert_eq(
		    replace(&chain[0], CERTMAKE_USAGE_APP, x->usage, 10), 1);
		resign(&chain[0], &ca);
	}
	if (x->leaf_of_other_app) {
		memset(other, 0x55, 20);
		/* Its id stands in the log as well: that one is not touched. */
		for (size_t i = 0; i + 22 <= chain[0].len; i++)
			if (chain[0].p[i] == 0x04 && chain[0].p[i + 1] == 20 &&
			    memcmp(chain[0].p + i + 2, app_id, 20) == 0)
				memcpy(chain[0].p + i + 2, other, 20);
		resign(&chain[0], &ca);
	}
	if (x->self_signed)
		resign(&chain[0], &key);
	for (size_t i = 0; i < 3; i++)
		buf_fini(&spare[i]);
	buf_fini(&attestation);
}

/* ---- the command ---- */

static json_t *answer;

static int
run(const char *const *word)
{
	char now[32], at[64], *text = NULL, *log_text = NULL;
	const char *argv[40] = { "kmsctl", "verify", "tls", "--json" };
	size_t len = 0, log_len = 0;
	FILE *f = open_memstream(&text, &len),
	     *log = open_memstream(&log_text, &log_len);
	int n = 4, rc;

	(void)snprintf(now, sizeof now, "--now=%lld", NOW);
	argv[n++] = now;
	if (server != NULL) {
		(void)snprintf(
		    at, sizeof at, "127.0.0.1:%u", tls_server_port(server));
		argv[n++] = at;
	}
	for (; *word != NULL; word++)
		argv[n++] = *word;
	rc = (int)ctl_main(f, log, n, (char *const *)(uintptr_t)argv);
	(void)fclose(f);
	(void)fclose(log);
	json_decref(answer);
	answer = NULL;
	cr_assert_eq(json_parse(&answer, text, len, 1u << 20, NULL, 0), ERR_OK,
	    "%s%s", text, log_text);
	free(text);
	free(log_text);
	return rc;
}

#define ALL "--root", pin, "--collateral", bundle, "--quote-root", vendor
#define RUN(...) run((const char *const[]){ __VA_ARGS__, NULL })

static void
start(struct wish x)
{
	struct buf chain[3] = { { 0 } };

	if (x.mode == TLS_SERVER_FINE)
		certify(chain, &x);
	server = tls_server_start(
	    x.mode, &key, chain, x.n_certs != 0 ? x.n_certs : 3, NULL);
	for (size_t i = 0; i < 3; i++)
		buf_fini(&chain[i]);
}

static void
stop(void)
{
	tls_server_stop(server);
	server = NULL;
}

/* The refusal has that code, and its row says refused. */
static void
refused_as(const char *code)
{
	const json_t *why = json_object_get(answer, "refusal"), *row;
	const char *got = NULL;
	bool shown = false;
	size_t i;

	cr_assert(json_is_false(json_object_get(answer, "accepted")));
	(void)json_get_str(&got, why, "code");
	cr_assert_str_eq(got != NULL ? got : "(none)", code, "%s",
	    json_string_value(json_object_get(why, "detail")));
	json_array_foreach(json_object_get(answer, "steps"), i, row) shown =
	    shown ||
	    strcmp(json_string_value(json_object_get(row, "result")),
		"refused") == 0;
	cr_assert(shown, "%s has no row", code);
}

static void
refused(struct wish x, const char *code)
{
	start(x);
	cr_assert_eq(RUN(ALL), CTL_FAILED, "%s", code);
	refused_as(code);
	stop();
}

/* ---- ---- */

/* Certificates that do not lead to the KMS, or are for something else. */
Test(ctl_tls, chain)
{
	refused((struct wish){ .n_certs = 1 }, "TLS_CHAIN");
	refused((struct wish){ .n_certs = 2 }, "TLS_CHAIN");
	refused((struct wish){ .self_signed = true }, "TLS_CHAIN");
	refused((struct wish){ .swap_ca = true }, "TLS_CHAIN");
	refused((struct wish){ .not_after = NOW - 1 }, "TLS_TIME");
	refused((struct wish){ .usage = "kms:rpc::"
					"x" },
	    "TLS_USAGE");
	refused((struct wish){ .usage = "app:ca"
					"xxxx" },
	    "TLS_USAGE");
	refused((struct wish){ .leaf_of_other_app = true }, "TLS_APP");
	refused((struct wish){ .no_attestation = true }, "TLS_ATTESTATION");
	start((struct wish){ .app = 0 });
	cr_assert_eq(RUN("--root", other_pin, "--collateral", bundle,
			 "--quote-root", vendor),
	    CTL_FAILED);
	refused_as("TLS_ROOT");
	cr_assert_eq(RUN(ALL, "--name", "kms.example"), CTL_FAILED);
	refused_as("TLS_NAME");
	stop();
}

/* Evidence that is not this key's, not this guest's, or not whole. */
Test(ctl_tls, evidence)
{
	refused((struct wish){ .other_key = true }, "TLS_REPORT_DATA");
	refused((struct wish){ .other_key = true, .relabelled = true },
	    "TLS_REPORT_DATA");
	/* Renamed both times that it is there. */
	refused((struct wish){ .event = "instance-id" }, "EVENT_LOG");
	refused((struct wish){ .event = "compose-hash", .full_log = true },
	    "TLS_EXTENSION");
	refused(
	    (struct wish){ .other_key = true, .relabelled = true, .v1 = true },
	    "TLS_REPORT_DATA");
	refused((struct wish){ .event = "compose-hash", .v1 = true },
	    "TLS_EXTENSION");
	refused((struct wish){ .fault = SIM_FAULT_DEBUG }, "POLICY_DEBUG");
	refused((struct wish){ .fault = SIM_FAULT_OUT_OF_DATE },
	    "POLICY_TCB_STATUS");
	/* A simulator's word counts only for who says so. */
	start((struct wish){ .app = 0 });
	cr_assert_eq(RUN("--root", pin, "--collateral", bundle), CTL_FAILED);
	cr_assert(json_is_false(json_object_get(answer, "accepted")));
	cr_assert(!json_is_null(json_object_get(answer, "reject")));
	stop();
}

/* The guest is genuine, and another one, or of another KMS. */
Test(ctl_tls, who)
{
	char zero[65];

	refused((struct wish){ .app = 0x43 }, "TLS_APP");
	refused((struct wish){ .provider_other = true }, "TLS_KEY_PROVIDER");
	refused((struct wish){ .provider_none = true }, "TLS_KEY_PROVIDER");
	refused((struct wish){ .no_provider = true }, "TLS_KEY_PROVIDER");
	refused((struct wish){ .info_other = true }, "TLS_APP_INFO");
	start((struct wish){ .app = 0 });
	cr_assert_eq(
	    RUN(ALL, "--app", "0x4343434343434343434343434343434343434343"),
	    CTL_FAILED);
	refused_as("TLS_APP");
	memset(zero, '0', 64);
	zero[64] = '\0';
	cr_assert_eq(RUN(ALL, "--compose-hash", zero), CTL_FAILED);
	refused_as("TLS_COMPOSE");
	cr_assert_eq(RUN(ALL, "--os-image", zero), CTL_FAILED);
	refused_as("TLS_OS_IMAGE");
	cr_assert_eq(RUN(ALL, "--compose", vendor), CTL_FAILED);
	refused_as("REFERENCE");
	stop();
}

/* What speaks no TLS, or does not speak, is not waited for. */
Test(ctl_tls, no_server)
{
	unsigned port;
	char at[64];

	refused((struct wish){ .mode = TLS_SERVER_GARBAGE }, "TLS_HANDSHAKE");
	refused((struct wish){ .mode = TLS_SERVER_CLOSES }, "TLS_HANDSHAKE");
	start((struct wish){ .mode = TLS_SERVER_SILENT });
	cr_assert_eq(RUN(ALL, "--timeout", "1"), CTL_UNREACHABLE);
	port = tls_server_port(server);
	stop();
	start((struct wish){ .mode = TLS_SERVER_ENDLESS });
	cr_assert_eq(RUN(ALL, "--timeout", "1"), CTL_UNREACHABLE);
	stop();
	(void)snprintf(at, sizeof at, "127.0.0.1:%u", port);
	cr_assert_eq(RUN(ALL, at), CTL_UNREACHABLE);
	cr_assert_eq(
	    RUN(ALL, "--unix", "/nonexistent/socket"), CTL_UNREACHABLE);
	cr_assert_eq(RUN(ALL, "localhost"), CTL_USAGE);
	cr_assert_eq(RUN(ALL), CTL_USAGE);
	cr_assert_eq(RUN("--collateral", bundle, at), CTL_USAGE);
	cr_assert_eq(RUN("--root", "12", at), CTL_USAGE);
	cr_assert_eq(RUN(ALL, at, "--timeout", "0"), CTL_USAGE);
	cr_assert_eq(RUN(ALL, at, "--app", "x"), CTL_USAGE);
}

static void
holds(void)
{
	cr_assert(json_is_true(json_object_get(answer, "accepted")));
	cr_assert(json_is_true(json_object_get(answer, "insecure")));
	cr_assert(json_is_null(json_object_get(answer, "refusal")));
}

/* All of it, by each way to name the root, and over a socket's path. */
Test(ctl_tls, holds)
{
	struct buf chain[3] = { { 0 } };
	struct wish x = { .app = 0 };
	char path[600];

	start(x);
	cr_assert_eq(RUN(ALL), CTL_OK);
	holds();
	cr_assert_eq(RUN("--root", ca_file, "--collateral", bundle,
			 "--quote-root", vendor),
	    CTL_OK);
	cr_assert_eq(RUN(ALL, "--name", "localhost", "--compose", compose,
			 "--compose-hash", hash_hex, "--app",
			 "0x4242424242424242424242424242424242424242"),
	    CTL_OK);
	holds();
	stop();
	start((struct wish){ .v1 = true });
	cr_assert_eq(RUN(ALL), CTL_OK);
	holds();
	stop();
	/* A debug guest, for who says that he takes one. */
	start((struct wish){ .fault = SIM_FAULT_OUT_OF_DATE });
	cr_assert_eq(RUN(ALL, "--policy", "any"), CTL_OK);
	stop();
	certify(chain, &x);
	(void)snprintf(path, sizeof path, "%s/tls.sock", w.dir);
	server = tls_server_start(TLS_SERVER_FINE, &key, chain, 3, path);
	{
		struct tls_server *s = server;

		server = NULL;
		cr_assert_eq(RUN(ALL, "--unix", path), CTL_OK);
		holds();
		server = s;
	}
	stop();
	for (size_t i = 0; i < 3; i++)
		buf_fini(&chain[i]);
}
