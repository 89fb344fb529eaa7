/* node/channel and node/store. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "common/base/secret.h"
#include "node/channel/noise.h"
#include "node/channel/session.h"
#include "node/store/seal.h"
#include "tests/ctime/ctime.h"

struct party {
	uint8_t s[32], s_pub[32], e[32];
	struct noise ns;
	struct noise_cipher tx, rx;
};

static void
party(struct party *p, enum noise_side side)
{
	ct_draw(p->s, sizeof p->s);
	ct_draw(p->e, sizeof p->e);
	noise_public(p->s_pub, p->s);
	ct_public(p->s_pub, sizeof p->s_pub);
	noise_init(&p->ns, side, p->s, p->s_pub, p->e, BYTES_STR("prologue"));
}

/* What the two will agree on is a secret. */
static void
agreed(const uint8_t *secret, const uint8_t *other)
{
	uint8_t pub[32], dh[32];

	noise_public(pub, other);
	ct_public(pub, sizeof pub);
	NEED(crypto_scalarmult(dh, secret, pub) == 0);
	ct_result(dh, sizeof dh);
	ct_gone(dh, sizeof dh);
	secret_wipe_stack();
}

/* One message; it is on the wire then, for everybody to see. */
static void
pass(struct party *from, struct party *to)
{
	struct buf b = { 0 };

	NEED(noise_write(&from->ns, &b, (struct bytes){ NULL, 0 }) == ERR_OK);
	ct_public(b.p, b.len);
	NEED(noise_read(&to->ns, NULL, buf_view(&b)) == ERR_OK);
	buf_fini(&b);
}

static void
shaken(struct party *a, struct party *b)
{
	party(a, NOISE_INITIATOR);
	party(b, NOISE_RESPONDER);
	agreed(a->e, b->e);
	agreed(a->e, b->s);
	agreed(a->s, b->e);
	ct_gone(a->e, sizeof a->e);
	ct_gone(b->e, sizeof b->e);
	pass(a, b);
	pass(b, a);
	pass(a, b);
	NEED(noise_done(&a->ns) && noise_done(&b->ns));
	noise_split(&a->ns, &a->tx, &a->rx);
	noise_split(&b->ns, &b->tx, &b->rx);
	ct_result(a->tx.k, 32);
	ct_result(a->rx.k, 32);
}

static void
over(struct party *p)
{
	noise_fini(&p->ns);
	ct_gone(p, sizeof *p);
}

/* Short and long: the cipher has a code for each. */
static const size_t text_len[] = { 64, 300, 600, 3000 };
#define TEXT_MAX 3000

static void
noise(void)
{
	struct party *a = secret_new(sizeof *a), *b = secret_new(sizeof *b);
	uint8_t *text = secret_new(TEXT_MAX + NOISE_TAG_LEN);
	size_t n = 0;

	shaken(a, b);
	for (size_t i = 0; i < sizeof text_len / sizeof text_len[0]; i++) {
		n = text_len[i];
		ct_draw(text, 32);
		NEED(noise_seal(&a->tx, text, n, BYTES_STR("head")) == ERR_OK);
		ct_public(text, n + NOISE_TAG_LEN);
		NEED(noise_open(&b->rx, text, n + NOISE_TAG_LEN,
			 BYTES_STR("head")) == ERR_OK);
		ct_result(text, 32);
	}
	noise_rekey(&a->tx);
	noise_rekey(&b->rx);
	ct_result(a->tx.k, 32);
	NEED(noise_seal(&a->tx, text, n, BYTES_STR("head")) == ERR_OK);
	ct_public(text, n + NOISE_TAG_LEN);
	text[0] ^= 1;
	NEED(noise_open(&b->rx, text, n + NOISE_TAG_LEN, BYTES_STR("head")) ==
	    ERR_AUTH);
	over(a);
	over(b);
	secret_free(text);
	secret_free(a);
	secret_free(b);
}

/* ---- a whole session, and what it carries ---- */

struct end {
	struct session *s;
	struct buf out;
	uint8_t secret[32], pub[32];
};

static void
end(struct end *x, enum channel_role role, const uint8_t *cookie_key)
{
	static const uint8_t contract[20] = { 1 };
	struct session_options o = { .role = role,
		.chain_id = 31337,
		.kms_contract = contract,
		.s = x->secret,
		.s_pub = x->pub,
		.cookie_key = cookie_key };

	ct_draw(x->secret, sizeof x->secret);
	noise_public(x->pub, x->secret);
	ct_public(x->pub, sizeof x->pub);
	ct_random(1);
	NEED(session_new(&x->s, &x->out, &o, 1) == ERR_OK);
	ct_random(0);
}

/* Feeds `to` what `from` has written, up to the next event. */
static void
feed(struct end *to, struct end *from, struct session_event *ev)
{
	struct bytes in;
	struct refusal why;

	ct_public(from->out.p, from->out.len);
	in = buf_view(&from->out);
	NEED(session_feed(to->s, ev, &to->out, &in, 1, &why) == ERR_OK);
	NEED(in.len == 0);
	from->out.len = 0;
}

static void
prove(struct end *x, struct end *other)
{
	static uint8_t quote[700];
	const struct evidence e = { .tee = TEE_TDX,
		.quote = { quote, sizeof quote, sizeof quote } };
	struct session_event ev;
	struct refusal why;

	NEED(session_proved(x->s, &ev, &x->out, &e, 1, &why) == ERR_OK);
	feed(other, x, &ev);
	/* Its evidence has come through the cipher, and is none of ours. */
	NEED(ev.kind == SESSION_CHECK);
	NEED(session_checked(other->s, &ev) == ERR_OK);
}

static void
session(void)
{
	struct end *app = secret_new(sizeof *app),
		   *kms = secret_new(sizeof *kms);
	uint8_t cookie_key[32], key[32];
	struct session_event ev;

	ct_draw(cookie_key, sizeof cookie_key);
	end(app, CHANNEL_APP, cookie_key);
	end(kms, CHANNEL_KMS_SERVER, cookie_key);
	feed(kms, app, &ev);
	feed(app, kms, &ev);
	NEED(ev.kind == SESSION_PROVE);
	feed(kms, app, &ev);
	prove(app, kms);
	prove(kms, app);
	NEED(session_is_open(app->s) && session_is_open(kms->s));
	NEED(session_request(app->s, &app->out, BYTES_STR("keys?"), 1) ==
	    ERR_OK);
	feed(kms, app, &ev);
	NEED(ev.kind == SESSION_REQUEST);
	session_consumed(kms->s);
	ct_draw(key, sizeof key);
	NEED(session_reply(kms->s, &kms->out, BYTES_OF(key), 1) == ERR_OK);
	ct_gone(key, sizeof key);
	feed(app, kms, &ev);
	NEED(ev.kind == SESSION_REPLY && ev.body.len == sizeof key);
	session_consumed(app->s);
	session_free(app->s);
	session_free(kms->s);
	buf_fini(&app->out);
	buf_fini(&kms->out);
	ct_gone(cookie_key, sizeof cookie_key);
	secret_free(app);
	secret_free(kms);
}

static void
seal(void)
{
	static const uint8_t cluster[32] = { 4 };
	const struct bytes full = BYTES_STR("\002name"),
			   clear = BYTES_STR("head");
	static uint8_t box[TEXT_MAX + 100];
	uint8_t *value = secret_new(TEXT_MAX), *copy = secret_new(32);
	uint8_t key[32], inner[32];
	struct buf out = { 0 };
	struct bytes c;
	struct seal s;
	size_t n = 0;

	ct_draw(key, sizeof key);
	NEED(seal_init(&s, key, cluster, "slot") == ERR_OK);
	memcpy(copy, key, 32);
	ct_gone(key, sizeof key);
	ct_draw(value, 64);
	for (size_t i = 0; i < sizeof text_len / sizeof text_len[0]; i++) {
		n = seal_size(clear.len, text_len[i]);
		seal_put(
		    &s, box, full, clear, (struct bytes){ value, text_len[i] });
		ct_public(box, n);
		/* What XChaCha20 makes of its key and the nonce. */
		(void)crypto_core_hchacha20(
		    inner, box + 1 + clear.len, copy, NULL);
		ct_result(inner, sizeof inner);
		ct_gone(inner, sizeof inner);
		secret_wipe_stack();
		seal_use(&s);
		NEED(seal_open(&s, &out, &c, full, (struct bytes){ box, n }) ==
		    ERR_OK);
		seal_done(&s);
		ct_result(out.p, 32);
	}
	box[n - 1] ^= 1;
	NEED(seal_open(&s, &out, &c, full, (struct bytes){ box, n }) ==
	    ERR_CORRUPT);
	buf_wipe(&out);
	seal_fini(&s);
	secret_free(value);
	secret_free(copy);
}

static const struct ct_case item[] = {
	{ "noise_public noise_init noise_write noise_read noise_split "
	  "noise_seal noise_open noise_rekey noise_fini noise_done",
	    noise, 0 },
	{ "session_new session_feed session_proved session_checked "
	  "session_request session_reply session_consumed session_free",
	    session, 0 },
	{ "seal_init seal_put seal_use seal_open seal_done seal_fini "
	  "seal_size",
	    seal, 0 },
};
const struct ct_cases ct_node = { item, sizeof item / sizeof item[0] };
