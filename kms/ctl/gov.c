#include <stdarg.h>
#include <string.h>

#include "common/base/hex.h"
#include "common/eth/abi.h"
#include "kms/ctl/callwords.h"
#include "kms/ctl/gov.h"

#define FINAL_MS 120000

/* ---- what there is ---- */

enum err
gov_call(struct buf *answer, const struct gov *g, const uint8_t to[static 20],
    const struct buf *call, struct refusal *why)
{
	return contract_call(answer, &g->k, to, buf_view(call), why);
}

static enum err
read_registry(struct gov *g, struct refusal *why)
{
	struct buf call = { 0 }, answer = { 0 };
	enum err e = registryabi_call_state(&call);

	if (e == ERR_OK)
		e = gov_call(&answer, g, g->k.registry, &call, why);
	if (e == ERR_OK &&
	    registryabi_state(&g->s, buf_view(&answer)) != ERR_OK)
		e = refuse(why, REASON_CHAIN_ANSWER, "not a registry of roots");
	buf_fini(&call);
	buf_fini(&answer);
	return e;
}

/* What is no council answers something else, nothing, or reverts. */
static enum err
read_council(struct gov *g, const uint8_t at[static 20], struct refusal *why)
{
	struct buf call = { 0 }, answer = { 0 };
	enum err e = councilabi_call_domain(&call);

	if (e == ERR_OK)
		e = gov_call(&answer, g, at, &call, why);
	if (e == ERR_OK && !councilabi_is_domain(buf_view(&answer)))
		e = refuse(why, REASON_CHAIN_ANSWER, "not an OperatorCouncil");
	if (e == ERR_OK)
		e = councilabi_call_state(&call);
	if (e == ERR_OK)
		e = gov_call(&answer, g, at, &call, why);
	if (e == ERR_OK &&
	    councilabi_state(&g->cs, buf_view(&answer)) != ERR_OK)
		e = refuse(why, REASON_CHAIN_ANSWER, "not an OperatorCouncil");
	if (e == ERR_OK) {
		memcpy(g->council, at, sizeof g->council);
		g->has_council = true;
	}
	buf_fini(&call);
	buf_fini(&answer);
	return e;
}

/* Who is going to sign: the key file's account, or who says so. */
static enum ctl_exit
read_who(struct gov *g, bool send)
{
	const char *from = args_get(g->a, "from");
	struct account me;

	if (from != NULL && !g->print)
		return ctl_fail(g->c, CTL_USAGE, "--from goes with --print-tx");
	if (from != NULL && hex_fixed(g->who, 20, from) != ERR_OK)
		return ctl_fail(g->c, CTL_USAGE,
		    "--from: must be an address (20 bytes in hex)");
	g->has_who = from != NULL;
	if (!send || g->print)
		return CTL_OK;
	if (account_load(&me, g->k.key_file) != ERR_OK)
		return ctl_fail(g->c, CTL_USAGE,
		    "%.300s: not a key file (64 hex digits, mode 0600)",
		    g->k.key_file);
	memcpy(g->who, me.address, sizeof g->who);
	account_wipe(&me);
	g->has_who = true;
	return CTL_OK;
}

enum ctl_exit
gov_open(struct gov *g, const struct ctl *c, const struct args *a, bool send,
    bool registry)
{
	const char *named = args_get(a, "council");
	struct refusal why = { .code = REASON_NONE };
	uint8_t council[20];
	enum ctl_exit rc;
	enum err e;

	*g = (struct gov){ .c = c, .a = a, .print = args_has(a, "print-tx") };
	if ((rc = contract_from_args(&g->k, c, a, send && !g->print, false)) !=
		CTL_OK ||
	    (rc = read_who(g, send)) != CTL_OK)
		return rc;
	if (named != NULL && hex_fixed(council, 20, named) != ERR_OK)
		return ctl_fail(c, CTL_USAGE,
		    "--council: must be an address (20 bytes in hex)");
	if (!g->k.has_registry && (registry || named == NULL))
		return ctl_fail(c, CTL_USAGE, "%s",
		    g->k.sim[0] != '\0'
			? "this cluster has no registry of roots: `kmsctl sim "
			  "init --council N:K` makes one with it"
			: registry
			? "which registry? give --registry 0xADDRESS, or "
			  "--sim DIR"
			: "which council? give --council or --registry "
			  "0xADDRESS, or --sim DIR");
	e = contract_block_time(&g->now, &g->k, &why);
	if (e == ERR_OK && g->k.has_registry)
		e = read_registry(g, &why);
	if (e == ERR_OK && g->k.chain_id == 0)
		e = contract_chain_id(&g->k.chain_id, &g->k, &why);
	if (e != ERR_OK)
		return ctl_denied(c, "the registry", e, &why);
	if (named != NULL)
		e = read_council(g, council, &why);
	else if (read_council(g, g->s.authority, &why) != ERR_OK && !registry)
		e = ERR_DENIED;
	return e == ERR_OK ? CTL_OK : ctl_denied(c, "the council", e, &why);
}

enum err
gov_checklist(struct council_checklist *out, struct buf *answer,
    const struct gov *g, const uint8_t id[static 32], struct refusal *why)
{
	struct buf call = { 0 };
	enum err e = councilabi_call_checklist(&call, id);

	if (e == ERR_OK)
		e = gov_call(answer, g, g->council, &call, why);
	if (e == ERR_OK &&
	    councilabi_checklist(out, buf_view(answer)) != ERR_OK)
		e = refuse(why, REASON_CHAIN_ANSWER, "not a checklist");
	buf_fini(&call);
	return e;
}

enum err
gov_each(const struct gov *g,
    bool (*f)(void *cookie, const struct council_checklist *c), void *cookie,
    struct refusal *why)
{
	struct buf call = { 0 }, answer = { 0 };
	struct council_checklist c;
	uint64_t n = g->cs.proposals;
	enum err e = ERR_OK;

	for (unsigned i = 0; n > 0 && i < GOV_LOOK_BACK; i++) {
		uint8_t id[32];

		e = councilabi_call_proposal_at(&call, --n);
		if (e == ERR_OK)
			e = gov_call(&answer, g, g->council, &call, why);
		if (e == ERR_OK &&
		    abi_get_bytes32(id, buf_view(&answer)) != ERR_OK)
			e = refuse(why, REASON_CHAIN_ANSWER, "no proposal");
		if (e == ERR_OK)
			e = gov_checklist(&c, &answer, g, id, why);
		if (e != ERR_OK || !f(cookie, &c))
			break;
	}
	buf_fini(&call);
	buf_fini(&answer);
	return e;
}

void
gov_command(char out[static GOV_COMMAND_MAX], const struct gov *g, bool send,
    const char *fmt, ...)
{
	size_t n = (size_t)snprintf(out, GOV_COMMAND_MAX, "kmsctl ");
	char hex[41];
	va_list ap;

	va_start(ap, fmt);
	n += (size_t)vsnprintf(out + n, GOV_COMMAND_MAX - n, fmt, ap);
	va_end(ap);
	if (n >= GOV_COMMAND_MAX - 1)
		return;
	if (g->k.sim[0] != '\0') {
		(void)snprintf(out + n, GOV_COMMAND_MAX - n, " --sim %s%s",
		    g->k.sim, send ? " --member N" : "");
		return;
	}
	n += (size_t)snprintf(
	    out + n, GOV_COMMAND_MAX - n, " --rpc %s", g->k.rpc);
	if (n < GOV_COMMAND_MAX && g->k.has_registry)
		n += (size_t)snprintf(out + n, GOV_COMMAND_MAX - n,
		    " --registry 0x%s", hex_encode(hex, g->k.registry, 20));
	else if (n < GOV_COMMAND_MAX)
		n += (size_t)snprintf(out + n, GOV_COMMAND_MAX - n,
		    " --council 0x%s", hex_encode(hex, g->council, 20));
	if (send && n < GOV_COMMAND_MAX)
		(void)snprintf(out + n, GOV_COMMAND_MAX - n,
		    " --chain-id %llu --key-file FILE",
		    (unsigned long long)g->k.chain_id);
}

/* ---- transactions ---- */

/* A proposal's calls, each in words. */
static json_t *
meaning_of(const struct gov *g, const uint8_t to[static 20],
    const struct buf *data, const json_t *told)
{
	const json_t *calls = json_object_get(told, "calls");
	char words[CALLWORDS_MAX];

	callwords(words, buf_view(data));
	return calls != NULL && g->has_council &&
		memcmp(to, g->council, 20) == 0
	    ? json_pack("{s:s, s:O}", "call", words, "of", calls)
	    : json_pack("{s:s}", "call", words);
}

/* Bytes for a wallet are never cut short, whatever the form. */
static enum ctl_exit
print_tx(const struct gov *g, const uint8_t to[static 20],
    const struct buf *data, const json_t *told)
{
	char address[ACCOUNT_ADDRESS_TEXT], words[CALLWORDS_MAX];
	char *hex = NULL;
	struct buf text = { 0 };
	enum ctl_exit rc = CTL_FAILED;
	const json_t *call;
	size_t i;

	account_address_text(address, to);
	if (buf_reserve(&text, 2 * data->len + 1) != ERR_OK)
		return ctl_fail(g->c, CTL_FAILED, "out of memory");
	hex = hex_encode((char *)text.p, data->p, data->len);
	if (g->c->json) {
		rc = ctl_result(g->c,
		    json_pack("{s:s, s:o, s:s, s:I, s:o}", "to", address,
			"data", json_sprintf("0x%s", hex), "value", "0",
			"chain_id", (json_int_t)g->k.chain_id, "meaning",
			meaning_of(g, to, data, told)),
		    CTL_OK);
	} else {
		callwords(words, buf_view(data));
		(void)fprintf(g->c->out,
		    "to        %s\nvalue     0\nchain id  %llu\ndata      "
		    "0x%s\nmeaning   %s\n",
		    address, (unsigned long long)g->k.chain_id, hex, words);
		json_array_foreach(json_object_get(told, "calls"), i, call)(
		    void) fprintf(g->c->out, "          %s: %s\n",
		    json_string_value(json_object_get(call, "target")),
		    json_string_value(json_object_get(call, "call")));
		rc = CTL_OK;
	}
	buf_fini(&text);
	return rc;
}

enum ctl_exit
gov_send(
    struct gov *g, const uint8_t to[static 20], struct buf *data, json_t *told)
{
	struct contract_tx tx = { .data = *data };
	struct refusal why = { .code = REASON_NONE };
	enum ctl_exit rc = CTL_OK;
	enum err e;

	*data = (struct buf){ 0 }; /* transferred */
	memcpy(tx.to, to, sizeof tx.to);
	if (g->print) {
		rc = print_tx(g, to, &tx.data, told);
		goto done;
	}
	e = contract_send(g->c, &g->k, &tx, 1, &why);
	if (e == ERR_OK && args_has(g->a, "wait-final"))
		e = contract_await_final(
		    g->c, &g->k, tx.receipt.block_number, FINAL_MS);
	if (e != ERR_OK) {
		rc = ctl_denied(g->c, "transaction", e, &why);
		goto done;
	}
	(void)json_object_set_new(told, "transaction", gov_hash(tx.hash));
	(void)json_object_set_new(
	    told, "block", json_integer((json_int_t)tx.receipt.block_number));
done:
	contract_tx_fini(&tx);
	return rc;
}

/* ---- decisions ---- */

/* Would the call succeed now?  What is only too early may be proposed: the
 * notice period is still to come. */
static enum ctl_exit
try_now(const struct gov *g, const struct council_call *call)
{
	struct refusal why = { .code = REASON_NONE };
	struct buf answer = { 0 };
	enum ctl_exit rc = CTL_OK;
	enum err e = contract_call_from(
	    &answer, &g->k, g->council, call->target, call->data, &why);
	const char *reason = contract_reason(&why);

	if (e == ERR_DENIED && strstr(reason, "Too early") != NULL)
		ctl_note(g->c,
		    "too early for it now; it has to be time when "
		    "the proposal is executed");
	else if (e == ERR_DENIED && why.code == REASON_CONTRACT_OTHER)
		rc = ctl_fail(g->c, CTL_FAILED,
		    "that would be refused: %s (nothing was proposed)", reason);
	else if (e != ERR_OK)
		rc = ctl_denied(g->c, "the call", e, &why);
	buf_fini(&answer);
	return rc;
}

static enum ctl_exit
no_member(const struct gov *g, const char *what)
{
	char me[ACCOUNT_ADDRESS_TEXT], council[ACCOUNT_ADDRESS_TEXT];

	account_address_text(me, g->who);
	account_address_text(council, g->council);
	return ctl_fail(g->c, CTL_FAILED,
	    "%s is not a member of the council %s, so it cannot %s; `kmsctl "
	    "council members` lists them",
	    me, council, what);
}

/* What a proposal would be called. */
static enum err
id_of(uint8_t id[static 32], const struct gov *g,
    const struct council_call *call, size_t n, const uint8_t salt[static 32],
    struct refusal *why)
{
	struct buf q = { 0 }, answer = { 0 };
	enum err e = councilabi_call_proposal_id(&q, call, n, salt);

	if (e == ERR_OK)
		e = gov_call(&answer, g, g->council, &q, why);
	if (e == ERR_OK && abi_get_bytes32(id, buf_view(&answer)) != ERR_OK)
		e = refuse(why, REASON_CHAIN_ANSWER, "no id");
	buf_fini(&q);
	buf_fini(&answer);
	return e;
}

/* After it was sent: where it stands, and what is next. */
static enum ctl_exit
tell_proposed(struct gov *g, const uint8_t id[static 32], json_t *told)
{
	struct refusal why = { .code = REASON_NONE };
	char next[GOV_COMMAND_MAX], hex[65];
	struct buf answer = { 0 };
	struct council_checklist c;
	json_t *row;

	hex_encode(hex, id, 32);
	(void)json_object_set_new(told, "proposal", gov_hash(id));
	if (contract_block_time(&g->now, &g->k, &why) == ERR_OK &&
	    gov_checklist(&c, &answer, g, id, &why) == ERR_OK) {
		row = gov_row(g, &c);
		(void)json_object_del(row, "id");
		(void)json_object_update(told, row);
		json_decref(row);
		gov_command(next, g, true, "council %s 0x%s",
		    c.missing > 0 ? "vote" : "execute", hex);
		(void)json_object_set_new(told, "next", json_string(next));
	}
	buf_fini(&answer);
	return ctl_result(g->c, told, CTL_OK);
}

/* Is it proposed already, and open? */
struct same {
	const struct council_call *call;
	size_t n;
	bool found;
	uint8_t id[32];
	enum council_stage stage;
};

static bool
is_same(void *cookie, const struct council_checklist *c)
{
	struct same *s = cookie;

	if (c->n_calls != s->n ||
	    (c->stage != COUNCIL_VOTING && c->stage != COUNCIL_WAITING &&
		c->stage != COUNCIL_READY))
		return true;
	for (size_t i = 0; i < s->n; i++)
		if (memcmp(c->call[i].target, s->call[i].target, 20) != 0 ||
		    c->call[i].data.len != s->call[i].data.len ||
		    memcmp(c->call[i].data.p, s->call[i].data.p,
			s->call[i].data.len) != 0)
			return true;
	s->found = true;
	s->stage = c->stage;
	memcpy(s->id, c->id, sizeof s->id);
	return false;
}

static enum ctl_exit
not_twice(const struct gov *g, const struct council_call *call, size_t n)
{
	struct same s = { .call = call, .n = n };
	struct refusal why = { .code = REASON_NONE };
	enum err e = gov_each(g, is_same, &s, &why);
	char hex[65];

	if (e != ERR_OK)
		return ctl_denied(g->c, "the council", e, &why);
	if (!s.found)
		return CTL_OK;
	return ctl_fail(g->c, CTL_FAILED,
	    "the same is proposed already, and %s: 0x%s",
	    council_stage_text(s.stage), hex_encode(hex, s.id, 32));
}

enum ctl_exit
gov_propose(
    struct gov *g, const struct council_call *call, size_t n, json_t *told)
{
	struct council_checklist shown = { .n_calls = n };
	struct refusal why = { .code = REASON_NONE };
	uint8_t salt[32] = { 0 }, id[32];
	struct buf data = { 0 };
	enum ctl_exit rc;
	enum err e;

	/* Two who propose the same at the same time propose one thing. */
	for (unsigned i = 0; i < 8; i++)
		salt[31 - i] = (uint8_t)(g->cs.proposals >> 8 * i);
	if (g->has_who && !council_names_has(&g->cs.members, g->who)) {
		rc = no_member(g, "propose");
		goto done;
	}
	if ((rc = not_twice(g, call, n)) != CTL_OK)
		goto done;
	for (size_t i = 0; i < n; i++) {
		if (n == 1 && (rc = try_now(g, &call[i])) != CTL_OK)
			goto done;
		shown.call[i] = call[i];
	}
	(void)json_object_set_new(told, "calls", gov_calls(&shown));
	if ((e = id_of(id, g, call, n, salt, &why)) != ERR_OK ||
	    (e = councilabi_propose(&data, call, n, salt)) != ERR_OK) {
		rc = ctl_denied(g->c, "the proposal", e, &why);
		goto done;
	}
	rc = gov_send(g, g->council, &data, told);
	if (rc == CTL_OK && !g->print)
		return tell_proposed(g, id, told);
done:
	buf_fini(&data);
	json_decref(told);
	return rc;
}

/* Another contract has to call it, or this account is it. */
static enum ctl_exit
decide_directly(struct gov *g, const uint8_t target[static 20],
    struct buf *data, json_t *told)
{
	char authority[ACCOUNT_ADDRESS_TEXT];
	enum ctl_exit rc;

	account_address_text(authority, g->s.authority);
	if (!g->print && memcmp(g->who, g->s.authority, 20) != 0) {
		buf_fini(data);
		json_decref(told);
		return ctl_fail(g->c, CTL_FAILED,
		    "the registry's authority %s is no OperatorCouncil: have "
		    "it make this call; --print-tx shows what to call",
		    authority);
	}
	if (g->print)
		ctl_note(g->c, "to be called by the authority, %s", authority);
	rc = gov_send(g, target, data, told);
	if (rc == CTL_OK && !g->print)
		return ctl_result(g->c, told, CTL_OK);
	json_decref(told);
	return rc;
}

enum ctl_exit
gov_decide(struct gov *g, const uint8_t target[static 20], struct buf *data,
    json_t *told)
{
	struct council_call call = { .data = buf_view(data) };
	enum ctl_exit rc;

	if (!g->has_council)
		return decide_directly(g, target, data, told);
	memcpy(call.target, target, sizeof call.target);
	rc = gov_propose(g, &call, 1, told);
	buf_fini(data);
	return rc;
}
