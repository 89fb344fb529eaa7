#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/hex.h"
#include "common/base/json.h"
#include "kms/service/auditpage.h"

#define AUDITED_MAX 320 /* of audited kinds: ledger_int.h */

struct entry {
	uint64_t index;
	uint16_t len;
	uint8_t command[AUDITED_MAX];
};

struct auditpage {
	pthread_mutex_t lock; /* of all below */
	struct entry *ring; /* owns LEDGER_AUDIT_MAX; n at (n-1) % MAX */
	uint64_t count, first; /* 1 .. count, those from `first` are here */
	uint8_t head[32], before[32];
};

enum err
auditpage_new(struct auditpage **out)
{
	struct auditpage *p = calloc(1, sizeof *p);

	if (p == NULL)
		return ERR_NOMEM;
	p->first = 1;
	p->ring = calloc(LEDGER_AUDIT_MAX, sizeof *p->ring);
	if (p->ring == NULL || pthread_mutex_init(&p->lock, NULL) != 0) {
		free(p->ring);
		free(p);
		return ERR_NOMEM;
	}
	*out = p;
	return ERR_OK;
}

void
auditpage_free(struct auditpage *p)
{
	if (p == NULL)
		return;
	(void)pthread_mutex_destroy(&p->lock);
	free(p->ring);
	free(p);
}

static struct entry *
place(struct auditpage *p, uint64_t number)
{
	return &p->ring[(number - 1) % LEDGER_AUDIT_MAX];
}

void
auditpage_update(struct auditpage *p, const struct ledger *l)
{
	uint64_t count = ledger_audit_count(l), first = ledger_audit_first(l);
	struct ledger_audit a;

	(void)pthread_mutex_lock(&p->lock);
	/* Another ledger's, or too far behind: from its first on. */
	if (p->count > count || p->count + 1 < first)
		p->count = first - 1;
	while (p->count < count && ledger_audit_get(l, p->count + 1, &a) &&
	    a.command.len <= AUDITED_MAX) {
		struct entry *e = place(p, ++p->count);

		e->index = a.index;
		e->len = (uint16_t)a.command.len;
		memcpy(e->command, a.command.p, a.command.len);
	}
	p->first = first;
	ledger_audit_head(l, p->head);
	ledger_audit_before(l, p->before);
	(void)pthread_mutex_unlock(&p->lock);
}

static json_t *
entry_json(const struct entry *e, uint64_t number)
{
	char hex[2 * AUDITED_MAX + 1];
	struct command c;
	json_t *o = json_object();

	(void)!json_set_u64(o, "number", number);
	(void)!json_set_u64(o, "index", e->index);
	if (command_parse(&c, (struct bytes){ e->command, e->len }) == ERR_OK) {
		(void)!json_set_str(o, "kind", command_kind_text(c.kind));
		(void)!json_set_u64(o, "time", c.time);
	}
	(void)!json_set_str(o, "command", hex_encode(hex, e->command, e->len));
	return o;
}

enum err
auditpage_render(struct auditpage *p, struct buf *out, uint64_t from)
{
	json_t *o = json_object(), *list = json_array();
	enum err e;

	(void)pthread_mutex_lock(&p->lock);
	if (from < p->first)
		from = p->first;
	(void)!json_set_u64(o, "count", p->count);
	(void)!json_set_u64(o, "first_kept", p->first);
	(void)!json_set_hex(o, "head", p->head, 32);
	(void)!json_set_hex(o, "before", p->before, 32);
	(void)!json_set_u64(o, "from", from);
	for (unsigned i = 0; i < AUDITPAGE_ENTRIES && from <= p->count;
	     i++, from++)
		(void)json_array_append_new(
		    list, entry_json(place(p, from), from));
	(void)pthread_mutex_unlock(&p->lock);
	e = json_set_new(o, "entries", list);
	if (e == ERR_OK)
		e = json_write_pretty(out, o);
	if (e == ERR_OK)
		e = buf_printf(out, "\n");
	json_decref(o);
	return e;
}

void
auditpage_reply(struct auditpage *p, const char *from, struct httpd_reply *rp)
{
	uint64_t n = 0;

	for (const char *d = from; d != NULL && *d != '\0'; d++) {
		if (*d < '0' || *d > '9' || n > UINT64_MAX / 10 - 1) {
			rp->status = 400;
			return;
		}
		n = 10 * n + (uint64_t)(*d - '0');
	}
	if (auditpage_render(p, &rp->body, n) != ERR_OK)
		rp->status = 500;
}
