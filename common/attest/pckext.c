/* pckext: a reader of
 *
 *   SEQUENCE OF SEQUENCE { OID 1.2.840.113741.1.13.1.<n>, value }
 *
 * and for .2, whose value is such a list again, one level deeper. */
#include <stdbool.h>
#include <string.h>

#include "common/attest/der.h"
#include "common/attest/pckext.h"

/* 1.2.840.113741.1.13.1, without tag and length. */
static const uint8_t oid_sgx[9] = { 0x2a, 0x86, 0x48, 0x86, 0xf8, 0x4d, 0x01,
	0x0d, 0x01 };

enum { SGX_PPID = 1, SGX_TCB, SGX_PCEID, SGX_FMSPC, SGX_TYPE };
enum { TCB_COMPONENTS = 16, TCB_PCESVN = 17, TCB_CPUSVN = 18 };

/* An INTEGER or ENUMERATED of 0..max, minimally encoded. */
static uint16_t
der_uint(struct rd *r, uint8_t tag, uint16_t max)
{
	struct rd v = der_get(r, tag);
	uint32_t n = 0;

	if (v.bad || v.left == 0 || v.left > 3 || (v.p[0] & 0x80) != 0 ||
	    (v.left > 1 && v.p[0] == 0 && (v.p[1] & 0x80) == 0)) {
		r->bad = true;
		return 0;
	}
	while (v.left > 0)
		n = n << 8 | rd_u8(&v);
	if (n > max)
		r->bad = true;
	return (uint16_t)n;
}

static void
der_octets(struct rd *r, uint8_t *out, size_t len)
{
	struct rd v = der_get(r, DER_OCTETS);

	if (v.bad || v.left != len)
		r->bad = true;
	else
		memcpy(out, v.p, len);
}

/* der_entry opens the next {OID, value}: returns the last arc, having
 * checked the arcs before it; `v` stands on the value. */
static uint8_t
der_entry(struct rd *list, struct rd *v, const uint8_t *prefix, size_t len)
{
	struct rd oid;

	*v = der_get(list, DER_SEQUENCE);
	oid = der_get(v, DER_OID);
	if (oid.bad || oid.left != len + 1 || memcmp(oid.p, prefix, len) != 0 ||
	    oid.p[len] == 0 || oid.p[len] >= 0x80) {
		list->bad = v->bad = true;
		return 0;
	}
	return oid.p[len];
}

/* Marks fact `n` as seen; a second time poisons the list. */
static void
once(struct rd *list, uint32_t *seen, unsigned n)
{
	if ((*seen & UINT32_C(1) << n) != 0)
		list->bad = true;
	*seen |= UINT32_C(1) << n;
}

static bool
tcb_parse(struct pckext *x, struct rd *list)
{
	uint8_t prefix[sizeof oid_sgx + 1], comp[TCB_COMPONENTS] = { 0 };
	uint32_t seen = 0;

	memcpy(prefix, oid_sgx, sizeof oid_sgx);
	prefix[sizeof oid_sgx] = SGX_TCB;
	while (!list->bad && list->left > 0) {
		struct rd v;
		uint8_t n = der_entry(list, &v, prefix, sizeof prefix);

		if (n == 0 || n > TCB_CPUSVN)
			return false;
		once(list, &seen, n);
		if (n <= TCB_COMPONENTS)
			comp[n - 1] = (uint8_t)der_uint(&v, DER_INTEGER, 255);
		else if (n == TCB_PCESVN)
			x->pcesvn = der_uint(&v, DER_INTEGER, UINT16_MAX);
		else
			der_octets(&v, x->cpusvn, sizeof x->cpusvn);
		if (!rd_done(&v))
			return false;
	}
	/* Intel compares the components, others CPUSVN: they must agree. */
	return rd_done(list) && seen == UINT32_C(0x7fffe) &&
	    memcmp(comp, x->cpusvn, sizeof comp) == 0;
}

enum err
pckext_parse(struct pckext *out, struct bytes value)
{
	struct rd r = { .p = value.p, .left = value.len };
	struct rd list = der_get(&r, DER_SEQUENCE), v, tcb;
	struct pckext x = { 0 };
	uint32_t seen = 0;

	if (!rd_done(&r))
		return ERR_MALFORMED;
	while (!list.bad && list.left > 0) {
		uint8_t n = der_entry(&list, &v, oid_sgx, sizeof oid_sgx);

		if (n == 0 || n > 31)
			return ERR_MALFORMED;
		once(&list, &seen, n);
		switch (n) {
		case SGX_PPID:
			der_octets(&v, x.ppid, sizeof x.ppid);
			break;
		case SGX_TCB:
			tcb = der_get(&v, DER_SEQUENCE);
			if (!tcb_parse(&x, &tcb))
				return ERR_MALFORMED;
			break;
		case SGX_PCEID:
			der_octets(&v, x.pceid, sizeof x.pceid);
			break;
		case SGX_FMSPC:
			der_octets(&v, x.fmspc, sizeof x.fmspc);
			break;
		case SGX_TYPE:
			x.sgx_type = (uint8_t)der_uint(&v, DER_ENUMERATED, 2);
			break;
		default: /* .6, .7 and what Intel may add: one value */
			(void)der_any(&v, &tcb);
			break;
		}
		if (!rd_done(&v))
			return ERR_MALFORMED;
	}
	if (!rd_done(&list) || (seen & 0x3e) != 0x3e)
		return ERR_MALFORMED;
	*out = x;
	return ERR_OK;
}
