#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "kms/ctl/admin.h"
#include "kms/ctl/lab_recover.h"
#include "kms/ctl/lab_run.h"
#include "kms/gate/anchorabi.h"

#define READY_MS 120000
#define LOOK_MS 2000
#define NAME_AGAIN_MS 10000 /* an order is seen, and a disk offered */
/* A leader is elected, and a newcomer let in, well within this. */
#define LEADERLESS_MS 4000

/* What the listed nodes say of themselves at one moment. */
struct look {
	unsigned listed, up, joining, learning, recovering, ready;
	unsigned lost; /* members that no quorum has confirmed */
	bool only_ready, only_up;
	/* The newest log among those that join. */
	char best[LAB_NAME_MAX];
	uint8_t incarnation[INCARNATION_ID_LEN];
	uint64_t term_high, term_low, index;
	char waiting[160]; /* what one of them waits for */
};

/* "generation.term" */
static void
read_term(const char *s, uint64_t *high, uint64_t *low)
{
	char *end = NULL;

	*high = strtoull(s, &end, 10);
	*low = end != NULL && *end == '.' ? strtoull(end + 1, NULL, 10) : 0;
}

static void
compare_head(struct look *k, const struct lab_node *n, const json_t *row)
{
	const char *term = "0.0";
	uint64_t high, low, index = 0;

	(void)json_get_str(&term, row, "head_term");
	(void)json_get_u64(&index, row, "head_index");
	read_term(term, &high, &low);
	if (k->best[0] != '\0' &&
	    (high < k->term_high ||
		(high == k->term_high &&
		    (low < k->term_low ||
			(low == k->term_low && index <= k->index)))))
		return;
	if (json_get_hex(k->incarnation, INCARNATION_ID_LEN, row,
		"incarnation") != ERR_OK)
		return;
	memcpy(k->best, n->name, sizeof k->best);
	k->term_high = high;
	k->term_low = low;
	k->index = index;
}

/* A member of a cluster that may be no more. */
static bool
is_lost(const json_t *cluster)
{
	const json_t *age = json_object_get(cluster, "confirmed_age_ms");

	return !json_is_integer(age) || json_integer_value(age) > LEADERLESS_MS;
}

static void
look_at(struct look *k, const struct lab_node *n, const struct lab_node *only)
{
	const char *phase = "", *detail = "";
	char url[CONTRACT_URL_MAX];
	json_t *v = NULL, *row, *cluster;
	size_t i;

	k->listed++;
	lab_admin_url(url, n);
	if (admin_get(&v, url, "/status", LOOK_MS) != ERR_OK)
		return;
	k->up++;
	if (n == only)
		k->only_up = true;
	(void)json_get_str(&phase, v, "phase");
	cluster = json_object_get(v, "cluster");
	if (strcmp(phase, "ready") == 0 && is_lost(cluster)) {
		k->lost++;
	} else if (strcmp(phase, "learning") == 0 && is_lost(cluster)) {
		k->learning++;
	} else if (strcmp(phase, "ready") == 0) {
		k->ready++;
		k->only_ready |= n == only;
	} else if (strcmp(phase, "recovering") == 0) {
		k->recovering++;
	} else if (strcmp(phase, "joining") == 0) {
		k->joining++;
		json_array_foreach(json_object_get(cluster, "nodes"), i,
		    row) if (json_is_true(json_object_get(row, "self")))
		    compare_head(k, n, row);
	}
	(void)json_get_str(
	    &detail, json_object_get(cluster, "waiting"), "detail");
	if (detail[0] != '\0')
		(void)snprintf(k->waiting, sizeof k->waiting, "%s: %.100s",
		    n->name, detail);
	json_decref(v);
}

static enum ctl_exit
name_one(const struct ctl *c, const struct lab *l, const struct look *k)
{
	struct contract_tx tx = { 0 };
	struct refusal why = { .code = REASON_NONE };
	struct contract con;
	enum err e;

	lab_contract(&con, l);
	ctl_note(c,
	    "no quorum is left: naming %s (log at %llu) on chain, to open a "
	    "new generation",
	    k->best, (unsigned long long)k->index);
	memcpy(tx.to, con.anchor, sizeof tx.to);
	e = anchorabi_name_recovery(&tx.data, k->incarnation, false);
	if (e == ERR_OK)
		e = contract_send(c, &con, &tx, 1, &why);
	contract_tx_fini(&tx);
	return e == ERR_OK ? CTL_OK : ctl_denied(c, "recovery", e, &why);
}

enum ctl_exit
lab_await_ready(
    const struct ctl *c, const struct lab *l, const struct lab_node *only)
{
	struct ctl_wait w = ctl_wait(
	    c, only != NULL ? only->name : "the nodes to be ready", READY_MS);
	uint64_t leaderless = 0; /* since; after an order, in a while */
	uint8_t named[INCARNATION_ID_LEN] = { 0 };
	bool stuck;
	struct look k;
	enum ctl_exit rc;

	for (;;) {
		k = (struct look){ 0 };
		for (unsigned i = 0; i < l->n_nodes; i++)
			if (l->node[i].listed)
				look_at(&k, &l->node[i], only);
		if (only != NULL ? k.only_ready : k.ready == k.listed)
			return CTL_OK;
		/* Nobody that is here finds a leader, and for how long? */
		if (k.joining + k.lost + k.learning < k.up || k.joining == 0)
			leaderless = 0;
		else if (leaderless == 0)
			leaderless = clock_mono_ms();
		stuck = leaderless != 0 &&
		    clock_mono_ms() >= leaderless + LEADERLESS_MS;
		/* The first time, and when a member that gave way to the
		 * order has brought a newer disk. */
		if (stuck && k.up == k.listed &&
		    memcmp(named, k.incarnation, sizeof named) != 0) {
			if ((rc = name_one(c, l, &k)) != CTL_OK)
				return rc;
			memcpy(named, k.incarnation, sizeof named);
			leaderless = clock_mono_ms() + NAME_AGAIN_MS;
		}
		if (stuck && only != NULL && k.only_up && k.up < k.listed) {
			ctl_note(c,
			    "%s waits for the others: no quorum is left",
			    only->name);
			return CTL_OK;
		}
		if (!ctl_wait_more(&w))
			return ctl_fail(c, CTL_FAILED,
			    "%u of %u nodes are ready after %u s; %s; see "
			    "`kmsctl status`",
			    k.ready, k.listed, READY_MS / 1000,
			    k.waiting[0] != '\0' ? k.waiting
						 : "no reason told");
	}
}
