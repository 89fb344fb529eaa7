/* Attestations without memory: none is half read, and whoever sent it is not
 * turned away for it. */
#include <string.h>

#include <criterion/criterion.h>

#include "common/attest/attestation.h"
#include "common/attest/attestation_v1.h"
#include "common/base/secret.h"
#include "tests/lib/nomem/nomem.h"

#define LOG \
	"[{\"imr\":0,\"event_type\":10,\"digest\":\"" \
	"111111111111111111111111111111111111111111111111" \
	"111111111111111111111111111111111111111111111111\"," \
	"\"event\":\"acpi-rsdp\",\"event_payload\":\"414350492044415441\"}," \
	"{\"imr\":3,\"event_type\":134217729,\"digest\":\"\"," \
	"\"event\":\"app-id\",\"event_payload\":\"ea54\"}]"

static void
setup(void)
{
	cr_assert_eq(secret_process_init(), ERR_OK);
}

TestSuite(nomem_attestation, .init = setup, .timeout = 300);

struct job {
	bool v1;
	struct evidence ev, got;
	struct buf packed, out;
};

static enum err
encode(struct job *j, struct buf *out)
{
	static const uint8_t rd[64] = { 7 };

	return j->v1 ? attestation_v1_encode(out, &j->ev, rd, NULL)
		     : attestation_encode(out, &j->ev, rd, false, NULL);
}

static void
make(void *arg)
{
	struct job *j = arg;

	j->ev.tee = TEE_TDX;
	cr_assert_eq(buf_set(&j->ev.quote, "quote", 5), ERR_OK);
	cr_assert_eq(buf_set(&j->ev.event_log, LOG, strlen(LOG)), ERR_OK);
	cr_assert_eq(buf_set(&j->ev.vm_config, "{}", 2), ERR_OK);
	cr_assert_eq(encode(j, &j->packed), ERR_OK);
}

static void
drop(void *arg)
{
	struct job *j = arg;

	evidence_fini(&j->ev);
	evidence_fini(&j->got);
	buf_fini(&j->packed);
	buf_fini(&j->out);
}

static enum err
write_it(void *arg)
{
	struct job *j = arg;
	enum err e;

	buf_fini(&j->out);
	e = encode(j, &j->out);
	cr_assert_eq(j->out.len, e == ERR_OK ? j->packed.len : 0);
	return e;
}

static enum err
read_it(void *arg)
{
	struct job *j = arg;
	struct refusal why = { .code = REASON_NONE };
	uint8_t rd[64] = { 0 };
	enum err e;

	evidence_fini(&j->got);
	j->got = (struct evidence){ .quote.len = 0 };
	e = j->v1
	    ? attestation_v1_decode(&j->got, rd, buf_view(&j->packed), &why)
	    : attestation_decode(&j->got, rd, buf_view(&j->packed), &why);
	if (e == ERR_OK) {
		cr_assert_eq(rd[0], 7);
		cr_assert_eq(j->got.quote.len, 5);
		cr_assert_eq(j->got.vm_config.len, 2);
		cr_assert_gt(j->got.event_log.len, 100);
	} else {
		cr_assert_eq(rd[0], 0);
		cr_assert_eq(j->got.quote.len, 0);
	}
	return e;
}

static void
each(bool v1)
{
	struct job j = { .v1 = v1 };
	struct nomem_op op = {
		.name = "encode", .setup = make, .run = write_it, .fini = drop
	};

	cr_assert_gt(nomem_each(&op, &j), 3);
	op.name = "decode";
	op.run = read_it;
	cr_assert_gt(nomem_each(&op, &j), 10);
}

Test(nomem_attestation, version_0)
{
	each(false);
}

Test(nomem_attestation, version_1)
{
	each(true);
}
