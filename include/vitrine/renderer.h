/* SPDX-License-Identifier: MIT */
#ifndef VITRINE_RENDERER_H
#define VITRINE_RENDERER_H

#include <stdbool.h>
#include <stdint.h>

#include <vitrine/api.h>
#include <vitrine/error.h>
#include <vitrine/loop.h>

/*
 * What draws for a guest without a GPU of its own: 3D contexts and resources (virtio 1.3, 5.7.6.8 "3D"), by virglrenderer. Given to
 * vtr_gpu_create() in its options. Device thread only; one renderer in a process at a time, because virglrenderer is one.
 */
struct vtr_renderer;

struct vtr_renderer_options {
	const char *render_node; // may be NULL: the first GPU that EGL has, else software. "/dev/dri/renderD128"
	/* An EGLDisplay to draw with: the one of the display that shows (vtr_display_egl()), which then samples what is drawn
	 * without a copy. May be NULL: one of its own. Not owned; must be alive as long as the renderer. Not used with isolate. */
	void *egl_display;
	/* virglrenderer runs in a process of its own: a crash there, or a shader that never ends, loses the guest's 3D contexts and
	 * resources, and nothing else; the next context gets a new process. */
	bool isolate;
	const char *program;  // may be NULL: vitrine-renderer where it is installed. The program of that process
	uint64_t max_hostmem; /* bytes: what the guest is told that there is, and, with isolate, what the process may allocate; 0:
	                         no limit */
};

/* False when the library was built without virglrenderer. */
VTR_API bool vtr_virgl_is_built(void);

/* NULL with *error (may be NULL) filled: HOST and what to do about it (no EGL, virglrenderer refuses); UNSUPPORTED ENOSYS when the
 * library was built without virglrenderer; HOST EBUSY when there is one already. */
VTR_API struct vtr_renderer *vtr_virgl_create(struct vtr_loop *loop, const struct vtr_renderer_options *options,
                                              struct vtr_error *error);

/* A renderer that draws by renderer (taken, also on failure) and writes all that is asked of it to a file (docs/3d.md), which is
 * private to its user. NULL with *error (may be NULL) filled: HOST, the file cannot be written. */
VTR_API struct vtr_renderer *vtr_renderer_record(struct vtr_renderer *renderer, const char *path, struct vtr_error *error);

/* After the gpu that has it. NULL is fine. */
VTR_API void vtr_renderer_destroy(struct vtr_renderer *renderer);

/* For people: "virgl on llvmpipe (LLVM 15.0.6, 256 bits)". Valid as long as the renderer. */
VTR_API const char *vtr_renderer_description(const struct vtr_renderer *renderer);

/* The process of its own that it runs in at the moment, -1: none; 0: it runs in this one. */
VTR_API int vtr_renderer_pid(const struct vtr_renderer *renderer);

#endif
