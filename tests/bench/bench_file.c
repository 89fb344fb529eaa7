#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "common/attest/dcap.h"
#include "common/base/file.h"
#include "common/crypto/p256.h"
#include "tests/bench/bench_file.h"
#include "tests/bench/bench_line.h"

#define ROUNDS 200
#define COLD_VERIFICATIONS 10 /* tdx-dcap.md 6 */
#define FILE_MAX (4u * 1024 * 1024)

struct given {
	struct buf quote;
	struct collateral c;
	struct dcap_root *anchor;
	int64_t now;
};

static enum err
read_given(struct given *g, const char *quote, const char *collateral,
    const char *root, const char *now, struct refusal *why)
{
	struct buf b = { 0 };
	char *end;
	enum err e;

	g->now = strtoll(now, &end, 10);
	if (end == now || *end != '\0')
		return ERR_CONFIG;
	if ((e = file_read(&g->quote, quote, FILE_MAX)) == ERR_OK &&
	    (e = file_read(&b, collateral, FILE_MAX)) == ERR_OK)
		e = collateral_from_json(&g->c, b.p, b.len, why);
	buf_fini(&b);
	if (e != ERR_OK)
		return e;
	if (strcmp(root, "intel") == 0)
		return dcap_root_intel(&g->anchor);
	if ((e = file_read(&b, root, FILE_MAX)) == ERR_OK)
		e = dcap_root_new(&g->anchor, buf_view(&b));
	buf_fini(&b);
	return e;
}

static void
lower(double *best, double start)
{
	double took = bench_now_us() - start;

	if (took < *best)
		*best = took;
}

static enum err
measure(double *one, double *whole, const struct given *g, struct refusal *why)
{
	static const uint8_t text[632]; /* as long as a TD 1.0 quote signs */
	struct p256_secret secret;
	struct p256_pub pub;
	struct verdict v;
	EVP_PKEY *key = NULL;
	uint8_t sig[64];
	enum err e;

	*one = *whole = 1e9;
	p256_generate(&secret);
	if ((e = p256_pubkey(&pub, &secret)) == ERR_OK &&
	    (e = p256_sign_raw(sig, &secret, text, sizeof text)) == ERR_OK &&
	    (key = p256_evp_public(&pub)) == NULL)
		e = ERR_NOMEM;
	for (int i = 0; i < ROUNDS && e == ERR_OK; i++) {
		double start = bench_now_us();

		e = p256_verify_raw_evp(key, sig, text, sizeof text);
		lower(one, start);
		if (e != ERR_OK)
			break;
		start = bench_now_us();
		e = dcap_verify(
		    &v, buf_view(&g->quote), &g->c, g->anchor, g->now, why);
		lower(whole, start);
	}
	p256_secret_wipe(&secret);
	EVP_PKEY_free(key);
	return e;
}

int
bench_file(FILE *json, const char *quote, const char *collateral,
    const char *root, const char *now)
{
	struct refusal why = { .code = REASON_NONE };
	struct given g = { .now = 0 };
	double one, whole;
	enum err e = read_given(&g, quote, collateral, root, now, &why);

	if (e == ERR_OK)
		e = measure(&one, &whole, &g, &why);
	if (e == ERR_OK)
		bench_line_time(json, "quote_verify_same_quote", whole,
		    COLD_VERIFICATIONS * one);
	else
		(void)fprintf(stderr, "bench: %s: %s: %s\n", quote, err_text(e),
		    why.detail);
	buf_fini(&g.quote);
	collateral_fini(&g.c);
	dcap_root_free(g.anchor);
	return e == ERR_OK ? 0 : -1;
}
