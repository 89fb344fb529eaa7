#include <criterion/criterion.h>

#include <string.h>

#include "common/base/hex.h"
#include "common/crypto/dstack.h"
#include "kms/ctl/keychain.h"
#include "tests/lib/facts.h"

static const uint8_t app_id[20] = { 0xea, 0x54, 0x9f };

/* A chain as a KMS and an agent make it. */
struct world {
	struct k256_secret root_key, app_key, key;
	struct k256_pub root, app, pub;
	struct keychain_claim claim;
};

static void
make(struct world *w, const char *purpose)
{
	memset(w, 0, sizeof *w);
	memset(w->root_key.b, 0x11, 32);
	memset(w->app_key.b, 0x22, 32);
	memset(w->key.b, 0x33, 32);
	cr_assert_eq(k256_pubkey(&w->root, &w->root_key), ERR_OK);
	cr_assert_eq(k256_pubkey(&w->app, &w->app_key), ERR_OK);
	cr_assert_eq(k256_pubkey(&w->pub, &w->key), ERR_OK);
	memcpy(w->claim.pub, w->pub.b, 33);
	w->claim.pub_len = 33;
	(void)snprintf(
	    w->claim.purpose, sizeof w->claim.purpose, "%s", purpose);
	cr_assert_eq(dstack_sign_purpose(&w->claim.link[0], &w->app_key,
			 purpose, (struct bytes){ w->pub.b, 33 }),
	    ERR_OK);
	cr_assert_eq(
	    dstack_sign_app(&w->claim.link[1], &w->root_key, app_id, &w->app),
	    ERR_OK);
}

static enum keychain_step
broken(const struct world *w, bool know_app)
{
	struct refusal why = { .code = REASON_NONE };
	struct keychain_report r;
	enum err e = keychain_check(
	    &r, &w->claim, app_id, know_app ? &w->app : NULL, &w->root, &why);

	cr_assert_eq(e == ERR_OK, r.broken == KEYCHAIN_HOLDS);
	cr_assert_eq(e == ERR_DENIED, r.broken != KEYCHAIN_HOLDS);
	if (e != ERR_OK)
		cr_assert(
		    why.code == REASON_ROOT_MISMATCH && why.detail[0] != '\0');
	return r.broken;
}

/* A good chain holds, whether or not the app key is known. */
Test(ctl_keychain, holds)
{
	struct world w;

	make(&w, "signing");
	cr_assert_eq(broken(&w, false), KEYCHAIN_HOLDS);
	cr_assert_eq(broken(&w, true), KEYCHAIN_HOLDS);
	make(&w, "");
	cr_assert_eq(broken(&w, true), KEYCHAIN_HOLDS);
}

/* Every bit of the derived key and of both signatures counts; with the app
 * key known, the link that was altered is the one that is named. */
Test(ctl_keychain, every_bit_counts, .timeout = 120)
{
	struct world w;

	make(&w, "signing");
	for (size_t i = 0; i < 65 * 8; i += 3) {
		for (int k = 0; k < 2; k++) {
			w.claim.link[k].b[i / 8] ^= (uint8_t)(1 << i % 8);
			cr_assert_neq(broken(&w, false), KEYCHAIN_HOLDS);
			cr_assert_eq(broken(&w, true),
			    k == 0 ? KEYCHAIN_LINK_0 : KEYCHAIN_LINK_1,
			    "link %d bit %zu", k, i);
			w.claim.link[k].b[i / 8] ^= (uint8_t)(1 << i % 8);
		}
	}
	for (size_t i = 0; i < 33 * 8; i += 5) {
		w.claim.pub[i / 8] ^= (uint8_t)(1 << i % 8);
		cr_assert_neq(broken(&w, false), KEYCHAIN_HOLDS);
		cr_assert_eq(broken(&w, true), KEYCHAIN_LINK_0);
		w.claim.pub[i / 8] ^= (uint8_t)(1 << i % 8);
	}
	cr_assert_eq(broken(&w, true), KEYCHAIN_HOLDS);
}

/* A key for one purpose, app or root is not one for another. */
Test(ctl_keychain, bound_to_purpose_app_and_root)
{
	struct refusal why;
	struct keychain_report r;
	uint8_t other[20] = { 1 };
	struct world w;

	make(&w, "signing");
	(void)snprintf(w.claim.purpose, sizeof w.claim.purpose, "signin");
	cr_assert_eq(broken(&w, true), KEYCHAIN_LINK_0);
	cr_assert_eq(broken(&w, false), KEYCHAIN_ROOT);

	make(&w, "signing");
	cr_assert_eq(keychain_check(&r, &w.claim, other, &w.app, &w.root, &why),
	    ERR_DENIED);
	cr_assert_eq(r.broken, KEYCHAIN_LINK_1);

	cr_assert_eq(keychain_check(&r, &w.claim, app_id, NULL, &w.app, &why),
	    ERR_DENIED);
	cr_assert_eq(r.broken, KEYCHAIN_ROOT);
	cr_assert_eq(memcmp(&r.root, &w.root, sizeof w.root), 0);
}

/* Links that are no signatures at all are named without any other help. */
Test(ctl_keychain, no_signature)
{
	struct world w;

	for (int k = 0; k < 2; k++) {
		make(&w, "signing");
		memset(w.claim.link[k].b, 0xff, 65);
		cr_assert_eq(broken(&w, false),
		    k == 0 ? KEYCHAIN_LINK_0 : KEYCHAIN_LINK_1);
		make(&w, "signing");
		w.claim.link[k].b[64] = 4; /* no such recovery id */
		cr_assert_eq(broken(&w, false),
		    k == 0 ? KEYCHAIN_LINK_0 : KEYCHAIN_LINK_1);
	}
}

/* ---- reading a claim ---- */

static enum err
parse(struct keychain_claim *c, const char *text, char why[160])
{
	json_t *v = NULL;
	enum err e;

	cr_assert_eq(json_parse(&v, text, strlen(text), 1 << 16, NULL, 0),
	    ERR_OK, "%s", text);
	e = keychain_read(c, v, why, 160);
	json_decref(v);
	return e;
}

#define SIG65 \
	"1111111111111111111111111111111111111111111111111111111111111111" \
	"2222222222222222222222222222222222222222222222222222222222222222" \
	"00"
#define CHAIN "\"signature_chain\":[\"" SIG65 "\",\"0x" SIG65 "\"]"
#define KEY33 "3333333333333333333333333333333333333333333333333333333333333333"

/* A secret key and its public half make the same claim, with either
 * algorithm. */
Test(ctl_keychain, reads_both_halves)
{
	struct keychain_claim a, b;
	char why[160], text[1024], pub[67];

	cr_assert_eq(
	    parse(&a, "{\"key\":\"" KEY33 "\"," CHAIN "}", why), ERR_OK);
	cr_assert_eq(a.pub_len, 33);
	cr_assert_str_eq(a.purpose, "");
	hex_encode(pub, a.pub, 33);
	(void)snprintf(text, sizeof text,
	    "{\"public_key\":\"%s\",\"purpose\":\"p\",\"algorithm\":"
	    "\"k256\"," CHAIN "}",
	    pub);
	cr_assert_eq(parse(&b, text, why), ERR_OK);
	cr_assert_eq(memcmp(a.pub, b.pub, 33), 0);
	cr_assert_str_eq(b.purpose, "p");

	/* RFC 8032, 7.1, TEST 1. */
	cr_assert_eq(
	    parse(&a,
		"{\"key\":\"9d61b19deffd5a60ba844af492ec2cc44449c569"
		"7b326919703bac031cae7f60\",\"algorithm\":\"ed25519\"," CHAIN
		"}",
		why),
	    ERR_OK);
	cr_assert_eq(a.pub_len, 32);
	cr_assert(facts_eq(a.pub, 32,
	    "d75a980182b10ab7d54bfed3c964073a"
	    "0ee172f3daa62325af021a68f707511a"));
}

/* Whatever is missing or of another shape is named. */
Test(ctl_keychain, refuses_to_read)
{
	static const struct {
		const char *text, *word;
	} bad[] = {
		{ "[]", "object" },
		{ "{}", "key" },
		{ "{" CHAIN "}", "key" },
		{ "{\"key\":\"" KEY33 "\"}", "signature_chain" },
		{ "{\"key\":\"" KEY33 "33\"," CHAIN "}", "key" },
		{ "{\"key\":\"00\"," CHAIN "}", "key" },
		{ "{\"key\":1," CHAIN "}", "key" },
		/* Zero is no private key. */
		{ "{\"key\":\"00000000000000000000000000000000000000000000000"
		  "00000000000000000\"," CHAIN "}",
		    "key" },
		{ "{\"public_key\":\"" KEY33 "\"," CHAIN "}", "public_key" },
		{ "{\"public_key\":\"05" KEY33 "\"," CHAIN "}", "public_key" },
		{ "{\"key\":\"" KEY33 "\",\"algorithm\":\"rsa\"," CHAIN "}",
		    "algorithm" },
		{ "{\"key\":\"" KEY33 "\",\"algorithm\":1," CHAIN "}",
		    "algorithm" },
		{ "{\"key\":\"" KEY33 "\",\"purpose\":[]," CHAIN "}",
		    "purpose" },
		{ "{\"key\":\"" KEY33 "\",\"signature_chain\":[]}",
		    "signature_chain" },
		{ "{\"key\":\"" KEY33 "\",\"signature_chain\":[\"" SIG65 "\"]}",
		    "signature_chain" },
		{ "{\"key\":\"" KEY33 "\",\"signature_chain\":[\"" SIG65
		  "\",\"" SIG65 "\",\"" SIG65 "\"]}",
		    "signature_chain" },
		{ "{\"key\":\"" KEY33 "\",\"signature_chain\":[\"" SIG65
		  "\",\"" SIG65 "00\"]}",
		    "signature_chain" },
		{ "{\"key\":\"" KEY33 "\",\"signature_chain\":[1,2]}",
		    "signature_chain" },
	};
	struct keychain_claim c = { .pub_len = 99 };
	char why[160];

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		cr_expect_eq(parse(&c, bad[i].text, why), ERR_MALFORMED, "%s",
		    bad[i].text);
		cr_expect_not_null(
		    strstr(why, bad[i].word), "%s: %s", bad[i].text, why);
	}
	cr_assert_eq(c.pub_len, 99);
}
