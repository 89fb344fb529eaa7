/* The SGX extension, from DER that is put together here. */
#include <string.h>

#include <criterion/criterion.h>

#include "common/attest/pckext.h"

#define OID "\x06\x0a\x2a\x86\x48\x86\xf8\x4d\x01\x0d\x01"
#define OID_TCB "\x06\x0b\x2a\x86\x48\x86\xf8\x4d\x01\x0d\x01\x02"

struct der {
	uint8_t b[1024];
	size_t len;
};

/* Appends tag, length and bytes; the length in its shortest form. */
static void
put(struct der *d, uint8_t tag, const void *p, size_t len)
{
	cr_assert(len < 0x10000 && d->len + len + 4 <= sizeof d->b);
	d->b[d->len++] = tag;
	if (len >= 0x100) {
		d->b[d->len++] = 0x82;
		d->b[d->len++] = (uint8_t)(len >> 8);
	} else if (len >= 0x80) {
		d->b[d->len++] = 0x81;
	}
	d->b[d->len++] = (uint8_t)len;
	memcpy(d->b + d->len, p, len);
	d->len += len;
}

static void
entry(struct der *list, const char *oid, size_t oid_len, uint8_t arc,
    uint8_t tag, const void *p, size_t len)
{
	struct der e = { 0 };

	memcpy(e.b, oid, oid_len);
	e.len = oid_len;
	e.b[e.len++] = arc;
	put(&e, tag, p, len);
	put(list, 0x30, e.b, e.len);
}

/* What a test may change in an otherwise good extension. */
struct wish {
	uint8_t leave_out; /* arc of the outer list; 0: none */
	uint8_t twice;
	uint8_t comp_out; /* arc of the TCB list */
	uint8_t comp_twice;
	uint8_t comp_extra; /* an arc that does not exist */
	uint8_t cpusvn0; /* added to the first byte of CPUSVN */
	size_t ppid_len;
	const char *pcesvn; /* DER content of the INTEGER */
	size_t pcesvn_len;
};

static void
comp(struct der *tcb, uint8_t arc, const struct wish *w)
{
	uint8_t svn[2] = { 0, arc == 3 ? 255 : arc };
	uint8_t cpusvn[16];

	if (arc <= 16) {
		/* 255 needs a leading zero: 2.4. */
		entry(tcb, OID_TCB, sizeof OID_TCB - 1, arc, 0x02,
		    arc == 3 ? svn : svn + 1, arc == 3 ? 2 : 1);
	} else if (arc == 17) {
		entry(tcb, OID_TCB, sizeof OID_TCB - 1, arc, 0x02, w->pcesvn,
		    w->pcesvn_len);
	} else if (arc == 18) {
		for (uint8_t i = 0; i < 16; i++)
			cpusvn[i] = i == 2 ? 255 : (uint8_t)(i + 1);
		cpusvn[0] = (uint8_t)(cpusvn[0] + w->cpusvn0);
		entry(tcb, OID_TCB, sizeof OID_TCB - 1, arc, 0x04, cpusvn, 16);
	} else {
		entry(tcb, OID_TCB, sizeof OID_TCB - 1, arc, 0x02, "\x01", 1);
	}
}

static void
fact(struct der *list, uint8_t arc, const struct wish *w)
{
	static const uint8_t bytes[32] = { 0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5 };
	struct der tcb = { 0 };

	if (arc == 2) {
		for (uint8_t i = 1; i <= 18; i++)
			if (i != w->comp_out)
				comp(&tcb, i, w);
		if (w->comp_twice != 0)
			comp(&tcb, w->comp_twice, w);
		if (w->comp_extra != 0)
			comp(&tcb, w->comp_extra, w);
		entry(list, OID, sizeof OID - 1, 2, 0x30, tcb.b, tcb.len);
	} else if (arc == 5) {
		entry(list, OID, sizeof OID - 1, 5, 0x0a, "\x01", 1);
	} else if (arc == 7) {
		entry(list, OID, sizeof OID - 1, 7, 0x30, "", 0);
	} else {
		static const size_t len[] = { 0, 0, 0, 2, 6, 0, 16 };

		entry(list, OID, sizeof OID - 1, arc, 0x04, bytes,
		    arc == 1 ? w->ppid_len : len[arc]);
	}
}

static struct wish
good(void)
{
	return (
	    struct wish){ .ppid_len = 16, .pcesvn = "\x0d", .pcesvn_len = 1 };
}

static struct der
build(const struct wish *w)
{
	struct der list = { 0 }, all = { 0 };

	for (uint8_t i = 1; i <= 7; i++) {
		if (i != w->leave_out)
			fact(&list, i, w);
		if (i == w->twice)
			fact(&list, i, w);
	}
	put(&all, 0x30, list.b, list.len);
	return all;
}

static enum err
parse(struct pckext *out, const struct wish *w)
{
	struct der d = build(w);

	return pckext_parse(out, (struct bytes){ d.b, d.len });
}

/* A good extension is read in full. */
Test(pckext, facts)
{
	struct wish w = good();
	struct pckext x;

	cr_assert(parse(&x, &w) == ERR_OK);
	cr_assert_eq(x.ppid[1], 0xa1);
	cr_assert_eq(x.cpusvn[0], 1);
	cr_assert_eq(x.cpusvn[2], 255);
	cr_assert_eq(x.cpusvn[15], 16);
	cr_assert_eq(x.pcesvn, 13);
	cr_assert_eq(x.pceid[1], 0xa1);
	cr_assert_eq(x.fmspc[5], 0xa5);
	cr_assert_eq(x.sgx_type, 1);
	w.pcesvn = "\x00\xff\xff";
	w.pcesvn_len = 3;
	cr_assert(parse(&x, &w) == ERR_OK);
	cr_assert_eq(x.pcesvn, 65535);
}

/* The first five facts must be there; .6 and .7 need not; none twice. */
Test(pckext, each_fact_once)
{
	struct pckext x;

	for (uint8_t i = 1; i <= 7; i++) {
		struct wish w = good();

		w.leave_out = i;
		cr_assert_eq(
		    parse(&x, &w), i <= 5 ? ERR_MALFORMED : ERR_OK, "%u", i);
		w = good();
		w.twice = i;
		cr_assert(parse(&x, &w) == ERR_MALFORMED);
	}
}

/* All 16 components, PCESVN and CPUSVN, each once, and no other. */
Test(pckext, each_component_once)
{
	struct pckext x;

	for (uint8_t i = 1; i <= 18; i++) {
		struct wish w = good();

		w.comp_out = i;
		cr_assert(parse(&x, &w) == ERR_MALFORMED);
		w = good();
		w.comp_twice = i;
		cr_assert(parse(&x, &w) == ERR_MALFORMED);
	}
	struct wish w = good();

	w.comp_extra = 19;
	cr_assert(parse(&x, &w) == ERR_MALFORMED);
}

/* Wrong lengths, values out of range, and numbers not in DER. */
Test(pckext, values)
{
	static const struct {
		const char *p;
		size_t len;
	} bad[] = { { "", 0 }, { "\x80", 1 }, { "\xff\xff", 2 },
		{ "\x00\x01", 2 }, { "\x01\x00\x00", 3 },
		{ "\x00\x00\xff\xff", 4 } };
	struct pckext x;
	struct wish w;

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		w = good();
		w.pcesvn = bad[i].p;
		w.pcesvn_len = bad[i].len;
		cr_assert(parse(&x, &w) == ERR_MALFORMED, "%zu", i);
	}
	w = good();
	w.ppid_len = 15;
	cr_assert(parse(&x, &w) == ERR_MALFORMED);
	w.ppid_len = 17;
	cr_assert(parse(&x, &w) == ERR_MALFORMED);
	w = good();
	w.cpusvn0 = 1; /* no longer equal to the component */
	cr_assert(parse(&x, &w) == ERR_MALFORMED);
}

/* Cut or extended, it is refused, and the output is left alone. */
Test(pckext, every_length_counts)
{
	struct wish w = good();
	struct der d = build(&w);
	struct pckext x, before;

	memset(&x, 0x5a, sizeof x);
	before = x;
	for (size_t n = 0; n < d.len; n++)
		cr_assert(pckext_parse(&x, (struct bytes){ d.b, n }) ==
		    ERR_MALFORMED);
	d.b[d.len] = 0;
	cr_assert(pckext_parse(&x, (struct bytes){ d.b, d.len + 1 }) ==
	    ERR_MALFORMED);
	cr_assert(memcmp(&x, &before, sizeof x) == 0);
}

/* A changed tag, length or OID byte never reads past the end; whatever is
 * still accepted differs in a value only. */
Test(pckext, every_byte)
{
	struct wish w = good();
	struct der d = build(&w);
	unsigned accepted = 0;

	for (size_t i = 0; i < d.len; i++)
		for (unsigned m = 1; m < 256; m += 2) {
			struct pckext x;

			d.b[i] ^= (uint8_t)m;
			accepted += pckext_parse(&x,
					(struct bytes){ d.b, d.len }) == ERR_OK;
			d.b[i] ^= (uint8_t)m;
		}
	/* Values of 16 + 2 + 6 + 16 octets, PCESVN, type, and tags of
	 * optional values: about 44 bytes of 128 masks each. */
	cr_assert(accepted < 46 * 128, "%u", accepted);
}
