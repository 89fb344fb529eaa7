#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/file.h"
#include "common/base/hex.h"
#include "common/base/json.h"
#include "common/eth/rpc.h"
#include "tests/lib/onchain.h"

#define ARTIFACT_MAX (4u << 20)

/* The caller owns the artifact. */
static json_t *
artifact(const char *name)
{
	struct buf file = { 0 };
	json_t *v = NULL;
	char path[128];

	(void)snprintf(
	    path, sizeof path, "contracts/out/%s.sol/%s.json", name, name);
	if (file_read(&file, path, ARTIFACT_MAX) == ERR_OK)
		(void)!json_parse(&v, file.p, file.len, ARTIFACT_MAX, NULL, 0);
	buf_fini(&file);
	return v;
}

static const char *
code_of(const json_t *v, const char *which)
{
	const char *s = NULL;
	enum err e = json_get_str(&s, json_object_get(v, which), "object");

	assert(e == ERR_OK);
	return s;
}

bool
onchain_put(
    const struct anvil *a, const char *name, const uint8_t at[static 20])
{
	json_t *v = artifact(name);
	struct buf params = { 0 };
	char hex[41];
	enum err e;

	if (v == NULL)
		return false;
	e = buf_printf(&params, "[\"0x%s\",\"%s\"]", hex_encode(hex, at, 20),
	    code_of(v, "deployedBytecode"));
	assert(e == ERR_OK);
	anvil_rpc(a, "anvil_setCode", (char *)params.p);
	json_decref(v);
	buf_fini(&params);
	return true;
}

/* The contract that a transaction made, if it did. */
static void
created(uint8_t *at, const json_t *receipt)
{
	enum err e;

	if (at == NULL)
		return;
	e = rpc_fixed(at, 20, json_object_get(receipt, "contractAddress"));
	assert(e == ERR_OK);
}

/* anvil answers when it has a transaction, and mines it a moment later.
 * `at` is NULL or set to the contract that it makes. */
static void
send_and_wait(const struct anvil *a, const char *params, uint8_t *at)
{
	const struct timespec nap = { .tv_nsec = 5 * 1000 * 1000 };
	struct rpc_request rq = { a->url, "eth_sendTransaction", params, 30000,
		1u << 20 };
	struct rpc_reply r;
	char hash[80];
	bool mined;

	rpc_all(&r, &rq, 1);
	if (r.err != ERR_OK || !json_is_string(r.result)) {
		(void)fprintf(stderr, "eth_sendTransaction: %s\n", r.message);
		abort();
	}
	(void)snprintf(
	    hash, sizeof hash, "[\"%.70s\"]", json_string_value(r.result));
	rpc_reply_fini(&r);
	rq.method = "eth_getTransactionReceipt";
	rq.params = hash;
	for (mined = false; !mined; (void)nanosleep(&nap, NULL)) {
		rpc_all(&r, &rq, 1);
		assert(r.err == ERR_OK);
		mined = json_is_object(r.result);
		if (mined)
			created(at, r.result);
		rpc_reply_fini(&r);
	}
}

static void
send_from(const struct anvil *a, const char *from, const char *to,
    struct buf *data, uint8_t *at)
{
	struct buf params = { 0 };
	char *hex = malloc(2 * data->len + 1);
	enum err e;

	assert(hex != NULL);
	hex_encode(hex, data->p, data->len);
	e = buf_printf(&params, "[{\"from\":\"0x%s\",%s%s%s\"data\":\"0x%s\"}]",
	    from, to != NULL ? "\"to\":\"0x" : "", to != NULL ? to : "",
	    to != NULL ? "\"," : "", hex);
	assert(e == ERR_OK);
	send_and_wait(a, (char *)params.p, at);
	free(hex);
	buf_fini(&params);
	buf_fini(data);
}

void
onchain_from(
    const struct anvil *a, const char *from, const char *to, struct buf *data)
{
	send_from(a, from, to, data, NULL);
}

void
onchain_owner(const struct anvil *a, const char *to, struct buf *data)
{
	onchain_from(a, ONCHAIN_OWNER, to, data);
}

bool
onchain_new(const struct anvil *a, const char *name, const char *args,
    uint8_t at[static 20])
{
	json_t *v = artifact(name);
	struct buf data = { 0 };
	const char *code;
	size_t len, more = strlen(args) / 2;
	bool ok;

	if (v == NULL)
		return false;
	code = code_of(v, "bytecode");
	len = (strlen(code) - 2) / 2;
	ok = buf_reserve(&data, len + more) == ERR_OK &&
	    hex_fixed(data.p, len, code) == ERR_OK &&
	    hex_fixed(data.p + len, more, args) == ERR_OK;
	assert(ok);
	data.len = len + more;
	send_from(a, ONCHAIN_OWNER, NULL, &data, at);
	json_decref(v);
	return true;
}

static bool
deploy(const struct anvil *a, const char *name, const char *args)
{
	uint8_t at[20];

	return onchain_new(a, name, args, at);
}

bool
onchain_anchor(
    const struct anvil *a, const uint8_t kms[static 20], unsigned wait_s)
{
	char args[3 * 64 + 1], kms_hex[41];

	/* constructor(address owner, address kms, uint64 wait) */
	(void)snprintf(args, sizeof args, "%024d" ONCHAIN_OWNER "%024d%s%064x",
	    0, 0, hex_encode(kms_hex, kms, 20), wait_s);
	return deploy(a, "ClusterAnchor", args);
}

bool
onchain_registry(const struct anvil *a, const uint8_t kms[static 20],
    const uint8_t authority[static 20], unsigned window_s, unsigned notice_s,
    unsigned age_s)
{
	char args[6 * 64 + 1], kms_hex[41], authority_hex[41];

	(void)snprintf(args, sizeof args,
	    "%024d%s%024d" ONCHAIN_ANCHOR "%024d%s%064x%064x%064x", 0,
	    hex_encode(kms_hex, kms, 20), 0, 0,
	    hex_encode(authority_hex, authority, 20), window_s, notice_s,
	    age_s);
	return deploy(a, "RootRegistry", args);
}

void
onchain_fund(const struct anvil *a, const uint8_t address[static 20])
{
	char hex[41], params[96];

	(void)snprintf(params, sizeof params,
	    "[\"0x%s\",\"0xde0b6b3a7640000\"]", hex_encode(hex, address, 20));
	anvil_rpc(a, "anvil_setBalance", params);
}
