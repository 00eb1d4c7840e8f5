/* SPDX-License-Identifier: MIT */
/*
 * Knowing when the GPU has done what was asked of it: commands only queue the work, and swapping returns when they are sent. A
 * fence goes in behind them (EGL_KHR_fence_sync); where the driver can (EGL_ANDROID_native_fence_sync) it is an fd as well, which a
 * loop waits for. Nothing here waits longer than it is told to, but for a driver without fences.
 */
#include "egl/egl.h"

void vtr_egl_fence_insert(struct vtr_egl_fence *fence, const struct vtr_egl_caps *caps)
{
	vtr_egl_fence_finish(fence, caps);
	if (caps->native_fence)
		fence->sync = eglCreateSyncKHR(caps->display, EGL_SYNC_NATIVE_FENCE_ANDROID, NULL);
	if (caps->fence && fence->sync == EGL_NO_SYNC_KHR)
		fence->sync = eglCreateSyncKHR(caps->display, EGL_SYNC_FENCE_KHR, NULL);
	if (fence->sync == EGL_NO_SYNC_KHR)
		glFinish();
}

bool vtr_egl_fence_passed(const struct vtr_egl_fence *fence, const struct vtr_egl_caps *caps, uint64_t timeout_ns)
{
	/* an error is as good as passed: of a context that was lost nothing is drawn any more */
	return fence->sync == EGL_NO_SYNC_KHR || eglClientWaitSyncKHR(caps->display, fence->sync, EGL_SYNC_FLUSH_COMMANDS_BIT_KHR,
	                                                              timeout_ns) != EGL_TIMEOUT_EXPIRED_KHR;
}

int vtr_egl_fence_fd(const struct vtr_egl_fence *fence, const struct vtr_egl_caps *caps)
{
	if (!caps->native_fence || fence->sync == EGL_NO_SYNC_KHR)
		return -1;
	int fd = eglDupNativeFenceFDANDROID(caps->display, fence->sync); /* of an ordinary fence: an error */

	return fd >= 0 ? fd : -1;
}

void vtr_egl_fence_finish(struct vtr_egl_fence *fence, const struct vtr_egl_caps *caps)
{
	if (fence->sync != EGL_NO_SYNC_KHR)
		eglDestroySyncKHR(caps->display, fence->sync);
	fence->sync = EGL_NO_SYNC_KHR;
}
