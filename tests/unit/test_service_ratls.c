/* What a KMS node puts into a certificate: attestation that is genuine, about
 * this very key, and the caller's own; and nothing else. */
#include <string.h>

#include <criterion/criterion.h>

#include "common/attest/attestation.h"
#include "common/attest/attestation_v1.h"
#include "common/base/log.h"
#include "common/base/secret.h"
#include "common/wire/ratls.h"
#include "tests/lib/kms_ask.h"
#include "tests/lib/kms_node.h"

static struct kms_world w;
static struct kms_node *node;
static struct kms_caller app, other;
static struct refusal why;

static void
setup(void)
{
	struct cluster_genesis g;

	cr_assert_eq(secret_process_init(), ERR_OK);
	log_set_level(LOG_ERROR);
	kms_world_init(&w);
	node = kms_node_start(&w, "a", true);
	g = kms_node_genesis(node);
	kms_world_open(&w, &g, incarnation_id(kms_node_incarnation(node)));
	kms_node_wait(node, PHASE_READY);
	kms_node_alone(&w, node);
	kms_caller_boot(&app, &w, CHANNEL_APP, 0x42);
	kms_caller_boot(&other, &w, CHANNEL_APP, 0x43);
}

static void
teardown(void)
{
	kms_caller_close(&app);
	kms_caller_close(&other);
	kms_node_stop(node);
	kms_world_fini(&w);
}

TestSuite(service_ratls, .init = setup, .fini = teardown, .timeout = 240);

/* How an attestation is made, and what is wrong with it. */
struct way {
	struct kms_caller *by;
	bool stripped;
	bool v1; /* MessagePack; not stripped then */
	bool other_key; /* the quote is about another key */
	bool relabelled; /* ... and the attestation says that it is not */
	size_t cut; /* bytes that the end lacks */
	size_t flip; /* a byte, counted from the end; 0: none */
	const char *event; /* a runtime event renamed */
};

static void
attest(void *cookie, struct buf *out, const uint8_t *spki)
{
	const struct way *x = cookie;
	struct evidence ev = { 0 };
	uint8_t rd[64], shown[64];

	ratls_report_data(shown, (struct bytes){ spki, P256_SPKI_LEN });
	memcpy(rd, shown, sizeof rd);
	if (x->other_key)
		rd[63] ^= 1;
	cr_assert_eq(tee_evidence(x->by->td, &ev, rd, &why), ERR_OK);
	cr_assert_eq(x->v1 ? attestation_v1_encode(
				 out, &ev, x->relabelled ? shown : rd, &why)
			   : attestation_encode(out, &ev,
				 x->relabelled ? shown : rd, x->stripped, &why),
	    ERR_OK, "%s", why.detail);
	evidence_fini(&ev);
	if (x->flip > 0)
		out->p[out->len - x->flip] ^= 1;
	out->len -= x->cut;
	if (x->event != NULL) {
		size_t n = strlen(x->event);
		size_t found = 0;

		for (size_t i = 0; i + n <= out->len; i++)
			if (memcmp(out->p + i, x->event, n) == 0) {
				out->p[i] ^= 1;
				found++;
			}
		cr_assert_gt(found, 0, "%s", x->event);
	}
}

static enum reason
refused(struct channel *ch, struct way x)
{
	KmsReply *r;

	why = (struct refusal){ 0 };
	r = kms_ask_cert_attested(ch, 0x42, attest, &x, &why);
	cr_assert_null(r);
	return why.code;
}

static void
given(struct channel *ch, struct way x)
{
	KmsReply *r = kms_ask_cert_attested(ch, 0x42, attest, &x, &why);

	cr_assert_not_null(r, "%s: %s", reason_label(why.code), why.detail);
	cr_assert_eq(r->cert_chain->n_certs, 3);
	msg_reply_free(r);
}

Test(service_ratls, what_is_certified)
{
	struct channel *ch = NULL;

	cr_assert_eq(channel_dial(&ch, &app.cx, app.role, kms_node_url(node),
			 KMS_WAIT_MS, &why),
	    ERR_OK, "%s", why.detail);
	/* About another key, whatever it says of itself. */
	cr_assert_eq(refused(ch,
			 (struct way){
			     .by = &app, .stripped = true, .other_key = true }),
	    REASON_REPORT_DATA);
	cr_assert_eq(refused(ch,
			 (struct way){ .by = &app,
			     .stripped = true,
			     .other_key = true,
			     .relabelled = true }),
	    REASON_REPORT_DATA);
	cr_assert_eq(refused(ch,
			 (struct way){ .by = &app,
			     .v1 = true,
			     .other_key = true,
			     .relabelled = true }),
	    REASON_REPORT_DATA);
	/* Another app's, though its quote is about this key. */
	cr_assert_eq(
	    refused(ch, (struct way){ .by = &other, .stripped = true }),
	    REASON_BOOT_INFO);
	cr_assert_eq(refused(ch, (struct way){ .by = &other, .v1 = true }),
	    REASON_BOOT_INFO);
	/* Not whole; with more; changed. */
	cr_assert_eq(
	    refused(ch, (struct way){ .by = &app, .v1 = true, .cut = 1 }),
	    REASON_QUOTE_MALFORMED);
	cr_assert_eq(
	    refused(ch, (struct way){ .by = &app, .stripped = true, .cut = 1 }),
	    REASON_QUOTE_MALFORMED);
	cr_assert_eq(
	    refused(
		ch, (struct way){ .by = &app, .stripped = true, .cut = 900 }),
	    REASON_QUOTE_MALFORMED);
	cr_assert_eq(
	    refused(ch,
		(struct way){
		    .by = &app, .stripped = true, .event = "instance-id" }),
	    REASON_EVENT_LOG);
	/* A vm_config that no longer parses, or measures something else. */
	cr_assert_eq(
	    refused(
		ch, (struct way){ .by = &app, .stripped = true, .flip = 1 }),
	    REASON_OS_IMAGE);
	given(ch, (struct way){ .by = &app, .stripped = true });
	given(ch, (struct way){ .by = &app });
	given(ch, (struct way){ .by = &app, .v1 = true });
	channel_close(ch);
}
