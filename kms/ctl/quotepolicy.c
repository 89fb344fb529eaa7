#include <stdio.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/hex.h"
#include "common/base/limits.h"
#include "kms/ctl/quotepolicy.h"

#define DAY_S 86400
#define GRACE_DAYS_MAX 3650

struct file_tcb {
	uint8_t fmc, bootloader, tee, snp, microcode;
};

struct file {
	char allow_status[TCB_STATUS_COUNT][48];
	unsigned allow_status_count;
	char allow_advisory[ADVISORY_MAX][ADVISORY_LEN];
	unsigned allow_advisory_count;
	enum yaml_bool allow_any_advisory;
	enum yaml_bool allow_debug;
	enum yaml_bool allow_service_td;
	enum yaml_bool allow_no_sept_ve;
	uint32_t grace_days;
	uint32_t min_tcb_evaluation_number;
	uint32_t min_qe_evaluation_number;
	char allow_ppid[POLICY_PLATFORMS_MAX][40];
	unsigned allow_ppid_count;
	char snp_products[SNP_PRODUCT_COUNT][16];
	unsigned snp_products_count;
	uint8_t snp_vmpl[SNP_N_VMPL];
	unsigned snp_vmpl_count;
	struct file_tcb snp_min_tcb;
	enum yaml_bool snp_allow_vlek;
	enum yaml_bool snp_allow_masked_chip;
	enum yaml_bool snp_allow_migration;
	enum yaml_bool snp_allow_no_alias_check;
	enum yaml_bool snp_allow_no_crl;
};

#define OPT CYAML_FLAG_OPTIONAL
#define BOOL(key) \
	CYAML_FIELD_ENUM( \
	    #key, OPT | CYAML_FLAG_STRICT, struct file, key, yaml_bools, 2)

static const cyaml_schema_value_t status_entry = {
	CYAML_VALUE_STRING(CYAML_FLAG_DEFAULT, char, 1, 47),
};
static const cyaml_schema_value_t advisory_entry = {
	CYAML_VALUE_STRING(CYAML_FLAG_DEFAULT, char, 1, ADVISORY_LEN - 1),
};
static const cyaml_schema_value_t ppid_entry = {
	CYAML_VALUE_STRING(CYAML_FLAG_DEFAULT, char, 32, 34),
};
static const cyaml_schema_value_t product_entry = {
	CYAML_VALUE_STRING(CYAML_FLAG_DEFAULT, char, 1, 15),
};
static const cyaml_schema_value_t vmpl_entry = {
	CYAML_VALUE_UINT(CYAML_FLAG_DEFAULT, uint8_t),
};
static const cyaml_schema_field_t tcb_fields[] = {
	CYAML_FIELD_UINT("fmc", OPT, struct file_tcb, fmc),
	CYAML_FIELD_UINT("bootloader", OPT, struct file_tcb, bootloader),
	CYAML_FIELD_UINT("tee", OPT, struct file_tcb, tee),
	CYAML_FIELD_UINT("snp", OPT, struct file_tcb, snp),
	CYAML_FIELD_UINT("microcode", OPT, struct file_tcb, microcode),
	CYAML_FIELD_END,
};
static const cyaml_schema_field_t fields[] = {
	CYAML_FIELD_SEQUENCE("allow_status", OPT, struct file, allow_status,
	    &status_entry, 1, TCB_STATUS_COUNT),
	CYAML_FIELD_SEQUENCE("allow_advisory", OPT, struct file, allow_advisory,
	    &advisory_entry, 0, ADVISORY_MAX),
	BOOL(allow_any_advisory),
	BOOL(allow_debug),
	BOOL(allow_service_td),
	BOOL(allow_no_sept_ve),
	CYAML_FIELD_UINT("grace_days", OPT, struct file, grace_days),
	CYAML_FIELD_UINT("min_tcb_evaluation_number", OPT, struct file,
	    min_tcb_evaluation_number),
	CYAML_FIELD_UINT("min_qe_evaluation_number", OPT, struct file,
	    min_qe_evaluation_number),
	CYAML_FIELD_SEQUENCE("allow_ppid", OPT, struct file, allow_ppid,
	    &ppid_entry, 1, POLICY_PLATFORMS_MAX),
	CYAML_FIELD_SEQUENCE("snp_products", OPT, struct file, snp_products,
	    &product_entry, 1, SNP_PRODUCT_COUNT),
	CYAML_FIELD_SEQUENCE(
	    "snp_vmpl", OPT, struct file, snp_vmpl, &vmpl_entry, 1, SNP_N_VMPL),
	CYAML_FIELD_MAPPING(
	    "snp_min_tcb", OPT, struct file, snp_min_tcb, tcb_fields),
	BOOL(snp_allow_vlek),
	BOOL(snp_allow_masked_chip),
	BOOL(snp_allow_migration),
	BOOL(snp_allow_no_alias_check),
	BOOL(snp_allow_no_crl),
	CYAML_FIELD_END,
};
static const cyaml_schema_value_t schema = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct file, fields),
};

static enum err
bad(char why[static YAML_WHY_MAX], const char *key, const char *value)
{
	(void)snprintf(
	    why, YAML_WHY_MAX, "%s: \"%s\" cannot be allowed", key, value);
	return ERR_CONFIG;
}

static enum err
statuses(struct attest_policy *p, const struct file *f,
    char why[static YAML_WHY_MAX])
{
	if (f->allow_status_count > 0)
		memset(p->status, 0, sizeof p->status);
	for (unsigned i = 0; i < f->allow_status_count; i++) {
		enum tcb_status s;

		/* Revoked is no status that anybody may wave through. */
		if (tcb_status_parse(&s, f->allow_status[i]) != ERR_OK ||
		    s == TCB_REVOKED)
			return bad(why, "allow_status", f->allow_status[i]);
		p->status[s] = true;
	}
	return ERR_OK;
}

static enum err
snp_lists(
    struct snp_policy *p, const struct file *f, char why[static YAML_WHY_MAX])
{
	if (f->snp_products_count > 0)
		memset(p->product, 0, sizeof p->product);
	for (unsigned i = 0; i < f->snp_products_count; i++) {
		unsigned k = 0;

		while (k < SNP_PRODUCT_COUNT &&
		    strcmp(snp_product_text((enum snp_product)k),
			f->snp_products[i]) != 0)
			k++;
		if (k == SNP_PRODUCT_COUNT)
			return bad(why, "snp_products", f->snp_products[i]);
		p->product[k] = true;
	}
	if (f->snp_vmpl_count > 0)
		memset(p->vmpl, 0, sizeof p->vmpl);
	for (unsigned i = 0; i < f->snp_vmpl_count; i++) {
		if (f->snp_vmpl[i] >= SNP_N_VMPL)
			return bad(why, "snp_vmpl", "above 3");
		p->vmpl[f->snp_vmpl[i]] = true;
	}
	return ERR_OK;
}

static enum err
from_file(struct attest_policy *p, const struct file *f,
    char why[static YAML_WHY_MAX])
{
	const struct file_tcb *t = &f->snp_min_tcb;
	enum err e;

	if ((e = statuses(p, f, why)) != ERR_OK ||
	    (e = snp_lists(&p->snp, f, why)) != ERR_OK)
		return e;
	if (f->grace_days > GRACE_DAYS_MAX)
		return bad(why, "grace_days", "more than ten years");
	for (unsigned i = 0; i < f->allow_ppid_count; i++)
		if (hex_fixed(p->ppid[i], sizeof p->ppid[i],
			f->allow_ppid[i]) != ERR_OK)
			return bad(why, "allow_ppid", f->allow_ppid[i]);
	p->n_ppids = f->allow_ppid_count;
	memcpy(p->advisory, f->allow_advisory, sizeof p->advisory);
	p->n_advisories = f->allow_advisory_count;
	p->any_advisory = f->allow_any_advisory == YAML_TRUE;
	p->grace_s = (int64_t)f->grace_days * DAY_S;
	p->min_tcb_eval = f->min_tcb_evaluation_number;
	p->min_qe_eval = f->min_qe_evaluation_number;
	p->allow_debug = f->allow_debug == YAML_TRUE;
	p->snp.allow_debug = p->allow_debug;
	p->nitro.allow_debug = p->allow_debug;
	p->allow_service_td = f->allow_service_td == YAML_TRUE;
	p->allow_no_sept_ve = f->allow_no_sept_ve == YAML_TRUE;
	for (unsigned i = 0; i < SNP_PRODUCT_COUNT; i++)
		p->snp.min_tcb[i] = (struct snp_tcb){ .fmc = t->fmc,
			.bootloader = t->bootloader,
			.tee = t->tee,
			.snp = t->snp,
			.microcode = t->microcode };
	p->snp.allow_vlek = f->snp_allow_vlek == YAML_TRUE;
	p->snp.allow_masked_chip = f->snp_allow_masked_chip == YAML_TRUE;
	p->snp.allow_migration = f->snp_allow_migration == YAML_TRUE;
	p->snp.allow_no_alias_check = f->snp_allow_no_alias_check == YAML_TRUE;
	p->snp.allow_no_crl = f->snp_allow_no_crl == YAML_TRUE;
	return ERR_OK;
}

/* A KMS's, but of each vendor: who shows a report here asks about it. */
static void
by_default(struct attest_policy *p)
{
	attest_policy_default(p);
	p->allow_snp = true;
	p->allow_nitro = true;
	snp_policy_default(&p->snp);
}

enum err
quotepolicy_parse(
    struct attest_policy *out, struct bytes yaml, char why[static YAML_WHY_MAX])
{
	struct attest_policy p;
	void *f = NULL;
	enum err e = yaml_parse(&f, yaml, &schema, why);

	if (e != ERR_OK)
		return e;
	by_default(&p);
	if ((e = from_file(&p, f, why)) == ERR_OK)
		*out = p;
	yaml_release(f, &schema);
	return e;
}

enum err
quotepolicy_load(
    struct attest_policy *out, const char *word, char why[static YAML_WHY_MAX])
{
	struct buf text = { 0 };
	enum err e;

	by_default(out);
	if (word == NULL || strcmp(word, "default") == 0)
		return ERR_OK;
	if (strcmp(word, "any") == 0) {
		attest_policy_any(out);
		return ERR_OK;
	}
	e = file_read(&text, word, LIMIT_CONFIG_FILE);
	if (e != ERR_OK) {
		(void)snprintf(
		    why, YAML_WHY_MAX, "%.200s: %s", word, err_text(e));
		e = ERR_CONFIG;
	} else {
		e = quotepolicy_parse(out, buf_view(&text), why);
	}
	buf_fini(&text);
	return e;
}

/* ---- for the report ---- */

static json_t *
intel_json(const struct attest_policy *p)
{
	json_t *status = json_array(), *advisory = json_array(),
	       *ppid = json_array();

	for (unsigned s = 0; s < TCB_STATUS_COUNT; s++)
		if (p->status[s])
			(void)json_array_append_new(status,
			    json_string(tcb_status_text((enum tcb_status)s)));
	for (unsigned i = 0; i < p->n_advisories; i++)
		(void)json_array_append_new(
		    advisory, json_string(p->advisory[i]));
	for (unsigned i = 0; i < p->n_ppids; i++) {
		char hex[33];

		(void)json_array_append_new(
		    ppid, json_string(hex_encode(hex, p->ppid[i], 16)));
	}
	/* An empty list would read as "no platform". */
	if (p->n_ppids == 0) {
		json_decref(ppid);
		ppid = json_string("any");
	}
	return json_pack("{s:o, s:o, s:b, s:I, s:I, s:I, s:o, s:b, s:b, s:b}",
	    "allow_status", status, "allow_advisory", advisory,
	    "allow_any_advisory", p->any_advisory, "grace_days",
	    (json_int_t)(p->grace_s / DAY_S), "min_tcb_evaluation_number",
	    (json_int_t)p->min_tcb_eval, "min_qe_evaluation_number",
	    (json_int_t)p->min_qe_eval, "allow_ppid", ppid, "allow_debug",
	    p->allow_debug, "allow_service_td", p->allow_service_td,
	    "allow_no_sept_ve", p->allow_no_sept_ve);
}

static json_t *
snp_json(const struct snp_policy *p)
{
	json_t *products = json_array(), *vmpl = json_array();
	const struct snp_tcb *t = &p->min_tcb[0];

	for (unsigned i = 0; i < SNP_PRODUCT_COUNT; i++)
		if (p->product[i])
			(void)json_array_append_new(products,
			    json_string(snp_product_text((enum snp_product)i)));
	for (int i = 0; i < SNP_N_VMPL; i++)
		if (p->vmpl[i])
			(void)json_array_append_new(vmpl, json_integer(i));
	return json_pack("{s:o, s:o, s:{s:i, s:i, s:i, s:i, s:i}, s:b, s:b, "
			 "s:b, s:b, s:b, s:b}",
	    "snp_products", products, "snp_vmpl", vmpl, "snp_min_tcb", "fmc",
	    t->fmc, "bootloader", t->bootloader, "tee", t->tee, "snp", t->snp,
	    "microcode", t->microcode, "snp_allow_vlek", p->allow_vlek,
	    "snp_allow_masked_chip", p->allow_masked_chip,
	    "snp_allow_migration", p->allow_migration,
	    "snp_allow_no_alias_check", p->allow_no_alias_check,
	    "snp_allow_no_crl", p->allow_no_crl, "allow_debug", p->allow_debug);
}

json_t *
quotepolicy_json(const struct attest_policy *p, enum tee_kind tee)
{
	switch (tee) {
	case TEE_SEV_SNP:
		return snp_json(&p->snp);
	case TEE_NITRO:
		return json_pack("{s:b}", "allow_debug", p->nitro.allow_debug);
	case TEE_TDX:
	case TEE_SGX:
		break;
	}
	return intel_json(p);
}
