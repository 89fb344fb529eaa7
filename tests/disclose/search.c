/* search: where in a process, or in a core, are the secrets of a list?
 *
 *   memsearch PID LIST    all private memory of a process that runs
 *   memsearch FILE LIST   a core
 *
 * LIST has lines "name hex".  A secret is found where eight bytes in a row of
 * it are, forwards or backwards, or sixteen digits of its hex.  Prints, for
 * each name, how many different secrets of that name were found
 *
 *   exposed NAME N WHERE   in memory that a core or swap would have
 *   guarded NAME N         in pages that are locked and not dumped
 *
 * Exit status: 0 looked at all, 2 could not. */
#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/hex.h"

#define PAGE 4096ul
#define CHUNK (1u << 20)
#define KEY_LEN 32
#define OVERLAP (2 * KEY_LEN)
#define TABLE (1u << 20)
#define NAMES_MAX 64

struct secret {
	unsigned name;
	uint8_t key[KEY_LEN];
	char hex[2 * KEY_LEN + 1];
	int exposed, guarded;
};

struct window {
	uint64_t bytes;
	unsigned secret, at, kind; /* kind 0 forwards, 1 backwards, 2 hex */
	unsigned next; /* index + 1 */
};

static struct secret *secret;
static unsigned n_secrets, n_windows, max_windows;
static struct window *window;
static unsigned table[TABLE];
static char name[NAMES_MAX][32], where[NAMES_MAX][200];
static unsigned n_names;

static void
fail(const char *what)
{
	perror(what);
	exit(2);
}

static unsigned
slot(uint64_t v)
{
	return (unsigned)(v * 0x9e3779b97f4a7c15u >> 44);
}

static void
add(const uint8_t *p, unsigned which, unsigned at, unsigned kind)
{
	struct window *w;

	if (n_windows == max_windows) {
		max_windows = max_windows == 0 ? 4096 : 2 * max_windows;
		window = realloc(window, max_windows * sizeof *window);
		if (window == NULL)
			fail("memory");
	}
	w = &window[n_windows++];
	memcpy(&w->bytes, p, 8);
	w->secret = which;
	w->at = at;
	w->kind = kind;
	w->next = table[slot(w->bytes)];
	table[slot(w->bytes)] = n_windows;
}

static void
add_secret(unsigned which)
{
	const struct secret *s = &secret[which];
	uint8_t back[KEY_LEN];

	for (unsigned i = 0; i < KEY_LEN; i++)
		back[i] = s->key[KEY_LEN - 1 - i];
	for (unsigned i = 0; i + 8 <= KEY_LEN; i++) {
		add(s->key + i, which, i, 0);
		add(back + i, which, i, 1);
	}
	for (unsigned i = 0; i + 16 <= 2 * KEY_LEN; i++)
		add((const uint8_t *)s->hex + i, which, i, 2);
}

static unsigned
name_of(const char *text)
{
	for (unsigned i = 0; i < n_names; i++)
		if (strcmp(name[i], text) == 0)
			return i;
	if (n_names == NAMES_MAX)
		fail("too many names");
	(void)snprintf(name[n_names], sizeof name[0], "%s", text);
	return n_names++;
}

static void
read_list(const char *path)
{
	FILE *f = fopen(path, "r");
	char text[32], hex[128];

	if (f == NULL)
		fail(path);
	while (fscanf(f, "%31s %127s", text, hex) == 2) {
		struct secret *s;
		size_t n;

		secret = realloc(secret, (n_secrets + 1) * sizeof *secret);
		if (secret == NULL)
			fail("memory");
		s = &secret[n_secrets];
		*s = (struct secret){ .name = name_of(text) };
		if (hex_decode(s->key, KEY_LEN, &n, hex, strlen(hex)) !=
			ERR_OK ||
		    n != KEY_LEN) {
			(void)fprintf(stderr, "%s: no key: %s\n", path, text);
			exit(2);
		}
		hex_encode(s->hex, s->key, KEY_LEN);
		n_secrets++;
	}
	(void)fclose(f);
	for (unsigned i = 0; i < n_secrets; i++)
		add_secret(i);
}

static void
found(const struct window *w, unsigned long address, const char *region,
    int guarded)
{
	static const char *const how[] = { "as it is", "backwards", "in hex" };
	struct secret *s = &secret[w->secret];

	if (guarded) {
		s->guarded = 1;
		return;
	}
	s->exposed = 1;
	if (where[s->name][0] == '\0')
		(void)snprintf(where[s->name], sizeof where[0],
		    "%#lx %s, from byte %u on, %s", address, region, w->at,
		    how[w->kind]);
}

static void
search(const uint8_t *p, size_t len, unsigned long address, const char *region,
    int guarded)
{
	for (size_t i = 0; i + 8 <= len; i++) {
		uint64_t v;

		memcpy(&v, p + i, 8);
		if (v == 0)
			continue; /* most of it */
		for (unsigned k = table[slot(v)]; k != 0;
		     k = window[k - 1].next) {
			const struct window *w = &window[k - 1];

			if (w->bytes != v)
				continue;
			if (w->kind == 2 &&
			    (i + 16 > len ||
				memcmp(p + i, secret[w->secret].hex + w->at,
				    16) != 0))
				continue;
			found(w, address + i, region, guarded);
		}
	}
}

/* (fd, from) to (fd, to), which are at `address`. */
static void
search_file(int fd, off_t from, off_t to, unsigned long address,
    const char *region, int guarded)
{
	static uint8_t chunk[CHUNK];

	while (from < to) {
		size_t want =
		    to - from < (off_t)CHUNK ? (size_t)(to - from) : CHUNK;
		ssize_t n = pread(fd, chunk, want, from);

		if (n <= 0)
			return; /* such as [vvar] */
		search(chunk, (size_t)n, address, region, guarded);
		if ((size_t)n < want || from + n == to) {
			from += n;
			address += (unsigned long)n;
		} else {
			from += n - OVERLAP;
			address += (unsigned long)n - OVERLAP;
		}
	}
}

/* ---- a process ---- */

static int
open_proc(const char *pid, const char *what)
{
	char path[64];
	int fd;

	(void)snprintf(path, sizeof path, "/proc/%s/%s", pid, what);
	if ((fd = open(path, O_RDONLY | O_CLOEXEC)) < 0)
		fail(path);
	return fd;
}

/* A page that was never touched has nothing: its entry is zero. */
static int
is_there(int pagemap, unsigned long address)
{
	uint64_t entry = 0;
	off_t at = (off_t)(address / PAGE * sizeof entry);

	return pread(pagemap, &entry, sizeof entry, at) !=
	    (ssize_t)sizeof entry ||
	    entry >> 62 != 0; /* present, or in swap */
}

static unsigned long
search_region(int mem, int pagemap, unsigned long from, unsigned long to,
    const char *region, int guarded)
{
	unsigned long size = 0;

	while (from < to) {
		unsigned long end = from;

		while (end < to && is_there(pagemap, end))
			end += PAGE;
		search_file(
		    mem, (off_t)from, (off_t)end, from, region, guarded);
		size += end - from;
		from = end < to ? end + PAGE : end;
	}
	return size;
}

static void
search_process(const char *pid)
{
	char path[64], line[512], region[256] = "", perm[5] = "";
	unsigned long from = 0, to = 0, size = 0;
	int mem = open_proc(pid, "mem"), pagemap = open_proc(pid, "pagemap");
	FILE *f;

	(void)snprintf(path, sizeof path, "/proc/%s/smaps", pid);
	if ((f = fopen(path, "r")) == NULL)
		fail(path);
	while (fgets(line, sizeof line, f) != NULL) {
		unsigned long a, b;
		char p[5], r[256] = "";
		int guarded;

		if (sscanf(line, "%lx-%lx %4s %*x %*s %*u %255s", &a, &b, p,
			r) >= 3) {
			from = a;
			to = b;
			memcpy(perm, p, sizeof perm);
			memcpy(region, r, sizeof region);
			continue;
		}
		/* The last line of each. */
		if (strncmp(line, "VmFlags:", 8) != 0)
			continue;
		/* What is in a file cannot have been written by us. */
		if (perm[1] != 'w' && (perm[0] == 'r' || region[0] != '\0'))
			continue;
		guarded =
		    strstr(line, " lo") != NULL && strstr(line, " dd") != NULL;
		size += search_region(mem, pagemap, from, to, region, guarded);
	}
	printf("searched %lu KiB\n", size / 1024);
	(void)fclose(f);
	(void)close(mem);
	(void)close(pagemap);
}

/* ---- a core ---- */

static void
search_core(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	unsigned long size = 0;
	Elf64_Ehdr h;
	Elf64_Phdr p;

	if (fd < 0 || pread(fd, &h, sizeof h, 0) != (ssize_t)sizeof h ||
	    memcmp(h.e_ident, ELFMAG, SELFMAG) != 0 || h.e_type != ET_CORE)
		fail(path);
	for (unsigned i = 0; i < h.e_phnum; i++) {
		off_t at = (off_t)(h.e_phoff + i * sizeof p);

		if (pread(fd, &p, sizeof p, at) != (ssize_t)sizeof p)
			fail(path);
		/* Notes too: they have the registers. */
		search_file(fd, (off_t)p.p_offset,
		    (off_t)(p.p_offset + p.p_filesz), p.p_vaddr,
		    p.p_type == PT_NOTE ? "registers" : "", 0);
		size += p.p_filesz;
	}
	printf("searched %lu KiB\n", size / 1024);
	(void)close(fd);
}

int
main(int argc, char **argv)
{
	if (argc != 3) {
		(void)fprintf(stderr, "usage: memsearch PID|CORE LIST\n");
		return 2;
	}
	read_list(argv[2]);
	printf("looked for %u secrets\n", n_secrets);
	if (strspn(argv[1], "0123456789") == strlen(argv[1]))
		search_process(argv[1]);
	else
		search_core(argv[1]);
	for (unsigned i = 0; i < n_names; i++) {
		unsigned exposed = 0, guarded = 0;

		for (unsigned k = 0; k < n_secrets; k++) {
			if (secret[k].name != i)
				continue;
			exposed += secret[k].exposed != 0;
			guarded += secret[k].guarded != 0;
		}
		if (exposed > 0)
			printf(
			    "exposed %s %u %s\n", name[i], exposed, where[i]);
		if (guarded > 0)
			printf("guarded %s %u\n", name[i], guarded);
	}
	return 0;
}
