#include <string.h>

#include <criterion/criterion.h>
#include <sodium.h>

#include "kms/service/floors.h"
#include "tests/lib/tmpdir.h"

static char *dir;
static uv_loop_t loop;

static void
setup(void)
{
	cr_assert(sodium_init() >= 0);
	dir = tmpdir_new();
	cr_assert_eq(uv_loop_init(&loop), 0);
}

static void
teardown(void)
{
	cr_assert_eq(uv_loop_close(&loop), 0);
	tmpdir_remove(dir);
}

TestSuite(floors, .init = setup, .fini = teardown, .timeout = 60);

static struct store *
disk(void)
{
	const struct store_options o = { .dir = dir,
		.cluster = { 7 },
		.slot = "kms0",
		.map_max = 16u << 20 };
	static const uint8_t key[32] = { 1 };
	struct store *s = NULL;

	cr_assert(store_open(&s, &o, key) == ERR_OK);
	return s;
}

static struct evalfloor *
fresh(void)
{
	struct evalfloor *f = NULL;

	cr_assert(evalfloor_new(&f) == ERR_OK);
	return f;
}

/* Collateral with these numbers, verified; NULL: accepted. */
static void
judged(struct evalfloor *f, uint32_t tcb, uint32_t qe, const char *detail)
{
	struct verdict v = { .tee = TEE_TDX,
		.fmspc = { 0xb0, 0xc0, 0x6f },
		.tcb_eval_number = tcb,
		.qe_eval_number = qe };
	struct refusal why = { 0 };
	enum err e = evalfloor_check(f, &v, &why);

	if (detail == NULL) {
		cr_assert(e == ERR_OK, "%s", why.detail);
		return;
	}
	cr_assert(e == ERR_DENIED);
	cr_assert_eq(why.code, REASON_COLLATERAL_INVALID);
	cr_assert_str_eq(why.detail, detail);
}

/* One life of a node: opens, does, stops. */
struct life {
	struct store *s;
	struct evalfloor *f;
	struct floors *fs;
};

static struct life
born(void)
{
	struct life l = { disk(), fresh(), NULL };

	cr_assert(floors_open(&l.fs, &loop, l.s, l.f) == ERR_OK);
	return l;
}

static void
close_any(uv_handle_t *h, void *cookie)
{
	(void)cookie;
	uv_close(h, NULL);
}

static void
dies(struct life *l, bool orderly)
{
	if (orderly)
		floors_stop(l->fs);
	else
		/* A crash: nothing more is written. */
		uv_walk(&loop, close_any, NULL);
	(void)uv_run(&loop, UV_RUN_DEFAULT);
	floors_free(l->fs);
	evalfloor_free(l->f);
	store_close(l->s);
}

static void
keep(struct store *s, struct bytes value)
{
	cr_assert(store_begin(s) == ERR_OK);
	cr_assert(store_put(s, STORE_META, BYTES_STR("eval_floors"), value) ==
	    ERR_OK);
	cr_assert(store_commit(s) == ERR_OK);
}

/* P25: after a restart, replayed collateral is refused as before it. */
Test(floors, replay_after_restart)
{
	struct life l = born();

	judged(l.f, 17, 18, NULL);
	dies(&l, true);
	l = born();
	judged(l.f, 16, 18, "EVAL_NUMBER: TCB info 16, after 17");
	judged(l.f, 17, 17, "EVAL_NUMBER: QE identity 17, after 18");
	judged(l.f, 17, 18, NULL);
	dies(&l, true);
}

/* A node that knows less never lowers what was kept. */
Test(floors, never_lower)
{
	struct life l = born();
	struct evalfloor *young = fresh();

	judged(l.f, 17, 18, NULL);
	dies(&l, true);
	/* It verified something before it could read its disk. */
	l = (struct life){ disk(), young, NULL };
	judged(young, 16, 20, NULL);
	cr_assert(floors_open(&l.fs, &loop, l.s, young) == ERR_OK);
	judged(young, 16, 20, "EVAL_NUMBER: TCB info 16, after 17");
	dies(&l, true);
	l = born();
	judged(l.f, 16, 20, "EVAL_NUMBER: TCB info 16, after 17");
	judged(l.f, 17, 19, "EVAL_NUMBER: QE identity 19, after 20");
	dies(&l, true);
}

/* What is no list of floors stops the node rather than starting it with
 * none; and nothing of it is believed. */
Test(floors, damage)
{
	struct store *s = disk();
	struct evalfloor *f = fresh();
	struct floors *fs = NULL;
	struct buf list = { 0 };

	judged(f, 17, 18, NULL);
	cr_assert(evalfloor_write(&list, f) == ERR_OK);
	evalfloor_free(f);
	f = fresh();
	for (size_t cut = 0; cut < list.len; cut++) {
		keep(s, (struct bytes){ list.p, cut });
		cr_assert(floors_open(&fs, &loop, s, f) == ERR_CORRUPT);
	}
	list.p[0]++; /* of a later version */
	keep(s, buf_view(&list));
	cr_assert(floors_open(&fs, &loop, s, f) == ERR_CORRUPT);
	cr_assert_null(fs);
	cr_assert_eq(evalfloor_changes(f), 0);
	buf_fini(&list);
	evalfloor_free(f);
	store_close(s);
}

/* A change is on disk without anyone asking, so that a crash finds it. */
Test(floors, written_by_itself)
{
	struct life l = born();
	uint64_t version = store_version(l.s);

	judged(l.f, 17, 18, NULL);
	while (store_version(l.s) == version)
		(void)uv_run(&loop, UV_RUN_ONCE);
	/* Without a change nothing is written. */
	version = store_version(l.s);
	judged(l.f, 17, 18, NULL);
	cr_assert(floors_save(l.fs) == ERR_OK);
	cr_assert_eq(store_version(l.s), version);
	dies(&l, false);
	l = born();
	judged(l.f, 16, 18, "EVAL_NUMBER: TCB info 16, after 17");
	dies(&l, false);
}

/* A node without sealing keeps nothing, and works. */
Test(floors, no_store)
{
	struct evalfloor *f = fresh();
	struct floors *fs = NULL;

	cr_assert(floors_open(&fs, &loop, NULL, f) == ERR_OK);
	judged(f, 17, 18, NULL);
	judged(f, 16, 18, "EVAL_NUMBER: TCB info 16, after 17");
	cr_assert(floors_save(fs) == ERR_OK);
	floors_stop(fs);
	(void)uv_run(&loop, UV_RUN_DEFAULT);
	floors_free(fs);
	floors_free(NULL);
	evalfloor_free(f);
}

/* Status tells every floor. */
Test(floors, told)
{
	struct evalfloor *f = fresh();
	json_t *list = floors_json(f);
	struct buf b = { 0 };

	cr_assert_eq(json_array_size(list), 0);
	json_decref(list);
	judged(f, 17, 18, NULL);
	list = floors_json(f);
	cr_assert(json_write(&b, list) == ERR_OK);
	cr_assert_str_eq((char *)b.p,
	    "[{\"tee\":\"dstack-tdx\",\"document\":\"tcb_info\","
	    "\"fmspc\":\"b0c06f000000\",\"number\":17},"
	    "{\"tee\":\"dstack-tdx\",\"document\":\"qe_identity\","
	    "\"fmspc\":null,\"number\":18}]");
	json_decref(list);
	buf_fini(&b);
	evalfloor_free(f);
}
