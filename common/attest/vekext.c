#include <stdio.h>
#include <string.h>

#include "common/attest/vekext.h"

#define OID "1.3.6.1.4.1.3704.1."

enum { DER_INTEGER = 0x02, DER_OCTETS = 0x04, DER_IA5STRING = 0x16 };

/* An INTEGER of 0 .. 255 in its one DER form. */
static bool
spl_value(uint8_t *out, struct bytes v)
{
	if (v.len == 3 && v.p[0] == DER_INTEGER && v.p[1] == 1 &&
	    v.p[2] < 0x80) {
		*out = v.p[2];
		return true;
	}
	if (v.len == 4 && v.p[0] == DER_INTEGER && v.p[1] == 2 && v.p[2] == 0 &&
	    v.p[3] >= 0x80) {
		*out = v.p[3];
		return true;
	}
	return false;
}

/* An IA5String of printable ASCII. */
static bool
text_value(char out[static VEKEXT_TEXT_MAX], struct bytes v)
{
	if (v.len < 3 || v.p[0] != DER_IA5STRING || v.p[1] != v.len - 2 ||
	    v.len - 2 >= VEKEXT_TEXT_MAX)
		return false;
	for (size_t i = 2; i < v.len; i++)
		if (v.p[i] < 0x20 || v.p[i] > 0x7e)
			return false;
	memcpy(out, v.p + 2, v.len - 2);
	out[v.len - 2] = '\0';
	return true;
}

/* Raw bytes as AMD issues them, or the same inside an OCTET STRING. */
static bool
hwid_value(struct vekext *x, struct bytes v)
{
	if ((v.len == 8 + 2 || v.len == 64 + 2) && v.p[0] == DER_OCTETS &&
	    v.p[1] == v.len - 2) {
		v.p += 2;
		v.len -= 2;
	}
	if (v.len != 8 && v.len != 64)
		return false;
	memcpy(x->hwid, v.p, v.len);
	x->hwid_len = v.len;
	return true;
}

enum err
vekext_read(struct vekext *out, const struct certpath *p)
{
	struct vekext x = { 0 };
	struct bytes v;
	char oid[32];
	enum err e;

	if ((e = certpath_leaf_ext(&v, p, OID "2")) != ERR_OK)
		return e == ERR_NOTFOUND ? ERR_MALFORMED : e;
	if (!text_value(x.product, v))
		return ERR_MALFORMED;
	for (unsigned i = 1; i <= VEKEXT_N_SPL; i++) {
		(void)snprintf(oid, sizeof oid, OID "3.%u", i);
		e = certpath_leaf_ext(&v, p, oid);
		if (e == ERR_NOTFOUND)
			continue;
		if (e != ERR_OK)
			return e;
		if (!spl_value(&x.spl[i], v))
			return ERR_MALFORMED;
		x.has_spl[i] = true;
	}
	e = certpath_leaf_ext(&v, p, OID "4");
	if (e == ERR_OK && !hwid_value(&x, v))
		return ERR_MALFORMED;
	if (e != ERR_OK && e != ERR_NOTFOUND)
		return e;
	e = certpath_leaf_ext(&v, p, OID "5");
	if (e == ERR_OK && !text_value(x.csp_id, v))
		return ERR_MALFORMED;
	if (e != ERR_OK && e != ERR_NOTFOUND)
		return e;
	*out = x;
	return ERR_OK;
}
