/* A rotation on real nodes: two of three seats, sealed disks, a chain that
 * says what the test wants.  What the nodes send is looked at, and answered
 * by what the contracts would say then. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <criterion/criterion.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/secret.h"
#include "common/crypto/epochcert.h"
#include "kms/cluster/cluster_int.h"
#include "tests/lib/kms_node.h"

#define PUBLISH 0x1f7be867u /* publishRoot(...) */
#define HANDOVERS 0x75ca0e03u /* recordHandovers(...) */

static struct kms_world w;
static struct kms_node *a, *b;
static uint8_t ca0[32];

static void
say(void)
{
	anchor_seats_hash(w.registry.seats_hash, &w.anchor);
	kms_world_registry(&w, 0);
	kms_world_block(&w);
}

/* Transactions are seen, and refused, so that nobody waits for them: what came
 * of them, the test says. */
static void
see_transactions(void)
{
	struct mock_chain *m = w.chain;

	mock_canned(m, 0, "eth_getTransactionCount", "\"result\":\"0x5\"");
	mock_canned(m, 0, "eth_maxPriorityFeePerGas", "\"result\":\"0x3\"");
	mock_canned(m, 0, "eth_estimateGas", "\"result\":\"0x5208\"");
	mock_canned(m, 0, "eth_sendRawTransaction",
	    "\"error\":{\"code\":-32000,\"message\":\"not today\"}");
}

static void
setup(void)
{
	struct cluster_genesis g;

	cr_assert_eq(secret_process_init(), ERR_OK);
	log_set_level(LOG_ERROR);
	kms_world_init(&w);
	see_transactions();
	w.has_registry = true;
	say();
	a = kms_node_start_sealed(&w, "a", true);
	g = kms_node_genesis(a);
	cr_assert_eq(epochcert_ca_hash(ca0, &g.pub.ca), ERR_OK);
	kms_world_open(&w, &g, incarnation_id(kms_node_incarnation(a)));
	registry_says_epoch(&w.registry, &g.pub.k256, ca0, REGISTRY_ROUTINE);
	say();
	kms_node_wait(a, PHASE_READY);
	b = kms_node_start_sealed(&w, "b", false);
	kms_node_wait(b, PHASE_READY);
}

static void
teardown(void)
{
	kms_node_stop(b);
	kms_node_stop(a);
	kms_world_fini(&w);
}

TestSuite(rotate, .init = setup, .fini = teardown, .timeout = 300);

/* ---- what a node knows ---- */

struct look {
	uint64_t number;
	bool is, anchored, here, saved, anchor_key;
	unsigned held;
	struct ledger_epoch ep;
	uint8_t hash[32];
};

static void
read_look(struct cluster *c, void *arg)
{
	struct look *o = arg;
	const struct ledger *l = core_ledger(cluster_core(c));
	const struct ledger_epoch *ep = ledger_epoch(l, o->number);
	struct k256_secret k;

	o->is = ep != NULL;
	o->held = 0;
	o->anchor_key = cluster_anchor_key(c, &k);
	k256_secret_wipe(&k);
	o->here = cluster_has_roots(c, o->number) &&
	    keyring_has(c->o.keyring, o->number);
	o->saved = c->saved_wrap[o->number] || c->has_wrap[o->number];
	if (ep == NULL)
		return;
	o->ep = *ep;
	o->anchored = ledger_epoch_anchored(l, o->number);
	for (size_t i = 0; i < ledger_n_members(l); i++)
		o->held += ledger_member(l, i)->held == LEDGER_HELD;
	cr_assert(
	    engine_hash(core_engine(cluster_core(c)), ep->index, o->hash));
}

static struct look
look(struct kms_node *n, uint64_t number)
{
	struct look o = { .number = number };

	kms_node_do(n, read_look, &o);
	return o;
}

/* A transaction with this call was sent. */
static bool
sent(uint32_t selector)
{
	uint8_t raw[4096], s[4];

	for (int i = 0; i < 4; i++)
		s[i] = (uint8_t)(selector >> (24 - 8 * i));
	for (unsigned k = 0;; k++) {
		size_t n = mock_sent(w.chain, 0, k, raw, sizeof raw);

		if (n == 0)
			return false;
		if (n <= sizeof raw && memmem(raw, n, s, sizeof s) != NULL)
			return true;
	}
}

/* The anchor moves to the epoch's entry. */
static void
anchor_epoch(uint64_t number)
{
	struct look o = look(a, number);

	w.anchor.at.index = o.ep.index;
	memcpy(w.anchor.at.hash, o.hash, 32);
	kms_world_anchor(&w);
	kms_world_block(&w);
}

/* Ordered, made, anchored, held by both. */
static struct ledger_epoch
made(enum registry_mode mode)
{
	registry_says_order(&w.registry, mode);
	say();
	KMS_UNTIL(look(a, 1).is && look(b, 1).is);
	KMS_UNTIL(look(a, 1).held >= 2);
	KMS_UNTIL(look(a, 1).here && look(b, 1).here);
	cr_assert_not(sent(PUBLISH)); /* not before it is anchored */
	anchor_epoch(1);
	KMS_UNTIL(look(a, 1).anchored);
	return look(a, 1).ep;
}

/* As after publication and activation. */
static void
in_use(const struct ledger_epoch *ep, enum registry_mode mode)
{
	struct registry_epoch zero = w.registry.epoch[0];
	uint8_t ca[32];

	cr_assert_eq(epochcert_ca_hash(ca, &ep->pub.ca), ERR_OK);
	registry_says_new(
	    &w.registry, kms_world_contract, kms_world_anchor_contract);
	w.registry.n_epochs = 1;
	w.registry.epoch[0] = zero;
	registry_says_epoch(&w.registry, &ep->pub.k256, ca, mode);
	say();
}

/* ---- tests ---- */

/* Nobody makes roots that nobody has ordered; an order is carried out as far
 * as the chain lets it: certified by the root before, held, published. */
Test(rotate, routine)
{
	struct epochcert c = { .chain_id = KMS_CHAIN_ID, .epoch = 1 };
	struct ledger_epoch ep, zero = look(a, 0).ep;

	(void)nanosleep(&(const struct timespec){ .tv_sec = 1 }, NULL);
	cr_assert_not(look(a, 1).is);
	ep = made(REGISTRY_ROUTINE);
	cr_assert_eq(ep.origin.order, 1);
	cr_assert_eq(ep.mode, REGISTRY_ROUTINE);
	c.k256 = ep.pub.k256;
	memcpy(c.registry, kms_world_registry_contract, 20);
	cr_assert_eq(epochcert_ca_hash(c.ca_spki_hash, &ep.pub.ca), ERR_OK);
	cr_assert_eq(
	    epochcert_verify(&c, &ep.certificate, &zero.pub.k256), ERR_OK);
	KMS_UNTIL(sent(PUBLISH));
	cr_assert_eq(look(b, 1).ep.state, LEDGER_EPOCH_PREPARED);
	in_use(&ep, REGISTRY_ROUTINE);
	KMS_UNTIL(look(a, 1).ep.state == LEDGER_EPOCH_ACTIVE);
	KMS_UNTIL(look(b, 1).ep.state == LEDGER_EPOCH_ACTIVE);
	cr_assert_eq(kms_node_phase(a), PHASE_READY);
	cr_assert_eq(kms_node_phase(b), PHASE_READY);
	KMS_UNTIL(sent(HANDOVERS)); /* that to b is anchored, with the epoch */
}

/* In an emergency the anchor's signer certifies. */
Test(rotate, emergency)
{
	struct epochcert c = { .chain_id = KMS_CHAIN_ID,
		.epoch = 1,
		.mode = EPOCHCERT_EMERGENCY };
	struct ledger_epoch ep = made(REGISTRY_EMERGENCY);
	uint8_t by[20];

	c.k256 = ep.pub.k256;
	memcpy(c.registry, kms_world_registry_contract, 20);
	cr_assert_eq(epochcert_ca_hash(c.ca_spki_hash, &ep.pub.ca), ERR_OK);
	cr_assert_eq(epochcert_signer(by, &c, &ep.certificate), ERR_OK);
	cr_assert_arr_eq(by, w.anchor.signer, 20);
	KMS_UNTIL(sent(PUBLISH));
}

/* After a veto there are other roots, and the first are nowhere. */
Test(rotate, vetoed)
{
	struct ledger_epoch first = made(REGISTRY_ROUTINE);
	struct look o;

	w.registry.vetoes++;
	say();
	KMS_UNTIL(
	    (o = look(b, 1), memcmp(&o.ep.pub.k256, &first.pub.k256, 33) != 0));
	KMS_UNTIL(look(a, 1).held == 2);
	o = look(a, 1);
	cr_assert(o.here && look(b, 1).here);
	cr_assert_eq(o.ep.origin.vetoes, 1);
	cr_assert_eq(o.ep.origin.order, 1);
}

static void
copy(const char *from, const char *to)
{
	char cmd[700];

	/* Of what is not there nothing is copied. */
	(void)snprintf(cmd, sizeof cmd,
	    "cd '%s' && rm -rf '%s' && { [ ! -e '%s' ] || cp -r '%s' '%s'; }",
	    w.sim.dir, to, from, from, to);
	cr_assert_eq(system(cmd), 0);
}

/* A destroyed epoch is gone; a disk from before it was does not bring it back,
 * and is cleaned; a node without a disk gets the anchor's key from others. */
Test(rotate, destroyed)
{
	struct ledger_epoch ep;
	struct kms_node *c = kms_node_start_sealed(&w, "c", false);

	kms_node_wait(c, PHASE_READY);
	ep = made(REGISTRY_ROUTINE);
	in_use(&ep, REGISTRY_ROUTINE);
	KMS_UNTIL(look(b, 1).ep.state == LEDGER_EPOCH_ACTIVE);
	cr_assert(look(b, 0).here);
	kms_node_stop(b);
	copy("b", "b.old");
	b = kms_node_start_sealed(&w, "b", false);
	kms_node_wait(b, PHASE_READY);

	registry_says_status(&w.registry, 0, REGISTRY_DESTROYED);
	say();
	KMS_UNTIL(!look(a, 0).here && !look(a, 0).saved);
	KMS_UNTIL(!look(b, 0).here && !look(b, 0).saved);
	KMS_UNTIL(look(b, 0).ep.state == LEDGER_EPOCH_DESTROYED);
	cr_assert_eq(kms_node_phase(a), PHASE_READY);

	kms_node_stop(b);
	copy("b.old", "b");
	b = kms_node_start_sealed(&w, "b", false);
	kms_node_wait(b, PHASE_READY);
	cr_assert_not(look(b, 0).here);
	cr_assert_not(look(b, 0).saved);
	cr_assert(look(b, 1).here);
	cr_assert(look(b, 0).anchor_key);

	kms_node_stop(c);
	copy("none", "c");
	c = kms_node_start_sealed(&w, "c", false);
	kms_node_wait(c, PHASE_READY);
	cr_assert(look(c, 1).here);
	cr_assert_not(look(c, 0).here);
	cr_assert(look(c, 0).anchor_key);
	kms_node_stop(c);
}
