/* The caches of a verifier: nothing is accepted with them that would be
 * refused without, and little is done twice. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "common/attest/evalfloor.h"
#include "tests/lib/forge.h"

static struct dcap_cache *cache;
static struct forge w;

static void
setup(void)
{
	cr_assert(dcap_cache_new(&cache) == ERR_OK);
	forge_lay(&w, 0);
}

static void
teardown(void)
{
	dcap_cache_free(cache);
	forge_tear(&w);
}

TestSuite(dcap_cache, .init = setup, .fini = teardown, .timeout = 60);

/* NULL: accepted; else the code. */
static void
gives(const char *code, int64_t now)
{
	struct refusal why = { 0 };
	struct verdict v, plain;
	enum err e = dcap_verify_cached(
		     &v, cache, buf_view(&w.quote), &w.c, w.anchor, now, &why),
		 bytes;

	cr_assert_eq(e, code == NULL ? ERR_OK : ERR_DENIED, "%s, not %s",
	    why.detail, code != NULL ? code : "accepted");
	if (code != NULL)
		cr_assert(strncmp(why.detail, code, strlen(code)) == 0,
		    "%s, not %s", why.detail, code);
	bytes =
	    dcap_verify(&plain, buf_view(&w.quote), &w.c, w.anchor, now, &why);
	cr_assert_eq(e, bytes);
	if (e == ERR_OK) {
		cr_assert_eq(v.valid_from, plain.valid_from);
		cr_assert_eq(v.valid_until, plain.valid_until);
		cr_assert_eq(v.judged_at, now);
	}
}

static struct dcap_cache_stats
stats(void)
{
	struct dcap_cache_stats s;

	dcap_cache_stats(&s, cache);
	return s;
}

/* The second time, everything but the quote is known. */
Test(dcap_cache, hits)
{
	struct dcap_need need;
	struct dcap_cache_stats s;

	for (int i = 0; i < 3; i++) {
		cr_assert(dcap_need(&need, cache, buf_view(&w.quote), NULL) ==
		    ERR_OK);
		cr_assert(memcmp(need.fmspc, SIM_FMSPC, 6) == 0);
		cr_assert(need.platform_ca && need.tee == TEE_TDX);
		gives(NULL, FORGE_NOW);
	}
	s = stats();
	for (int k = 0; k < DCAP_CACHE_KINDS; k++) {
		cr_assert_eq(s.hits[k], 2, "%d: %lu", k, s.hits[k]);
		cr_assert_eq(s.misses[k], 1);
		cr_assert_eq(s.held[k], 1);
	}
	/* Another QE of the same platform: only its report is new. */
	cr_assert(sim_qe_provision(&w.qe, &w.pck, &w.platform) == ERR_OK);
	cr_assert(sim_quote(&w.quote, &w.qe, &w.td) == ERR_OK);
	gives(NULL, FORGE_NOW);
	s = stats();
	cr_assert_eq(s.misses[DCAP_CACHE_PCK], 1);
	cr_assert_eq(s.misses[DCAP_CACHE_QE], 2);
}

/* P22: `now` is compared at every hit, in both directions. */
Test(dcap_cache, time_goes_on)
{
	gives(NULL, FORGE_NOW);
	gives(NULL, FORGE_NOW + 20 * FORGE_DAY);
	gives("COLLATERAL_EXPIRED: tcb_info", FORGE_NOW + 20 * FORGE_DAY + 1);
	gives("CRL_EXPIRED", FORGE_NOW + 31 * FORGE_DAY);
	gives("CERT_EXPIRED", FORGE_NOW + 1000 * FORGE_DAY);
	gives(NULL, FORGE_NOW - FORGE_DAY);
	gives("CRL_NOT_YET_VALID", FORGE_NOW - FORGE_DAY - 1);
	gives(NULL, FORGE_NOW);
}

/* A PCK leaf may end before its collateral does. */
Test(dcap_cache, leaf_ends_first)
{
	struct sim_serial serial;
	struct buf leaf = { 0 };
	struct p256_pub pub;

	cr_assert(p256_pubkey(&pub, &w.pck) == ERR_OK);
	cr_assert(sim_cert_issue(&leaf, &serial, SIM_CERT_PCK, &pub, &w.pck_ca,
		      &w.platform, FORGE_NOW - FORGE_DAY,
		      FORGE_NOW + FORGE_DAY) == ERR_OK);
	forge_pem(&w.qe.pck_chain, &leaf, &w.pck_ca.der, &w.root.der);
	cr_assert(sim_quote(&w.quote, &w.qe, &w.td) == ERR_OK);
	gives(NULL, FORGE_NOW);
	gives(NULL, FORGE_NOW + FORGE_DAY);
	gives("CERT_EXPIRED: pck", FORGE_NOW + FORGE_DAY + 1);
	buf_fini(&leaf);
}

/* P4: a new CRL counts at once, however warm the cache. */
Test(dcap_cache, revocation)
{
	gives(NULL, FORGE_NOW);
	gives(NULL, FORGE_NOW);
	forge_crls(&w, &w.pck_serial, 1);
	gives("CERT_REVOKED: pck", FORGE_NOW);
	gives("CERT_REVOKED: pck", FORGE_NOW);
}

/* Whatever a stored result depends on is in its key: change it, and nothing
 * stored is used. */
Test(dcap_cache, content)
{
	struct buf *part[] = { &w.c.tcb_info, &w.c.qe_identity,
		&w.c.root_ca_crl, &w.c.pck_crl };

	gives(NULL, FORGE_NOW);
	for (size_t i = 0; i < sizeof part / sizeof part[0]; i++) {
		uint8_t *p = part[i]->p + part[i]->len - 3;
		enum err e;
		struct verdict v;

		*p ^= 1;
		e = dcap_verify_cached(&v, cache, buf_view(&w.quote), &w.c,
		    w.anchor, FORGE_NOW, NULL);
		cr_assert(e == ERR_DENIED, "%zu", i);
		*p ^= 1;
	}
	w.c.tcb_info_signature[9] ^= 1;
	gives("COLLATERAL_SIG: tcb_info", FORGE_NOW);
	w.c.tcb_info_signature[9] ^= 1;
	w.c.qe_identity_signature[9] ^= 1;
	gives("COLLATERAL_SIG: qe_identity", FORGE_NOW);
	w.c.qe_identity_signature[9] ^= 1;
	w.quote.p[Q_KEY] ^= 1;
	gives("QE_REPORT_DATA", FORGE_NOW);
	w.quote.p[Q_KEY] ^= 1;
	w.quote.p[Q_QE_AUTH] ^= 1;
	gives("QE_REPORT_DATA", FORGE_NOW);
	w.quote.p[Q_QE_AUTH] ^= 1;
	w.quote.p[Q_QE + QE_SVN] ^= 1;
	gives("QE_REPORT_SIG", FORGE_NOW);
	w.quote.p[Q_QE + QE_SVN] ^= 1;
	w.quote.p[Q_QE_SIGNATURE] ^= 1;
	gives("QE_REPORT_SIG", FORGE_NOW);
	w.quote.p[Q_QE_SIGNATURE] ^= 1;
	w.quote.p[100] ^= 1;
	gives("QUOTE_SIG", FORGE_NOW);
	w.quote.p[100] ^= 1;
	gives(NULL, FORGE_NOW);
}

/* New documents about the same platform are judged, not the old ones. */
Test(dcap_cache, new_documents)
{
	gives(NULL, FORGE_NOW);
	forge_qe_identity(&w, "UpToDate", "Revoked");
	gives("TCB_REVOKED", FORGE_NOW);
	forge_qe_identity(&w, "Revoked", "UpToDate");
	forge_qe_identity(&w, "\"mrsigner\":\"", "\"mrsigner\":\"00");
	gives("JSON", FORGE_NOW);
}

/* The same collateral under another root means nothing. */
Test(dcap_cache, other_root)
{
	struct dcap_root *mine = w.anchor;
	struct forge other;

	gives(NULL, FORGE_NOW);
	forge_lay(&other, 0);
	w.anchor = other.anchor;
	gives("CRL_SIG: root", FORGE_NOW);
	w.anchor = mine;
	gives(NULL, FORGE_NOW);
	forge_tear(&other);
}

/* A refusal is found out anew each time, and leaves nothing behind. */
Test(dcap_cache, refusals_are_not_kept)
{
	struct dcap_cache_stats s;

	w.c.tcb_info_signature[9] ^= 1;
	gives("COLLATERAL_SIG", FORGE_NOW);
	gives("COLLATERAL_SIG", FORGE_NOW);
	s = stats();
	for (int k = 0; k < DCAP_CACHE_KINDS; k++)
		cr_assert_eq(s.held[k], 0);
	cr_assert_eq(s.hits[DCAP_CACHE_BUNDLE], 0);
}

/* A bundle by itself: refused outside its window, usable after its cache. */
Test(dcap_cache, bundle_outlives_its_cache)
{
	struct dcap_bundle *b = NULL;
	struct dcap_cache *k = NULL;
	struct refusal why = { 0 };
	struct verdict v;

	cr_assert(dcap_cache_new(&k) == ERR_OK);
	cr_assert(
	    dcap_bundle_new(&b, &w.c, w.anchor, FORGE_NOW, &why) == ERR_OK);
	dcap_cache_put(k, DCAP_CACHE_BUNDLE, b->id, &b->obj);
	dcap_cache_free(k);
	cr_assert(dcap_verify_bundle(&v, NULL, buf_view(&w.quote), b, FORGE_NOW,
		      &why) == ERR_OK,
	    "%s", why.detail);
	cr_assert(dcap_verify_bundle(&v, NULL, buf_view(&w.quote), b,
		      b->window.until + 1, &why) == ERR_DENIED);
	cr_assert_eq(why.code, REASON_COLLATERAL_EXPIRED);
	cr_assert(dcap_verify_bundle(&v, NULL, buf_view(&w.quote), b,
		      b->window.from - 1, &why) == ERR_DENIED);
	cr_assert_eq(why.code, REASON_COLLATERAL_EXPIRED);
	dcap_bundle_unref(b);
}

static unsigned destroyed;

static void
destroy(struct dcap_obj *o)
{
	destroyed++;
	free(o);
}

/* However much comes, so much is kept; the one unused longest goes. */
Test(dcap_cache, bounded)
{
	static const unsigned places[] = { 256, 32, 256, 256 };

	for (int kind = 0; kind < DCAP_CACHE_KINDS; kind++) {
		uint8_t key[32] = { 0 };
		struct dcap_obj *o;

		destroyed = 0;
		for (unsigned i = 0; i < 600; i++) {
			o = calloc(1, sizeof *o);
			dcap_obj_init(o, destroy);
			key[0] = (uint8_t)i;
			key[1] = (uint8_t)(i >> 8);
			dcap_cache_put(
			    cache, (enum dcap_cache_kind)kind, key, o);
			dcap_obj_unref(o);
			/* The first is used again and again. */
			key[0] = key[1] = 0;
			o = dcap_cache_get(
			    cache, (enum dcap_cache_kind)kind, key);
			cr_assert_not_null(o);
			dcap_obj_unref(o);
		}
		cr_assert_eq(stats().held[kind], places[kind]);
		cr_assert_eq(destroyed, 600 - places[kind]);
		key[0] = 1;
		cr_assert_null(
		    dcap_cache_get(cache, (enum dcap_cache_kind)kind, key));
	}
}

static void *
worker(void *arg)
{
	const struct forge *f = arg;
	struct verdict v;

	for (int i = 0; i < 60; i++) {
		int64_t now = FORGE_NOW + (i % 3 == 2 ? 40 * FORGE_DAY : 0);
		enum err e = dcap_verify_cached(&v, cache, buf_view(&f->quote),
		    &f->c, f->anchor, now, NULL);

		if ((e == ERR_OK) != (i % 3 != 2))
			return arg;
	}
	return NULL;
}

/* Threads may share a cache, whatever the others do. */
Test(dcap_cache, threads)
{
	struct forge other;
	pthread_t t[4];
	void *failed;

	forge_lay(&other, 0);
	for (int i = 0; i < 4; i++)
		cr_assert_eq(pthread_create(
				 &t[i], NULL, worker, i % 2 == 0 ? &w : &other),
		    0);
	for (int i = 0; i < 4; i++) {
		cr_assert_eq(pthread_join(t[i], &failed), 0);
		cr_assert_null(failed);
	}
	dcap_cache_free(cache);
	cache = NULL;
	forge_tear(&other);
}

static struct verdict
with_numbers(uint8_t platform, uint32_t tcb, uint32_t qe)
{
	struct verdict v = {
		.tee = TEE_TDX, .tcb_eval_number = tcb, .qe_eval_number = qe
	};

	v.fmspc[0] = platform;
	return v;
}

static void
floor_gives(struct evalfloor *f, struct verdict v, const char *detail)
{
	struct refusal why = { 0 };
	enum err e = evalfloor_check(f, &v, &why);

	cr_assert_eq(e, detail == NULL ? ERR_OK : ERR_DENIED, "%s", why.detail);
	if (detail == NULL)
		return;
	cr_assert_eq(why.code, REASON_COLLATERAL_INVALID);
	cr_assert_str_eq(why.detail, detail);
}

/* P25: numbers may rise and stay, each by itself, and never go down. */
Test(evalfloor, never_lower)
{
	struct eval_floor list[8];
	struct evalfloor *f = NULL;
	uint64_t changes;

	cr_assert(evalfloor_new(&f) == ERR_OK);
	floor_gives(f, with_numbers(1, 17, 18), NULL);
	floor_gives(f, with_numbers(1, 17, 18), NULL);
	changes = evalfloor_changes(f);
	floor_gives(
	    f, with_numbers(1, 16, 18), "EVAL_NUMBER: TCB info 16, after 17");
	floor_gives(f, with_numbers(1, 17, 17),
	    "EVAL_NUMBER: QE identity 17, after 18");
	/* A refused one raises nothing. */
	floor_gives(f, with_numbers(1, 99, 17),
	    "EVAL_NUMBER: QE identity 17, after 18");
	cr_assert_eq(evalfloor_changes(f), changes);
	floor_gives(f, with_numbers(1, 17, 18), NULL);
	/* Another platform has its own; the QE identity is everybody's. */
	floor_gives(f, with_numbers(2, 3, 18), NULL);
	floor_gives(
	    f, with_numbers(2, 3, 17), "EVAL_NUMBER: QE identity 17, after 18");
	floor_gives(f, with_numbers(2, 4, 20), NULL);
	floor_gives(f, with_numbers(1, 17, 18),
	    "EVAL_NUMBER: QE identity 18, after 20");
	cr_assert_gt(evalfloor_changes(f), changes);
	/* SGX counts apart. */
	struct verdict v = with_numbers(1, 1, 1);

	v.tee = TEE_SGX;
	floor_gives(f, v, NULL);
	cr_assert_eq(evalfloor_list(list, 8, f), 5);
	evalfloor_free(f);
}

/* What was persisted holds in the next life; it cannot lower anything. */
Test(evalfloor, persisted)
{
	struct eval_floor list[4], bad;
	struct evalfloor *f = NULL, *g = NULL;

	cr_assert(evalfloor_new(&f) == ERR_OK);
	cr_assert(evalfloor_new(&g) == ERR_OK);
	floor_gives(f, with_numbers(1, 17, 18), NULL);
	cr_assert_eq(evalfloor_list(list, 1, f), 2);
	cr_assert_eq(evalfloor_list(list, 4, f), 2);
	for (int i = 0; i < 2; i++)
		cr_assert(evalfloor_raise(g, &list[i]) == ERR_OK);
	floor_gives(
	    g, with_numbers(1, 16, 18), "EVAL_NUMBER: TCB info 16, after 17");
	list[0].number = 2;
	cr_assert(evalfloor_raise(g, &list[0]) == ERR_OK);
	floor_gives(
	    g, with_numbers(1, 16, 18), "EVAL_NUMBER: TCB info 16, after 17");
	bad = (struct eval_floor){ .tee = TEE_NITRO, .number = 1 };
	cr_assert(evalfloor_raise(g, &bad) == ERR_MALFORMED);
	bad = (struct eval_floor){ .tee = TEE_TDX, .qe = true, .fmspc = { 1 } };
	cr_assert(evalfloor_raise(g, &bad) == ERR_MALFORMED);
	evalfloor_free(f);
	evalfloor_free(g);
}

static struct evalfloor *
floors_with(uint8_t fmspc, uint32_t tcb, uint32_t qe)
{
	struct evalfloor *f = NULL;

	cr_assert(evalfloor_new(&f) == ERR_OK);
	if (tcb != 0)
		floor_gives(f, with_numbers(fmspc, tcb, qe), NULL);
	return f;
}

static void
not_merged(struct bytes in, enum err want)
{
	struct evalfloor *f = floors_with(9, 1, 1);
	uint64_t before = evalfloor_changes(f);

	cr_assert(evalfloor_merge(f, in) == want);
	cr_assert_eq(evalfloor_changes(f), before);
	evalfloor_free(f);
}

/* A list is refused whole unless it is exactly one list in its one form. */
Test(evalfloor, list_refusals)
{
	struct evalfloor *f = floors_with(2, 17, 18);
	struct buf b = { 0 };
	uint8_t entry[12];

	floor_gives(f, with_numbers(1, 5, 18), NULL);
	cr_assert(evalfloor_write(&b, f) == ERR_OK);
	cr_assert_eq(b.len, 3 + 3 * 12);
	for (size_t n = 0; n < b.len; n++)
		not_merged((struct bytes){ b.p, n }, ERR_MALFORMED);
	not_merged((struct bytes){ b.p, b.len + 1 }, ERR_MALFORMED);
	for (size_t i = 0; i < 3; i++) { /* form and count */
		b.p[i] ^= 1;
		not_merged(buf_view(&b), ERR_MALFORMED);
		b.p[i] ^= 1;
	}
	static const struct {
		size_t at;
		uint8_t to;
	} wrong[] = {
		{ 3, 0 }, /* no such TEE; it would be in order */
		{ 3 + 2 * 12, TEE_NITRO },
		{ 4, 1 }, /* QE identity of a platform */
		{ 4, 2 }, /* no such flag */
		{ 3 + 2 * 12 + 1, 3 },
		{ 3 + 2 * 12 + 2, 1 }, /* the same, in order */
		{ 5, 3 }, /* 3 before 2 */
		{ 5, 2 }, /* 2 twice */
	};
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		uint8_t was = b.p[wrong[i].at];

		b.p[wrong[i].at] = wrong[i].to;
		not_merged(buf_view(&b), ERR_MALFORMED);
		b.p[wrong[i].at] = was;
	}
	/* QE identity before TCB info */
	memcpy(entry, b.p + 3, 12);
	memcpy(b.p + 3, b.p + 3 + 24, 12);
	memcpy(b.p + 3 + 24, entry, 12);
	not_merged(buf_view(&b), ERR_MALFORMED);
	buf_fini(&b);
	evalfloor_free(f);
}

/* Merging raises and never lowers; whose list comes first does not matter. */
Test(evalfloor, merge)
{
	struct evalfloor *f[2] = { floors_with(1, 17, 18),
		floors_with(1, 16, 20) };
	struct evalfloor *none = floors_with(0, 0, 0);
	struct buf list[2] = { 0 }, empty = { 0 }, again = { 0 };
	uint64_t changes;

	floor_gives(f[1], with_numbers(2, 3, 20), NULL);
	for (int i = 0; i < 2; i++)
		cr_assert(evalfloor_write(&list[i], f[i]) == ERR_OK);
	for (int i = 0; i < 2; i++) {
		cr_assert(
		    evalfloor_merge(f[i], buf_view(&list[1 - i])) == ERR_OK);
		floor_gives(f[i], with_numbers(1, 16, 20),
		    "EVAL_NUMBER: TCB info 16, after 17");
		floor_gives(f[i], with_numbers(1, 17, 19),
		    "EVAL_NUMBER: QE identity 19, after 20");
		floor_gives(f[i], with_numbers(2, 2, 20),
		    "EVAL_NUMBER: TCB info 2, after 3");
	}
	cr_assert(evalfloor_write(&list[0], f[0]) == ERR_OK);
	cr_assert(evalfloor_write(&list[1], f[1]) == ERR_OK);
	cr_assert_eq(list[0].len, list[1].len);
	cr_assert(memcmp(list[0].p, list[1].p, list[0].len) == 0);
	/* Nothing new moves nothing; an empty list is a list. */
	changes = evalfloor_changes(f[0]);
	cr_assert(evalfloor_merge(f[0], buf_view(&list[1])) == ERR_OK);
	cr_assert(evalfloor_write(&empty, none) == ERR_OK);
	cr_assert(evalfloor_merge(f[0], buf_view(&empty)) == ERR_OK);
	cr_assert_eq(evalfloor_changes(f[0]), changes);
	cr_assert(evalfloor_merge(none, buf_view(&list[0])) == ERR_OK);
	cr_assert(evalfloor_write(&again, none) == ERR_OK);
	cr_assert(memcmp(again.p, list[0].p, again.len) == 0);
	for (int i = 0; i < 2; i++) {
		buf_fini(&list[i]);
		evalfloor_free(f[i]);
	}
	buf_fini(&empty);
	buf_fini(&again);
	evalfloor_free(none);
}

/* A full table refuses what it cannot note, and still knows what it has. */
Test(evalfloor, full)
{
	struct evalfloor *f = NULL;
	struct eval_floor e = { .tee = TEE_TDX, .number = 5 };
	struct refusal why = { 0 };
	struct verdict v;

	cr_assert(evalfloor_new(&f) == ERR_OK);
	for (unsigned i = 0; i < EVALFLOOR_MAX; i++) {
		e.fmspc[0] = (uint8_t)i;
		e.fmspc[1] = (uint8_t)(i >> 8);
		cr_assert(evalfloor_raise(f, &e) == ERR_OK);
	}
	e.fmspc[2] = 1;
	cr_assert(evalfloor_raise(f, &e) == ERR_LIMIT);
	v = with_numbers(0, 9, 9);
	v.fmspc[2] = 1;
	cr_assert(evalfloor_check(f, &v, &why) == ERR_DENIED);
	cr_assert_eq(why.code, REASON_COLLATERAL_INVALID);
	e = (struct eval_floor){ .tee = TEE_TDX, .number = 4 };
	cr_assert(evalfloor_raise(f, &e) == ERR_OK);
	/* The longest list there is; and none of one that is too long. */
	struct evalfloor *g = floors_with(0, 0, 0);
	struct buf all = { 0 };

	cr_assert(evalfloor_write(&all, f) == ERR_OK);
	cr_assert_eq(all.len, EVALFLOOR_LIST_MAX);
	cr_assert(evalfloor_merge(g, buf_view(&all)) == ERR_OK);
	cr_assert(evalfloor_merge(f, buf_view(&all)) == ERR_OK);
	not_merged(buf_view(&all), ERR_LIMIT);
	buf_fini(&all);
	evalfloor_free(g);
	evalfloor_free(f);
}
