#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "kms/ctl/rootchain.h"

static enum err
bad(char *why, size_t why_cap, uint64_t epoch, const char *what)
{
	(void)snprintf(
	    why, why_cap, "epochs: that of epoch %" PRIu64 ": %s", epoch, what);
	return ERR_MALFORMED;
}

static enum err
read_link(struct rootchain_link *l, const json_t *v, uint64_t epoch, char *why,
    size_t why_cap)
{
	const char *mode = "";
	uint64_t number;

	if (json_get_u64(&number, v, "number") != ERR_OK || number != epoch)
		return bad(why, why_cap, epoch, "is not in its place");
	l->cert.epoch = number;
	if (json_get_hex(l->cert.k256.b, 33, v, "k256_pub") != ERR_OK)
		return bad(why, why_cap, epoch, "k256_pub: 33 bytes in hex");
	if (json_get_hex(l->cert.ca_spki_hash, 32, v, "ca_spki_sha256") !=
	    ERR_OK)
		return bad(
		    why, why_cap, epoch, "ca_spki_sha256: 32 bytes in hex");
	if (json_get_hex(l->sig.b, 65, v, "certificate") != ERR_OK)
		return bad(why, why_cap, epoch, "certificate: 65 bytes in hex");
	if (json_get_str(&mode, v, "mode") != ERR_OK ||
	    (strcmp(mode, "routine") != 0 && strcmp(mode, "emergency") != 0))
		return bad(why, why_cap, epoch, "mode: routine or emergency");
	l->cert.mode = mode[0] == 'r' ? EPOCHCERT_ROUTINE : EPOCHCERT_EMERGENCY;
	return ERR_OK;
}

enum err
rootchain_read(
    struct rootchain *out, const json_t *claim, char *why, size_t why_cap)
{
	const json_t *epochs = json_object_get(claim, "epochs"), *v;
	struct rootchain c = { .n = 0 };
	uint64_t chain_id = 0, number;
	uint8_t registry[20];
	size_t i;
	enum err e;

	if (epochs == NULL || json_array_size(epochs) == 0) {
		*out = c;
		return ERR_OK;
	}
	if (!json_is_array(epochs) || json_array_size(epochs) > ROOTCHAIN_MAX) {
		(void)snprintf(
		    why, why_cap, "epochs: at most %d of them", ROOTCHAIN_MAX);
		return ERR_MALFORMED;
	}
	json_array_foreach(epochs, i, v)
	{
		/* Epoch 0 is what is pinned; it follows from nothing. */
		if (i == 0 && json_get_u64(&number, v, "number") == ERR_OK &&
		    number == 0)
			continue;
		e = read_link(&c.link[c.n], v, c.n + 1, why, why_cap);
		if (e != ERR_OK)
			return e;
		c.n++;
	}
	if (c.n > 0 &&
	    (json_get_u64(&chain_id, claim, "chain_id") != ERR_OK ||
		json_get_hex(registry, 20, claim, "registry") != ERR_OK)) {
		(void)snprintf(why, why_cap,
		    "epochs are certified for one registry: chain_id (a "
		    "number) and registry (20 bytes in hex) are missing");
		return ERR_MALFORMED;
	}
	for (i = 0; i < c.n; i++) {
		c.link[i].cert.chain_id = chain_id;
		memcpy(c.link[i].cert.registry, registry, 20);
	}
	*out = c;
	return ERR_OK;
}

static enum err
check_emergency(const struct rootchain_link *l, const uint8_t (*signer)[20],
    size_t n_signers, struct refusal *why)
{
	uint8_t by[20];

	if (epochcert_signer(by, &l->cert, &l->sig) != ERR_OK)
		return refuse(why, REASON_ROOT_MISMATCH,
		    "the certificate of epoch %" PRIu64 " is no signature",
		    l->cert.epoch);
	for (size_t i = 0; i < n_signers; i++)
		if (memcmp(signer[i], by, 20) == 0)
			return ERR_OK;
	if (n_signers > 0)
		return refuse(why, REASON_ROOT_MISMATCH,
		    "the certificate of epoch %" PRIu64
		    ", an emergency, is not signed by an anchor's signer that "
		    "was named",
		    l->cert.epoch);
	return refuse(why, REASON_ROOT_MISMATCH,
	    "epoch %" PRIu64
	    " came by an emergency, which the root before it does not sign: "
	    "ask the registry (--rpc URL --registry 0xADDR), or name the "
	    "anchor's signer (--anchor-signer)",
	    l->cert.epoch);
}

enum err
rootchain_follow(uint64_t *epoch, const struct rootchain *c,
    const struct k256_pub *genesis, const struct k256_pub *root,
    const uint8_t (*signer)[20], size_t n_signers, struct refusal *why)
{
	const struct k256_pub *before = genesis;
	enum err e = ERR_OK;

	if (memcmp(genesis, root, sizeof *root) == 0) {
		*epoch = 0;
		return ERR_OK;
	}
	for (size_t i = 0; i < c->n; i++) {
		const struct rootchain_link *l = &c->link[i];

		if (l->cert.mode == EPOCHCERT_EMERGENCY)
			e = check_emergency(l, signer, n_signers, why);
		else if (epochcert_verify(&l->cert, &l->sig, before) != ERR_OK)
			e = refuse(why, REASON_ROOT_MISMATCH,
			    "the certificate of epoch %" PRIu64
			    " is not signed by the root before it, or was for "
			    "another root, chain or registry",
			    l->cert.epoch);
		if (e != ERR_OK)
			return e;
		before = &l->cert.k256;
		if (memcmp(before, root, sizeof *root) == 0) {
			*epoch = l->cert.epoch;
			return ERR_OK;
		}
	}
	return refuse(why, REASON_ROOT_MISMATCH, "%s",
	    c->n == 0
		? "the links end at another root, without certificates of "
		  "later epochs: key, purpose, app or a signature is not what "
		  "it claims to be, or ask the registry (--registry)"
		: "the links end at a root that is none of these epochs': key, "
		  "purpose, app or a signature is not what it claims to be");
}
