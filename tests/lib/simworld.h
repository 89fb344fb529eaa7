/* simworld: a simulator folder for tests: PKI, a host "h1", an image. */
#ifndef TESTS_LIB_SIMWORLD_H
#define TESTS_LIB_SIMWORLD_H

#include "common/attest/collateral.h"
#include "node/tee/simhost.h"
#include "node/tee/tee.h"

#define SIMWORLD_NOW 1900000000ll

struct simworld {
	char *dir; /* owns */
	char host[512], image[512], run[512];
};

void simworld_init(struct simworld *w);
void simworld_fini(struct simworld *w);

/* A TD on h1 with the image, RTMR3 zero. */
struct tee *simworld_boot(const struct simworld *w);

/* The vendor's documents as a bundle, from the files. */
void simworld_collateral(struct collateral *out, const struct simworld *w);

#endif
