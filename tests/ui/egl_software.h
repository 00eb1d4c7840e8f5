/* SPDX-License-Identifier: MIT */
#ifndef TEST_EGL_SOFTWARE_H
#define TEST_EGL_SOFTWARE_H

#include <epoxy/egl.h>
#include <string.h>

/* The software device by name: with a DRM node present the default may be another. */
static inline EGLDisplay software_display(void)
{
	EGLDeviceEXT devices[16];
	EGLint count = 0;

	if (!eglQueryDevicesEXT(16, devices, &count))
		return EGL_NO_DISPLAY;
	for (EGLint i = 0; i < count; i++) {
		const char *extensions = eglQueryDeviceStringEXT(devices[i], EGL_EXTENSIONS);

		if (extensions && strstr(extensions, "EGL_MESA_device_software"))
			return eglGetPlatformDisplayEXT(EGL_PLATFORM_DEVICE_EXT, devices[i], NULL);
	}
	return EGL_NO_DISPLAY;
}

#endif
