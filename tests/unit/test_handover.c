/* A node that made the roots and has them no more: the contract named others
 * for a while, say.  It asks for them like any member. */
#include <criterion/criterion.h>

#include "common/base/log.h"
#include "common/base/secret.h"
#include "kms/cluster/cluster_int.h"
#include "tests/lib/kms_node.h"

static struct kms_world w;
static struct kms_node *a, *b;

static void
setup(void)
{
	struct cluster_genesis g;

	cr_assert_eq(secret_process_init(), ERR_OK);
	log_set_level(LOG_ERROR); /* what is dropped here is not news */
	kms_world_init(&w);
	a = kms_node_start(&w, "a", true);
	g = kms_node_genesis(a);
	kms_world_open(&w, &g, incarnation_id(kms_node_incarnation(a)));
	kms_node_wait(a, PHASE_READY);
	b = kms_node_start(&w, "b", false);
	kms_node_wait(b, PHASE_READY);
}

static void
teardown(void)
{
	kms_node_stop(b);
	kms_node_stop(a);
	kms_world_fini(&w);
}

TestSuite(handover, .init = setup, .fini = teardown, .timeout = 120);

/* As watch.c does with roots that are not the contract's. */
static void
drop(struct cluster *c, void *arg)
{
	(void)arg;
	cr_assert(c->made);
	keystore_forget(c, 0);
	cr_assert_neq(cluster_phase(c), PHASE_READY);
	cr_assert_neq(cluster_phase(c), PHASE_GENESIS);
}

Test(handover, made_and_dropped)
{
	kms_node_do(a, drop, NULL);
	kms_node_wait(a, PHASE_READY);
	cr_assert(keyring_has(kms_node_keyring(a), 0));
}
