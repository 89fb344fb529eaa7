/* pcap: the TCP streams of a capture file.
 *
 * Reads libpcap's classic format (both byte orders, micro- and nanoseconds)
 * of Ethernet, loopback, raw IP and Linux's "cooked" links; IPv4 without
 * fragments, IPv6.  Each direction is put together in the order of its
 * sequence numbers; what was captured twice counts once. */
#ifndef KMS_CTL_PCAP_H
#define KMS_CTL_PCAP_H

#include <stdbool.h>

#include "common/base/buf.h"
#include "common/base/reason.h"

#define PCAP_FLOWS_MAX 1024u
#define PCAP_NONE SIZE_MAX

/* Up to which byte of a flow a packet brought it. */
struct pcap_mark {
	size_t end;
	uint64_t us; /* since the first packet of the file */
};

/* One direction of one connection. */
struct pcap_flow {
	char from[56], to[56]; /* address:port */
	uint16_t port[2]; /* from, to */
	struct buf bytes; /* owns: up to the first gap */
	struct pcap_mark *mark; /* owns */
	size_t n_marks;
	size_t lost; /* bytes that are missing behind `bytes`; 0: none */
	size_t other; /* the way back, or PCAP_NONE */
};

struct pcap {
	struct pcap_flow *flow; /* owns */
	size_t n_flows;
	size_t packets; /* in the file */
	size_t skipped; /* of those, without a TCP segment that can be read */
};

/* pcap_is: does it begin like a capture (also of a kind that is not read)? */
bool pcap_is(struct bytes in);

/* pcap_read: the caller owns `*out` (pcap_fini).  ERR_MALFORMED and
 * ERR_LIMIT: `why` says what.  A file that ends within a packet is read up to
 * there. */
enum err pcap_read(struct pcap *out, struct bytes in, struct refusal *why);
void pcap_fini(struct pcap *p);

/* pcap_time is when the byte before `end` had come, in microseconds. */
uint64_t pcap_time(const struct pcap_flow *f, size_t end);

#endif
