/* kmsctl rotate certificates: what leads from the root of epoch 0 to those of
 * later epochs, as the chain keeps it, for whoever wants to verify offline. */
#include <string.h>

#include "common/eth/abird.h"
#include "common/eth/rpc.h"
#include "kms/ctl/gov.h"
#include "kms/ctl/logs.h"
#include "kms/ctl/rotate.h"

/* cast keccak 'RootPublished(uint64,uint64,uint8,bytes,bytes32,bytes)' */
static const char topics[] =
    "[\"0x4279476651c1ec91bb5fbcb60ab834953568591f756f038f003946aa4d57c261\"]";

#define DATA_MAX 4096

struct search {
	const struct registry_state *s;
	json_t *by_epoch[REGISTRY_EPOCHS_MAX]; /* owns, or NULL */
};

/* Length, bytes, zeros: what an offset leads to. */
static bool
rd_exactly(struct rd *r, uint8_t *out, size_t len)
{
	const uint8_t *p;

	abird_exactly(r, len);
	p = rd_bytes(r, abi_bytes_size(len) - ABI_WORD);
	if (p != NULL)
		memcpy(out, p, len);
	return !r->bad;
}

/* (uint8 mode, bytes k256, bytes32 caSpkiHash, bytes sig) */
static bool
rd_root(struct rd *r, uint64_t *mode, struct k256_pub *k256,
    uint8_t ca[static 32], struct k256_sig65 *sig)
{
	*mode = abird_upto(r, REGISTRY_EMERGENCY);
	abird_exactly(r, 4 * ABI_WORD);
	abird_hash(r, ca);
	abird_exactly(r, 4 * ABI_WORD + abi_bytes_size(sizeof k256->b));
	return rd_exactly(r, k256->b, sizeof k256->b) &&
	    rd_exactly(r, sig->b, sizeof sig->b) && rd_done(r);
}

static bool
topic_u64(uint64_t *out, const json_t *log, size_t i)
{
	uint8_t w[32];

	return rpc_fixed(
		   w, 32, json_array_get(json_object_get(log, "topics"), i)) ==
	    ERR_OK &&
	    abi_get_u64(out, (struct bytes){ w, 32 }) == ERR_OK;
}

/* Those that came into use; vetoed ones did not. */
static enum err
take(void *cookie, const json_t *log)
{
	struct search *q = cookie;
	const struct registry_epoch *x;
	uint64_t epoch = 0, order = 0, mode = 0;
	struct k256_sig65 sig = { { 0 } };
	struct k256_pub k256 = { { 0 } };
	struct buf data = { 0 };
	uint8_t ca[32] = { 0 };
	struct rd r;
	json_t *o, **place;
	enum err e = ERR_MALFORMED;

	if (!topic_u64(&epoch, log, 1) || !topic_u64(&order, log, 2) ||
	    rpc_data(&data, DATA_MAX, json_object_get(log, "data")) != ERR_OK)
		goto done;
	r = (struct rd){ .p = data.p, .left = data.len };
	if (!rd_root(&r, &mode, &k256, ca, &sig))
		goto done;
	e = ERR_OK;
	x = registry_epoch_of(q->s, epoch);
	if (x == NULL || x->status < REGISTRY_ACTIVE || x->order != order ||
	    memcmp(&x->k256, &k256, sizeof k256) != 0)
		goto done;
	o = json_object();
	(void)json_set_u64(o, "number", epoch);
	(void)json_set_hex(o, "k256_pub", k256.b, sizeof k256.b);
	(void)json_set_hex(o, "ca_spki_sha256", ca, sizeof ca);
	(void)json_set_str(
	    o, "mode", mode == REGISTRY_ROUTINE ? "routine" : "emergency");
	(void)json_set_hex(o, "certificate", sig.b, sizeof sig.b);
	place = &q->by_epoch[x - q->s->epoch];
	json_decref(*place);
	*place = o;
done:
	buf_fini(&data);
	return e;
}

static enum ctl_exit
tell(const struct ctl *c, const struct gov *g, struct search *q)
{
	json_t *v = json_object(), *list = json_array();

	(void)json_set_u64(v, "chain_id", g->k.chain_id);
	(void)json_set_hex(v, "registry", g->k.registry, 20);
	(void)json_set_hex(v, "root_of_epoch_0", g->s.epoch[0].k256.b, 33);
	for (size_t i = 1; i < g->s.n_epochs; i++) {
		if (g->s.epoch[i].status < REGISTRY_ACTIVE)
			continue;
		if (q->by_epoch[i] == NULL) {
			json_decref(v);
			json_decref(list);
			return ctl_fail(c, CTL_FAILED,
			    "the event of epoch %llu is not there; does the "
			    "endpoint keep blocks so old? (--from-block)",
			    (unsigned long long)g->s.epoch[i].number);
		}
		(void)json_array_append(list, q->by_epoch[i]);
	}
	(void)json_object_set_new(v, "epochs", list);
	return ctl_result(c, v, CTL_OK);
}

enum ctl_exit
rotate_certificates(struct ctl *c, const struct args *a)
{
	const char *from_text = args_get(a, "from-block");
	struct refusal why = { .code = REASON_NONE };
	struct search q = { .s = NULL };
	uint64_t from = 0, last = 0;
	struct gov g;
	enum ctl_exit rc;
	enum err e;

	if (from_text != NULL &&
	    args_u64(&from, from_text, INT64_MAX) != ERR_OK)
		return ctl_fail(c, CTL_USAGE, "--from-block: a block's number");
	if ((rc = gov_open(&g, c, a, false, true)) != CTL_OK)
		return rc;
	if (g.s.n_epochs == 0 || g.s.epoch[0].number != 0)
		return ctl_fail(c, CTL_FAILED, "%s",
		    g.s.n_epochs == 0 ? "the registry has no epoch 0 yet"
				      : "epoch 0 is out of its sight");
	q.s = &g.s;
	e = contract_block_number(&last, &g.k, "latest", &why);
	if (e == ERR_OK)
		e = logs_each(
		    &g.k, g.k.registry, topics, from, last, take, &q, &why);
	rc = e == ERR_OK ? tell(c, &g, &q)
			 : ctl_denied(c, "the registry's events", e, &why);
	for (size_t i = 0; i < REGISTRY_EPOCHS_MAX; i++)
		json_decref(q.by_epoch[i]);
	return rc;
}
