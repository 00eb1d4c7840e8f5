/* SPDX-License-Identifier: MIT */
#include "vfio/acquire.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "util/fd.h"
#include "vfio/uapi.h"

/*
 * Opens a device that nobody holds. Newer kernels have a node for each device (/dev/vfio/devices/vfioN), which has to be bound to
 * an IOMMU context of /dev/iommu before it answers; with older ones, or where those nodes are not given to us, the device comes out
 * of its IOMMU group, after that was put into a container. Neither way is anything mapped for DMA: we never let the device read our
 * memory.
 */

enum { PATH_SIZE = 320 };

static const char *last_part(char *path)
{
	char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* The name that the link at path points to; NULL when there is none. */
static const char *link_name(const char *path, char target[PATH_SIZE])
{
	ssize_t length = readlink(path, target, PATH_SIZE - 1);

	if (length < 0)
		return NULL;
	target[length] = '\0';
	return last_part(target);
}

static int open_error(const char *path, const char *bdf, int code, struct vtr_error *error)
{
	switch (code) {
	case EBUSY:
		return vtr_error_set(error, VTR_ERROR_HOST, code,
		                     "%s is held by another process (%s): take it from there with pid=", bdf, path);
	case EACCES:
	case EPERM:
		return vtr_error_set(error, VTR_ERROR_HOST, code,
		                     "no permission to open %s: give this user access (chown, or a udev rule)", path);
	default:
		return vtr_error_set(error, VTR_ERROR_HOST, code, "cannot open %s: %s", path, strerror(code));
	}
}

/* Not bound to a VFIO driver, and what to do. */
static int unbound_error(const struct vtr_vfio_host *host, const char *bdf, struct vtr_error *error)
{
	char path[PATH_SIZE], target[PATH_SIZE];

	snprintf(path, sizeof(path), "%s/bus/pci/devices/%s/driver", host->sys, bdf);
	const char *driver = link_name(path, target);
	return vtr_error_set(
		error, VTR_ERROR_HOST, ENODEV,
		"%s is bound to %.32s, not to a VFIO driver: write vfio-pci to its driver_override in sysfs, unbind it, and write "
		"its address to /sys/bus/pci/drivers_probe",
		bdf, driver ? driver : "no driver");
}

/* ---- device nodes ---- */

/* The device's node; false when the kernel has none, or not for us. */
static bool find_node(const struct vtr_vfio_host *host, const char *bdf, char node[PATH_SIZE])
{
	char path[PATH_SIZE];
	bool found = false;

	snprintf(path, sizeof(path), "%s/iommu", host->dev);
	if (access(path, R_OK | W_OK) < 0)
		return false;
	snprintf(path, sizeof(path), "%s/bus/pci/devices/%s/vfio-dev", host->sys, bdf);
	DIR *folder = opendir(path);
	if (!folder)
		return false;
	for (struct dirent *entry = readdir(folder); entry && !found; entry = readdir(folder)) {
		if (strncmp(entry->d_name, "vfio", 4) != 0)
			continue;
		snprintf(node, PATH_SIZE, "%s/vfio/devices/%.32s", host->dev, entry->d_name);
		found = access(node, R_OK | W_OK) == 0;
	}
	closedir(folder);
	return found;
}

static int open_node(const struct vtr_vfio_host *host, const char *node, const char *bdf, struct vtr_error *error)
{
	struct vtr_vfio_bind_iommufd bind = { .argsz = sizeof(bind) };
	char path[PATH_SIZE];
	int fd = open(node, O_RDWR | O_CLOEXEC), code = 0;

	if (fd < 0)
		return open_error(node, bdf, errno, error);
	snprintf(path, sizeof(path), "%s/iommu", host->dev);
	bind.iommufd = open(path, O_RDWR | O_CLOEXEC);
	if (bind.iommufd < 0)
		code = open_error(path, bdf, errno, error);
	else if (host->ioctl(fd, VTR_VFIO_DEVICE_BIND_IOMMUFD, &bind) < 0) // EBUSY: open through its group; EINVAL: another bind
		code = errno == EBUSY || errno == EINVAL
		               ? open_error(node, bdf, EBUSY, error)
		               : vtr_error_set(error, VTR_ERROR_HOST, errno, "%s cannot be bound to %s: %s", bdf, path,
		                               strerror(errno));
	vtr_fd_close(&bind.iommufd); // the device keeps what it needs
	if (code)
		vtr_fd_close(&fd);
	return code ? code : fd;
}

/* ---- groups ---- */

static int check_group(const struct vtr_vfio_host *host, int group, const char *path, const char *bdf, struct vtr_error *error)
{
	struct vfio_group_status status = { .argsz = sizeof(status) };

	if (host->ioctl(group, VFIO_GROUP_GET_STATUS, &status) < 0)
		return vtr_error_set(error, VTR_ERROR_HOST, errno, "%s is no VFIO group: %s", path, strerror(errno));
	if (!(status.flags & VFIO_GROUP_FLAGS_VIABLE))
		return vtr_error_set(
			error, VTR_ERROR_HOST, EPERM,
			"the IOMMU group of %s has devices that the host still uses: bind them to vfio-pci, too, or to nothing",
			bdf);
	return 0;
}

/* Puts the group into a container, and takes the device out of it. */
static int open_in_group(const struct vtr_vfio_host *host, int group, const char *bdf, struct vtr_error *error)
{
	char path[PATH_SIZE];
	int fd;

	snprintf(path, sizeof(path), "%s/vfio/vfio", host->dev);
	int container = open(path, O_RDWR | O_CLOEXEC);
	if (container < 0)
		return open_error(path, bdf, errno, error);
	if (host->ioctl(group, VFIO_GROUP_SET_CONTAINER, &container) < 0 ||
	    (host->ioctl(container, VFIO_SET_IOMMU, (void *)(uintptr_t)VFIO_TYPE1v2_IOMMU) < 0 &&
	     host->ioctl(container, VFIO_SET_IOMMU, (void *)(uintptr_t)VFIO_TYPE1_IOMMU) < 0))
		fd = vtr_error_set(
			error, VTR_ERROR_HOST, errno,
			"the group of %s gets no IOMMU: %s (load vfio_iommu_type1; boot with intel_iommu=on or an AMD IOMMU)", bdf,
			strerror(errno));
	else if ((fd = host->ioctl(group, VFIO_GROUP_GET_DEVICE_FD, (void *)(uintptr_t)bdf)) < 0)
		fd = vtr_error_set(error, VTR_ERROR_HOST, errno, "%s does not come out of its group: %s", bdf, strerror(errno));
	vtr_fd_close(&container); // the device keeps what it needs
	return fd;
}

static int open_by_group(const struct vtr_vfio_host *host, const char *bdf, struct vtr_error *error)
{
	char path[PATH_SIZE], target[PATH_SIZE];

	snprintf(path, sizeof(path), "%s/bus/pci/devices/%s/iommu_group", host->sys, bdf);
	const char *number = link_name(path, target);
	if (!number)
		return vtr_error_set(error, VTR_ERROR_HOST, ENODEV,
		                     "%s has no IOMMU group: boot with intel_iommu=on, or switch the IOMMU on in the firmware",
		                     bdf);
	snprintf(path, sizeof(path), "%s/vfio/%.16s", host->dev, number);
	int group = open(path, O_RDWR | O_CLOEXEC);
	if (group < 0)
		return errno == ENOENT ? unbound_error(host, bdf, error) : open_error(path, bdf, errno, error);
	int code = check_group(host, group, path, bdf, error);
	int fd = code ? code : open_in_group(host, group, bdf, error);
	vtr_fd_close(&group);
	return fd;
}

int vtr_vfio_acquire_open(const struct vtr_vfio_host *host, const char *bdf, struct vtr_error *error)
{
	char path[PATH_SIZE];

	snprintf(path, sizeof(path), "%s/bus/pci/devices/%s", host->sys, bdf);
	if (access(path, F_OK) < 0)
		return vtr_error_set(error, VTR_ERROR_HOST, ENODEV, "there is no PCI device %s", bdf);
	return find_node(host, bdf, path) ? open_node(host, path, bdf, error) : open_by_group(host, bdf, error);
}
