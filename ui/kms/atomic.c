/* SPDX-License-Identifier: MIT */
#include "atomic.h"

#include <errno.h>
#include <stdlib.h>

enum { MAX_CLIPS = 64 };

/* A commit in the making; the blobs it names live until it was committed. */
struct request {
	const struct kms_pipe *pipe;
	drmModeAtomicReq *list;
	uint32_t mode_blob, damage_blob;
	bool failed; /* out of memory */
};

static void add(struct request *request, uint32_t object, uint32_t property, uint64_t value)
{
	if (drmModeAtomicAddProperty(request->list, object, property, value) < 0)
		request->failed = true;
}

static void add_mode(struct request *request, const drmModeModeInfo *mode)
{
	const struct kms_pipe *pipe = request->pipe;

	if (drmModeCreatePropertyBlob(pipe->card->fd, mode, sizeof(*mode), &request->mode_blob))
		request->failed = true;
	add(request, pipe->connector->id, pipe->connector->crtc_id, pipe->crtc->id);
	add(request, pipe->crtc->id, pipe->crtc->mode_id, request->mode_blob);
	add(request, pipe->crtc->id, pipe->crtc->active, 1);
}

/* struct drm_mode_rect: in the framebuffer. Without clips the driver takes all of it for damaged. */
static void add_damage(struct request *request, const pixman_region32_t *damage)
{
	const struct kms_pipe *pipe = request->pipe;
	struct drm_mode_rect clips[MAX_CLIPS];
	int count = 0;
	const pixman_box32_t *boxes = damage ? pixman_region32_rectangles((pixman_region32_t *)damage, &count) : NULL;

	for (int i = 0; i < count && count <= MAX_CLIPS; i++)
		clips[i] = (struct drm_mode_rect){ boxes[i].x1, boxes[i].y1, boxes[i].x2, boxes[i].y2 };
	if (count >= 1 && count <= MAX_CLIPS &&
	    drmModeCreatePropertyBlob(pipe->card->fd, clips, sizeof(clips[0]) * (size_t)count, &request->damage_blob))
		request->damage_blob = 0;
	add(request, pipe->crtc->plane, pipe->crtc->props.fb_damage_clips, request->damage_blob);
}

static void add_plane(struct request *request, const struct kms_scene *scene)
{
	const struct kms_crtc *crtc = request->pipe->crtc;
	const struct kms_plane_props *props = &crtc->props;

	add(request, crtc->plane, props->fb_id, scene->fb);
	add(request, crtc->plane, props->crtc_id, crtc->id);
	add(request, crtc->plane, props->src_x, 0);
	add(request, crtc->plane, props->src_y, 0);
	add(request, crtc->plane, props->src_w, (uint64_t)scene->width << 16);
	add(request, crtc->plane, props->src_h, (uint64_t)scene->height << 16);
	add(request, crtc->plane, props->crtc_x, (uint64_t)scene->place.x1);
	add(request, crtc->plane, props->crtc_y, (uint64_t)scene->place.y1);
	add(request, crtc->plane, props->crtc_w, (uint64_t)(scene->place.x2 - scene->place.x1));
	add(request, crtc->plane, props->crtc_h, (uint64_t)(scene->place.y2 - scene->place.y1));
	if (props->fb_damage_clips)
		add_damage(request, scene->damage);
}

static int begin(struct request *request, const struct kms_pipe *pipe)
{
	*request = (struct request){ .pipe = pipe, .list = drmModeAtomicAlloc() };
	return request->list ? 0 : -ENOMEM;
}

static int end(struct request *request, uint32_t flags)
{
	void *data = flags & DRM_MODE_PAGE_FLIP_EVENT ? request->pipe->crtc : NULL;
	int fd = request->pipe->card->fd, result = request->failed ? -ENOMEM : 0;

	if (!result && drmModeAtomicCommit(fd, request->list, flags, data))
		result = -errno;
	/* Some drivers refuse a flip while a cursor's update is on its way: then it is waited for, a frame's time at most. */
	if (result == -EBUSY && flags & DRM_MODE_ATOMIC_NONBLOCK)
		result = drmModeAtomicCommit(fd, request->list, flags & ~(uint32_t)DRM_MODE_ATOMIC_NONBLOCK, data) ? -errno : 0;
	if (request->mode_blob)
		drmModeDestroyPropertyBlob(fd, request->mode_blob);
	if (request->damage_blob)
		drmModeDestroyPropertyBlob(fd, request->damage_blob);
	drmModeAtomicFree(request->list);
	return result;
}

static int commit(const struct kms_pipe *pipe, const struct kms_scene *scene, bool modeset, uint32_t flags)
{
	struct request request;
	int result = begin(&request, pipe);

	if (result)
		return result;
	if (modeset)
		add_mode(&request, scene->mode);
	add_plane(&request, scene);
	return end(&request, flags);
}

int kms_atomic_commit(const struct kms_pipe *pipe, const struct kms_scene *scene, bool modeset)
{
	uint32_t flags = modeset ? DRM_MODE_ATOMIC_ALLOW_MODESET : DRM_MODE_ATOMIC_NONBLOCK;

	return commit(pipe, scene, modeset, flags | DRM_MODE_PAGE_FLIP_EVENT);
}

int kms_atomic_test(const struct kms_pipe *pipe, const struct kms_scene *scene, bool modeset)
{
	return commit(pipe, scene, modeset, DRM_MODE_ATOMIC_TEST_ONLY | (modeset ? DRM_MODE_ATOMIC_ALLOW_MODESET : 0));
}

void kms_atomic_off(const struct kms_pipe *pipe)
{
	const struct kms_plane_props *props = &pipe->crtc->props;
	struct request request;

	if (begin(&request, pipe))
		return;
	add(&request, pipe->connector->id, pipe->connector->crtc_id, 0);
	add(&request, pipe->crtc->id, pipe->crtc->mode_id, 0);
	add(&request, pipe->crtc->id, pipe->crtc->active, 0);
	add(&request, pipe->crtc->plane, props->fb_id, 0);
	add(&request, pipe->crtc->plane, props->crtc_id, 0);
	end(&request, DRM_MODE_ATOMIC_ALLOW_MODESET);
}
