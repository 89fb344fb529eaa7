/* fuzz_snp: snp_report_parse and snp_verify.
 *
 * Input: a report of 1184 bytes, then VEK, ASK and CRL, each behind two bytes
 * of length (big-endian), then the ARK.  Nothing is ever accepted under
 * AMD's roots; under the input's own root what is accepted must agree with
 * the report's bytes. */
#include <string.h>

#include "common/attest/snp.h"
#include "common/base/rd.h"
#include "common/crypto/hash.h"
#include "fuzz/must.h"

#define NOW 1750000000 /* when the certificates of the corpus are in date */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct bytes
part(struct rd *r)
{
	size_t len = rd_be16(r);

	if (len > r->left)
		len = r->left;
	return (struct bytes){ rd_bytes(r, len), len };
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct snp_policy nothing;
	struct rd r = { .p = data, .left = size };
	struct snp_options o = { .now = NOW };
	struct snp_evidence ev = { 0 };
	struct snp_verdict v;
	struct snp_report t;
	uint8_t sig[96], ark[32];

	ev.report.len = size < SNP_REPORT_LEN ? size : SNP_REPORT_LEN;
	ev.report.p = rd_bytes(&r, ev.report.len);
	if (snp_report_parse(&t, sig, ev.report, NULL) != ERR_OK)
		return 0;
	must(size >= SNP_REPORT_LEN);
	must(memcmp(t.report_data, data + 0x50, 64) == 0);
	must(memcmp(t.measurement, data + 0x90, 48) == 0);
	must(memcmp(t.chip_id, data + 0x1a0, 64) == 0);
	must(sig[47] == data[0x2a0] && sig[48] == data[0x2a0 + 72 + 47]);
	ev.vek = part(&r);
	ev.ask = part(&r);
	ev.crl = part(&r);
	ev.ark = (struct bytes){ r.p, r.left };

	must(snp_verify(&v, &ev, &o, NULL) != ERR_OK);
	sha256(ark, ev.ark.p, ev.ark.len);
	o.simulated_ark = ark;
	if (snp_verify(&v, &ev, &o, NULL) != ERR_OK)
		return 0;
	must(v.simulated && v.crl_checked == (ev.crl.len > 0));
	must(v.key == (enum snp_key)(data[0x48] >> 2 & 7));
	must(v.report.vmpl < SNP_N_VMPL);
	must(v.reported.microcode == data[0x187]);
	must(snp_accept(&v, &nothing, NULL) == ERR_DENIED);
	return 0;
}
