/* fuzz_cert: cert_parse, cert_pem_first, cert_pck_facts, crl_parse.
 *
 * What is accepted is kept byte for byte, its signed part and signature lie
 * inside, and nothing but a self-signed object verifies under its own key. */
#include <string.h>

#include "common/attest/cert.h"
#include "fuzz/must.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_object(const struct signed_object *o)
{
	must(o->tbs.p > o->der.p && o->tbs.len < o->der.len);
	must(o->signature.p > o->tbs.p + o->tbs.len);
	must(o->signature.p + o->signature.len == o->der.p + o->der.len);
}

static void
check_cert(struct cert *c)
{
	struct pckext facts;
	bool platform_ca;

	check_object(&c->o);
	must(cert_key(c) != NULL);
	if (cert_is_root(c))
		must(c->ca && object_signed_by(&c->o, cert_key(c)));
	(void)!cert_pck_facts(&facts, &platform_ca, c);
	cert_free(c);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes in = { data, size };
	struct cert *c = NULL;
	struct crl *l = NULL;

	if (cert_parse(&c, in) == ERR_OK) {
		must(c->o.der.len == size &&
		    memcmp(c->o.der.p, data, size) == 0);
		check_cert(c);
	}
	c = NULL;
	if (cert_pem_first(&c, in) == ERR_OK)
		check_cert(c);
	if (crl_parse(&l, in) == ERR_OK) {
		check_object(&l->o);
		must(l->o.der.len == size);
		crl_free(l);
	}
	return 0;
}
