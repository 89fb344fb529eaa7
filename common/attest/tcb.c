#include <string.h>

#include "common/attest/tcb.h"

/* Bytes of TEE_TCB_SVN: tdx-dcap.md 1.4. */
enum {
	SVN_MODULE = 0, /* ISVSVN of the TDX module */
	SVN_VERSION = 1, /* its major version */
	SVN_MICROCODE = 2,
};

/* Component by component, never as one number. */
static bool
reaches(const uint8_t have[static TCB_COMPS],
    const uint8_t want[static TCB_COMPS], size_t first)
{
	for (size_t i = first; i < TCB_COMPS; i++)
		if (have[i] < want[i])
			return false;
	return true;
}

static bool
reaches_sgx(const struct tcb_level *l, const struct pckext *pck)
{
	return reaches(pck->cpusvn, l->sgx, 0) && pck->pcesvn >= l->pcesvn;
}

const struct tcb_level *
tcb_level_match(const struct tcb_info *t, const struct pckext *pck,
    const uint8_t *tee_tcb_svn)
{
	/* Components 0 and 1 are the module's; from version 1 on it is
	 * judged by its own identity (2.7), so they are skipped here. */
	size_t first =
	    tee_tcb_svn != NULL && tee_tcb_svn[SVN_VERSION] > 0 ? 2 : 0;

	for (size_t i = 0; i < t->n_levels; i++)
		if (reaches_sgx(&t->level[i], pck) &&
		    (tee_tcb_svn == NULL ||
			reaches(tee_tcb_svn, t->level[i].tdx, first)))
			return &t->level[i];
	return NULL;
}

const struct svn_level *
svn_level_match(const struct svn_level *level, size_t n, uint16_t svn)
{
	for (size_t i = 0; i < n; i++)
		if (level[i].isvsvn <= svn)
			return &level[i];
	return NULL;
}

static const struct tdx_module_identity *
module_identity(const struct tcb_info *t, uint8_t version)
{
	for (size_t i = 0; i < t->n_identities; i++)
		if (t->identity[i].version == version)
			return &t->identity[i];
	return NULL;
}

static enum err
module_fits(
    const struct tdx_module *m, const struct td_report *td, struct refusal *why)
{
	if (memcmp(td->mrsignerseam, m->mrsigner, sizeof m->mrsigner) != 0)
		return refuse(why, REASON_TDX_MODULE,
		    "TDX_MODULE_MISMATCH: MRSIGNERSEAM");
	/* Bits outside the mask must be 0, so the mask decides nothing more
	 * than which bits of `attributes` count. */
	for (size_t i = 0; i < sizeof m->attributes; i++) {
		uint8_t have = td->seam_attributes[i];
		uint8_t mask = m->attributes_mask[i];

		if ((have & mask) != m->attributes[i] ||
		    (have & (uint8_t)~mask) != 0)
			return refuse(why, REASON_TDX_MODULE,
			    "TDX_MODULE_MISMATCH: SEAMATTRIBUTES byte %zu", i);
	}
	return ERR_OK;
}

enum err
tcb_module_check(const struct svn_level **out, const struct tcb_info *t,
    const struct td_report *td, struct refusal *why)
{
	uint8_t version = td->tee_tcb_svn[SVN_VERSION];
	uint8_t svn = td->tee_tcb_svn[SVN_MODULE];
	const struct tdx_module_identity *m;
	const struct svn_level *level;
	enum err e;

	if (version == 0) {
		if ((e = module_fits(&t->module, td, why)) == ERR_OK)
			*out = NULL;
		return e;
	}
	if ((m = module_identity(t, version)) == NULL)
		return refuse(why, REASON_TDX_MODULE,
		    "TDX_MODULE_MISMATCH: no identity TDX_%02X", version);
	if ((e = module_fits(&m->expect, td, why)) != ERR_OK)
		return e;
	if ((level = svn_level_match(m->level, m->n_levels, svn)) == NULL)
		return refuse(why, REASON_TCB_UNKNOWN,
		    "TCB_NOT_SUPPORTED: module isvsvn %u of TDX_%02X", svn,
		    version);
	*out = level;
	return ERR_OK;
}

enum tcb_status
tcb_merge(enum tcb_status platform, enum tcb_status other)
{
	if (platform == TCB_REVOKED || other == TCB_REVOKED)
		return TCB_REVOKED;
	if (other == TCB_UP_TO_DATE)
		return platform;
	switch (platform) {
	case TCB_UP_TO_DATE:
	case TCB_SW_HARDENING:
		return TCB_OUT_OF_DATE;
	case TCB_CONFIGURATION:
	case TCB_CONFIGURATION_SW:
		return TCB_OUT_OF_DATE_CONFIGURATION;
	case TCB_OUT_OF_DATE:
	case TCB_OUT_OF_DATE_CONFIGURATION:
	case TCB_RELAUNCH:
	case TCB_RELAUNCH_CONFIGURATION:
	case TCB_REVOKED:
	case TCB_STATUS_COUNT:
		break;
	}
	return platform;
}

/* The module that runs now (TEE_TCB_SVN_2) is the newest that Intel names. */
static bool
runs_newest(const struct tcb_info *t, const struct td_report *td)
{
	const uint8_t *svn2 = td->tee_tcb_svn_2;
	const uint8_t *top = t->level[0].tdx;
	const struct tdx_module_identity *m;

	if (svn2[SVN_MICROCODE] < top[SVN_MICROCODE])
		return false;
	if (svn2[SVN_VERSION] == 0)
		return svn2[SVN_MODULE] >= top[SVN_MODULE];
	m = module_identity(t, svn2[SVN_VERSION]);
	return m != NULL && svn2[SVN_MODULE] >= m->level[0].isvsvn;
}

enum tcb_status
tcb_relaunch(enum tcb_status merged, enum tcb_status module, enum tcb_status qe,
    const struct tcb_info *t, const struct pckext *pck,
    const struct td_report *td)
{
	if (!td->has_15 || qe != TCB_UP_TO_DATE || module != TCB_OUT_OF_DATE ||
	    (merged != TCB_OUT_OF_DATE &&
		merged != TCB_OUT_OF_DATE_CONFIGURATION) ||
	    !runs_newest(t, td))
		return merged;
	/* What the platform is worth once TDX is left out of the question. */
	for (size_t i = 0; i < t->n_levels; i++) {
		if (!reaches_sgx(&t->level[i], pck))
			continue;
		switch (t->level[i].says.status) {
		case TCB_UP_TO_DATE:
		case TCB_SW_HARDENING:
			return TCB_RELAUNCH;
		case TCB_CONFIGURATION:
		case TCB_CONFIGURATION_SW:
			return TCB_RELAUNCH_CONFIGURATION;
		case TCB_OUT_OF_DATE:
		case TCB_OUT_OF_DATE_CONFIGURATION:
		case TCB_RELAUNCH:
		case TCB_RELAUNCH_CONFIGURATION:
		case TCB_REVOKED:
		case TCB_STATUS_COUNT:
			return merged;
		}
	}
	return merged;
}

/* Adds what a level says: advisories without duplicates, earliest date. */
static enum err
note(struct verdict *v, const struct level_says *says, struct refusal *why)
{
	if (says->date < v->tcb_date)
		v->tcb_date = says->date;
	for (unsigned i = 0; i < says->advisories.n; i++) {
		const char *id = says->advisories.id[i];
		unsigned k = 0;

		while (k < v->n_advisories && strcmp(v->advisory[k], id) != 0)
			k++;
		if (k < v->n_advisories)
			continue;
		if (k == ADVISORY_MAX || strlen(id) >= ADVISORY_LEN)
			return refuse(why, REASON_COLLATERAL_INVALID,
			    "JSON: too many advisories");
		memcpy(v->advisory[k], id, strlen(id) + 1);
		v->n_advisories++;
	}
	return ERR_OK;
}

enum err
tcb_judge(struct verdict *out, const struct tcb_info *t,
    const struct pckext *pck, const struct td_report *td,
    const struct svn_level *qe, struct refusal *why)
{
	const struct tcb_level *level;
	const struct svn_level *module = NULL;
	enum tcb_status merged;
	enum err e;

	level = tcb_level_match(t, pck, td != NULL ? td->tee_tcb_svn : NULL);
	if (level == NULL)
		return refuse(why, REASON_TCB_UNKNOWN,
		    "TCB_NOT_SUPPORTED: no matching TCB level");
	if (td != NULL && (e = tcb_module_check(&module, t, td, why)) != ERR_OK)
		return e;

	out->platform_status = level->says.status;
	out->module_status =
	    module != NULL ? module->says.status : TCB_UP_TO_DATE;
	out->qe_status = qe->says.status;
	/* Intel's order: platform, module, relaunch, QE. */
	merged = tcb_merge(out->platform_status, out->module_status);
	if (td != NULL)
		merged = tcb_relaunch(
		    merged, out->module_status, out->qe_status, t, pck, td);
	out->status = tcb_merge(merged, out->qe_status);
	if (out->status == TCB_REVOKED)
		return refuse(why, REASON_TCB_STATUS,
		    "TCB_REVOKED: platform %s, module %s, QE %s",
		    tcb_status_text(out->platform_status),
		    tcb_status_text(out->module_status),
		    tcb_status_text(out->qe_status));

	out->platform_date = level->says.date;
	out->module_date = module != NULL ? module->says.date : 0;
	out->qe_date = qe->says.date;
	out->n_advisories = 0;
	out->tcb_date = INT64_MAX;
	if ((e = note(out, &level->says, why)) != ERR_OK ||
	    (module != NULL && (e = note(out, &module->says, why)) != ERR_OK))
		return e;
	return note(out, &qe->says, why);
}
