#include <assert.h>
#include <string.h>

#include "common/base/wr.h"
#include "common/crypto/keccak.h"
#include "common/eth/abi.h"
#include "kms/gate/registryabi.h"

/* cast sig 'activate(uint64)' etc. */
#define CALL_STATE 0xc19d93fbu
#define CALL_PIN_OF 0xf2c0c658u
#define CALL_PUBLISH_ROOT 0x1f7be867u
#define CALL_ATTEST_HOLDERS 0x9c6878e3u
#define CALL_ACTIVATE 0xfc7e4746u
#define CALL_RECORD_HANDOVERS 0x75ca0e03u
#define CALL_REGISTER_GENESIS 0xe7316bdbu
#define CALL_ORDER_ROTATION 0x91da71ffu
#define CALL_WITHDRAW_ORDER 0xf8178c59u
#define CALL_CONFIRM_ROOT 0x7e7db71eu
#define CALL_VETO_ROOT 0xefb44be3u
#define CALL_TAINT 0xca0fa0adu
#define CALL_RETIRE 0xb17e903au
#define CALL_DESTROY 0x52316c6cu
#define CALL_PIN 0x1b86ac3au

/* recordHandovers with 64 of them has 392 words. */
#define CALL_MAX (512u * ABI_WORD)

const char *
registry_status_text(enum registry_status s)
{
	static const char *const text[] = {
		[REGISTRY_NONE] = "none",
		[REGISTRY_ORDERED] = "ordered",
		[REGISTRY_PUBLISHED] = "published",
		[REGISTRY_ACTIVE] = "active",
		[REGISTRY_TAINTED] = "tainted",
		[REGISTRY_DESTROYED] = "destroyed",
	};

	assert((size_t)s < sizeof text / sizeof text[0]);
	return text[s];
}

const struct registry_epoch *
registry_epoch_of(const struct registry_state *s, uint64_t number)
{
	uint64_t first = s->n_epochs == 0 ? 0 : s->epoch[0].number;

	if (number < first || number - first >= s->n_epochs)
		return NULL;
	return &s->epoch[number - first];
}

/* ---- what is signed: abi.encode() of words ---- */

struct words {
	uint8_t b[16 * ABI_WORD];
	size_t len;
};

static void
w_hash(struct words *w, const uint8_t v[static 32])
{
	assert(w->len <= sizeof w->b - ABI_WORD);
	memcpy(w->b + w->len, v, ABI_WORD);
	w->len += ABI_WORD;
}

static void
w_u64(struct words *w, uint64_t v)
{
	uint8_t word[ABI_WORD] = { 0 };
	struct wr at = { .p = word + ABI_WORD - 8, .cap = 8 };

	wr_be64(&at, v);
	w_hash(w, word);
}

/* keccak256(domain) | chain | contract | keccak256(action) */
static void
w_domain(struct words *w, const struct registryabi_at *at, const char *action)
{
	static const char domain[] = "devproof-kms/registry/v1";
	uint8_t hash[32] = { 0 };

	keccak256(hash, domain, sizeof domain - 1);
	w_hash(w, hash);
	w_u64(w, at->chain_id);
	memset(hash, 0, sizeof hash);
	memcpy(hash + ABI_WORD - 20, at->contract, 20);
	w_hash(w, hash);
	keccak256(hash, action, strlen(action));
	w_hash(w, hash);
}

static void
w_handover(struct words *w, const struct registry_handover *h)
{
	w_u64(w, h->audit);
	w_u64(w, h->epoch);
	w_hash(w, h->slot);
	w_hash(w, h->incarnation);
	w_hash(w, h->device_id);
	w_hash(w, h->mr_aggregated);
}

void
registry_root_hash(uint8_t out[static 32], const struct k256_pub *k256,
    const uint8_t ca_spki_hash[static 32])
{
	const struct bytes part[] = { BYTES_OF(k256->b), { ca_spki_hash, 32 } };

	keccak256_v(out, part, 2);
}

void
registry_holders_digest(uint8_t out[static 32], const struct registryabi_at *at,
    const struct registry_holders *h)
{
	struct words w = { .len = 0 };

	w_domain(&w, at, "holders");
	w_u64(&w, h->order);
	w_u64(&w, h->epoch);
	w_hash(&w, h->root_hash);
	w_hash(&w, h->seats_hash);
	w_u64(&w, h->seats);
	w_u64(&w, h->as_of);
	keccak256(out, w.b, w.len);
}

void
registry_handover_step(
    uint8_t head[static 32], uint64_t number, const struct registry_handover *h)
{
	struct words w = { .len = 0 };

	w_hash(&w, head);
	w_u64(&w, number);
	w_handover(&w, h);
	keccak256(head, w.b, w.len);
}

void
registry_handover_digest(uint8_t out[static 32],
    const struct registryabi_at *at, uint64_t count_after,
    const uint8_t head_after[static 32])
{
	struct words w = { .len = 0 };

	w_domain(&w, at, "handover");
	w_u64(&w, count_after);
	w_hash(&w, head_after);
	keccak256(out, w.b, w.len);
}

/* ---- calls: the first error sticks ---- */

struct call {
	struct buf *out;
	size_t max;
	enum err e;
};

static struct call
call(struct buf *out, uint32_t selector)
{
	struct call c = { out, out->len + CALL_MAX, ERR_OK };
	uint8_t s[4];
	struct wr w = { .p = s, .cap = sizeof s };

	wr_be32(&w, selector);
	c.e = buf_append(out, s, sizeof s, c.max);
	return c;
}

static void
c_u64(struct call *c, uint64_t v)
{
	if (c->e == ERR_OK)
		c->e = abi_put_u64(c->out, v, c->max);
}

static void
c_hash(struct call *c, const uint8_t v[static 32])
{
	if (c->e == ERR_OK)
		c->e = abi_put_bytes32(c->out, v, c->max);
}

static void
c_address(struct call *c, const uint8_t v[static 20])
{
	if (c->e == ERR_OK)
		c->e = abi_put_address(c->out, v, c->max);
}

static void
c_bytes(struct call *c, struct bytes v)
{
	if (c->e == ERR_OK)
		c->e = abi_put_bytes(c->out, v.p, v.len, c->max);
}

/* (uint256 seats, uint64 asOf, bytes byRoot, bytes byCluster) */
static void
c_holders(struct call *c, const struct registry_holders *h,
    const struct k256_sig65 *by_root, const struct k256_sig65 *by_cluster)
{
	const uint64_t head = 4 * ABI_WORD;

	c_u64(c, h->seats);
	c_u64(c, h->as_of);
	c_u64(c, head);
	c_u64(c, head + abi_bytes_size(sizeof by_root->b));
	c_bytes(c, BYTES_OF(by_root->b));
	c_bytes(c, BYTES_OF(by_cluster->b));
}

enum err
registryabi_call_state(struct buf *out)
{
	return call(out, CALL_STATE).e;
}

enum err
registryabi_call_pin_of(struct buf *out, const uint8_t app_id[static 20])
{
	struct call c = call(out, CALL_PIN_OF);

	c_address(&c, app_id);
	return c.e;
}

enum err
registryabi_publish_root(struct buf *out, const struct k256_pub *k256,
    const uint8_t ca_spki_hash[static 32], const struct k256_sig65 *certificate,
    const struct registry_holders *h, const struct k256_sig65 *by_root,
    const struct k256_sig65 *by_cluster)
{
	struct call c = call(out, CALL_PUBLISH_ROOT);
	uint64_t at = 5 * ABI_WORD;

	c_u64(&c, h->epoch);
	c_u64(&c, at);
	at += abi_bytes_size(sizeof k256->b);
	c_hash(&c, ca_spki_hash);
	c_u64(&c, at);
	at += abi_bytes_size(sizeof certificate->b);
	c_u64(&c, at);
	c_bytes(&c, BYTES_OF(k256->b));
	c_bytes(&c, BYTES_OF(certificate->b));
	c_holders(&c, h, by_root, by_cluster);
	return c.e;
}

enum err
registryabi_attest_holders(struct buf *out, const struct registry_holders *h,
    const struct k256_sig65 *by_root, const struct k256_sig65 *by_cluster)
{
	struct call c = call(out, CALL_ATTEST_HOLDERS);

	c_u64(&c, h->epoch);
	c_u64(&c, 2 * ABI_WORD);
	c_holders(&c, h, by_root, by_cluster);
	return c.e;
}

enum err
registryabi_record_handovers(struct buf *out, uint64_t from,
    const struct registry_handover *list, size_t n,
    const struct k256_sig65 *sig)
{
	const uint64_t head = 3 * ABI_WORD;
	struct call c;

	if (n == 0 || n > REGISTRY_HANDOVERS_MAX)
		return ERR_LIMIT;
	c = call(out, CALL_RECORD_HANDOVERS);
	c_u64(&c, from);
	c_u64(&c, head);
	c_u64(&c, head + (1 + 6 * n) * ABI_WORD);
	c_u64(&c, n);
	for (size_t i = 0; c.e == ERR_OK && i < n; i++) {
		struct words w = { .len = 0 };

		w_handover(&w, &list[i]);
		c.e = buf_append(out, w.b, w.len, c.max);
	}
	c_bytes(&c, BYTES_OF(sig->b));
	return c.e;
}

enum err
registryabi_register_genesis(struct buf *out, const struct k256_pub *k256,
    const uint8_t ca_spki_hash[static 32])
{
	struct call c = call(out, CALL_REGISTER_GENESIS);

	c_u64(&c, 2 * ABI_WORD);
	c_hash(&c, ca_spki_hash);
	c_bytes(&c, BYTES_OF(k256->b));
	return c.e;
}

enum err
registryabi_order_rotation(struct buf *out, enum registry_mode mode,
    uint64_t not_before, uint64_t retire_after)
{
	struct call c = call(out, CALL_ORDER_ROTATION);

	c_u64(&c, mode);
	c_u64(&c, not_before);
	c_u64(&c, retire_after);
	return c.e;
}

enum err
registryabi_withdraw_order(struct buf *out)
{
	return call(out, CALL_WITHDRAW_ORDER).e;
}

enum err
registryabi_confirm_root(
    struct buf *out, uint64_t epoch, const uint8_t root_hash[static 32])
{
	struct call c = call(out, CALL_CONFIRM_ROOT);

	c_u64(&c, epoch);
	c_hash(&c, root_hash);
	return c.e;
}

static enum err
of_epoch(struct buf *out, uint32_t selector, uint64_t epoch)
{
	struct call c = call(out, selector);

	c_u64(&c, epoch);
	return c.e;
}

enum err
registryabi_activate(struct buf *out, uint64_t epoch)
{
	return of_epoch(out, CALL_ACTIVATE, epoch);
}

enum err
registryabi_veto_root(struct buf *out, uint64_t epoch)
{
	return of_epoch(out, CALL_VETO_ROOT, epoch);
}

enum err
registryabi_taint(struct buf *out, uint64_t epoch)
{
	return of_epoch(out, CALL_TAINT, epoch);
}

enum err
registryabi_destroy(struct buf *out, uint64_t epoch)
{
	return of_epoch(out, CALL_DESTROY, epoch);
}

enum err
registryabi_retire(struct buf *out, uint64_t epoch, uint64_t at)
{
	struct call c = call(out, CALL_RETIRE);

	c_u64(&c, epoch);
	c_u64(&c, at);
	return c.e;
}

enum err
registryabi_pin(
    struct buf *out, const uint8_t app_id[static 20], uint64_t epoch)
{
	struct call c = call(out, CALL_PIN);

	c_address(&c, app_id);
	c_u64(&c, epoch);
	return c.e;
}
