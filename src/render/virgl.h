/* SPDX-License-Identifier: MIT */
#ifndef VTR_RENDER_VIRGL_H
#define VTR_RENDER_VIRGL_H

#include <epoxy/egl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#ifndef VIRGL_RENDERER_UNSTABLE_APIS
#define VIRGL_RENDERER_UNSTABLE_APIS // callbacks version 4, fences of contexts
#endif
#include <virgl/virglrenderer.h>

#include <vitrine/log.h>
#include <vitrine/loop.h>

#include "render/renderer.h"

/* virglrenderer in this process: what its files know of each other. virgl.c says how they belong together. */

/* ---- virgl_display.c: the EGLDisplay that is drawn with ---- */

/* Held by the renderer and by each EGLImage that it gave away; who lets go last ends it, if it is ours. */
struct vtr_virgl_display {
	atomic_uint holders;
	EGLDisplay display;
	bool ours; // to be terminated
};

/* Calls try with EGLDisplays, the best first, until it returns 0. What options says is the only one, if it says. NULL with *error
 * of the last that was tried. */
struct vtr_virgl_display *vtr_virgl_display_choose(const struct vtr_renderer_options *options,
                                                   int (*try)(void *data, EGLDisplay display, struct vtr_error *error), void *data,
                                                   struct vtr_error *error);
struct vtr_virgl_display *vtr_virgl_display_hold(struct vtr_virgl_display *display);
void vtr_virgl_display_let_go(struct vtr_virgl_display *display); /* any thread; NULL is fine */
bool vtr_virgl_has_extension(const char *extensions, const char *name);

/* ---- virgl_gl.c: GL contexts ---- */

enum { VTR_VIRGL_MAX_SPARE = 64 };

/* All contexts share objects with root, which virglrenderer never sees: what is drawn with is visible everywhere. */
struct vtr_virgl_gl {
	struct vtr_virgl_display *held;
	EGLDisplay display;
	EGLConfig config;
	bool gles;
	EGLContext root;
	EGLContext current; // that virglrenderer made current on the device thread
	int major, minor;   // of root: the best there is
	EGLContext spare[VTR_VIRGL_MAX_SPARE];
	unsigned n_spare;
	atomic_bool lost; // a context could not be made current
	bool replaced;    // all contexts are root
	pthread_t thread; // the device thread: virglrenderer makes contexts current on one of its own, too
};

/* Chooses a display on which contexts can be made. 0, or -errno with *error. Leaves root current. */
int vtr_virgl_gl_init(struct vtr_virgl_gl *gl, const struct vtr_renderer_options *options, struct vtr_error *error);
void vtr_virgl_gl_finish(struct vtr_virgl_gl *gl);
/* Before virglrenderer is called: what it believes to be current is. False: the display is gone. */
bool vtr_virgl_gl_enter(struct vtr_virgl_gl *gl);
/* So many more contexts can be made for certain: virglrenderer cannot do without those that it asks for. 0 or -ENOMEM. */
int vtr_virgl_gl_reserve(struct vtr_virgl_gl *gl, unsigned count);
/* The display is gone: another of its own, with an empty context, for virglrenderer to clean up in. False: there is none. */
bool vtr_virgl_gl_replace(struct vtr_virgl_gl *gl);
/* root is current until virglrenderer's context 0 is again. False: the display is gone. */
bool vtr_virgl_gl_begin(struct vtr_virgl_gl *gl);
void vtr_virgl_gl_end(struct vtr_virgl_gl *gl);

/* Those of struct virgl_renderer_callbacks; their cookie is the struct vtr_virgl. */
virgl_renderer_gl_context vtr_virgl_create_gl_context(void *cookie, int scanout, struct virgl_renderer_gl_ctx_param *param);
void vtr_virgl_destroy_gl_context(void *cookie, virgl_renderer_gl_context context);
int vtr_virgl_make_current(void *cookie, int scanout, virgl_renderer_gl_context context);
void *vtr_virgl_get_egl_display(void *cookie);

/* ---- virgl_resource.c, virgl_memory.c ---- */

struct vtr_virgl_resource {
	uint32_t id;
	bool blob;
	/* of CREATE_3D */
	uint32_t target, nr_samples, width, height;
	uint32_t pixel;        // bytes of one; 0: not known
	uint64_t size;         // of a blob, bytes
	struct iovec *backing; // NULL: none
	int n_backing;
	struct vtr_virgl_resource *next; // in its bucket
};

enum {
	VTR_VIRGL_BUCKETS = 1024,
	VTR_VIRGL2_VIDEO_MEMORY = 692, /* where the capset VIRGL2 has the size of the video memory, 32 bits, MiB */

	/* Gallium's targets, as RESOURCE_CREATE_3D has them */
	VTR_PIPE_BUFFER = 0,
	VTR_PIPE_TEXTURE_1D,
	VTR_PIPE_TEXTURE_2D,
	VTR_PIPE_TEXTURE_3D,
	VTR_PIPE_TEXTURE_CUBE,
	VTR_PIPE_TEXTURE_RECT,
	VTR_PIPE_TEXTURE_1D_ARRAY,
	VTR_PIPE_TEXTURE_2D_ARRAY,
	VTR_PIPE_TEXTURE_CUBE_ARRAY,

	VTR_VIRGL_FORMATS = 322, // that version 0.10 knows
};

/* virglrenderer's, which its header does not define. */
struct virgl_box {
	uint32_t x, y, z, w, h, d;
};

/* ---- virgl_fence.c ---- */

/* One that virglrenderer has. */
struct vtr_virgl_fence {
	uint64_t id;     // the caller's
	uint64_t number; // ours, rising from 1; virglrenderer knows the low 32 bits of those without a context
	uint32_t ctx_id; // 0: of no context
	bool passed;
	struct vtr_virgl_fence *next;
};

/* What a context made by a command of its stream, for a blob that is to come. */
struct vtr_virgl_made {
	uint64_t blob_id, texels;
	struct vtr_virgl_made *next;
};

/* A shader that is not complete: words that its text has, and that came. */
struct vtr_virgl_part {
	uint32_t handle, total, came;
};

enum { VTR_VIRGL_PARTS = 16 };

struct vtr_virgl_shaders {
	struct vtr_virgl_part items[VTR_VIRGL_PARTS];
	unsigned count;
};

struct vtr_virgl_context {
	uint32_t id;
	struct vtr_virgl_shaders shaders; // that are not complete
	unsigned subs;                    // sub-contexts: GL contexts of its own
	struct vtr_virgl_made *made;
	struct vtr_virgl_context *next;
};

enum vtr_virgl_loss {
	VTR_VIRGL_NOT_LOST,
	VTR_VIRGL_DISPLAY_GONE, // virglrenderer has nothing to draw with
	VTR_VIRGL_HANGS,        // the GPU does not come to an end
};

struct vtr_virgl {
	struct vtr_renderer base;
	struct vtr_loop *loop;
	uint64_t max_hostmem;                      /* bytes */
	struct virgl_renderer_callbacks callbacks; // virglrenderer refers to it
	struct vtr_virgl_gl gl;
	bool begun;               // virgl_renderer_init()
	enum vtr_virgl_loss loss; // what happened
	bool lost;                // and the listener knows

	struct vtr_virgl_resource *resources[VTR_VIRGL_BUCKETS];
	unsigned n_resources;
	struct vtr_virgl_context *contexts;
	unsigned n_contexts, n_subs;
	uint64_t made_texels; // of all contexts

	struct vtr_virgl_fence *fences, **fences_end; // in the order in which they were asked for
	uint64_t last_fence;
	struct vtr_source *poll_source; // virglrenderer's own fd
	struct vtr_source *poll_timer;  // where it has none
	struct vtr_source *hang_timer;  // while there are fences,
	bool hang_armed;                // and sometimes a little longer
	uint64_t hang_ns;               // without any of them passing the GPU hangs; tests set it
	uint64_t progress_ns;           // when one passed, or the first was asked for
	unsigned calls;                 // under way: passed fences are told of when there is none
};

static inline struct vtr_virgl *vtr_virgl_from_base(struct vtr_renderer *renderer)
{
	return (struct vtr_virgl *)renderer;
}

/* ---- virgl_format.c ---- */

/* Is a pixel of that format of virglrenderer's in memory what fourcc says, or the same without alpha? */
bool vtr_virgl_same_layout(uint32_t format, uint32_t fourcc);
/* True also for some that are not. */
bool vtr_virgl_is_compressed(uint32_t format);

/* ---- what all of them use ---- */

/* An errno of virglrenderer, whichever sign it gave it, as ours. */
int vtr_virgl_code(int result);
/* Before virglrenderer is called from outside of a call. False: the renderer is lost, and its listener knows. */
bool vtr_virgl_check(struct vtr_virgl *virgl);

/* NULL: nothing has that id. */
struct vtr_virgl_resource *vtr_virgl_resource(struct vtr_virgl *virgl, uint32_t id);
struct vtr_virgl_context *vtr_virgl_context(struct vtr_virgl *virgl, uint32_t id);

/* virglrenderer is not called any more; the listener is told at the end of the call. */
void vtr_virgl_lose(struct vtr_virgl *virgl, enum vtr_virgl_loss loss);

/* An id that is free gets a resource, which is not in the table yet. 0, -EINVAL (the id is not free) or -ENOMEM. */
int vtr_virgl_resource_prepare(struct vtr_virgl *virgl, uint32_t id, struct vtr_virgl_resource **resource);
/* Into the table if code, which is returned, is 0; else it is freed. */
int vtr_virgl_resource_insert(struct vtr_virgl *virgl, struct vtr_virgl_resource *resource, int code);

/* The spans as virglrenderer takes them; the caller frees *backing. 0, -EOPNOTSUPP (memory that the CPU cannot write), -EINVAL
 * (none) or -ENOMEM. */
int vtr_virgl_backing_from_spans(const struct vtr_spans *spans, struct iovec **backing, int *count);
/* virglrenderer forgets it, and it is freed. */
void vtr_virgl_backing_detach(struct vtr_virgl_resource *resource);

struct vtr_virgl_stream {
	unsigned creates, destroys;       // of sub-contexts
	struct vtr_virgl_shaders shaders; // of the context, when virglrenderer has had the stream
};

/* 0, -EINVAL (virglrenderer must not see it) or -ENOMEM (it would take too much). What it makes for blobs is noted. */
int vtr_virgl_stream_check(struct vtr_virgl *virgl, struct vtr_virgl_context *context, const uint32_t *words, size_t count,
                           struct vtr_virgl_stream *stream);
/* CREATE_OBJECT of a shader, or of another part of one: its words. 0, -EINVAL, or -ENOMEM: it is too long, or too many are not
 * complete. */
int vtr_virgl_shader_create(struct vtr_virgl_shaders *shaders, const uint32_t *words, uint32_t length);
/* None of the handles is of a shader that is not complete. */
bool vtr_virgl_shaders_complete(struct vtr_virgl_shaders *shaders, const uint32_t *handles, uint32_t count);
/* Can virglrenderer reckon with it? */
bool vtr_virgl_transfer_fits(const struct vtr_render_box *box, uint64_t offset, uint32_t stride, uint32_t layer_stride);

/* Is it something that virglrenderer can reckon with? The number of texels of the first level, or of bytes, of a buffer; 0: no. */
uint64_t vtr_virgl_texels(const struct vtr_render_args *args);
/* A context makes args, of CREATE_3D, for a blob. 0, -EINVAL or -ENOMEM. */
int vtr_virgl_make(struct vtr_virgl *virgl, struct vtr_virgl_context *context, const struct vtr_render_args *args,
                   uint64_t blob_id);
void vtr_virgl_forget_made(struct vtr_virgl *virgl, struct vtr_virgl_context *context);

/* Can HOST3D blobs be mapped by a VMM? Before there is anything else. */
bool vtr_virgl_probe_blobs(struct vtr_virgl *virgl);

/* All that the guest has. */
void vtr_virgl_destroy_contexts(struct vtr_virgl *virgl);
void vtr_virgl_destroy_resources(struct vtr_virgl *virgl);

/* Watches for fences that pass. 0, -EIO (none does) or another -errno. */
int vtr_virgl_fences_init(struct vtr_virgl *virgl);
void vtr_virgl_fences_finish(struct vtr_virgl *virgl);
/* Waits until all have passed; they are told of later. False: they do not, and the renderer is lost. */
bool vtr_virgl_fences_drain(struct vtr_virgl *virgl);
void vtr_virgl_fences_forget(struct vtr_virgl *virgl);
/* Tells the listener of those that passed. */
void vtr_virgl_fences_tell(struct vtr_virgl *virgl);
void vtr_virgl_write_fence(void *cookie, uint32_t number);
void vtr_virgl_write_context_fence(void *cookie, uint32_t ctx_id, uint32_t ring_idx, uint64_t number);

/* The calls, with what vtr_renderer_impl.call says they return. */
int vtr_virgl_ctx_create(struct vtr_virgl *virgl, struct vtr_render_call *call);
int vtr_virgl_ctx_destroy(struct vtr_virgl *virgl, struct vtr_render_call *call);
int vtr_virgl_ctx_attach_resource(struct vtr_virgl *virgl, struct vtr_render_call *call);
int vtr_virgl_ctx_detach_resource(struct vtr_virgl *virgl, struct vtr_render_call *call);
int vtr_virgl_submit(struct vtr_virgl *virgl, struct vtr_render_call *call);
int vtr_virgl_create_3d(struct vtr_virgl *virgl, struct vtr_render_call *call);
int vtr_virgl_create_blob(struct vtr_virgl *virgl, struct vtr_render_call *call);
int vtr_virgl_unref(struct vtr_virgl *virgl, struct vtr_render_call *call);
int vtr_virgl_attach_backing(struct vtr_virgl *virgl, struct vtr_render_call *call);
int vtr_virgl_detach_backing(struct vtr_virgl *virgl, struct vtr_render_call *call);
int vtr_virgl_transfer_to_host(struct vtr_virgl *virgl, struct vtr_render_call *call);
int vtr_virgl_transfer_from_host(struct vtr_virgl *virgl, struct vtr_render_call *call);
int vtr_virgl_fence(struct vtr_virgl *virgl, struct vtr_render_call *call);
int vtr_virgl_read(struct vtr_virgl *virgl, struct vtr_render_call *call);
int vtr_virgl_export(struct vtr_virgl *virgl, struct vtr_render_call *call);
int vtr_virgl_export_blob(struct vtr_virgl *virgl, struct vtr_render_call *call);
int vtr_virgl_reset(struct vtr_virgl *virgl, struct vtr_render_call *call);

#endif
