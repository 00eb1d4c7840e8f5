/* SPDX-License-Identifier: MIT */
/*
 * virglrenderer in this process.
 *
 *   virgl_display.c    which EGLDisplay is drawn with
 *   virgl_gl.c         GL contexts, and what is current
 *   virgl_context.c    contexts of the guest and their command streams
 *   virgl_resource.c   resources, backing and transfers; virgl_memory.c: guest memory as virglrenderer takes it
 *   virgl_fence.c      fences
 *   virgl_read.c       READ, and which row is the top one; virgl_format.c: its formats and ours
 *   virgl_export.c     EXPORT: EGLImages and dmabufs
 *   virgl_blob.c       blobs
 *   virgl_stream.c     command streams that virglrenderer must not see
 *
 * virglrenderer's state is global: there is one of it in a process, used on one thread, the device thread. A call is done when it
 * returns; only fences come later. Its context is current on the device thread from the first call on: other users of EGL belong on
 * other threads, or must expect theirs to be replaced.
 *
 * When the EGLDisplay goes away under it the renderer is lost for good. Nothing is asked of virglrenderer then.
 */
#include "render/virgl.h"

#include <epoxy/gl.h>
#include <errno.h>
#include <linux/virtio_gpu.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "render/remote.h"

/* What virglrenderer itself has once in a process. */
static atomic_flag in_use = ATOMIC_FLAG_INIT;

static int (*const calls[VTR_RENDER_OPS])(struct vtr_virgl *virgl, struct vtr_render_call *call) = {
	[VTR_RENDER_CTX_CREATE] = vtr_virgl_ctx_create,
	[VTR_RENDER_CTX_DESTROY] = vtr_virgl_ctx_destroy,
	[VTR_RENDER_CTX_ATTACH_RESOURCE] = vtr_virgl_ctx_attach_resource,
	[VTR_RENDER_CTX_DETACH_RESOURCE] = vtr_virgl_ctx_detach_resource,
	[VTR_RENDER_SUBMIT] = vtr_virgl_submit,
	[VTR_RENDER_CREATE_3D] = vtr_virgl_create_3d,
	[VTR_RENDER_CREATE_BLOB] = vtr_virgl_create_blob,
	[VTR_RENDER_UNREF] = vtr_virgl_unref,
	[VTR_RENDER_ATTACH_BACKING] = vtr_virgl_attach_backing,
	[VTR_RENDER_DETACH_BACKING] = vtr_virgl_detach_backing,
	[VTR_RENDER_TRANSFER_TO_HOST] = vtr_virgl_transfer_to_host,
	[VTR_RENDER_TRANSFER_FROM_HOST] = vtr_virgl_transfer_from_host,
	[VTR_RENDER_FENCE] = vtr_virgl_fence,
	[VTR_RENDER_READ] = vtr_virgl_read,
	[VTR_RENDER_EXPORT] = vtr_virgl_export,
	[VTR_RENDER_EXPORT_BLOB] = vtr_virgl_export_blob,
	[VTR_RENDER_RESET] = vtr_virgl_reset,
};

/* ---- calls ---- */

void vtr_virgl_lose(struct vtr_virgl *virgl, enum vtr_virgl_loss loss)
{
	if (!virgl->loss)
		virgl->loss = loss;
}

/* Tells of the loss, once, when nothing is under way any more. */
static void tell_lost(struct vtr_virgl *virgl)
{
	static const char *const texts[] = {
		[VTR_VIRGL_DISPLAY_GONE] = "3D is lost: the EGLDisplay that it was drawn with is gone (start the program again)",
		[VTR_VIRGL_HANGS] = "3D is lost: the GPU did not finish what a guest had drawn (in process vitrine has to be "
		                    "started again; isolate goes on)",
	};
	struct vtr_error why;

	if (atomic_load(&virgl->gl.lost))
		vtr_virgl_lose(virgl, VTR_VIRGL_DISPLAY_GONE);
	if (virgl->lost || virgl->calls || !virgl->loss)
		return;
	virgl->lost = true;
	vtr_virgl_fences_forget(virgl);
	vtr_error_set(&why, VTR_ERROR_HOST, ENODEV, "%s", texts[virgl->loss]);
	if (virgl->base.listener)
		virgl->base.listener->lost(virgl->base.listener_data, &why);
}

bool vtr_virgl_check(struct vtr_virgl *virgl)
{
	if (!virgl->loss && vtr_virgl_gl_enter(&virgl->gl))
		return true;
	tell_lost(virgl);
	return false;
}

static int call(struct vtr_renderer *renderer, struct vtr_render_call *call)
{
	struct vtr_virgl *virgl = vtr_virgl_from_base(renderer);
	int code;

	if (call->args.op >= VTR_RENDER_OPS)
		return -EINVAL;
	if (!vtr_virgl_check(virgl))
		return call->args.op == VTR_RENDER_RESET ? 0 : -ENODEV;
	virgl->calls++;
	code = calls[call->args.op](virgl, call);
	virgl->calls--;
	vtr_virgl_fences_tell(virgl);
	tell_lost(virgl);
	return code;
}

/* virgl_renderer_reset() forgets some of it only. */
int vtr_virgl_reset(struct vtr_virgl *virgl, struct vtr_render_call *call)
{
	if (!vtr_virgl_fences_drain(virgl))
		return 0; // it is lost, and nothing is left
	vtr_virgl_destroy_contexts(virgl);
	vtr_virgl_destroy_resources(virgl);
	vtr_virgl_fences_forget(virgl);
	return 0;
}

/* ---- capsets ---- */

static void add_capset(struct vtr_virgl *virgl, uint32_t id)
{
	struct vtr_capset *capset = &virgl->base.capsets[virgl->base.n_capsets];

	*capset = (struct vtr_capset){ .id = id };
	virgl_renderer_get_cap_set(id, &capset->max_version, &capset->max_size);
	virgl->base.n_capsets += capset->max_size > 0;
}

/* What a guest may have is for us to say. Besides, where GL does not know, virglrenderer 0.10.4 gives away what is on its stack. */
static void set_video_memory(const struct vtr_virgl *virgl, uint32_t id, uint8_t *capset, uint32_t size)
{
	const uint32_t mib = (uint32_t)(virgl->max_hostmem >> 20);

	if (id == VIRTIO_GPU_CAPSET_VIRGL2 && size >= VTR_VIRGL2_VIDEO_MEMORY + sizeof(mib))
		memcpy(capset + VTR_VIRGL2_VIDEO_MEMORY, &mib, sizeof(mib));
}

static void fill_capset(struct vtr_renderer *renderer, uint32_t id, uint32_t version, void *data, uint32_t size)
{
	struct vtr_virgl *virgl = vtr_virgl_from_base(renderer);

	for (uint32_t i = 0; i < renderer->n_capsets; i++) {
		const struct vtr_capset *capset = &renderer->capsets[i];
		void *whole = capset->id == id ? calloc(1, capset->max_size) : NULL;

		if (!whole)
			continue;
		if (vtr_virgl_check(virgl))
			virgl_renderer_fill_caps(id, version, whole);
		set_video_memory(virgl, id, whole, capset->max_size);
		memcpy(data, whole, size < capset->max_size ? size : capset->max_size);
		free(whole);
	}
}

/* ---- life ---- */

static void debug(const char *format, va_list arguments) VTR_PRINTF(1, 0);

/* Any of its threads. Guests can make it talk. */
static void debug(const char *format, va_list arguments)
{
	char text[512];

	if (vtr_log_get_level() < VTR_LOG_DEBUG)
		return;
	vsnprintf(text, sizeof(text), format, arguments);
	text[strcspn(text, "\n")] = '\0';
	if (text[0])
		vtr_log(VTR_LOG_DEBUG, "virglrenderer: %s", text);
}

/* False: virglrenderer cannot be called, not even to end. */
static bool can_end(struct vtr_virgl *virgl)
{
	if (vtr_virgl_check(virgl) && vtr_virgl_fences_drain(virgl))
		return true;
	return virgl->loss == VTR_VIRGL_DISPLAY_GONE && vtr_virgl_gl_replace(&virgl->gl);
}

/* What virglrenderer still refers to when it cannot end stays: there will be no other renderer in this process. */
static void destroy(struct vtr_renderer *renderer)
{
	struct vtr_virgl *virgl = vtr_virgl_from_base(renderer);

	virgl->base.listener = NULL;
	if (virgl->begun) {
		bool can = can_end(virgl);

		vtr_virgl_fences_finish(virgl);
		if (!can)
			return;
		vtr_virgl_destroy_contexts(virgl);
		vtr_virgl_destroy_resources(virgl);
		virgl_renderer_cleanup(virgl);
	}
	vtr_virgl_gl_finish(&virgl->gl);
	free(virgl);
	atomic_flag_clear(&in_use);
}

static const struct vtr_renderer_impl impl = {
	.call = call,
	.fill_capset = fill_capset,
	.destroy = destroy,
};

static int begin(struct vtr_virgl *virgl, struct vtr_error *error)
{
	virgl->callbacks = (struct virgl_renderer_callbacks){
		.version = VIRGL_RENDERER_CALLBACKS_VERSION,
		.write_fence = vtr_virgl_write_fence,
		.create_gl_context = vtr_virgl_create_gl_context,
		.destroy_gl_context = vtr_virgl_destroy_gl_context,
		.make_current = vtr_virgl_make_current,
		.write_context_fence = vtr_virgl_write_context_fence,
		.get_egl_display = vtr_virgl_get_egl_display,
	};
	int flags = VIRGL_RENDERER_THREAD_SYNC | VIRGL_RENDERER_USE_EXTERNAL_BLOB | (virgl->gl.gles ? VIRGL_RENDERER_USE_GLES : 0);

	snprintf(virgl->base.description, sizeof(virgl->base.description), "virgl on %s", (const char *)glGetString(GL_RENDERER));
	virgl_set_debug_callback(debug);
	int code = abs(virgl_renderer_init(virgl, flags, &virgl->callbacks));
	if (code)
		return vtr_error_set(error, VTR_ERROR_HOST, code, "virglrenderer cannot draw here (%s): %s",
		                     virgl->base.description, strerror(code));
	virgl->begun = true;
	add_capset(virgl, VIRTIO_GPU_CAPSET_VIRGL);
	add_capset(virgl, VIRTIO_GPU_CAPSET_VIRGL2);
	code = vtr_virgl_fences_init(virgl);
	if (code < 0)
		return vtr_error_set(error, VTR_ERROR_HOST, -code, "%s draws, but does not say when it is done: %s",
		                     virgl->base.description, strerror(-code));
	return 0;
}

bool vtr_virgl_is_built(void)
{
	return true;
}

struct vtr_renderer *vtr_virgl_create(struct vtr_loop *loop, const struct vtr_renderer_options *options, struct vtr_error *error)
{
	struct vtr_virgl *virgl;

	if (options->isolate)
		return vtr_remote_create(loop, options, NULL, error);
	if (atomic_flag_test_and_set(&in_use)) {
		vtr_error_set(error, VTR_ERROR_HOST, EBUSY,
		              "This process has a renderer already, and virglrenderer can be only one: start another process");
		return NULL;
	}
	virgl = calloc(1, sizeof(*virgl));
	if (!virgl) {
		atomic_flag_clear(&in_use);
		vtr_error_set(error, VTR_ERROR_HOST, ENOMEM, "Out of memory");
		return NULL;
	}
	virgl->base.impl = &impl;
	virgl->loop = loop;
	virgl->max_hostmem = options->max_hostmem < VTR_MAX_BLOB_SIZE ? options->max_hostmem : VTR_MAX_BLOB_SIZE;
	virgl->fences_end = &virgl->fences;
	if (vtr_virgl_gl_init(&virgl->gl, options, error) < 0 || begin(virgl, error) < 0) {
		destroy(&virgl->base);
		return NULL;
	}
	virgl->base.egl_display = virgl->gl.display;
	virgl->base.maps_blobs = vtr_virgl_probe_blobs(virgl);
	return &virgl->base;
}
