/* fuzz_collateral: collateral_split, tcb_info_parse, qe_identity_parse,
 * collateral_from_json, collateral_to_json.
 *
 * What is read lies inside the input, is sorted and bounded, and a bundle
 * that was read and written is read as the same again. */
#include <string.h>

#include "common/attest/collateral.h"
#include "common/attest/tcbinfo.h"
#include "common/base/limits.h"
#include "fuzz/must.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_svn_levels(const struct svn_level *l, size_t n)
{
	must(n > 0 && n <= LIMIT_TCB_LEVELS);
	for (size_t i = 0; i < n; i++) {
		must(i == 0 || l[i - 1].isvsvn > l[i].isvsvn);
		must(l[i].says.advisories.n <= ADVISORY_MAX);
		must(l[i].says.status < TCB_STATUS_COUNT);
	}
}

static void
tcb_info(struct bytes text)
{
	struct tcb_info t;

	if (tcb_info_parse(&t, text, NULL) != ERR_OK)
		return;
	must(t.tee == TEE_TDX || t.tee == TEE_SGX);
	must(t.signed_at.issued <= t.signed_at.next_update);
	must(t.n_levels > 0 && t.n_levels <= LIMIT_TCB_LEVELS);
	must(t.n_identities <= LIMIT_TDX_IDENTITIES);
	for (size_t i = 1; i < t.n_levels; i++)
		must(
		    memcmp(t.level[i - 1].sgx, t.level[i].sgx, TCB_COMPS) >= 0);
	for (size_t i = 0; i < t.n_identities; i++)
		check_svn_levels(t.identity[i].level, t.identity[i].n_levels);
	tcb_info_fini(&t);
}

static void
qe_identity(struct bytes text)
{
	struct qe_identity q;

	if (qe_identity_parse(&q, text, NULL) != ERR_OK)
		return;
	must(q.tee == TEE_TDX || q.tee == TEE_SGX);
	check_svn_levels(q.level, q.n_levels);
	qe_identity_fini(&q);
}

static void
split(struct bytes in, const char *name)
{
	struct buf inner = { 0 };
	uint8_t sig[64];

	if (collateral_split(&inner, sig, in, name) != ERR_OK)
		return;
	must(memmem(in.p, in.len, inner.p, inner.len) != NULL);
	must(inner.len >= 2 && inner.p[0] == '{' &&
	    inner.p[inner.len - 1] == '}');
	tcb_info(buf_view(&inner));
	qe_identity(buf_view(&inner));
	buf_fini(&inner);
}

static void
bundle(const uint8_t *data, size_t size)
{
	struct collateral a = { 0 }, b = { 0 };
	struct buf text = { 0 };
	uint8_t id[2][32];

	if (collateral_from_json(&a, data, size, NULL) != ERR_OK)
		return;
	must(collateral_to_json(&text, &a) == ERR_OK);
	/* Escapes may make it longer than what may be read. */
	if (collateral_from_json(&b, text.p, text.len, NULL) == ERR_OK) {
		collateral_id(id[0], &a);
		collateral_seal(&b);
		collateral_id(id[1], &b);
		must(memcmp(id[0], id[1], 32) == 0);
	} else {
		must(text.len > LIMIT_COLLATERAL);
	}
	buf_fini(&text);
	collateral_fini(&a);
	collateral_fini(&b);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes in = { data, size };

	tcb_info(in);
	qe_identity(in);
	split(in, "tcbInfo");
	split(in, "enclaveIdentity");
	bundle(data, size);
	return 0;
}
