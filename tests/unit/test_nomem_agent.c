/* The agent's methods without memory: an error, or the right answer; no key
 * in an error, and no other answer. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "common/base/limits.h"
#include "common/base/secret.h"
#include "node/agent/rpc.h"
#include "tests/lib/fake_agent.h"
#include "tests/lib/fake_kms.h"
#include "tests/lib/nomem/nomem.h"

static struct fake_agent fake;
static struct agent_backend backend;

/* ---- the CVM around it, which has memory ---- */

static struct agent_backend inner;

#define WITH_MEMORY(call) \
	do { \
		enum err e_; \
\
		failmalloc_exempt(true); \
		e_ = (call); \
		failmalloc_exempt(false); \
		return e_; \
	} while (0)

static enum err
measured(void *cookie, struct agent_measured *out, struct refusal *why)
{
	WITH_MEMORY(inner.measured(cookie, out, why));
}

static enum err
quote(void *cookie, struct evidence *out, const uint8_t rd[static 64],
    struct refusal *why)
{
	WITH_MEMORY(inner.quote(cookie, out, rd, why));
}

static enum err
sign_cert(void *cookie, struct buf chain[static 3],
    const struct kms_cert_request *rq, struct refusal *why)
{
	WITH_MEMORY(inner.sign_cert(cookie, chain, rq, why));
}

static void
setup(void)
{
	cr_assert_eq(secret_process_init(), ERR_OK);
	json_wiping();
	fake_agent_init(&fake, &backend);
	inner = backend;
	backend.measured = measured;
	backend.quote = quote;
	backend.sign_cert = sign_cert;
}

static void
teardown(void)
{
	fake_agent_fini(&fake);
}

TestSuite(nomem_agent, .init = setup, .fini = teardown, .timeout = 240);

struct call {
	const struct rpc_service *service;
	const char *method, *body;
	bool random; /* the answer is another each time */
	bool refused; /* it always is */
	char *secret; /* of the right answer: not in an error */
	char *want;
	json_t *fields;
	struct rpc_reply rp;
};

static void
parse(void *arg)
{
	struct call *c = arg;

	cr_assert_eq(
	    json_parse(&c->fields, c->body, strlen(c->body), 10000, NULL, 0),
	    ERR_OK);
}

static void
drop(void *arg)
{
	struct call *c = arg;

	json_decref(c->fields);
	buf_wipe(&c->rp.body);
	c->fields = NULL;
}

static enum err
run(void *arg)
{
	struct call *c = arg;
	const char *body;

	buf_wipe(&c->rp.body);
	c->rp = (struct rpc_reply){ .status = 0 };
	fake.counter.value = 0;
	rpc_call(&backend, &c->rp, c->service, c->method, c->fields, false);
	body = c->rp.body.p != NULL ? (const char *)c->rp.body.p : "";
	if (c->rp.status == 200 && !c->refused) {
		cr_assert(
		    c->random || c->want == NULL || strcmp(body, c->want) == 0,
		    "%s: %s, not %s", c->method, body, c->want);
		return ERR_OK;
	}
	cr_assert_neq(c->rp.status, 0);
	cr_assert_neq(c->rp.status, 200, "%s: not refused", c->method);
	cr_assert(c->secret == NULL || strstr(body, c->secret) == NULL);
	/* A clean one: JSON with a text, or nothing at all. */
	cr_assert(c->rp.body.len == 0 || strstr(body, "\"error\"") != NULL);
	if (c->refused && c->want != NULL && strcmp(body, c->want) == 0)
		return ERR_OK;
	return c->refused && c->want == NULL ? ERR_OK : ERR_NOMEM;
}

static void
each(struct call *c)
{
	const struct nomem_op op = { .name = c->method,
		.setup = parse,
		.run = run,
		.fini = drop,
		.sparse = true };

	/* The right answer, to compare with. */
	parse(c);
	cr_assert_eq(run(c), ERR_OK, "%s: %s", c->method, c->rp.error);
	if (c->rp.body.p != NULL)
		c->want = strdup((char *)c->rp.body.p);
	drop(c);
	cr_assert_gt(nomem_each(&op, c), 3);
	free(c->want);
	c->want = NULL;
}

static void
all(const struct rpc_service *service, struct call *c, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		c[i].service = service;
		each(&c[i]);
	}
}

Test(nomem_agent, v0)
{
	struct call t[] = {
		{ .method = "GetKey",
		    .body = "{\"path\":\"a\",\"purpose\":\"b\"}" },
		{ .method = "GetKey",
		    .body = "{\"path\":\"a\",\"algorithm\":\"ed25519\"}" },
		{ .method = "GetTlsKey",
		    .body = "{\"subject\":\"x\",\"alt_names\":[\"a.b\"],"
			    "\"usage_server_auth\":true}",
		    .random = true },
		{ .method = "GetQuote", .body = "{\"report_data\":\"0011\"}" },
		{ .method = "Attest", .body = "{\"report_data\":\"0011\"}" },
		{ .method = "Info", .body = "{}" },
		{ .method = "Version", .body = "{}" },
		{ .method = "Sign",
		    .body = "{\"algorithm\":\"ed25519\",\"data\":\"0011\"}" },
		{ .method = "Sign",
		    .body = "{\"algorithm\":\"secp256k1\",\"data\":\"0011\"}" },
		{ .method = "EmitEvent",
		    .body = "{\"event\":\"x\",\"payload\":\"00\"}" },
		{ .method = "CounterGet", .body = "{\"name\":\"a\"}" },
		{ .method = "CounterIncrement",
		    .body = "{\"name\":\"a\",\"expected\":0}",
		    .random = true },
		/* And refusals stay refusals. */
		{ .method = "GetKey", .body = "{\"path\":1}", .refused = true },
		{ .method = "Sign",
		    .body = "{\"algorithm\":\"rsa\",\"data\":\"00\"}",
		    .refused = true },
		{ .method = "Nope", .body = "{}", .refused = true },
	};

	all(&rpc_guest, t, sizeof t / sizeof t[0]);
}

Test(nomem_agent, replica)
{
	struct call t[] = {
		{ .method = "GetReplicaKey", .body = "{\"path\":\"a\"}" },
	};

	all(&rpc_guest, t, 1);
}

Test(nomem_agent, tappd)
{
	static const char raw[] = "{\"report_data\":\""
				  "00112233445566778899aabbccddeeff"
				  "00112233445566778899aabbccddeeff"
				  "00112233445566778899aabbccddeeff"
				  "00112233445566778899aabbccddeeff\"}";
	struct call t[] = {
		{ .method = "DeriveKey",
		    .body = "{\"path\":\"a\",\"subject\":\"x\"}",
		    .random = true },
		{ .method = "DeriveK256Key", .body = "{\"path\":\"a\"}" },
		{ .method = "TdxQuote",
		    .body = "{\"report_data\":\"0x0011\","
			    "\"hash_algorithm\":\"sha3-512\"}" },
		{ .method = "RawQuote", .body = raw },
	};

	all(&rpc_tappd, t, sizeof t / sizeof t[0]);
}

Test(nomem_agent, v1)
{
	struct call t[] = {
		{ .method = "GetKey", .body = "{\"algorithm\":\"ed25519\"}" },
		{ .method = "Info", .body = "{}" },
	};

	all(&rpc_guest_v1, t, sizeof t / sizeof t[0]);
}

Test(nomem_agent, worker)
{
	struct call t[] = {
		{ .method = "Info", .body = "{}" },
		{ .method = "GetAttestationForAppKey",
		    .body = "{\"algorithm\":\"ed25519\"}" },
	};

	all(&rpc_worker, t, sizeof t / sizeof t[0]);
}

/* A signature that is good is never said to be bad, nor one that is bad to be
 * good. */
Test(nomem_agent, verify)
{
	static const char *const algorithm[] = { "ed25519", "secp256k1" };
	char sign[100], verify[600];

	for (size_t i = 0; i < 2; i++) {
		struct call s = {
			.service = &rpc_guest, .method = "Sign", .body = sign
		};
		struct call v = { .method = "Verify", .body = verify };
		json_t *o = NULL;
		char *sig;

		(void)snprintf(sign, sizeof sign,
		    "{\"algorithm\":\"%s\",\"data\":\"0011\"}", algorithm[i]);
		parse(&s);
		cr_assert_eq(run(&s), ERR_OK);
		cr_assert_eq(
		    json_parse(&o, s.rp.body.p, s.rp.body.len, 10000, NULL, 0),
		    ERR_OK);
		(void)snprintf(verify, sizeof verify,
		    "{\"algorithm\":\"%s\",\"data\":\"0011\","
		    "\"signature\":\"%s\",\"public_key\":\"%s\"}",
		    algorithm[i],
		    json_string_value(json_object_get(o, "signature")),
		    json_string_value(json_object_get(o, "public_key")));
		drop(&s);
		json_decref(o);
		all(&rpc_guest, &v, 1);
		sig = strstr(verify, "\"signature\":\"") + 40;
		*sig = *sig == '0' ? '1' : '0';
		all(&rpc_guest, &v, 1);
	}
}

/* ---- what a KMS releases, before it is believed ---- */

struct release {
	struct fake_kms kms;
	struct app_release out;
	enum reason want; /* REASON_NONE: it is a good one */
};

static enum err
verify_release(void *arg)
{
	static const struct app_release nothing;
	struct release *r = arg;
	struct refusal why = { 0 };
	enum err e;

	release_wipe(&r->out);
	memset(&r->out, 0, sizeof r->out);
	e = release_verify(&r->out, &r->kms.keys, &r->kms.terms, NULL, &why);
	if (e == ERR_OK) {
		cr_assert_eq(r->want, REASON_NONE, "believed");
		cr_assert_eq(r->out.epoch, 1);
		return ERR_OK;
	}
	cr_assert_eq(memcmp(&r->out, &nothing, sizeof nothing), 0);
	if (e != ERR_DENIED)
		return e;
	/* A good one is not said to be bad. */
	cr_assert_eq(why.code, r->want, "%s", why.detail);
	return ERR_OK;
}

Test(nomem_agent, release)
{
	struct release r = { .want = REASON_NONE };
	const struct nomem_op op = {
		.name = "release_verify", .run = verify_release, .sparse = true
	};

	fake_kms_init(&r.kms);
	fake_kms_release(&r.kms, 1, 1);
	cr_assert_gt(nomem_each(&op, &r), 5);
	/* Another root than that of the certificates. */
	r.kms.terms.root.kind = ROOT_PIN_PUB;
	memcpy(r.kms.terms.root.b, r.kms.epoch[2].root_pub.b, 33);
	r.want = REASON_ROOT_MISMATCH;
	(void)nomem_each(&op, &r);
	release_wipe(&r.out);
	fake_kms_fini(&r.kms);
}
