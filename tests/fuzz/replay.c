/* SPDX-License-Identifier: MIT */
/* The main program of a fuzz target in builds without libFuzzer: runs the target on every file it is given, or finds in a folder.
 */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned replayed;

static int replay_file(const char *path)
{
	FILE *file = fopen(path, "rb");
	uint8_t *data = NULL;
	size_t size = 0;
	struct stat st;

	if (!file || fstat(fileno(file), &st) < 0) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		if (file)
			fclose(file);
		return -1;
	}
	/* exactly as large as the input, so that reading beyond it is seen */
	data = malloc(st.st_size > 0 ? (size_t)st.st_size : 1);
	if (data)
		size = fread(data, 1, (size_t)st.st_size, file);
	fclose(file);
	if (!data)
		return -1;
	LLVMFuzzerTestOneInput(data, size);
	free(data);
	replayed++;
	return 0;
}

static int replay(const char *path)
{
	DIR *folder = opendir(path);
	const struct dirent *entry;
	int ret = 0;

	if (!folder)
		return replay_file(path);
	while (ret == 0 && (entry = readdir(folder))) {
		char *name = NULL;

		if (entry->d_name[0] == '.')
			continue;
		ret = asprintf(&name, "%s/%s", path, entry->d_name) < 0 ? -1 : replay_file(name);
		free(name);
	}
	closedir(folder);
	return ret;
}

int main(int argc, char **argv)
{
	int i;

	for (i = 1; i < argc; i++) {
		if (replay(argv[i]) < 0)
			return EXIT_FAILURE;
	}
	printf("%u inputs replayed\n", replayed);
	return replayed ? EXIT_SUCCESS : EXIT_FAILURE;
}
