/* kmsctl: for operators, auditors and users of a KMS, and the simulator.
 *
 * The commands are in cmd_*.c; README.md lists them. */
#include <signal.h>
#include <stdio.h>

#include "common/base/json.h"
#include "common/base/log.h"
#include "common/base/secret.h"
#include "kms/ctl/ctl.h"

int
main(int argc, char *argv[])
{
	json_wiping();
	if (secret_process_init() != ERR_OK)
		return CTL_FAILED;
	log_set_program("kmsctl");
	(void)signal(SIGPIPE, SIG_IGN);
	return (int)ctl_main(stdout, stderr, argc, argv);
}
