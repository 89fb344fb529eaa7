/* ask: what the gate decides when it reads the chain through one endpoint.
 *
 *   light-ask URL quorum|proof MAX_AGE_S KMS APP OS_IMAGE COMPOSE
 *
 * Prints "allowed", "denied REASON: text" or "again REASON: text".  Chain id 1,
 * tag finalized. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/hex.h"
#include "kms/gate/gate.h"

static void
hex_or_exit(uint8_t *out, size_t len, const char *text)
{
	if (hex_fixed(out, len, text) == ERR_OK)
		return;
	(void)fprintf(stderr, "light-ask: what is %s?\n", text);
	exit(2);
}

int
main(int argc, char **argv)
{
	struct chainview_options o = { .n = 1,
		.quorum = 1,
		.chain_id = 1,
		.tag = CHAIN_FINALIZED,
		.poll_ms = 1000,
		.timeout_ms = 30000,
		.mono_ms = clock_mono_ms };
	struct boot_info bi = { .tcb_status = TCB_UP_TO_DATE };
	struct gate_decision d;
	struct refusal why = { 0 };
	struct chainview *view = NULL;
	struct gate *gate = NULL;
	const char *url[1];
	uint8_t kms[20];
	enum err e;

	if (argc != 8) {
		(void)fprintf(stderr, "light-ask: see the top of ask.c\n");
		return 2;
	}
	url[0] = argv[1];
	o.urls = url;
	o.proof = strcmp(argv[2], "proof") == 0;
	o.max_age_s = (unsigned)strtoul(argv[3], NULL, 10);
	hex_or_exit(kms, sizeof kms, argv[4]);
	hex_or_exit(bi.app_id, sizeof bi.app_id, argv[5]);
	hex_or_exit(bi.os_image_hash, sizeof bi.os_image_hash, argv[6]);
	hex_or_exit(bi.compose_hash, sizeof bi.compose_hash, argv[7]);
	if ((e = chainview_new(&view, &o)) == ERR_OK)
		e = gate_new(&gate, view, kms);
	if (e == ERR_OK)
		e = gate_ask(gate, GATE_APP, &bi, clock_wall_s(), &d, &why);
	if (e == ERR_OK)
		(void)printf("allowed\n");
	else if (e == ERR_DENIED || e == ERR_AGAIN)
		(void)printf("%s %s: %s\n",
		    e == ERR_DENIED ? "denied" : "again",
		    reason_label(why.code), why.detail);
	else
		(void)fprintf(stderr, "light-ask: %s\n", err_text(e));
	gate_free(gate);
	chainview_free(view);
	return e == ERR_OK || e == ERR_DENIED || e == ERR_AGAIN ? 0 : 1;
}
