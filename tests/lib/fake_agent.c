#include <assert.h>
#include <pthread.h>
#include <string.h>

#include "common/base/hex.h"
#include "common/base/name.h"
#include "common/wire/signcert.h"

#include "tests/lib/fake_agent.h"
#include "tests/lib/fake_ca.h"

#define COMPOSE "{\"manifest_version\":2,\"name\":\"caf\xc3\xa9\"}"
#define LOG \
	"[{\"imr\":0,\"event_type\":1,\"digest\":\"00\",\"event\":\"fw\"," \
	"\"event_payload\":\"abcd\"}," \
	"{\"imr\":0,\"event_type\":10,\"digest\":\"01\"," \
	"\"event\":\"acpi-rsdp\",\"event_payload\":\"414350492044415441\"}," \
	"{\"imr\":3,\"event_type\":134217729,\"digest\":\"02\"," \
	"\"event\":\"app-id\",\"event_payload\":\"ea54\"}]"

static void
must(enum err e)
{
	assert(e == ERR_OK);
	(void)e;
}

static enum err
keys(void *cookie, struct app_release *out, const uint64_t *epoch,
    struct refusal *why)
{
	struct fake_agent *f = cookie;

	if (f->fail != ERR_OK) {
		(void)refuse(why, REASON_NO_LEADER, "no host");
		return f->fail;
	}
	if (epoch != NULL && *epoch != f->epoch)
		return refuse(why, REASON_EPOCH_UNKNOWN, "asked for %llu",
		    (unsigned long long)*epoch);
	*out = f->release;
	return ERR_OK;
}

static void
pin(void *cookie, struct heldkeys_pin *out)
{
	struct fake_agent *f = cookie;

	*out = (struct heldkeys_pin){ .epoch = f->epoch,
		.has_registry = f->has_registry };
	memset(out->registry, 0x77, sizeof out->registry);
}

static enum err
measured(void *cookie, struct agent_measured *out, struct refusal *why)
{
	struct fake_agent *f = cookie;

	if (f->fail != ERR_OK) {
		(void)refuse(why, REASON_INTERNAL, "no file");
		return f->fail;
	}
	memset(out, 0, sizeof *out);
	memset(out->mrtd, 0x0a, sizeof out->mrtd);
	memset(out->rtmr[3], 0x0b, sizeof out->rtmr[3]);
	must(buf_set(&out->event_log, LOG, sizeof(LOG) - 1));
	must(buf_set(&out->vm_config, "{}", 2));
	return ERR_OK;
}

/* Handlers run beside each other. */
static void
saw_report_data(
    struct fake_agent *f, const uint8_t report_data[static 64], bool stripped)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

	(void)pthread_mutex_lock(&lock);
	memcpy(f->last_report_data, report_data, 64);
	f->last_stripped = stripped;
	(void)pthread_mutex_unlock(&lock);
}

static enum err
quote(void *cookie, struct evidence *out, const uint8_t report_data[static 64],
    struct refusal *why)
{
	struct fake_agent *f = cookie;

	if (f->fail != ERR_OK)
		return refuse(why, REASON_INTERNAL, "no device");
	saw_report_data(f, report_data, false);
	out->tee = TEE_TDX;
	must(buf_set(&out->quote, "\x04\x00\x02", 3));
	must(buf_set(&out->event_log, LOG, sizeof(LOG) - 1));
	must(buf_set(&out->vm_config, "{}", 2));
	return ERR_OK;
}

static enum err
attest(void *cookie, struct buf *out, const uint8_t report_data[static 64],
    bool stripped, struct refusal *why)
{
	struct fake_agent *f = cookie;

	(void)why;
	if (f->fail != ERR_OK)
		return f->fail;
	saw_report_data(f, report_data, stripped);
	return buf_append(out, "\x00\x00\x05", 3, SIZE_MAX);
}

static enum err
attest_v1(void *cookie, struct buf *out, const uint8_t report_data[static 64],
    struct refusal *why)
{
	struct fake_agent *f = cookie;

	(void)why;
	if (f->fail != ERR_OK)
		return f->fail;
	saw_report_data(f, report_data, false);
	return buf_append(out, "\x83\x01", 2, SIZE_MAX);
}

static void
app_cert(void *cookie, struct buf *out)
{
	struct fake_agent *f = cookie;

	if (f->app_cert != NULL)
		must(buf_append(
		    out, f->app_cert, strlen(f->app_cert), SIZE_MAX));
}

static enum err
emit(void *cookie, const char *name, struct bytes payload)
{
	struct fake_agent *f = cookie;

	if (f->fail != ERR_OK)
		return f->fail;
	f->n_events++;
	assert(strlen(name) < sizeof f->last_event);
	strcpy(f->last_event, name);
	f->last_payload_len = payload.len;
	return ERR_OK;
}

static enum err
sign_cert(void *cookie, struct buf chain[static 3],
    const struct kms_cert_request *rq, struct refusal *why)
{
	struct fake_agent *f = cookie;
	uint8_t msg[SIGNCERT_LEN];
	struct p256_pub pub;

	if (f->fail != ERR_OK)
		return refuse(why, REASON_CONTRACT_COMPOSE, "at block 7");
	f->last_cert = *rq;
	signcert_message(msg, f->identity.app_id, rq->spki);
	must(p256_spki_parse(&pub, rq->spki, sizeof rq->spki));
	f->proof_ok = p256_verify_der(&pub, rq->proof.p, rq->proof.len, msg,
			  sizeof msg) == ERR_OK;
	fake_ca_chain(chain, &f->ca, &pub);
	return ERR_OK;
}

static enum err
counter_get(void *cookie, struct kms_counter *out, const char *name,
    struct refusal *why)
{
	struct fake_agent *f = cookie;

	assert(name_ok(name, KMS_COUNTER_NAME_MAX + 1));
	if (f->fail != ERR_OK)
		return refuse(why, REASON_NO_LEADER, "for now");
	*out = f->counter;
	return ERR_OK;
}

static enum err
counter_increment(void *cookie, struct kms_counter *out, const char *name,
    uint64_t expected, const uint8_t operation[static KMS_OPERATION_LEN],
    struct refusal *why)
{
	struct fake_agent *f = cookie;
	enum err e = counter_get(cookie, out, name, why);

	if (e != ERR_OK)
		return e;
	memcpy(f->last_operation, operation, KMS_OPERATION_LEN);
	out->matched = expected == f->counter.value;
	if (out->matched)
		out->value = ++f->counter.value;
	return ERR_OK;
}

void
fake_agent_init(struct fake_agent *f, struct agent_backend *out)
{
	static const uint8_t seed[20] = { 7 };
	uint8_t app_id[20];
	struct p256_pub ca;

	memset(f, 0, sizeof *f);
	f->epoch = 3;
	f->release.epoch = 3;
	must(hex_fixed(app_id, 20, "ea549f02e1a25fabd1cb788380e033ec5461b2ff"));
	must(hex_fixed(f->release.k256.b, 32,
	    "e0e5d254fb944dcc370a2e5288b336a1"
	    "e809871545a73ee645368957fefa31f9"));
	must(hex_fixed(f->release.k256_signature.b, 65,
	    "2f431c7956869a4fe3e028c5f9518a935e2d01e81a3628f8b1d178fc2fac7b6d"
	    "2405ace433624e5568e23c4ed291dbaf60dac79b756837c0fe745154ebfdc0a6"
	    "01"));
	f->release.has_replica = true;
	memset(f->release.replica.b, 0x31, 32);
	memset(f->release.replica_signature.b, 0x32, 65);
	must(hex_fixed(f->ca.b, 32,
	    "d4f60214a61f0e651fbf97e4b2da696a"
	    "c7f898f1aa9f3d1f1282c49c6c7c0a72"));
	must(p256_pubkey(&ca, &f->ca));
	must(p256_spki(f->release.ca_spki, &ca));
	must(identity_make(&f->identity,
	    (struct bytes){ (const uint8_t *)COMPOSE, sizeof(COMPOSE) - 1 },
	    app_id, seed, NULL));
	*out = (struct agent_backend){
		.cookie = f,
		.identity = &f->identity,
		.chain_id = 31337,
		.kms_contract = { 0x5f },
		.keys = keys,
		.pin = pin,
		.measured = measured,
		.quote = quote,
		.attest = attest,
		.attest_v1 = attest_v1,
		.app_cert = app_cert,
		.emit = emit,
		.sign_cert = sign_cert,
		.counter_get = counter_get,
		.counter_increment = counter_increment,
	};
	memcpy(out->boot_ca_spki, f->release.ca_spki, P256_SPKI_LEN);
	memcpy(out->os_image_hash, f->release.os_image_hash, 32);
}

void
fake_agent_fini(struct fake_agent *f)
{
	identity_fini(&f->identity);
}
