#include <string.h>

#include "common/attest/attestation.h"
#include "common/attest/attestation_v1.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/secret.h"
#include "common/crypto/hash.h"

#include "node/agent/cacert.h"
#include "node/agent/fixture_cert.h"
#include "node/agent/fixture_int.h"

#define REPORT_DATA_AT 568 /* in a version 4 TDX quote: dstack-compat.md 3.1 */

/* ---- certificates ---- */

/* The stored quote, with other report data. */
static enum err
quoted(const struct fixture *f, struct evidence *out,
    const uint8_t report_data[static 64])
{
	const struct evidence *in = &f->ev;
	enum err e;

	out->tee = in->tee;
	if ((e = buf_set(&out->quote, in->quote.p, in->quote.len)) != ERR_OK ||
	    (e = buf_set(&out->event_log, in->event_log.p,
		 in->event_log.len)) != ERR_OK ||
	    (e = buf_set(&out->vm_config, in->vm_config.p,
		 in->vm_config.len)) != ERR_OK)
		return e;
	memcpy(out->quote.p + REPORT_DATA_AT, report_data, 64);
	return ERR_OK;
}

static enum err
attested(const struct fixture *f, struct buf *out,
    const uint8_t report_data[static 64], bool stripped, struct refusal *why)
{
	struct evidence ev = { .tee = 0 };
	enum err e = quoted(f, &ev, report_data);

	if (e == ERR_OK)
		e = attestation_encode(out, &ev, report_data, stripped, why);
	evidence_fini(&ev);
	return e;
}

static enum err
issue(struct fixture *f, struct buf *leaf, const struct kms_cert_request *rq)
{
	const struct fixture_ca ca = { &f->keys.ca, buf_view(&f->keys.ca_der) };

	return fixture_cert_issue(
	    leaf, &ca, rq, f->boot.app_id, &f->boot, clock_wall_s());
}

/* Info.app_cert: a client certificate with evidence, of a key that nobody
 * has. */
static enum err
make_app_cert(struct fixture *f, struct refusal *why)
{
	struct kms_cert_request rq = { .subject = "demo-cert",
		.usage_client_auth = true };
	struct buf leaf = { 0 }, att = { 0 };
	struct p256_secret key;
	struct p256_pub pub;
	struct bytes part[] = { BYTES_STR("ratls-cert:"), BYTES_OF(rq.spki) };
	uint8_t rd[64];
	enum err e;

	p256_generate(&key);
	if ((e = p256_pubkey(&pub, &key)) != ERR_OK ||
	    (e = p256_spki(rq.spki, &pub)) != ERR_OK)
		goto done;
	sha512_v(rd, part, 2);
	if ((e = attested(f, &att, rd, true, why)) != ERR_OK)
		goto done;
	rq.attestation = buf_view(&att);
	if ((e = issue(f, &leaf, &rq)) == ERR_OK &&
	    (e = cacert_pem(&f->app_cert, "CERTIFICATE", buf_view(&leaf))) ==
		ERR_OK)
		e = cacert_pem(
		    &f->app_cert, "CERTIFICATE", buf_view(&f->keys.ca_der));
done:
	p256_secret_wipe(&key);
	buf_fini(&leaf);
	buf_fini(&att);
	return e;
}

/* ---- the whole ---- */

enum err
fixture_make(
    struct fixture **out, const struct fixture_files *in, struct refusal *why)
{
	struct fixture *f = secret_new(sizeof *f);
	enum err e;

	if (f == NULL)
		return ERR_NOMEM;
	if ((e = fixture_read(f, in, why)) == ERR_OK)
		e = make_app_cert(f, why);
	if (e != ERR_OK) {
		fixture_free(f);
		return e;
	}
	*out = f;
	return ERR_OK;
}

void
fixture_free(struct fixture *f)
{
	if (f == NULL)
		return;
	fixture_keys_wipe(&f->keys);
	identity_fini(&f->identity);
	evidence_fini(&f->ev);
	buf_fini(&f->vm_config);
	buf_fini(&f->app_cert);
	secret_free(f);
}

void
fixture_root(uint8_t address[static 20], const struct fixture *f)
{
	/* It was recovered from a signature, so it is a point. */
	if (k256_address(address, &f->root) != ERR_OK)
		memset(address, 0, 20);
}

/* ---- the backend ---- */

static enum err
back_keys(void *cookie, struct app_release *out, const uint64_t *epoch,
    struct refusal *why)
{
	const struct fixture *f = cookie;

	if (epoch != NULL && *epoch != 0)
		return refuse(
		    why, REASON_EPOCH_UNKNOWN, "a fixture has epoch 0 alone");
	*out = (struct app_release){ .k256 = f->keys.k256,
		.k256_signature = f->keys.k256_signature,
		.root = f->root,
		.genesis = f->root };
	memcpy(out->ca_spki, f->ca_spki, sizeof out->ca_spki);
	memcpy(out->os_image_hash, f->boot.os_image_hash, 32);
	return ERR_OK;
}

static void
back_pin(void *cookie, struct heldkeys_pin *out)
{
	(void)cookie;
	*out = (struct heldkeys_pin){ .held = true };
}

static enum err
back_measured(void *cookie, struct agent_measured *out, struct refusal *why)
{
	const struct fixture *f = cookie;
	struct agent_measured m = { .event_log = { 0 } };
	enum err e;

	(void)why;
	memcpy(m.mrtd, f->td.mrtd, sizeof m.mrtd);
	memcpy(m.rtmr, f->td.rtmr, sizeof m.rtmr);
	memcpy(m.mr_aggregated, f->boot.mr_aggregated, 32);
	if ((e = buf_set(&m.event_log, f->ev.event_log.p,
		 f->ev.event_log.len)) != ERR_OK ||
	    (e = buf_set(&m.vm_config, f->vm_config.p, f->vm_config.len)) !=
		ERR_OK) {
		buf_fini(&m.event_log);
		buf_fini(&m.vm_config);
		return e;
	}
	*out = m;
	return ERR_OK;
}

static enum err
back_quote(void *cookie, struct evidence *out,
    const uint8_t report_data[static 64], struct refusal *why)
{
	const struct fixture *f = cookie;
	enum err e = quoted(f, out, report_data);

	(void)why;
	/* What the VM was told, not what an attestation of it carries. */
	if (e == ERR_OK)
		e = buf_set(&out->vm_config, f->vm_config.p, f->vm_config.len);
	if (e != ERR_OK)
		evidence_fini(out);
	return e;
}

static enum err
back_attest(void *cookie, struct buf *out, const uint8_t report_data[static 64],
    bool stripped, struct refusal *why)
{
	return attested(cookie, out, report_data, stripped, why);
}

static enum err
back_attest_v1(void *cookie, struct buf *out,
    const uint8_t report_data[static 64], struct refusal *why)
{
	struct evidence ev = { .tee = 0 };
	enum err e = quoted(cookie, &ev, report_data);

	if (e == ERR_OK)
		e = attestation_v1_encode(out, &ev, report_data, why);
	evidence_fini(&ev);
	return e;
}

static void
back_app_cert(void *cookie, struct buf *out)
{
	const struct fixture *f = cookie;

	(void)!buf_set(out, f->app_cert.p, f->app_cert.len);
}

/* "EmitEvent no-op", in the older kind of folder. */
static enum err
back_emit(void *cookie, const char *name, struct bytes payload)
{
	(void)cookie;
	log_event(LOG_INFO, "event_not_measured", log_str("name", name),
	    log_u64("bytes", payload.len));
	return ERR_OK;
}

static enum err
back_sign_cert(void *cookie, struct buf chain[static 3],
    const struct kms_cert_request *rq, struct refusal *why)
{
	struct fixture *f = cookie;
	enum err e = issue(f, &chain[0], rq);

	if (e == ERR_MALFORMED)
		return refuse(why, REASON_REQUEST,
		    "a name or the validity is not acceptable");
	if (e != ERR_OK)
		return e;
	return buf_set(&chain[1], f->keys.ca_der.p, f->keys.ca_der.len);
}

static enum err
no_counters(struct refusal *why)
{
	return refuse(why, REASON_NOT_READY,
	    "counters are kept by a KMS cluster, and a fixture has none");
}

static enum err
back_counter_get(void *cookie, struct kms_counter *out, const char *name,
    struct refusal *why)
{
	(void)cookie;
	(void)out;
	(void)name;
	return no_counters(why);
}

static enum err
back_counter_increment(void *cookie, struct kms_counter *out, const char *name,
    uint64_t expected, const uint8_t operation[static KMS_OPERATION_LEN],
    struct refusal *why)
{
	(void)cookie;
	(void)out;
	(void)name;
	(void)expected;
	(void)operation;
	return no_counters(why);
}

struct agent_backend
fixture_backend(struct fixture *f)
{
	struct agent_backend b = {
		.cookie = f,
		.simulated = true,
		.quote_attestation = f->has_attestation,
		.no_events = f->has_attestation,
		.identity = &f->identity,
		.keys = back_keys,
		.pin = back_pin,
		.measured = back_measured,
		.quote = back_quote,
		.attest = back_attest,
		.attest_v1 = back_attest_v1,
		.app_cert = back_app_cert,
		.emit = back_emit,
		.sign_cert = back_sign_cert,
		.counter_get = back_counter_get,
		.counter_increment = back_counter_increment,
	};

	memcpy(b.boot_ca_spki, f->provider_spki, sizeof b.boot_ca_spki);
	memcpy(b.os_image_hash, f->boot.os_image_hash, 32);
	return b;
}
