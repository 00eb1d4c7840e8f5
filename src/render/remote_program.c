/* SPDX-License-Identifier: MIT */
/* Where the program of the renderer's process is. */
#include "render/remote_child.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vitrine-paths.h"

static const char name[] = "vitrine-renderer";

/* Beside the program that runs, as in a build tree. Returns path, or NULL. */
static const char *beside(char path[PATH_MAX])
{
	ssize_t length = readlink("/proc/self/exe", path, PATH_MAX - sizeof(name) - 1);

	if (length <= 0)
		return NULL;
	path[length] = '\0';
	char *slash = strrchr(path, '/');
	if (!slash)
		return NULL;
	strcpy(slash + 1, name);
	return access(path, X_OK) == 0 ? path : NULL;
}

static const char *find(const struct vtr_renderer_options *options, char path[PATH_MAX])
{
	const char *found = options->program;

	if (!found)
		found = secure_getenv("VITRINE_RENDERER");
	if (!found)
		found = beside(path);
	return found ? found : VTR_RENDERER_PROGRAM;
}

int vtr_remote_program_init(struct vtr_remote_program *program, const struct vtr_renderer_options *options, struct vtr_error *error)
{
	char path[PATH_MAX];
	const char *found = find(options, path);

	*program = (struct vtr_remote_program){ .max_hostmem = options->max_hostmem };
	if (access(found, X_OK) < 0)
		return vtr_error_set(error, VTR_ERROR_HOST, errno,
		                     "the program of the renderer's process cannot be executed: %s: %s (VITRINE_RENDERER in the "
		                     "environment names another)",
		                     found, strerror(errno));
	program->path = strdup(found);
	program->render_node = options->render_node ? strdup(options->render_node) : NULL;
	if (program->path && (program->render_node || !options->render_node))
		return 0;
	vtr_remote_program_finish(program);
	return vtr_error_set(error, VTR_ERROR_HOST, ENOMEM, "out of memory for a renderer");
}

void vtr_remote_program_finish(struct vtr_remote_program *program)
{
	free(program->path);
	free(program->render_node);
	*program = (struct vtr_remote_program){ 0 };
}
