/* SPDX-License-Identifier: MIT */
#ifndef VTR_UTIL_FD_H
#define VTR_UTIL_FD_H

#include <stddef.h>
#include <stdint.h>

/* Closes *fd when it is one and sets it to -1. */
void vtr_fd_close(int *fd);

/* Returns *fd and sets it to -1: ownership goes to the caller. */
int vtr_fd_take(int *fd);

/* A memfd of size bytes, CLOEXEC, sealed against shrinking and growing. An fd or -errno. */
int vtr_memfd_create(const char *name, uint64_t size);

/* A listening UNIX stream socket at path, mode 0600, CLOEXEC and non-blocking. A socket file that nobody listens on is replaced;
 * -EADDRINUSE when somebody does, -ENAMETOOLONG, or another -errno. */
int vtr_unix_listen(const char *path);

/* A connected UNIX stream socket, CLOEXEC and blocking. An fd or -errno. */
int vtr_unix_connect(const char *path);

/* The same, non-blocking from birth: a listener whose backlog is full is waited for until deadline_ns (vtr_now_ns()), -ETIMEDOUT.
 */
int vtr_unix_connect_until(const char *path, uint64_t deadline_ns);

#endif
