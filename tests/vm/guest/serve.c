/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "guest.h"

enum { MAX_WORDS = 5 };

int guest_check(long result, const char *what)
{
	int error = errno;

	if (result >= 0)
		return (int)result;
	printf("@@FAILED %s: %s\n", what, strerror(error));
	return -error;
}

static unsigned split(char *line, char *words[MAX_WORDS])
{
	unsigned n = 0;

	for (char *word = strtok(line, " \r\n"); word && n < MAX_WORDS; word = strtok(NULL, " \r\n"))
		words[n++] = word;
	return n;
}

static int run(struct guest *guest, const struct guest_command *commands, size_t n_commands, char **words, unsigned n)
{
	for (size_t i = 0; i < n_commands; i++)
		if (strcmp(commands[i].name, words[0]) == 0 && n >= commands[i].words)
			return commands[i].run(guest, words, n);
	errno = EINVAL;
	return guest_check(-1, words[0]);
}

void guest_serve(const char *program, struct guest *guest, const struct guest_command *commands, size_t n_commands)
{
	char line[256], *words[MAX_WORDS];

	setvbuf(stdout, NULL, _IOLBF, 0);
	setvbuf(stdin, NULL, _IONBF, 0); /* what poll() sees is what was not read */
	printf("@@READY %s\n", program);
	while (fgets(line, sizeof(line), stdin)) {
		unsigned n = split(line, words);

		if (n > 0 && strcmp(words[0], "quit") == 0)
			break;
		if (n > 0)
			printf("@@DONE %d\n", -run(guest, commands, n_commands, words, n));
	}
}
