/* kmsctl verify key with a replica's chain: what its links bind, and the
 * command from a file, offline. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "common/base/file.h"
#include "common/base/hex.h"
#include "common/crypto/v2key.h"
#include "kms/ctl/ctl.h"
#include "kms/ctl/keychain.h"
#include "tests/lib/tmpdir.h"

#define APP "0xea549f0000000000000000000000000000000000"
#define INSTANCE "a0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3"
#define OTHER "b0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3"

static const uint8_t app_id[20] = { 0xea, 0x54, 0x9f };

/* A chain as a KMS and an agent make it. */
struct world {
	struct k256_secret root_key, replica_key, key;
	struct k256_pub root, replica, pub;
	struct v2key_owner owner;
	struct keychain_claim claim;
};

static void
make(struct world *w, uint64_t epoch)
{
	struct v2key_claim c = { .algorithm = "secp256k1",
		.path = BYTES_STR("/db"),
		.purpose = BYTES_STR("signing") };

	memset(w, 0, sizeof *w);
	memset(w->root_key.b, 0x11, 32);
	memset(w->replica_key.b, 0x22, 32);
	memset(w->key.b, 0x33, 32);
	cr_assert_eq(k256_pubkey(&w->root, &w->root_key), ERR_OK);
	cr_assert_eq(k256_pubkey(&w->replica, &w->replica_key), ERR_OK);
	cr_assert_eq(k256_pubkey(&w->pub, &w->key), ERR_OK);
	w->owner.epoch = epoch;
	memcpy(w->owner.app_id, app_id, 20);
	cr_assert_eq(hex_fixed(w->owner.instance_id, 20, INSTANCE), ERR_OK);
	c.pub = BYTES_OF(w->pub.b);
	cr_assert_eq(
	    v2key_sign_claim(&w->claim.link[0], &w->replica_key, &c), ERR_OK);
	cr_assert_eq(v2key_sign_replica(&w->claim.link[1], &w->root_key,
			 &w->owner, &w->replica),
	    ERR_OK);
	memcpy(w->claim.pub, w->pub.b, 33);
	w->claim.pub_len = 33;
	memcpy(w->claim.purpose, "signing", 8);
	w->claim.replica.is = true;
	w->claim.replica.epoch = epoch;
	w->claim.replica.algorithm = "secp256k1";
	memcpy(w->claim.replica.path, "/db", 4);
	memcpy(w->claim.replica.instance_id, w->owner.instance_id, 20);
}

static enum keychain_step
broken(const struct world *w, bool know_replica)
{
	struct refusal why = { .code = REASON_NONE };
	struct keychain_report r;
	enum err e = keychain_check(&r, &w->claim, app_id,
	    know_replica ? &w->replica : NULL, &w->root, &why);

	cr_assert_eq(e == ERR_OK, r.broken == KEYCHAIN_HOLDS);
	cr_assert_eq(e == ERR_DENIED, r.broken != KEYCHAIN_HOLDS);
	return r.broken;
}

/* Every field counts, and breaks the link that binds it. */
Test(ctl_replica, bound)
{
	struct keychain_report r;
	struct refusal why;
	uint8_t other[20] = { 1 };
	struct world w;

	make(&w, 7);
	w.claim.replica.path[1] = 'c';
	cr_assert_eq(broken(&w, false), KEYCHAIN_ROOT);
	cr_assert_eq(broken(&w, true), KEYCHAIN_LINK_0);
	make(&w, 7);
	w.claim.purpose[0] = 'S';
	cr_assert_eq(broken(&w, true), KEYCHAIN_LINK_0);
	make(&w, 7);
	w.claim.replica.algorithm = "ed25519";
	cr_assert_eq(broken(&w, true), KEYCHAIN_LINK_0);
	make(&w, 7);
	memcpy(w.claim.pub, w.root.b, 33);
	cr_assert_eq(broken(&w, true), KEYCHAIN_LINK_0);
	make(&w, 7);
	w.claim.replica.epoch++;
	cr_assert_eq(broken(&w, false), KEYCHAIN_ROOT);
	cr_assert_eq(broken(&w, true), KEYCHAIN_LINK_1);
	make(&w, 7);
	w.claim.replica.instance_id[19] ^= 1;
	cr_assert_eq(broken(&w, true), KEYCHAIN_LINK_1);
	make(&w, 7);
	cr_assert_eq(
	    keychain_check(&r, &w.claim, other, &w.replica, &w.root, &why),
	    ERR_DENIED);
	cr_assert_eq(r.broken, KEYCHAIN_LINK_1);
	/* It is no chain of an app's key. */
	make(&w, 7);
	w.claim.replica.is = false;
	cr_assert_neq(broken(&w, false), KEYCHAIN_HOLDS);
	make(&w, 7);
	memset(w.claim.link[0].b, 0xff, 65);
	cr_assert_eq(broken(&w, false), KEYCHAIN_LINK_0);
	make(&w, 7);
	cr_assert_eq(broken(&w, false), KEYCHAIN_HOLDS);
	cr_assert_eq(broken(&w, true), KEYCHAIN_HOLDS);
}

/* ---- the command ---- */

static char *dir, file[600];

static void
setup(void)
{
	dir = tmpdir_new();
	(void)snprintf(file, sizeof file, "%s/key.json", dir);
}

static void
teardown(void)
{
	tmpdir_remove(dir);
}

TestSuite(ctl_replica_command, .init = setup, .fini = teardown, .timeout = 60);

/* A reply of GetReplicaKey with what was asked. */
static json_t *
reply(const struct world *w)
{
	json_t *v = json_pack("{s:s, s:s, s:s, s:s, s:I, s:[]}", "path", "/db",
	    "purpose", "signing", "algorithm", "secp256k1", "instance_id",
	    INSTANCE, "epoch", (json_int_t)w->owner.epoch, "signature_chain");
	char hex[2 * 65 + 1];

	cr_assert_eq(json_set_hex(v, "public_key", w->pub.b, 33), ERR_OK);
	for (int i = 0; i < 2; i++)
		cr_assert_eq(
		    json_array_append_new(json_object_get(v, "signature_chain"),
			json_string(hex_encode(hex, w->claim.link[i].b, 65))),
		    0);
	return v;
}

/* Runs it on `v`, which it takes. */
static int
run(json_t *v, const struct k256_pub *root, const char *const *word)
{
	const char *argv[20] = { "kmsctl", "verify", "key", "--json", "--file",
		file, "--app", APP, "--root" };
	char hex[67], *text = NULL;
	struct buf b = { 0 };
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);
	int n = 9, rc;

	argv[n++] = hex_encode(hex, root->b, 33);
	while (*word != NULL)
		argv[n++] = *word++;
	cr_assert_eq(json_write(&b, v), ERR_OK);
	cr_assert_eq(file_write(file, b.p, b.len, 0600), ERR_OK);
	rc = (int)ctl_main(f, f, n, (char *const *)(uintptr_t)argv);
	(void)fclose(f);
	free(text);
	buf_fini(&b);
	json_decref(v);
	return rc;
}

/* With no more words, or up to two. */
#define BARE(v) RUN(v, NULL, NULL)
#define RUN(v, a, b) run(v, &w.root, (const char *const[]){ a, b, NULL })
#define WITHOUT(v, key) (json_object_del(v, key), v)
#define WITH(v, key, text) (json_object_set_new(v, key, json_string(text)), v)

Test(ctl_replica_command, refusals)
{
	struct world w;
	json_t *v;

	make(&w, 0);
	/* Another instance, by the file or by who asks; none; no id. */
	v = reply(&w);
	cr_expect_eq(BARE(WITH(v, "instance_id", OTHER)), CTL_FAILED);
	cr_expect_eq(RUN(reply(&w), "--instance", OTHER), CTL_FAILED);
	v = reply(&w);
	cr_expect_eq(
	    RUN(WITHOUT(v, "instance_id"), "--instance", OTHER), CTL_FAILED);
	v = reply(&w);
	cr_expect_eq(BARE(WITH(v, "instance_id", "a0")), CTL_FAILED);
	v = reply(&w);
	cr_expect_eq(RUN(WITH(v, "instance_id", "a0"), "--instance", INSTANCE),
	    CTL_FAILED);
	cr_expect_eq(RUN(reply(&w), "--instance", "a0"), CTL_USAGE);
	/* Told to be a replica's, and not one; or the reverse. */
	v = reply(&w);
	cr_expect_eq(
	    RUN(WITHOUT(v, "instance_id"), "--replica", NULL), CTL_FAILED);
	v = reply(&w);
	cr_expect_eq(BARE(WITHOUT(v, "instance_id")), CTL_FAILED);
	/* Without its epoch, or with another. */
	v = reply(&w);
	cr_expect_eq(BARE(WITHOUT(v, "epoch")), CTL_FAILED);
	v = reply(&w);
	cr_expect_eq(BARE(WITH(v, "epoch", "0")), CTL_FAILED);
	v = reply(&w);
	cr_expect_eq(BARE(WITH(v, "path", "/other")), CTL_FAILED);
	v = reply(&w);
	cr_expect_eq(BARE(WITHOUT(v, "path")), CTL_FAILED);
	v = reply(&w);
	cr_expect_eq(BARE(WITH(v, "purpose", "")), CTL_FAILED);
	/* Another app's, another root's. */
	cr_expect_eq(run(reply(&w), &w.replica, (const char *const[]){ NULL }),
	    CTL_FAILED);
	/* The app key has no part in it. */
	cr_expect_eq(RUN(reply(&w), "--app-key",
			 "02"
			 "79be667ef9dcbbac55a06295ce870b07"
			 "029bfcdb2dce28d959f2815b16f81798"),
	    CTL_USAGE);
	/* The pinned root is epoch 0's: it signs for no other, though both
	 * signatures are what they say. */
	make(&w, 3);
	cr_expect_eq(BARE(reply(&w)), CTL_FAILED);
}

/* Recognised by its fields, or told. */
Test(ctl_replica_command, holds)
{
	struct world w;
	json_t *v;

	make(&w, 0);
	cr_expect_eq(BARE(reply(&w)), CTL_OK);
	cr_expect_eq(RUN(reply(&w), "--replica", NULL), CTL_OK);
	cr_expect_eq(RUN(reply(&w), "--instance", "0x" INSTANCE), CTL_OK);
	v = reply(&w);
	cr_expect_eq(
	    RUN(WITHOUT(v, "instance_id"), "--instance", INSTANCE), CTL_OK);
	v = reply(&w);
	cr_expect_eq(BARE(WITH(v, "algorithm", "k256")), CTL_OK);
}
