/* snp: steps of tdx-dcap.md 4.1, cheap before dear: bytes, chain, signature,
 * and only then what the signed fields say.
 *
 * Reserved bytes inside the signed part are the firmware's to define and are
 * not judged, save those of policy and key information, which change what
 * the report means.  Bytes behind the signature are nobody's: zero. */
#include <string.h>

#include "common/attest/certpath.h"
#include "common/attest/snp.h"
#include "common/attest/vekext.h"
#include "common/base/rd.h"
#include "common/crypto/hash.h"
#include "common/crypto/p384.h"

#define SIG_ALGO_P384 1
#define SIG_PART_LEN 72 /* r and s, little-endian, zero above 48 bytes */
#define SIG_TAIL_LEN (SNP_REPORT_LEN - SNP_SIGNED_LEN - 2 * SIG_PART_LEN)

/* Guest policy. */
#define POLICY_BIT(n) (UINT64_C(1) << (n))
#define POLICY_FIXED1 POLICY_BIT(17)
#define POLICY_MIGRATE_MA POLICY_BIT(18)
#define POLICY_DEBUG POLICY_BIT(19)
#define POLICY_KNOWN (POLICY_BIT(26) - 1)

#define PLATFORM_ALIAS_CHECK_COMPLETE (UINT64_C(1) << 5)

#define KEY_INFO_MASK_CHIP_KEY 0x2u
#define KEY_INFO_KNOWN 0x1fu

enum { LINK_VEK, LINK_ASK, LINK_ARK, N_LINKS };

static const char *const link_name[N_LINKS] = { "VEK", "ASK", "ARK" };

/* clang-format off */
static const struct {
	const char *name;
	const char *ark, *ask, *asvk; /* common names */
	const char *chip[4]; /* names in the VEK, before any "-B0" */
	uint8_t spl_of_byte[8]; /* TCB byte -> arc of its extension */
	uint8_t ark_sha256[32]; /* of the certificate's DER */
	size_t hwid_len;
} products[SNP_PRODUCT_COUNT] = {
	[SNP_MILAN] = {
		"Milan", "ARK-Milan", "SEV-Milan", "SEV-VLEK-Milan",
		{ "Milan" }, { 1, 2, 4, 5, 6, 7, 3, 8 },
		{ 0x69, 0xd0, 0x63, 0xb4, 0x53, 0x44, 0xd2, 0x6a,
		  0x2e, 0x94, 0xe1, 0xf4, 0x21, 0x0d, 0xe4, 0x9e,
		  0xf5, 0x55, 0x30, 0x82, 0x87, 0xd4, 0xc1, 0x74,
		  0x44, 0x5c, 0x95, 0x63, 0x9a, 0x54, 0x0b, 0xcd },
		64 },
	[SNP_GENOA] = {
		"Genoa", "ARK-Genoa", "SEV-Genoa", "SEV-VLEK-Genoa",
		{ "Genoa", "Siena", "Bergamo" }, { 1, 2, 4, 5, 6, 7, 3, 8 },
		{ 0x4c, 0x65, 0x98, 0xd1, 0x9c, 0x18, 0x71, 0x9c,
		  0x5d, 0xfd, 0x4a, 0x7d, 0x33, 0x5f, 0x67, 0x4e,
		  0x5b, 0xfe, 0x1d, 0x8f, 0x80, 0x0c, 0xea, 0x2c,
		  0xf2, 0x70, 0xc1, 0x0d, 0x10, 0x3d, 0xb2, 0xf1 },
		64 },
	[SNP_TURIN] = {
		"Turin", "ARK-Turin", "SEV-Turin", "SEV-VLEK-Turin",
		{ "Turin" }, { 9, 1, 2, 3, 5, 6, 7, 8 },
		{ 0x1f, 0x08, 0x41, 0x61, 0xa4, 0x4b, 0xb6, 0xd9,
		  0x37, 0x78, 0xa9, 0x04, 0x87, 0x7d, 0x48, 0x19,
		  0xca, 0xfa, 0x5d, 0x05, 0xef, 0x41, 0x93, 0xb2,
		  0xde, 0xd9, 0xdd, 0x9c, 0x73, 0xdd, 0x3f, 0x6a },
		8 },
};
/* clang-format on */

const char *
snp_product_text(enum snp_product p)
{
	return (unsigned)p < SNP_PRODUCT_COUNT ? products[p].name : "unknown";
}

struct snp_tcb
snp_tcb_read(enum snp_product p, const uint8_t raw[static 8])
{
	struct snp_tcb t = { 0 };

	for (int i = 0; i < 8; i++)
		switch (products[p].spl_of_byte[i]) {
		case 1:
			t.bootloader = raw[i];
			break;
		case 2:
			t.tee = raw[i];
			break;
		case 3:
			t.snp = raw[i];
			break;
		case 8:
			t.microcode = raw[i];
			break;
		case 9:
			t.fmc = raw[i];
			break;
		default: /* 4..7: reserved */
			break;
		}
	return t;
}

static bool
all_zero(const uint8_t *p, size_t len)
{
	uint8_t any = 0;

	for (size_t i = 0; i < len; i++)
		any |= p[i];
	return any == 0;
}

static void
take(struct rd *r, uint8_t *out, size_t len)
{
	const uint8_t *p = rd_bytes(r, len);

	if (p != NULL)
		memcpy(out, p, len);
}

/* Three bytes build, minor, major -> major, minor, build. */
static void
take_version(struct rd *r, uint8_t out[static 3])
{
	out[2] = rd_u8(r);
	out[1] = rd_u8(r);
	out[0] = rd_u8(r);
	(void)rd_u8(r);
}

static uint32_t
read_signed_part(struct snp_report *t, const uint8_t *p)
{
	struct rd r = { .p = p, .left = SNP_SIGNED_LEN };
	uint32_t algo;

	t->version = rd_le32(&r);
	t->guest_svn = rd_le32(&r);
	t->policy = rd_le64(&r);
	take(&r, t->family_id, sizeof t->family_id);
	take(&r, t->image_id, sizeof t->image_id);
	t->vmpl = rd_le32(&r);
	algo = rd_le32(&r);
	take(&r, t->current_tcb, sizeof t->current_tcb);
	t->platform_info = rd_le64(&r);
	t->key_info = rd_le32(&r);
	(void)rd_le32(&r);
	take(&r, t->report_data, sizeof t->report_data);
	take(&r, t->measurement, sizeof t->measurement);
	take(&r, t->host_data, sizeof t->host_data);
	take(&r, t->id_key_digest, sizeof t->id_key_digest);
	take(&r, t->author_key_digest, sizeof t->author_key_digest);
	take(&r, t->report_id, sizeof t->report_id);
	take(&r, t->report_id_ma, sizeof t->report_id_ma);
	take(&r, t->reported_tcb, sizeof t->reported_tcb);
	t->has_cpuid = t->version >= 3;
	if (t->has_cpuid) {
		t->cpuid_family = rd_u8(&r);
		t->cpuid_model = rd_u8(&r);
		t->cpuid_stepping = rd_u8(&r);
		(void)rd_bytes(&r, 0x1a0 - 0x18b);
	} else {
		(void)rd_bytes(&r, 0x1a0 - 0x188);
	}
	take(&r, t->chip_id, sizeof t->chip_id);
	take(&r, t->committed_tcb, sizeof t->committed_tcb);
	take_version(&r, t->current_version);
	take_version(&r, t->committed_version);
	take(&r, t->launch_tcb, sizeof t->launch_tcb);
	t->has_mitigation = t->version >= 5;
	if (t->has_mitigation) {
		t->launch_mitigation = rd_le64(&r);
		t->current_mitigation = rd_le64(&r);
	}
	return algo;
}

enum err
snp_report_parse(struct snp_report *out, uint8_t sig[static 96],
    struct bytes in, struct refusal *why)
{
	struct snp_report t = { 0 };
	const uint8_t *r, *s;
	uint32_t algo;

	if (in.len != SNP_REPORT_LEN)
		return refuse(
		    why, REASON_QUOTE_MALFORMED, "REPORT_SIZE %zu", in.len);
	algo = read_signed_part(&t, in.p);
	if (t.version != 2 && t.version != 3 && t.version != 5)
		return refuse(why, REASON_QUOTE_UNSUPPORTED,
		    "REPORT_VERSION: %u", t.version);
	if (algo != SIG_ALGO_P384)
		return refuse(
		    why, REASON_QUOTE_UNSUPPORTED, "SIG_ALGO: %u", algo);
	r = in.p + SNP_SIGNED_LEN;
	s = r + SIG_PART_LEN;
	if (!all_zero(s + SIG_PART_LEN, SIG_TAIL_LEN))
		return refuse(why, REASON_QUOTE_MALFORMED,
		    "SIG_RESERVED: bytes behind the signature");
	if (!all_zero(r + 48, SIG_PART_LEN - 48) ||
	    !all_zero(s + 48, SIG_PART_LEN - 48))
		return refuse(why, REASON_QUOTE_SIGNATURE,
		    "REPORT_SIG: wider than the curve");
	/* P30: little-endian, unlike everybody else's. */
	for (int i = 0; i < 48; i++) {
		sig[i] = r[47 - i];
		sig[48 + i] = s[47 - i];
	}
	*out = t;
	return ERR_OK;
}

/* What one verification carries from step to step. */
struct run {
	const struct snp_options *o;
	struct certpath *path; /* owns */
	struct vekext ext;
	struct snp_verdict v;
	struct refusal *why; /* borrows */
};

static enum err
step_pin(struct run *r)
{
	uint8_t *fp = r->v.ark_fingerprint;

	certpath_fingerprint(r->path, fp);
	for (int i = 0; i < SNP_PRODUCT_COUNT; i++)
		if (memcmp(fp, products[i].ark_sha256, 32) == 0) {
			r->v.product = (enum snp_product)i;
			return ERR_OK;
		}
	if (r->o->simulated_ark == NULL ||
	    memcmp(fp, r->o->simulated_ark, 32) != 0)
		return refuse(r->why, REASON_VENDOR_CHAIN,
		    "ARK_PIN: not a root of AMD's");
	r->v.simulated = true;
	for (int i = 0; i < SNP_PRODUCT_COUNT; i++)
		if (certpath_cn_is(r->path, LINK_ARK, products[i].ark)) {
			r->v.product = (enum snp_product)i;
			return ERR_OK;
		}
	return refuse(r->why, REASON_VENDOR_CHAIN, "ARK_ROLE: common name");
}

/* Which key this is follows from the names that the chain certifies; the
 * VEK's own name must agree with its issuer's. */
static enum err
step_roles(struct run *r)
{
	enum snp_product p = r->v.product;

	if (!certpath_cn_is(r->path, LINK_ARK, products[p].ark))
		return refuse(
		    r->why, REASON_VENDOR_CHAIN, "ARK_ROLE: common name");
	if (certpath_cn_is(r->path, LINK_VEK, "SEV-VCEK"))
		r->v.key = SNP_VCEK;
	else if (certpath_cn_is(r->path, LINK_VEK, "SEV-VLEK"))
		r->v.key = SNP_VLEK;
	else
		return refuse(
		    r->why, REASON_VENDOR_CHAIN, "VEK_ROLE: common name");
	if (!certpath_cn_is(r->path, LINK_ASK,
		r->v.key == SNP_VCEK ? products[p].ask : products[p].asvk))
		return refuse(
		    r->why, REASON_VENDOR_CHAIN, "ASK_ROLE: common name");
	for (size_t i = 0; i < N_LINKS; i++)
		if (!certpath_signed_with(r->path, i, CERTPATH_PSS_SHA384))
			return refuse(r->why, REASON_VENDOR_CHAIN,
			    "%s_ALGO: not RSASSA-PSS with SHA-384",
			    link_name[i]);
	return ERR_OK;
}

static const char *
fault_name(enum certpath_fault f)
{
	switch (f) {
	case CERTPATH_ISSUER:
		return "ISSUER";
	case CERTPATH_SIGNATURE:
		return "SIG";
	case CERTPATH_TIME:
		return "TIME";
	case CERTPATH_REVOKED:
		return "REVOKED";
	case CERTPATH_OK:
	case CERTPATH_SHAPE:
		break;
	}
	return "SHAPE";
}

static enum err
step_path(struct run *r)
{
	const char *text = "out of date";
	size_t at = 0;
	enum certpath_fault f = certpath_verify(r->path, &at, &text);

	if (f == CERTPATH_OK) {
		text = "out of date";
		f = certpath_in_date(r->path, &at, r->o->now);
	}
	if (f != CERTPATH_OK)
		return refuse(r->why, REASON_VENDOR_CHAIN, "%s_%s: %s",
		    link_name[at], fault_name(f), text);
	certpath_window(r->path, &r->v.valid_from, &r->v.valid_until);
	return ERR_OK;
}

/* The ARK's CRL lists ASKs and ASVKs; a VEK has serial number 0. */
static enum err
step_crl(struct run *r, struct bytes crl)
{
	const char *text;
	enum certpath_fault f;

	if (crl.len == 0)
		return ERR_OK;
	f = certpath_crl(r->path, crl, r->o->now, &text);
	if (f == CERTPATH_REVOKED)
		return refuse(r->why, REASON_REVOKED, "ASK_REVOKED: %s", text);
	if (f != CERTPATH_OK)
		return refuse(
		    r->why, REASON_COLLATERAL_INVALID, "CRL: %s", text);
	r->v.crl_checked = true;
	return ERR_OK;
}

/* Key information: bit 1 mask_chip_key, bits 2..4 the signing key. */
static enum err
step_key_info(struct run *r)
{
	uint32_t info = r->v.report.key_info;

	if ((info & ~KEY_INFO_KNOWN) != 0)
		return refuse(
		    r->why, REASON_QUOTE_UNSUPPORTED, "KEY_INFO: %#x", info);
	if ((info >> 2 & 7) != (uint32_t)r->v.key)
		return refuse(r->why, REASON_VENDOR_CHAIN,
		    "SIGNING_KEY: report says %u, certificate %u",
		    info >> 2 & 7, (unsigned)r->v.key);
	if (r->v.report.vmpl >= SNP_N_VMPL)
		return refuse(r->why, REASON_QUOTE_MALFORMED, "VMPL: %u",
		    r->v.report.vmpl);
	return ERR_OK;
}

/* Family, model -> product, or SNP_PRODUCT_COUNT. */
static enum snp_product
product_of_cpu(uint8_t family, uint8_t model)
{
	if (family == 0x19 && model <= 0x0f)
		return SNP_MILAN;
	if (family == 0x19 &&
	    ((model >= 0x10 && model <= 0x1f) ||
		(model >= 0xa0 && model <= 0xaf)))
		return SNP_GENOA;
	if (family == 0x1a && model <= 0x11)
		return SNP_TURIN;
	return SNP_PRODUCT_COUNT;
}

static bool
chip_name_fits(const char *name, enum snp_product p)
{
	size_t len = strcspn(name, "-"); /* "Milan-B0": silicon stepping */

	for (int i = 0; i < 4 && products[p].chip[i] != NULL; i++)
		if (strlen(products[p].chip[i]) == len &&
		    memcmp(products[p].chip[i], name, len) == 0)
			return true;
	return false;
}

static enum err
step_product(struct run *r)
{
	const struct snp_report *t = &r->v.report;

	if (!chip_name_fits(r->ext.product, r->v.product))
		return refuse(r->why, REASON_VENDOR_CHAIN,
		    "PRODUCT: certificate for %s under %s", r->ext.product,
		    products[r->v.product].ark);
	if (t->has_cpuid &&
	    product_of_cpu(t->cpuid_family, t->cpuid_model) != r->v.product)
		return refuse(r->why, REASON_VENDOR_CHAIN,
		    "PRODUCT: family %#x model %#x under %s", t->cpuid_family,
		    t->cpuid_model, products[r->v.product].ark);
	return ERR_OK;
}

/* P30: the key was derived for one TCB; the report must claim exactly that,
 * all eight bytes in the product's layout. */
static enum err
step_tcb(struct run *r)
{
	const uint8_t *arc = products[r->v.product].spl_of_byte;
	const uint8_t *raw = r->v.report.reported_tcb;
	bool used[VEKEXT_N_SPL + 1] = { 0 };

	for (int i = 0; i < 8; i++) {
		bool reserved = arc[i] >= 4 && arc[i] <= 7;

		used[arc[i]] = true;
		if (!r->ext.has_spl[arc[i]] && !reserved)
			return refuse(r->why, REASON_VENDOR_CHAIN,
			    "VEK_EXT: no SPL %u", arc[i]);
		if (r->ext.spl[arc[i]] != raw[i])
			return refuse(r->why, REASON_VENDOR_CHAIN,
			    "TCB_MISMATCH: byte %d is %u, certificate %u", i,
			    raw[i], r->ext.spl[arc[i]]);
	}
	for (int i = 1; i <= VEKEXT_N_SPL; i++)
		if (r->ext.has_spl[i] && !used[i] && r->ext.spl[i] != 0)
			return refuse(r->why, REASON_VENDOR_CHAIN,
			    "TCB_MISMATCH: SPL %d is not %s's", i,
			    products[r->v.product].name);
	return ERR_OK;
}

static enum err
step_chip(struct run *r)
{
	const struct snp_report *t = &r->v.report;
	size_t len = products[r->v.product].hwid_len;

	if (r->v.key == SNP_VLEK) {
		if (r->ext.hwid_len != 0 || r->ext.csp_id[0] == '\0')
			return refuse(r->why, REASON_VENDOR_CHAIN,
			    "VEK_EXT: a VLEK names a cloud, no chip");
		memcpy(r->v.csp_id, r->ext.csp_id, sizeof r->v.csp_id);
		return ERR_OK;
	}
	if (r->ext.hwid_len != len || r->ext.csp_id[0] != '\0')
		return refuse(r->why, REASON_VENDOR_CHAIN,
		    "VEK_EXT: a VCEK names a chip of %zu bytes, no cloud", len);
	r->v.hwid_len = len;
	memcpy(r->v.hwid, r->ext.hwid, len);
	r->v.chip_masked = (t->key_info & KEY_INFO_MASK_CHIP_KEY) != 0;
	/* Masked means zero; anything else there would be unexplained. */
	if (r->v.chip_masked ? !all_zero(t->chip_id, sizeof t->chip_id)
			     : memcmp(t->chip_id, r->ext.hwid, len) != 0)
		return refuse(r->why, REASON_VENDOR_CHAIN,
		    "CHIP_ID: not the certificate's");
	return ERR_OK;
}

static enum err
step_signature(struct run *r, struct bytes report, const uint8_t *sig)
{
	uint8_t digest[SHA384_LEN];
	enum err e;

	sha384(digest, report.p, SNP_SIGNED_LEN);
	e = p384_verify_digest(certpath_leaf_key(r->path), sig, digest);
	return e == ERR_AUTH ? refuse(r->why, REASON_QUOTE_SIGNATURE,
				   "REPORT_SIG: report signature")
			     : e;
}

static enum err
run_all(struct run *r, const struct snp_evidence *in, const uint8_t *sig)
{
	enum err e;

	if ((e = step_pin(r)) != ERR_OK || (e = step_roles(r)) != ERR_OK ||
	    (e = step_path(r)) != ERR_OK ||
	    (e = step_crl(r, in->crl)) != ERR_OK ||
	    (e = step_signature(r, in->report, sig)) != ERR_OK ||
	    (e = step_key_info(r)) != ERR_OK)
		return e;
	e = vekext_read(&r->ext, r->path);
	if (e == ERR_MALFORMED)
		e = refuse(r->why, REASON_VENDOR_CHAIN, "VEK_EXT: malformed");
	if (e != ERR_OK || (e = step_product(r)) != ERR_OK ||
	    (e = step_tcb(r)) != ERR_OK || (e = step_chip(r)) != ERR_OK)
		return e;
	if (r->o->report_data != NULL &&
	    memcmp(r->v.report.report_data, r->o->report_data, 64) != 0)
		return refuse(r->why, REASON_REPORT_DATA,
		    "REPORT_DATA: made for something else");
	return ERR_OK;
}

enum err
snp_verify(struct snp_verdict *out, const struct snp_evidence *in,
    const struct snp_options *o, struct refusal *why)
{
	const struct bytes der[N_LINKS] = { in->vek, in->ask, in->ark };
	struct run r = { .o = o, .why = why };
	uint8_t sig[P384_SIG_LEN];
	size_t at = 0;
	enum err e = snp_report_parse(&r.v.report, sig, in->report, why);

	if (e != ERR_OK)
		return e;
	e = certpath_new(&r.path, &at, der, N_LINKS);
	if (e == ERR_MALFORMED)
		return refuse(why, REASON_VENDOR_CHAIN, "%s_PARSE: certificate",
		    link_name[at]);
	if (e != ERR_OK)
		return e;
	e = run_all(&r, in, sig);
	certpath_free(r.path);
	if (e != ERR_OK)
		return e;
	r.v.current = snp_tcb_read(r.v.product, r.v.report.current_tcb);
	r.v.reported = snp_tcb_read(r.v.product, r.v.report.reported_tcb);
	r.v.committed = snp_tcb_read(r.v.product, r.v.report.committed_tcb);
	r.v.launch = snp_tcb_read(r.v.product, r.v.report.launch_tcb);
	*out = r.v;
	return ERR_OK;
}

void
snp_policy_default(struct snp_policy *out)
{
	*out = (struct snp_policy){
		.product = { [SNP_GENOA] = true, [SNP_TURIN] = true },
		.vmpl = { [0] = true },
	};
}

static bool
tcb_reaches(const struct snp_tcb *t, const struct snp_tcb *min)
{
	return t->fmc >= min->fmc && t->bootloader >= min->bootloader &&
	    t->tee >= min->tee && t->snp >= min->snp &&
	    t->microcode >= min->microcode;
}

static enum err
guest_accept(
    const struct snp_report *t, const struct snp_policy *p, struct refusal *why)
{
	if ((t->policy & POLICY_FIXED1) == 0 ||
	    (t->policy & ~POLICY_KNOWN) != 0)
		return refuse(why, REASON_GUEST_POLICY,
		    "POLICY_RESERVED: %#llx", (unsigned long long)t->policy);
	if ((t->policy & POLICY_DEBUG) != 0 && !p->allow_debug)
		return refuse(why, REASON_TD_DEBUG, "POLICY_DEBUG: bit 19");
	if ((t->policy & POLICY_MIGRATE_MA) != 0 && !p->allow_migration)
		return refuse(
		    why, REASON_GUEST_POLICY, "POLICY_MIGRATION: bit 18");
	if (t->vmpl >= SNP_N_VMPL || !p->vmpl[t->vmpl])
		return refuse(
		    why, REASON_GUEST_POLICY, "POLICY_VMPL: %u", t->vmpl);
	return ERR_OK;
}

enum err
snp_accept(const struct snp_verdict *v, const struct snp_policy *p,
    struct refusal *why)
{
	enum err e;

	if (v->simulated && !p->allow_simulated)
		return refuse(why, REASON_SIMULATED,
		    "POLICY_SIMULATED: the root is not AMD's");
	if ((unsigned)v->product >= SNP_PRODUCT_COUNT ||
	    !p->product[v->product])
		return refuse(why, REASON_QUOTE_UNSUPPORTED,
		    "POLICY_PRODUCT: %s", snp_product_text(v->product));
	if ((e = guest_accept(&v->report, p, why)) != ERR_OK)
		return e;
	if (v->key != SNP_VCEK && !(v->key == SNP_VLEK && p->allow_vlek))
		return refuse(
		    why, REASON_GUEST_POLICY, "POLICY_VLEK: %s", v->csp_id);
	if (v->chip_masked && !p->allow_masked_chip)
		return refuse(
		    why, REASON_GUEST_POLICY, "POLICY_CHIP_MASKED: no chip id");
	if ((v->report.platform_info & PLATFORM_ALIAS_CHECK_COMPLETE) == 0 &&
	    !p->allow_no_alias_check)
		return refuse(why, REASON_GUEST_POLICY,
		    "POLICY_ALIAS_CHECK: memory aliases were not ruled out");
	if (!v->crl_checked && !p->allow_no_crl)
		return refuse(why, REASON_COLLATERAL_MISSING,
		    "POLICY_CRL: revocation was not checked");
	if (!tcb_reaches(&v->reported, &p->min_tcb[v->product]) ||
	    !tcb_reaches(&v->committed, &p->min_tcb[v->product]))
		return refuse(why, REASON_TCB_STATUS,
		    "POLICY_TCB: reported %u.%u.%u.%u.%u", v->reported.fmc,
		    v->reported.bootloader, v->reported.tee, v->reported.snp,
		    v->reported.microcode);
	return ERR_OK;
}
