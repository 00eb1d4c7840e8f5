/* SPDX-License-Identifier: MIT */
#ifndef VTR_UTIL_EVENTFD_H
#define VTR_UTIL_EVENTFD_H

#include <stdbool.h>

/* Is fd an eventfd? Anything else that is written to could block, or mean something. Neither reads nor counts. */
bool vtr_fd_is_eventfd(int fd);

/* Makes writing to it not block, for everybody who holds it; -1 is fine. */
void vtr_eventfd_set_nonblocking(int eventfd);
/* Adds 1, without blocking: a full counter wakes its reader all the same. -1 is fine. */
void vtr_eventfd_signal(int eventfd);
/* Takes the count, without blocking whatever the flags of the fd are. Systems without that leave the count as it is. */
void vtr_eventfd_clear(int eventfd);

#endif
