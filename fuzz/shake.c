/* shake: see shake.h. */
#include <string.h>

#include "common/base/secret.h"
#include "common/base/wr.h"
#include "common/crypto/hash.h"
#include "fuzz/must.h"
#include "fuzz/shake.h"

static const uint8_t contract[20] = { 1 };
static const uint8_t cookie_key[32] = { 2 };
/* Distinct after clamping. */
static const uint8_t keys[2][32] = { { 8 }, { 16 } };
static uint8_t public[2][32];
static uint64_t drawn;

void
shake_restart(void)
{
	static bool ready;

	if (!ready)
		must(secret_process_init() == ERR_OK);
	for (int i = 0; i < 2 && !ready; i++)
		noise_public(public[i], keys[i]);
	ready = true;
	drawn = 0;
}

void
shake_random(void *out, size_t len)
{
	uint8_t hash[32];

	must(len <= sizeof hash);
	drawn++;
	sha256(hash, &drawn, sizeof drawn);
	memcpy(out, hash, len);
}

struct session_options
shake_options(enum channel_role role, uint64_t chain)
{
	int side = role == CHANNEL_KMS_SERVER;

	return (struct session_options){ .role = role,
		.chain_id = chain,
		.kms_contract = contract,
		.s = keys[side],
		.s_pub = public[side],
		.cookie_key = cookie_key,
		.random = shake_random };
}

const uint8_t *
shake_static_public(int side)
{
	return public[side];
}

void
shake_deliver(struct session *s, struct session_event *ev, struct buf *out,
    struct buf *from)
{
	struct bytes in = buf_view(from);
	struct refusal why;

	must(session_feed(s, ev, out, &in, 0, &why) == ERR_OK && in.len == 0);
	from->len = 0;
}

static void
prove(struct session *s, struct session_event *ev, struct buf *out)
{
	struct evidence e = { .tee = TEE_TDX };
	struct refusal why;

	must(ev->kind == SESSION_PROVE);
	must(buf_set(&e.quote, ev->report_data, 64) == ERR_OK);
	must(session_proved(s, ev, out, &e, 0, &why) == ERR_OK);
	evidence_fini(&e);
}

static void
make(struct session *pair[static 2], enum channel_role dialler, bool open)
{
	struct session *d, *a;
	struct session_options o = shake_options(dialler, 1);
	struct buf to_a = { 0 }, to_d = { 0 };
	struct session_event ev;

	must(session_new(&d, &to_a, &o, 0) == ERR_OK);
	o = shake_options(CHANNEL_KMS_SERVER, 1);
	must(session_new(&a, &to_d, &o, 0) == ERR_OK);
	shake_deliver(a, &ev, &to_d, &to_a); /* HELLO */
	shake_deliver(d, &ev, &to_a, &to_d); /* ANSWER */
	must(ev.kind == SESSION_PROVE);
	if (open) {
		prove(d, &ev, &to_a);
		shake_deliver(a, &ev, &to_d, &to_a); /* FINISH, EVIDENCE */
		must(ev.kind == SESSION_CHECK);
		must(session_checked(a, &ev) == ERR_OK);
		prove(a, &ev, &to_d);
		must(ev.kind == SESSION_OPEN);
		shake_deliver(d, &ev, &to_a, &to_d);
		must(ev.kind == SESSION_CHECK);
		must(session_checked(d, &ev) == ERR_OK);
		must(ev.kind == SESSION_OPEN);
	} else {
		shake_deliver(a, &ev, &to_d, &to_a); /* FINISH */
		must(ev.kind == SESSION_IDLE);
	}
	buf_fini(&to_a);
	buf_fini(&to_d);
	/* What a copy would share. */
	session_consumed(d);
	session_consumed(a);
	buf_fini(&d->in);
	buf_fini(&a->in);
	pair[SHAKE_DIALLER] = d;
	pair[SHAKE_ANSWERER] = a;
}

void
shake_new(struct session *pair[static 2], enum channel_role dialler, bool open)
{
	static struct session *done[4][2];
	unsigned kind = (dialler == CHANNEL_APP ? 2u : 0u) + (open ? 1u : 0u);
	struct session **from = done[kind];

	if (from[0] == NULL) {
		/* With ephemeral keys of its own: traffic keys follow from
		 * the key pairs alone. */
		shake_restart();
		drawn = (kind + 1ull) << 32;
		make(from, dialler, open);
		shake_restart();
	}
	for (int i = 0; i < 2; i++) {
		must((pair[i] = secret_new(sizeof *pair[i])) != NULL);
		memcpy(pair[i], from[i], sizeof *pair[i]);
	}
}
