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

/* Probed once per process: may udmabufs be made here? Fills *error with the reason and remedy when not. 0 or -errno. */
VTR_API int vtr_udmabuf_probe(struct vtr_error *error);

/*
 * Makes one dmabuf of RAM spans through /dev/udmabuf (UDMABUF_CREATE_LIST). Adjacent ranges of one file are merged first.
 * Returns an fd the caller owns, or -errno with *error filled: UNSUPPORTED (no /dev/udmabuf, or memory that is not a sealable
 * memfd), HOST EINVAL (a span not page-aligned in its file: cannot be expressed), HOST E2BIG (list_limit or size_limit_mb, named
 * with the sysfs file to raise), HOST for what the kernel refuses for other reasons.
 */
VTR_API int vtr_udmabuf_create(const struct vtr_spans *spans, struct vtr_error *error);

/* Brackets CPU access to a mapped dmabuf (DMA_BUF_IOCTL_SYNC). write: false for reading. 0 or -errno. */
VTR_API int vtr_dmabuf_begin_cpu(int fd, bool write);
VTR_API int vtr_dmabuf_end_cpu(int fd, bool write);

/* Size in bytes by lseek(SEEK_END); 0 when the fd does not tell. */
VTR_API uint64_t vtr_dmabuf_size(int fd);

#endif
