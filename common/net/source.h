/* source: who is calling, as far as budgets go.
 *
 * An IPv4 address, also where it comes inside an IPv6 one (RFC 4291 2.5.5.2: a
 * socket for both versions has them so, all of one /64); of an IPv6 host its
 * /64, which it owns whole. */
#ifndef COMMON_NET_SOURCE_H
#define COMMON_NET_SOURCE_H

#include <stdint.h>

/* 4 or 6, then the address or the first half of it; zeros behind it.  All
 * zeros: not known. */
#define SOURCE_LEN 17

/* `address`: network byte order. */
void source_ip4(uint8_t out[static SOURCE_LEN], const void *address);
void source_ip6(uint8_t out[static SOURCE_LEN], const void *address);

#endif
