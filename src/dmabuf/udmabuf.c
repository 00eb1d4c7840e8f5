/* SPDX-License-Identifier: MIT */
#include "dmabuf/udmabuf.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/fd.h"

/*
 * Theory of operation
 *
 * udmabuf makes a dmabuf of pages of memfds: the zero-copy way for frames in guest RAM. The kernel says EINVAL to nearly everything
 * it does not like, and most of it can be lifted by the admin if he is told what it is. So everything is checked here first and
 * gets a message of its own:
 *
 *   the device       missing, or not ours to open                       vtr_udmabuf_probe(), once
 *   the memory       not RAM, not a memfd, sealed too little or too much check_region()
 *   the ranges       not on page borders                                 build_list()
 *   the limits       list_limit items, size_limit_mb                     check_limits()
 *
 * Limits are module parameters that an admin may raise while we run: they are read at each creation, through fds opened at the
 * probe, because a sandbox may have taken the file system away since. For the same reason the device stays open.
 *
 * Threads: the probe any, creation the device thread.
 */

/* ---- the device ---- */

static int create_list(int device, const struct udmabuf_create_list *list)
{
	int fd = ioctl(device, UDMABUF_CREATE_LIST, list);

	return fd < 0 ? -errno : fd;
}

static int open_parameter(const char *folder, const char *name)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	return open(path, O_RDONLY | O_CLOEXEC);
}

static int missing_error(struct vtr_error *error, const char *device, const char *parameters)
{
	if (access(parameters, F_OK) == 0)
		return vtr_error_set(error, VTR_ERROR_UNSUPPORTED, ENODEV,
		                     "%s is missing although the kernel has udmabuf: let this container or chroot see it", device);
	return vtr_error_set(error, VTR_ERROR_UNSUPPORTED, ENODEV,
	                     "%s is missing: load the udmabuf module (modprobe udmabuf; kernel option CONFIG_UDMABUF)", device);
}

static int permission_error(struct vtr_error *error, const char *device)
{
	struct group group, *found = NULL;
	struct stat info;
	char strings[1024];

	/* A group of its own, with access, is there to be joined; root's is not. */
	if (stat(device, &info) == 0 && info.st_gid != 0 && (info.st_mode & 0060) == 0060 &&
	    getgrgid_r(info.st_gid, &group, strings, sizeof(strings), &found) == 0 && found)
		return vtr_error_set(
			error, VTR_ERROR_UNSUPPORTED, EACCES,
			"no permission to open %s: add the user to the group %s (usermod -aG %s USER) and log in again", device,
			found->gr_name, found->gr_name);
	return vtr_error_set(
		error, VTR_ERROR_UNSUPPORTED, EACCES,
		"no permission to open %s: give a group of the user access (chgrp kvm %s; chmod 660 %s, or a udev rule)", device,
		device, device);
}

static int open_error(struct vtr_error *error, int code, const char *device, const char *parameters)
{
	switch (code) {
	case ENOENT:
	case ENODEV:
	case ENXIO:
		return missing_error(error, device, parameters);
	case EACCES:
	case EPERM:
		return permission_error(error, device);
	default:
		return vtr_error_set(error, VTR_ERROR_UNSUPPORTED, code, "cannot open %s: %s", device, strerror(code));
	}
}

int vtr_udmabuf_host_open(struct vtr_udmabuf_host *host, const char *device, const char *parameters, struct vtr_error *error)
{
	struct stat info;

	*host = (struct vtr_udmabuf_host){ .device = -1, .list_limit = -1, .size_limit_mb = -1, .parameters = parameters };
	host->create = create_list;
	host->device = open(device, O_RDWR | O_CLOEXEC);
	if (host->device < 0)
		return open_error(error, errno, device, parameters);
	if (fstat(host->device, &info) < 0 || !S_ISCHR(info.st_mode)) {
		vtr_udmabuf_host_close(host);
		return vtr_error_set(error, VTR_ERROR_UNSUPPORTED, ENOTTY, "%s is not a device", device);
	}
	host->list_limit = open_parameter(parameters, "list_limit");
	host->size_limit_mb = open_parameter(parameters, "size_limit_mb");
	return 0;
}

void vtr_udmabuf_host_close(struct vtr_udmabuf_host *host)
{
	vtr_fd_close(&host->device);
	vtr_fd_close(&host->list_limit);
	vtr_fd_close(&host->size_limit_mb);
}

/* The parameter's value now; 0 when the kernel has none or does not tell. */
static uint64_t read_parameter(int fd)
{
	char text[32];
	ssize_t length = fd < 0 ? -1 : pread(fd, text, sizeof(text) - 1, 0);

	if (length <= 0)
		return 0;
	text[length] = '\0';
	long long value = strtoll(text, NULL, 10);
	return value > 0 ? (uint64_t)value : 0;
}

/* ---- the memory ---- */

static int check_seals(int fd, struct vtr_error *error)
{
	int seals = fcntl(fd, F_GET_SEALS);

	if (seals < 0)
		return vtr_error_set(error, VTR_ERROR_UNSUPPORTED, EBADFD,
		                     "guest memory is a file, not a memfd: give the guest memory-backend-memfd,share=on "
		                     "instead of memory-backend-file");
	if (!(seals & F_SEAL_SHRINK))
		return vtr_error_set(error, VTR_ERROR_UNSUPPORTED, EPERM,
		                     "guest memory is a memfd without F_SEAL_SHRINK, or a file on tmpfs: the VMM must seal it "
		                     "(QEMU's memory-backend-memfd does, unless seal=off; memory-backend-file cannot)");
	if (seals & F_SEAL_WRITE)
		return vtr_error_set(error, VTR_ERROR_UNSUPPORTED, EPERM,
		                     "guest memory is sealed against writing (F_SEAL_WRITE): udmabuf takes writable memfds only");
	return 0;
}

bool vtr_udmabuf_takes(int fd)
{
	return check_seals(fd, NULL) == 0;
}

static int check_region(const struct vtr_region *region, struct vtr_error *error)
{
	if (!region->mapped)
		return vtr_error_set(error, VTR_ERROR_REVOKED, EFAULT, "the VMM unmapped guest memory of the resource");
	if (region->kind != VTR_REGION_RAM)
		return vtr_error_set(error, VTR_ERROR_UNSUPPORTED, EOPNOTSUPP,
		                     "memory at 0x%" PRIx64 " is of kind %s: udmabuf takes the guest's RAM only", region->address,
		                     vtr_region_kind_name(region->kind));
	if (vtr_region_faulted(region))
		return vtr_error_set(error, VTR_ERROR_HOST, EFAULT, "the file of the guest's memory was truncated");
	return check_seals(region->fd, error);
}

/* ---- the ranges ---- */

static bool same_file(int a, int b)
{
	struct stat info_a, info_b;

	return a == b || (fstat(a, &info_a) == 0 && fstat(b, &info_b) == 0 && info_a.st_dev == info_b.st_dev &&
	                  info_a.st_ino == info_b.st_ino);
}

/* Appends a range, or adds it to the last one when it continues that in the same file. */
static void append(struct udmabuf_create_list *list, int fd, uint64_t offset, uint64_t size)
{
	struct udmabuf_create_item *last = &list->list[list->count];

	if (list->count && last[-1].offset + last[-1].size == offset && same_file((int)last[-1].memfd, fd)) {
		last[-1].size += size;
		return;
	}
	*last = (struct udmabuf_create_item){ .memfd = (uint32_t)fd, .offset = offset, .size = size };
	list->count++;
}

/* Fills list, which has room for spans->count items. 0 or -errno. */
static int build_list(struct udmabuf_create_list *list, const struct vtr_spans *spans, struct vtr_error *error)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	const struct vtr_region *checked = NULL;

	for (size_t i = 0; i < spans->count; i++) {
		const struct vtr_span *span = &spans->items[i];
		int code = span->region == checked ? 0 : check_region(span->region, error);

		if (code)
			return code;
		checked = span->region;
		uint64_t offset = checked->offset + span->offset;
		uint64_t size = i + 1 == spans->count ? (span->length + page - 1) & ~(page - 1) : span->length;
		if ((offset | size) & (page - 1))
			return vtr_error_set(error, VTR_ERROR_HOST, EINVAL,
			                     "range %zu of %zu (offset 0x%" PRIx64 ", %" PRIu64 " bytes) is not on page borders: "
			                     "no udmabuf can be made of it",
			                     i, spans->count, offset, span->length);
		append(list, checked->fd, offset, size);
	}
	return 0;
}

/* ---- creation ---- */

static int check_limits(const struct vtr_udmabuf_host *host, const struct udmabuf_create_list *list, uint64_t length,
                        struct vtr_error *error)
{
	uint64_t items = read_parameter(host->list_limit), mib = read_parameter(host->size_limit_mb);
	uint64_t needed = (length + (1 << 20) - 1) >> 20;

	if (items && list->count > items)
		return vtr_error_set(error, VTR_ERROR_HOST, E2BIG,
		                     "%" PRIu32 " ranges, one udmabuf takes %" PRIu64 ": raise the limit as root (echo %" PRIu32
		                     " > %s/list_limit)",
		                     list->count, items, list->count, host->parameters);
	if (mib && needed > mib)
		return vtr_error_set(error, VTR_ERROR_HOST, E2BIG,
		                     "%" PRIu64 " MiB, one udmabuf takes %" PRIu64 ": raise the limit as root (echo %" PRIu64
		                     " > %s/size_limit_mb)",
		                     needed, mib, needed, host->parameters);
	return 0;
}

int vtr_udmabuf_host_create_list(const struct vtr_udmabuf_host *host, const struct udmabuf_create_list *list, uint64_t length,
                                 struct vtr_error *error)
{
	int result = check_limits(host, list, length, error);

	if (result)
		return result;
	result = host->create(host->device, list);
	if (result < 0)
		vtr_error_set(error, VTR_ERROR_HOST, -result,
		              "the kernel made no udmabuf of %" PRIu32 " ranges, %" PRIu64 " bytes: %s", list->count, length,
		              strerror(-result));
	return result;
}

int vtr_udmabuf_host_create(const struct vtr_udmabuf_host *host, const struct vtr_spans *spans, struct vtr_error *error)
{
	if (!spans->length)
		return vtr_error_set(error, VTR_ERROR_HOST, EINVAL, "a udmabuf of no bytes");
	struct udmabuf_create_list *list = malloc(sizeof(*list) + spans->count * sizeof(list->list[0]));
	if (!list)
		return vtr_error_set(error, VTR_ERROR_HOST, ENOMEM, "out of memory for a list of %zu ranges", spans->count);
	*list = (struct udmabuf_create_list){ .flags = UDMABUF_FLAGS_CLOEXEC };
	int result = build_list(list, spans, error);
	if (!result)
		result = vtr_udmabuf_host_create_list(host, list, spans->length, error);
	free(list);
	return result;
}

/* ---- the host's one device ---- */

static struct {
	pthread_once_t once;
	struct vtr_udmabuf_host host;
	int result;
	struct vtr_error error;
} probe = { .once = PTHREAD_ONCE_INIT };

static void open_host(void)
{
	probe.result = vtr_udmabuf_host_open(&probe.host, "/dev/udmabuf", "/sys/module/udmabuf/parameters", &probe.error);
}

int vtr_udmabuf_probe(struct vtr_error *error)
{
	pthread_once(&probe.once, open_host);
	if (probe.result && error)
		*error = probe.error;
	return probe.result;
}

const struct vtr_udmabuf_host *vtr_udmabuf_this_host(struct vtr_error *error)
{
	return vtr_udmabuf_probe(error) ? NULL : &probe.host;
}

int vtr_udmabuf_create(const struct vtr_spans *spans, struct vtr_error *error)
{
	int result = vtr_udmabuf_probe(error);

	return result ? result : vtr_udmabuf_host_create(&probe.host, spans, error);
}
