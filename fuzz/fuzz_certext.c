/* fuzz_certext: certext_parse.
 *
 * The input is a certificate, or, behind a byte 'x', one extension of dstack's
 * arc and its value.  What is accepted is within its bounds. */
#include <string.h>

#include <openssl/x509.h>

#include "common/attest/certext.h"
#include "fuzz/must.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check(struct certext *c)
{
	must(memchr(c->usage, '\0', sizeof c->usage) != NULL);
	must(memchr(c->info.key_provider, '\0', KEY_PROVIDER_MAX) != NULL);
	must(c->ev.quote.len <= LIMIT_QUOTE);
	must(c->ev.event_log.len <= 4 * LIMIT_EVENT_LOG);
	must(!c->legacy || c->ev.event_log.len <= LIMIT_EVENT_LOG);
	must(c->has_evidence || c->ev.quote.len == 0);
	certext_fini(c);
}

/* Number and value of one extension; .1 goes with .2. */
static void
one(const uint8_t *data, size_t size)
{
	static const uint8_t quote[] = { 0x04, 1, 0 };
	char oid[] = "1.3.6.1.4.1.62397.1.0";
	X509 *x = X509_new();
	struct certext c;

	oid[sizeof oid - 2] = (char)('0' + data[0] % 10);
	for (int i = 0; i < 1 + (data[0] % 10 == 2); i++) {
		ASN1_OCTET_STRING *s = ASN1_OCTET_STRING_new();
		ASN1_OBJECT *o;
		X509_EXTENSION *e;

		if (i == 1)
			oid[sizeof oid - 2] = '1';
		o = OBJ_txt2obj(oid, 1);
		must(ASN1_OCTET_STRING_set(s, i == 0 ? data + 1 : quote,
			 i == 0 ? (int)(size - 1) : (int)sizeof quote) == 1);
		e = X509_EXTENSION_create_by_OBJ(NULL, o, 0, s);
		must(e != NULL && X509_add_ext(x, e, -1) == 1);
		X509_EXTENSION_free(e);
		ASN1_OBJECT_free(o);
		ASN1_OCTET_STRING_free(s);
	}
	if (certext_read(&c, x, NULL) == ERR_OK)
		check(&c);
	X509_free(x);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct certext c;

	if (size > 2 && data[0] == 'x') {
		one(data + 1, size - 1);
		return 0;
	}
	if (certext_parse(&c, (struct bytes){ data, size }, NULL) == ERR_OK)
		check(&c);
	return 0;
}
