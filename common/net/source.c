#include <string.h>

#include "common/net/source.h"

void
source_ip4(uint8_t out[static SOURCE_LEN], const void *address)
{
	memset(out, 0, SOURCE_LEN);
	out[0] = 4;
	memcpy(out + 1, address, 4);
}

void
source_ip6(uint8_t out[static SOURCE_LEN], const void *address)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

	if (memcmp(address, mapped, sizeof mapped) == 0) {
		source_ip4(out, (const uint8_t *)address + sizeof mapped);
		return;
	}
	memset(out, 0, SOURCE_LEN);
	out[0] = 6;
	memcpy(out + 1, address, 8);
}
