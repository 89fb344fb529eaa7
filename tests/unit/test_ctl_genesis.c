/* genesis: against a simulated machine and PCCS, and a chain that is not
 * there: what gets as far as asking it has passed every other check. */
#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/hex.h"
#include "common/base/secret.h"
#include "kms/ctl/genesis.h"
#include "kms/ctl/lab_make.h"
#include "kms/keys/keys.h"
#include "node/tee/pccs_server.h"
#include "node/tee/simpki.h"
#include "node/tee/tee.h"
#include "tests/lib/tmpdir.h"

struct world {
	char *dir;
	struct lab *lab;
	struct pccs_server *pccs;
	struct verifier *verifier;
	struct contract chain;
	struct genesis g;
};

/* What a KMS guest measures (kms/service/self.c). */
static void
measure(struct tee *t)
{
	static const uint8_t hash[32] = { 1 };
	const struct {
		const char *name;
		struct bytes payload;
	} events[] = { { "system-preparing", { NULL, 0 } },
		{ "app-id", { hash, 20 } }, { "compose-hash", { hash, 32 } },
		{ "instance-id", { NULL, 0 } }, { "boot-mr-done", { NULL, 0 } },
		{ "system-ready", { NULL, 0 } } };

	for (size_t i = 0; i < sizeof events / sizeof *events; i++)
		cr_assert_eq(
		    tee_extend(t, events[i].name, events[i].payload), ERR_OK);
}

/* A beginning for the anchor of the world's contracts, and its quote. */
static void
begin_log(struct world *w, struct tee *t, const struct epoch_public *pub)
{
	struct anchor_genesis a = { .root = pub->k256,
		.at = { .generation = 1, .index = 7 } };
	struct evidence ev = { 0 };
	struct refusal why = { .code = REASON_NONE };
	uint8_t rd[64];

	w->chain.chain_id = a.chain_id = 31337;
	w->chain.has_anchor = true;
	memset(w->chain.anchor, 0x44, 20);
	memset(w->g.anchor.hash, 0x11, 32);
	memset(w->g.anchor.incarnation, 0x22, 32);
	memset(w->g.anchor.signer, 0x33, 20);
	w->g.anchor.index = 7;
	memset(a.contract, 0x44, 20);
	memset(a.at.hash, 0x11, 32);
	memset(a.incarnation, 0x22, 32);
	memset(a.signer, 0x33, 20);
	anchor_genesis_report_data(rd, &a);
	cr_assert_eq(tee_evidence(t, &ev, rd, &why), ERR_OK);
	w->g.anchor.quote = ev.quote; /* transferred */
	ev.quote = (struct buf){ 0 };
	evidence_fini(&ev);
}

static void
world_init(struct world *w)
{
	char host[LAB_PATH_MAX], image[LAB_PATH_MAX], run[LAB_PATH_MAX],
	    url[64], why_lab[LAB_WHY_MAX];
	const struct tee_options to = { .simulated = true,
		.sim_host = host,
		.sim_image = image,
		.run_dir = run };
	struct verifier_options vo = { .pccs_url = url };
	struct refusal why = { .code = REASON_NONE };
	struct epoch_roots *roots = NULL;
	struct epoch_public pub;
	struct buf root = { 0 };
	uint8_t rd[64], spki[P256_SPKI_LEN];
	struct tee *t = NULL;

	memset(w, 0, sizeof *w);
	cr_assert_eq(secret_process_init(), ERR_OK);
	w->dir = tmpdir_new();
	cr_assert_eq(lab_new(&w->lab, w->dir, why_lab), ERR_OK);
	cr_assert_eq(lab_make(w->lab, 1, NULL, why_lab), ERR_OK);
	cr_assert_eq(
	    pccs_server_start(&w->pccs, w->dir, "127.0.0.1", 0, clock_wall_s),
	    ERR_OK);
	(void)snprintf(
	    url, sizeof url, "http://127.0.0.1:%u", pccs_server_port(w->pccs));
	cr_assert_eq(sim_pki_document(&root, w->dir, SIM_DOC_ROOT), ERR_OK);
	attest_policy_default(&vo.policy);
	vo.policy.allow_simulated = true;
	vo.simulated_root = buf_view(&root);
	cr_assert_eq(verifier_new(&w->verifier, &vo), ERR_OK);
	buf_fini(&root);

	lab_path(host, w->lab, "hosts/kms0");
	lab_path(image, w->lab, "images/kms");
	lab_path(run, w->lab, "tee");
	cr_assert_eq(file_mkdirs(run), ERR_OK);
	cr_assert_eq(tee_boot(&t, &to, &why), ERR_OK, "%s", why.detail);
	measure(t);
	cr_assert_eq(epoch_roots_generate(&roots, 0), ERR_OK);
	epoch_roots_public(roots, &pub);
	keys_bootstrap_report_data(rd, &pub);
	cr_assert_eq(tee_evidence(t, &w->g.evidence, rd, &why), ERR_OK);
	begin_log(w, t, &pub);
	tee_close(t);
	epoch_roots_free(roots);
	memcpy(w->g.k256_pub, pub.k256.b, 33);
	cr_assert_eq(p256_spki(spki, &pub.ca), ERR_OK);
	cr_assert_eq(buf_set(&w->g.ca_spki, spki, sizeof spki), ERR_OK);

	/* Nobody listens on port 1. */
	strcpy(w->chain.rpc, "http://127.0.0.1:1");
}

static void
world_fini(struct world *w)
{
	genesis_fini(&w->g);
	verifier_free(w->verifier);
	pccs_server_stop(w->pccs);
	lab_free(w->lab);
	tmpdir_remove(w->dir);
}

static enum reason
check(struct world *w)
{
	struct refusal why = { .code = REASON_NONE };
	struct attested *a = calloc(1, sizeof *a);
	enum err e;

	cr_assert_not_null(a);
	e = genesis_check(
	    a, &w->g, w->verifier, &w->chain, clock_wall_s(), &why);
	free(a);
	cr_assert_eq(e, ERR_DENIED);
	return why.code;
}

/* Honest roots pass up to the question to the chain, which is not there. */
Test(ctl_genesis, honest, .timeout = 60)
{
	struct world w;

	world_init(&w);
	cr_assert_eq(check(&w), REASON_CHAIN_UNREACHABLE);
	world_fini(&w);
}

/* A genuine quote over other keys than those offered is refused, for
 * either of the two. */
Test(ctl_genesis, other_keys, .timeout = 60)
{
	struct p256_secret s;
	struct p256_pub pub;
	struct k256_secret k;
	struct k256_pub other;
	uint8_t keep[33], spki[P256_SPKI_LEN];
	struct world w;

	world_init(&w);
	memcpy(keep, w.g.k256_pub, 33);
	k256_generate(&k);
	cr_assert_eq(k256_pubkey(&other, &k), ERR_OK);
	memcpy(w.g.k256_pub, other.b, 33);
	cr_assert_eq(check(&w), REASON_REPORT_DATA);
	memcpy(w.g.k256_pub, keep, 33);
	p256_generate(&s);
	cr_assert_eq(p256_pubkey(&pub, &s), ERR_OK);
	cr_assert_eq(p256_spki(spki, &pub), ERR_OK);
	cr_assert_eq(buf_set(&w.g.ca_spki, spki, sizeof spki), ERR_OK);
	cr_assert_eq(check(&w), REASON_REPORT_DATA);
	world_fini(&w);
}

/* The second quote binds every word of the beginning, this chain and this
 * anchor contract; and the first one does not serve as it. */
Test(ctl_genesis, other_beginning, .timeout = 60)
{
	struct world w;
	struct buf keep;

	world_init(&w);
	w.g.anchor.index++;
	cr_assert_eq(check(&w), REASON_REPORT_DATA);
	w.g.anchor.index--;
	w.g.anchor.hash[31] ^= 1;
	cr_assert_eq(check(&w), REASON_REPORT_DATA);
	w.g.anchor.hash[31] ^= 1;
	w.g.anchor.incarnation[0] ^= 0x80;
	cr_assert_eq(check(&w), REASON_REPORT_DATA);
	w.g.anchor.incarnation[0] ^= 0x80;
	w.g.anchor.signer[19] ^= 1;
	cr_assert_eq(check(&w), REASON_REPORT_DATA);
	w.g.anchor.signer[19] ^= 1;
	w.chain.anchor[0] ^= 1;
	cr_assert_eq(check(&w), REASON_REPORT_DATA);
	w.chain.anchor[0] ^= 1;
	w.chain.chain_id++;
	cr_assert_eq(check(&w), REASON_REPORT_DATA);
	w.chain.chain_id--;
	w.chain.has_anchor = false;
	cr_assert_eq(check(&w), REASON_REQUEST);
	w.chain.has_anchor = true;
	cr_assert_eq(check(&w), REASON_CHAIN_UNREACHABLE);

	keep = w.g.anchor.quote;
	w.g.anchor.quote = w.g.evidence.quote;
	cr_assert_eq(check(&w), REASON_REPORT_DATA);
	w.g.anchor.quote = keep;
	w.g.anchor.quote.p[48 + 136] ^= 1;
	cr_assert_eq(check(&w), REASON_QUOTE_SIGNATURE);
	w.g.anchor.quote.len = 0;
	cr_assert_neq(check(&w), REASON_CHAIN_UNREACHABLE);
	world_fini(&w);
}

/* A quote or a log that was touched is refused; bytes that are no keys are
 * refused before the quote is looked at. */
Test(ctl_genesis, altered, .timeout = 60)
{
	struct world w;
	size_t at;

	world_init(&w);
	at = 48 + 136; /* MRTD: tdx-dcap.md 1.4 */
	w.g.evidence.quote.p[at] ^= 1;
	cr_assert_eq(check(&w), REASON_QUOTE_SIGNATURE);
	w.g.evidence.quote.p[at] ^= 1;
	cr_assert_eq(check(&w), REASON_CHAIN_UNREACHABLE);
	w.g.evidence.event_log.p[w.g.evidence.event_log.len - 1] = ' ';
	cr_assert_eq(check(&w), REASON_EVENT_LOG);
	w.g.k256_pub[0] = 5;
	cr_assert_eq(check(&w), REASON_REQUEST);
	w.g.k256_pub[0] = 2;
	w.g.ca_spki.len--;
	cr_assert_eq(check(&w), REASON_REQUEST);
	world_fini(&w);
}

/* ---- reading the node's answer ---- */

static enum err
read_text(const char *text, struct refusal *why)
{
	struct genesis g = { .number = 0 };
	json_t *v = NULL;
	enum err e;

	cr_assert_eq(json_parse(&v, text, strlen(text), 1 << 20, NULL, 0),
	    ERR_OK, "%s", text);
	e = genesis_read(&g, v, why);
	if (e == ERR_OK)
		genesis_fini(&g);
	json_decref(v);
	return e;
}

#define PUB "021111111111111111111111111111111111111111111111111111111111111111"

/* Every member must be there, of its kind and size; the refusal names it. */
Test(ctl_genesis, reads_strictly)
{
	static const struct {
		const char *text, *word;
	} bad[] = {
		{ "{}", "number" },
		{ "[]", "number" },
		{ "{\"number\":-1}", "number" },
		{ "{\"number\":0}", "k256_pub" },
		{ "{\"number\":0,\"k256_pub\":\"02\"}", "k256_pub" },
		{ "{\"number\":0,\"k256_pub\":\"" PUB "\",\"ca_spki\":\"0\"}",
		    "ca_spki" },
		{ "{\"number\":0,\"k256_pub\":\"" PUB "\",\"ca_spki\":\"00\"}",
		    "quote" },
		{ "{\"number\":0,\"k256_pub\":\"" PUB "\",\"ca_spki\":\"00\","
		  "\"quote\":\"00\",\"event_log\":[]}",
		    "event_log" },
		{ "{\"number\":0,\"k256_pub\":\"" PUB "\",\"ca_spki\":\"00\","
		  "\"quote\":\"00\",\"event_log\":\"[]\"}",
		    "vm_config" },
		{ "{\"number\":0,\"k256_pub\":\"" PUB "\",\"ca_spki\":\"00\","
		  "\"quote\":\"00\",\"event_log\":\"[]\","
		  "\"vm_config\":\"{}\"}",
		    "anchor" },
	};
	struct refusal why;

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		cr_expect_eq(read_text(bad[i].text, &why), ERR_DENIED, "%s",
		    bad[i].text);
		cr_expect_not_null(strstr(why.detail, bad[i].word), "%s: %s",
		    bad[i].text, why.detail);
	}
}

/* The beginning, as strictly; all of it is good. */
Test(ctl_genesis, reads_anchor_strictly)
{
#define HEAD \
	"{\"number\":0,\"k256_pub\":\"" PUB "\",\"ca_spki\":\"00\"," \
	"\"quote\":\"00\",\"event_log\":\"[]\",\"vm_config\":\"{}\"," \
	"\"anchor\":"
#define H32 "0x2222222222222222222222222222222222222222222222222222222222222222"
#define A20 "0x3333333333333333333333333333333333333333"
	static const char good[] =
	    HEAD "{\"index\":7,\"hash\":\"" H32 "\",\"incarnation\":\"" H32
		 "\",\"signer\":\"" A20 "\",\"quote\":\"00\"}}";
	static const struct {
		const char *text, *word;
	} bad[] = {
		{ HEAD "null}", "index" },
		{ HEAD "[]}", "index" },
		{ HEAD "{}}", "index" },
		{ HEAD "{\"index\":-1}}", "index" },
		{ HEAD "{\"index\":\"7\"}}", "index" },
		{ HEAD "{\"index\":7}}", "hash" },
		{ HEAD "{\"index\":7,\"hash\":\"" A20 "\"}}", "hash" },
		{ HEAD "{\"index\":7,\"hash\":\"" H32 "\"}}", "incarnation" },
		{ HEAD "{\"index\":7,\"hash\":\"" H32
		       "\",\"incarnation\":\"" H32 "\"}}",
		    "signer" },
		{ HEAD "{\"index\":7,\"hash\":\"" H32
		       "\",\"incarnation\":\"" H32 "\",\"signer\":\"" H32
		       "\"}}",
		    "signer" },
		{ HEAD "{\"index\":7,\"hash\":\"" H32
		       "\",\"incarnation\":\"" H32 "\",\"signer\":\"" A20
		       "\"}}",
		    "quote" },
		{ HEAD "{\"index\":7,\"hash\":\"" H32
		       "\",\"incarnation\":\"" H32 "\",\"signer\":\"" A20
		       "\",\"quote\":\"0\"}}",
		    "quote" },
	};
	struct refusal why = { .code = REASON_NONE };

	cr_assert_eq(read_text(good, &why), ERR_OK, "%s", why.detail);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		cr_expect_eq(read_text(bad[i].text, &why), ERR_DENIED, "%s",
		    bad[i].text);
		cr_expect_not_null(strstr(why.detail, bad[i].word), "%s: %s",
		    bad[i].text, why.detail);
	}
}
