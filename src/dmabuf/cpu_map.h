/* SPDX-License-Identifier: MIT */
#ifndef VTR_DMABUF_CPU_MAP_H
#define VTR_DMABUF_CPU_MAP_H

#include <stddef.h>
#include <stdint.h>

#include <vitrine/dmabuf.h>

/* A way to map a dmabuf that its exporter can be asked for: a VFIO_DEVICE_FEATURE of the dmabuf's fd. */
struct vtr_cpu_attribute {
	const char *name;
	uint32_t feature; // its number; 0: not settled, never asked for
};

/* The kernel, as far as CPU mappings of dmabufs need it: parameters, so that exporters can be played that no kernel has yet. */
struct vtr_cpu_map_host {
	int (*ioctl)(int fd, unsigned long request, void *argument);
	const struct vtr_cpu_attribute *attributes; // VTR_DMABUF_ATTRIBUTES
};

/* As vtr_dmabuf_probe_cpu(). */
int vtr_cpu_map_probe(const struct vtr_cpu_map_host *host, int fd, struct vtr_dmabuf_cpu *cpu);

#endif
