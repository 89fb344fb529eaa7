/* sysinfo: the machine as its kernel describes it: /proc, uname, statvfs.
 *
 * What cannot be read is 0 or "". */
#ifndef NODE_AGENT_SYSINFO_H
#define NODE_AGENT_SYSINFO_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"

#define SYSINFO_TEXT_MAX 128
#define SYSINFO_DISKS_MAX 16

struct sysinfo_disk {
	char name[SYSINFO_TEXT_MAX]; /* the device */
	char mount_point[SYSINFO_TEXT_MAX];
	uint64_t total, free; /* bytes */
};

struct sysinfo_facts {
	char os_name[SYSINFO_TEXT_MAX];
	char os_version[SYSINFO_TEXT_MAX];
	char kernel[SYSINFO_TEXT_MAX];
	char cpu_model[SYSINFO_TEXT_MAX];
	uint64_t n_cpus;
	/* Bytes. */
	uint64_t mem_total, mem_available, mem_free;
	uint64_t swap_total, swap_free;
	uint64_t uptime_s;
	double load[3]; /* of 1, 5 and 15 minutes */
	/* Of block devices, each once. */
	struct sysinfo_disk disk[SYSINFO_DISKS_MAX];
	size_t n_disks;
};

void sysinfo_read(struct sysinfo_facts *out);

/* sysinfo_metrics appends them as Prometheus' text, by dstack's names
 * (dstack-compat.md 1.5); load averages are in hundredths, as there. */
enum err sysinfo_metrics(struct buf *out, const struct sysinfo_facts *f);

#endif
