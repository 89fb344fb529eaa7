/* Targets: session_feed on the answering side, frame_parse, noise_read,
 * proof_unpack, and every message handler behind them.
 *
 * The first byte chooses who sends the rest:
 *   even  a stranger: the bytes of the stream, as they are
 *   odd   a live peer: its Noise handshake is honest, the rest is a list of
 *         (type, two bytes of length, body) that it seals and sends; bit 1
 *         says whether the owner accepts its evidence; type 128 and above:
 *         what was sent last is sent once more
 * Never may a session be open, or a request arrive, or our own evidence be
 * asked for, before the owner has accepted the peer's.  A repeated frame is
 * refused.  Once there are keys, the handshake's secrets are gone. */
#include <string.h>

#include "common/base/rd.h"
#include "common/base/secret.h"
#include "fuzz/must.h"
#include "node/channel/proof.h"
#include "node/channel/session_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t contract[20] = { 1 };
static const uint8_t cookie_key[32] = { 2 };
/* Distinct after clamping. */
static const uint8_t keys[2][32] = { { 8 }, { 16 } };

struct run {
	struct session *server, *client;
	struct buf to_server, to_client;
	bool accept, accepted;
};

/* Deterministic: the same input takes the same path. */
static void
fixed(void *out, size_t len)
{
	memset(out, 5, len);
}

static struct session *
begin(enum channel_role role, struct buf *out)
{
	const uint8_t *s = keys[role == CHANNEL_KMS_SERVER];
	struct session *session = NULL;
	uint8_t s_pub[32];
	struct session_options o = { .role = role,
		.chain_id = 1,
		.kms_contract = contract,
		.s = s,
		.s_pub = s_pub,
		.cookie_key = cookie_key,
		.random = fixed,
		.rekey_frames = 8 };

	noise_public(s_pub, s);
	must(session_new(&session, out, &o, 0) == ERR_OK);
	return session;
}

static bool
all_zero(const uint8_t *p, size_t len)
{
	uint8_t any = 0;

	for (size_t i = 0; i < len; i++)
		any |= p[i];
	return any == 0;
}

/* Every byte is there to be read. */
static void
touch(struct bytes b)
{
	static volatile uint8_t sink;

	for (size_t i = 0; i < b.len; i++)
		sink = b.p[i];
	(void)sink;
}

static void
must_be_wiped(const struct session *s)
{
	must(all_zero(s->e, sizeof s->e));
	must(all_zero(s->noise.e, sizeof s->noise.e));
	must(all_zero(s->noise.ck, sizeof s->noise.ck));
	must(all_zero(s->noise.k, sizeof s->noise.k));
}

/* The owner's part at each event of the server. */
static enum err
own(struct run *r, struct session_event *ev)
{
	struct evidence mine = { .tee = TEE_TDX };
	struct refusal why = { 0 };
	enum err e = ERR_OK;

	while (e == ERR_OK && ev->kind != SESSION_IDLE) {
		must(ev->kind == SESSION_CHECK || r->accepted);
		must(ev->kind != SESSION_REPLY &&
		    ev->kind != SESSION_REQUEST_REFUSED);
		if (ev->kind == SESSION_CHECK) {
			must(ev->evidence->quote.len > 0);
			if (!r->accept)
				return ERR_DENIED;
			r->accepted = true;
			e = session_checked(r->server, ev);
		} else if (ev->kind == SESSION_PROVE) {
			must(buf_set(&mine.quote, ev->report_data, 64) ==
			    ERR_OK);
			e = session_proved(
			    r->server, ev, &r->to_client, &mine, 0, &why);
			evidence_fini(&mine);
			must(e == ERR_OK);
		} else {
			must(session_is_open(r->server));
			touch(ev->body);
			return ERR_OK;
		}
	}
	return e;
}

static enum err
feed(struct run *r, struct bytes in)
{
	struct session_event ev;
	struct refusal why = { 0 };
	enum err e = ERR_OK;

	while (e == ERR_OK && in.len > 0) {
		e = session_feed(r->server, &ev, &r->to_client, &in, 0, &why);
		must(e != ERR_DENIED || why.code != REASON_NONE);
		if (e == ERR_OK)
			e = own(r, &ev);
		must(r->accepted || !session_is_open(r->server));
		if (r->server->keyed)
			must_be_wiped(r->server);
	}
	if (e != ERR_OK)
		session_refuse(r->server, &r->to_client, REASON_FRAME, 0);
	r->to_client.len = 0;
	return e;
}

/* An honest handshake by the client, up to the evidence. */
static void
shake(struct run *r)
{
	struct session_event ev;
	struct refusal why;
	struct bytes in = buf_view(&r->to_server);

	must(session_feed(r->server, &ev, &r->to_client, &in, 0, &why) ==
	    ERR_OK);
	r->to_server.len = 0;
	in = buf_view(&r->to_client);
	must(session_feed(r->client, &ev, &r->to_server, &in, 0, &why) ==
	    ERR_OK);
	must(ev.kind == SESSION_PROVE);
	r->to_client.len = 0;
	must(feed(r, buf_view(&r->to_server)) == ERR_OK);
	r->to_server.len = 0;
}

static void
messages(struct run *r, struct rd *in)
{
	enum err e = ERR_OK;

	/* `to_server` keeps what was sent last. */
	while (e == ERR_OK && in->left > 0) {
		uint8_t type = rd_u8(in);
		size_t len = rd_be16(in);
		const uint8_t *body;

		if (len > in->left)
			len = in->left;
		if ((body = rd_bytes(in, len)) == NULL)
			return;
		if ((type & 128) != 0) {
			must(r->to_server.len == 0 ||
			    feed(r, buf_view(&r->to_server)) != ERR_OK);
			return;
		}
		r->to_server.len = 0;
		must(session_put_message(r->client, &r->to_server,
			 (enum message)type, (struct bytes){ body, len },
			 0) == ERR_OK);
		e = feed(r, buf_view(&r->to_server));
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool ready;
	struct rd in = { .p = data, .left = size };
	uint8_t mode = rd_u8(&in);
	struct run r = { .accept = (mode & 2) != 0 };

	if (!ready)
		must(secret_process_init() == ERR_OK);
	ready = true;
	r.server = begin(CHANNEL_KMS_SERVER, &r.to_client);
	session_challenge(r.server, (mode & 4) != 0 && (mode & 1) == 0);
	if ((mode & 1) == 0) {
		if (in.left > 0)
			(void)feed(&r, (struct bytes){ in.p, in.left });
		must(!r.accepted);
	} else {
		r.client = begin(CHANNEL_APP, &r.to_server);
		shake(&r);
		messages(&r, &in);
	}
	session_free(r.server);
	session_free(r.client);
	buf_fini(&r.to_server);
	buf_fini(&r.to_client);
	return 0;
}
