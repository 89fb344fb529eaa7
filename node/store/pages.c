/* The format of LMDB 0.9 data files (x86-64: pages of 4096, little-endian).
 *
 *   page    pgno u64 | pad u16 | flags u16 | lower u16, upper u16 (overflow:
 *           pages u32) | node offsets u16 ... up to `lower` | free | nodes
 *           from `upper` to the end
 *   meta    (pages 0, 1, behind the header) magic u32 | version u32 |
 *           address u64 | map size u64 | free db | main db | last page u64 |
 *           transaction u64
 *   db      page size u32 | flags u16 | depth u16 | branch, leaf, overflow
 *           pages, entries u64 each | root u64
 *   node    lo u16 | hi u16 | flags u16 | key length u16 | key | data
 *           branch: child = lo | hi << 16 | flags << 32, no data
 *           leaf: data length lo | hi << 16; flag 1: data is a page number
 *           of an overflow run
 *
 * The free db maps a transaction to count u64 | page numbers u64, falling.
 * No page may be reached twice, or be reached and free. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/rd.h"
#include "node/store/pages.h"

#define PAGE 4096u
#define HEAD 16u /* of a page */
#define NODE 8u /* head of a node */
#define MAGIC 0xbeefc0deu
#define NO_PAGE UINT64_MAX
#define DEPTH_MAX 32u /* LMDB's cursors end there */
#define KEY_MAX 511u
#define INTEGER_KEYS 0x08u
enum { P_BRANCH = 1, P_LEAF = 2, P_OVERFLOW = 4, P_META = 8 };

struct db {
	uint16_t flags, depth;
	uint64_t root;
};

struct walk {
	int fd;
	uint64_t in_file; /* whole pages */
	uint64_t last; /* highest page in use */
	uint8_t *seen; /* owns: one bit a page */
	bool is_free; /* walking the free db */
};

static enum err
read_at(const struct walk *w, uint64_t pgno, void *out, size_t len)
{
	size_t got = 0;

	while (got < len) {
		ssize_t n = pread(w->fd, (uint8_t *)out + got, len - got,
		    (off_t)(pgno * PAGE + got));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return ERR_IO;
		if (n == 0)
			return ERR_CORRUPT;
		got += (size_t)n;
	}
	return ERR_OK;
}

/* Marks pages [pgno, pgno + n) as used; none may be so already. */
static enum err
claim(struct walk *w, uint64_t pgno, uint64_t n, bool on_disk)
{
	uint64_t end =
	    on_disk && w->in_file <= w->last ? w->in_file : w->last + 1;

	if (pgno < 2 || n == 0 || pgno >= end || n > end - pgno)
		return ERR_CORRUPT;
	for (uint64_t i = pgno; i < pgno + n; i++) {
		uint8_t bit = (uint8_t)(1u << i % 8);

		if ((w->seen[i / 8] & bit) != 0)
			return ERR_CORRUPT;
		w->seen[i / 8] |= bit;
	}
	return ERR_OK;
}

static enum err
check_free_list(struct walk *w, const uint8_t *p, size_t len)
{
	struct rd r = { .p = p, .left = len };
	uint64_t n = rd_le64(&r), before = NO_PAGE;
	enum err e = ERR_OK;

	if (r.bad || n > r.left / 8)
		return ERR_CORRUPT;
	for (uint64_t i = 0; i < n && e == ERR_OK; i++) {
		uint64_t pgno = rd_le64(&r);

		if (pgno >= before)
			return ERR_CORRUPT;
		before = pgno;
		/* What is free was perhaps never written. */
		e = claim(w, pgno, 1, false);
	}
	return e;
}

/* A value that has pages of its own. */
static enum err
check_overflow(struct walk *w, uint64_t pgno, size_t len)
{
	uint64_t need = (HEAD - 1 + (uint64_t)len) / PAGE + 1;
	uint8_t head[HEAD], *copy = NULL;
	struct rd r = { .p = head, .left = sizeof head };
	uint64_t self, pages;
	uint32_t flags;
	enum err e;

	if (pgno < 2 || pgno > w->last)
		return ERR_CORRUPT;
	if ((e = read_at(w, pgno, head, sizeof head)) != ERR_OK)
		return e;
	self = rd_le64(&r);
	(void)rd_le16(&r);
	flags = rd_le16(&r);
	pages = rd_le32(&r);
	if (self != pgno || flags != P_OVERFLOW || pages < need)
		return ERR_CORRUPT;
	/* Of a run that shrank, the tail is perhaps unwritten. */
	if ((e = claim(w, pgno, pages, false)) != ERR_OK)
		return e;
	if (pgno + need > w->in_file)
		return ERR_CORRUPT;
	if (!w->is_free)
		return ERR_OK;
	if ((copy = malloc(need * PAGE)) == NULL)
		return ERR_NOMEM;
	if ((e = read_at(w, pgno, copy, need * PAGE)) == ERR_OK)
		e = check_free_list(w, copy + HEAD, len);
	free(copy);
	return e;
}

static uint16_t
le16(const uint8_t *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}

/* Checks the node at `at`; `*size` is what it takes, `*child` what is below
 * it. */
static enum err
check_node(struct walk *w, const uint8_t *page, size_t at, bool leaf,
    size_t *size, uint64_t *child)
{
	const uint8_t *p = page + at;
	uint32_t lo = le16(p), hi = le16(p + 2), flags = le16(p + 4);
	size_t key = le16(p + 6), left = PAGE - at - NODE;
	size_t len = lo | (size_t)hi << 16;
	struct rd r;

	if (key > KEY_MAX || key > left)
		return ERR_CORRUPT;
	*size = NODE + key;
	if (!leaf) {
		*child = lo | (uint64_t)hi << 16 | (uint64_t)flags << 32;
		return ERR_OK;
	}
	if (key == 0 || flags > 1 || (w->is_free && key != 8))
		return ERR_CORRUPT;
	left -= key;
	p += NODE + key;
	if (flags == 1) {
		*size += 8;
		if (left < 8)
			return ERR_CORRUPT;
		r = (struct rd){ .p = p, .left = 8 };
		return check_overflow(w, rd_le64(&r), len);
	}
	*size += len;
	if (len > left)
		return ERR_CORRUPT;
	return w->is_free ? check_free_list(w, p, len) : ERR_OK;
}

/* The page at `pgno`, which is `depth` levels above the values, and all that
 * is below it. */
static enum err
check_page(struct walk *w, uint64_t pgno, unsigned depth) /* recursive */
{
	uint8_t page[PAGE], taken[PAGE / 2] = { 0 };
	struct rd r = { .p = page, .left = HEAD };
	const bool leaf = depth == 1;
	size_t lower, upper, n, sum = 0;
	uint64_t self;
	uint32_t flags;
	enum err e = claim(w, pgno, 1, true);

	if (e != ERR_OK || (e = read_at(w, pgno, page, PAGE)) != ERR_OK)
		return e;
	self = rd_le64(&r);
	(void)rd_le16(&r);
	flags = rd_le16(&r);
	lower = rd_le16(&r);
	upper = rd_le16(&r);
	if (self != pgno || flags != (leaf ? P_LEAF : P_BRANCH) ||
	    lower < HEAD + 2 || lower % 2 != 0 || lower > upper || upper > PAGE)
		return ERR_CORRUPT;
	n = (lower - HEAD) / 2;
	/* LMDB asserts that a branch of the main db has two children. */
	if (!leaf && !w->is_free && n < 2)
		return ERR_CORRUPT;
	for (size_t i = 0; i < n && e == ERR_OK; i++) {
		size_t at = le16(page + HEAD + 2 * i), size;
		uint64_t child = 0;

		if (at < upper || at > PAGE - NODE || at % 2 != 0)
			return ERR_CORRUPT;
		if ((e = check_node(w, page, at, leaf, &size, &child)) !=
		    ERR_OK)
			return e;
		/* The nodes fill [upper, end) and share no byte. */
		size = (size + 1) & ~(size_t)1;
		if (size > PAGE - at)
			return ERR_CORRUPT;
		sum += size;
		for (size_t k = at / 2; k < (at + size) / 2; k++) {
			if (taken[k]++ != 0)
				return ERR_CORRUPT;
		}
		if (!leaf)
			e = check_page(w, child, depth - 1);
	}
	if (e == ERR_OK && sum != PAGE - upper)
		e = ERR_CORRUPT;
	return e;
}

static enum err
check_db(struct walk *w, const struct db *db, bool is_free)
{
	w->is_free = is_free;
	if (db->flags != (is_free ? INTEGER_KEYS : 0))
		return ERR_CORRUPT;
	if (db->root == NO_PAGE)
		return db->depth == 0 ? ERR_OK : ERR_CORRUPT;
	if (db->depth == 0 || db->depth >= DEPTH_MAX)
		return ERR_CORRUPT;
	return check_page(w, db->root, db->depth);
}

static uint32_t
read_db(struct rd *r, struct db *out)
{
	uint32_t page_size = rd_le32(r);

	out->flags = rd_le16(r);
	out->depth = rd_le16(r);
	(void)rd_bytes(r, 32); /* statistics */
	out->root = rd_le64(r);
	return page_size;
}

/* Meta page `pgno` replaces what `*txn` has, if it is newer. */
static enum err
read_meta(struct walk *w, uint64_t pgno, uint64_t *txn, struct db db[2])
{
	uint8_t page[HEAD + 136];
	struct rd r = { .p = page, .left = sizeof page };
	struct db got[2];
	uint64_t self, last, number;
	uint32_t flags, magic, version, page_size;
	enum err e = read_at(w, pgno, page, sizeof page);

	if (e != ERR_OK)
		return e;
	self = rd_le64(&r);
	(void)rd_le16(&r);
	flags = rd_le16(&r);
	(void)rd_le32(&r);
	magic = rd_le32(&r);
	version = rd_le32(&r);
	(void)rd_bytes(&r, 16);
	page_size = read_db(&r, &got[0]);
	(void)read_db(&r, &got[1]);
	last = rd_le64(&r);
	number = rd_le64(&r);
	if (!rd_done(&r) || self != pgno || flags != P_META || magic != MAGIC ||
	    version != 1 || page_size != PAGE)
		return ERR_CORRUPT;
	if (pgno == 0 || number > *txn) {
		*txn = number;
		w->last = last;
		memcpy(db, got, sizeof got);
	}
	return ERR_OK;
}

enum err
pages_check(const char *path, size_t size_max)
{
	struct walk w = { .fd = open(path, O_RDONLY | O_CLOEXEC) };
	struct db db[2];
	struct stat st;
	uint64_t txn = 0;
	enum err e = ERR_OK;

	if (w.fd < 0)
		return errno == ENOENT ? ERR_OK : ERR_IO;
	if (fstat(w.fd, &st) != 0) {
		e = ERR_IO;
		goto done;
	}
	if (st.st_size == 0)
		goto done; /* created, and never written */
	w.in_file = (uint64_t)st.st_size / PAGE;
	if ((e = read_meta(&w, 0, &txn, db)) != ERR_OK ||
	    (e = read_meta(&w, 1, &txn, db)) != ERR_OK)
		goto done;
	e = ERR_LIMIT;
	if (w.in_file > size_max / PAGE)
		goto done;
	e = ERR_CORRUPT;
	if (w.in_file < 2 || w.last < 1 || w.last >= size_max / PAGE)
		goto done;
	e = ERR_NOMEM;
	if ((w.seen = calloc(1, (size_t)(w.last / 8 + 1))) == NULL)
		goto done;
	if ((e = check_db(&w, &db[1], false)) == ERR_OK)
		e = check_db(&w, &db[0], true);
done:
	free(w.seen);
	(void)close(w.fd);
	return e;
}
