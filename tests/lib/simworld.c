#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include "node/tee/simimage.h"
#include "tests/lib/simworld.h"
#include "tests/lib/tmpdir.h"

void
simworld_init(struct simworld *w)
{
	w->dir = tmpdir_new();
	(void)snprintf(w->host, sizeof w->host, "%s/hosts/h1", w->dir);
	(void)snprintf(w->image, sizeof w->image, "%s/images/kms", w->dir);
	(void)snprintf(w->run, sizeof w->run, "%s/run", w->dir);
	cr_assert_eq(sim_pki_init(w->dir, 0, SIMWORLD_NOW), ERR_OK);
	cr_assert_eq(sim_host_create(w->dir, "h1", SIMWORLD_NOW), ERR_OK);
	cr_assert_eq(sim_image_create(w->dir, "kms", "seed"), ERR_OK);
}

void
simworld_fini(struct simworld *w)
{
	tmpdir_remove(w->dir);
	w->dir = NULL;
}

struct tee *
simworld_boot(const struct simworld *w)
{
	struct tee_options o = { .simulated = true,
		.sim_host = w->host,
		.sim_image = w->image,
		.run_dir = w->run };
	struct refusal why = { 0 };
	struct tee *t = NULL;

	cr_assert_eq(tee_boot(&t, &o, &why), ERR_OK, "%s", why.detail);
	return t;
}

static void
document(struct buf *out, const struct simworld *w, enum sim_document what)
{
	cr_assert_eq(sim_pki_document(out, w->dir, what), ERR_OK);
}

void
simworld_collateral(struct collateral *out, const struct simworld *w)
{
	struct buf b = { 0 };

	*out = (struct collateral){ 0 };
	document(&b, w, SIM_DOC_TCB_INFO);
	cr_assert_eq(collateral_split(&out->tcb_info, out->tcb_info_signature,
			 buf_view(&b), "tcbInfo"),
	    ERR_OK);
	document(&b, w, SIM_DOC_QE_IDENTITY);
	cr_assert_eq(
	    collateral_split(&out->qe_identity, out->qe_identity_signature,
		buf_view(&b), "enclaveIdentity"),
	    ERR_OK);
	document(&out->tcb_info_chain, w, SIM_DOC_SIGNING_CHAIN);
	document(&out->qe_identity_chain, w, SIM_DOC_SIGNING_CHAIN);
	document(&out->pck_crl_chain, w, SIM_DOC_PCK_CA_CHAIN);
	document(&out->root_ca_crl, w, SIM_DOC_ROOT_CRL);
	document(&out->pck_crl, w, SIM_DOC_PCK_CRL);
	buf_fini(&b);
}
