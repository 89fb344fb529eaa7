/* The handshake against the public vectors, and everything it refuses. */
#include <string.h>

#include <criterion/criterion.h>

#include "common/base/hex.h"
#include "node/channel/noise.h"

struct pair {
	uint8_t is[32], is_pub[32], rs[32], rs_pub[32];
	struct noise i, r;
};

static size_t
unhex(uint8_t *out, size_t cap, const char *text)
{
	size_t n = 0;

	cr_assert_eq(hex_decode(out, cap, &n, text, strlen(text)), ERR_OK);
	return n;
}

static struct bytes
text(const char *s)
{
	return (struct bytes){ (const uint8_t *)s, strlen(s) };
}

/* A pair with the keys of the public vectors. */
static void
pair_init(struct pair *p, struct bytes i_prologue, struct bytes r_prologue)
{
	uint8_t e[32];

	unhex(p->is, 32,
	    "e61ef9919cde45dd5f82166404bd08e3"
	    "8bceb5dfdfded0a34c8df7ed542214d1");
	unhex(p->rs, 32,
	    "4a3acbfdb163dec651dfa3194dece676"
	    "d437029c62a408b4c5ea9114246e4893");
	noise_public(p->is_pub, p->is);
	noise_public(p->rs_pub, p->rs);
	unhex(e, 32,
	    "893e28b9dc6ca8d611ab664754b8ceb7"
	    "bac5117349a4439a6b0569da977c464a");
	noise_init(&p->i, NOISE_INITIATOR, p->is, p->is_pub, e, i_prologue);
	unhex(e, 32,
	    "bbdb4cdbd309f1a1f2e1456967fe288c"
	    "add6f712d65dc7b7793d5e63da6b375b");
	noise_init(&p->r, NOISE_RESPONDER, p->rs, p->rs_pub, e, r_prologue);
}

static void
pair_fini(struct pair *p)
{
	noise_fini(&p->i);
	noise_fini(&p->r);
}

struct vector {
	const char *prologue, *hash;
	const char *payload[6], *ciphertext[6];
};

/* Payloads and keys are common to both collections. */
#define PAYLOADS \
	{ \
		"4c756477696720766f6e204d69736573", \
		    "4d757272617920526f746862617264", \
		    "462e20412e20486179656b", "4361726c204d656e676572", \
		    "4a65616e2d426170746973746520536179", \
		    "457567656e2042f6686d20766f6e2042617765726b" \
	}

static const struct vector vectors[] = {
	/* cacophony */
	{ "4a6f686e2047616c74",
	    "c8e5f64e846193be2a834104c2a00986"
	    "8d6c9f3bd3c186299888b488b2f1f58e",
	    PAYLOADS,
	    { "ca35def5ae56cec33dc2036731ab14896bc4c75dbb07a61f"
	      "879f8e3afa4c79444c756477696720766f6e204d69736573",
		"95ebc60d2b1fa672c1f46a8aa265ef51bfe38e7ccb39ec5be34069f1"
		"4480884381cbad1f276e038c48378ffce2b65285e08d6b68aaa3629a"
		"5a8639392490e5b9bd5269c2f1e4f488ed8831161f19b7815528f898"
		"2ffe09be9b5c412f8a0db50f8814c7194e83f23dbd8d162c9326ad",
		"c7195ffacac1307ff99046f219750fc47693e23c3cb08b89c2af808b"
		"444850a80ae475b9df0f169ae80a89be0865b57f58c9fea0d4ec82a2"
		"86427402f113e4b6ae769a1d95941d49b25030",
		"96763ed773f8e47bb3712f0e29b3060ffc956ffc146cee53d5e1df",
		"3e40f15f6f3a46ae446b253bf8b1d9ffb6ed9b174d272328ff91a7e2"
		"e5c79c07f5",
		"eb3f3515110702e047a6c9da4478b6ead94873c11c0f2d710ddb3f09"
		"fce024b3a58502ae3f" } },
	/* noise-c, basic */
	{ "50726f6c6f677565313233",
	    "852a28d2146785c54bd8334f4e460c80"
	    "d7fe4fd0cc5bc0abef2a24a3c4d44d5f",
	    PAYLOADS,
	    { "ca35def5ae56cec33dc2036731ab14896bc4c75dbb07a61f"
	      "879f8e3afa4c79444c756477696720766f6e204d69736573",
		"95ebc60d2b1fa672c1f46a8aa265ef51bfe38e7ccb39ec5be34069f1"
		"4480884381cbad1f276e038c48378ffce2b65285e08d6b68aaa3629a"
		"5a8639392490e5b94a6d8798832d5372f220f161d9c2df035528f898"
		"2ffe09be9b5c412f8a0db5d21351f20af1370d0bf8ef1a8c59a30e",
		"c7195ffacac1307ff99046f219750fc47693e23c3cb08b89c2af808b"
		"444850a8589981dfbd651e6ff4724a781cc2aa6158c9fea0d4ec82a2"
		"86427484c5b8c8123a7a6002b1de9f9775fc97",
		"96763ed773f8e47bb3712f0e29b3060ffc956ffc146cee53d5e1df",
		"3e40f15f6f3a46ae446b253bf8b1d9ffb6ed9b174d272328ff91a7e2"
		"e5c79c07f5",
		"eb3f3515110702e047a6c9da4478b6ead94873c11c0f2d710ddb3f09"
		"fce024b3a58502ae3f" } },
};

/* Every byte of both public vectors is reproduced, and read back. */
Test(noise, public_vectors)
{
	for (size_t v = 0; v < sizeof vectors / sizeof vectors[0]; v++) {
		const struct vector *t = &vectors[v];
		struct noise_cipher is, ir, rs, rr;
		uint8_t prologue[64], plain[64], want[256], box[96];
		struct buf out = { 0 }, got = { 0 };
		struct pair p;
		size_t n;

		n = unhex(prologue, sizeof prologue, t->prologue);
		pair_init(&p, (struct bytes){ prologue, n },
		    (struct bytes){ prologue, n });
		for (unsigned m = 0; m < 3; m++) {
			struct noise *from = m == 1 ? &p.r : &p.i;
			struct noise *to = m == 1 ? &p.i : &p.r;
			size_t plain_len, want_len;

			plain_len = unhex(plain, sizeof plain, t->payload[m]);
			want_len = unhex(want, sizeof want, t->ciphertext[m]);
			out.len = got.len = 0;
			cr_assert_eq(noise_write(from, &out,
					 (struct bytes){ plain, plain_len }),
			    ERR_OK);
			cr_assert_eq(out.len, want_len);
			cr_assert_arr_eq(out.p, want, want_len);
			cr_assert_eq(
			    noise_read(to, &got, buf_view(&out)), ERR_OK);
			cr_assert_eq(got.len, plain_len);
			cr_assert_arr_eq(got.p, plain, plain_len);
		}
		noise_split(&p.i, &is, &ir);
		noise_split(&p.r, &rs, &rr);
		n = unhex(want, sizeof want, t->hash);
		cr_assert_arr_eq(noise_hash(&p.i), want, 32);
		cr_assert_arr_eq(noise_hash(&p.r), want, 32);
		cr_assert_arr_eq(noise_peer(&p.i), p.rs_pub, 32);
		cr_assert_arr_eq(noise_peer(&p.r), p.is_pub, 32);
		/* Transport goes on in turns: the responder is next. */
		for (unsigned m = 3; m < 6; m++) {
			struct noise_cipher *from = m % 2 ? &rs : &is;
			struct noise_cipher *to = m % 2 ? &ir : &rr;

			n = unhex(box, sizeof box, t->payload[m]);
			memcpy(plain, box, n);
			cr_assert_eq(
			    noise_seal(from, box, n, (struct bytes){ NULL, 0 }),
			    ERR_OK);
			cr_assert_eq(unhex(want, sizeof want, t->ciphertext[m]),
			    n + NOISE_TAG_LEN);
			cr_assert_arr_eq(box, want, n + NOISE_TAG_LEN);
			cr_assert_eq(noise_open(to, box, n + NOISE_TAG_LEN,
					 (struct bytes){ NULL, 0 }),
			    ERR_OK);
			cr_assert_arr_eq(box, plain, n);
		}
		pair_fini(&p);
		buf_fini(&out);
		buf_fini(&got);
	}
}

/* Runs the honest messages before `m` and returns message `m` unread. */
static void
run_to(struct pair *p, unsigned m, struct buf *out)
{
	for (unsigned k = 0;; k++) {
		struct noise *from = k == 1 ? &p->r : &p->i;
		struct noise *to = k == 1 ? &p->i : &p->r;

		out->len = 0;
		cr_assert_eq(noise_write(from, out, text("")), ERR_OK);
		if (k == m)
			return;
		cr_assert_eq(noise_read(to, NULL, buf_view(out)), ERR_OK);
	}
}

/* With any one bit of any message flipped, the handshake does not end with
 * both sides done.  (Message 1 is not authenticated until message 2.) */
Test(noise, every_bit_counts, .timeout = 120)
{
	struct buf out = { 0 };

	for (unsigned m = 0; m < 3; m++) {
		size_t len = (const size_t[]){ NOISE_MSG1_LEN, NOISE_MSG2_LEN,
			NOISE_MSG3_LEN }[m];

		for (size_t bit = 0; bit < len * 8; bit++) {
			struct pair p;
			enum err e;

			pair_init(&p, text("x"), text("x"));
			run_to(&p, m, &out);
			cr_assert_eq(out.len, len);
			out.p[bit / 8] ^= (uint8_t)(1u << bit % 8);
			e = noise_read(
			    m == 1 ? &p.i : &p.r, NULL, buf_view(&out));
			if (m == 0 && e == ERR_OK) {
				out.len = 0;
				cr_assert_eq(
				    noise_write(&p.r, &out, text("")), ERR_OK);
				e = noise_read(&p.i, NULL, buf_view(&out));
			}
			cr_assert_eq(e, ERR_AUTH, "message %u bit %zu", m, bit);
			cr_assert(!noise_done(&p.r));
			pair_fini(&p);
		}
	}
	buf_fini(&out);
}

/* Each shorter or longer message is MALFORMED and kills the handshake. */
Test(noise, every_length_counts)
{
	struct buf out = { 0 };

	for (unsigned m = 0; m < 3; m++)
		for (size_t n = 0; n < 130; n++) {
			struct pair p;
			uint8_t in[130] = { 0 };
			struct noise *to;
			size_t len;

			pair_init(&p, text("x"), text("x"));
			run_to(&p, m, &out);
			to = m == 1 ? &p.i : &p.r;
			len = out.len;
			memcpy(in, out.p, len);
			if (n != len) {
				cr_assert_eq(noise_read(to, NULL,
						 (struct bytes){ in, n }),
				    ERR_MALFORMED);
				cr_assert_eq(noise_read(to, NULL,
						 (struct bytes){ in, len }),
				    ERR_PHASE, "a dead handshake stays so");
			}
			pair_fini(&p);
		}
	buf_fini(&out);
}

/* Two sides with different prologues never agree. */
Test(noise, wrong_prologue)
{
	struct buf out = { 0 };
	struct pair p;

	pair_init(&p, text("chain 1"), text("chain 2"));
	cr_assert_eq(noise_write(&p.i, &out, text("")), ERR_OK);
	cr_assert_eq(noise_read(&p.r, NULL, buf_view(&out)), ERR_OK);
	out.len = 0;
	cr_assert_eq(noise_write(&p.r, &out, text("")), ERR_OK);
	cr_assert_eq(noise_read(&p.i, NULL, buf_view(&out)), ERR_AUTH);
	pair_fini(&p);
	buf_fini(&out);
}

/* A public key of small order is refused, in either message. */
Test(noise, small_order_keys)
{
	static const char *const bad[] = {
		"00000000000000000000000000000000000000000000000000000000000000"
		"00",
		"01000000000000000000000000000000000000000000000000000000000000"
		"00",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
		"7f",
		"e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b8"
		"00",
	};
	struct buf out = { 0 };

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct pair p;
		uint8_t key[32];

		unhex(key, 32, bad[i]);
		pair_init(&p, text("x"), text("x"));
		cr_assert_eq(
		    noise_read(&p.r, NULL, (struct bytes){ key, 32 }), ERR_OK);
		cr_assert_eq(noise_write(&p.r, &out, text("")), ERR_AUTH);
		pair_fini(&p);

		pair_init(&p, text("x"), text("x"));
		run_to(&p, 1, &out);
		memcpy(out.p, key, 32);
		cr_assert_eq(noise_read(&p.i, NULL, buf_view(&out)), ERR_AUTH);
		pair_fini(&p);
	}
	buf_fini(&out);
}

/* Nobody may write or read out of turn, nor after the end. */
Test(noise, out_of_turn)
{
	struct buf out = { 0 };
	struct pair p;

	pair_init(&p, text("x"), text("x"));
	cr_assert_eq(noise_write(&p.r, &out, text("")), ERR_PHASE);
	cr_assert_eq(
	    noise_read(&p.i, NULL, text("0123456789abcdef0123456789abcdef")),
	    ERR_PHASE);
	pair_fini(&p);

	/* One's own message back. */
	pair_init(&p, text("x"), text("x"));
	run_to(&p, 0, &out);
	cr_assert_eq(noise_read(&p.i, NULL, buf_view(&out)), ERR_MALFORMED);
	pair_fini(&p);

	/* Message 1 again in place of message 3. */
	pair_init(&p, text("x"), text("x"));
	run_to(&p, 0, &out);
	cr_assert_eq(noise_read(&p.r, NULL, buf_view(&out)), ERR_OK);
	cr_assert_eq(noise_read(&p.r, NULL, buf_view(&out)), ERR_PHASE);
	pair_fini(&p);

	pair_init(&p, text("x"), text("x"));
	run_to(&p, 2, &out);
	cr_assert_eq(noise_read(&p.r, NULL, buf_view(&out)), ERR_OK);
	cr_assert(noise_done(&p.r) && noise_done(&p.i));
	cr_assert_eq(noise_read(&p.r, NULL, buf_view(&out)), ERR_PHASE);
	cr_assert(!noise_done(&p.r));
	cr_assert_eq(noise_write(&p.i, &out, text("")), ERR_PHASE);
	pair_fini(&p);
	buf_fini(&out);
}

/* An over-long payload is refused before anything is sent. */
Test(noise, payload_bound)
{
	static const uint8_t big[NOISE_MSG_MAX] = { 0 };
	struct buf out = { 0 };
	struct pair p;

	pair_init(&p, text("x"), text("x"));
	cr_assert_eq(noise_write(&p.i, &out, (struct bytes){ big, sizeof big }),
	    ERR_LIMIT);
	cr_assert_eq(out.len, 0);
	pair_fini(&p);
	buf_fini(&out);
}

static bool
all_zero(const uint8_t *p, size_t n)
{
	uint8_t any = 0;

	for (size_t i = 0; i < n; i++)
		any |= p[i];
	return any == 0;
}

/* Ephemeral and chaining keys are gone after success and after failure. */
Test(noise, secrets_are_wiped)
{
	struct noise_cipher send, recv;
	struct buf out = { 0 };
	struct pair p;

	pair_init(&p, text("x"), text("x"));
	run_to(&p, 2, &out);
	noise_split(&p.i, &send, &recv);
	cr_assert(all_zero(p.i.e, 32) && all_zero(p.i.ck, 32) &&
	    all_zero(p.i.k, 32) && p.i.s == NULL);
	out.p[5] ^= 1;
	cr_assert_eq(noise_read(&p.r, NULL, buf_view(&out)), ERR_AUTH);
	cr_assert(all_zero(p.r.e, 32) && all_zero(p.r.ck, 32) &&
	    all_zero(p.r.k, 32) && p.r.s == NULL);
	pair_fini(&p);
	buf_fini(&out);
}

/* A refused box yields nothing and moves no nonce; the last nonce is not used;
 * after a rekey the old key opens nothing. */
Test(noise, ciphers)
{
	struct noise_cipher a = { .k = { 1 } }, b = a;
	uint8_t box[8 + NOISE_TAG_LEN] = "message", was[sizeof box];
	const struct bytes none = { NULL, 0 }, ad = text("ad");

	cr_assert_eq(noise_seal(&a, box, 8, ad), ERR_OK);
	memcpy(was, box, sizeof box);
	cr_assert_eq(noise_open(&b, box, 15, ad), ERR_AUTH);
	cr_assert_eq(noise_open(&b, box, sizeof box, none), ERR_AUTH);
	cr_assert_str_neq((char *)box, "message");
	memcpy(box, was, sizeof box);
	cr_assert_eq(b.n, 0);
	cr_assert_eq(noise_open(&b, box, sizeof box, ad), ERR_OK);
	cr_assert_str_eq((char *)box, "message");
	/* The same box again: the nonce has moved on. */
	cr_assert_eq(noise_open(&b, was, sizeof was, ad), ERR_AUTH);

	noise_rekey(&a);
	cr_assert_eq(noise_seal(&a, box, 8, ad), ERR_OK);
	memcpy(was, box, sizeof box);
	cr_assert_eq(noise_open(&b, was, sizeof was, ad), ERR_AUTH);
	noise_rekey(&b);
	cr_assert_eq(noise_open(&b, box, sizeof box, ad), ERR_OK);

	a.n = b.n = UINT64_MAX;
	cr_assert_eq(noise_seal(&a, box, 8, ad), ERR_LIMIT);
	cr_assert_eq(noise_open(&b, box, sizeof box, ad), ERR_LIMIT);
}
