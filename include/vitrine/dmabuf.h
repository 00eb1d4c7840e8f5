/* SPDX-License-Identifier: MIT */
#ifndef VITRINE_DMABUF_H
#define VITRINE_DMABUF_H

#include <stdbool.h>
#include <stdint.h>

#include <vitrine/api.h>
#include <vitrine/error.h>
#include <vitrine/memory.h>

/*
 * dmabufs made from spans. A provider makes one file descriptor of many ranges, in order; the descriptor's byte i is byte i of the
 * spans' linear image. Providers ask the kernel only what they have checked themselves, so that what still fails is the host's.
 */

/* True when fd is a dmabuf. Asks the kernel, never mmaps. */
VTR_API bool vtr_dmabuf_is(int fd);

/* Probed once per process, at the first call: may udmabufs be made here? Fills *error (may be NULL) with the reason and remedy when
 * not: UNSUPPORTED. 0 or -errno. What creation needs of the file system is kept open from then on: call it before a sandbox closes
 * that. Any thread. */
VTR_API int vtr_udmabuf_probe(struct vtr_error *error);

/*
 * Makes one dmabuf of RAM spans through /dev/udmabuf (UDMABUF_CREATE_LIST). Adjacent ranges of one file are merged first. Every
 * span must begin on a page of its file and end on one, but for the last, whose last page is then part of the dmabuf as a whole.
 * Returns an fd (CLOEXEC) the caller owns, or -errno with *error (may be NULL) filled: UNSUPPORTED (what vtr_udmabuf_probe() says;
 * EOPNOTSUPP for memory that is not RAM with a file; EBADFD for a file that is no memfd; EPERM for one that is not sealed as
 * needed), HOST EINVAL (a span not page-aligned in its file: cannot be expressed; or no bytes at all), HOST E2BIG (list_limit or
 * size_limit_mb, named with the sysfs file to raise), REVOKED EFAULT (a region was removed), HOST for what fails or what the kernel
 * refuses for other reasons.
 */
VTR_API int vtr_udmabuf_create(const struct vtr_spans *spans, struct vtr_error *error);

/* Ways to map a dmabuf that its exporter may know. */
enum vtr_dmabuf_attribute {
	VTR_DMABUF_WRITE_COMBINING,
	VTR_DMABUF_ATTRIBUTES,
};
VTR_API const char *vtr_dmabuf_attribute_name(enum vtr_dmabuf_attribute attribute); /* "write-combining" */

/* How the CPU may look into a dmabuf. */
struct vtr_dmabuf_cpu {
	uint32_t attributes;      /* 1 << enum vtr_dmabuf_attribute: those that whoever made it could set; none in Linux 7.3 */
	struct vtr_error why_not; /* UNSUPPORTED, when it may not */
};

/* May the CPU map fd, a dmabuf, for reading? Asks its exporter; nothing is read and nothing changed. 0, or -errno with
 * cpu->why_not filled. */
VTR_API int vtr_dmabuf_probe_cpu(int fd, struct vtr_dmabuf_cpu *cpu);

/* Brackets CPU access to a mapped dmabuf (DMA_BUF_IOCTL_SYNC). write: false for reading. 0 or -errno; -EBUSY from begin when
 * devices have not done with it after 50 ms. */
VTR_API int vtr_dmabuf_begin_cpu(int fd, bool write);
VTR_API int vtr_dmabuf_end_cpu(int fd, bool write);

/* Size in bytes by lseek(SEEK_END), which moves the position of fd; 0 when the fd does not tell. */
VTR_API uint64_t vtr_dmabuf_size(int fd);

#endif
