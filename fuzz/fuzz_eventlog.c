/* fuzz_eventlog: event_log_parse, event_log_replay, event_log_find.
 *
 * A log that is accepted is bounded, its payloads lie in its own memory, and
 * a replay up to the last event is the replay of all. */
#include <string.h>

#include "common/attest/eventlog.h"
#include "fuzz/must.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_event(const struct event_log *l, const struct event *e)
{
	must(e->imr <= 3);
	must(memchr(e->name, '\0', sizeof e->name) != NULL);
	if (e->payload.len > 0)
		must(e->payload.p >= l->payloads.p &&
		    e->payload.p + e->payload.len <=
			l->payloads.p + l->payloads.len);
	if (e->imr == 3 && e->type == EVENT_RUNTIME && !e->v2) {
		uint8_t digest[48];

		event_digest_v1(digest, e->name, e->payload);
		must(memcmp(digest, e->digest, sizeof digest) == 0);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct event_log l;
	uint8_t all[48], step[48] = { 0 };

	if (event_log_parse(&l, (struct bytes){ data, size }, NULL) != ERR_OK)
		return 0;
	must(l.n <= EVENT_MAX);
	for (size_t i = 0; i < l.n; i++)
		check_event(&l, &l.event[i]);
	for (uint32_t imr = 0; imr < 4; imr++) {
		memset(step, 0, sizeof step);
		event_log_replay(all, &l, imr, NULL);
		for (size_t i = 0; i < l.n; i++)
			if (l.event[i].imr == imr)
				rtmr_extend(step, l.event[i].digest);
		must(memcmp(all, step, sizeof all) == 0);
	}
	if (l.n > 0)
		(void)event_log_find(&l, l.event[l.n - 1].name);
	event_log_fini(&l);
	return 0;
}
