/* pballoc: memory for what protobuf-c parses, wiped when it is freed, and
 * bounded in bytes and in parts.
 *
 * A message of a stranger can be all fields of two bytes.  Each costs
 * protobuf-c an allocation or two, known or not: parsing 180 KiB of them took
 * as long as a hundred handshakes.  When a message has used up what it may,
 * protobuf-c sees an allocation fail and gives up, which is soon. */
#ifndef COMMON_WIRE_PBALLOC_H
#define COMMON_WIRE_PBALLOC_H

#include <protobuf-c/protobuf-c.h>

#include <stdbool.h>
#include <stddef.h>

struct pballoc {
	ProtobufCAllocator a; /* for one message's unpack */
	size_t bytes, parts; /* that are left */
	bool
	    failed; /* there was no memory: nothing is wrong with the message */
};

/* pballoc_init allows `bytes` in `parts` allocations.  What is made with it
 * may outlive it, and is freed with pballoc_wiping. */
void pballoc_init(struct pballoc *p, size_t bytes, size_t parts);

/* Frees what any pballoc made; allocates without a bound. */
extern ProtobufCAllocator pballoc_wiping;

#endif
