/* The verification of evidence without memory: nobody is accepted, nobody is
 * blamed, and the verifier is as it was. */
#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include "common/attest/attestation.h"
#include "common/base/file.h"
#include "common/base/json.h"
#include "common/base/secret.h"
#include "node/tee/pccs_server.h"
#include "node/tee/simdocs.h"
#include "tests/lib/nomem/nomem.h"
#include "tests/lib/simworld.h"

static struct simworld w;
static struct pccs_server *server;
static struct buf root;
static char url[64];
static struct evidence ev, good;
static const uint8_t rd[64] = { 1, 2, 3 };

static int64_t
the_clock(void)
{
	return SIMWORLD_NOW;
}

/* A guest that has measured what dstack's measures before it asks. */
static void
make_evidence(struct evidence *out)
{
	static const uint8_t id[32] = { 0x42 };
	const struct {
		const char *name;
		struct bytes payload;
	} events[] = {
		{ "system-preparing", { NULL, 0 } },
		{ "app-id", { id, 20 } },
		{ "compose-hash", { id, 32 } },
		{ "instance-id", { id, 20 } },
		{ "boot-mr-done", { NULL, 0 } },
	};
	struct tee *t = simworld_boot(&w);

	for (size_t i = 0; i < sizeof events / sizeof events[0]; i++)
		cr_assert_eq(
		    tee_extend(t, events[i].name, events[i].payload), ERR_OK);
	cr_assert_eq(tee_evidence(t, out, rd, NULL), ERR_OK);
	tee_close(t);
}

static void
setup(void)
{
	cr_assert_eq(secret_process_init(), ERR_OK);
	simworld_init(&w);
	cr_assert_eq(sim_pki_document(&root, w.dir, SIM_DOC_ROOT), ERR_OK);
	cr_assert_eq(
	    pccs_server_start(&server, w.dir, "127.0.0.1", 0, the_clock),
	    ERR_OK);
	(void)snprintf(
	    url, sizeof url, "http://127.0.0.1:%u", pccs_server_port(server));
	make_evidence(&ev);
	make_evidence(&good);
}

static void
teardown(void)
{
	evidence_fini(&ev);
	evidence_fini(&good);
	buf_fini(&root);
	pccs_server_stop(server);
	simworld_fini(&w);
}

TestSuite(nomem_attest, .init = setup, .fini = teardown, .timeout = 240);

struct check {
	struct verifier *v;
	struct attested out;
	struct refusal why;
	bool warm;
	enum reason want; /* of a refusal */
};

static enum err
check(void *arg)
{
	struct check *c = arg;

	memset(&c->out, 0x5a, sizeof c->out);
	c->why = (struct refusal){ 0 };
	return verifier_check(
	    c->v, &c->out, &ev, rd, BOOT_APP, SIMWORLD_NOW, &c->why);
}

static void
open_verifier(void *arg)
{
	struct check *c = arg;
	struct verifier_options o = { .pccs_url = url,
		.simulated_root = buf_view(&root) };

	attest_policy_default(&o.policy);
	o.policy.allow_simulated = true;
	cr_assert_eq(verifier_new(&c->v, &o), ERR_OK);
	if (!c->warm)
		return;
	cr_assert_eq(verifier_check(c->v, &c->out, &good, rd, BOOT_APP,
			 SIMWORLD_NOW, &c->why),
	    ERR_OK, "%s", c->why.detail);
}

static void
close_verifier(void *arg)
{
	struct check *c = arg;

	verifier_free(c->v);
	c->v = NULL;
}

/* Nothing was accepted, not even in part; what is there to see (the highest
 * evaluation numbers) is of documents that were verified. */
static void
check_out(void *arg, enum err e)
{
	struct check *c = arg;
	struct attested nothing;
	struct pccs_stats s;

	/* What was good before is good still. */
	verifier_pccs_stats(&s, c->v);
	if (c->warm)
		cr_assert_eq(s.fetches, 1, "collateral was thrown away");
	if (e == ERR_OK) {
		cr_assert_eq(c->out.verified_at, SIMWORLD_NOW);
		cr_assert_eq(c->out.boot.app_id[0], 0x42);
		return;
	}
	memset(&nothing, 0x5a, sizeof nothing);
	cr_assert_eq(memcmp(&c->out, &nothing, sizeof nothing), 0);
}

/* With everything cached that can be, */
Test(nomem_attest, warm)
{
	struct check c = { .warm = true };
	const struct nomem_op op = { .name = "verifier_check, warm",
		.setup = open_verifier,
		.run = check,
		.check = check_out,
		.fini = close_verifier,
		.sparse = true };

	cr_assert_gt(nomem_each(&op, &c), 20);
}

/* from nothing: collateral is fetched, parsed, verified and kept, */
Test(nomem_attest, cold)
{
	struct check c = { .warm = false };
	const struct nomem_op op = { .name = "verifier_check, cold",
		.setup = open_verifier,
		.run = check,
		.check = check_out,
		.fini = close_verifier,
		.sparse = true };

	cr_assert_gt(nomem_each(&op, &c), 100);
}

/* and what has to be refused is, or is not looked at: never accepted. */
static enum err
refuse_it(void *arg)
{
	struct check *c = arg;
	enum err e = check(c);

	cr_assert_neq(e, ERR_OK, "accepted for want of memory");
	if (e != ERR_DENIED)
		return e;
	cr_assert_eq(c->why.code, c->want, "%s: %s", reason_label(c->why.code),
	    c->why.detail);
	return ERR_OK;
}

static void
refused(bool warm, enum reason want)
{
	struct check c = { .warm = warm, .want = want };
	const struct nomem_op op = { .name = reason_label(want),
		.setup = open_verifier,
		.run = refuse_it,
		.fini = close_verifier,
		.sparse = true };

	cr_assert_gt(nomem_each(&op, &c), 20);
}

static void
with_fault(enum sim_fault f, enum reason want)
{
	cr_assert_eq(sim_host_set(w.dir, "h1", f, SIMWORLD_NOW), ERR_OK);
	evidence_fini(&ev);
	make_evidence(&ev);
	refused(false, want);
}

Test(nomem_attest, revoked)
{
	with_fault(SIM_FAULT_REVOKED, REASON_REVOKED);
}

/* One bit of the quote, and of the event log. */
Test(nomem_attest, altered)
{
	char *id;

	ev.quote.p[100] ^= 1;
	refused(true, REASON_QUOTE_SIGNATURE);
	ev.quote.p[100] ^= 1;
	cr_assert_not_null(id = strstr((char *)ev.event_log.p, "420000"));
	id[3] = '1';
	refused(true, REASON_EVENT_LOG);
}

/* The verifier itself. */
static enum err
make(void *arg)
{
	struct check *c = arg;
	struct verifier_options o = { .pccs_url = url,
		.simulated_root = buf_view(&root) };
	enum err e;

	close_verifier(c);
	if ((e = verifier_new(&c->v, &o)) != ERR_OK)
		cr_assert_null(c->v);
	return e;
}

Test(nomem_attest, verifier)
{
	struct check c = { .warm = false };
	const struct nomem_op op = { .name = "verifier_new",
		.run = make,
		.fini = close_verifier,
		.sparse = true };

	cr_assert_gt(nomem_each(&op, &c), 10);
}
