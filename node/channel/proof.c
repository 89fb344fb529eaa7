#include "node/channel/proof.h"
#include "common/base/limits.h"
#include "common/crypto/hash.h"
#include "common/wire/kms.pb-c.h"
#include "common/wire/pballoc.h"

/* Three members, what protobuf-c needs besides, and what a later version may
 * add; a stranger sends this. */
#define MAX_BYTES (LIMIT_EVIDENCE + 16u * 1024)
#define MAX_PARTS 64u

static bool
within_bounds(size_t quote, size_t event_log, size_t vm_config)
{
	return quote > 0 && quote <= LIMIT_QUOTE &&
	    event_log <= LIMIT_EVENT_LOG && vm_config <= LIMIT_VM_CONFIG;
}

static struct bytes
be64(uint8_t out[static 8], uint64_t v)
{
	for (unsigned i = 0; i < 8; i++)
		out[i] = (uint8_t)(v >> (56 - 8 * i));
	return (struct bytes){ out, 8 };
}

void
proof_bind(uint8_t out[static 64], enum channel_role role,
    const uint8_t hash[static 32], const uint8_t own_static[static 32])
{
	const uint8_t r = (uint8_t)role;
	const struct bytes part[] = { BYTES_STR("devproof-kms/channel/v1"),
		{ &r, 1 }, { hash, 32 }, { own_static, 32 } };

	sha512_v(out, part, sizeof part / sizeof part[0]);
}

void
proof_bind_renewal(uint8_t out[static 64], enum channel_role role,
    const uint8_t hash[static 32], const uint8_t own_static[static 32],
    const uint8_t peer_nonce[static 32], uint64_t n)
{
	const uint8_t r = (uint8_t)role;
	uint8_t count[8];
	const struct bytes part[] = { BYTES_STR(
					  "devproof-kms/channel-renew/v1"),
		{ &r, 1 }, { hash, 32 }, { own_static, 32 }, { peer_nonce, 32 },
		be64(count, n) };

	sha512_v(out, part, sizeof part / sizeof part[0]);
}

static ProtobufCBinaryData
pb(const struct buf *b)
{
	return (ProtobufCBinaryData){ .len = b->len, .data = b->p };
}

enum err
proof_pack(struct buf *out, const struct evidence *e)
{
	Devproof__Kms__V1__Evidence m = DEVPROOF__KMS__V1__EVIDENCE__INIT;
	size_t len;
	enum err err;

	if (!within_bounds(e->quote.len, e->event_log.len, e->vm_config.len))
		return ERR_LIMIT;
	m.tee = (uint32_t)e->tee;
	m.quote = pb(&e->quote);
	m.event_log = pb(&e->event_log);
	m.vm_config = pb(&e->vm_config);
	len = devproof__kms__v1__evidence__get_packed_size(&m);
	if ((err = buf_reserve(out, out->len + len)) != ERR_OK)
		return err;
	out->len += devproof__kms__v1__evidence__pack(&m, out->p + out->len);
	out->p[out->len] = 0;
	return ERR_OK;
}

enum err
proof_unpack(struct evidence *out, struct bytes in)
{
	struct evidence e = { 0 };
	struct pballoc alloc;
	Devproof__Kms__V1__Evidence *m = NULL;
	enum err err;

	if (in.len > LIMIT_EVIDENCE)
		return ERR_LIMIT;
	pballoc_init(&alloc, MAX_BYTES, MAX_PARTS);
	m = devproof__kms__v1__evidence__unpack(&alloc.a, in.len, in.p);
	if (m == NULL)
		return alloc.failed ? ERR_NOMEM : ERR_MALFORMED;
	if (m->tee < TEE_TDX || m->tee > TEE_SGX) {
		err = ERR_MALFORMED;
		goto done;
	}
	if (!within_bounds(m->quote.len, m->event_log.len, m->vm_config.len)) {
		err = ERR_LIMIT;
		goto done;
	}
	e.tee = (enum tee_kind)m->tee;
	if ((err = buf_set(&e.quote, m->quote.data, m->quote.len)) != ERR_OK ||
	    (err = buf_set(&e.event_log, m->event_log.data,
		 m->event_log.len)) != ERR_OK ||
	    (err = buf_set(
		 &e.vm_config, m->vm_config.data, m->vm_config.len)) != ERR_OK)
		goto done;
	*out = e;
	e = (struct evidence){ 0 };
done:
	devproof__kms__v1__evidence__free_unpacked(m, &alloc.a);
	evidence_fini(&e);
	return err;
}
