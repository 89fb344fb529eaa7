/* pballoc: see pballoc.h. */
#include <stdlib.h>

#include "common/base/secret.h"
#include "common/wire/pballoc.h"

/* Allocations remember their size so that they can be wiped. */
struct head {
	size_t len;
	size_t pad; /* keeps 16-byte alignment */
};

/* `cookie`: the bound, or NULL. */
static void *
wiping_alloc(void *cookie, size_t len)
{
	struct pballoc *p = cookie;
	struct head *h;

	if (p != NULL && (p->parts == 0 || p->bytes < len))
		return NULL;
	if (len > SIZE_MAX - sizeof *h ||
	    (h = malloc(sizeof *h + len)) == NULL) {
		if (p != NULL)
			p->failed = true;
		return NULL;
	}
	if (p != NULL) {
		p->parts--;
		p->bytes -= len;
	}
	h->len = len;
	return h + 1;
}

static void
wiping_free(void *cookie, void *p)
{
	struct head *h;

	(void)cookie;
	if (p == NULL)
		return;
	h = (struct head *)p - 1;
	secret_wipe(p, h->len);
	free(h);
}

ProtobufCAllocator pballoc_wiping = { .alloc = wiping_alloc,
	.free = wiping_free };

void
pballoc_init(struct pballoc *p, size_t bytes, size_t parts)
{
	*p = (struct pballoc){
		.a = pballoc_wiping, .bytes = bytes, .parts = parts
	};
	p->a.allocator_data = p;
}
