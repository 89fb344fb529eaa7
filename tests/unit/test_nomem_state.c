/* Ledger, keys, certificates and the store without memory: what fails has
 * changed nothing. */
#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include "common/base/secret.h"
#include "kms/keys/certs.h"
#include "kms/keys/keyring.h"
#include "kms/keys/wrap.h"
#include "kms/state/ledger.h"
#include "node/store/store.h"
#include "tests/lib/nomem/nomem.h"
#include "tests/lib/tmpdir.h"

static struct epoch_roots *roots;
static struct epoch_public pub;
static const uint8_t app_id[20] = { 7, 7 }, instance[20] = { 9 };

static void
setup(void)
{
	const uint8_t a[32] = { [31] = 3 }, b[32] = { [31] = 4 };

	cr_assert_eq(secret_process_init(), ERR_OK);
	cr_assert_eq(epoch_roots_import(&roots, 0, a, b), ERR_OK);
	epoch_roots_public(roots, &pub);
}

static void
teardown(void)
{
	epoch_roots_free(roots);
}

TestSuite(nomem_state, .init = setup, .fini = teardown, .timeout = 120);

/* ---- the ledger ---- */

struct apply {
	struct ledger *l;
	struct buf command;
	struct ledger_outcome out;
	uint64_t index;
	unsigned counters; /* that are there before */
	uint8_t before[32];
	struct buf snapshot;
};

static void
write_increment(struct buf *b, unsigned i)
{
	struct command c = { .kind = COMMAND_INCREMENT, .time = 1700000000 };

	c.u.increment.app_id[0] = (uint8_t)(i / 200);
	(void)snprintf(c.u.increment.name, sizeof c.u.increment.name, "c%u", i);
	c.u.increment.operation[0] = 1;
	b->len = 0;
	cr_assert_eq(command_write(b, &c), ERR_OK);
}

static void
apply_next(struct apply *a, const struct buf *b)
{
	cr_assert_eq(
	    ledger_apply(a->l, &a->out, a->index++, buf_view(b)), ERR_OK);
	cr_assert_eq(a->out.err, ERR_OK);
}

static void
make_ledger(void *arg)
{
	struct apply *a = arg;

	a->index = 1;
	cr_assert_eq(ledger_new(&a->l), ERR_OK);
	for (unsigned i = 0; i < a->counters; i++) {
		write_increment(&a->command, i);
		apply_next(a, &a->command);
	}
	write_increment(&a->command, a->counters);
	cr_assert_eq(ledger_digest(a->l, a->before), ERR_OK);
}

static void
free_ledger(void *arg)
{
	struct apply *a = arg;

	ledger_free(a->l);
	buf_fini(&a->command);
	buf_fini(&a->snapshot);
	a->l = NULL;
}

static enum err
apply(void *arg)
{
	struct apply *a = arg;
	enum err e =
	    ledger_apply(a->l, &a->out, a->index, buf_view(&a->command));

	if (e == ERR_OK)
		a->index++;
	return e;
}

static void
check_apply(void *arg, enum err e)
{
	struct apply *a = arg;
	uint8_t now[32];

	cr_assert_eq(ledger_digest(a->l, now), ERR_OK);
	cr_assert((e == ERR_OK) == (memcmp(now, a->before, 32) != 0));
	/* The same attempt again is done once. */
	cr_assert_eq(ledger_n_counters(a->l), a->counters + (e == ERR_OK));
}

/* At sizes where its tables grow. */
Test(nomem_state, ledger_apply)
{
	unsigned hits = 0;

	for (unsigned n = 0; n < 140; n += n < 70 ? 1 : 29) {
		struct apply a = { .counters = n };
		const struct nomem_op op = { .name = "ledger_apply",
			.setup = make_ledger,
			.run = apply,
			.check = check_apply,
			.fini = free_ledger,
			.once = true };

		hits += nomem_each(&op, &a);
	}
	cr_assert_gt(hits, 1);
}

static enum err
make(void *arg)
{
	struct apply *a = arg;

	ledger_free(a->l);
	a->l = NULL;
	return ledger_new(&a->l);
}

static enum err
snapshot(void *arg)
{
	struct apply *a = arg;

	a->snapshot.len = 0;
	return ledger_snapshot(a->l, &a->snapshot);
}

static void
check_snapshot(void *arg, enum err e)
{
	struct apply *a = arg;

	if (e != ERR_OK)
		cr_assert_eq(a->snapshot.len, 0);
	else
		cr_assert_gt(a->snapshot.len, 1000);
}

static enum err
digest(void *arg)
{
	struct apply *a = arg;
	uint8_t d[32];
	enum err e = ledger_digest(a->l, d);

	if (e == ERR_OK)
		cr_assert_arr_eq(d, a->before, 32);
	return e;
}

/* One ledger's snapshot goes into another one, which has something else. */
static void
make_other(void *arg)
{
	struct apply *a = arg;
	struct buf b = { 0 };

	make_ledger(a);
	cr_assert_eq(ledger_snapshot(a->l, &a->snapshot), ERR_OK);
	ledger_free(a->l);
	cr_assert_eq(ledger_new(&a->l), ERR_OK);
	write_increment(&b, 900);
	a->index = 1;
	apply_next(a, &b);
	buf_fini(&b);
	cr_assert_eq(ledger_digest(a->l, a->before), ERR_OK);
}

static enum err
restore(void *arg)
{
	struct apply *a = arg;

	return ledger_restore(a->l, buf_view(&a->snapshot));
}

static void
check_restore(void *arg, enum err e)
{
	struct apply *a = arg;
	uint8_t now[32];

	cr_assert_eq(ledger_digest(a->l, now), ERR_OK);
	cr_assert((e != ERR_OK) == (memcmp(now, a->before, 32) == 0));
	cr_assert_eq(ledger_n_counters(a->l), e == ERR_OK ? a->counters : 1);
}

Test(nomem_state, ledger)
{
	struct apply a = { .counters = 40 };
	struct nomem_op op[] = {
		{ .name = "ledger_new", .run = make, .fini = free_ledger },
		{ .name = "ledger_snapshot",
		    .setup = make_ledger,
		    .run = snapshot,
		    .check = check_snapshot,
		    .fini = free_ledger },
		{ .name = "ledger_digest",
		    .setup = make_ledger,
		    .run = digest,
		    .fini = free_ledger },
		{ .name = "ledger_restore",
		    .setup = make_other,
		    .run = restore,
		    .check = check_restore,
		    .fini = free_ledger },
	};

	for (size_t i = 0; i < sizeof op / sizeof op[0]; i++)
		cr_assert_gt(nomem_each(&op[i], &a), 0);
}

/* ---- keys ---- */

struct keys {
	struct keyring *ring;
	struct epoch_roots *r;
	struct app_keys keys;
	struct buf der;
	struct wrap_key wrap;
	uint8_t wrapped[WRAP_LEN];
	struct k256_sig65 sig;
};

static void
free_keys(void *arg)
{
	struct keys *k = arg;

	keyring_free(k->ring);
	epoch_roots_free(k->r);
	buf_fini(&k->der);
	*k = (struct keys){ 0 };
}

/* A failure leaves no key in what the caller owns. */
static enum err
derive(void *arg)
{
	static const struct app_keys nothing;
	struct keys *k = arg;
	enum err e;

	k->keys = nothing;
	if ((e = keys_app(&k->keys, roots, app_id, instance)) != ERR_OK)
		cr_assert_eq(memcmp(&k->keys, &nothing, sizeof nothing), 0);
	else
		cr_assert(k->keys.has_replica);
	return e;
}

static enum err
env_pub(void *arg)
{
	struct keys *k = arg;
	uint8_t x[32];

	return keys_env_pub(x, &k->sig, &k->sig, roots, app_id, 1700000000);
}

static enum err
certificate(void *arg)
{
	static const uint8_t registry[20] = { 3 };
	struct keys *k = arg;
	struct epoch_public next = pub;

	next.number = 1;
	return epoch_certificate(&k->sig, roots, &next, 1, registry, 0);
}

static enum err
generate(void *arg)
{
	struct keys *k = arg;
	enum err e;

	epoch_roots_free(k->r);
	k->r = NULL;
	if ((e = epoch_roots_generate(&k->r, 0)) != ERR_OK)
		cr_assert_null(k->r);
	return e;
}

static void
make_wrapped(void *arg)
{
	struct keys *k = arg;

	wrap_key_generate(&k->wrap);
	cr_assert_eq(wrap_roots(k->wrapped, &k->wrap, roots), ERR_OK);
}

static enum err
open_wrapped(void *arg)
{
	struct keys *k = arg;
	enum err e;

	epoch_roots_free(k->r);
	k->r = NULL;
	if ((e = wrap_open(&k->r, &k->wrap, &pub, k->wrapped)) != ERR_OK)
		cr_assert_null(k->r);
	return e;
}

static void
make_ring(void *arg)
{
	struct keys *k = arg;

	make_wrapped(k);
	cr_assert_eq(keyring_new(&k->ring), ERR_OK);
	cr_assert_eq(wrap_open(&k->r, &k->wrap, &pub, k->wrapped), ERR_OK);
}

static enum err
add(void *arg)
{
	struct keys *k = arg;
	enum err e;

	if (keyring_has(k->ring, 0))
		return ERR_OK;
	/* Taken on success alone. */
	if ((e = keyring_add(k->ring, k->r)) == ERR_OK)
		k->r = NULL;
	cr_assert_eq(keyring_has(k->ring, 0), e == ERR_OK);
	return e;
}

static void
make_full_ring(void *arg)
{
	make_ring(arg);
	cr_assert_eq(add(arg), ERR_OK);
}

static enum err
ca_cert(void *arg)
{
	struct keys *k = arg;
	enum err e;

	buf_fini(&k->der);
	e = keyring_ca_cert(k->ring, &k->der, 0);
	cr_assert((e == ERR_OK) == (k->der.len > 100));
	/* Nothing stays locked. */
	cr_assert_not_null(keyring_use(k->ring, 0));
	keyring_done(k->ring);
	return e;
}

static enum err
new_ring(void *arg)
{
	struct keys *k = arg;
	enum err e;

	keyring_free(k->ring);
	k->ring = NULL;
	if ((e = keyring_new(&k->ring)) != ERR_OK)
		cr_assert_null(k->ring);
	return e;
}

static enum err
pem(void *arg)
{
	static const uint8_t der[300] = { 0x30 };
	struct keys *k = arg;
	enum err e;

	buf_fini(&k->der);
	e = cert_to_pem(&k->der, BYTES_OF(der));
	cr_assert((e == ERR_OK) == (k->der.len > sizeof der));
	return e;
}

static struct p256_pub leaf_key;

static void
make_leaf_key(void *arg)
{
	struct p256_secret s = { .b = { [31] = 9 } };

	(void)arg;
	cr_assert_eq(p256_pubkey(&leaf_key, &s), ERR_OK);
}

/* All three certificates, or none. */
static enum err
issue(void *arg)
{
	static const uint8_t quote[100] = { 4 };
	static const char *const names[] = { "app.example", "127.0.0.1" };
	static const struct boot_info info;
	const struct cert_request rq = { .key = leaf_key,
		.subject = "app.example",
		.org_name = "Example",
		.alt_names = names,
		.n_alt_names = 2,
		.usage_server_auth = true,
		.usage_client_auth = true,
		.not_before = 1700000000,
		.not_after = 1800000000,
		.attestation = BYTES_OF(quote),
		.app_info = &info };
	struct buf chain[3] = { { .len = 1 }, { .len = 2 }, { .len = 3 } };
	enum err e = certs_app(chain, roots, app_id, &rq);

	(void)arg;
	for (size_t i = 0; i < 3; i++) {
		if (e != ERR_OK)
			cr_assert_eq(chain[i].len, i + 1);
		else
			cr_assert_gt(chain[i].len, 100);
		if (e == ERR_OK)
			buf_fini(&chain[i]);
	}
	return e;
}

Test(nomem_state, keys)
{
	struct keys k = { 0 };
	const struct nomem_op op[] = {
		{ .name = "keys_app", .run = derive },
		{ .name = "keys_env_pub", .run = env_pub },
		{ .name = "epoch_certificate", .run = certificate },
		{ .name = "epoch_roots_generate",
		    .run = generate,
		    .fini = free_keys },
		{ .name = "wrap_open",
		    .setup = make_wrapped,
		    .run = open_wrapped,
		    .fini = free_keys },
		{ .name = "keyring_new", .run = new_ring, .fini = free_keys },
		{ .name = "cert_to_pem", .run = pem, .fini = free_keys },
		{ .name = "keyring_add",
		    .setup = make_ring,
		    .run = add,
		    .fini = free_keys },
		{ .name = "keyring_ca_cert",
		    .setup = make_full_ring,
		    .run = ca_cert,
		    .fini = free_keys,
		    .sparse = true },
	};

	for (size_t i = 0; i < sizeof op / sizeof op[0]; i++)
		(void)nomem_each(&op[i], &k);
}

Test(nomem_state, certificates, .timeout = 300)
{
	const struct nomem_op op = { .name = "certs_app",
		.setup = make_leaf_key,
		.run = issue,
		.sparse = true };

	cr_assert_gt(nomem_each(&op, NULL), 100);
}

/* ---- the store ---- */

struct disk {
	char *dir;
	struct store *s;
	struct buf got;
};

static enum err
open_store(void *arg)
{
	static const uint8_t key[32] = { 1 };
	struct disk *d = arg;
	const struct store_options o = { .dir = d->dir,
		.cluster = { 7 },
		.slot = "a",
		.map_max = 16u << 20 };

	store_close(d->s);
	d->s = NULL;
	return store_open(&d->s, &o, key);
}

static void
make_store(void *arg)
{
	struct disk *d = arg;

	d->dir = tmpdir_new();
	cr_assert_eq(open_store(d), ERR_OK);
}

static void
close_store(void *arg)
{
	struct disk *d = arg;

	store_close(d->s);
	buf_fini(&d->got);
	tmpdir_remove(d->dir);
	*d = (struct disk){ 0 };
}

static enum err
put(void *arg)
{
	struct disk *d = arg;
	static const uint8_t value[3000] = { 5 };
	enum err e;

	if ((e = store_begin(d->s)) != ERR_OK)
		return e;
	for (int i = 0; i < 3 && e == ERR_OK; i++)
		e = store_put(
		    d->s, STORE_EPOCH, BYTES_STR("key"), BYTES_OF(value));
	if (e != ERR_OK)
		store_abort(d->s);
	else
		e = store_commit(d->s);
	return e;
}

static void
check_put(void *arg, enum err e)
{
	struct disk *d = arg;
	enum err g = store_get(d->s, &d->got, STORE_EPOCH, BYTES_STR("key"));

	cr_assert_eq(g, e == ERR_OK ? ERR_OK : ERR_NOTFOUND);
	if (g == ERR_OK)
		cr_assert_eq(d->got.len, 3000);
}

static void
make_full_store(void *arg)
{
	make_store(arg);
	cr_assert_eq(put(arg), ERR_OK);
}

static enum err
get(void *arg)
{
	struct disk *d = arg;
	enum err e;

	buf_fini(&d->got);
	e = store_get(d->s, &d->got, STORE_EPOCH, BYTES_STR("key"));
	cr_assert_eq(d->got.len, e == ERR_OK ? 3000 : 0);
	return e;
}

static enum err
on_record(void *cookie, const struct store_record *r)
{
	*(size_t *)cookie += r->value.len;
	return ERR_OK;
}

static enum err
range(void *arg)
{
	const struct bytes all = { NULL, 0 };
	struct disk *d = arg;
	size_t n = 0;
	enum err e = store_range(d->s, STORE_EPOCH, all, all, on_record, &n);

	cr_assert_eq(n, e == ERR_OK ? 3000 : 0);
	return e;
}

Test(nomem_state, store)
{
	struct disk d = { 0 };
	const struct nomem_op op[] = {
		{ .name = "store_open",
		    .setup = make_full_store,
		    .run = open_store,
		    .fini = close_store },
		{ .name = "store_put",
		    .setup = make_store,
		    .run = put,
		    .check = check_put,
		    .fini = close_store },
		{ .name = "store_get",
		    .setup = make_full_store,
		    .run = get,
		    .fini = close_store },
		{ .name = "store_range",
		    .setup = make_full_store,
		    .run = range,
		    .fini = close_store },
	};

	for (size_t i = 0; i < sizeof op / sizeof op[0]; i++)
		(void)nomem_each(&op[i], &d);
}
