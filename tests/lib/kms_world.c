#include <arpa/inet.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <criterion/criterion.h>
#include <sodium.h>

#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/hex.h"
#include "common/base/json.h"
#include "common/crypto/hash.h"
#include "common/eth/abi.h"
#include "common/eth/appauth.h"
#include "node/tee/pccs_server.h"
#include "node/tee/simimage.h"
#include "node/tee/simpki.h"
#include "tests/lib/kms_world.h"
#include "tests/lib/tmpdir.h"

#define ABI_MAX (1u << 20)
#define ANCHOR_STATE 0xc19d93fbu /* selector of ClusterAnchor.state() */
/* The first block is so old: later ones may come at once and are not of the
 * future. */
#define FIRST_BLOCKS_AGO 40

const uint8_t kms_world_contract[20] = { 0x9f, 0xe4 };
const uint8_t kms_world_anchor_contract[20] = { 0xa2, 0xc4 };
const uint8_t kms_world_registry_contract[20] = { 0x4e, 0x91 };
static _Atomic uint64_t fake_ms = 1000000;

/* ---- the world ---- */

uint64_t
kms_world_mono(void)
{
	return atomic_load(&fake_ms);
}

static void
say_gateway(struct kms_world *w, const char *text)
{
	struct buf b = { 0 };

	cr_assert_eq(abi_put_u64(&b, ABI_WORD, ABI_MAX), ERR_OK);
	cr_assert_eq(abi_put_bytes(&b, text, strlen(text), ABI_MAX), ERR_OK);
	mock_answer(w->chain, MOCK_ALL, APPAUTH_GATEWAY_APP_ID, b.p, b.len);
	buf_fini(&b);
}

static void
open_verifier(struct kms_world *w)
{
	char url[64];
	struct buf root = { 0 };
	struct verifier_options o = { .pccs_url = url };

	cr_assert_eq(pccs_server_start(
			 &w->pccs, w->sim.dir, "127.0.0.1", 0, clock_wall_s),
	    ERR_OK);
	(void)snprintf(
	    url, sizeof url, "http://127.0.0.1:%u", pccs_server_port(w->pccs));
	cr_assert_eq(sim_pki_document(&root, w->sim.dir, SIM_DOC_ROOT), ERR_OK);
	attest_policy_default(&o.policy);
	o.policy.allow_simulated = true;
	o.simulated_root = buf_view(&root);
	cr_assert_eq(verifier_new(&w->verifier, &o), ERR_OK);
	buf_fini(&root);
}

/* A socket bound to a free port below those that the kernel gives to whoever
 * dials. */
static int
take_port(uint16_t *port)
{
	for (int i = 0; i < 1000; i++) {
		struct sockaddr_in sa = { .sin_family = AF_INET,
			.sin_addr = { htonl(INADDR_LOOPBACK) } };
		int fd = socket(AF_INET, SOCK_STREAM, 0);

		cr_assert_geq(fd, 0);
		*port = (uint16_t)(10000 + randombytes_uniform(20000));
		sa.sin_port = htons(*port);
		if (bind(fd, (struct sockaddr *)&sa, sizeof sa) == 0)
			return fd;
		(void)close(fd);
	}
	return -1;
}

/* Free ports: nobody else's, as long as nobody else is quicker. */
static void
choose_ports(struct kms_world *w)
{
	int fd[KMS_SLOTS];

	for (unsigned i = 0; i < KMS_SLOTS; i++) {
		uint16_t port;

		fd[i] = take_port(&port);
		cr_assert_geq(fd[i], 0, "no port is free");
		(void)snprintf(
		    w->url[i], sizeof w->url[i], "tcp://127.0.0.1:%u", port);
	}
	for (unsigned i = 0; i < KMS_SLOTS; i++)
		(void)close(fd[i]);
}

/* ---- ClusterAnchor.state(), as tests/unit/test_anchor.c has it ---- */

static void
put_u64(struct buf *b, uint64_t n)
{
	cr_assert_eq(abi_put_u64(b, n, ABI_MAX), ERR_OK);
}

static void
put_word(struct buf *b, const uint8_t word[static 32])
{
	cr_assert_eq(abi_put_bytes32(b, word, ABI_MAX), ERR_OK);
}

static void
put_slot(struct buf *b, const char *slot)
{
	uint8_t word[32] = { 0 };

	memcpy(word, slot, strlen(slot));
	put_word(b, word);
}

static void
put_signer(struct buf *b, const uint8_t address[static 20], uint64_t other)
{
	static const uint8_t zero[20];

	if (other == 0 || memcmp(address, zero, sizeof zero) == 0)
		put_u64(b, other);
	else
		cr_assert_eq(abi_put_address(b, address, ABI_MAX), ERR_OK);
}

void
kms_world_anchor(struct kms_world *w)
{
	const struct anchor_view *v = &w->anchor;
	struct buf b = { 0 };

	put_u64(&b, 0x20);
	cr_assert_eq(abi_put_address(&b, kms_world_contract, ABI_MAX), ERR_OK);
	put_u64(&b, 0xbbbb); /* owner */
	put_u64(&b, v->wait_s);
	/* Somebody's, if no genesis has named one. */
	put_signer(&b, v->signer, v->at.generation != 0 ? 0xcccc : 0);
	put_u64(&b, 0);
	put_u64(&b, v->at.generation);
	put_u64(&b, v->at.index);
	put_word(&b, v->at.hash);
	put_word(&b, v->opener);
	put_u64(&b, v->vetoes + (v->order.set ? 1 : 0)); /* orders ever */
	put_word(&b, v->order.incarnation);
	put_u64(&b, v->order.lossy);
	put_u64(&b, v->announced.to.generation);
	put_u64(&b, v->announced.to.index);
	put_word(&b, v->announced.to.hash);
	put_word(&b, v->announced.incarnation);
	put_u64(&b, v->announced.open_at);
	put_u64(&b, v->vetoes);
	put_u64(&b, 19 * 32);
	put_u64(&b, v->n_seats);
	for (unsigned i = 0; i < v->n_seats; i++) {
		put_slot(&b, v->seat[i].slot);
		put_word(&b, v->seat[i].device_id);
	}
	mock_answer(w->chain, MOCK_ALL, ANCHOR_STATE, b.p, b.len);
	buf_fini(&b);
}

void
kms_world_seat(struct kms_world *w, const char *slot, const char *host)
{
	struct anchor_seat *s = &w->anchor.seat[w->anchor.n_seats++];

	*s = (struct anchor_seat){ 0 };
	memcpy(s->slot, slot, strlen(slot));
	kms_world_device(s->device_id, w, host);
	kms_world_anchor(w);
}

/* A device's id is the hash of its PPID, which is in the host's file. */
void
kms_world_device(
    uint8_t id[static 32], const struct kms_world *w, const char *host)
{
	char path[600];
	struct buf b = { 0 };
	const char *hex;
	json_t *v = NULL;
	uint8_t ppid[16];

	(void)snprintf(
	    path, sizeof path, "%s/hosts/%s/host.json", w->sim.dir, host);
	cr_assert_eq(file_read(&b, path, 1u << 16), ERR_OK, "%s", path);
	cr_assert_eq(json_parse(&v, b.p, b.len, 1u << 16, NULL, 0), ERR_OK);
	cr_assert_eq(json_get_str(&hex, v, "ppid"), ERR_OK);
	cr_assert_eq(hex_fixed(ppid, sizeof ppid, hex), ERR_OK);
	sha256(id, ppid, sizeof ppid);
	json_decref(v);
	buf_fini(&b);
}

void
kms_world_open(struct kms_world *w, const struct cluster_genesis *g,
    const uint8_t incarnation[static INCARNATION_ID_LEN])
{
	w->anchor.at = g->anchor;
	memcpy(w->anchor.signer, g->signer, sizeof w->anchor.signer);
	memcpy(w->anchor.opener, incarnation, INCARNATION_ID_LEN);
	kms_world_anchor(w);
	kms_world_root(w, &g->pub.k256);
	kms_world_block(w);
}

void
kms_world_announce(struct kms_world *w, int64_t in_s)
{
	struct anchor_view *v = &w->anchor;

	v->order.set = v->announced.set = true;
	memset(v->order.incarnation, 0x22, 32);
	memset(v->announced.incarnation, 0x22, 32);
	v->announced.to = v->at;
	v->announced.to.generation++;
	v->announced.open_at = (uint64_t)(clock_wall_s() + in_s);
	kms_world_anchor(w);
	kms_world_block(w);
}

void
kms_world_veto(struct kms_world *w)
{
	struct anchor_view *v = &w->anchor;

	memset(&v->order, 0, sizeof v->order);
	memset(&v->announced, 0, sizeof v->announced);
	v->vetoes++;
	kms_world_anchor(w);
	kms_world_block(w);
}

/* ---- its life ---- */

void
kms_world_init(struct kms_world *w)
{
	static const char compose[] = "{\"name\":\"kms\"}";
	int64_t now = clock_wall_s();
	struct simworld *s = &w->sim;

	*w = (struct kms_world){ .block = ((uint64_t)now - MOCK_TIME(0)) / 12 -
		    FIRST_BLOCKS_AGO,
		.anchor = { .wait_s = 4 * KMS_FENCE_S } };
	registry_says_new(
	    &w->registry, kms_world_contract, kms_world_anchor_contract);
	/* The service asks the machine for the time: a PKI of today. */
	s->dir = tmpdir_new();
	(void)snprintf(s->host, sizeof s->host, "%s/hosts/h1", s->dir);
	(void)snprintf(s->image, sizeof s->image, "%s/images/kms", s->dir);
	cr_assert_eq(sim_pki_init(s->dir, 0, now), ERR_OK);
	cr_assert_eq(sim_host_create(s->dir, "h1", now), ERR_OK);
	cr_assert_eq(sim_image_create(s->dir, "kms", "seed"), ERR_OK);
	(void)snprintf(
	    w->compose, sizeof w->compose, "%s/app-compose.json", s->dir);
	cr_assert_eq(
	    file_write(w->compose, compose, sizeof compose - 1, 0600), ERR_OK);
	open_verifier(w);
	w->chain = mock_chain_new(1, KMS_CHAIN_ID);
	say_gateway(w, "");
	kms_world_say(w, APPAUTH_IS_APP_ALLOWED, true, "");
	kms_world_say(w, APPAUTH_IS_KMS_ALLOWED, true, "");
	kms_world_root(w, NULL);
	for (unsigned i = 0; i < KMS_SLOTS; i++)
		kms_world_seat(
		    w, (const char[]){ (char)('a' + i), '\0' }, "h1");
	choose_ports(w);
	kms_world_block(w);
}

void
kms_world_fini(struct kms_world *w)
{
	verifier_free(w->verifier);
	pccs_server_stop(w->pccs);
	mock_chain_free(w->chain);
	simworld_fini(&w->sim);
}

void
kms_world_say(
    struct kms_world *w, uint32_t selector, bool allowed, const char *text)
{
	struct buf b = { 0 };

	cr_assert_eq(abi_put_u64(&b, allowed, ABI_MAX), ERR_OK);
	cr_assert_eq(abi_put_u64(&b, 2 * ABI_WORD, ABI_MAX), ERR_OK);
	cr_assert_eq(abi_put_bytes(&b, text, strlen(text), ABI_MAX), ERR_OK);
	mock_answer(w->chain, MOCK_ALL, selector, b.p, b.len);
	buf_fini(&b);
}

void
kms_world_root(struct kms_world *w, const struct k256_pub *root)
{
	size_t len[4] = { root != NULL ? sizeof root->b : 0, 0, 0, 0 };
	uint64_t at = 4 * ABI_WORD;
	struct buf b = { 0 };

	for (size_t i = 0; i < 4; i++) {
		cr_assert_eq(abi_put_u64(&b, at, ABI_MAX), ERR_OK);
		at += abi_bytes_size(len[i]);
	}
	for (size_t i = 0; i < 4; i++)
		cr_assert_eq(abi_put_bytes(&b, root != NULL ? root->b : NULL,
				 len[i], ABI_MAX),
		    ERR_OK);
	mock_answer(w->chain, MOCK_ALL, APPAUTH_KMS_INFO, b.p, b.len);
	buf_fini(&b);
}

void
kms_world_block(struct kms_world *w)
{
	w->block++;
	mock_head(w->chain, MOCK_ALL, w->block + 2, w->block + 1, w->block);
	atomic_fetch_add(&fake_ms, 2 * KMS_POLL_MS);
}

void
kms_world_registry(struct kms_world *w, uint64_t pin)
{
	registry_says(
	    w->chain, MOCK_ALL, kms_world_registry_contract, &w->registry);
	registry_says_pin(w->chain, MOCK_ALL, kms_world_registry_contract, pin);
}

/* ---- those who call ---- */

static enum err
caller_prove(void *cookie, struct evidence *out, const uint8_t rd[static 64],
    struct refusal *why)
{
	struct kms_caller *c = cookie;

	return tee_evidence(c->td, out, rd, why);
}

/* Verifies in earnest, but leaves the contract to the other side: what is
 * refused is refused by the node. */
static enum err
caller_check(void *cookie, struct attested *out, const struct evidence *e,
    const uint8_t rd[static 64], enum channel_role role, struct refusal *why)
{
	struct kms_caller *c = cookie;

	(void)role;
	return verifier_check(
	    c->w->verifier, out, e, rd, BOOT_KMS, clock_wall_s(), why);
}

static int64_t
caller_now(void *cookie)
{
	(void)cookie;
	return clock_wall_s();
}

void
kms_caller_boot_as(struct kms_caller *c, struct kms_world *w,
    enum channel_role role, uint8_t id, int instance)
{
	struct refusal why = { 0 };
	char run_dir[600];
	struct tee_options o = { .simulated = true,
		.sim_host = w->sim.host,
		.sim_image = w->sim.image,
		.run_dir = run_dir };
	static const char provider[] = "{\"name\":\"none\",\"id\":\"\"}";
	uint8_t hash[32], inst[20];

	memset(hash, id, sizeof hash);
	memset(inst, instance, sizeof inst);
	const struct {
		const char *name;
		struct bytes payload;
	} events[] = {
		{ "system-preparing", { NULL, 0 } },
		{ "app-id", { hash, 20 } },
		{ "compose-hash", { hash, 32 } },
		{ "instance-id", { inst, instance >= 0 ? 20 : 0 } },
		{ "boot-mr-done", { NULL, 0 } },
		{ "key-provider", BYTES_STR(provider) },
		{ "system-ready", { NULL, 0 } },
	};

	*c = (struct kms_caller){ .w = w, .role = role };
	(void)snprintf(run_dir, sizeof run_dir, "%s/caller-%u-%d", w->sim.dir,
	    id, instance);
	cr_assert_eq(file_mkdirs(run_dir), ERR_OK);
	cr_assert_eq(tee_boot(&c->td, &o, &why), ERR_OK, "%s", why.detail);
	for (size_t i = 0; i < sizeof events / sizeof events[0]; i++)
		cr_assert_eq(
		    tee_extend(c->td, events[i].name, events[i].payload),
		    ERR_OK);
	c->cx = (struct channel_context){ .chain_id = KMS_CHAIN_ID,
		.evidence_life_s = 3600,
		.cookie = c,
		.prove = caller_prove,
		.check = caller_check,
		.now = caller_now };
	memcpy(
	    c->cx.kms_contract, kms_world_contract, sizeof kms_world_contract);
}

void
kms_caller_boot(struct kms_caller *c, struct kms_world *w,
    enum channel_role role, uint8_t id)
{
	kms_caller_boot_as(c, w, role, id, role == CHANNEL_APP ? id : -1);
}

void
kms_caller_close(struct kms_caller *c)
{
	tee_close(c->td);
}

void
kms_caller_attested(struct attested *out, struct kms_caller *c)
{
	static const uint8_t rd[64] = { 7 };
	struct evidence ev = { 0 };
	struct refusal why = { 0 };

	cr_assert_eq(tee_evidence(c->td, &ev, rd, &why), ERR_OK);
	cr_assert_eq(verifier_check(c->w->verifier, out, &ev, rd,
			 c->role == CHANNEL_APP ? BOOT_APP : BOOT_KMS,
			 clock_wall_s(), &why),
	    ERR_OK, "%s", why.detail);
	evidence_fini(&ev);
}
