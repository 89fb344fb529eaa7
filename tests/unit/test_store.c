#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <criterion/criterion.h>
#include <sodium.h>

#include "common/base/file.h"
#include "common/crypto/hash.h"
#include "node/store/store.h"
#include "tests/lib/tmpdir.h"

static char *dir;
static const uint8_t key_a[32] = { 1 }, key_b[32] = { 2 };

static void
setup(void)
{
	cr_assert(sodium_init() >= 0);
	dir = tmpdir_new();
}

static void
teardown(void)
{
	tmpdir_remove(dir);
}

TestSuite(store, .init = setup, .fini = teardown);

static struct store_options
options(void)
{
	return (struct store_options){ .dir = dir,
		.cluster = { 7 },
		.slot = "kms0",
		.map_max = 64u << 20 };
}

static struct store *
must_open(void)
{
	struct store_options o = options();
	struct store *s = NULL;

	cr_assert_eq(store_open(&s, &o, key_a), ERR_OK);
	return s;
}

static void
put_one(struct store *s, const char *key, const char *value)
{
	cr_assert_eq(store_begin(s), ERR_OK);
	cr_assert_eq(
	    store_put(s, STORE_EPOCH,
		(struct bytes){ (const uint8_t *)key, strlen(key) },
		(struct bytes){ (const uint8_t *)value, strlen(value) }),
	    ERR_OK);
	cr_assert_eq(store_commit(s), ERR_OK);
}

/* Another key, cluster or slot opens nothing. */
Test(store, wrong_identity_is_corrupt)
{
	struct store *s = must_open();
	struct store_options o = options();

	put_one(s, "k", "v");
	store_close(s);
	cr_assert_eq(store_open(&s, &o, key_b), ERR_CORRUPT);
	o.cluster[0] ^= 1;
	cr_assert_eq(store_open(&s, &o, key_a), ERR_CORRUPT);
	o = options();
	o.slot = "kms1";
	cr_assert_eq(store_open(&s, &o, key_a), ERR_CORRUPT);
	o = options();
	cr_assert_eq(store_open(&s, &o, key_a), ERR_OK);
	store_close(s);
}

/* A second owner of the same folder is refused while the first lives. */
Test(store, one_owner)
{
	struct store *s = must_open(), *t = NULL;
	struct store_options o = options();

	cr_assert_eq(store_open(&t, &o, key_a), ERR_EXISTS);
	store_close(s);
	cr_assert_eq(store_open(&t, &o, key_a), ERR_OK);
	store_close(t);
}

/* The plaintext is nowhere in the file. */
Test(store, only_sealed_bytes_on_disk)
{
	static const char secret[] = "a-very-recognisable-secret-value";
	struct store *s = must_open();
	struct buf b = { 0 };
	char path[600];

	put_one(s, "root", secret);
	store_close(s);
	cr_assert_eq(file_join(path, sizeof path, dir, "data.mdb"), ERR_OK);
	cr_assert_eq(file_read(&b, path, 64u << 20), ERR_OK);
	cr_assert_null(memmem(b.p, b.len, secret, sizeof secret - 1));
	buf_fini(&b);
}

/* What was aborted or failed is not there; the version counts commits. */
Test(store, transactions)
{
	struct store *s = must_open();
	struct buf b = { 0 };
	uint8_t *big = calloc(1, STORE_VALUE_MAX + 1);

	cr_assert_eq(store_version(s), 0);
	cr_assert_eq(store_put(s, STORE_META, BYTES_STR("k"), BYTES_STR("v")),
	    ERR_PHASE);
	cr_assert_eq(store_commit(s), ERR_PHASE);
	cr_assert_eq(store_begin(s), ERR_OK);
	cr_assert_eq(store_begin(s), ERR_PHASE);
	cr_assert_eq(
	    store_put(s, STORE_META, BYTES_STR("k"), BYTES_STR("v")), ERR_OK);
	store_abort(s);
	cr_assert_eq(
	    store_get(s, &b, STORE_META, BYTES_STR("k")), ERR_NOTFOUND);

	cr_assert_eq(store_begin(s), ERR_OK);
	cr_assert_eq(
	    store_put(s, STORE_META, BYTES_STR("k"), BYTES_STR("v")), ERR_OK);
	cr_assert_eq(store_put(s, STORE_META, BYTES_STR("l"),
			 (struct bytes){ big, STORE_VALUE_MAX + 1 }),
	    ERR_LIMIT);
	cr_assert_eq(store_commit(s), ERR_LIMIT);
	cr_assert_eq(
	    store_get(s, &b, STORE_META, BYTES_STR("k")), ERR_NOTFOUND);
	cr_assert_eq(store_version(s), 0);

	put_one(s, "k", "v1");
	put_one(s, "k", "v2");
	cr_assert_eq(store_version(s), 2);
	store_close(s);
	s = must_open();
	cr_assert_eq(store_version(s), 2);
	cr_assert_eq(store_get(s, &b, STORE_EPOCH, BYTES_STR("k")), ERR_OK);
	cr_assert_str_eq((char *)b.p, "v2");
	buf_wipe(&b);
	store_close(s);
	free(big);
}

static enum err
count(void *cookie, struct bytes key, struct bytes value)
{
	int *n = cookie;

	cr_assert_eq(key.len, 2);
	cr_assert_eq(value.len, 3);
	return ++*n == 99 ? ERR_DENIED : ERR_OK;
}

/* A walk sees one table only, and ends when its caller says so. */
Test(store, each)
{
	struct store *s = must_open();
	char k[12];
	int n = 0;

	cr_assert_eq(store_begin(s), ERR_OK);
	for (int i = 0; i < 100; i++) {
		(void)snprintf(k, sizeof k, "%02d", i);
		cr_assert_eq(
		    store_put(s, STORE_EPOCH, (struct bytes){ (uint8_t *)k, 2 },
			BYTES_STR("abc")),
		    ERR_OK);
	}
	cr_assert_eq(
	    store_put(s, STORE_RECORD, BYTES_STR("other"), BYTES_STR("x")),
	    ERR_OK);
	cr_assert_eq(store_commit(s), ERR_OK);
	cr_assert_eq(store_each(s, STORE_EPOCH, count, &n), ERR_DENIED);
	cr_assert_eq(n, 99);
	store_close(s);
}

/* Any flipped bit of a sealed value is CORRUPT, never another value. */
Test(store, flipped_bits)
{
	static const char text[] = "value-value-value-value";
	const size_t sealed = 1 + 24 + sizeof text - 1 + 16;
	struct store *s = must_open();
	struct store_options o = options();
	struct buf file = { 0 }, b = { 0 };
	char path[600];
	const uint8_t *name;
	size_t at;
	int fd;

	put_one(s, "the-name-of-the-record", text);
	store_close(s);
	cr_assert_eq(file_join(path, sizeof path, dir, "data.mdb"), ERR_OK);
	cr_assert_eq(file_read(&file, path, 1u << 20), ERR_OK);
	/* In a leaf page the value follows its key. */
	name = memmem(file.p, file.len, "the-name-of-the-record", 22);
	cr_assert_not_null(name);
	at = (size_t)(name + 22 - file.p);
	fd = open(path, O_WRONLY);
	for (size_t i = 0; i < 8 * sealed; i++) {
		uint8_t c = file.p[at + i / 8] ^ (uint8_t)(1u << i % 8);

		cr_assert_eq(pwrite(fd, &c, 1, (off_t)(at + i / 8)), 1);
		cr_assert_eq(store_open(&s, &o, key_a), ERR_OK);
		cr_assert_eq(store_get(s, &b, STORE_EPOCH,
				 BYTES_STR("the-name-of-the-record")),
		    ERR_CORRUPT, "bit %zu", i);
		store_close(s);
		cr_assert_eq(
		    pwrite(fd, &file.p[at + i / 8], 1, (off_t)(at + i / 8)), 1);
	}
	(void)close(fd);
	buf_wipe(&b);
	buf_fini(&file);
}

/* A clear header is what it was, or the record is CORRUPT; and it is not
 * part of the name. */
Test(store, clear_headers)
{
	static const char text[] = "a-header-in-clear";
	struct store *s = must_open();
	struct buf b = { 0 }, file = { 0 };
	uint8_t long_header[STORE_CLEAR_MAX + 1] = { 0 };
	char path[600];
	const uint8_t *at;
	int fd;

	cr_assert_eq(store_put_clear(s, STORE_LOG, BYTES_STR("k"),
			 BYTES_STR(text), BYTES_STR("v")),
	    ERR_PHASE);
	cr_assert_eq(store_begin(s), ERR_OK);
	cr_assert_eq(store_put_clear(s, STORE_LOG, BYTES_STR("k"),
			 BYTES_OF(long_header), BYTES_STR("v")),
	    ERR_LIMIT);
	store_abort(s);
	cr_assert_eq(store_begin(s), ERR_OK);
	cr_assert_eq(store_put_clear(s, STORE_LOG, BYTES_STR("k"),
			 BYTES_STR(text), BYTES_STR("v")),
	    ERR_OK);
	cr_assert_eq(store_commit(s), ERR_OK);
	cr_assert_eq(store_get(s, &b, STORE_LOG, BYTES_STR("k")), ERR_OK);
	cr_assert_str_eq((char *)b.p, "v");
	store_close(s);

	cr_assert_eq(file_join(path, sizeof path, dir, "data.mdb"), ERR_OK);
	cr_assert_eq(file_read(&file, path, 1u << 20), ERR_OK);
	at = memmem(file.p, file.len, text, sizeof text - 1);
	cr_assert_not_null(at);
	fd = open(path, O_WRONLY);
	cr_assert_eq(pwrite(fd, "A", 1, (off_t)(at - file.p)), 1);
	s = must_open();
	cr_assert_eq(store_get(s, &b, STORE_LOG, BYTES_STR("k")), ERR_CORRUPT);
	store_close(s);
	(void)close(fd);
	buf_wipe(&b);
	buf_fini(&file);
}

struct walk {
	unsigned n;
	uint8_t first, last;
};

static enum err
walk_one(void *cookie, const struct store_record *r)
{
	struct walk *w = cookie;

	/* The walked key, the header and the value say the same. */
	cr_assert_eq(r->key.len, 2);
	cr_assert_eq(r->clear.len, 1);
	cr_assert_eq(r->value.len, 1);
	cr_assert_eq(r->key.p[1], r->clear.p[0]);
	cr_assert_eq(r->key.p[1], r->value.p[0]);
	if (w->n++ == 0)
		w->first = r->key.p[1];
	w->last = r->key.p[1];
	return ERR_OK;
}

static struct walk
walk(struct store *s, struct bytes from, struct bytes to)
{
	struct walk w = { 0 };

	cr_assert_eq(store_range(s, STORE_LOG, from, to, walk_one, &w), ERR_OK);
	return w;
}

/* Ranges include both ends, and no other table. */
Test(store, ranges)
{
	const struct bytes all = { 0 };
	const uint8_t k10[2] = { 0, 10 }, k20[2] = { 0, 20 };
	const uint8_t k99[2] = { 0, 99 }, k1[1] = { 0 };
	struct store *s = must_open();
	struct walk w;

	cr_assert_eq(store_del_range(s, STORE_LOG, all, all), ERR_PHASE);
	cr_assert_eq(store_begin(s), ERR_OK);
	for (uint8_t i = 0; i < 100; i++) {
		uint8_t k[2] = { 0, i };
		struct bytes v = { &k[1], 1 };

		cr_assert_eq(
		    store_put_clear(s, STORE_LOG, BYTES_OF(k), v, v), ERR_OK);
	}
	cr_assert_eq(
	    store_put(s, STORE_RECORD, BYTES_OF(k99), BYTES_STR("x")), ERR_OK);
	cr_assert_eq(
	    store_put(s, STORE_SNAPSHOT, BYTES_OF(k1), BYTES_STR("x")), ERR_OK);
	/* Reads see what is not committed yet. */
	w = walk(s, all, all);
	cr_assert(w.n == 100 && w.first == 0 && w.last == 99);
	cr_assert_eq(store_commit(s), ERR_OK);
	w = walk(s, all, all);
	cr_assert(w.n == 100 && w.first == 0 && w.last == 99);
	w = walk(s, BYTES_OF(k10), BYTES_OF(k20));
	cr_assert(w.n == 11 && w.first == 10 && w.last == 20);
	w = walk(s, BYTES_OF(k20), BYTES_OF(k10));
	cr_assert_eq(w.n, 0);
	w = walk(s, all, BYTES_OF(k1)); /* a prefix comes before */
	cr_assert_eq(w.n, 0);

	cr_assert_eq(store_begin(s), ERR_OK);
	cr_assert_eq(
	    store_del_range(s, STORE_LOG, BYTES_OF(k10), BYTES_OF(k20)),
	    ERR_OK);
	store_abort(s);
	cr_assert_eq(walk(s, all, all).n, 100);
	cr_assert_eq(store_begin(s), ERR_OK);
	cr_assert_eq(
	    store_del_range(s, STORE_LOG, BYTES_OF(k10), BYTES_OF(k20)),
	    ERR_OK);
	cr_assert_eq(walk(s, all, all).n, 89);
	cr_assert_eq(store_del_range(s, STORE_LOG, BYTES_OF(k20), all), ERR_OK);
	cr_assert_eq(store_commit(s), ERR_OK);
	w = walk(s, all, all);
	cr_assert(w.n == 10 && w.first == 0 && w.last == 9);
	cr_assert_eq(store_begin(s), ERR_OK);
	cr_assert_eq(store_del_range(s, STORE_LOG, all, all), ERR_OK);
	cr_assert_eq(store_commit(s), ERR_OK);
	cr_assert_eq(walk(s, all, all).n, 0);
	/* The neighbours are still there. */
	cr_assert_eq(store_begin(s), ERR_OK);
	cr_assert_eq(store_del(s, STORE_RECORD, BYTES_OF(k99)), ERR_OK);
	cr_assert_eq(store_del(s, STORE_SNAPSHOT, BYTES_OF(k1)), ERR_OK);
	cr_assert_eq(store_del(s, STORE_SNAPSHOT, BYTES_OF(k1)), ERR_NOTFOUND);
	cr_assert_eq(store_commit(s), ERR_OK);
	store_close(s);
}

/* What cannot be opened can be thrown away, but not under its owner. */
Test(store, discard)
{
	struct store *s = must_open();
	struct store_options o = options();

	put_one(s, "k", "v");
	cr_assert_eq(store_discard(&o), ERR_EXISTS);
	store_close(s);
	cr_assert_eq(store_open(&s, &o, key_b), ERR_CORRUPT);
	cr_assert_eq(store_discard(&o), ERR_OK);
	cr_assert_eq(store_discard(&o), ERR_OK);
	cr_assert_eq(store_open(&s, &o, key_b), ERR_OK);
	cr_assert_eq(store_version(s), 0);
	store_close(s);
}

/* The file grows while there is room, then says LIMIT. */
Test(store, map_grows_to_its_limit)
{
	struct store_options o = options();
	struct store *s = NULL;
	uint8_t *v = calloc(1, 200000);
	enum err e = ERR_OK;
	unsigned i;

	o.map_max = 16u << 20;
	cr_assert_eq(store_open(&s, &o, key_a), ERR_OK);
	for (i = 0; i < 200 && e == ERR_OK; i++) {
		uint8_t k[2] = { (uint8_t)i, (uint8_t)(i >> 8) };

		if ((e = store_begin(s)) != ERR_OK)
			break;
		(void)!store_put(s, STORE_EPOCH, (struct bytes){ k, 2 },
		    (struct bytes){ v, 200000 });
		e = store_commit(s);
	}
	cr_assert_eq(e, ERR_LIMIT);
	cr_assert_gt(i, 40); /* 40 * 200 kB is past the first 4 MiB */
	cr_assert_eq(store_version(s), i - 1);
	store_close(s);
	free(v);
}
