/* SPDX-License-Identifier: MIT */
/* EXPORT where the driver makes dmabufs of textures: a driver of the test's own in front of the real one. */
#include <drm_fourcc.h>
#include <epoxy/egl.h>
#include <errno.h>
#include <string.h>

#include <vitrine/buffer.h>

#include "util/fd.h"
#include "virgl_fixture.h"

#define MODIFIER UINT64_C(0x0100000000000002)

struct row {
	const char *name;
	uint32_t format; // of the resource
	int fourcc, planes;
	bool query, export;
	EGLint stride, offset;
	bool dmabuf; // is it one in the end?
};

static const struct row *driver;
static PFNEGLQUERYSTRINGPROC real_query_string;

static const char *query_string(EGLDisplay display, EGLint name)
{
	static char extensions[4096];
	const char *real = real_query_string(display, name);

	if (name != EGL_EXTENSIONS || !display)
		return real;
	g_snprintf(extensions, sizeof(extensions), "%s EGL_MESA_image_dma_buf_export", real);
	return extensions;
}

static EGLBoolean export_query(EGLDisplay display, EGLImageKHR image, int *fourcc, int *planes, EGLuint64KHR *modifiers)
{
	*fourcc = driver->fourcc;
	*planes = driver->planes;
	*modifiers = MODIFIER;
	return driver->query;
}

static EGLBoolean export(EGLDisplay display, EGLImageKHR image, int *fds, EGLint *strides, EGLint *offsets)
{
	g_assert_cmpint(driver->planes, ==, 1); // there is room for one
	*fds = vtr_memfd_create("dmabuf", 4096);
	*strides = driver->stride;
	*offsets = driver->offset;
	if (!driver->export)
		vtr_fd_close(fds);
	return driver->export;
}

static void test_export(gconstpointer data)
{
	struct vtr_render_call call = { .args = { .op = VTR_RENDER_EXPORT, .resource_id = 1 } };
	struct vtr_render_args args;
	struct virgl_fixture fixture;

	driver = data;
	args = virgl_texture(1, driver->format, 16, 16);
	virgl_fixture_init(&fixture);
	g_assert_cmpint(virgl_create(&fixture, &args), ==, 0);
	g_assert_cmpint(vtr_renderer_call_wait(fixture.renderer, &call), ==, 0);
	g_assert_nonnull(vtr_buffer_texture(call.exported));
	if (driver->dmabuf) {
		const struct vtr_buffer_layout *layout = vtr_buffer_layout(call.exported);

		g_assert_cmpint(vtr_buffer_fd(call.exported), >=, 0);
		g_assert_cmpuint(layout->stride, ==, driver->stride);
		g_assert_cmpuint(layout->offset, ==, driver->offset);
		g_assert_cmphex(layout->format, ==, (uint32_t)driver->fourcc);
		g_assert_cmphex(layout->modifier, ==, MODIFIER);
		g_assert_cmpint(call.why.owner, ==, VTR_ERROR_NONE);
	} else {
		g_assert_cmpint(vtr_buffer_fd(call.exported), ==, -1);
		g_assert_null(vtr_buffer_layout(call.exported));
		g_assert_cmpstr(call.why.text, !=, "");
	}
	vtr_buffer_drop(call.exported);
	virgl_fixture_finish(&fixture);
}

int main(int argc, char **argv)
{
	static const struct row rows[] = {
		{ "good", FORMAT_B8G8R8X8, DRM_FORMAT_XRGB8888, 1, true, true, 64, 0, true },
		{ "with-offset", FORMAT_B8G8R8A8, DRM_FORMAT_ARGB8888, 1, true, true, 256, 4096, true },
		{ "without-alpha", FORMAT_B8G8R8A8, DRM_FORMAT_XRGB8888, 1, true, true, 64, 0, true },
		{ "another-format", FORMAT_B8G8R8A8, DRM_FORMAT_ABGR8888, 1, true, true, 64, 0, true },
		{ "two-planes", FORMAT_B8G8R8A8, DRM_FORMAT_ARGB8888, 2, true, true, 64, 0, false },
		{ "no-query", FORMAT_B8G8R8A8, DRM_FORMAT_ARGB8888, 1, false, true, 64, 0, false },
		{ "no-export", FORMAT_B8G8R8A8, DRM_FORMAT_ARGB8888, 1, true, false, 64, 0, false },
		{ "no-stride", FORMAT_B8G8R8A8, DRM_FORMAT_ARGB8888, 1, true, true, 0, 0, false },
		{ "offset-negative", FORMAT_B8G8R8A8, DRM_FORMAT_ARGB8888, 1, true, true, 64, -4, false },
	};

	g_test_init(&argc, &argv, NULL);
	/* libepoxy's functions are pointers, which it sets when they are called for the first time */
	eglQueryString(EGL_NO_DISPLAY, EGL_EXTENSIONS);
	real_query_string = epoxy_eglQueryString;
	epoxy_eglQueryString = query_string;
	epoxy_eglExportDMABUFImageQueryMESA = export_query;
	epoxy_eglExportDMABUFImageMESA = export;
	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_autofree char *name = g_strdup_printf("/unit/virgl/dmabuf/%s", rows[i].name);

		g_test_add_data_func(name, &rows[i], test_export);
	}
	return g_test_run();
}
