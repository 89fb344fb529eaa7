#include <stdlib.h>
#include <string.h>

#include "common/attest/evidence.h"
#include "common/attest/pccs.h"
#include "common/base/limits.h"
#include "common/base/memfail.h"
#include "common/base/secret.h"

struct verifier {
	struct dcap_root *root; /* owns */
	struct pccs *pccs; /* owns */
	struct dcap_cache *cache; /* owns */
	struct evalfloor *floors; /* owns */
	struct attest_policy policy;
};

void
evidence_fini(struct evidence *e)
{
	buf_fini(&e->quote);
	buf_fini(&e->event_log);
	buf_fini(&e->vm_config);
}

enum err
verifier_new(struct verifier **out, const struct verifier_options *o)
{
	const char *url[LIMIT_PCCS] = { o->pccs_url };
	struct verifier *v;
	enum err e;

	if (o->n_pccs_more > LIMIT_PCCS - 1)
		return ERR_CONFIG;
	for (unsigned i = 0; i < o->n_pccs_more; i++)
		url[i + 1] = o->pccs_more[i];
	if ((v = calloc(1, sizeof *v)) == NULL)
		return ERR_NOMEM;
	v->policy = o->policy;
	/* One anchor: a deployment is either genuine or a simulation. */
	e = o->simulated_root.len > 0
	    ? dcap_root_new(&v->root, o->simulated_root)
	    : dcap_root_intel(&v->root);
	if (e == ERR_OK)
		e = pccs_new_many(
		    &v->pccs, url, o->n_pccs_more + 1, o->pccs_insecure_tls);
	if (e == ERR_OK)
		e = dcap_cache_new(&v->cache);
	if (e == ERR_OK)
		e = evalfloor_new(&v->floors);
	if (e != ERR_OK) {
		verifier_free(v);
		return e;
	}
	*out = v;
	return ERR_OK;
}

void
verifier_free(struct verifier *v)
{
	if (v == NULL)
		return;
	dcap_cache_free(v->cache); /* borrows the root */
	evalfloor_free(v->floors);
	dcap_root_free(v->root);
	pccs_free(v->pccs);
	free(v);
}

struct evalfloor *
verifier_floors(struct verifier *v)
{
	return v->floors;
}

void
verifier_cache_stats(struct dcap_cache_stats *out, struct verifier *v)
{
	dcap_cache_stats(out, v->cache);
}

void
verifier_pccs_stats(struct pccs_stats *out, struct verifier *v)
{
	pccs_stats(out, v->pccs);
}

static enum err
check_bounds(const struct evidence *e, struct refusal *why)
{
	if (e->tee != TEE_TDX)
		return refuse(why, REASON_QUOTE_UNSUPPORTED,
		    "evidence of kind %d", (int)e->tee);
	if (e->quote.len > LIMIT_QUOTE)
		return refuse(
		    why, REASON_QUOTE_MALFORMED, "%zu bytes", e->quote.len);
	if (e->event_log.len > LIMIT_EVENT_LOG)
		return refuse(
		    why, REASON_EVENT_LOG, "%zu bytes", e->event_log.len);
	if (e->vm_config.len > LIMIT_VM_CONFIG)
		return refuse(why, REASON_OS_IMAGE, "vm_config: %zu bytes",
		    e->vm_config.len);
	return ERR_OK;
}

/* One try, with whatever collateral there is now; `*forgot` if that was the
 * fault and it is gone. */
static enum err
verify_once(struct verifier *v, struct verdict *out, bool *forgot,
    struct bytes quote, const struct dcap_need *need, int64_t now,
    struct refusal *why)
{
	struct collateral c = { 0 };
	struct refusal cause = { 0 };
	enum err e =
	    pccs_get(v->pccs, &c, need->fmspc, need->platform_ca, now, why);

	if (e != ERR_OK)
		return e;
	e = dcap_verify_cached(out, v->cache, quote, &c, v->root, now, &cause);
	if (e == ERR_OK)
		e = evalfloor_check(v->floors, out, &cause);
	/* Damaged or replayed: do not live with it for a day. */
	*forgot = e == ERR_DENIED && cause.code == REASON_COLLATERAL_INVALID;
	if (*forgot)
		pccs_forget(v->pccs, need->fmspc, need->platform_ca);
	if (e == ERR_DENIED)
		*why = cause;
	collateral_fini(&c);
	return e;
}

static enum err
verify_quote(struct verifier *v, struct verdict *out, struct bytes quote,
    int64_t now, struct refusal *why)
{
	struct refusal cause = { 0 };
	struct dcap_need need;
	bool forgot = false;
	enum err e = dcap_need(&need, v->cache, quote, why);

	if (e != ERR_OK)
		return e;
	/* Its collateral would not fit, and would be blamed for that. */
	if (need.tee != TEE_TDX)
		return refuse(why, REASON_QUOTE_UNSUPPORTED,
		    "TEE_TYPE: a quote of %s", tee_text(need.tee));
	e = verify_once(v, out, &forgot, quote, &need, now, &cause);
	/* That is no fault of the peer's: what was cached may be older than
	 * what another platform's collateral has shown since, and another
	 * provider may have better.  Once: they may all be bad. */
	if (forgot)
		e = verify_once(v, out, &forgot, quote, &need, now, &cause);
	if (e != ERR_OK && why != NULL)
		*why = cause;
	return e;
}

enum err
verifier_check(struct verifier *v, struct attested *out,
    const struct evidence *ev, const uint8_t report_data[static 64],
    enum boot_variant variant, int64_t now, struct refusal *why)
{
	struct attested *a = calloc(1, sizeof *a);
	uint64_t before = memfail_count();
	enum err e = ERR_NOMEM;

	if (a == NULL)
		return e;
	if ((e = check_bounds(ev, why)) != ERR_OK ||
	    (e = verify_quote(
		 v, &a->verdict, buf_view(&ev->quote), now, why)) != ERR_OK ||
	    (e = verdict_accept(&a->verdict, &v->policy, why)) != ERR_OK)
		goto done;
	/* The quote is genuine; is it of this session? */
	if (!secret_equal(a->verdict.td.report_data, report_data, 64)) {
		e = refuse(why, REASON_REPORT_DATA,
		    "the quote was made for something else");
		goto done;
	}
	if ((e = boot_info_build(&a->boot, &a->verdict,
		 buf_view(&ev->event_log), buf_view(&ev->vm_config), variant,
		 why)) != ERR_OK)
		goto done;
	a->verified_at = now;
	*out = *a;
done:
	free(a);
	e = memfail_err(before, e);
	/* Nobody is to be blamed for what could not be looked at. */
	if (e == ERR_NOMEM && why != NULL)
		*why = (struct refusal){ .code = REASON_NONE };
	return e;
}
