/* SPDX-License-Identifier: MIT */
#include "guest/usage.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>

static FILE *open_proc(uint32_t pid, const char *path)
{
	char name[300];

	snprintf(name, sizeof(name), "/proc/%" PRIu32 "/%s", pid, path);
	return fopen(name, "re");
}

/* The sum over all threads of what read finds in a file of each. */
static int sum_tasks(uint32_t pid, const char *what, bool (*read)(FILE *file, uint64_t *value), uint64_t *sum)
{
	char name[64];
	uint64_t total = 0;
	const struct dirent *entry;

	snprintf(name, sizeof(name), "/proc/%" PRIu32 "/task", pid);
	DIR *tasks = opendir(name);
	if (!tasks)
		return -errno;
	while ((entry = readdir(tasks))) {
		char path[290];
		uint64_t value;

		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "task/%s/%s", entry->d_name, what);
		FILE *file = open_proc(pid, path);
		if (!file)
			continue; /* a thread that has just ended */
		if (read(file, &value))
			total += value;
		fclose(file);
	}
	closedir(tasks);
	*sum = total;
	return 0;
}

/* schedstat counts nanoseconds, where stat counts hundredths of a second. */
static bool read_cpu_ns(FILE *file, uint64_t *ns)
{
	return fscanf(file, "%" SCNu64, ns) == 1;
}

int vtr_usage_cpu_ns(uint32_t pid, uint64_t *cpu_ns)
{
	return sum_tasks(pid, "schedstat", read_cpu_ns, cpu_ns);
}

static bool read_waits(FILE *file, uint64_t *waits)
{
	char line[256];

	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "voluntary_ctxt_switches: %" SCNu64, waits) == 1)
			return true;
	return false;
}

int vtr_usage_waits(uint32_t pid, uint64_t *waits)
{
	return sum_tasks(pid, "status", read_waits, waits);
}

int vtr_usage_resident(uint32_t pid, uint64_t *bytes)
{
	FILE *file = open_proc(pid, "status");
	char line[256];
	int result = -ENODATA;

	if (!file)
		return -errno;
	while (result && fgets(line, sizeof(line), file)) {
		uint64_t kib;

		if (sscanf(line, "RssAnon: %" SCNu64 " kB", &kib) == 1) {
			*bytes = kib * 1024;
			result = 0;
		}
	}
	fclose(file);
	return result;
}
