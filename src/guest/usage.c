/* SPDX-License-Identifier: MIT */
#include "guest/usage.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

static FILE *open_proc(uint32_t pid, const char *path)
{
	char name[300];

	snprintf(name, sizeof(name), "/proc/%" PRIu32 "/%s", pid, path);
	return fopen(name, "re");
}

/* schedstat counts nanoseconds, where stat counts hundredths of a second. */
int vtr_usage_cpu_ns(uint32_t pid, uint64_t *cpu_ns)
{
	char name[64];
	uint64_t total = 0;
	const struct dirent *entry;

	snprintf(name, sizeof(name), "/proc/%" PRIu32 "/task", pid);
	DIR *tasks = opendir(name);
	if (!tasks)
		return -errno;
	while ((entry = readdir(tasks))) {
		char path[280];
		uint64_t ns = 0;

		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "task/%s/schedstat", entry->d_name);
		FILE *file = open_proc(pid, path);
		if (!file)
			continue; /* a thread that has just ended */
		if (fscanf(file, "%" SCNu64, &ns) == 1)
			total += ns;
		fclose(file);
	}
	closedir(tasks);
	*cpu_ns = total;
	return 0;
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
