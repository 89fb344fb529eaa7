/* One simulated platform under a PKI made here: genuine formats, keys of our
 * own.  In each round the platform gets another QE, so that its report is
 * new the first time and known the second. */
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "common/attest/dcap.h"
#include "node/tee/simdocs.h"
#include "node/tee/simquote.h"
#include "tests/bench/bench_dcap.h"
#include "tests/bench/bench_line.h"

#define NOW 1900000000ll
#define DAY 86400
#define ROUNDS 200
#define COLD_VERIFICATIONS 10 /* tdx-dcap.md 6 */

struct world {
	struct sim_authority root, pck_ca, signing;
	struct p256_secret pck;
	struct sim_platform platform;
	struct sim_qe qe;
	struct td_report td;
	struct buf quote;
	struct collateral c;
	struct dcap_root *anchor;
	struct dcap_cache *cache;
};

static enum err
authority(struct sim_authority *a, enum sim_cert_kind kind,
    const struct sim_authority *issuer)
{
	struct sim_serial serial;
	struct p256_pub pub;
	enum err e;

	p256_generate(&a->key);
	e = p256_pubkey(&pub, &a->key);
	if (e != ERR_OK)
		return e;
	return sim_cert_issue(&a->der, &serial, kind, &pub,
	    issuer != NULL ? issuer : a, NULL, NOW - 9 * DAY, NOW + 900 * DAY);
}

static enum err
make_quote(struct world *w)
{
	struct sim_serial serial;
	struct buf leaf = { 0 };
	struct p256_pub pub;
	enum err e;

	sim_platform_svns(&w->platform, 0);
	p256_generate(&w->pck);
	memcpy(w->td.tee_tcb_svn, w->platform.tee_tcb_svn, 16);
	w->td.td_attributes[3] = 0x10;
	w->td.xfam[0] = 0xe7;
	if ((e = p256_pubkey(&pub, &w->pck)) == ERR_OK &&
	    (e = sim_cert_issue(&leaf, &serial, SIM_CERT_PCK, &pub, &w->pck_ca,
		 &w->platform, NOW - DAY, NOW + 90 * DAY)) == ERR_OK &&
	    (e = sim_cert_pem(&w->qe.pck_chain, buf_view(&leaf))) == ERR_OK &&
	    (e = sim_cert_pem(&w->qe.pck_chain, buf_view(&w->pck_ca.der))) ==
		ERR_OK &&
	    (e = sim_cert_pem(&w->qe.pck_chain, buf_view(&w->root.der))) ==
		ERR_OK &&
	    (e = sim_qe_provision(&w->qe, &w->pck, &w->platform)) == ERR_OK)
		e = sim_quote(&w->quote, &w->qe, &w->td);
	buf_fini(&leaf);
	return e;
}

static enum err
make_collateral(struct world *w)
{
	struct collateral *c = &w->c;
	enum err e;

	if ((e = sim_tcb_info_text(&c->tcb_info, NOW - DAY, NOW + 20 * DAY)) !=
		ERR_OK ||
	    (e = sim_qe_identity_text(
		 &c->qe_identity, NOW - DAY, NOW + 20 * DAY)) != ERR_OK ||
	    (e = p256_sign_raw(c->tcb_info_signature, &w->signing.key,
		 c->tcb_info.p, c->tcb_info.len)) != ERR_OK ||
	    (e = p256_sign_raw(c->qe_identity_signature, &w->signing.key,
		 c->qe_identity.p, c->qe_identity.len)) != ERR_OK ||
	    (e = sim_cert_pem(&c->tcb_info_chain, buf_view(&w->signing.der))) !=
		ERR_OK ||
	    (e = sim_cert_pem(&c->tcb_info_chain, buf_view(&w->root.der))) !=
		ERR_OK ||
	    (e = buf_set(&c->qe_identity_chain, c->tcb_info_chain.p,
		 c->tcb_info_chain.len)) != ERR_OK ||
	    (e = sim_crl_issue(&c->root_ca_crl, &w->root, NULL, 0, NOW - DAY,
		 NOW + 20 * DAY)) != ERR_OK ||
	    (e = sim_crl_issue(&c->pck_crl, &w->pck_ca, NULL, 0, NOW - DAY,
		 NOW + 20 * DAY)) != ERR_OK)
		return e;
	collateral_seal(c);
	return ERR_OK;
}

static enum err
make_world(struct world *w)
{
	enum err e;

	if ((e = authority(&w->root, SIM_CERT_ROOT, NULL)) != ERR_OK ||
	    (e = authority(&w->pck_ca, SIM_CERT_PCK_CA, &w->root)) != ERR_OK ||
	    (e = authority(&w->signing, SIM_CERT_TCB_SIGNING, &w->root)) !=
		ERR_OK ||
	    (e = dcap_root_new(&w->anchor, buf_view(&w->root.der))) != ERR_OK ||
	    (e = dcap_cache_new(&w->cache)) != ERR_OK ||
	    (e = make_quote(w)) != ERR_OK)
		return e;
	return make_collateral(w);
}

static void
world_fini(struct world *w)
{
	sim_authority_fini(&w->root);
	sim_authority_fini(&w->pck_ca);
	sim_authority_fini(&w->signing);
	p256_secret_wipe(&w->pck);
	sim_qe_fini(&w->qe);
	buf_fini(&w->quote);
	collateral_fini(&w->c);
	dcap_cache_free(w->cache);
	dcap_root_free(w->anchor);
}

/* Times of one round; each keeps its minimum. */
struct best {
	double one, cold, warm, warm_qe;
};

static void
lower(double *best, double start)
{
	double took = bench_now_us() - start;

	if (took < *best)
		*best = took;
}

static enum err
round_once(struct world *w, struct best *b, EVP_PKEY *key,
    const uint8_t sig[static 64])
{
	struct verdict v;
	double start;
	enum err e;

	start = bench_now_us();
	e = p256_verify_raw_evp(key, sig, w->quote.p, 632);
	lower(&b->one, start);
	if (e != ERR_OK)
		return e;

	start = bench_now_us();
	e = dcap_verify(&v, buf_view(&w->quote), &w->c, w->anchor, NOW, NULL);
	lower(&b->cold, start);
	if (e != ERR_OK)
		return e;

	/* Another QE, the same chain: its report has not been seen. */
	if ((e = sim_qe_provision(&w->qe, &w->pck, &w->platform)) != ERR_OK ||
	    (e = sim_quote(&w->quote, &w->qe, &w->td)) != ERR_OK)
		return e;
	start = bench_now_us();
	e = dcap_verify_cached(
	    &v, w->cache, buf_view(&w->quote), &w->c, w->anchor, NOW, NULL);
	lower(&b->warm, start);
	if (e != ERR_OK)
		return e;

	start = bench_now_us();
	e = dcap_verify_cached(
	    &v, w->cache, buf_view(&w->quote), &w->c, w->anchor, NOW, NULL);
	lower(&b->warm_qe, start);
	return e;
}

int
bench_dcap(FILE *json)
{
	struct world *w = calloc(1, sizeof *w);
	struct best b = { 1e9, 1e9, 1e9, 1e9 };
	struct p256_secret secret;
	struct p256_pub pub;
	EVP_PKEY *key = NULL;
	uint8_t sig[64];
	int rc = -1;

	p256_generate(&secret);
	if (w == NULL || make_world(w) != ERR_OK ||
	    p256_pubkey(&pub, &secret) != ERR_OK ||
	    p256_sign_raw(sig, &secret, w->quote.p, 632) != ERR_OK ||
	    (key = p256_evp_public(&pub)) == NULL)
		goto done;
	for (int i = 0; i < ROUNDS; i++) {
		/* The quote changes in a round: sign what is there now. */
		if (p256_sign_raw(sig, &secret, w->quote.p, 632) != ERR_OK ||
		    round_once(w, &b, key, sig) != ERR_OK)
			goto done;
	}
	bench_line_time(
	    json, "quote_verify_cold", b.cold, COLD_VERIFICATIONS * b.one);
	bench_line_time(json, "quote_verify_warm", b.warm, 2 * b.one);
	bench_line_time(json, "quote_verify_warm_qe", b.warm_qe, b.one);
	rc = 0;
done:
	p256_secret_wipe(&secret);
	EVP_PKEY_free(key);
	if (w != NULL)
		world_fini(w);
	free(w);
	return rc;
}
