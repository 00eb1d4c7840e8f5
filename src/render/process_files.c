/* SPDX-License-Identifier: MIT */
/*
 * What the process that renders can do with files: Landlock.
 *
 * Below /dev it has what drivers open, and nothing else: not the terminals, not the memory that VMs share in /dev/shm, not
 * keyboards and cameras. Everywhere else it reads. Landlock knows no exceptions, so reading is allowed for each folder at the root
 * but /dev. A domain of Landlock also keeps others' memory, environment and files below /proc out of reach.
 *
 * Each ABI of Landlock knows more than the one before, and what the kernel's knows is asked for.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "render/process_confine.h"
#include "render/process_kernel.h"
#include "util/fd.h"

/* ---- what the kernel knows ---- */

/* What came with which ABI. */
static const struct vtr_landlock_ruleset since[] = {
	[1] = { .handled_access_fs = LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_READ_FILE |
	                             LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_CHAR |
	                             LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK |
	                             LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SYM },
	[2] = { .handled_access_fs = LANDLOCK_ACCESS_FS_REFER },
	[VTR_LANDLOCK_TRUNCATES] = { .handled_access_fs = LANDLOCK_ACCESS_FS_TRUNCATE },
	[4] = { .handled_access_net = LANDLOCK_ACCESS_NET_BIND_TCP | LANDLOCK_ACCESS_NET_CONNECT_TCP },
	[5] = { .handled_access_fs = LANDLOCK_ACCESS_FS_IOCTL_DEV },
	[6] = { .scoped = LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | LANDLOCK_SCOPE_SIGNAL },
};

static struct vtr_landlock_ruleset known(int abi)
{
	struct vtr_landlock_ruleset all = { 0 };

	for (int i = 1; i <= abi && i < (int)(sizeof(since) / sizeof(since[0])); i++) {
		all.handled_access_fs |= since[i].handled_access_fs;
		all.handled_access_net |= since[i].handled_access_net;
		all.scoped |= since[i].scoped;
	}
	return all;
}

/* ---- what is allowed ---- */

/* A path that cannot be found here cannot be opened later either. */
static int allow(int ruleset, int folder, const char *path, uint64_t access)
{
	int found = openat(folder, path, O_PATH | O_CLOEXEC), error = 0;
	struct landlock_path_beneath_attr rule = { .allowed_access = access, .parent_fd = found };

	if (found < 0)
		return 0;
	if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0)
		error = -errno;
	vtr_fd_close(&found);
	return error;
}

static int allow_reading(int ruleset)
{
	DIR *root = opendir("/");
	const struct dirent *entry;
	int error = 0;

	if (!root)
		return -errno;
	while (!error && (entry = readdir(root)))
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 && strcmp(entry->d_name, "dev") != 0)
			error = allow(ruleset, dirfd(root), entry->d_name, LANDLOCK_ACCESS_FS_READ_FILE);
	closedir(root);
	return error;
}

static int allow_matching(int ruleset, const char *pattern, uint64_t access)
{
	glob_t found;
	int code = glob(pattern, 0, NULL, &found), error = 0;

	if (code)
		return code == GLOB_NOSPACE ? -ENOMEM : 0;
	for (size_t i = 0; i < found.gl_pathc && !error; i++)
		error = allow(ruleset, AT_FDCWD, found.gl_pathv[i], access);
	globfree(&found);
	return error;
}

/* Those of kernels, and of drivers that are not part of Linux. */
static const char *const devices[] = {
	"/dev/null",    "/dev/zero",     "/dev/full",   "/dev/random", "/dev/urandom", "/dev/dri",   "/dev/udmabuf",
	"/dev/kfd",     "/dev/dma_heap", "/dev/ion",    "/dev/dxg",    "/dev/nvidia*", "/dev/nvmap", "/dev/nvgpu",
	"/dev/nvhost*", "/dev/mali*",    "/dev/kgsl-*", "/dev/pvr*",   "/dev/galcore",
};

static int allow_devices(int ruleset, const char *render_node, uint64_t handled)
{
	const uint64_t access = handled & (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE |
	                                   LANDLOCK_ACCESS_FS_TRUNCATE | LANDLOCK_ACCESS_FS_IOCTL_DEV);
	int error = render_node ? allow(ruleset, AT_FDCWD, render_node, access) : 0;

	for (size_t i = 0; i < sizeof(devices) / sizeof(devices[0]) && !error; i++)
		error = allow_matching(ruleset, devices[i], access);
	return error;
}

int vtr_process_restrict_files(const char *render_node)
{
	int abi = (int)syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	const struct vtr_landlock_ruleset handled = known(abi);
	int ruleset = abi < 0 ? -1 : (int)syscall(SYS_landlock_create_ruleset, &handled, sizeof(handled), 0);

	if (ruleset < 0)
		return -errno;
	int error = allow_reading(ruleset);
	if (!error)
		error = allow_devices(ruleset, render_node, handled.handled_access_fs);
	if (!error && syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
		error = -errno;
	vtr_fd_close(&ruleset);
	return error ? error : abi;
}
