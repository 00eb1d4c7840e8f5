/* SPDX-License-Identifier: MIT */
/*
 * Blobs. GUEST: the guest's memory, which a context makes a resource of by a command of its stream. HOST3D and HOST3D_GUEST: what a
 * context made before by a command (PIPE_RESOURCE_CREATE) that named the blob's id.
 *
 * A HOST3D blob can be mapped by a VMM where virglrenderer can give a file descriptor for it. That takes one that was built to
 * allocate with gbm, and that chose its GPU itself; 0.10.4 as distributions have it, with our EGLDisplay, cannot. Asking is the
 * only way to know, so a small blob is made when the renderer is. virglrenderer is told that mapping goes by file descriptors
 * (VIRGL_RENDERER_USE_EXTERNAL_BLOB), so that it promises guests no memory that they could not get.
 */
#include <errno.h>
#include <linux/virtio_gpu.h>
#include <stdlib.h>
#include <unistd.h>

#include "render/virgl.h"
#include "util/fd.h"

#define MAX_MADE_TEXELS (UINT64_C(1) << 27) // of all contexts, until there are blobs of them: those count as the guest's

/* ---- what is made for blobs ---- */

static struct vtr_virgl_made **find_made(struct vtr_virgl_context *context, uint64_t blob_id)
{
	struct vtr_virgl_made **link = &context->made;

	while (*link && (*link)->blob_id != blob_id)
		link = &(*link)->next;
	return link;
}

static void forget(struct vtr_virgl *virgl, struct vtr_virgl_made **link)
{
	struct vtr_virgl_made *made = *link;

	virgl->made_texels -= made->texels;
	*link = made->next;
	free(made);
}

int vtr_virgl_make(struct vtr_virgl *virgl, struct vtr_virgl_context *context, const struct vtr_render_args *args, uint64_t blob_id)
{
	uint64_t texels = vtr_virgl_texels(args);

	if (!texels || *find_made(context, blob_id))
		return -EINVAL;
	struct vtr_virgl_made *made = texels <= MAX_MADE_TEXELS - virgl->made_texels ? malloc(sizeof(*made)) : NULL;
	if (!made)
		return -ENOMEM;
	*made = (struct vtr_virgl_made){ .blob_id = blob_id, .texels = texels, .next = context->made };
	context->made = made;
	virgl->made_texels += texels;
	return 0;
}

void vtr_virgl_forget_made(struct vtr_virgl *virgl, struct vtr_virgl_context *context)
{
	while (context->made)
		forget(virgl, &context->made);
}

/* ---- RESOURCE_CREATE_BLOB ---- */

static int create_blob(struct vtr_virgl *virgl, const struct vtr_render_args *args, struct vtr_virgl_resource *resource)
{
	const struct virgl_renderer_resource_create_blob_args create = {
		.res_handle = args->resource_id,
		.ctx_id = args->ctx_id,
		.blob_mem = args->create_blob.blob_mem,
		.blob_flags = args->create_blob.blob_flags,
		.blob_id = args->create_blob.blob_id,
		.size = args->create_blob.size,
		.iovecs = resource->backing,
		.num_iovs = (uint32_t)resource->n_backing,
	};

	return vtr_virgl_code(virgl_renderer_resource_create_blob(&create));
}

/* virglrenderer keeps what it was given with a blob, but transfers use only what was attached. */
static int attach_again(const struct vtr_virgl_resource *resource)
{
	struct iovec *had;
	int count, code;

	virgl_renderer_resource_detach_iov((int)resource->id, &had, &count);
	code = vtr_virgl_code(virgl_renderer_resource_attach_iov((int)resource->id, resource->backing, resource->n_backing));
	if (code)
		virgl_renderer_resource_unref(resource->id);
	return code;
}

/* The size is what the guest's share of host memory is reckoned by: not less than half a byte for a texel, as the smallest of
 * compressed formats have. */
static bool size_is_honest(const struct vtr_virgl_made *made, uint64_t size)
{
	return made && made->texels / 2 <= size;
}

static int create_of_host(struct vtr_virgl *virgl, const struct vtr_render_args *args, struct vtr_virgl_resource *resource)
{
	struct vtr_virgl_made **made = find_made(vtr_virgl_context(virgl, args->ctx_id), args->create_blob.blob_id);
	int code = size_is_honest(*made, resource->size) ? create_blob(virgl, args, resource) : -EINVAL;

	if (code)
		return code;
	forget(virgl, made);
	return resource->backing ? attach_again(resource) : 0;
}

int vtr_virgl_create_blob(struct vtr_virgl *virgl, struct vtr_render_call *call)
{
	const struct vtr_render_args *args = &call->args;
	uint32_t mem = args->create_blob.blob_mem;
	bool of_host = mem != VIRTIO_GPU_BLOB_MEM_GUEST, of_guest = mem != VIRTIO_GPU_BLOB_MEM_HOST3D;
	struct vtr_virgl_resource *resource;
	int code;

	if (mem < VIRTIO_GPU_BLOB_MEM_GUEST || mem > VIRTIO_GPU_BLOB_MEM_HOST3D_GUEST || !args->create_blob.size ||
	    of_guest != (call->spans && call->spans->count) || (of_guest && call->spans->length < args->create_blob.size))
		return -EINVAL;
	if (of_host && !vtr_virgl_context(virgl, args->ctx_id))
		return -ENOENT;
	code = vtr_virgl_resource_prepare(virgl, args->resource_id, &resource);
	if (code < 0)
		return code;
	resource->blob = true;
	resource->size = args->create_blob.size;
	if (of_guest)
		code = vtr_virgl_backing_from_spans(call->spans, &resource->backing, &resource->n_backing);
	if (!code)
		code = of_host ? create_of_host(virgl, args, resource) : create_blob(virgl, args, resource);
	return vtr_virgl_resource_insert(virgl, resource, code);
}

/* ---- EXPORT_BLOB ---- */

static int export(struct vtr_virgl *virgl, const struct vtr_virgl_resource *resource, int *fd, uint64_t *length,
                  struct vtr_error *why)
{
	uint32_t type;

	if (virgl_renderer_resource_export_blob(resource->id, &type, fd) || *fd < 0)
		return vtr_error_set(why, VTR_ERROR_UNSUPPORTED, EOPNOTSUPP,
		                     "%s lends its memory to no VMM: that takes a GPU with a render node, and a virglrenderer that "
		                     "was built with gbm",
		                     virgl->base.description);
	off_t size = lseek(*fd, 0, SEEK_END);
	if (type != VIRGL_RENDERER_BLOB_FD_TYPE_OPAQUE && size >= 0 && (uint64_t)size >= resource->size) {
		*length = (uint64_t)size; // whole pages
		return 0;
	}
	vtr_fd_close(fd);
	return vtr_error_set(why, VTR_ERROR_UNSUPPORTED, EOPNOTSUPP, "Blob %u lies in memory that cannot be mapped", resource->id);
}

int vtr_virgl_export_blob(struct vtr_virgl *virgl, struct vtr_render_call *call)
{
	const struct vtr_virgl_resource *resource = vtr_virgl_resource(virgl, call->args.resource_id);
	uint32_t info = VIRGL_RENDERER_MAP_CACHE_CACHED;
	int fd = -1, code;

	call->why = (struct vtr_error){ 0 };
	if (!resource)
		return -ENOENT;
	if (!resource->blob)
		return vtr_error_set(&call->why, VTR_ERROR_GUEST, EINVAL, "Resource %u is no blob", resource->id);
	code = export(virgl, resource, &fd, &call->mapped.size, &call->why);
	if (code < 0)
		return code;
	virgl_renderer_resource_get_map_info(resource->id, &info);
	call->mapped.fd = fd;
	call->mapped.offset = 0;
	call->mapped.map_info = info & VIRGL_RENDERER_MAP_CACHE_MASK;
	return 0;
}

/* ---- can it? ---- */

enum { PROBE_ID = 1, PROBE_SIZE = 4096 };

static int probe(struct vtr_virgl *virgl, struct vtr_render_call *call)
{
	/* format R8, a vertex buffer that is mapped persistently and coherently, as Mesa makes them */
	static const uint32_t stream[] = { 48 | 11 << 16, VTR_PIPE_BUFFER, 64, 1 << 4, PROBE_SIZE, 1, 1, 1, 0, 0, 6, PROBE_ID };

	call->args.op = VTR_RENDER_SUBMIT;
	call->data = stream;
	call->size = sizeof(stream);
	if (vtr_renderer_call(&virgl->base, call) < 0)
		return call->code;
	call->args.op = VTR_RENDER_CREATE_BLOB;
	call->args.create_blob.blob_mem = VIRTIO_GPU_BLOB_MEM_HOST3D;
	call->args.create_blob.blob_flags = VIRTIO_GPU_BLOB_FLAG_USE_MAPPABLE;
	call->args.create_blob.blob_id = PROBE_ID;
	call->args.create_blob.size = PROBE_SIZE;
	if (vtr_renderer_call(&virgl->base, call) < 0)
		return call->code;
	call->args.op = VTR_RENDER_EXPORT_BLOB;
	return vtr_renderer_call(&virgl->base, call);
}

bool vtr_virgl_probe_blobs(struct vtr_virgl *virgl)
{
	struct vtr_render_call call = { .args = { .op = VTR_RENDER_CTX_CREATE, .ctx_id = PROBE_ID, .resource_id = PROBE_ID } };
	bool can = !vtr_renderer_call(&virgl->base, &call) && !probe(virgl, &call);

	if (can)
		vtr_fd_close(&call.mapped.fd);
	call.args.op = VTR_RENDER_RESET;
	vtr_renderer_call(&virgl->base, &call);
	return can;
}
