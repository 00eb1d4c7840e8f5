/* SPDX-License-Identifier: MIT */
#include "dmabuf/cpu_map.h"

#include <errno.h>
#include <linux/vfio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

/*
 * Theory of operation
 *
 * Whether the CPU may map a dmabuf is for its exporter to say. udmabuf and most drivers let it; vfio-pci does not, up to and with
 * Linux 7.3. A change in review lets it, uncached as the device's own mapping is, and adds an attribute by which whoever made the
 * dmabuf gets mappings that are write-combining, which reads several times as fast. So nothing is concluded from who the exporter
 * is, or from the kernel's version; each dmabuf is asked:
 *
 *   is it a dmabuf?                 an fd that came from a peer may be anything, and is not mapped to find out
 *   can accesses be bracketed?      DMA_BUF_IOCTL_SYNC, without which what is read need not be what was written
 *   does mmap work?                 one page is mapped, not touched, and unmapped
 *   which attributes does it know?  PROBE, of those whose number is settled
 *
 * All the kernel's ways to say no mean the same: not here. An attribute is only asked about. It belongs to the dmabuf and not to
 * the mapping, and the dmabufs that we map are the VMM's, who may map them for its guest: registers must not be combined.
 */

/* Of what is in review the number is not settled: it goes here when it is, and nothing else has to be changed. */
static const struct vtr_cpu_attribute attributes[VTR_DMABUF_ATTRIBUTES] = {
	[VTR_DMABUF_WRITE_COMBINING] = { "write-combining", 0 /* VFIO_DEVICE_FEATURE_DMA_BUF_MEMATTR */ },
};

static int system_ioctl(int fd, unsigned long request, void *argument)
{
	return ioctl(fd, request, argument);
}

static const struct vtr_cpu_map_host this_host = { .ioctl = system_ioctl, .attributes = attributes };

/* 0 or -errno. */
static int try_bracket(int fd)
{
	int error = vtr_dmabuf_begin_cpu(fd, false);

	return error ? error : vtr_dmabuf_end_cpu(fd, false);
}

/* 0 or -errno. */
static int try_mmap(int fd)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	void *data = mmap(NULL, page, PROT_READ, MAP_SHARED | MAP_NORESERVE, fd, 0);

	if (data == MAP_FAILED)
		return -errno;
	munmap(data, page);
	return 0;
}

static bool has_attribute(const struct vtr_cpu_map_host *host, int fd, const struct vtr_cpu_attribute *attribute)
{
	struct vfio_device_feature probe = {
		.argsz = sizeof(probe),
		.flags = VFIO_DEVICE_FEATURE_PROBE | VFIO_DEVICE_FEATURE_SET | attribute->feature,
	};

	return attribute->feature && host->ioctl(fd, VFIO_DEVICE_FEATURE, &probe) == 0;
}

int vtr_cpu_map_probe(const struct vtr_cpu_map_host *host, int fd, struct vtr_dmabuf_cpu *cpu)
{
	int error;

	*cpu = (struct vtr_dmabuf_cpu){ 0 };
	if (!vtr_dmabuf_is(fd))
		return vtr_error_set(&cpu->why_not, VTR_ERROR_UNSUPPORTED, EINVAL, "this is no dmabuf");
	error = try_bracket(fd);
	if (error)
		return vtr_error_set(&cpu->why_not, VTR_ERROR_UNSUPPORTED, -error,
		                     "the dmabuf's exporter does not let the CPU in: %s", strerror(-error));
	error = try_mmap(fd);
	if (error)
		return vtr_error_set(
			&cpu->why_not, VTR_ERROR_UNSUPPORTED, -error,
			"the dmabuf's exporter does not let it be mapped: %s (vfio-pci of Linux 7.3 and older never does)",
			strerror(-error));
	for (unsigned i = 0; i < VTR_DMABUF_ATTRIBUTES; i++)
		cpu->attributes |= has_attribute(host, fd, &host->attributes[i]) ? 1u << i : 0;
	return 0;
}

int vtr_dmabuf_probe_cpu(int fd, struct vtr_dmabuf_cpu *cpu)
{
	return vtr_cpu_map_probe(&this_host, fd, cpu);
}

const char *vtr_dmabuf_attribute_name(enum vtr_dmabuf_attribute attribute)
{
	return attributes[attribute].name;
}
