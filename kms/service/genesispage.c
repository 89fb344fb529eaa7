#include <string.h>

#include "common/base/json.h"
#include "common/base/log.h"
#include "kms/service/genesispage.h"

void
genesispage_fini(struct genesispage *p)
{
	evidence_fini(&p->keys);
	evidence_fini(&p->anchor);
	*p = (struct genesispage){ 0 };
}

void
genesispage_update(struct genesispage *p, const struct cluster *c)
{
	struct cluster_genesis g;
	bool has = cluster_genesis(c, &g);

	if (!has || !p->has || memcmp(g.anchor.hash, p->g.anchor.hash, 32) != 0)
		genesispage_fini(p);
	p->has = has;
	if (has)
		p->g = g;
}

static void
quote(struct evidence *out, struct self *self, const uint8_t rd[static 64])
{
	struct refusal why = { 0 };

	if (out->quote.len == 0 &&
	    tee_evidence(self_tee(self), out, rd, &why) != ERR_OK)
		log_event(LOG_WARN, "genesis_quote", log_why(&why));
}

void
genesispage_quote(struct genesispage *p, const struct kmsd_config *cfg,
    struct self *self, const uint8_t incarnation[static INCARNATION_ID_LEN])
{
	struct anchor_genesis a = { .chain_id = cfg->chain_id,
		.root = p->g.pub.k256,
		.at = p->g.anchor };
	uint8_t rd[64];

	if (!p->has)
		return;
	keys_bootstrap_report_data(rd, &p->g.pub);
	quote(&p->keys, self, rd);
	memcpy(a.contract, cfg->anchor_contract, sizeof a.contract);
	memcpy(a.incarnation, incarnation, sizeof a.incarnation);
	memcpy(a.signer, p->g.signer, sizeof a.signer);
	anchor_genesis_report_data(rd, &a);
	quote(&p->anchor, self, rd);
}

bool
genesispage_ready(const struct genesispage *p)
{
	return p->has && p->keys.quote.len > 0 && p->anchor.quote.len > 0;
}

static json_t *
anchor_json(const struct genesispage *p,
    const uint8_t incarnation[static INCARNATION_ID_LEN])
{
	json_t *o = json_object();

	(void)!json_set_u64(o, "index", p->g.anchor.index);
	(void)!json_set_hex(o, "hash", p->g.anchor.hash, 32);
	(void)!json_set_hex(o, "incarnation", incarnation, INCARNATION_ID_LEN);
	(void)!json_set_hex(o, "signer", p->g.signer, 20);
	(void)!json_set_hex(o, "quote", p->anchor.quote.p, p->anchor.quote.len);
	return o;
}

enum err
genesispage_render(struct buf *out, const struct genesispage *p,
    const uint8_t incarnation[static INCARNATION_ID_LEN])
{
	uint8_t spki[P256_SPKI_LEN];
	json_t *o;
	enum err e;

	if (!genesispage_ready(p))
		return ERR_OK;
	if ((o = json_object()) == NULL)
		return ERR_NOMEM;
	if ((e = p256_spki(spki, &p->g.pub.ca)) == ERR_OK &&
	    (e = json_set_u64(o, "number", 0)) == ERR_OK &&
	    (e = json_set_hex(o, "k256_pub", p->g.pub.k256.b, 33)) == ERR_OK &&
	    (e = json_set_hex(o, "ca_spki", spki, sizeof spki)) == ERR_OK &&
	    (e = json_set_hex(
		 o, "quote", p->keys.quote.p, p->keys.quote.len)) == ERR_OK &&
	    (e = json_set_str(o, "event_log", (char *)p->keys.event_log.p)) ==
		ERR_OK &&
	    (e = json_set_str(o, "vm_config", (char *)p->keys.vm_config.p)) ==
		ERR_OK &&
	    (e = json_set_new(o, "anchor", anchor_json(p, incarnation))) ==
		ERR_OK)
		e = json_write(out, o);
	json_decref(o);
	return e;
}
