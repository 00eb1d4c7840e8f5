/* SPDX-License-Identifier: MIT */
/*
 * A GPU that takes its time, under a window of SDL: EGL's fences are this test's. The guest's buffers must not be given back, nor
 * its flushes answered, before the GPU has read them; and a GPU that hangs holds nobody for ever.
 */
#include <epoxy/egl.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/eventfd.h>

#include <vitrine/log.h>

#include "rows.h"
#include "window_scanout.h"

enum { WIDTH = 320, HEIGHT = 200 };

#define QUIET_NS UINT64_C(300000000)

/* ---- a GPU ---- */

static struct gpu {
	bool native;          /* its fences are fds, too */
	bool none;            /* it has no fences */
	atomic_bool busy;     /* it does not come to an end, */
	atomic_bool patience; /* but for who waits */
	atomic_uint asked, waited, fences;
	int fd; /* readable when it is done */
} gpu;

static EGLint client_wait(EGLDisplay display, EGLSyncKHR sync, EGLint flags, EGLTimeKHR timeout)
{
	g_assert_nonnull(sync);
	gpu.asked++;
	gpu.waited += timeout > 0;
	if (gpu.busy && timeout > 0 && gpu.patience)
		gpu.busy = false;
	return gpu.busy ? EGL_TIMEOUT_EXPIRED_KHR : EGL_CONDITION_SATISFIED_KHR;
}

static EGLSyncKHR create_sync(EGLDisplay display, EGLenum type, const EGLint *attributes)
{
	g_assert_cmphex(type, ==, gpu.native ? EGL_SYNC_NATIVE_FENCE_ANDROID : EGL_SYNC_FENCE_KHR);
	if (gpu.none)
		return EGL_NO_SYNC_KHR;
	gpu.fences++;
	return &gpu;
}

static EGLBoolean destroy_sync(EGLDisplay display, EGLSyncKHR sync)
{
	g_assert_true(sync == &gpu);
	gpu.fences--;
	return EGL_TRUE;
}

static EGLint dup_fence(EGLDisplay display, EGLSyncKHR sync)
{
	g_assert_true(gpu.native);
	return fcntl(gpu.fd, F_DUPFD_CLOEXEC, 0);
}

static const char *(*real_query)(EGLDisplay display, EGLint name);

/* What the driver has of fences is the test's. */
static const char *query_string(EGLDisplay display, EGLint name)
{
	static char extensions[8192];
	const char *real = real_query(display, name);

	if (!real || name != EGL_EXTENSIONS || display == EGL_NO_DISPLAY)
		return real;
	g_auto(GStrv) names = g_strsplit(real, " ", -1);
	g_strlcpy(extensions, "EGL_KHR_fence_sync", sizeof(extensions));
	if (gpu.native)
		g_strlcat(extensions, " EGL_ANDROID_native_fence_sync", sizeof(extensions));
	for (char **each = names; *each; each++)
		if (**each && strcmp(*each, "EGL_KHR_fence_sync") != 0 && strcmp(*each, "EGL_ANDROID_native_fence_sync") != 0) {
			g_strlcat(extensions, " ", sizeof(extensions));
			g_strlcat(extensions, *each, sizeof(extensions));
		}
	return extensions;
}

static void insert_gpu(void)
{
	eglQueryString(EGL_NO_DISPLAY, EGL_EXTENSIONS); /* epoxy finds the driver's at the first call */
	real_query = epoxy_eglQueryString;
	epoxy_eglQueryString = query_string;
	epoxy_eglClientWaitSyncKHR = client_wait;
	epoxy_eglCreateSyncKHR = create_sync;
	epoxy_eglDestroySyncKHR = destroy_sync;
	epoxy_eglDupNativeFenceFDANDROID = dup_fence;
}

static void gpu_done(void)
{
	gpu.busy = false;
	if (gpu.native)
		g_assert_cmpint(eventfd_write(gpu.fd, 1), ==, 0);
}

static void gpu_busy(void)
{
	eventfd_t count;

	gpu.busy = true;
	eventfd_read(gpu.fd, &count);
}

/* ---- a window ---- */

static void start(struct scanout *scanout, bool native)
{
	struct vtr_window_options options = { .guest = "test" };
	struct vtr_error error = { 0 };

	gpu = (struct gpu){ .native = native, .fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) };
	struct vtr_display *display = vtr_sdl_create(&options, &error);
	if (!display)
		g_error("%s", error.text);
	scanout_init(scanout, display, WIDTH, HEIGHT);
	scanout_run_until(scanout, &scanout->needed, 1);
	scanout_new_buffer(scanout, 0);
	scanout_show(scanout);
	g_assert_false(scanout->no_dmabuf);
	scanout_settle(scanout);
}

static void finish(struct scanout *scanout)
{
	scanout_finish(scanout);
	g_assert_cmpuint(gpu.fences, ==, 0);
	close(gpu.fd);
}

/* Presents, and waits until the window has asked for the GPU's end: no longer, as it gives the GPU a second. */
static void present_and_wait(struct scanout *scanout)
{
	uint64_t end = vtr_now_ns() + UINT64_C(60000000000);
	unsigned before = gpu.asked;

	scanout_present_all(scanout);
	while (gpu.asked == before) {
		g_assert_cmpuint(vtr_now_ns(), <, end);
		scanout_step(scanout, 2);
	}
}

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

static const struct kind {
	const char *name;
	bool native;
} kinds[] = { { "polled", false }, { "fd", true } };

/* A flip: neither is the flush answered nor the last buffer free before the GPU has drawn; and nothing else is drawn meanwhile. */
static void test_flip(const void *data)
{
	const struct kind *kind = data;
	struct scanout scanout;

	start(&scanout, kind->native);
	unsigned done = scanout.done;
	int last = vtr_buffer_fd(scanout.buffer);
	gpu_busy();
	scanout_new_buffer(&scanout, 0); /* the last one is the window's alone now */
	present_and_wait(&scanout);
	scanout_present_all(&scanout);
	scanout_settle(&scanout);
	g_assert_cmpuint(scanout.done, ==, done);
	g_assert_true(is_open(last));
	g_assert_cmpuint(gpu.fences, ==, 1);
	unsigned asked = gpu.asked;
	gpu_done();
	scanout_run_until(&scanout, &scanout.done, done + 2);
	g_assert_cmpuint(scanout.dropped, ==, 0);
	g_assert_false(is_open(last));
	if (kind->native)
		g_assert_cmpuint(asked, <, 20);
	finish(&scanout);
}

/* A frame that replaces the guest's memory by pixels comes after the last one, too. */
static void test_pixels_after(const void *data)
{
	const struct kind *kind = data;
	struct scanout scanout;

	start(&scanout, kind->native);
	unsigned done = scanout.done;
	gpu_busy();
	present_and_wait(&scanout);
	scanout.no_dmabuf = true;
	scanout_present_all(&scanout);
	scanout_settle(&scanout);
	g_assert_cmpuint(scanout.done, ==, done);
	gpu_done();
	scanout_run_until(&scanout, &scanout.done, done + 2);
	gpu_busy();
	scanout_show(&scanout); /* pixels are copied: nobody waits for the GPU */
	finish(&scanout);
}

/* It never comes to an end. */
static void test_hangs(const void *data)
{
	const struct kind *kind = data;
	struct scanout scanout;

	start(&scanout, kind->native);
	vtr_log_set_level(VTR_LOG_ERROR);
	gpu_busy();
	for (int i = 0; i < 2; i++) {
		uint64_t before = vtr_now_ns();

		scanout_show(&scanout);
		g_assert_cmpuint(vtr_now_ns() - before, >, QUIET_NS);
	}
	scanout.no_dmabuf = true;
	unsigned asked = gpu.asked;
	scanout_show(&scanout); /* nor do pixels wait for what was given up */
	g_assert_cmpuint(gpu.asked, ==, asked);
	scanout.no_dmabuf = false;
	scanout_present_all(&scanout); /* and the display ends within that */
	vtr_log_set_level(VTR_LOG_WARN);
	finish(&scanout);
}

static void captured(const struct vtr_picture *picture, const struct vtr_error *error, void *data)
{
	g_assert_null(error);
	close(picture->fd);
	*(unsigned *)data += 1;
}

/* A picture of the window waits for what is drawn, and has it. */
static void test_capture(const void *data)
{
	const struct kind *kind = data;
	struct scanout scanout;
	unsigned captures = 0;

	start(&scanout, kind->native);
	unsigned done = scanout.done;
	gpu_busy();
	present_and_wait(&scanout);
	gpu.patience = true;
	g_assert_nonnull(vtr_output_capture(scanout.output, false, captured, &captures));
	scanout_run_until(&scanout, &captures, 1);
	g_assert_cmpuint(gpu.waited, ==, 1);
	scanout_run_until(&scanout, &scanout.done, done + 1);
	finish(&scanout);
}

static void test_no_fences(void)
{
	struct scanout scanout;

	start(&scanout, false);
	gpu.none = true;
	scanout_show(&scanout);
	unsigned asked = gpu.asked;
	scanout_show(&scanout);
	g_assert_cmpuint(gpu.asked, ==, asked);
	finish(&scanout);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	insert_gpu();
	vtr_log_set_level(VTR_LOG_WARN);
	ADD_ROWS("/sdl-fence/flip/", kinds, test_flip);
	ADD_ROWS("/sdl-fence/pixels-after/", kinds, test_pixels_after);
	ADD_ROWS("/sdl-fence/hangs/", kinds, test_hangs);
	ADD_ROWS("/sdl-fence/capture/", kinds, test_capture);
	g_test_add_func("/sdl-fence/none", test_no_fences);
	return g_test_run();
}
