#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/secret.h"
#include "common/crypto/epochcert.h"
#include "common/crypto/hash.h"
#include "fuzz/service_world.h"
#include "kms/service/recheck.h"

struct world sw;

/* ---- who there is ---- */

static void
boot(struct caller *c, uint8_t app, uint8_t instance, uint8_t device)
{
	struct boot_info *b = &c->who.boot;

	b->tee = TEE_TDX;
	c->who.verdict.tee = TEE_TDX;
	memset(b->app_id, app, sizeof b->app_id);
	memset(b->compose_hash, app + 1, sizeof b->compose_hash);
	b->has_instance_id = instance != 0;
	memset(b->instance_id, instance, sizeof b->instance_id);
	memset(b->device_id, device, sizeof b->device_id);
	memset(b->mr_aggregated, app + 2, sizeof b->mr_aggregated);
}

static void
peer(struct caller *c, const char *slot, uint8_t device)
{
	uint8_t seed[32];

	c->role = CHANNEL_KMS_PEER;
	boot(c, 0x70, 0, device);
	memcpy(c->slot, slot, strlen(slot) + 1);
	memset(seed, device, sizeof seed);
	must(crypto_sign_seed_keypair(c->id, c->key, seed) == 0);
}

/* Two instances of an app and a second connection of the first, another app
 * without instances, one on a platform that gets no keys; a member of the
 * cluster, one on another's machine, and a node that is none. */
static void
people(void)
{
	for (unsigned i = 0; i < CALLERS; i++) {
		sw.caller[i].role = CHANNEL_APP;
		memset(sw.caller[i].handshake, (int)i + 1, 32);
	}
	boot(&sw.caller[0], 0x10, 1, 0xd0);
	boot(&sw.caller[1], 0x10, 2, 0xd1);
	boot(&sw.caller[2], 0x20, 0, 0xd2);
	boot(&sw.caller[3], 0x30, 0, 0xd3);
	sw.caller[3].who.verdict.tee = TEE_SEV_SNP;
	sw.caller[3].who.boot.tee = TEE_SEV_SNP;
	peer(&sw.caller[4], "m1", 0xe1);
	peer(&sw.caller[5], "m2", 0xe2);
	peer(&sw.caller[6], "m3", 0xe3);
	boot(&sw.caller[7], 0x10, 1, 0xd0);
}

/* Like nothing else in a reply, block hashes too. */
static void
secret(uint8_t out[static 32], unsigned which)
{
	for (unsigned i = 0; i < 32; i++)
		out[i] = (uint8_t)(which + i * 7);
}

static void
epochs(void)
{
	must(keyring_new(&sw.ring) == ERR_OK);
	for (unsigned e = 0; e < EPOCHS; e++) {
		struct epoch_roots *r = NULL;

		secret(sw.root[e][0], 0x31 + e);
		secret(sw.root[e][1], 0x51 + e);
		secret(sw.wrap[e].b, 0x91 + e);
		must(epoch_roots_import(&r, e, sw.root[e][0], sw.root[e][1]) ==
		    ERR_OK);
		epoch_roots_public(r, &sw.pub[e]);
		must(epochcert_ca_hash(sw.ca_hash[e], &sw.pub[e].ca) == ERR_OK);
		for (unsigned i = 0; i < CALLERS; i++) {
			const struct boot_info *b = &sw.caller[i].who.boot;

			must(keys_app(&sw.caller[i].keys[e], r, b->app_id,
				 b->has_instance_id ? b->instance_id : NULL) ==
			    ERR_OK);
		}
		must(keyring_add(sw.ring, r) == ERR_OK);
	}
	secret(sw.anchor.b, 0xb1);
}

void
service_world_init(void)
{
	must(secret_process_init() == ERR_OK);
	log_set_level(LOG_ERROR);
	people();
	epochs();
}

/* The log that this node starts with: epoch 0 and two members. */
static void
apply(const struct command *c)
{
	struct ledger_outcome o;
	struct buf b = { 0 };

	must(command_write(&b, c) == ERR_OK);
	must(ledger_apply(sw.ledger, &o, ledger_index(sw.ledger) + 1,
		 buf_view(&b)) == ERR_OK);
	must(o.err == ERR_OK);
	buf_fini(&b);
}

static void
admit(const struct caller *c, uint8_t device)
{
	struct command cmd = { .kind = COMMAND_MEMBER };

	memcpy(cmd.u.member.slot, c->slot, SLOT_MAX);
	memcpy(cmd.u.member.incarnation, c->id, 32);
	memset(cmd.u.member.device_id, device, 32);
	apply(&cmd);
}

void
service_world_reset(void)
{
	struct command first = { .kind = COMMAND_EPOCH };
	const struct world w = { .block = 1,
		.n_epochs = EPOCHS,
		.phase = PHASE_READY,
		.serves = true,
		.leased = true,
		.status = { REGISTRY_ACTIVE, REGISTRY_ACTIVE, REGISTRY_ACTIVE },
		.state = { LEDGER_EPOCH_ACTIVE, LEDGER_EPOCH_ACTIVE,
		    LEDGER_EPOCH_ACTIVE },
		.wrap_here = { true, true, true },
		.anchor_here = true };

	/* What `people` and `epochs` made stays. */
	memcpy(&sw.self, &w.self, sizeof sw - offsetof(struct world, self));
	must(ledger_new(&sw.ledger) == ERR_OK);
	first.u.epoch.pub = sw.pub[0];
	apply(&first);
	admit(&sw.caller[4], 0xe1);
	admit(&sw.caller[5], 0xe9);
}

void
service_world_end(void)
{
	ledger_free(sw.ledger);
	sw.ledger = NULL;
}

unsigned
service_world_who(const struct boot_info *bi)
{
	for (unsigned i = 0; i < CALLERS; i++)
		if (memcmp(bi, &sw.caller[i].who.boot, sizeof *bi) == 0)
			return i;
	return CALLERS;
}

/* ---- the chain ---- */

static void
at_block(struct chain_block *out)
{
	if (sw.moves)
		sw.block++;
	*out = (struct chain_block){ .number = sw.block };
	memset(out->hash, (int)(sw.block & 0xff), sizeof out->hash);
}

static enum err
said(enum say s, struct refusal *why, enum reason no)
{
	if (s == SAY_YES)
		return ERR_OK;
	if (s == SAY_NO)
		return refuse(why, no, "no");
	(void)refuse(why, REASON_CHAIN_UNREACHABLE, "not now");
	return ERR_AGAIN;
}

enum err
gate_ask(struct gate *g, enum gate_kind kind, const struct boot_info *bi,
    int64_t now, struct gate_decision *out, struct refusal *why)
{
	unsigned who = service_world_who(bi);
	enum err e;

	(void)g;
	(void)now;
	must(who < CALLERS);
	*out = (struct gate_decision){ .cached = false };
	at_block(&out->block);
	e = said(sw.allowed[who], why, REASON_CONTRACT_OTHER);
	if (e == ERR_OK)
		(kind == GATE_APP
			? sw.app_yes
			: sw.peer_yes)[who][out->block.number % BLOCKS] =
		    ++sw.seq;
	return e;
}

enum err
gate_kms_info(struct gate *g, int64_t now, struct gate_kms_info *out,
    struct chain_block *at, struct refusal *why)
{
	const struct k256_pub *p = &sw.pub[sw.info == SAY_NO ? 1 : 0].k256;

	(void)g;
	(void)now;
	*out = (struct gate_kms_info){ .k256_pub_len = sizeof p->b };
	memcpy(out->k256_pub, p->b, sizeof p->b);
	at_block(at);
	if (sw.info == SAY_AGAIN)
		return said(SAY_AGAIN, why, REASON_NONE);
	if (sw.info == SAY_YES)
		sw.info_yes[at->number % BLOCKS] = ++sw.seq;
	return ERR_OK;
}

enum err
gate_gateway_app_id(struct gate *g, int64_t now,
    char out[static GATE_GATEWAY_ID_MAX], struct chain_block *at,
    struct refusal *why)
{
	(void)g;
	(void)now;
	out[0] = '\0';
	at_block(at);
	return said(sw.gateway, why, REASON_CHAIN_ANSWER);
}

enum err
gate_app_registered(struct gate *g, const uint8_t app_id[static 20],
    int64_t now, bool *out, struct chain_block *at, struct refusal *why)
{
	(void)g;
	(void)app_id;
	(void)now;
	at_block(at);
	*out = sw.registered == SAY_YES;
	return sw.registered == SAY_AGAIN ? said(SAY_AGAIN, why, REASON_NONE)
					  : ERR_OK;
}

/* As registry.h has it, of what the fuzzer has set. */
static enum err
choose(uint64_t number, uint64_t pinned, bool by_number,
    struct registry_choice *out, struct refusal *why)
{
	enum err e = said(sw.registry, why, REASON_EPOCH_UNKNOWN);
	struct registry_choice c = { .number = number, .pinned = pinned };

	at_block(&c.block);
	if (e != ERR_OK)
		return e;
	if (number >= EPOCHS || sw.status[number] < REGISTRY_ACTIVE)
		return refuse(why, REASON_EPOCH_UNKNOWN, "no such epoch");
	if (number > pinned || sw.status[number] == REGISTRY_DESTROYED ||
	    (sw.status[number] == REGISTRY_TAINTED && !by_number))
		return refuse(why, REASON_EPOCH_CLOSED, "closed");
	c.status = (enum registry_status)sw.status[number];
	c.k256 = sw.pub[number].k256;
	memcpy(c.ca_spki_hash, sw.ca_hash[number], 32);
	sw.choice[c.block.number % BLOCKS][number] = ++sw.seq;
	*out = c;
	return ERR_OK;
}

enum err
registry_choose(struct registry *r, const uint8_t app_id[static 20],
    const uint64_t *asked, int64_t now, struct registry_choice *out,
    struct refusal *why)
{
	(void)r;
	(void)app_id;
	(void)now;
	return choose(asked != NULL ? *asked : sw.pinned, sw.pinned,
	    asked != NULL, out, why);
}

enum err
registry_active(struct registry *r, int64_t now, struct registry_choice *out,
    struct refusal *why)
{
	(void)r;
	(void)now;
	return choose(sw.active, sw.active, false, out, why);
}

enum err
self_allowed(struct self *id, int64_t now, struct refusal *why)
{
	enum err e = said(sw.self, why, REASON_SELF_DENIED);

	(void)id;
	(void)now;
	if (e == ERR_OK)
		sw.self_yes = ++sw.seq;
	return e;
}

/* ---- attestations in certificates ---- */

void
evidence_fini(struct evidence *e)
{
	buf_fini(&e->quote);
	buf_fini(&e->event_log);
	buf_fini(&e->vm_config);
}

enum err
verifier_check(struct verifier *v, struct attested *out,
    const struct evidence *e, const uint8_t report_data[static 64],
    enum boot_variant variant, int64_t now, struct refusal *why)
{
	enum err r = said(sw.verifier, why, REASON_QUOTE_SIGNATURE);

	(void)v;
	(void)e;
	(void)report_data;
	(void)variant;
	(void)now;
	if (r != ERR_OK)
		return r;
	*out = sw.caller[sw.verified_as % CALLERS].who;
	/* Of two connections of one guest, the first. */
	sw.verified[service_world_who(&out->boot)] = ++sw.seq;
	return ERR_OK;
}

/* ---- the cluster ---- */

enum cluster_phase
cluster_phase(const struct cluster *c)
{
	(void)c;
	return sw.phase;
}

const char *
cluster_phase_text(enum cluster_phase p)
{
	(void)p;
	return "phase";
}

const struct core *
cluster_core(const struct cluster *c)
{
	(void)c;
	return NULL;
}

const struct ledger *
core_ledger(const struct core *c)
{
	(void)c;
	return sw.ledger;
}

uint64_t
core_generation(const struct core *c)
{
	(void)c;
	return 1;
}

struct links *
cluster_links(const struct cluster *c)
{
	(void)c;
	return NULL;
}

enum err
cluster_serves(const struct cluster *c, struct refusal *why)
{
	(void)c;
	return sw.serves ? ERR_OK : refuse(why, REASON_NO_LEADER, "no");
}

enum err
cluster_may_release(struct cluster *c, uint64_t number, struct refusal *why)
{
	(void)c;
	(void)number;
	return sw.leased ? ERR_OK : refuse(why, REASON_CHAIN_LEASE, "no");
}

static void
ask(cluster_done_fn *done, void *cookie, const struct command *cmd)
{
	must(sw.n_ops < OPS_MAX);
	sw.op[sw.n_ops] =
	    (struct op){ .done = done, .cookie = cookie, .read = cmd == NULL };
	if (cmd != NULL)
		sw.op[sw.n_ops].command = *cmd;
	sw.n_ops++;
}

void
cluster_submit(
    struct cluster *c, struct command *cmd, cluster_done_fn *done, void *cookie)
{
	(void)c;
	service_world_submitted(cmd);
	ask(done, cookie, cmd);
}

void
cluster_read(struct cluster *c, cluster_done_fn *done, void *cookie)
{
	(void)c;
	ask(done, cookie, NULL);
}

struct ledger_epoch *
cluster_copy_epochs(const struct cluster *c, size_t *n)
{
	struct ledger_epoch *out = calloc(EPOCHS + 1, sizeof *out);

	(void)c;
	must(out != NULL);
	*n = sw.n_epochs;
	for (unsigned i = 0; i < EPOCHS; i++)
		out[i] = (struct ledger_epoch){ .pub = sw.pub[i],
			.state = sw.state[i] };
	return out;
}

bool
cluster_wrap_key(const struct cluster *c, uint64_t number, struct wrap_key *out)
{
	(void)c;
	if (number >= EPOCHS || !sw.wrap_here[number])
		return false;
	*out = sw.wrap[number];
	return true;
}

bool
cluster_anchor_key(const struct cluster *c, struct k256_secret *out)
{
	(void)c;
	if (sw.anchor_here)
		*out = sw.anchor;
	return sw.anchor_here;
}

/* The answering side of links has a target of its own. */
enum err
links_request(struct links *l, const struct channel_caller *who,
    const KmsRequest *request, struct buf *reply, struct refusal *why)
{
	Devproof__Kms__V1__PeerReceipt receipt;
	KmsReply m = DEVPROOF__KMS__V1__REPLY__INIT;

	(void)l;
	must(who->role == CHANNEL_KMS_PEER);
	if (!sw.link_takes)
		return refuse(why, REASON_REQUEST, "no");
	devproof__kms__v1__peer_receipt__init(&receipt);
	m.id = request->id;
	m.body_case = DEVPROOF__KMS__V1__REPLY__BODY_PEER_RECEIPT;
	m.peer_receipt = &receipt;
	return msg_reply_pack(reply, &m);
}

void
links_closed(struct links *l, uint64_t conn)
{
	(void)l;
	(void)conn;
}

/* ---- the loop, its workers and the server ---- */

int
uv_queue_work(uv_loop_t *loop, uv_work_t *req, uv_work_cb work_cb,
    uv_after_work_cb after_work_cb)
{
	(void)loop;
	must(sw.n_work < WORK_MAX);
	sw.work[sw.n_work++] =
	    (struct work){ .w = req, .run = work_cb, .after = after_work_cb };
	return 0;
}

int64_t
clock_wall_s(void)
{
	return 1700000000;
}

uint64_t
clock_mono_ms(void)
{
	return 1000;
}

uint64_t
clock_boot_ms(void)
{
	return 1000;
}

enum err
recheck_start(struct recheck **out, uv_loop_t *loop, struct gate *gate,
    struct cluster *cluster, struct channel_server *server,
    struct metrics *metrics)
{
	(void)loop;
	(void)gate;
	(void)cluster;
	(void)server;
	(void)metrics;
	*out = NULL;
	return ERR_OK;
}

void
recheck_stop(struct recheck *r, void (*done)(void *), void *cookie)
{
	(void)r;
	done(cookie);
}

enum err
channel_server_reply(
    struct channel_server *s, uint64_t conn, struct bytes reply)
{
	(void)s;
	return service_world_reply(conn, reply);
}

void
channel_server_drop(struct channel_server *s, uint64_t conn, enum reason why)
{
	(void)s;
	must(why != REASON_NONE);
	service_world_dropped(conn);
}
