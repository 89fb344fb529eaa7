#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/attest/dcap_root.h"
#include "common/attest/intelroot.h"
#include "common/base/memfail.h"
#include "common/crypto/hash.h"

enum err
dcap_root_new(struct dcap_root **out, struct bytes der)
{
	struct dcap_root *r = calloc(1, sizeof *r);
	uint64_t before = memfail_count();
	enum err e = ERR_NOMEM;

	if (r == NULL || (e = buf_set(&r->der, der.p, der.len)) != ERR_OK)
		goto done;
	if ((e = cert_parse(&r->cert, der)) != ERR_OK)
		goto done;
	if (!cert_is_root(r->cert)) {
		e = ERR_MALFORMED;
		goto done;
	}
	sha256(r->fingerprint, der.p, der.len);
	r->intel = memcmp(r->fingerprint, intel_root_fingerprint,
		       sizeof r->fingerprint) == 0;
	*out = r;
	r = NULL; /* transferred */
	e = ERR_OK;
done:
	dcap_root_free(r);
	return memfail_err(before, e);
}

enum err
dcap_root_intel(struct dcap_root **out)
{
	struct dcap_root *r = NULL;
	enum err e = dcap_root_new(
	    &r, (struct bytes){ intel_root_der, sizeof intel_root_der });

	assert(e == ERR_NOMEM || (e == ERR_OK && r != NULL && r->intel));
	if (e == ERR_OK)
		*out = r;
	return e;
}

void
dcap_root_free(struct dcap_root *r)
{
	if (r == NULL)
		return;
	cert_free(r->cert);
	buf_fini(&r->der);
	free(r);
}
