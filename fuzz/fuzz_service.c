/* fuzz_service: the request table, with callers of every role, in every phase.
 *
 * Targets: service_on_request and all behind it: msg_request_parse, the table,
 * decisions, releases, certificates, hand-overs, counters.  Around them is
 * service_world.c, which says what the fuzzer wants.
 *
 * Input: mode u8 (1: there is a registry of roots), then steps, op u8 % 8:
 *   0 set     what u8 | to u8        5 outcome  of u8 | which u8
 *   1 ask     caller, kind, 2 u8     6 close    caller u8
 *   2 ask     caller u8 | n u16 | n bytes as they are
 *   3 run     a worker's job u8      7 all that is under way ends; 255: stop
 *   4 after   that job, on the loop
 *
 * Asserted: every request is answered once, and with what its caller may have.
 * Keys leave if the gate said yes since the request came, for that very caller
 * and at the block that the reply names, this node and its root were allowed,
 * the registry chose that epoch, a quorum and the lease stand behind it in that
 * moment; they are the caller's own, and no reply has another's, or a root.
 * Roots go to a member alone, once the log has it.  What is refused is not
 * submitted.  A request takes memory in proportion to its size. */
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "common/attest/attestation.h"
#include "common/base/rd.h"
#include "common/base/secret.h"
#include "common/wire/ratls.h"
#include "common/wire/signcert.h"
#include "fuzz/service_world.h"

#define STEPS 128
#define ASKED_MAX 320

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* Of the sanitizers; absent without them. */
size_t __sanitizer_get_current_allocated_bytes(void) __attribute__((weak));

/* A request that was not answered yet. */
struct asked {
	bool used;
	unsigned caller;
	uint64_t id, seq;
	KmsRequest *m; /* owns */
	bool ready;
	/* As the ledger was then. */
	enum ledger_epoch_state state[EPOCHS];
	unsigned n_epochs;
};

static struct asked asked[ASKED_MAX];
/* Requests of connections that were closed are in the list no more. */
static unsigned closings;
static uint64_t next_id, handed[CALLERS];
static bool with_registry, stopped;
static struct kmsd_config cfg = {
	.chain_id = 31337, .kms_contract = { 1 }, .registry_contract = { 2 }
};
static struct metrics metrics;
/* A key for certificates, and who shows that he has it. */
static struct p256_secret leaf = { .b = { [31] = 77 } };
static uint8_t spki[P256_SPKI_LEN], proof[CALLERS][80];
static size_t proof_len[CALLERS];
static struct buf attestation;

static void
init(void)
{
	struct p256_pub pub;
	struct evidence ev = { .tee = TEE_TDX };
	struct refusal why;
	uint8_t shown[64], text[SIGNCERT_LEN];

	service_world_init();
	must(p256_pubkey(&pub, &leaf) == ERR_OK);
	must(p256_spki(spki, &pub) == ERR_OK);
	for (unsigned i = 0; i < CALLERS; i++) {
		signcert_message(text, sw.caller[i].who.boot.app_id, spki);
		must(p256_sign_der(proof[i], &proof_len[i], &leaf, text,
			 sizeof text) == ERR_OK);
	}
	ratls_report_data(shown, BYTES_OF(spki));
	must(buf_set(&ev.quote, "q", 1) == ERR_OK);
	must(buf_set(&ev.event_log, "[]", 2) == ERR_OK);
	must(buf_set(&ev.vm_config, "{}", 2) == ERR_OK);
	must(attestation_encode(&attestation, &ev, shown, false, &why) ==
	    ERR_OK);
	evidence_fini(&ev);
}

/* ---- what was allowed ---- */

static bool
since(const uint64_t at[static BLOCKS], uint64_t seq)
{
	for (unsigned i = 0; i < BLOCKS; i++)
		if (at[i] > seq)
			return true;
	return false;
}

static unsigned
owner(const struct asked *q)
{
	return service_world_who(&sw.caller[q->caller].who.boot);
}

static void
node_was_allowed(const struct asked *q)
{
	must(q->ready);
	must(sw.self_yes > q->seq && since(sw.info_yes, q->seq));
}

static void
app_was_allowed(const struct asked *q)
{
	const struct caller *c = &sw.caller[q->caller];

	node_was_allowed(q);
	must(c->role == CHANNEL_APP && c->who.verdict.tee == TEE_TDX);
	must(since(sw.app_yes[owner(q)], q->seq));
}

/* Epoch `n` is what this request may have keys of, at this block (or one of
 * those asked since, for NULL). */
static void
epoch_was_chosen(const struct asked *q, uint64_t n, const uint64_t *block,
    const uint64_t *number)
{
	bool chosen = false;

	must(n < EPOCHS && n < q->n_epochs);
	must(number == NULL || *number == n);
	if (!with_registry) {
		must(n == 0);
		return;
	}
	for (unsigned i = 0; i < BLOCKS; i++)
		if (block == NULL || i == *block % BLOCKS)
			chosen = chosen || sw.choice[i][n] > q->seq;
	must(chosen);
	must(q->state[n] != LEDGER_EPOCH_DESTROYED);
	must(q->state[n] != LEDGER_EPOCH_TAINTED || number != NULL);
}

static bool
same(const ProtobufCBinaryData *b, const void *p, size_t n)
{
	return b->len == n && (n == 0 || memcmp(b->data, p, n) == 0);
}

static void
check_keys(const struct asked *q, const Devproof__Kms__V1__AppKeys *k)
{
	const Devproof__Kms__V1__GetAppKeys *g = q->m->get_app_keys;
	const struct app_keys *mine;

	must(q->m->body_case == DEVPROOF__KMS__V1__REQUEST__BODY_GET_APP_KEYS);
	must(sw.serves && sw.leased);
	app_was_allowed(q);
	must(sw.app_yes[owner(q)][k->block_number % BLOCKS] > q->seq);
	must(sw.info_yes[k->block_number % BLOCKS] > q->seq);
	epoch_was_chosen(q, k->epoch, &k->block_number,
	    g->choice_case == DEVPROOF__KMS__V1__GET_APP_KEYS__CHOICE_EPOCH
		? &g->epoch
		: NULL);
	mine = &sw.caller[q->caller].keys[k->epoch];
	must(same(&k->app_id, mine->app_id, 20));
	must(same(&k->k256_key, mine->k256.b, 32));
	must(same(&k->disk_crypt_key, mine->disk_crypt_key, 32));
	must(same(&k->env_crypt_key, mine->env_crypt_key, 32));
	must(
	    same(&k->replica_key, mine->replica.b, mine->has_replica ? 32 : 0));
}

static void
check_chain(const struct asked *q, const Devproof__Kms__V1__CertChain *c)
{
	const Devproof__Kms__V1__SignCert *s = q->m->sign_cert;
	bool chosen = false;

	must(q->m->body_case == DEVPROOF__KMS__V1__REQUEST__BODY_SIGN_CERT);
	must(sw.serves && sw.leased);
	app_was_allowed(q);
	must(c->n_certs == 3 && s->spki.len == sizeof spki);
	must(memmem(c->certs[0].data, c->certs[0].len, s->spki.data,
		 s->spki.len) != NULL);
	for (unsigned e = 0; e < EPOCHS; e++) {
		uint8_t ca[P256_SPKI_LEN];

		must(p256_spki(ca, &sw.pub[e].ca) == ERR_OK);
		if (memmem(c->certs[2].data, c->certs[2].len, ca, sizeof ca) ==
		    NULL)
			continue;
		chosen = true;
		epoch_was_chosen(q, e, NULL,
		    s->choice_case == DEVPROOF__KMS__V1__SIGN_CERT__CHOICE_EPOCH
			? &s->epoch
			: NULL);
	}
	must(chosen);
	if (s->attestation.len > 0)
		must(sw.verified[owner(q)] > q->seq);
}

static void
check_joined(const struct asked *q, const Devproof__Kms__V1__Joined *j)
{
	must(q->m->body_case == DEVPROOF__KMS__V1__REQUEST__BODY_JOIN);
	/* The others are no members, or not with this machine. */
	must(q->ready && q->caller == 4 && sw.serves && sw.leased);
	must(memcmp(q->m->join->incarnation.data, sw.caller[4].id, 32) == 0);
	must(sw.self_yes > q->seq && since(sw.peer_yes[4], q->seq));
	must(handed[4] > q->seq);
	for (size_t i = 0; i < j->n_keys; i++) {
		uint64_t n = j->keys[i]->number;

		must(n < EPOCHS ? sw.wrap_here[n] : n == UINT64_MAX);
	}
}

static void
check_reply(const struct asked *q, const KmsReply *m)
{
	enum channel_role role = sw.caller[q->caller].role;

	switch (m->body_case) {
	case DEVPROOF__KMS__V1__REPLY__BODY_ERROR:
		must(reason_from_label(m->error->reason) != REASON_NONE);
		break;
	case DEVPROOF__KMS__V1__REPLY__BODY_META:
		break;
	case DEVPROOF__KMS__V1__REPLY__BODY_APP_KEYS:
		check_keys(q, m->app_keys);
		break;
	case DEVPROOF__KMS__V1__REPLY__BODY_CERT_CHAIN:
		check_chain(q, m->cert_chain);
		break;
	case DEVPROOF__KMS__V1__REPLY__BODY_JOINED:
		check_joined(q, m->joined);
		break;
	case DEVPROOF__KMS__V1__REPLY__BODY_COUNTER:
		app_was_allowed(q);
		must(sw.serves);
		break;
	case DEVPROOF__KMS__V1__REPLY__BODY_APP_ENV_PUB_KEY:
		node_was_allowed(q);
		must(sw.serves);
		epoch_was_chosen(q, m->app_env_pub_key->epoch, NULL, NULL);
		break;
	case DEVPROOF__KMS__V1__REPLY__BODY_PEER_RECEIPT:
		must(role == CHANNEL_KMS_PEER);
		if (q->m->body_case ==
		    DEVPROOF__KMS__V1__REQUEST__BODY_PEER_HELLO)
			must(since(sw.peer_yes[q->caller], q->seq));
		break;
	case DEVPROOF__KMS__V1__REPLY__BODY_PEER_WELCOME:
	case DEVPROOF__KMS__V1__REPLY__BODY__NOT_SET:
	case _DEVPROOF__KMS__V1__REPLY__BODY__CASE_IS_INT_SIZE:
		must(false);
	}
}

/* ---- secrets ---- */

static bool
has(struct bytes in, const void *secret)
{
	return memmem(in.p, in.len, secret, 32) != NULL;
}

/* In no reply but where it belongs: in the keys of its owner. */
static void
check_secrets(const struct asked *q, unsigned kind, struct bytes in)
{
	bool keys = kind == DEVPROOF__KMS__V1__REPLY__BODY_APP_KEYS;
	const struct caller *me = &sw.caller[q->caller];

	for (unsigned e = 0; e < EPOCHS; e++) {
		must(!has(in, sw.root[e][0]) && !has(in, sw.root[e][1]));
		if (kind != DEVPROOF__KMS__V1__REPLY__BODY_JOINED)
			must(!has(in, sw.wrap[e].b) && !has(in, sw.anchor.b));
		for (unsigned i = 0; i < CALLERS; i++) {
			const struct app_keys *k = &sw.caller[i].keys[e];
			bool app = keys &&
			    memcmp(k->app_id, me->who.boot.app_id, 20) == 0;
			bool self = app &&
			    memcmp(k->replica.b, me->keys[e].replica.b, 32) ==
				0;

			must(app ||
			    (!has(in, k->k256.b) &&
				!has(in, k->disk_crypt_key) &&
				!has(in, k->env_crypt_key)));
			must(self || !k->has_replica || !has(in, k->replica.b));
		}
	}
}

/* ---- what the service does ---- */

static struct asked *
find(unsigned caller, uint64_t id)
{
	for (unsigned i = 0; i < ASKED_MAX; i++)
		if (asked[i].used && asked[i].caller == caller &&
		    asked[i].id == id)
			return &asked[i];
	return NULL;
}

static void
forget(struct asked *q)
{
	msg_request_free(q->m);
	*q = (struct asked){ .used = false };
}

static bool
closed(unsigned caller)
{
	for (unsigned i = 0; i < ASKED_MAX; i++)
		if (asked[i].used && asked[i].caller == caller)
			return false;
	return true;
}

enum err
service_world_reply(uint64_t conn, struct bytes reply)
{
	unsigned caller = (unsigned)conn - 1;
	struct asked *q;
	KmsReply *m = NULL;

	must(caller < CALLERS && reply.len > 0);
	must(msg_reply_parse(&m, reply) == ERR_OK);
	if ((q = find(caller, m->id)) == NULL) {
		/* Its connection was closed: nobody gets this. */
		must(closings > 0);
		msg_reply_free(m);
		return ERR_NOTFOUND;
	}
	check_reply(q, m);
	check_secrets(q, m->body_case, reply);
	msg_reply_free(m);
	forget(q);
	return ERR_OK;
}

static void
close_all(unsigned caller)
{
	for (unsigned i = 0; i < ASKED_MAX; i++)
		if (asked[i].used && asked[i].caller == caller)
			forget(&asked[i]);
}

void
service_world_dropped(uint64_t conn)
{
	closings++;
	close_all((unsigned)conn - 1);
	service_on_close(sw.service, conn);
}

static bool
submits(const struct asked *q, const struct command *c)
{
	unsigned who = owner(q);

	if (c->kind == COMMAND_INCREMENT)
		return q->m->body_case ==
		    DEVPROOF__KMS__V1__REQUEST__BODY_COUNTER_INCREMENT &&
		    memcmp(c->u.increment.app_id,
			sw.caller[who].who.boot.app_id, 20) == 0 &&
		    sw.caller[who].who.verdict.tee == TEE_TDX &&
		    since(sw.app_yes[who], q->seq);
	return q->m->body_case == DEVPROOF__KMS__V1__REQUEST__BODY_JOIN &&
	    q->caller == 4 && since(sw.peer_yes[4], q->seq) &&
	    memcmp(c->u.handover.to.incarnation, sw.caller[4].id, 32) == 0;
}

void
service_world_submitted(const struct command *c)
{
	must(c->kind == COMMAND_INCREMENT || c->kind == COMMAND_HANDOVER);
	must(c->kind != COMMAND_HANDOVER || sw.leased);
	for (unsigned i = 0; i < ASKED_MAX; i++)
		if (asked[i].used && asked[i].ready && submits(&asked[i], c))
			return;
	must(closings > 0);
}

/* ---- steps ---- */

static void
request(unsigned caller, struct bytes in)
{
	const struct caller *c = &sw.caller[caller];
	struct channel_caller who = { .conn = caller + 1,
		.role = c->role,
		.peer = &c->who,
		.handshake_hash = c->handshake };
	unsigned i = 0, ops = sw.n_ops, works = sw.n_work;
	size_t before = 0;
	KmsRequest *m = NULL;
	bool whole;

	if (__sanitizer_get_current_allocated_bytes != NULL)
		before = __sanitizer_get_current_allocated_bytes();
	whole = msg_request_parse(&m, in) == ERR_OK;
	if (before != 0)
		must(__sanitizer_get_current_allocated_bytes() - before <=
		    4096 + 64 * in.len);
	while (i < ASKED_MAX && asked[i].used)
		i++;
	if (i == ASKED_MAX || (whole && find(caller, m->id) != NULL)) {
		msg_request_free(m); /* a caller counts his requests */
		return;
	}
	if (whole) {
		asked[i] = (struct asked){ .used = true,
			.caller = caller,
			.id = m->id,
			.seq = sw.seq,
			.m = m,
			.ready = sw.phase == PHASE_READY && !stopped,
			.n_epochs = sw.n_epochs };
		memcpy(asked[i].state, sw.state, sizeof sw.state);
	}
	service_on_request(sw.service, &who, in);
	if (!whole)
		must(sw.n_ops == ops && sw.n_work == works);
}

static struct bytes
packed(struct buf *b, const KmsRequest *m)
{
	must(msg_request_pack(b, m) == ERR_OK);
	return buf_view(b);
}

static void
ask_sign(unsigned caller, uint8_t a, uint8_t b)
{
	Devproof__Kms__V1__SignCert s;
	KmsRequest m = DEVPROOF__KMS__V1__REQUEST__INIT;
	struct buf out = { 0 };

	m.id = next_id;
	m.body_case = DEVPROOF__KMS__V1__REQUEST__BODY_SIGN_CERT;
	m.sign_cert = &s;
	devproof__kms__v1__sign_cert__init(&s);
	s.spki = msg_bytes(spki, sizeof spki);
	s.proof = msg_bytes(proof[b % CALLERS], proof_len[b % CALLERS]);
	s.with_app_info = (a & 1) != 0;
	if ((a & 2) != 0)
		s.attestation = msg_bytes(attestation.p, attestation.len);
	if ((a & 4) != 0) {
		s.choice_case = DEVPROOF__KMS__V1__SIGN_CERT__CHOICE_EPOCH;
		s.epoch = a >> 4;
	}
	s.usage_client_auth = (a & 8) != 0;
	request(caller, packed(&out, &m));
	buf_fini(&out);
}

/* As incarnation.h has it; `b` says what is wrong with it. */
static void
ask_peer(unsigned caller, uint8_t a, uint8_t b, bool join)
{
	const struct caller *c = &sw.caller[4 + a % 3];
	static const char label[] = "devproof-kms/peer-hello/v1";
	Devproof__Kms__V1__Join j;
	Devproof__Kms__V1__PeerHello h;
	KmsRequest m = DEVPROOF__KMS__V1__REQUEST__INIT;
	uint8_t text[128], sig[64];
	uint64_t want[2] = { b >> 6, UINT64_MAX };
	struct wr w = { .p = text, .cap = sizeof text };
	struct buf out = { 0 };

	wr_str(&w, label);
	wr_u8(&w, (b & 1) != 0 ? 1 : CHANNEL_KMS_PEER);
	wr_u8(&w, (uint8_t)strlen(c->slot));
	wr_str(&w, c->slot);
	wr_bytes(&w, sw.caller[(b & 2) != 0 ? 0 : caller].handshake, 32);
	must(crypto_sign_detached(sig, NULL, text, w.len, c->key) == 0);
	m.id = next_id;
	devproof__kms__v1__join__init(&j);
	devproof__kms__v1__peer_hello__init(&h);
	j.slot = h.slot = (char *)(uintptr_t)c->slot;
	j.incarnation = h.incarnation = msg_bytes(c->id, 32);
	j.signature = h.signature = msg_bytes(sig, 64);
	j.n_want = (b >> 2) % 3;
	j.want = want;
	if (join) {
		m.body_case = DEVPROOF__KMS__V1__REQUEST__BODY_JOIN;
		m.join = &j;
	} else {
		m.body_case = DEVPROOF__KMS__V1__REQUEST__BODY_PEER_HELLO;
		m.peer_hello = &h;
	}
	request(caller, packed(&out, &m));
	buf_fini(&out);
}

static void
ask_counter(unsigned caller, uint8_t a, uint8_t b, bool increment)
{
	static const char *const name[] = { "a", "b" };
	Devproof__Kms__V1__CounterGet g;
	Devproof__Kms__V1__CounterIncrement n;
	KmsRequest m = DEVPROOF__KMS__V1__REQUEST__INIT;
	uint8_t operation[16] = { b };
	struct buf out = { 0 };

	m.id = next_id;
	devproof__kms__v1__counter_get__init(&g);
	devproof__kms__v1__counter_increment__init(&n);
	g.name = n.name = (char *)(uintptr_t)name[a & 1];
	n.expected = a >> 1;
	n.operation = msg_bytes(operation, sizeof operation);
	if (increment) {
		m.body_case =
		    DEVPROOF__KMS__V1__REQUEST__BODY_COUNTER_INCREMENT;
		m.counter_increment = &n;
	} else {
		m.body_case = DEVPROOF__KMS__V1__REQUEST__BODY_COUNTER_GET;
		m.counter_get = &g;
	}
	request(caller, packed(&out, &m));
	buf_fini(&out);
}

static void
ask_small(unsigned caller, uint8_t kind, uint8_t a)
{
	Devproof__Kms__V1__GetMeta meta = DEVPROOF__KMS__V1__GET_META__INIT;
	Devproof__Kms__V1__GetAppKeys k = DEVPROOF__KMS__V1__GET_APP_KEYS__INIT;
	Devproof__Kms__V1__GetAppEnvPubKey env =
	    DEVPROOF__KMS__V1__GET_APP_ENV_PUB_KEY__INIT;
	KmsRequest m = DEVPROOF__KMS__V1__REQUEST__INIT;
	struct buf out = { 0 };

	m.id = next_id;
	if (kind == 0) {
		m.body_case = DEVPROOF__KMS__V1__REQUEST__BODY_GET_META;
		m.get_meta = &meta;
	} else if (kind == 1) {
		m.body_case = DEVPROOF__KMS__V1__REQUEST__BODY_GET_APP_KEYS;
		m.get_app_keys = &k;
		if ((a & 1) != 0) {
			k.choice_case =
			    DEVPROOF__KMS__V1__GET_APP_KEYS__CHOICE_EPOCH;
			k.epoch = a >> 1;
		}
	} else {
		m.body_case =
		    DEVPROOF__KMS__V1__REQUEST__BODY_GET_APP_ENV_PUB_KEY;
		m.get_app_env_pub_key = &env;
		env.app_id =
		    msg_bytes(sw.caller[a % CALLERS].who.boot.app_id, 20);
	}
	request(caller, packed(&out, &m));
	buf_fini(&out);
}

static void
ask(unsigned caller, uint8_t kind, uint8_t a, uint8_t b)
{
	next_id++;
	switch (kind % 8) {
	case 0:
	case 1:
	case 2:
		ask_small(caller, kind % 8, a);
		break;
	case 3:
		ask_sign(caller, a, b);
		break;
	case 4:
	case 5:
		ask_peer(caller, a, b, kind % 8 == 4);
		break;
	case 6:
	case 7:
		ask_counter(caller, a, b, kind % 8 == 6);
		break;
	}
}

static void
set(uint8_t what, uint8_t to)
{
	enum say s = to % SAYS;

	/* At one block the contracts say one thing. */
	sw.block++;
	switch (what % 20) {
	case 0:
		sw.self = s;
		break;
	case 1:
		sw.info = s;
		break;
	case 2:
		sw.gateway = s;
		break;
	case 3:
		sw.registry = s;
		break;
	case 4:
		sw.registered = s;
		break;
	case 5:
		sw.verifier = s;
		break;
	case 6:
		sw.allowed[(to >> 2) % CALLERS] = s;
		break;
	case 7:
		sw.verified_as = to;
		break;
	case 8:
		sw.moves = (to & 1) != 0;
		break;
	case 9:
		sw.pinned = to % 4;
		break;
	case 10:
		sw.active = to % 4;
		break;
	case 11:
		sw.status[to % EPOCHS] = (to >> 2) % 6;
		break;
	case 12:
		sw.state[to % EPOCHS] =
		    (enum ledger_epoch_state)(1 + (to >> 2) % 4);
		break;
	case 13:
		sw.n_epochs = to % (EPOCHS + 1);
		break;
	case 14:
		sw.phase = (enum cluster_phase)(to % (PHASE_HALTED + 1));
		break;
	case 15:
		sw.serves = (to & 1) != 0;
		break;
	case 16:
		sw.leased = (to & 1) != 0;
		break;
	case 17:
		sw.link_takes = (to & 1) != 0;
		break;
	case 18:
		sw.wrap_here[to % EPOCHS] = (to & 4) != 0;
		break;
	case 19:
		sw.anchor_here = (to & 1) != 0;
		break;
	}
}

static void
run(unsigned i)
{
	if (i < sw.n_work && !sw.work[i].ran) {
		sw.work[i].ran = true;
		sw.work[i].run(sw.work[i].w);
	}
}

static void
after(unsigned i)
{
	struct work w;

	if (i >= sw.n_work)
		return;
	w = sw.work[i];
	memmove(&sw.work[i], &sw.work[i + 1],
	    (--sw.n_work - i) * sizeof sw.work[0]);
	w.after(w.w, w.ran ? 0 : UV_ECANCELED);
}

/* What becomes of a command or a read: it is applied, or not, or unknown. */
static void
outcome(unsigned i, uint8_t which)
{
	struct cluster_outcome o = { .err = ERR_OK };
	struct buf b = { 0 };
	struct op op;

	if (i >= sw.n_ops)
		return;
	op = sw.op[i];
	memmove(&sw.op[i], &sw.op[i + 1], (--sw.n_ops - i) * sizeof sw.op[0]);
	if (which % 4 == 1)
		o.err = ERR_AGAIN;
	else if (which % 4 == 2)
		o.err = ERR_TIMEOUT;
	if (o.err != ERR_OK)
		(void)refuse(&o.why, REASON_NO_LEADER, "no");
	if (o.err != ERR_AGAIN && !op.read) {
		must(command_write(&b, &op.command) == ERR_OK);
		must(ledger_apply(sw.ledger, &o.result,
			 ledger_index(sw.ledger) + 1, buf_view(&b)) == ERR_OK);
		o.index = ledger_index(sw.ledger);
		buf_fini(&b);
	}
	if (o.err == ERR_OK && o.result.err == ERR_OK && !op.read &&
	    op.command.kind == COMMAND_HANDOVER)
		handed[4] = ++sw.seq;
	op.done(op.cookie, &o);
}

static void
all(void)
{
	while (sw.n_work > 0 || sw.n_ops > 0) {
		run(0);
		after(0);
		outcome(0, 0);
	}
}

static void
on_stopped(void *cookie)
{
	*(bool *)cookie = true;
}

static void
stop(bool *done)
{
	if (!stopped)
		service_stop(sw.service, on_stopped, done);
	stopped = true;
}

static void
step(struct rd *in, bool *done)
{
	uint8_t op = rd_u8(in) % 8, a = op == 7 ? 0 : rd_u8(in), kind, c;
	struct bytes raw;

	switch (op) {
	case 0:
		set(a, rd_u8(in));
		break;
	case 1:
		kind = rd_u8(in);
		c = rd_u8(in);
		ask(a % CALLERS, kind, c, rd_u8(in));
		break;
	case 2:
		raw.len = rd_be16(in);
		raw.len = raw.len < in->left ? raw.len : in->left;
		raw.p = rd_bytes(in, raw.len);
		if (raw.p != NULL)
			request(a % CALLERS, raw);
		break;
	case 3:
		run(a);
		break;
	case 4:
		after(a);
		break;
	case 5:
		outcome(a, rd_u8(in));
		break;
	case 6:
		closings++;
		close_all(a % CALLERS);
		service_on_close(sw.service, a % CALLERS + 1);
		break;
	case 7:
		all();
		if (rd_u8(in) == 255)
			stop(done);
		break;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool initialised;
	struct rd in = { .p = data, .left = size };
	struct service_options o = { .cfg = &cfg, .metrics = &metrics };
	bool done = false;

	if (!initialised)
		init();
	initialised = true;
	service_world_reset();
	with_registry = (rd_u8(&in) & 1) != 0;
	stopped = false;
	closings = 0;
	memset(handed, 0, sizeof handed);
	o.keyring = sw.ring;
	/* Only whether there is one is looked at. */
	o.registry = with_registry ? (struct registry *)&sw : NULL;
	must(service_new(&sw.service, &o) == ERR_OK);
	must(service_set_server(sw.service, NULL) == ERR_OK);
	for (unsigned i = 0; i < STEPS && in.left > 0; i++)
		step(&in, &done);
	stop(&done);
	all();
	/* Nothing is under way, and nobody waits. */
	must(done);
	for (unsigned i = 0; i < CALLERS; i++)
		must(closed(i));
	service_free(sw.service);
	service_world_end();
	return 0;
}
