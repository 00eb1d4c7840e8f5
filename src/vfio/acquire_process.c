/* SPDX-License-Identifier: MIT */
#include "vfio/acquire.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <linux/capability.h>

#include "util/fd.h"

/*
 * Theory of operation
 *
 * A running VMM holds the fds of its devices; /proc shows which of its fds those are, fdinfo which PCI device each is, and
 * pidfd_getfd() makes a duplicate of one. The VMM notices nothing. Other ways of holding a device (VFIO groups, containers) are not
 * needed: the device's fd keeps everything behind it.
 *
 * The process may end and its number be used again while we look. The pidfd is taken first and stands for one process; should /proc
 * already show another one, the fd number found there may be anything, so what the duplicate is, is looked at again afterwards.
 *
 * This takes the right to attach to the process as a debugger. When it is missing there are several reasons, each with a remedy of
 * its own, and the kernel says EPERM to all of them: explain_permission() finds out which.
 */

enum { PATH_SIZE = 320, LINK_SIZE = 256 };

/* 1 when it is one, 0 when not, or -errno. */
static int look_at(const struct vtr_vfio_host *host, const char *process, int fd)
{
	char path[PATH_SIZE], link[LINK_SIZE];

	snprintf(path, sizeof(path), "%s/%s/fd/%d", host->proc, process, fd);
	ssize_t length = readlink(path, link, sizeof(link) - 1);
	if (length < 0)
		return -errno;
	link[length] = '\0';
	/* a device got from its group, or a device node wherever a container has it */
	return strcmp(link, "anon_inode:[vfio-device]") == 0 || strstr(link, "/vfio/devices/vfio");
}

bool vtr_vfio_fd_is_device(const struct vtr_vfio_host *host, const char *process, int fd)
{
	return look_at(host, process, fd) > 0;
}

bool vtr_vfio_fd_bdf(const struct vtr_vfio_host *host, const char *process, int fd, char bdf[VTR_VFIO_BDF])
{
	static const char key[] = "vfio-device-syspath:";
	char path[PATH_SIZE], line[1024];
	bool found = false;

	snprintf(path, sizeof(path), "%s/%s/fdinfo/%d", host->proc, process, fd);
	FILE *file = fopen(path, "re");
	while (file && !found && fgets(line, sizeof(line), file)) {
		line[strcspn(line, "\n")] = '\0';
		const char *last = strrchr(line, '/');
		found = strncmp(line, key, sizeof(key) - 1) == 0 && last && vtr_vfio_parse_bdf(last + 1, bdf);
	}
	if (file)
		fclose(file);
	return found;
}

/* ---- rights ---- */

/* A number in a file of one; or behind key at the beginning of a line. -1 when there is none. */
static int64_t read_number(const char *root, const char *name, const char *key, int base)
{
	char path[PATH_SIZE], line[256];
	size_t skip = key ? strlen(key) : 0;
	int64_t value = -1;

	snprintf(path, sizeof(path), "%s/%s", root, name);
	FILE *file = fopen(path, "re");
	while (file && value < 0 && fgets(line, sizeof(line), file))
		if (!key || strncmp(line, key, skip) == 0)
			value = strtoll(line + skip, NULL, base);
	if (file)
		fclose(file);
	return value;
}

static bool may_ptrace(const struct vtr_vfio_host *host)
{
	int64_t effective = read_number(host->proc, "self/status", "CapEff:", 16);

	return effective > 0 && effective >> CAP_SYS_PTRACE & 1;
}

static int explain_permission(const struct vtr_vfio_host *host, pid_t pid, int code, struct vtr_error *error)
{
	char status[32];
	int64_t scope = read_number(host->proc, "sys/kernel/yama/ptrace_scope", NULL, 10);

	snprintf(status, sizeof(status), "%d/status", (int)pid);
	int64_t owner = read_number(host->proc, status, "Uid:", 10), own = read_number(host->proc, "self/status", "Uid:", 10);
	if (scope == 3)
		return vtr_error_set(
			error, VTR_ERROR_HOST, code,
			"no process may take fds of another until reboot (kernel.yama.ptrace_scope is 3): pass the device as fd=");
	if (may_ptrace(host))
		return vtr_error_set(
			error, VTR_ERROR_HOST, code,
			"CAP_SYS_PTRACE is not enough for process %d: a seccomp filter, a security module or the user namespace "
			"of this process forbids it (in a container: --cap-add SYS_PTRACE --pid=host)",
			(int)pid);
	if (owner != own)
		return vtr_error_set(
			error, VTR_ERROR_HOST, code,
			"process %d belongs to user %" PRId64 ", this one to %" PRId64
			": run as that user, or with CAP_SYS_PTRACE (setcap cap_sys_ptrace+ep, or AmbientCapabilities=)",
			(int)pid, owner, own);
	if (scope > 0)
		return vtr_error_set(error, VTR_ERROR_HOST, code,
		                     "taking an fd of process %d needs CAP_SYS_PTRACE (setcap cap_sys_ptrace+ep), because "
		                     "kernel.yama.ptrace_scope is %" PRId64,
		                     (int)pid, scope);
	return vtr_error_set(error, VTR_ERROR_HOST, code,
	                     "process %d has privileges that this one lacks, or cannot be dumped: CAP_SYS_PTRACE is needed "
	                     "(setcap cap_sys_ptrace+ep)",
	                     (int)pid);
}

static int explain(const struct vtr_vfio_host *host, pid_t pid, int code, struct vtr_error *error)
{
	switch (code) {
	case ENOENT:
	case ESRCH:
		return vtr_error_set(error, VTR_ERROR_HOST, ESRCH, "there is no process %d", (int)pid);
	case EACCES:
	case EPERM:
		return explain_permission(host, pid, code, error);
	case ENOSYS:
		return vtr_error_set(error, VTR_ERROR_UNSUPPORTED, code,
		                     "this kernel has no pidfd_getfd (Linux 5.6): pass the device as fd=");
	default:
		return vtr_error_set(error, VTR_ERROR_HOST, code, "process %d: %s", (int)pid, strerror(code));
	}
}

/* ---- which fd ---- */

struct search {
	const char *wanted;     // BDF; NULL: any
	int fd;                 // the process's number of what was found; -1: nothing
	char bdf[VTR_VFIO_BDF]; // of it; "" when unknown
	unsigned devices;       // different ones that were seen
	char names[128];        // of them
};

static void see(struct search *search, int fd, const char *bdf)
{
	size_t used = strlen(search->names);

	/* the same device again, through a duplicate; an unknown one is like no other */
	if (*bdf && strstr(search->names, bdf))
		return;
	search->devices++;
	snprintf(search->names + used, sizeof(search->names) - used, "%s%s", used ? ", " : "",
	         *bdf ? bdf : "one of unknown address");
	if (search->wanted ? strcmp(bdf, search->wanted) == 0 : search->fd < 0) {
		search->fd = fd;
		snprintf(search->bdf, sizeof(search->bdf), "%s", bdf);
	}
}

static int look_through(const struct vtr_vfio_host *host, const char *process, struct search *search)
{
	char path[PATH_SIZE];

	snprintf(path, sizeof(path), "%s/%s/fd", host->proc, process);
	DIR *folder = opendir(path);
	int code = folder ? 0 : -errno;

	for (struct dirent *entry = folder ? readdir(folder) : NULL; entry && !code; entry = readdir(folder)) {
		char bdf[VTR_VFIO_BDF] = "";
		int fd = atoi(entry->d_name), is = entry->d_name[0] == '.' ? 0 : look_at(host, process, fd);

		/* root may list the fds of a process that it may not look into; one that was closed meanwhile is no matter */
		if (is == -EACCES || is == -EPERM)
			code = is;
		if (is <= 0)
			continue;
		vtr_vfio_fd_bdf(host, process, fd, bdf);
		see(search, fd, bdf);
	}
	if (folder)
		closedir(folder);
	return code;
}

static int check_found(const struct search *search, pid_t pid, struct vtr_error *error)
{
	if (!search->devices)
		return vtr_error_set(error, VTR_ERROR_HOST, ENODEV, "process %d holds no VFIO device: is it the VMM itself?",
		                     (int)pid);
	if (search->fd < 0)
		return vtr_error_set(error, VTR_ERROR_HOST, ENODEV, "process %d does not hold %s, but %s", (int)pid, search->wanted,
		                     search->names);
	if (!search->wanted && search->devices > 1)
		return vtr_error_set(error, VTR_ERROR_HOST, EINVAL, "process %d holds %s: say which with device=", (int)pid,
		                     search->names);
	return 0;
}

/* The duplicate is what was looked for? */
static bool is_found(const struct vtr_vfio_host *host, int fd, const struct search *search)
{
	char bdf[VTR_VFIO_BDF] = "";

	if (!vtr_vfio_fd_is_device(host, "self", fd))
		return false;
	vtr_vfio_fd_bdf(host, "self", fd, bdf);
	return strcmp(bdf, search->bdf) == 0;
}

int vtr_vfio_acquire_process(const struct vtr_vfio_host *host, pid_t pid, const char *bdf, struct vtr_error *error)
{
	struct search search = { .wanted = bdf, .fd = -1 };
	char process[16];
	int pidfd = host->pidfd_open(pid, 0), fd, code;

	if (pidfd < 0)
		return explain(host, pid, errno, error);
	snprintf(process, sizeof(process), "%d", (int)pid);
	fd = look_through(host, process, &search);
	if (fd)
		fd = explain(host, pid, -fd, error);
	else
		fd = check_found(&search, pid, error);
	if (fd)
		goto close_pidfd;
	fd = host->pidfd_getfd(pidfd, search.fd, 0); // CLOEXEC by itself
	if (fd < 0) {
		code = errno;
		fd = code == EBADF ? vtr_error_set(error, VTR_ERROR_HOST, EAGAIN, "process %d has just closed its device", (int)pid)
		                   : explain(host, pid, code, error);
	} else if (!is_found(host, fd, &search)) {
		vtr_fd_close(&fd);
		fd = vtr_error_set(error, VTR_ERROR_HOST, EAGAIN, "process %d has just changed its fds: try again", (int)pid);
	}
close_pidfd:
	vtr_fd_close(&pidfd);
	return fd;
}
