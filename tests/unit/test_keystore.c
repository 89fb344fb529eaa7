/* Wrapping keys on the sealed disk, and when they open something: what the disk says is refused unless it
 * opens its own roots, and what the ledger says decides what is kept. */
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "common/base/log.h"
#include "common/base/secret.h"
#include "common/base/wr.h"
#include "kms/cluster/cluster_int.h"
#include "tests/lib/tmpdir.h"

#define VALUE_LEN (32 + 33 + 64 + 104)

static const uint8_t seal[32] = { 9 };
static char *dir;
static struct cluster *c;
static struct epoch_roots *roots;
static struct command epoch; /* COMMAND_EPOCH of `roots` */
static struct wrap_key key;

static struct cluster *
begin(void)
{
	const struct store_options so = {
		.dir = dir, .slot = "a", .map_max = 16u << 20
	};
	struct core_options co = { .self = { .slot = "a" }, .seed = 1 };

	c = calloc(1, sizeof *c);
	cr_assert_not_null(c);
	memset(co.self.incarnation, 1, 32);
	core_timing_default(&co.timing);
	cr_assert_eq(core_new(&c->core, &co), ERR_OK);
	cr_assert_eq(keyring_new(&c->o.keyring), ERR_OK);
	cr_assert_eq(store_open(&c->store, &so, seal), ERR_OK);
	cr_assert_eq(keystore_new(c), ERR_OK);
	return c;
}

static void
end(void)
{
	store_close(c->store);
	keyring_free(c->o.keyring);
	core_free(c->core);
	keystore_free(c);
	free(c);
}

static void
setup(void)
{
	cr_assert_eq(secret_process_init(), ERR_OK);
	log_set_level(LOG_ERROR);
	dir = tmpdir_new();
	cr_assert_eq(epoch_roots_generate(&roots, 0), ERR_OK);
	wrap_key_generate(&key);
	epoch.kind = COMMAND_EPOCH;
	epoch_roots_public(roots, &epoch.u.epoch.pub);
	cr_assert_eq(wrap_roots(epoch.u.epoch.wrapped, &key, roots), ERR_OK);
	begin();
}

static void
teardown(void)
{
	end();
	epoch_roots_free(roots);
	tmpdir_remove(dir);
}

TestSuite(keystore, .init = setup, .fini = teardown);

static enum err
put(const struct wrap_key *k)
{
	return keystore_put(c, 0, k, &epoch.u.epoch.pub, epoch.u.epoch.wrapped);
}

static void
step(struct core_event *e)
{
	struct core_action a;
	uint64_t wrote;

	e->now_ms = 1000;
	cr_assert_eq(core_step(c->core, e), ERR_OK);
	do {
		struct core_event done = { .kind = CORE_PERSISTED,
			.now_ms = 1000 };

		wrote = 0;
		while (core_next(c->core, &a)) {
			if (a.kind == CORE_WRITE)
				wrote = a.write.number;
			core_action_fini(&a);
		}
		done.persisted = wrote;
		if (wrote != 0)
			cr_assert_eq(core_step(c->core, &done), ERR_OK);
	} while (wrote != 0);
}

/* The ledger has the epoch: as on the node that made it. */
static void
log_epoch(void)
{
	struct member me = *core_self(c->core);
	struct core_event e = { .kind = CORE_BOOT, .boot = { .self = &me } };
	struct anchor_view view = { .wait_s = 60 };
	struct buf b = { 0 };
	struct bytes data;

	step(&e);
	e = (struct core_event){ .kind = CORE_ANCHOR,
		.anchor = { .view = &view, .asked_ms = 1000 } };
	step(&e);
	cr_assert_eq(command_write(&b, &epoch), ERR_OK);
	data = buf_view(&b);
	e = (struct core_event){ .kind = CORE_BEGIN,
		.begin = { .command = &data, .n = 1 } };
	step(&e);
	buf_fini(&b);
	cr_assert_eq(ledger_n_epochs(core_ledger(c->core)), 1);
}

static void
write_record(
    const uint8_t *name, size_t name_len, const uint8_t *value, size_t len)
{
	cr_assert_eq(store_begin(c->store), ERR_OK);
	cr_assert_eq(
	    store_put(c->store, STORE_EPOCH, (struct bytes){ name, name_len },
		(struct bytes){ value, len }),
	    ERR_OK);
	cr_assert_eq(store_commit(c->store), ERR_OK);
}

static void
make_value(uint8_t value[static VALUE_LEN])
{
	struct wr w = { .p = value, .cap = VALUE_LEN };

	wr_bytes(&w, key.b, 32);
	wr_bytes(&w, epoch.u.epoch.pub.k256.b, 33);
	wr_bytes(&w, epoch.u.epoch.pub.ca.xy, 64);
	wr_bytes(&w, epoch.u.epoch.wrapped, 104);
	cr_assert(wr_ok(&w));
}

static unsigned
saved(void)
{
	uint8_t zero[8] = { 0 };
	struct buf b = { 0 };
	enum err e = store_get(c->store, &b, STORE_EPOCH, BYTES_OF(zero));

	buf_wipe(&b);
	return e == ERR_OK ? 1 : 0;
}

/* A key that opens nothing is not taken, and leaves what is here. */
Test(keystore, put_refuses)
{
	struct wrap_key other, got;

	wrap_key_generate(&other);
	cr_assert_eq(put(&other), ERR_AUTH);
	cr_assert_not(cluster_wrap_key(c, 0, &got));
	cr_assert_not(keyring_has(c->o.keyring, 0));
	cr_assert_eq(keystore_put(c, LEDGER_MAX_EPOCHS, &key,
			 &epoch.u.epoch.pub, epoch.u.epoch.wrapped),
	    ERR_LIMIT);
	cr_assert_not(cluster_wrap_key(c, LEDGER_MAX_EPOCHS, &got));
	cr_assert_not(cluster_wrap_key(c, UINT64_MAX, &got));

	cr_assert_eq(put(&key), ERR_OK);
	cr_assert(cluster_wrap_key(c, 0, &got));
	cr_assert_arr_eq(got.b, key.b, 32);
	cr_assert(keyring_has(c->o.keyring, 0));
	cr_assert_eq(put(&other), ERR_AUTH);
	cr_assert(cluster_wrap_key(c, 0, &got));
	cr_assert_arr_eq(got.b, key.b, 32);
}

/* Every byte of a record counts, and its length, and its name. */
Test(keystore, load_refuses)
{
	uint8_t value[VALUE_LEN + 1] = { 0 }, name[9] = { 0 };
	const uint8_t far[8] = { 0, 0, 0, 0, 0, 0, 1, 0 };

	make_value(value);
	for (size_t i = 0; i < VALUE_LEN; i++) {
		value[i] ^= 0x10;
		write_record(name, 8, value, VALUE_LEN);
		cr_assert_eq(keystore_load(c), ERR_CORRUPT, "byte %zu", i);
		cr_assert_not(keyring_has(c->o.keyring, 0));
		cr_assert_not(c->has_wrap[0]);
		cr_assert_not(c->saved_wrap[0]);
		value[i] ^= 0x10;
	}
	write_record(name, 8, value, VALUE_LEN - 1);
	cr_assert_eq(keystore_load(c), ERR_CORRUPT);
	write_record(name, 8, value, VALUE_LEN + 1);
	cr_assert_eq(keystore_load(c), ERR_CORRUPT);
	/* Another epoch's name: bound by the box. */
	write_record(name, 8, value, VALUE_LEN);
	name[7] = 1;
	write_record(name, 8, value, VALUE_LEN);
	cr_assert_eq(keystore_load(c), ERR_CORRUPT);
	cr_assert_not(keyring_has(c->o.keyring, 1));
	cr_assert_eq(store_begin(c->store), ERR_OK);
	cr_assert_eq(
	    store_del(c->store, STORE_EPOCH, (struct bytes){ name, 8 }),
	    ERR_OK);
	cr_assert_eq(store_commit(c->store), ERR_OK);
	cr_assert_eq(keystore_load(c), ERR_OK);
	/* A number beyond all epochs; a name of another length. */
	write_record(far, 8, value, VALUE_LEN);
	cr_assert_eq(keystore_load(c), ERR_CORRUPT);
	cr_assert_eq(store_begin(c->store), ERR_OK);
	cr_assert_eq(store_del(c->store, STORE_EPOCH, BYTES_OF(far)), ERR_OK);
	cr_assert_eq(store_commit(c->store), ERR_OK);
	name[7] = 0;
	write_record(name, 9, value, VALUE_LEN);
	cr_assert_eq(keystore_load(c), ERR_CORRUPT);
}

/* The disk gets a key when the ledger has its epoch, not before; a next life
 * has it from there. */
Test(keystore, kept)
{
	struct wrap_key got;

	cr_assert_eq(put(&key), ERR_OK);
	keystore_adopt(c);
	cr_assert_eq(saved(), 0);
	log_epoch();
	keystore_adopt(c);
	cr_assert_eq(saved(), 1);
	cr_assert(c->saved_wrap[0]);

	end();
	begin();
	cr_assert_not(cluster_wrap_key(c, 0, &got));
	cr_assert_eq(keystore_load(c), ERR_OK);
	cr_assert(cluster_wrap_key(c, 0, &got));
	cr_assert_arr_eq(got.b, key.b, 32);
	/* The disk alone opens nothing. */
	keystore_adopt(c);
	cr_assert_not(keyring_has(c->o.keyring, 0));
	log_epoch();
	keystore_adopt(c);
	cr_assert(keyring_has(c->o.keyring, 0));
	cr_assert(c->saved_wrap[0]);
}

/* The ledger's epoch 0 is another: a key from the disk of another cluster is
 * not kept for it. */
Test(keystore, of_another_cluster)
{
	struct epoch_roots *other = NULL;
	struct wrap_key got;

	cr_assert_eq(put(&key), ERR_OK);
	cr_assert_eq(epoch_roots_generate(&other, 0), ERR_OK);
	wrap_key_generate(&key);
	epoch_roots_public(other, &epoch.u.epoch.pub);
	cr_assert_eq(wrap_roots(epoch.u.epoch.wrapped, &key, other), ERR_OK);
	epoch_roots_free(other);
	log_epoch();
	/* As if the contract had named the other root: ours are dropped. */
	keyring_drop(c->o.keyring, 0);
	cr_assert_not(cluster_wrap_key(c, 0, &got));
	keystore_adopt(c);
	cr_assert_not(cluster_wrap_key(c, 0, &got));
	cr_assert_not(keyring_has(c->o.keyring, 0));
	cr_assert_eq(saved(), 0);
}

/* What is forgotten is gone from memory and disk, and stays so. */
Test(keystore, forgotten)
{
	struct wrap_key got;

	cr_assert_eq(put(&key), ERR_OK);
	log_epoch();
	keystore_adopt(c);
	cr_assert_eq(saved(), 1);
	keystore_forget(c, 0);
	cr_assert_eq(saved(), 0);
	cr_assert_not(cluster_wrap_key(c, 0, &got));
	cr_assert_not(keyring_has(c->o.keyring, 0));
	secret_open_ro(c->wrap);
	for (size_t i = 0; i < sizeof key.b; i++)
		cr_assert_eq(c->wrap[0].b[i], 0);
	secret_lock(c->wrap);
	keystore_adopt(c);
	cr_assert_eq(saved(), 0);
	end();
	begin();
	cr_assert_eq(keystore_load(c), ERR_OK);
	cr_assert_not(keyring_has(c->o.keyring, 0));
}

/* Without a disk all of it works from memory. */
Test(keystore, no_disk)
{
	struct store *s = c->store;
	struct wrap_key got;

	c->store = NULL;
	cr_assert_eq(keystore_load(c), ERR_OK);
	cr_assert_eq(put(&key), ERR_OK);
	log_epoch();
	keystore_adopt(c);
	cr_assert(cluster_wrap_key(c, 0, &got));
	keystore_forget(c, 0);
	cr_assert_not(cluster_wrap_key(c, 0, &got));
	c->store = s;
	cr_assert_eq(saved(), 0);
}

/* ---- epochs that end ---- */

/* What the registry says, at block `n`: epoch 0 in that state. */
static void
registry_says_state(uint64_t n, enum registry_status s)
{
	static struct registry_state v;
	struct chain_block at = { .number = n };
	struct core_event e = { .kind = CORE_REGISTRY,
		.registry = { .state = &v, .block = &at } };

	v = (struct registry_state){ .n_epochs = 2, .active = 1 };
	v.epoch[0].status = s;
	v.epoch[0].k256 = epoch.u.epoch.pub.k256;
	v.epoch[1].number = 1;
	v.epoch[1].status = REGISTRY_ACTIVE;
	step(&e);
}

/* While a registry is configured and was not read, the disk opens nothing;
 * a node that has it hands nothing over. */
Test(keystore, registry_comes_first)
{
	struct registry *some = (struct registry *)(uintptr_t)1; /* not used */
	struct wrap_key got;

	c->o.registry = some;
	cr_assert_eq(
	    keystore_hold(c, &key, &epoch.u.epoch.pub, epoch.u.epoch.wrapped),
	    ERR_OK);
	log_epoch();
	keystore_adopt(c);
	cr_assert_not(keyring_has(c->o.keyring, 0));
	cr_assert_not(cluster_wrap_key(c, 0, &got));
	cr_assert_null(keystore_kept(c));
	registry_says_state(1, REGISTRY_ACTIVE);
	keystore_adopt(c);
	cr_assert(keyring_has(c->o.keyring, 0));
	cr_assert(cluster_wrap_key(c, 0, &got));
	cr_assert_not_null(keystore_kept(c));
}

/* A destroyed epoch goes from memory and disk, and an old disk that has it
 * does not open it, with a ledger or without one.  The anchor's key stays. */
Test(keystore, destroyed)
{
	uint8_t value[VALUE_LEN], name[8] = { 0 };
	struct k256_secret anchor, again;
	struct wrap_key got;

	cr_assert_eq(put(&key), ERR_OK);
	log_epoch();
	registry_says_state(1, REGISTRY_ACTIVE);
	keystore_adopt(c);
	cr_assert(cluster_anchor_key(c, &anchor));
	cr_assert_eq(saved(), 1);
	registry_says_state(2, REGISTRY_DESTROYED);
	keystore_adopt(c);
	cr_assert_not(keyring_has(c->o.keyring, 0));
	cr_assert_not(cluster_wrap_key(c, 0, &got));
	cr_assert_eq(saved(), 0);
	cr_assert(cluster_anchor_key(c, &again));
	for (int ledger = 0; ledger < 2; ledger++) {
		make_value(value);
		write_record(name, 8, value, VALUE_LEN);
		end();
		begin();
		cr_assert_eq(keystore_load(c), ERR_OK);
		cr_assert(c->has_wrap[0]);
		if (ledger)
			log_epoch();
		registry_says_state(3, REGISTRY_DESTROYED);
		cr_assert_not(keyring_has(c->o.keyring, 0));
		keystore_adopt(c);
		cr_assert_not(keyring_has(c->o.keyring, 0));
		cr_assert_eq(saved(), 0);
	}
	/* It came from the disk, where it is by itself. */
	cr_assert(cluster_anchor_key(c, &again));
	cr_assert_arr_eq(anchor.b, again.b, 32);
}

/* The anchor's key is the anchor's signer's, or it is not used. */
Test(keystore, anchor_key_of_the_anchor)
{
	struct k256_secret other = { .b = { [31] = 5 } }, got;
	struct k256_pub pub;

	cr_assert_not(cluster_anchor_key(c, &got));
	cr_assert_eq(put(&key), ERR_OK);
	cr_assert(cluster_anchor_key(c, &got));
	c->signer[0] = 1;
	cr_assert_not(cluster_anchor_key(c, &got));
	cr_assert_eq(keystore_put_anchor(c, &other), ERR_AUTH);
	cr_assert_eq(k256_pubkey(&pub, &other), ERR_OK);
	cr_assert_eq(k256_address(c->signer, &pub), ERR_OK);
	cr_assert_eq(keystore_put_anchor(c, &other), ERR_OK);
	cr_assert(cluster_anchor_key(c, &got));
	cr_assert_arr_eq(got.b, other.b, 32);
}

/* A record of the anchor's key is one valid key, or the disk is refused. */
Test(keystore, anchor_key_is_loaded_whole)
{
	uint8_t name[8], value[33] = { [31] = 7 };
	struct k256_secret got;

	memset(name, 0xff, sizeof name);
	write_record(name, 8, value, 31);
	cr_assert_eq(keystore_load(c), ERR_CORRUPT);
	write_record(name, 8, value, 33);
	cr_assert_eq(keystore_load(c), ERR_CORRUPT);
	value[31] = 0;
	write_record(name, 8, value, 32);
	cr_assert_eq(keystore_load(c), ERR_CORRUPT);
	value[31] = 7;
	write_record(name, 8, value, 32);
	cr_assert_eq(keystore_load(c), ERR_OK);
	cr_assert(cluster_anchor_key(c, &got));
	cr_assert_arr_eq(got.b, value, 32);
}
