/* kmsctl audit: one missing or extra hand-over or epoch change, on either
 * side, is found and named. */
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "common/base/hex.h"
#include "common/base/wr.h"
#include "common/crypto/hash.h"
#include "kms/ctl/audit.h"

#define NOW 1700000000u

static struct audit_chain c;
static struct audit_node node[2];
static struct k256_pub root[2];
static json_t *found;

/* ---- a world in which all is well ---- */

static struct command
handover(unsigned i)
{
	struct command x = { .kind = COMMAND_HANDOVER, .time = NOW - 1000 };

	x.u.handover.epoch = 0;
	(void)snprintf(
	    x.u.handover.to.slot, sizeof x.u.handover.to.slot, "kms%u", i);
	memset(x.u.handover.to.incarnation, (int)i + 1, 32);
	memset(x.u.handover.to.device_id, (int)i + 2, 32);
	memset(x.u.handover.to.mr_aggregated, 3, 32);
	return x;
}

static struct command
change(uint64_t number, enum ledger_epoch_state state)
{
	struct command x = { .kind = COMMAND_EPOCH_STATE, .time = NOW - 1000 };

	x.u.epoch_state.number = number;
	x.u.epoch_state.k256 = root[number];
	x.u.epoch_state.state = state;
	return x;
}

/* A page of /audit, as auditpage.c writes it. */
static json_t *
page_of(const struct command *cmd, size_t n)
{
	json_t *list = json_array(), *page = json_object();
	uint8_t head[32] = { 0 };

	(void)!json_set_hex(page, "before", head, 32);
	for (size_t i = 0; i < n; i++) {
		struct buf b = { 0 }, text = { 0 };
		uint8_t word[12];
		struct wr w = { .p = word, .cap = sizeof word };
		json_t *v = json_object();

		cr_assert_eq(command_write(&b, &cmd[i]), ERR_OK);
		(void)!json_set_u64(v, "number", i + 1);
		(void)!json_set_u64(v, "index", 10 + i);
		(void)!json_set_hex(v, "command", b.p, b.len);
		(void)json_array_append_new(list, v);
		wr_be64(&w, 10 + i);
		wr_be32(&w, (uint32_t)b.len);
		cr_assert_eq(buf_append(&text, head, 32, 4096), ERR_OK);
		cr_assert_eq(buf_append(&text, word, 12, 4096), ERR_OK);
		cr_assert_eq(buf_append(&text, b.p, b.len, 4096), ERR_OK);
		sha256(head, text.p, text.len);
		buf_fini(&b);
		buf_fini(&text);
	}
	(void)!json_set_u64(page, "count", n);
	(void)!json_set_u64(page, "first_kept", 1);
	(void)!json_set_u64(page, "from", 1);
	(void)!json_set_hex(page, "head", head, 32);
	(void)json_object_set_new(page, "entries", list);
	return page;
}

static void
read_node(struct audit_node *n, const char *name, const struct command *cmd,
    size_t n_cmd)
{
	json_t *page = page_of(cmd, n_cmd);
	bool more;

	audit_node_fini(n);
	(void)snprintf(n->name, sizeof n->name, "%s", name);
	cr_assert_eq(audit_node_page(n, page, &more), ERR_OK);
	cr_assert(!more);
	json_decref(page);
}

static struct command story[5];

static void
tell_nodes(void)
{
	read_node(&node[0], "kms0", story, 5);
	read_node(&node[1], "kms1", story, 5);
}

static json_t *
log_of(const struct audit_handover *h)
{
	char t[3][67], data[2 + 256 + 1] = "0x";
	uint8_t w[4][32] = { { 0 } };

	for (unsigned i = 0; i < 8; i++) {
		w[0][31 - i] = (uint8_t)(h->h.audit >> 8 * i);
		w[1][31 - i] = (uint8_t)(h->h.epoch >> 8 * i);
	}
	memcpy(w[2], h->h.device_id, 32);
	memcpy(w[3], h->h.mr_aggregated, 32);
	hex_encode(data + 2, w[0], sizeof w);
	memset(w[0], 0, 32);
	w[0][31] = (uint8_t)h->number;
	for (unsigned i = 0; i < 3; i++)
		memcpy(t[i], "0x", 2);
	hex_encode(t[0] + 2, w[0], 32);
	hex_encode(t[1] + 2, h->h.slot, 32);
	hex_encode(t[2] + 2, h->h.incarnation, 32);
	return json_pack("{s:[s,s,s,s], s:s}", "topics",
	    "0x522ab302f6dac841a82f8c75cca38067fa6fd86b26ab678ce7ec42ffd748e5"
	    "d8",
	    t[0], t[1], t[2], "data", data);
}

static void
record(uint64_t audit, const struct command *x)
{
	struct audit_handover h = { .number = c.n_handovers };
	json_t *log;

	h.h.audit = audit;
	h.h.epoch = x->u.handover.epoch;
	memcpy(h.h.slot, x->u.handover.to.slot, 32);
	memcpy(h.h.incarnation, x->u.handover.to.incarnation, 32);
	memcpy(h.h.device_id, x->u.handover.to.device_id, 32);
	memcpy(h.h.mr_aggregated, x->u.handover.to.mr_aggregated, 32);
	log = log_of(&h);
	cr_assert_eq(audit_chain_log(&c, log), ERR_OK);
	json_decref(log);
	registry_handover_step(c.state.handover_head, h.number, &h.h);
	c.state.handovers++;
}

static void
event(enum audit_what what, uint64_t epoch)
{
	struct registry_epoch *x = &c.state.epoch[epoch];

	c.change = reallocarray(c.change, c.n_changes + 1, sizeof *c.change);
	cr_assert_not_null(c.change);
	c.change[c.n_changes] =
	    (struct audit_change){ .what = what, .epoch = epoch };
	if (what != AUDIT_TAINTED)
		registry_root_hash(
		    c.change[c.n_changes].root_hash, &x->k256, x->ca_spki_hash);
	c.n_changes++;
}

/* Epoch 0 handed over to two, then epoch 1, then 0 tainted. */
static void
setup(void)
{
	struct p256_secret ca = { { 0 } };

	for (unsigned i = 0; i < 2; i++) {
		struct k256_secret k = { { 0 } };

		k.b[31] = (uint8_t)(i + 1);
		cr_assert_eq(k256_pubkey(&root[i], &k), ERR_OK);
		c.state.epoch[i] = (struct registry_epoch){ .number = i,
			.status = REGISTRY_ACTIVE,
			.k256 = root[i],
			.activated_at = NOW - 5000 + i };
		memset(c.state.epoch[i].ca_spki_hash, (int)i + 1, 32);
	}
	c.now = NOW;
	c.state.n_epochs = 2;
	c.state.active = 1;
	c.state.epoch[0].status = REGISTRY_TAINTED;
	c.state.epoch[0].tainted_at = NOW - 1000;
	story[0] = (struct command){ .kind = COMMAND_EPOCH, .time = NOW };
	story[0].u.epoch.pub.k256 = root[0];
	ca.b[31] = 1;
	cr_assert_eq(p256_pubkey(&story[0].u.epoch.pub.ca, &ca), ERR_OK);
	story[1] = handover(1);
	story[2] = handover(2);
	story[3] = change(1, LEDGER_EPOCH_ACTIVE);
	story[4] = change(0, LEDGER_EPOCH_TAINTED);
	tell_nodes();
	record(2, &story[1]);
	record(3, &story[2]);
	event(AUDIT_ACTIVATED, 0);
	event(AUDIT_ACTIVATED, 1);
	event(AUDIT_TAINTED, 0);
}

static void
teardown(void)
{
	audit_chain_fini(&c);
	audit_node_fini(&node[0]);
	audit_node_fini(&node[1]);
	json_decref(found);
}

TestSuite(ctl_audit, .init = setup, .fini = teardown, .timeout = 60);

static void
look(void)
{
	json_decref(found);
	found = audit_findings(&c, node, 2, NOW);
}

/* An error that says this, about `where`. */
static void
finds(const char *where, const char *what)
{
	const json_t *f;
	size_t i;

	look();
	cr_assert(!audit_clean(found));
	json_array_foreach(found, i, f)
	{
		if (strcmp(json_string_value(json_object_get(f, "severity")),
			"error") == 0 &&
		    strcmp(json_string_value(json_object_get(f, "where")),
			where) == 0 &&
		    strstr(json_string_value(json_object_get(f, "what")),
			what) != NULL)
			return;
	}
	cr_assert_fail(
	    "%s: nobody says \"%s\": %s", where, what, json_dumps(found, 0));
}

Test(ctl_audit, clean)
{
	look();
	cr_assert_eq(json_array_size(found), 0, "%s", json_dumps(found, 0));
}

/* Nodes gave the roots to somebody, and the chain does not know. */
Test(ctl_audit, missing_on_chain)
{
	c.n_handovers--;
	finds("chain", "counts 2 hand-overs, and 1 events");
	finds("kms1", "audit entry 3, a hand-over to kms2");
	/* one that is young may be on its way */
	story[2].time = NOW - 5;
	tell_nodes();
	c.state.handovers--;
	memset(c.state.handover_head, 0, 32);
	registry_handover_step(c.state.handover_head, 0, &c.handover[0].h);
	look();
	cr_assert(audit_clean(found), "%s", json_dumps(found, 0));
	cr_assert_eq(json_array_size(found), 2);
}

/* The chain knows of one that is in nobody's log, or in it otherwise. */
Test(ctl_audit, extra_on_chain)
{
	struct command x = handover(7);

	record(6, &x);
	finds("kms0", "audit entry 6, and its log ends at 5");
	c.handover[2].h.audit = 4;
	finds("kms0", "is not what its audit entry 4 says");
	c.handover[2].h.audit = 3;
	finds("chain", "was recorded before");
	c.handover[1].h.device_id[0] ^= 1;
	finds("kms1", "is not what its audit entry 3 says");
	finds("chain", "do not come to the registry's head");
	c.handover[1].number = 2;
	finds("chain", "the event of hand-over 1 is missing");
}

Test(ctl_audit, epochs)
{
	/* on chain alone */
	c.state.epoch[0].destroyed_at = NOW - 500;
	finds("chain", "epoch 0 was destroyed, and 0 such events");
	event(AUDIT_DESTROYED, 0);
	finds("kms0", "epoch 0 was destroyed on chain, and its log does not");
	c.state.epoch[0].destroyed_at = NOW - 5;
	look();
	cr_assert(audit_clean(found), "%s", json_dumps(found, 0));
	/* in a log alone */
	c.state.epoch[0].destroyed_at = 0;
	c.n_changes--;
	story[4] = change(0, LEDGER_EPOCH_DESTROYED);
	tell_nodes();
	finds("kms1", "audit entry 5 says that epoch 0 is destroyed");
	/* of another root */
	story[4] = change(0, LEDGER_EPOCH_TAINTED);
	story[3].u.epoch_state.k256 = root[0];
	tell_nodes();
	finds("kms0", "audit entry 4 says that epoch 1 is activated");
	/* an event of something that never was */
	event(AUDIT_TAINTED, 1);
	finds("chain", "epoch 1 was not tainted, and 1 such events");
}

Test(ctl_audit, nodes_differ)
{
	story[2] = handover(3);
	read_node(&node[1], "kms1", story, 5);
	finds("kms1", "from audit entry 3 on it tells another story than kms0");
}

Test(ctl_audit, a_head_that_lies)
{
	node[0].head[0] ^= 1;
	finds("kms0", "do not come to the head");
}

/* Pages that do not continue, or are none. */
Test(ctl_audit, pages)
{
	static const char *const needed[] = { "count", "first_kept", "from",
		"head", "before", "entries" };
	struct audit_node n = { .n = 0 };
	json_t *page;
	bool more;

	for (size_t i = 0; i < 6; i++) {
		page = page_of(story, 5);
		(void)json_object_del(page, needed[i]);
		cr_assert_eq(audit_node_page(&n, page, &more), ERR_MALFORMED);
		json_decref(page);
	}
	page = page_of(story, 5);
	(void)json_array_remove(json_object_get(page, "entries"), 4);
	cr_assert_eq(audit_node_page(&n, page, &more), ERR_OK);
	cr_assert(more);
	(void)json_array_clear(json_object_get(page, "entries"));
	cr_assert_eq(audit_node_page(&n, page, &more), ERR_MALFORMED);
	(void)json_object_set_new(page, "from", json_integer(5));
	cr_assert_eq(audit_node_page(&n, page, &more), ERR_MALFORMED);
	json_decref(page);
	audit_node_fini(&n);
}
