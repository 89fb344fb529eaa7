#include <sys/statvfs.h>
#include <sys/utsname.h>

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "node/agent/sysinfo.h"

#define LINE_CAP 1024

/* What `key` begins a line of the file with, without quotes and blanks; a
 * file that is not there leaves `out` as it is. */
static void
read_value(char out[static SYSINFO_TEXT_MAX], const char *path, const char *key)
{
	FILE *f = fopen(path, "re");
	char line[LINE_CAP];
	size_t key_len = strlen(key);

	if (f == NULL)
		return;
	while (fgets(line, sizeof line, f) != NULL) {
		const char *v = line + key_len;
		size_t n;

		if (strncmp(line, key, key_len) != 0)
			continue;
		v += strspn(v, " \t:=\"");
		n = strcspn(v, "\"\n");
		(void)snprintf(out, SYSINFO_TEXT_MAX, "%.*s", (int)n, v);
		break;
	}
	(void)fclose(f);
}

/* A line of /proc/meminfo, in bytes. */
static uint64_t
meminfo(const char *key)
{
	char text[SYSINFO_TEXT_MAX] = "";

	read_value(text, "/proc/meminfo", key);
	return strtoull(text, NULL, 10) * 1024;
}

static void
read_loads(struct sysinfo_facts *f)
{
	char text[64];
	FILE *in = fopen("/proc/uptime", "re");

	if (in != NULL) {
		/* Whole seconds: what follows the point is left. */
		if (fgets(text, sizeof text, in) != NULL)
			f->uptime_s = strtoull(text, NULL, 10);
		(void)fclose(in);
	}
	if (getloadavg(f->load, 3) != 3)
		memset(f->load, 0, sizeof f->load);
}

static bool
have_disk(const struct sysinfo_facts *f, const char *name)
{
	for (size_t i = 0; i < f->n_disks; i++)
		if (strcmp(f->disk[i].name, name) == 0)
			return true;
	return false;
}

static void
add_disk(struct sysinfo_facts *f, const char *name, const char *at)
{
	struct sysinfo_disk *d = &f->disk[f->n_disks];
	struct statvfs s;

	if (f->n_disks == SYSINFO_DISKS_MAX || have_disk(f, name) ||
	    statvfs(at, &s) != 0 || s.f_blocks == 0)
		return;
	(void)snprintf(d->name, sizeof d->name, "%s", name);
	(void)snprintf(d->mount_point, sizeof d->mount_point, "%s", at);
	d->total = (uint64_t)s.f_blocks * s.f_frsize;
	d->free = (uint64_t)s.f_bavail * s.f_frsize;
	f->n_disks++;
}

/* Other mounts may be slow or without size; the root is always told. */
static void
read_disks(struct sysinfo_facts *f)
{
	FILE *in = fopen("/proc/self/mounts", "re");
	char line[LINE_CAP], name[SYSINFO_TEXT_MAX], at[SYSINFO_TEXT_MAX];

	while (in != NULL && fgets(line, sizeof line, in) != NULL) {
		if (sscanf(line, "%127s %127s", name, at) != 2)
			continue;
		if (strncmp(name, "/dev/", 5) == 0 || strcmp(at, "/") == 0)
			add_disk(f, name, at);
	}
	if (in != NULL)
		(void)fclose(in);
}

void
sysinfo_read(struct sysinfo_facts *out)
{
	struct sysinfo_facts f = { .n_disks = 0 };
	struct utsname u;
	long n = sysconf(_SC_NPROCESSORS_ONLN);

	read_value(f.os_name, "/etc/os-release", "NAME=");
	read_value(f.os_version, "/etc/os-release", "VERSION_ID=");
	if (uname(&u) == 0)
		(void)snprintf(f.kernel, sizeof f.kernel, "%s", u.release);
	read_value(f.cpu_model, "/proc/cpuinfo", "model name");
	f.n_cpus = n > 0 ? (uint64_t)n : 0;
	f.mem_total = meminfo("MemTotal:");
	f.mem_available = meminfo("MemAvailable:");
	f.mem_free = meminfo("MemFree:");
	f.swap_total = meminfo("SwapTotal:");
	f.swap_free = meminfo("SwapFree:");
	read_loads(&f);
	read_disks(&f);
	*out = f;
}

/* ---- Prometheus ---- */

static enum err
gauge(struct buf *out, const char *name, const char *help)
{
	return buf_printf(
	    out, "# HELP %s %s\n# TYPE %s gauge\n", name, help, name);
}

/* A label's value: backslash, quote and line feed are escaped. */
static enum err
label(struct buf *out, const char *name, const char *value)
{
	enum err e = buf_printf(out, "%s=\"", name);

	for (const char *s = value; e == ERR_OK && *s != '\0'; s++)
		if (*s == '\n')
			e = buf_printf(out, "\\n");
		else if (*s == '\\' || *s == '"')
			e = buf_printf(out, "\\%c", *s);
		else
			e = buf_append(out, s, 1, SIZE_MAX);
	return e != ERR_OK ? e : buf_printf(out, "\"");
}

static enum err
text_gauge(struct buf *out, const char *name, const char *help,
    const char *label_name, const char *value)
{
	enum err e = gauge(out, name, help);

	if (e == ERR_OK)
		e = buf_printf(out, "%s{", name);
	if (e == ERR_OK)
		e = label(out, label_name, value);
	return e != ERR_OK ? e : buf_printf(out, "} 1\n\n");
}

static enum err
texts(struct buf *out, const struct sysinfo_facts *f)
{
	enum err e;

	if ((e = text_gauge(out, "system_os_name", "Operating system name",
		 "os_name", f->os_name)) != ERR_OK ||
	    (e = text_gauge(out, "system_os_version",
		 "Operating system version", "os_version", f->os_version)) !=
		ERR_OK ||
	    (e = text_gauge(out, "system_kernel_version", "Kernel version",
		 "kernel_version", f->kernel)) != ERR_OK)
		return e;
	return text_gauge(out, "system_cpu_model", "CPU model information",
	    "cpu_model", f->cpu_model);
}

static enum err
numbers(struct buf *out, const struct sysinfo_facts *f)
{
	const struct {
		const char *name, *help;
		uint64_t value;
	} all[] = {
		{ "system_num_cpus", "Number of logical CPUs", f->n_cpus },
		{ "system_memory_total", "Total memory in bytes",
		    f->mem_total },
		{ "system_memory_available", "Available memory in bytes",
		    f->mem_available },
		{ "system_memory_used", "Used memory in bytes",
		    f->mem_total - f->mem_available },
		{ "system_memory_free", "Free memory in bytes", f->mem_free },
		{ "system_swap_total", "Total swap memory in bytes",
		    f->swap_total },
		{ "system_swap_used", "Used swap memory in bytes",
		    f->swap_total - f->swap_free },
		{ "system_swap_free", "Free swap memory in bytes",
		    f->swap_free },
		{ "system_uptime", "System uptime in seconds", f->uptime_s },
		{ "system_load_average_1m",
		    "Load average of 1 minute, in hundredths",
		    (uint64_t)(f->load[0] * 100) },
		{ "system_load_average_5m",
		    "Load average of 5 minutes, in hundredths",
		    (uint64_t)(f->load[1] * 100) },
		{ "system_load_average_15m",
		    "Load average of 15 minutes, in hundredths",
		    (uint64_t)(f->load[2] * 100) },
	};
	enum err e = ERR_OK;

	for (size_t i = 0; e == ERR_OK && i < sizeof all / sizeof all[0]; i++) {
		e = gauge(out, all[i].name, all[i].help);
		if (e == ERR_OK)
			e = buf_printf(out, "%s %" PRIu64 "\n\n", all[i].name,
			    all[i].value);
	}
	return e;
}

enum disk_number { DISK_TOTAL, DISK_FREE, DISK_USED, DISK_PERCENT };

static enum err
disk_line(struct buf *out, const char *name, const struct sysinfo_disk *d,
    enum disk_number which)
{
	uint64_t used = d->total - d->free;
	enum err e;

	if ((e = buf_printf(out, "%s{", name)) != ERR_OK ||
	    (e = label(out, "name", d->name)) != ERR_OK ||
	    (e = buf_printf(out, ", ")) != ERR_OK ||
	    (e = label(out, "mount_point", d->mount_point)) != ERR_OK)
		return e;
	switch (which) {
	case DISK_TOTAL:
		return buf_printf(out, "} %" PRIu64 "\n", d->total);
	case DISK_FREE:
		return buf_printf(out, "} %" PRIu64 "\n", d->free);
	case DISK_USED:
		return buf_printf(out, "} %" PRIu64 "\n", used);
	case DISK_PERCENT:
		return buf_printf(
		    out, "} %.2f\n", 100.0 * (double)used / (double)d->total);
	}
	return ERR_OK;
}

static enum err
disks(struct buf *out, const struct sysinfo_facts *f)
{
	static const struct {
		const char *name, *help;
		enum disk_number which;
	} all[] = {
		{ "disk_total_size", "Disk total size in bytes", DISK_TOTAL },
		{ "disk_free_size", "Disk free size in bytes", DISK_FREE },
		{ "disk_used_size", "Disk used size in bytes", DISK_USED },
		{ "disk_usage_percentage", "Disk usage percentage",
		    DISK_PERCENT },
	};
	enum err e = ERR_OK;

	for (size_t i = 0; e == ERR_OK && i < sizeof all / sizeof all[0]; i++) {
		e = gauge(out, all[i].name, all[i].help);
		for (size_t k = 0; e == ERR_OK && k < f->n_disks; k++)
			e = disk_line(
			    out, all[i].name, &f->disk[k], all[i].which);
		if (e == ERR_OK)
			e = buf_printf(out, "\n");
	}
	return e;
}

enum err
sysinfo_metrics(struct buf *out, const struct sysinfo_facts *f)
{
	enum err e = texts(out, f);

	if (e == ERR_OK)
		e = numbers(out, f);
	return e != ERR_OK ? e : disks(out, f);
}
