/* SPDX-License-Identifier: MIT */
#include "commit.h"

#include <errno.h>
#include <string.h>

#include "atomic.h"

static bool same_mode(const drmModeModeInfo *a, const drmModeModeInfo *b)
{
	return a->clock == b->clock && a->hdisplay == b->hdisplay && a->hsync_start == b->hsync_start &&
	       a->hsync_end == b->hsync_end && a->htotal == b->htotal && a->hskew == b->hskew && a->vdisplay == b->vdisplay &&
	       a->vsync_start == b->vsync_start && a->vsync_end == b->vsync_end && a->vtotal == b->vtotal && a->vscan == b->vscan &&
	       a->flags == b->flags;
}

static bool needs_modeset(const struct kms_pipe *pipe, const struct kms_scene *scene)
{
	return !pipe->active || !same_mode(&pipe->mode, scene->mode);
}

/* ---- legacy ---- */

static bool fills_mode(const struct kms_scene *scene)
{
	return scene->width == scene->mode->hdisplay && scene->height == scene->mode->vdisplay;
}

static int legacy_set(const struct kms_pipe *pipe, const struct kms_scene *scene)
{
	uint32_t connector = pipe->connector->id;
	drmModeModeInfo mode = *scene->mode;

	return drmModeSetCrtc(pipe->card->fd, pipe->crtc->id, scene->fb, 0, 0, &connector, 1, &mode) ? -errno : KMS_SHOWN;
}

/* Pixels that were drawn into the framebuffer on the screen: drivers that keep a copy of it have to be told. */
static void legacy_dirty(const struct kms_pipe *pipe, const struct kms_scene *scene)
{
	drmModeClip clips[DRM_MODE_FB_DIRTY_MAX_CLIPS];
	int count = 0;
	const pixman_box32_t *boxes = scene->damage ? pixman_region32_rectangles((pixman_region32_t *)scene->damage, &count) : NULL;

	if (count > DRM_MODE_FB_DIRTY_MAX_CLIPS)
		count = 0;
	for (int i = 0; i < count; i++)
		clips[i] =
			(drmModeClip){ (uint16_t)boxes[i].x1, (uint16_t)boxes[i].y1, (uint16_t)boxes[i].x2, (uint16_t)boxes[i].y2 };
	drmModeDirtyFB(pipe->card->fd, scene->fb, clips, (uint32_t)count); /* ENOSYS: the driver needs no telling */
}

static int legacy_commit(struct kms_pipe *pipe, const struct kms_scene *scene)
{
	if (!fills_mode(scene))
		return -EINVAL;
	if (needs_modeset(pipe, scene))
		return legacy_set(pipe, scene);
	if (pipe->fb == scene->fb)
		legacy_dirty(pipe, scene);
	if (!drmModePageFlip(pipe->card->fd, pipe->crtc->id, scene->fb, DRM_MODE_PAGE_FLIP_EVENT, pipe->crtc))
		return KMS_EVENT_FOLLOWS;
	/* a framebuffer of another format or stride, or a driver that cannot flip */
	return errno == EACCES || errno == EBUSY ? -errno : legacy_set(pipe, scene);
}

/* ---- both ---- */

int kms_commit(struct kms_pipe *pipe, const struct kms_scene *scene)
{
	int result = pipe->card->atomic ? kms_atomic_commit(pipe, scene, needs_modeset(pipe, scene)) : legacy_commit(pipe, scene);

	if (result < 0)
		return result;
	if (result == KMS_EVENT_FOLLOWS)
		pipe->crtc->events++;
	pipe->active = true;
	pipe->mode = *scene->mode;
	pipe->fb = scene->fb;
	pipe->width = scene->width;
	pipe->height = scene->height;
	return result;
}

int kms_commit_test(const struct kms_pipe *pipe, const struct kms_scene *scene)
{
	if (pipe->card->atomic)
		return kms_atomic_test(pipe, scene, needs_modeset(pipe, scene));
	return fills_mode(scene) ? 0 : -EINVAL;
}

void kms_commit_off(struct kms_pipe *pipe)
{
	if (!pipe->crtc)
		return;
	if (pipe->card->atomic)
		kms_atomic_off(pipe);
	else
		drmModeSetCrtc(pipe->card->fd, pipe->crtc->id, 0, 0, 0, NULL, 0, NULL);
	pipe->active = false;
}
