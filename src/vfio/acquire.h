/* SPDX-License-Identifier: MIT */
#ifndef VTR_VFIO_ACQUIRE_H
#define VTR_VFIO_ACQUIRE_H

#include <stdbool.h>
#include <sys/types.h>

#include <vitrine/vfio.h>

enum { VTR_VFIO_BDF = 16 }; // "10000:01:00.0", as of a VMD

/* The machine that devices are got from: where its file systems are and what acts on them, so that a test can be one. */
struct vtr_vfio_host {
	const char *proc, *sys, *dev;
	/* as in libc: -1 with errno */
	int (*ioctl)(int fd, unsigned long request, void *argument);
	int (*pidfd_open)(pid_t pid, unsigned flags);
	int (*pidfd_getfd)(int pidfd, int fd, unsigned flags);
};

extern const struct vtr_vfio_host vtr_vfio_this_host;

/* As vtr_vfio_acquire(). */
int vtr_vfio_host_acquire(const struct vtr_vfio_host *host, const char *text, struct vtr_error *error);

/* acquire_process.c: the fd of device bdf (NULL: of the only one) that process pid holds. */
int vtr_vfio_acquire_process(const struct vtr_vfio_host *host, pid_t pid, const char *bdf, struct vtr_error *error);

/* acquire_open.c: opens the device. */
int vtr_vfio_acquire_open(const struct vtr_vfio_host *host, const char *bdf, struct vtr_error *error);

/* acquire.c: the full form of a PCI address, "0000:01:00.0". False when text is none. */
bool vtr_vfio_parse_bdf(const char *text, char bdf[VTR_VFIO_BDF]);

/* acquire_process.c: whether fd number fd of a process ("self" or its number) is a VFIO device, by its name. Asks nothing of the
 * file. */
bool vtr_vfio_fd_is_device(const struct vtr_vfio_host *host, const char *process, int fd);
/* acquire_process.c: the PCI address of the VFIO device that the process has open as fd. False when the kernel does not tell. */
bool vtr_vfio_fd_bdf(const struct vtr_vfio_host *host, const char *process, int fd, char bdf[VTR_VFIO_BDF]);

#endif
