#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "common/attest/eventlog.h"
#include "common/base/file.h"
#include "common/base/hex.h"
#include "common/crypto/hash.h"

#include "node/agent/boot.h"

#define COMPOSE "{\"name\":\"demo\",\"runner\":\"docker-compose\"}"

static const uint8_t seed[IDENTITY_SEED_LEN] = { 1, 2, 3 };
static const uint8_t os_image[32] = { 0xaa };
static const uint8_t spki[91] = { 0x30, 0x59 };

/* A register that is a list of JSON entries. */
struct fake {
	struct buf entries;
	unsigned n;
	unsigned fail_at; /* the extend that fails, from 1; 0: none */
};

static enum err
fake_log(void *cookie, struct buf *out)
{
	struct fake *f = cookie;

	return buf_printf(out,
	    "[{\"imr\":0,\"event_type\":1,\"digest\":\"%096d\","
	    "\"event\":\"fw\",\"event_payload\":\"\"}%.*s]",
	    0, (int)f->entries.len, (const char *)f->entries.p);
}

static enum err
fake_extend(void *cookie, const char *name, struct bytes payload)
{
	struct fake *f = cookie;
	char hex[2 * BOOT_PAYLOAD_MAX + 1], dhex[97];
	uint8_t digest[48];

	if (++f->n == f->fail_at)
		return ERR_IO;
	event_digest_v1(digest, name, payload);
	return buf_printf(&f->entries,
	    ",{\"imr\":3,\"event_type\":134217729,\"digest\":\"%s\","
	    "\"event\":\"%s\",\"event_payload\":\"%s\"}",
	    hex_encode(dhex, digest, 48), name,
	    hex_encode(hex, payload.p, payload.len));
}

static void
make_identity(struct app_identity *id, const char *compose)
{
	struct refusal why = { .code = REASON_NONE };

	cr_assert_eq(
	    identity_make(id,
		(struct bytes){ (const uint8_t *)compose, strlen(compose) },
		NULL, seed, &why),
	    ERR_OK, "%s", why.detail);
}

static void
identity_refused(const char *compose)
{
	struct app_identity id;
	struct refusal why = { .code = REASON_NONE };

	cr_assert_eq(
	    identity_make(&id,
		(struct bytes){ (const uint8_t *)compose, strlen(compose) },
		NULL, seed, &why),
	    ERR_CONFIG, "%s", compose);
	cr_assert_neq(why.code, REASON_NONE);
}

/* An app-compose that is no object, or asks for what is not done, stops. */
Test(agent_boot, compose_refusals)
{
	identity_refused("");
	identity_refused("[]");
	identity_refused("{\"name\":1}");
	identity_refused("{\"name\":\"a\",\"name\":\"b\"}");
	identity_refused("{\"no_instance_id\":\"yes\"}");
	identity_refused("{\"event_log_version\":2}");
	identity_refused("{\"event_log_version\":\"1\"}");
	identity_refused("{\"key_provider\":\"tpm\"}");
	identity_refused("{\"key_provider\":7}");
	identity_refused("{\"local_key_provider_enabled\":true}");
	identity_refused("{\"key_provider_id\":\"abc\"}");
	identity_refused("{\"key_provider_id\":3}");
	identity_refused("{\"public_tcbinfo\":0}");
	identity_refused("{\"public_logs\":\"true\"}");
	identity_refused("{\"public_sysinfo\":[]}");
	identity_refused("{\"requirements\":{\"health_check\":1}}");
	identity_refused("{\"requirements\":[]}");
	identity_refused(COMPOSE " x");
}

/* What is public: measurements by default, logs and the system if asked. */
Test(agent_boot, public_flags)
{
	struct app_identity id;

	make_identity(&id, "{\"requirements\":null}");
	cr_assert(id.public_tcbinfo && !id.public_logs && !id.public_sysinfo &&
	    !id.health_check);
	identity_fini(&id);
	make_identity(&id,
	    "{\"public_tcbinfo\":false,\"public_logs\":true,"
	    "\"public_sysinfo\":true,\"requirements\":{\"health_check\":true}"
	    "}");
	cr_assert(!id.public_tcbinfo && id.public_logs && id.public_sysinfo &&
	    id.health_check);
	identity_fini(&id);
}

/* The ids follow dstack's formulas, over the file's bytes. */
Test(agent_boot, identity_values)
{
	struct app_identity id;
	uint8_t h[32], in[40];

	make_identity(&id, COMPOSE);
	sha256(h, COMPOSE, sizeof(COMPOSE) - 1);
	cr_assert_eq(memcmp(id.compose_hash, h, 32), 0);
	cr_assert_eq(memcmp(id.app_id, h, 20), 0);
	memcpy(in, seed, 20);
	memcpy(in + 20, id.app_id, 20);
	sha256(h, in, 40);
	cr_assert(id.has_instance_id);
	cr_assert_eq(memcmp(id.instance_id, h, 20), 0);
	cr_assert_str_eq(id.name, "demo");
	identity_fini(&id);
	make_identity(&id,
	    "{\"no_instance_id\":true,\"key_provider\":\"kms\","
	    "\"key_provider_id\":\"0x3059\"}");
	cr_assert(!id.has_instance_id);
	cr_assert_eq(id.key_provider_id.len, 2);
	identity_fini(&id);
}

/* The seed is made once and then kept; a damaged one is not replaced. */
Test(agent_boot, seed_is_kept)
{
	char dir[] = "/tmp/agent-boot-XXXXXX", compose[64], file[64];
	struct app_identity a, b;
	struct refusal why;

	cr_assert_not_null(mkdtemp(dir));
	(void)snprintf(compose, sizeof compose, "%s/c.json", dir);
	(void)snprintf(file, sizeof file, "%s/instance-seed", dir);
	cr_assert_eq(identity_load(&a, compose, dir, NULL, &why), ERR_CONFIG);
	cr_assert_eq(
	    file_write(compose, COMPOSE, sizeof(COMPOSE) - 1, 0600), ERR_OK);
	cr_assert_eq(identity_load(&a, compose, dir, NULL, &why), ERR_OK);
	cr_assert_eq(identity_load(&b, compose, dir, NULL, &why), ERR_OK);
	cr_assert_eq(memcmp(a.instance_id, b.instance_id, 20), 0);
	identity_fini(&a);
	identity_fini(&b);
	cr_assert_eq(file_write(file, "short", 5, 0600), ERR_OK);
	cr_assert_eq(identity_load(&a, compose, dir, NULL, &why), ERR_CONFIG);
	cr_assert_eq(
	    file_write(file, "a seed of 21 bytes...", 21, 0600), ERR_OK);
	cr_assert_eq(identity_load(&a, compose, dir, NULL, &why), ERR_CONFIG);
	(void)unlink(compose);
	(void)unlink(file);
	(void)rmdir(dir);
}

static void
full_plan(struct boot_plan *p, const struct app_identity *id)
{
	boot_plan_identity(p, id);
	cr_assert_eq(
	    boot_plan_keys(p, os_image, (struct bytes){ spki, sizeof spki }),
	    ERR_OK);
}

static void
order_is(struct fake *f, const char *const *names, size_t n)
{
	struct event_log log = { .event = NULL };
	struct buf json = { 0 };
	struct refusal why = { .code = REASON_NONE };

	cr_assert_eq(fake_log(f, &json), ERR_OK);
	cr_assert_eq(event_log_parse(&log, buf_view(&json), &why), ERR_OK, "%s",
	    why.detail);
	cr_assert_eq(log.n, n + 1);
	for (size_t i = 0; i < n; i++)
		cr_assert_str_eq(log.event[i + 1].name, names[i]);
	event_log_fini(&log);
	buf_fini(&json);
}

static const char *const order[] = { "system-preparing", "app-id",
	"compose-hash", "instance-id", "boot-mr-done", "os-image-hash",
	"key-provider", "system-ready" };

/* Events come in dstack's order, the keys' after boot-mr-done. */
Test(agent_boot, order)
{
	struct fake f = { .n = 0 };
	const struct boot_register r = { &f, fake_log, fake_extend };
	struct app_identity id;
	struct boot_plan p;
	struct refusal why = { .code = REASON_NONE };

	make_identity(&id, COMPOSE);
	boot_plan_identity(&p, &id);
	cr_assert_eq(boot_run(&r, &p, &why), ERR_OK);
	order_is(&f, order, 5);
	full_plan(&p, &id);
	cr_assert_eq(boot_run(&r, &p, &why), ERR_OK);
	order_is(&f, order, 8);
	cr_assert_not_null(strstr((char *)f.entries.p,
	    /* {"name":"kms","id":"3059 */
	    "7b226e616d65223a226b6d73222c226964223a2233303539"));
	identity_fini(&id);
	buf_fini(&f.entries);
}

/* Running again, or after app events, measures nothing twice. */
Test(agent_boot, nothing_twice)
{
	struct fake f = { .n = 0 };
	const struct boot_register r = { &f, fake_log, fake_extend };
	struct app_identity id;
	struct boot_plan p;
	struct refusal why = { .code = REASON_NONE };

	make_identity(&id, COMPOSE);
	full_plan(&p, &id);
	f.fail_at = 4;
	cr_assert_eq(boot_run(&r, &p, &why), ERR_IO);
	order_is(&f, order, 3);
	f.fail_at = 0;
	cr_assert_eq(boot_run(&r, &p, &why), ERR_OK);
	order_is(&f, order, 8);
	cr_assert_eq(
	    fake_extend(&f, "mine", (struct bytes){ spki, 1 }), ERR_OK);
	f.n = 0;
	cr_assert_eq(boot_run(&r, &p, &why), ERR_OK);
	cr_assert_eq(f.n, 0);
	identity_fini(&id);
	buf_fini(&f.entries);
}

/* A log that says something else already is not contradicted. */
Test(agent_boot, another_log)
{
	struct app_identity id, other;
	struct boot_plan p;

	make_identity(&id, COMPOSE);
	make_identity(&other, "{\"name\":\"other\"}");
	for (size_t wrong = 0; wrong < 8; wrong++) {
		struct fake f = { .n = 0 };
		const struct boot_register r = { &f, fake_log, fake_extend };
		struct refusal why = { .code = REASON_NONE };

		full_plan(&p, &id);
		p.n = wrong;
		cr_assert_eq(boot_run(&r, &p, &why), ERR_OK);
		cr_assert_eq(
		    fake_extend(&f, "intruder", (struct bytes){ NULL, 0 }),
		    ERR_OK);
		f.n = 0;
		full_plan(&p, &id);
		cr_assert_eq(boot_run(&r, &p, &why), ERR_DENIED);
		cr_assert_eq(why.code, REASON_EVENT_LOG);
		cr_assert_eq(f.n, 0, "something was measured");
		buf_fini(&f.entries);
	}
	struct fake f = { .n = 0 };
	const struct boot_register r = { &f, fake_log, fake_extend };
	struct refusal why = { .code = REASON_NONE };

	full_plan(&p, &other);
	cr_assert_eq(boot_run(&r, &p, &why), ERR_OK);
	full_plan(&p, &id);
	cr_assert_eq(boot_run(&r, &p, &why), ERR_DENIED);
	identity_fini(&id);
	identity_fini(&other);
	buf_fini(&f.entries);
}

/* An SPKI that does not fit the event is refused, not cut. */
Test(agent_boot, spki_too_long)
{
	static const uint8_t big[BOOT_PAYLOAD_MAX + 1];
	struct app_identity id;
	struct boot_plan p;

	make_identity(&id, COMPOSE);
	boot_plan_identity(&p, &id);
	cr_assert_eq(
	    boot_plan_keys(&p, os_image, (struct bytes){ big, sizeof big }),
	    ERR_LIMIT);
	cr_assert_eq(boot_plan_keys(&p, os_image, (struct bytes){ big, 200 }),
	    ERR_LIMIT);
	cr_assert_eq(p.n, 5);
	identity_fini(&id);
}
