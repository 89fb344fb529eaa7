#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/hex.h"
#include "common/base/limits.h"
#include "common/base/rd.h"
#include "common/base/secret.h"
#include "common/wire/kms.pb-c.h"
#include "kms/ctl/protodump.h"
#include "kms/ctl/wiredump.h"
#include "node/channel/session_int.h"

#define KEY_NAME "channel_key "

static const char *const frame_text[] = { [FRAME_HELLO] = "HELLO",
	[FRAME_RETRY] = "RETRY",
	[FRAME_ANSWER] = "ANSWER",
	[FRAME_FINISH] = "FINISH",
	[FRAME_DATA] = "DATA" };
static const char *const message_text[] = { [M_EVIDENCE] = "EVIDENCE",
	[M_REFUSED] = "REFUSED",
	[M_REQUEST] = "REQUEST",
	[M_REPLY] = "REPLY",
	[M_REQUEST_REFUSED] = "REQUEST_REFUSED",
	[M_REKEY] = "REKEY",
	[M_RENEW] = "RENEW",
	[M_NONCE] = "NONCE",
	[M_RENEWAL] = "RENEWAL" };

/* One row in the making. */
struct row {
	struct buf what; /* owns */
	bool bad, sealed;
	enum err e; /* ERR_NOMEM, or ERR_OK */
};

static void say(struct row *r, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static void
say(struct row *r, const char *fmt, ...)
{
	char text[160];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	if (r->e == ERR_OK)
		r->e = buf_printf(
		    &r->what, "%s%s", r->what.len > 0 ? " " : "", text);
}

#define WRONG(r, ...) \
	do { \
		(r)->bad = true; \
		say((r), "!" __VA_ARGS__); \
	} while (0)

static void
say_hex(struct row *r, const char *name, struct bytes in)
{
	say(r, "%s", name);
	if (r->e == ERR_OK)
		r->e = protodump_hex(&r->what, in);
}

/* Takes the row. */
static enum err
add(json_t *rows, struct row *r, size_t at, const char *frame, size_t length)
{
	json_t *o = json_object();
	enum err e = r->e;

	if (o == NULL)
		e = ERR_NOMEM;
	if (e == ERR_OK)
		e = json_set_u64(o, "at", at);
	if (e == ERR_OK)
		e = json_set_str(o, "frame", frame);
	if (e == ERR_OK)
		e = json_set_u64(o, "length", length);
	if (e == ERR_OK)
		e = json_set_str(
		    o, "what", r->what.p != NULL ? (char *)r->what.p : "");
	if (e == ERR_OK)
		e = json_set_bool(o, "sealed", r->sealed);
	if (e == ERR_OK)
		e = json_set_bool(o, "bad", r->bad);
	if (e != ERR_OK)
		json_decref(o);
	else if (json_array_append_new(rows, o) != 0)
		e = ERR_NOMEM;
	buf_fini(&r->what);
	return e;
}

/* ---- messages ---- */

static void
say_message(struct row *r, const ProtobufCMessageDescriptor *d, struct bytes in)
{
	enum err e;

	say(r, "%s", "");
	if (r->e != ERR_OK)
		return;
	e = protodump(&r->what, d, in);
	if (e == ERR_MALFORMED)
		r->bad = true;
	else
		r->e = e;
}

static void
say_reason(struct row *r, struct bytes in)
{
	struct rd rd = { .p = in.p, .left = in.len };
	size_t len = rd_u8(&rd);
	const uint8_t *label = rd_bytes(&rd, len);

	if (label == NULL) {
		WRONG(r, "label of %zu bytes in %zu", len, in.len);
		return;
	}
	say(r, "%s", "");
	if (r->e == ERR_OK)
		r->e = protodump_text(&r->what, (struct bytes){ label, len });
	say(r, "%s", "");
	if (r->e == ERR_OK)
		r->e =
		    protodump_text(&r->what, (struct bytes){ rd.p, rd.left });
	if (rd.left > LIMIT_REASON_TEXT)
		WRONG(r, "text of %zu bytes", rd.left);
}

static void
say_content(struct row *r, unsigned type, struct bytes in)
{
	if (type == 0 || type >= sizeof message_text / sizeof message_text[0]) {
		WRONG(r, "message of type %u, %zu bytes", type, in.len);
		return;
	}
	say(r, "%s", message_text[type]);
	switch ((enum message)type) {
	case M_EVIDENCE:
	case M_RENEWAL:
		say_message(r, &devproof__kms__v1__evidence__descriptor, in);
		break;
	case M_REQUEST:
		say_message(r, &devproof__kms__v1__request__descriptor, in);
		break;
	case M_REPLY:
		say_message(r, &devproof__kms__v1__reply__descriptor, in);
		break;
	case M_REFUSED:
	case M_REQUEST_REFUSED:
		say_reason(r, in);
		break;
	case M_RENEW:
	case M_NONCE:
		say_hex(r, "", in);
		if (in.len != NONCE_LEN)
			WRONG(r, "%zu bytes, not %d", in.len, NONCE_LEN);
		break;
	case M_REKEY:
		if (in.len != 0)
			WRONG(r, "%zu bytes, not 0", in.len);
		break;
	}
}

/* (type, two bytes of length, body), as far as it goes; `say_type` tells what
 * one is. */
static enum err
list(json_t *rows, struct rd *in, size_t at,
    void (*one)(struct row *r, unsigned type, struct bytes body),
    const char *name)
{
	enum err e = ERR_OK;

	for (size_t n = 0; e == ERR_OK && in->left > 0; n++) {
		struct row r = { .e = ERR_OK };
		size_t left = in->left;
		unsigned type = rd_u8(in);
		size_t len = rd_be16(in);

		if (n == WIREDUMP_FRAMES_MAX)
			return ERR_MALFORMED;
		if (in->bad) {
			WRONG(&r, "%zu bytes are no head", left);
			(void)add(rows, &r, at, name, 0);
			return ERR_MALFORMED;
		}
		/* The last one is as long as it is. */
		if (len > in->left)
			len = in->left;
		one(&r, type, (struct bytes){ rd_bytes(in, len), len });
		e = add(rows, &r, at, name, len);
		at += 3 + len;
	}
	return e;
}

/* ---- frames ---- */

struct stream {
	const struct wiredump_keys *keys;
	struct noise_cipher cipher; /* secret */
	bool open, looked; /* the key is known; was looked for */
	uint64_t next; /* counter */
};

/* Opens (p, len) in place with a cipher at `counter`. */
static bool
opens(struct noise_cipher *c, uint64_t counter, uint8_t *p, size_t len,
    const uint8_t *head)
{
	c->n = counter;
	return noise_open(c, p, len,
		   (struct bytes){ head, FRAME_HEAD_LEN + COUNTER_LEN }) ==
	    ERR_OK;
}

/* The sealed part of a frame, to `text`, which has its size. */
static bool
unseal(struct stream *s, struct buf *text, const uint8_t *frame,
    struct bytes sealed, uint64_t counter)
{
	if (s->open) {
		memcpy(text->p, sealed.p, sealed.len);
		return opens(&s->cipher, counter, text->p, sealed.len, frame);
	}
	if (s->looked || s->keys == NULL)
		return false;
	s->looked = true;
	for (size_t i = 0; i < s->keys->n; i++) {
		memcpy(s->cipher.k, s->keys->key[i], sizeof s->cipher.k);
		memcpy(text->p, sealed.p, sealed.len);
		s->open =
		    opens(&s->cipher, counter, text->p, sealed.len, frame);
		if (s->open)
			return true;
	}
	return false;
}

static void
say_data(struct stream *s, struct row *r, const uint8_t *frame, struct bytes in)
{
	struct rd rd = { .p = in.p, .left = in.len };
	uint64_t counter = rd_be64(&rd);
	struct bytes sealed = { rd.p, rd.left };
	struct buf text = { 0 };
	unsigned type;

	r->sealed = true;
	if (in.len < DATA_MIN) {
		WRONG(r, "%zu bytes, not %d and up", in.len, DATA_MIN);
		return;
	}
	say(r, "counter %llu", (unsigned long long)counter);
	if (counter != s->next)
		WRONG(r, "not %llu", (unsigned long long)s->next);
	s->next = counter + 1;
	if ((r->e = buf_reserve(&text, sealed.len)) != ERR_OK)
		return;
	if (unseal(s, &text, frame, sealed, counter)) {
		type = text.p[0];
		r->sealed = false;
		say_content(r, type,
		    (struct bytes){
			text.p + 1, sealed.len - 1 - NOISE_TAG_LEN });
		if (type == M_REKEY)
			noise_rekey(&s->cipher);
	} else {
		say(r, "sealed: a message of %zu bytes",
		    sealed.len - 1 - NOISE_TAG_LEN);
		if (s->open)
			WRONG(r, "does not authenticate");
	}
	text.len = sealed.len;
	buf_wipe(&text);
}

static void
say_hello(struct row *r, const uint8_t *p)
{
	static const uint8_t none[COOKIE_LEN];
	unsigned role = p[0];

	if (role == CHANNEL_KMS_PEER || role == CHANNEL_APP)
		say(r, "%s", role == CHANNEL_APP ? "an app" : "a KMS node");
	else
		WRONG(r, "role %u", role);
	if (memcmp(p + 1, none, sizeof none) == 0)
		say(r, "without cookie");
	else
		say_hex(r, "cookie ", (struct bytes){ p + 1, COOKIE_LEN });
	say_hex(r, "e ", (struct bytes){ p + 1 + COOKIE_LEN, NOISE_MSG1_LEN });
}

/* The body of a frame of `type`; `frame` is its head. */
static void
say_frame(struct stream *s, struct row *r, unsigned type, const uint8_t *frame,
    struct bytes in)
{
	static const size_t want[] = { [FRAME_HELLO] = HELLO_LEN,
		[FRAME_RETRY] = COOKIE_LEN,
		[FRAME_ANSWER] = NOISE_MSG2_LEN,
		[FRAME_FINISH] = NOISE_MSG3_LEN };

	if (type == FRAME_DATA) {
		say_data(s, r, frame, in);
		return;
	}
	if (in.len != want[type]) {
		WRONG(r, "%zu bytes, not %zu", in.len, want[type]);
		return;
	}
	if (type == FRAME_HELLO)
		say_hello(r, in.p);
	else if (type == FRAME_RETRY)
		say_hex(r, "cookie ", in);
	else if (type == FRAME_ANSWER)
		say_hex(r, "e ", (struct bytes){ in.p, 32 });
	else
		say(r, "static key, sealed");
}

/* One frame; ERR_MALFORMED ends the stream. */
static enum err
next_frame(json_t *rows, struct stream *s, struct rd *in, size_t at)
{
	struct row r = { .e = ERR_OK };
	struct frame_head h;
	size_t left = in->left, max;
	const uint8_t *head = rd_bytes(in, FRAME_HEAD_LEN), *body;
	char hex[2 * FRAME_HEAD_LEN + 1];
	enum err e;

	if (head == NULL) {
		WRONG(&r, "cut short: %zu bytes of a head", left);
		e = add(rows, &r, at, "-", 0);
		return e == ERR_OK ? ERR_MALFORMED : e;
	}
	if (frame_parse(&h, head) != ERR_OK) {
		WRONG(&r, "no frame: %s; %zu bytes are left",
		    hex_encode(hex, head, FRAME_HEAD_LEN), left);
		e = add(rows, &r, at, "-", 0);
		return e == ERR_OK ? ERR_MALFORMED : e;
	}
	max = h.type == FRAME_DATA ? DATA_MIN + LIMIT_MESSAGE
				   : LIMIT_HANDSHAKE_FRAME;
	if (h.len > max)
		WRONG(&r, "too large: %zu is the most", max);
	if ((body = rd_bytes(in, h.len)) == NULL)
		WRONG(&r, "cut short: %zu bytes are there",
		    left - FRAME_HEAD_LEN);
	else if (h.len <= max)
		say_frame(s, &r, h.type, head, (struct bytes){ body, h.len });
	e = add(rows, &r, at, frame_text[h.type], h.len);
	return e == ERR_OK && body == NULL ? ERR_MALFORMED : e;
}

/* What is behind the first `at` bytes of `all`. */
static enum err
stream(
    json_t *rows, struct bytes all, size_t at, const struct wiredump_keys *keys)
{
	struct rd rd = { .p = all.p + at, .left = all.len - at };
	struct stream s = { .keys = keys };
	enum err e = ERR_OK;

	for (size_t n = 0; e == ERR_OK && rd.left > 0; n++) {
		if (n == WIREDUMP_FRAMES_MAX) {
			struct row r = { .bad = true };

			say(&r, "!and more: %zu bytes", rd.left);
			e = add(rows, &r, all.len - rd.left, "-", 0);
			break;
		}
		e = next_frame(rows, &s, &rd, all.len - rd.left);
	}
	secret_wipe(&s, sizeof s);
	return e;
}

enum err
wiredump_stream(json_t *rows, struct bytes in, const struct wiredump_keys *keys)
{
	return stream(rows, in, 0, keys);
}

/* ---- inputs of fuzz targets ---- */

/* channel_shake: frames that the target makes; what is wrong with each. */
static void
shake_item(struct row *r, unsigned type, struct bytes in)
{
	static const char *const cookie[] = { "none", "right",
		"of another connection", "of another HELLO", "junk" };
	unsigned b[4] = { 0 };

	for (size_t i = 0; i < sizeof b / sizeof b[0] && i < in.len; i++)
		b[i] = in.p[i];
	say(r, "%s",
	    type >= FRAME_HELLO && type <= FRAME_DATA ? frame_text[type] : "?");
	say(r, "role %u, cookie %s, point %u, wrong in the prologue 0x%x", b[0],
	    b[1] < 5 ? cookie[b[1]] : "junk", b[2], b[3]);
	say_hex(r, "body ", in);
}

/* channel_transport: its enums way and act. */
static void
transport_item(struct row *r, unsigned what, struct bytes in)
{
	static const char *const way[] = { "as it is", "twice", "lost",
		"a bit flipped", "another counter or key", "in pieces",
		"not sealed", "instead of it our own last frame" };
	static const char *const act[] = { "asks", "renews", "replies",
		"replies with a reason", "proves", "has checked", "refuses",
		"lets time pass", "has consumed", "feeds nothing",
		"sends too much", "is sent much" };
	unsigned type = what % 16;

	if (what >= 128) {
		say(r, "our owner %s",
		    act[what % (sizeof act / sizeof act[0])]);
		if (in.len > 0)
			say_hex(r, "", in);
		return;
	}
	say(r, "%s:", way[what >> 4]);
	if ((type == M_EVIDENCE || type == M_RENEWAL) && in.len == 1)
		say(r, "%s made by the target, binding %u", message_text[type],
		    in.p[0]);
	else
		say_content(r, type, in);
}

static void
server_item(struct row *r, unsigned type, struct bytes in)
{
	if (type >= 128)
		say(r, "what was sent last, once more");
	else
		say_content(r, type, in);
}

static enum err
one_message(json_t *rows, struct rd *in, unsigned which)
{
	static const ProtobufCMessageDescriptor *const forms[] = {
		&devproof__kms__v1__request__descriptor,
		&devproof__kms__v1__reply__descriptor,
		&devproof__kms__v1__evidence__descriptor
	};
	struct row r = { .e = ERR_OK };
	size_t len = in->left;

	say_message(&r, forms[which % 3], (struct bytes){ in->p, len });
	return add(rows, &r, 1, "MESSAGE", len);
}

/* What the first byte chooses. */
static enum err
mode_row(json_t *rows, const char *target, unsigned mode)
{
	static const char *const wear[] = { "3 frames", "8 frames", "its time",
		"its time" };
	struct row r = { .e = ERR_OK };
	bool dials = (mode & 1) != 0;

	if (strcmp(target, "channel_server") == 0) {
		if (!dials)
			say(&r, "a stranger's stream%s",
			    (mode & 4) != 0 ? ", a cookie is demanded" : "");
		else
			say(&r, "a peer that can do Noise; its evidence %s",
			    (mode & 2) != 0 ? "is accepted" : "is not");
	} else if (strcmp(target, "channel_shake") == 0) {
		say(&r, "we %s, who dials is %s, %s%s",
		    dials ? "dial" : "answer",
		    (mode & 4) != 0 ? "a KMS node" : "an app",
		    (mode & 2) != 0 ? "a stranger's stream"
				    : "a peer that can do Noise",
		    (mode & 8) != 0 ? ", a cookie is demanded" : "");
	} else {
		say(&r, "we %s, who dials is %s, %s, a key lasts %s",
		    dials ? "dial" : "answer",
		    (mode & 2) != 0 ? "a KMS node" : "an app",
		    (mode & 4) != 0 ? "open" : "behind Noise",
		    wear[mode >> 3 & 3]);
	}
	return add(rows, &r, 0, "INPUT", 1);
}

enum err
wiredump_fuzz(json_t *rows, const char *target, struct bytes in)
{
	struct rd rd = { .p = in.p, .left = in.len };
	unsigned mode = rd_u8(&rd);
	bool server = strcmp(target, "channel_server") == 0;
	bool shake = strcmp(target, "channel_shake") == 0;
	bool transport = strcmp(target, "channel_transport") == 0;
	enum err e = ERR_OK;

	if (in.len > 0 && (server || shake || transport))
		e = mode_row(rows, target, mode);
	if (e != ERR_OK || rd.left == 0)
		return e;
	/* Strangers: the bytes as they come. */
	if ((server && (mode & 1) == 0) || (shake && (mode & 2) != 0))
		return stream(rows, in, 1, NULL);
	if (server)
		return list(rows, &rd, 1, server_item, "MESSAGE");
	if (shake)
		return list(rows, &rd, 1, shake_item, "FRAME");
	if (transport)
		return list(rows, &rd, 1, transport_item, "MESSAGE");
	if (strcmp(target, "msg") == 0)
		return one_message(rows, &rd, mode);
	return ERR_NOTFOUND;
}

/* ---- keys ---- */

enum err
wiredump_keys_read(struct wiredump_keys *out, struct bytes text)
{
	struct wiredump_keys k = { 0 };
	const char *p = (const char *)text.p, *end = p + text.len;
	enum err e = ERR_OK;

	k.key = secret_new(WIREDUMP_KEYS_MAX * sizeof *k.key);
	if (k.key == NULL)
		return ERR_NOMEM;
	while (e == ERR_OK && p < end) {
		const char *lf = memchr(p, '\n', (size_t)(end - p));
		size_t len = (size_t)((lf != NULL ? lf : end) - p);
		const size_t name = sizeof KEY_NAME - 1;
		size_t got = 0;

		if (len >= name && memcmp(p, KEY_NAME, name) == 0) {
			if (k.n == WIREDUMP_KEYS_MAX)
				e = ERR_LIMIT;
			else
				e = hex_decode(
				    k.key[k.n], 32, &got, p + name, len - name);
			if (e == ERR_OK && got != 32)
				e = ERR_MALFORMED;
			k.n++;
		}
		p += len + (lf != NULL);
	}
	if (e == ERR_OK)
		*out = k;
	else
		wiredump_keys_fini(&k);
	return e;
}

void
wiredump_keys_fini(struct wiredump_keys *k)
{
	secret_free(k->key);
	*k = (struct wiredump_keys){ 0 };
}
