#include <arpa/inet.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/rd.h"
#include "kms/ctl/pcap.h"

#define MAGIC_US 0xa1b2c3d4u
#define MAGIC_NS 0xa1b23c4du
#define MAGIC_NG 0x0a0d0d0au /* pcapng, the same both ways round */
/* A packet of a link with offloading is 64 KiB. */
#define PACKET_MAX (256u * 1024)

#define TCP 6
#define SYN 0x02
#define VLANS_MAX 2u
#define IP6_HEADS_MAX 4u

/* tcpdump.org/linktypes. */
enum link {
	LINK_NULL = 0,
	LINK_ETHERNET = 1,
	LINK_RAW_BSD = 12,
	LINK_RAW = 101,
	LINK_LOOP = 108,
	LINK_SLL = 113,
	LINK_SLL2 = 276,
};

struct segment {
	uint8_t addr[2][16]; /* from, to */
	bool v6, syn;
	uint16_t port[2];
	uint32_t seq;
	struct bytes data;
};

/* A segment's data; `p` points into the file. */
struct piece {
	int64_t at; /* in the flow; below 0: before it began */
	struct bytes data;
	uint64_t us;
	size_t order;
};

/* A flow while the file is read. */
struct assembly {
	uint8_t addr[2][16];
	bool v6;
	uint16_t port[2];
	uint32_t first; /* sequence number of its byte 0 */
	bool syn;
	struct piece *piece; /* owns */
	size_t n, cap;
};

struct reader {
	struct pcap *out;
	struct assembly *flow; /* owns; as many as out->n_flows */
	bool swapped, nanoseconds;
	uint32_t link;
	uint64_t first_us;
};

static uint32_t
number(const struct reader *r, struct rd *in)
{
	return r->swapped ? rd_le32(in) : rd_be32(in);
}

bool
pcap_is(struct bytes in)
{
	struct rd be = { .p = in.p, .left = in.len }, le = be;
	uint32_t a = rd_be32(&be), b = rd_le32(&le);

	return !be.bad &&
	    (a == MAGIC_US || b == MAGIC_US || a == MAGIC_NS || b == MAGIC_NS ||
		a == MAGIC_NG);
}

/* ---- packets ---- */

static void
tcp(struct segment *s, struct rd *r, bool *good)
{
	const uint8_t *head = r->p;
	size_t all = r->left, len;
	uint8_t flags;

	s->port[0] = rd_be16(r);
	s->port[1] = rd_be16(r);
	s->seq = rd_be32(r);
	(void)rd_be32(r);
	len = (size_t)(rd_u8(r) >> 4) * 4;
	flags = rd_u8(r);
	*good = !r->bad && len >= 20 && len <= all;
	if (!*good)
		return;
	s->syn = (flags & SYN) != 0;
	s->data = (struct bytes){ head + len, all - len };
}

static void
ip4(struct segment *s, struct rd *r, bool *good)
{
	const uint8_t *p = r->p;
	size_t head, total;
	struct rd body;

	if (r->left < 20)
		return;
	head = (size_t)(p[0] & 15) * 4;
	total = (size_t)p[2] << 8 | p[3];
	/* 0 where the card cuts what it is given into packets. */
	if (total == 0 || total > r->left)
		total = r->left;
	/* A fragment: neither the first of several nor a later one. */
	if (head < 20 || head > total || p[9] != TCP || (p[6] & 0x3f) != 0 ||
	    p[7] != 0)
		return;
	memcpy(s->addr[0], p + 12, 4);
	memcpy(s->addr[1], p + 16, 4);
	body = (struct rd){ .p = p + head, .left = total - head };
	tcp(s, &body, good);
}

static void
ip6(struct segment *s, struct rd *r, bool *good)
{
	const uint8_t *p = r->p;
	size_t len;
	uint8_t next;
	struct rd body;

	if (r->left < 40)
		return;
	len = (size_t)p[4] << 8 | p[5];
	if (len == 0 || len > r->left - 40)
		len = r->left - 40;
	next = p[6];
	memcpy(s->addr[0], p + 8, 16);
	memcpy(s->addr[1], p + 24, 16);
	s->v6 = true;
	body = (struct rd){ .p = p + 40, .left = len };
	/* Options that may stand before: hop by hop, routing, destination. */
	for (unsigned i = 0;
	     i < IP6_HEADS_MAX && (next == 0 || next == 43 || next == 60);
	     i++) {
		next = rd_u8(&body);
		(void)rd_bytes(&body, (size_t)rd_u8(&body) * 8 + 6);
	}
	if (next == TCP && !body.bad)
		tcp(s, &body, good);
}

static void
ip(struct segment *s, struct rd *r, bool *good)
{
	if (r->left > 0 && r->p[0] >> 4 == 4)
		ip4(s, r, good);
	else if (r->left > 0 && r->p[0] >> 4 == 6)
		ip6(s, r, good);
}

/* The link's own head goes; false: not IP. */
static bool
strip_link(const struct reader *rd, struct rd *r)
{
	uint16_t type = 0x0800;

	switch (rd->link) {
	case LINK_ETHERNET:
		(void)rd_bytes(r, 12);
		type = rd_be16(r);
		for (unsigned i = 0;
		     i < VLANS_MAX && (type == 0x8100 || type == 0x88a8); i++) {
			(void)rd_be16(r);
			type = rd_be16(r);
		}
		break;
	case LINK_NULL:
	case LINK_LOOP:
		(void)rd_be32(r); /* the family: the packet says it, too */
		break;
	case LINK_SLL:
		(void)rd_bytes(r, 14);
		type = rd_be16(r);
		break;
	case LINK_SLL2:
		type = rd_be16(r);
		(void)rd_bytes(r, 18);
		break;
	default:
		break;
	}
	return !r->bad && (type == 0x0800 || type == 0x86dd);
}

/* ---- flows ---- */

static bool
same_end(const struct assembly *f, unsigned mine, const struct segment *s,
    unsigned its)
{
	return f->port[mine] == s->port[its] &&
	    memcmp(f->addr[mine], s->addr[its], 16) == 0;
}

static void
name_end(char out[static 56], const struct segment *s, unsigned i)
{
	char text[INET6_ADDRSTRLEN] = "?";

	(void)inet_ntop(
	    s->v6 ? AF_INET6 : AF_INET, s->addr[i], text, sizeof text);
	(void)snprintf(out, 56, s->v6 ? "[%s]:%u" : "%s:%u", text, s->port[i]);
}

static enum err
new_flow(struct reader *r, size_t *at, const struct segment *s)
{
	struct pcap *p = r->out;
	struct pcap_flow *f;
	struct assembly *a;
	void *mem;

	if (p->n_flows >= PCAP_FLOWS_MAX)
		return ERR_LIMIT;
	mem = realloc(p->flow, (p->n_flows + 1) * sizeof *f);
	if (mem == NULL)
		return ERR_NOMEM;
	p->flow = mem;
	mem = realloc(r->flow, (p->n_flows + 1) * sizeof *a);
	if (mem == NULL)
		return ERR_NOMEM;
	r->flow = mem;
	*at = p->n_flows++;
	f = &p->flow[*at];
	a = &r->flow[*at];
	*f = (struct pcap_flow){ .port = { s->port[0], s->port[1] },
		.other = PCAP_NONE };
	name_end(f->from, s, 0);
	name_end(f->to, s, 1);
	*a = (struct assembly){ .v6 = s->v6,
		.port = { s->port[0], s->port[1] },
		.first = s->seq + s->syn,
		.syn = s->syn };
	memcpy(a->addr, s->addr, sizeof a->addr);
	/* The way back, if it is there and belongs to nobody yet. */
	for (size_t i = *at; i-- > 0;)
		if (p->flow[i].other == PCAP_NONE &&
		    same_end(&r->flow[i], 0, s, 1) &&
		    same_end(&r->flow[i], 1, s, 0)) {
			p->flow[i].other = *at;
			f->other = i;
			break;
		}
	return ERR_OK;
}

static enum err
find_flow(struct reader *r, size_t *at, const struct segment *s)
{
	for (size_t i = r->out->n_flows; i-- > 0;) {
		const struct assembly *f = &r->flow[i];

		if (!same_end(f, 0, s, 0) || !same_end(f, 1, s, 1))
			continue;
		/* The same ports once more: another connection. */
		if (s->syn && (!f->syn || f->first != s->seq + 1))
			break;
		*at = i;
		return ERR_OK;
	}
	return new_flow(r, at, s);
}

static enum err
take_segment(struct reader *r, const struct segment *s, uint64_t us)
{
	struct assembly *f;
	size_t at;
	enum err e;

	if ((e = find_flow(r, &at, s)) != ERR_OK || s->data.len == 0)
		return e;
	f = &r->flow[at];
	if (f->n == f->cap) {
		size_t cap = f->cap == 0 ? 16 : 2 * f->cap;
		void *mem = realloc(f->piece, cap * sizeof *f->piece);

		if (mem == NULL)
			return ERR_NOMEM;
		f->piece = mem;
		f->cap = cap;
	}
	f->piece[f->n] =
	    (struct piece){ .at = (int32_t)(s->seq + s->syn - f->first),
		    .data = s->data,
		    .us = us,
		    .order = f->n };
	f->n++;
	return ERR_OK;
}

static int
by_place(const void *a, const void *b)
{
	const struct piece *x = a, *y = b;

	if (x->at != y->at)
		return x->at < y->at ? -1 : 1;
	return x->order < y->order ? -1 : 1;
}

static enum err
assemble(struct pcap_flow *f, struct assembly *a)
{
	enum err e = ERR_OK;

	if (a->n == 0)
		return ERR_OK;
	qsort(a->piece, a->n, sizeof *a->piece, by_place);
	if ((f->mark = calloc(a->n, sizeof *f->mark)) == NULL)
		return ERR_NOMEM;
	for (size_t i = 0; e == ERR_OK && i < a->n; i++) {
		const struct piece *p = &a->piece[i];
		int64_t here = (int64_t)f->bytes.len,
			end = p->at + (int64_t)p->data.len;
		size_t known;

		if (end <= here)
			continue;
		if (p->at > here) {
			f->lost = (size_t)(p->at - here);
			break;
		}
		known = (size_t)(here - p->at);
		e = buf_append(&f->bytes, p->data.p + known,
		    p->data.len - known, SIZE_MAX);
		f->mark[f->n_marks++] =
		    (struct pcap_mark){ f->bytes.len, p->us };
	}
	return e;
}

/* ---- the file ---- */

static enum err
read_head(struct reader *r, struct rd *in, struct refusal *why)
{
	struct rd again = *in;
	uint32_t magic = rd_be32(in);

	if (magic == MAGIC_NG) {
		(void)refuse(why, REASON_REQUEST,
		    "this is pcapng; `tcpdump -r FILE -w OTHER` or "
		    "`editcap -F pcap` makes a pcap of it");
		return ERR_MALFORMED;
	}
	r->swapped = magic != MAGIC_US && magic != MAGIC_NS;
	if (r->swapped)
		magic = rd_le32(&again);
	r->nanoseconds = magic == MAGIC_NS;
	(void)rd_bytes(in, 16); /* version, zone, accuracy, snap length */
	r->link = number(r, in) & 0xffff;
	if (in->bad || (magic != MAGIC_US && magic != MAGIC_NS)) {
		(void)refuse(why, REASON_REQUEST, "no capture file");
		return ERR_MALFORMED;
	}
	switch (r->link) {
	case LINK_NULL:
	case LINK_ETHERNET:
	case LINK_RAW_BSD:
	case LINK_RAW:
	case LINK_LOOP:
	case LINK_SLL:
	case LINK_SLL2:
		return ERR_OK;
	default:
		(void)refuse(
		    why, REASON_REQUEST, "unknown kind of link: %u", r->link);
		return ERR_MALFORMED;
	}
}

static enum err
read_packet(struct reader *r, struct rd *in, bool *end, struct refusal *why)
{
	uint64_t us = (uint64_t)number(r, in) * 1000000;
	uint32_t part = number(r, in), len = number(r, in);
	struct segment s = { 0 };
	const uint8_t *p;
	struct rd packet;
	bool good = false;

	us += r->nanoseconds ? part / 1000 : part;
	(void)number(r, in); /* how long it was on the wire */
	if (!in->bad && len > PACKET_MAX) {
		(void)refuse(why, REASON_REQUEST,
		    "packet %zu claims to have %u bytes", r->out->packets + 1,
		    len);
		return ERR_MALFORMED;
	}
	if ((p = rd_bytes(in, len)) == NULL) {
		*end = true;
		return ERR_OK;
	}
	if (r->out->packets++ == 0)
		r->first_us = us;
	packet = (struct rd){ .p = p, .left = len };
	if (strip_link(r, &packet))
		ip(&s, &packet, &good);
	if (!good) {
		r->out->skipped++;
		return ERR_OK;
	}
	return take_segment(r, &s, us > r->first_us ? us - r->first_us : 0);
}

enum err
pcap_read(struct pcap *out, struct bytes in, struct refusal *why)
{
	struct rd file = { .p = in.p, .left = in.len };
	struct pcap p = { 0 };
	struct reader r = { .out = &p };
	bool end = false;
	enum err e = read_head(&r, &file, why);

	while (e == ERR_OK && !end && file.left > 0)
		e = read_packet(&r, &file, &end, why);
	for (size_t i = 0; e == ERR_OK && i < p.n_flows; i++)
		e = assemble(&p.flow[i], &r.flow[i]);
	if (e == ERR_LIMIT)
		(void)refuse(why, REASON_REQUEST,
		    "more than %u connections, one way each", PCAP_FLOWS_MAX);
	for (size_t i = 0; i < p.n_flows; i++)
		free(r.flow[i].piece);
	free(r.flow);
	if (e == ERR_OK)
		*out = p;
	else
		pcap_fini(&p);
	return e;
}

void
pcap_fini(struct pcap *p)
{
	for (size_t i = 0; i < p->n_flows; i++) {
		buf_wipe(&p->flow[i].bytes);
		free(p->flow[i].mark);
	}
	free(p->flow);
	*p = (struct pcap){ 0 };
}

uint64_t
pcap_time(const struct pcap_flow *f, size_t end)
{
	size_t lo = 0, hi = f->n_marks;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (f->mark[mid].end < end)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo == f->n_marks && lo > 0)
		lo--;
	return f->n_marks > 0 ? f->mark[lo].us : 0;
}
