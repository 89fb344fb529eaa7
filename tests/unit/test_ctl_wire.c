/* wire dump: captures and streams that are told right, and everything that is
 * no capture and no stream. */
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/hex.h"
#include "common/base/secret.h"
#include "common/base/wr.h"
#include "common/wire/msg.h"
#include "kms/ctl/pcap.h"
#include "kms/ctl/protodump.h"
#include "kms/ctl/wiredump.h"
#include "node/channel/session_int.h"

#define CLIENT 0
#define SERVER 1

static const uint8_t contract[20] = { 7 };
static const uint8_t cookie_key[32] = { 9 };

/* An honest session; what each side has said, from its beginning. */
struct talk {
	struct session *session[2];
	struct buf said[2];
	size_t heard[2]; /* by each side, of what the other said */
	uint8_t keys[2][32];
};

static void
setup(void)
{
	cr_assert_eq(secret_process_init(), ERR_OK);
}

TestSuite(ctl_wire, .init = setup);

static void
begin(struct talk *t)
{
	static const uint8_t s[2][32] = { { 8 }, { 16 } };

	*t = (struct talk){ 0 };
	for (int i = 0; i < 2; i++) {
		uint8_t pub[32];
		struct session_options o = {
			.role = i == SERVER ? CHANNEL_KMS_SERVER : CHANNEL_APP,
			.chain_id = 1,
			.kms_contract = contract,
			.s = s[i],
			.s_pub = pub,
			.cookie_key = cookie_key,
			.rekey_frames = 4
		};

		noise_public(pub, s[i]);
		cr_assert_eq(
		    session_new(&t->session[i], &t->said[i], &o, 0), ERR_OK);
	}
}

/* Lets `who` hear what it has not heard, up to the next event. */
static struct session_event
hear(struct talk *t, int who)
{
	struct session_event ev = { .kind = SESSION_IDLE };
	struct refusal why = { 0 };
	struct bytes in = { t->said[!who].p + t->heard[who],
		t->said[!who].len - t->heard[who] };

	cr_assert_eq(
	    session_feed(t->session[who], &ev, &t->said[who], &in, 0, &why),
	    ERR_OK, "%s", why.detail);
	t->heard[who] = t->said[!who].len - in.len;
	return ev;
}

static void
prove(struct talk *t, int who, struct session_event *ev)
{
	struct evidence e = { .tee = TEE_TDX };
	struct refusal why = { 0 };

	cr_assert_eq(buf_set(&e.quote, "a quote", 7), ERR_OK);
	cr_assert_eq(
	    session_proved(t->session[who], ev, &t->said[who], &e, 0, &why),
	    ERR_OK);
	evidence_fini(&e);
}

static void
open_both(struct talk *t)
{
	struct session_event ev;

	session_challenge(t->session[SERVER], true);
	ev = hear(t, SERVER); /* HELLO: RETRY */
	ev = hear(t, CLIENT);
	ev = hear(t, SERVER); /* HELLO: ANSWER */
	ev = hear(t, CLIENT);
	cr_assert_eq(ev.kind, SESSION_PROVE);
	memcpy(t->keys[CLIENT], t->session[CLIENT]->tx.c.k, 32);
	memcpy(t->keys[SERVER], t->session[CLIENT]->rx.c.k, 32);
	prove(t, CLIENT, &ev);
	ev = hear(t, SERVER);
	cr_assert_eq(ev.kind, SESSION_CHECK);
	cr_assert_eq(session_checked(t->session[SERVER], &ev), ERR_OK);
	prove(t, SERVER, &ev);
	ev = hear(t, CLIENT);
	cr_assert_eq(session_checked(t->session[CLIENT], &ev), ERR_OK);
}

static void
ask(struct talk *t)
{
	KmsRequest m = DEVPROOF__KMS__V1__REQUEST__INIT;
	Devproof__Kms__V1__CounterGet q;
	char name[] = "visits";
	struct buf b = { 0 };

	devproof__kms__v1__counter_get__init(&q);
	q.name = name;
	m.id = 5;
	m.body_case = DEVPROOF__KMS__V1__REQUEST__BODY_COUNTER_GET;
	m.counter_get = &q;
	cr_assert_eq(msg_request_pack(&b, &m), ERR_OK);
	cr_assert_eq(session_request(
			 t->session[CLIENT], &t->said[CLIENT], buf_view(&b), 0),
	    ERR_OK);
	cr_assert_eq(hear(t, SERVER).kind, SESSION_REQUEST);
	buf_fini(&b);
}

static void
answer(struct talk *t)
{
	KmsReply m = DEVPROOF__KMS__V1__REPLY__INIT;
	Devproof__Kms__V1__AppKeys k;
	uint8_t secret[32], app[20], sig[65] = { 3 };
	struct buf b = { 0 };

	devproof__kms__v1__app_keys__init(&k);
	memset(secret, 0x5e, sizeof secret);
	memset(app, 0xab, sizeof app);
	k.app_id = msg_bytes(app, sizeof app);
	k.k256_key = k.disk_crypt_key = k.env_crypt_key = k.replica_key =
	    msg_bytes(secret, sizeof secret);
	k.k256_signature = msg_bytes(sig, sizeof sig);
	m.id = 5;
	m.body_case = DEVPROOF__KMS__V1__REPLY__BODY_APP_KEYS;
	m.app_keys = &k;
	cr_assert_eq(msg_reply_pack(&b, &m), ERR_OK);
	cr_assert_eq(session_reply(
			 t->session[SERVER], &t->said[SERVER], buf_view(&b), 0),
	    ERR_OK);
	cr_assert_eq(hear(t, CLIENT).kind, SESSION_REPLY);
	buf_fini(&b);
}

static void
end(struct talk *t)
{
	for (int i = 0; i < 2; i++) {
		session_free(t->session[i]);
		buf_fini(&t->said[i]);
	}
}

static struct wiredump_keys
keys_of(const struct talk *t)
{
	struct wiredump_keys k = { 0 };
	struct buf text = { 0 };
	char hex[65];

	cr_assert_eq(buf_printf(&text, "root_k256 zz\n"), ERR_OK);
	for (int i = 0; i < 2; i++)
		cr_assert_eq(buf_printf(&text, "channel_key %s\n",
				 hex_encode(hex, t->keys[i], 32)),
		    ERR_OK);
	cr_assert_eq(wiredump_keys_read(&k, buf_view(&text)), ERR_OK);
	cr_assert_eq(k.n, 2);
	buf_fini(&text);
	return k;
}

static const char *
what(const json_t *rows, size_t i)
{
	return json_string_value(
	    json_object_get(json_array_get(rows, i), "what"));
}

static bool
bad(const json_t *rows, size_t i)
{
	return json_is_true(json_object_get(json_array_get(rows, i), "bad"));
}

static size_t
find(const json_t *rows, const char *text)
{
	for (size_t i = 0; i < json_array_size(rows); i++)
		if (strstr(what(rows, i), text) != NULL)
			return i;
	cr_assert(false, "no row has: %s", text);
	return 0;
}

static bool
anywhere(const json_t *rows, const char *text)
{
	for (size_t i = 0; i < json_array_size(rows); i++)
		if (strstr(what(rows, i), text) != NULL)
			return true;
	return false;
}

/* ---- streams ---- */

Test(ctl_wire, without_keys_nothing_is_opened)
{
	struct talk t;
	json_t *rows = json_array();

	begin(&t);
	open_both(&t);
	ask(&t);
	cr_assert_eq(
	    wiredump_stream(rows, buf_view(&t.said[CLIENT]), NULL), ERR_OK);
	cr_assert_eq(json_array_size(rows), 5);
	cr_assert(strstr(what(rows, 0), "an app without cookie e ") != NULL);
	cr_assert(strstr(what(rows, 1), "an app cookie ") != NULL);
	cr_assert_str_eq(what(rows, 2), "static key, sealed");
	cr_assert(
	    strstr(what(rows, 3), "counter 0 sealed: a message of ") != NULL);
	for (size_t i = 0; i < 5; i++)
		cr_assert(!bad(rows, i));
	json_decref(rows);
	end(&t);
}

Test(ctl_wire, with_keys_secrets_stay_secret)
{
	struct talk t;
	struct wiredump_keys k;
	json_t *rows[2] = { json_array(), json_array() };
	size_t at;

	begin(&t);
	open_both(&t);
	/* Twelve each: several rekeys of four frames. */
	for (int i = 0; i < 12; i++) {
		ask(&t);
		answer(&t);
	}
	k = keys_of(&t);
	for (int i = 0; i < 2; i++)
		cr_assert_eq(
		    wiredump_stream(rows[i], buf_view(&t.said[i]), &k), ERR_OK);
	find(rows[CLIENT], "EVIDENCE Evidence { tee: 1 quote: 61");
	find(rows[CLIENT],
	    "REQUEST Request { id: 5 counter_get: CounterGet { "
	    "name: \"visits\" } }");
	find(rows[CLIENT], "REKEY");
	at = find(rows[SERVER], "REPLY Reply { id: 5 app_keys: AppKeys {");
	cr_assert(strstr(what(rows[SERVER], at), "k256_key: (32 bytes)"));
	cr_assert(strstr(what(rows[SERVER], at), "app_id: abababab"));
	cr_assert(!anywhere(rows[SERVER], "5e5e5e"));
	for (int i = 0; i < 2; i++) {
		for (size_t j = 0; j < json_array_size(rows[i]); j++) {
			cr_assert(!bad(rows[i], j), "%s", what(rows[i], j));
			cr_assert(strstr(what(rows[i], j), "sealed: ") == NULL);
		}
		json_decref(rows[i]);
	}
	wiredump_keys_fini(&k);
	end(&t);
}

/* An altered frame is told, and those behind it can be read all the same. */
Test(ctl_wire, an_altered_and_a_repeated_frame)
{
	struct talk t;
	struct wiredump_keys k;
	struct buf b = { 0 };
	json_t *rows = json_array();
	size_t evidence, begun;

	begin(&t);
	open_both(&t);
	begun = t.said[CLIENT].len;
	ask(&t);
	evidence = 2 * (8 + HELLO_LEN) + 8 + NOISE_MSG3_LEN;
	k = keys_of(&t);
	cr_assert_eq(buf_set(&b, t.said[CLIENT].p, t.said[CLIENT].len), ERR_OK);
	/* The request once more, altered. */
	cr_assert_eq(buf_append(&b, t.said[CLIENT].p + begun,
			 t.said[CLIENT].len - begun, SIZE_MAX),
	    ERR_OK);
	b.p[b.len - 1] ^= 1;
	cr_assert_eq(wiredump_stream(rows, buf_view(&b), &k), ERR_OK);
	cr_assert_eq(json_array_size(rows), 6);
	cr_assert(bad(rows, 5));
	cr_assert(strstr(what(rows, 5), "counter 1 !not 2") != NULL);
	cr_assert(strstr(what(rows, 5), "!does not authenticate") != NULL);
	json_decref(rows);
	/* The first sealed frame altered: no key fits it, nor is one looked
	 * for again. */
	rows = json_array();
	b.p[evidence + 8 + COUNTER_LEN] ^= 1;
	cr_assert_eq(wiredump_stream(rows, buf_view(&b), &k), ERR_OK);
	cr_assert(!anywhere(rows, "REQUEST"));
	json_decref(rows);
	buf_fini(&b);
	wiredump_keys_fini(&k);
	end(&t);
}

static void
refused(const char *hex, size_t rows_want, const char *text)
{
	uint8_t in[256];
	size_t len;
	json_t *rows = json_array();

	cr_assert_eq(hex_decode(in, sizeof in, &len, hex, strlen(hex)), ERR_OK);
	cr_assert_eq(wiredump_stream(rows, (struct bytes){ in, len }, NULL),
	    ERR_MALFORMED, "%s", hex);
	cr_assert_eq(json_array_size(rows), rows_want, "%s", hex);
	cr_assert(bad(rows, rows_want - 1));
	cr_assert(strstr(what(rows, rows_want - 1), text) != NULL, "%s: %s",
	    hex, what(rows, rows_want - 1));
	json_decref(rows);
}

Test(ctl_wire, what_is_no_stream)
{
	json_t *rows = json_array();

	cr_assert_eq(
	    wiredump_stream(rows, (struct bytes){ NULL, 0 }, NULL), ERR_OK);
	cr_assert_eq(json_array_size(rows), 0);
	json_decref(rows);
	refused("44", 1, "cut short: 1 bytes of a head");
	refused("444b0105000000", 1, "cut short: 7 bytes of a head");
	refused("454b010500000000", 1, "no frame: 454b010500000000");
	refused("444b020500000000", 1, "no frame: ");
	refused("444b010000000000", 1, "no frame: ");
	refused("444b010600000000", 1, "no frame: ");
	refused("444b010100000041", 1, "cut short: 0 bytes are there");
	refused("444b0105ffffffff00", 1, "too large: 1048601");
	refused("444b010400000201", 1, "too large: 512");
	/* Wrong lengths, and on to what follows. */
	refused("444b010100000000444b010200000001ff00", 3, "cut short: 1");
	refused("444b010500000018"
		"000000000000000000000000000000000000000000000000"
		"00",
	    2, "cut short");
}

/* Every beginning, and every byte altered: something is told, nothing else
 * happens. */
Test(ctl_wire, damaged_streams)
{
	struct talk t;
	struct wiredump_keys k;

	begin(&t);
	open_both(&t);
	ask(&t);
	answer(&t);
	k = keys_of(&t);
	for (int i = 0; i < 2; i++)
		for (size_t at = 0; at < t.said[i].len; at++) {
			json_t *rows = json_array();

			cr_assert_neq(
			    wiredump_stream(
				rows, (struct bytes){ t.said[i].p, at }, &k),
			    ERR_NOMEM);
			t.said[i].p[at] ^= 0x81;
			cr_assert_neq(
			    wiredump_stream(rows, buf_view(&t.said[i]), &k),
			    ERR_NOMEM);
			t.said[i].p[at] ^= 0x81;
			cr_assert(!anywhere(rows, "5e5e5e"));
			json_decref(rows);
		}
	wiredump_keys_fini(&k);
	end(&t);
}

Test(ctl_wire, keys_that_are_none)
{
	static const char *const text[] = { "channel_key ", "channel_key 00\n",
		"channel_key zz\n",
		"channel_key "
		"0000000000000000000000000000000000000000000000000000000000000"
		"00\n",
		"channel_key "
		"0000000000000000000000000000000000000000000000000000000000000"
		"00000\n" };
	struct wiredump_keys k = { 0 };
	struct buf many = { 0 };

	for (size_t i = 0; i < sizeof text / sizeof text[0]; i++)
		cr_assert_neq(wiredump_keys_read(&k,
				  (struct bytes){ (const uint8_t *)text[i],
				      strlen(text[i]) }),
		    ERR_OK, "%s", text[i]);
	for (unsigned i = 0; i <= WIREDUMP_KEYS_MAX; i++)
		cr_assert_eq(
		    buf_printf(&many, "channel_key %064d\n", 0), ERR_OK);
	cr_assert_eq(wiredump_keys_read(&k, buf_view(&many)), ERR_LIMIT);
	cr_assert_null(k.key);
	/* None at all is not wrong. */
	cr_assert_eq(wiredump_keys_read(&k, (struct bytes){ NULL, 0 }), ERR_OK);
	cr_assert_eq(k.n, 0);
	wiredump_keys_fini(&k);
	buf_fini(&many);
}

/* ---- messages ---- */

static char *
dumped(const char *hex, enum err want)
{
	uint8_t in[128];
	size_t len;
	struct buf b = { 0 };

	cr_assert_eq(hex_decode(in, sizeof in, &len, hex, strlen(hex)), ERR_OK);
	cr_assert_eq(protodump(&b, &devproof__kms__v1__request__descriptor,
			 (struct bytes){ in, len }),
	    want, "%s: %s", hex, (char *)b.p);
	return (char *)b.p;
}

Test(ctl_wire, messages_that_are_none)
{
	static const struct {
		const char *hex, *text;
	} no[] = {
		{ "00", "!bad tag at byte 0" },
		{ "0880", "!bad number at byte 1" },
		{ "08ffffffffffffffffffff01", "!bad number at byte 1" },
		{ "80", "!bad tag at byte 0" },
		{ "0b", "!unknown wire type at byte 1" },
		{ "0c", "!unknown wire type at byte 1" },
		{ "0d0000", "!longer than its message at byte 1" },
		{ "4a05", "!longer than its message at byte 1" },
		{ "4a030a0561", "!longer than its message at byte 3" },
		{ "4affffffffffffffffff01", "!longer than its message" },
	};
	char *s;

	for (size_t i = 0; i < sizeof no / sizeof no[0]; i++) {
		s = dumped(no[i].hex, ERR_MALFORMED);
		cr_assert(
		    strstr(s, no[i].text) != NULL, "%s: %s", no[i].hex, s);
		free(s);
	}
	/* What is unknown is told by its length; text cannot move a cursor. */
	s = dumped("0805f23e0341424352020a00", ERR_OK);
	cr_assert_str_eq(s,
	    "Request { id: 5 ?1006: (3 bytes) counter_increment: "
	    "CounterIncrement { name: \"\" } }");
	free(s);
	s = dumped("4a060a041b5b3041", ERR_OK);
	cr_assert(strstr(s, "name: \"?[0A\"") != NULL, "%s", s);
	free(s);
}

Test(ctl_wire, a_long_message_is_cut)
{
	struct buf in = { 0 }, out = { 0 };

	for (int i = 0; i < 100000; i++)
		cr_assert_eq(buf_append(&in, "\x08\x05", 2, SIZE_MAX), ERR_OK);
	cr_assert_eq(protodump(&out, &devproof__kms__v1__request__descriptor,
			 buf_view(&in)),
	    ERR_OK);
	cr_assert_lt(out.len, PROTODUMP_MAX + 256);
	cr_assert(strstr((char *)out.p, "... }") != NULL);
	buf_fini(&in);
	buf_fini(&out);
}

/* ---- inputs of fuzz targets ---- */

static json_t *
fuzz(const char *target, const char *hex, enum err want)
{
	uint8_t in[128];
	size_t len;
	json_t *rows = json_array();

	cr_assert_eq(hex_decode(in, sizeof in, &len, hex, strlen(hex)), ERR_OK);
	cr_assert_eq(wiredump_fuzz(rows, target, (struct bytes){ in, len }),
	    want, "%s", hex);
	return rows;
}

Test(ctl_wire, fuzz_inputs)
{
	json_t *rows = fuzz("channel_server",
	    "03"
	    "030002"
	    "0805"
	    "060000"
	    "800000"
	    "630001"
	    "aa"
	    "03ffff"
	    "0807",
	    ERR_OK);

	cr_assert_eq(json_array_size(rows), 6);
	cr_assert_str_eq(what(rows, 0),
	    "a peer that can do Noise; its evidence is accepted");
	cr_assert_str_eq(what(rows, 1), "REQUEST Request { id: 5 }");
	cr_assert_str_eq(what(rows, 2), "REKEY");
	cr_assert(strstr(what(rows, 3), "once more") != NULL);
	cr_assert(bad(rows, 4));
	cr_assert_str_eq(what(rows, 5), "REQUEST Request { id: 7 }");
	json_decref(rows);
	rows = fuzz("channel_server", "00444b0105", ERR_MALFORMED);
	cr_assert_eq(json_array_size(rows), 2);
	cr_assert_str_eq(what(rows, 0), "a stranger's stream");
	cr_assert_eq(
	    json_integer_value(json_object_get(json_array_get(rows, 1), "at")),
	    1);
	json_decref(rows);
	rows = fuzz("channel_server", "0303", ERR_MALFORMED);
	json_decref(rows);
	rows = fuzz("msg", "000805", ERR_OK);
	cr_assert_str_eq(what(rows, 0), "Request { id: 5 }");
	json_decref(rows);
	json_decref(fuzz("quote", "0000", ERR_NOTFOUND));
	rows = fuzz("channel_server", "", ERR_OK);
	cr_assert_eq(json_array_size(rows), 0);
	json_decref(rows);
	rows = fuzz("channel_shake", "0d", ERR_OK);
	cr_assert_str_eq(what(rows, 0),
	    "we dial, who dials is a KMS node, "
	    "a peer that can do Noise, a cookie is demanded");
	json_decref(rows);
}

/* An owner's act is a number modulo how many there are. */
Test(ctl_wire, fuzz_transport)
{
	json_t *rows = fuzz("channel_transport",
	    "04"
	    "130002"
	    "0805"
	    "850001"
	    "00"
	    "810000"
	    "ff0000"
	    "010001"
	    "02"
	    "730000",
	    ERR_OK);

	cr_assert_str_eq(what(rows, 0),
	    "we answer, who dials is an app, open, a key lasts 3 frames");
	cr_assert_str_eq(what(rows, 1), "twice: REQUEST Request { id: 5 }");
	cr_assert_str_eq(what(rows, 2), "our owner renews 00");
	cr_assert_str_eq(what(rows, 3), "our owner feeds nothing");
	cr_assert_str_eq(what(rows, 4), "our owner replies with a reason");
	cr_assert_str_eq(
	    what(rows, 5), "as it is: EVIDENCE made by the target, binding 2");
	cr_assert(strstr(what(rows, 6), "our own last frame") != NULL);
	json_decref(rows);
}

/* ---- captures ---- */

struct capture {
	struct buf b;
	unsigned n;
};

static void
put32(struct buf *b, uint32_t v, bool little)
{
	uint8_t p[4];
	struct wr w = { .p = p, .cap = 4 };

	if (little)
		wr_le32(&w, v);
	else
		wr_be32(&w, v);
	cr_assert_eq(buf_append(b, p, 4, SIZE_MAX), ERR_OK);
}

static void
capture_begin(struct capture *c, uint32_t link)
{
	*c = (struct capture){ 0 };
	put32(&c->b, 0xa1b2c3d4, true);
	put32(&c->b, 0x00040002, true);
	for (int i = 0; i < 2; i++)
		put32(&c->b, 0, true);
	put32(&c->b, 65535, true);
	put32(&c->b, link, true);
}

/* One segment between port 1000 (the client's) and 2000, over Ethernet. */
static void
packet(
    struct capture *c, int from, uint32_t seq, uint8_t flags, struct bytes data)
{
	uint8_t head[54] = { 0 };
	struct wr w = { .p = head, .cap = sizeof head };

	wr_zero(&w, 12);
	wr_be16(&w, 0x0800);
	wr_be16(&w, 0x4500);
	wr_be16(&w, (uint16_t)(40 + data.len));
	wr_zero(&w, 5);
	wr_u8(&w, 6);
	wr_zero(&w, 2);
	wr_be32(&w, from == CLIENT ? 0x0a000001 : 0x0a000002);
	wr_be32(&w, from == CLIENT ? 0x0a000002 : 0x0a000001);
	wr_be16(&w, from == CLIENT ? 1000 : 2000);
	wr_be16(&w, from == CLIENT ? 2000 : 1000);
	wr_be32(&w, seq);
	wr_be32(&w, 0);
	wr_u8(&w, 0x50);
	wr_u8(&w, flags);
	wr_zero(&w, 6);
	cr_assert(wr_ok(&w) && w.len == sizeof head);
	put32(&c->b, 100, true);
	put32(&c->b, 1000 * c->n++, true);
	for (int i = 0; i < 2; i++)
		put32(&c->b, (uint32_t)(sizeof head + data.len), true);
	cr_assert_eq(buf_append(&c->b, head, sizeof head, SIZE_MAX), ERR_OK);
	cr_assert_eq(buf_append(&c->b, data.p, data.len, SIZE_MAX), ERR_OK);
}

#define START 0xfffffff0u /* sequence numbers go round */

/* Both sides' bytes in pieces of 50; each third pair swapped, each fifth
 * piece twice, some overlapping.  `lost` (0: none) is a piece that is not
 * there. */
static void
capture_of(struct capture *c, const struct talk *t, size_t lost)
{
	const size_t step = 50;

	capture_begin(c, 1);
	for (int who = 0; who < 2; who++)
		packet(c, who, START - 1, 0x02, (struct bytes){ NULL, 0 });
	for (int who = 0; who < 2; who++)
		for (size_t i = 0; i * step < t->said[who].len; i++) {
			size_t j =
			    i % 6 < 2 && ((i ^ 1) * step) < t->said[who].len
			    ? i ^ 1
			    : i;
			size_t at = j * step, back = j % 7 == 3 ? 20 : 0;
			size_t len = t->said[who].len - at < step
			    ? t->said[who].len - at
			    : step;

			if (lost != 0 && j == lost)
				continue;
			for (int n = j % 5 == 0 ? 2 : 1; n > 0; n--)
				packet(c, who, START + (uint32_t)(at - back),
				    0x10,
				    (struct bytes){ t->said[who].p + at - back,
					len + back });
		}
}

Test(ctl_wire, captures_are_put_together)
{
	struct talk t;
	struct capture c;
	struct pcap p;
	struct refusal why = { 0 };

	begin(&t);
	open_both(&t);
	for (int i = 0; i < 12; i++) {
		ask(&t);
		answer(&t);
	}
	capture_of(&c, &t, 0);
	cr_assert(pcap_is(buf_view(&c.b)));
	cr_assert_eq(
	    pcap_read(&p, buf_view(&c.b), &why), ERR_OK, "%s", why.detail);
	cr_assert_eq(p.n_flows, 2);
	cr_assert_eq(p.packets, c.n);
	cr_assert_eq(p.skipped, 0);
	for (int i = 0; i < 2; i++) {
		const struct pcap_flow *f = &p.flow[i];

		cr_assert_eq(f->other, (size_t)!i);
		cr_assert_eq(f->lost, 0);
		cr_assert_eq(f->bytes.len, t.said[i].len);
		cr_assert_eq(memcmp(f->bytes.p, t.said[i].p, f->bytes.len), 0);
		cr_assert_str_eq(
		    f->from, i == CLIENT ? "10.0.0.1:1000" : "10.0.0.2:2000");
		cr_assert_geq(pcap_time(f, f->bytes.len), pcap_time(f, 1));
	}
	pcap_fini(&p);
	buf_fini(&c.b);
	/* A piece is missing: what was before it, and how much is not there. */
	capture_of(&c, &t, 2);
	cr_assert_eq(pcap_read(&p, buf_view(&c.b), &why), ERR_OK);
	for (int i = 0; i < 2; i++) {
		cr_assert_eq(p.flow[i].bytes.len, 100);
		cr_assert_eq(p.flow[i].lost, 30); /* 20 come again */
	}
	pcap_fini(&p);
	buf_fini(&c.b);
	end(&t);
}

/* The same ports a second time are another connection. */
Test(ctl_wire, connections_are_told_apart)
{
	struct capture c;
	struct pcap p;

	capture_begin(&c, 1);
	for (uint32_t i = 0; i < 3; i++)
		for (int who = 0; who < 2; who++) {
			packet(&c, who, 1000 * i, 0x02, (struct bytes){ 0 });
			packet(&c, who, 1000 * i + 1, 0x10, BYTES_STR("DK"));
		}
	cr_assert_eq(pcap_read(&p, buf_view(&c.b), NULL), ERR_OK);
	cr_assert_eq(p.n_flows, 6);
	for (size_t i = 0; i < 6; i++) {
		cr_assert_eq(p.flow[i].bytes.len, 2);
		cr_assert_eq(p.flow[i].other, i ^ 1);
	}
	pcap_fini(&p);
	buf_fini(&c.b);
}

Test(ctl_wire, what_is_no_capture)
{
	struct refusal why = { 0 };
	struct capture c;
	struct pcap p = { 0 };
	uint8_t ng[28] = { 0x0a, 0x0d, 0x0d, 0x0a };

	cr_assert(!pcap_is(BYTES_STR("DK")));
	cr_assert(!pcap_is((struct bytes){ NULL, 0 }));
	cr_assert(pcap_is(BYTES_OF(ng)));
	cr_assert_eq(pcap_read(&p, BYTES_OF(ng), &why), ERR_MALFORMED);
	cr_assert(strstr(why.detail, "pcapng") != NULL);
	cr_assert_eq(
	    pcap_read(&p, BYTES_STR("not a capture, but of 24 bytes"), &why),
	    ERR_MALFORMED);
	capture_begin(&c, 147); /* a link of somebody's own */
	cr_assert_eq(pcap_read(&p, buf_view(&c.b), &why), ERR_MALFORMED);
	buf_fini(&c.b);
	capture_begin(&c, 1);
	for (size_t i = 0; i < c.b.len; i++)
		cr_assert_eq(pcap_read(&p, (struct bytes){ c.b.p, i }, &why),
		    ERR_MALFORMED, "%zu", i);
	cr_assert_eq(pcap_read(&p, buf_view(&c.b), &why), ERR_OK);
	cr_assert_eq(p.n_flows, 0);
	pcap_fini(&p);
	for (int i = 0; i < 2; i++)
		put32(&c.b, 0, true);
	put32(&c.b, UINT32_MAX, true); /* length of the packet */
	put32(&c.b, 0, true);
	cr_assert_eq(pcap_read(&p, buf_view(&c.b), &why), ERR_MALFORMED);
	cr_assert_null(p.flow);
	buf_fini(&c.b);
}

/* More connections than there may be. */
Test(ctl_wire, too_many_connections)
{
	struct refusal why = { 0 };
	struct capture c;
	struct pcap p = { 0 };

	capture_begin(&c, 1);
	for (uint32_t i = 0; i <= PCAP_FLOWS_MAX; i++)
		packet(&c, CLIENT, 7 * i, 0x02, (struct bytes){ 0 });
	cr_assert_eq(pcap_read(&p, buf_view(&c.b), &why), ERR_LIMIT);
	cr_assert_null(p.flow);
	buf_fini(&c.b);
}

Test(ctl_wire, damaged_captures)
{
	struct talk t;
	struct capture c;
	struct pcap p;

	begin(&t);
	open_both(&t);
	capture_of(&c, &t, 0);
	for (size_t at = 0; at < c.b.len; at++) {
		if (pcap_read(&p, (struct bytes){ c.b.p, at }, NULL) == ERR_OK)
			pcap_fini(&p);
		c.b.p[at] ^= 0x41;
		if (pcap_read(&p, buf_view(&c.b), NULL) == ERR_OK)
			pcap_fini(&p);
		c.b.p[at] ^= 0x41;
	}
	buf_fini(&c.b);
	end(&t);
}
