/* SPDX-License-Identifier: MIT */
#ifndef VITRINE_LOOP_H
#define VITRINE_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include <vitrine/api.h>

/*
 * Event loop: one epoll instance, used by one thread. An embedding VMM polls vtr_loop_fd() in its own loop and calls
 * vtr_loop_dispatch(loop, 0) when it is readable. A source never fires after vtr_source_remove() returned, also not for an event
 * that was collected before in the same dispatch; a source may remove itself or any other from its callback.
 */
struct vtr_loop;
struct vtr_source;

/* events: EPOLLIN, EPOLLOUT, EPOLLHUP, EPOLLERR */
typedef void (*vtr_fd_func)(int fd, uint32_t events, void *data);
typedef void (*vtr_source_func)(void *data);

VTR_API struct vtr_loop *vtr_loop_create(void);       /* NULL when the system has no fds or memory left (errno) */
VTR_API void vtr_loop_destroy(struct vtr_loop *loop); /* removes what sources are left; NULL is fine */
VTR_API int vtr_loop_fd(const struct vtr_loop *loop); /* owned by the loop */

/* Waits up to timeout_ms (-1: for ever) and calls what is due. Returns 0 or -errno; EINTR is not an error. */
VTR_API int vtr_loop_dispatch(struct vtr_loop *loop, int timeout_ms);

/* Dispatches until vtr_loop_stop(), which may be called from a callback or from another thread. Returns 0 or -errno. */
VTR_API int vtr_loop_run(struct vtr_loop *loop);
VTR_API void vtr_loop_stop(struct vtr_loop *loop);

/* Calls func when fd is ready. fd stays the caller's and must outlive the source. NULL with errno on failure. */
VTR_API struct vtr_source *vtr_loop_add_fd(struct vtr_loop *loop, int fd, uint32_t events, vtr_fd_func func, void *data);
VTR_API int vtr_source_set_events(struct vtr_source *source, uint32_t events); /* 0 or -errno; fd sources only */

/* A timer, not armed. vtr_timer_arm: fires once at CLOCK_MONOTONIC deadline_ns (at once when that is past); 0 disarms. */
VTR_API struct vtr_source *vtr_loop_add_timer(struct vtr_loop *loop, vtr_source_func func, void *data);
VTR_API void vtr_timer_arm(struct vtr_source *timer, uint64_t deadline_ns);

/* Blocks signo for the calling thread and calls func when it arrives; call before threads start. */
VTR_API struct vtr_source *vtr_loop_add_signal(struct vtr_loop *loop, int signo, vtr_source_func func, void *data);

/* An event any thread can raise; several raises before the dispatch are one call. */
VTR_API struct vtr_source *vtr_loop_add_event(struct vtr_loop *loop, vtr_source_func func, void *data);
VTR_API void vtr_event_raise(struct vtr_source *event);

VTR_API void vtr_source_remove(struct vtr_source *source); /* NULL is fine */

VTR_API uint64_t vtr_now_ns(void); /* CLOCK_MONOTONIC */

#endif
