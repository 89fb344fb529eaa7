#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"

#include "node/agent/kms_link.h"
#include "node/agent/stop.h"
#include "node/channel/channel.h"

#define EVIDENCE_LIFE_S 3600 /* DESIGN 5 */

struct kms_link {
	struct tee *tee; /* borrows */
	struct verifier *verifier; /* borrows */
	struct agent_config config;
	struct channel_context cx;
};

static int64_t
now(void *cookie)
{
	(void)cookie;
	return clock_wall_s();
}

static enum err
prove(void *cookie, struct evidence *out, const uint8_t report_data[static 64],
    struct refusal *why)
{
	struct kms_link *l = cookie;

	return tee_evidence(l->tee, out, report_data, why);
}

static enum err
check(void *cookie, struct attested *out, const struct evidence *ev,
    const uint8_t report_data[static 64], enum channel_role peer_role,
    struct refusal *why)
{
	struct kms_link *l = cookie;
	struct attested peer;
	enum err e;

	if (peer_role != CHANNEL_KMS_SERVER)
		return refuse(
		    why, REASON_WRONG_ROLE, "role %d", (int)peer_role);
	e = verifier_check(
	    l->verifier, &peer, ev, report_data, BOOT_KMS, clock_wall_s(), why);
	if (e != ERR_OK)
		return e;
	if (!config_kms_pinned(&l->config, peer.boot.mr_aggregated))
		return refuse(why, REASON_CONTRACT_MR,
		    "KMS node's mr_aggregated is not in kms.mr_aggregated");
	*out = peer;
	return ERR_OK;
}

enum err
kms_link_new(struct kms_link **out, struct tee *tee, struct verifier *verifier,
    const struct agent_config *c)
{
	struct kms_link *l = calloc(1, sizeof *l);

	if (l == NULL)
		return ERR_NOMEM;
	l->tee = tee;
	l->verifier = verifier;
	l->config = *c;
	l->cx.chain_id = c->chain_id;
	memcpy(l->cx.kms_contract, c->kms_contract, 20);
	l->cx.evidence_life_s = EVIDENCE_LIFE_S;
	l->cx.cookie = l;
	l->cx.prove = prove;
	l->cx.check = check;
	l->cx.now = now;
	*out = l;
	return ERR_OK;
}

void
kms_link_free(struct kms_link *l)
{
	free(l);
}

/* ---- the transport ---- */

static enum err
link_open(void *cookie, void **conn, const char *url, unsigned timeout_ms,
    struct refusal *why)
{
	struct kms_link *l = cookie;
	struct channel *ch = NULL;
	enum err e =
	    channel_dial(&ch, &l->cx, CHANNEL_APP, url, timeout_ms, why);

	if (e == ERR_OK)
		*conn = ch;
	return e;
}

static enum err
link_call(void *cookie, void *conn, struct buf *reply, struct bytes request,
    unsigned timeout_ms, struct refusal *why)
{
	(void)cookie;
	return channel_call(conn, reply, request, timeout_ms, why);
}

static void
link_close(void *cookie, void *conn)
{
	(void)cookie;
	channel_close(conn);
}

static uint64_t
link_now_ms(void *cookie)
{
	(void)cookie;
	return clock_mono_ms();
}

static bool
link_pause(void *cookie, unsigned ms)
{
	(void)cookie;
	return !stop_wait(ms);
}

struct kms_transport
kms_link_transport(struct kms_link *l)
{
	return (struct kms_transport){
		.cookie = l,
		.open = link_open,
		.call = link_call,
		.close = link_close,
		.now_ms = link_now_ms,
		.pause = link_pause,
	};
}
