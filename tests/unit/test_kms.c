/* SPDX-License-Identifier: MIT */
/* The KMS display on a card in memory (fake_drm.c): from frames to the screen. The test is the device thread (kms_guest.c). */
#include <drm_fourcc.h>
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <string.h>
#include <unistd.h>

#include <vitrine/log.h>

#include "kms_guest.h"
#include "rows.h"
#include "util/fd.h"

static void hold_events(struct fake_drm *drm, uint32_t value)
{
	drm->hold_events = value;
}

/* ---- imports ---- */

static void test_cache(void)
{
	struct guest guest;

	fake_drm_create();
	start(&guest);
	expect_demand(&guest);
	struct vtr_buffer *buffers[2] = { frame_buffer(), frame_buffer() };
	for (int i = 0; i < 10; i++) {
		guest.buffer = buffers[i % 2];
		present_all(&guest);
		expect_import(&guest);
	}
	g_assert_cmpuint(guest.dropped, ==, 0);
	pthread_mutex_lock(&fake->lock);
	const struct fake_fb *fb = fake_find_fb(fake->crtcs[0].fb);
	g_assert_cmpuint(fake->primes, ==, 2);
	g_assert_cmpuint(fb->offset, ==, OFFSET);
	g_assert_cmpuint(fb->pitch, ==, WIDTH * 4);
	g_assert_cmpuint(fb->format, ==, DRM_FORMAT_XRGB8888);
	g_assert_true(fb->with_modifiers);
	pthread_mutex_unlock(&fake->lock);
	vtr_buffer_drop(buffers[0]);
	finish(&guest); /* has the other one */
	g_assert_cmpuint(fake_count_handles(), ==, 0);
	g_assert_cmpuint(fake_count_fbs(), ==, 0);
	fake_drm_destroy();
}

/* A framebuffer of twice the height, of which a guest shows the upper and then the lower half. */
static void test_parts(void)
{
	struct guest guest;

	fake_drm_create();
	start(&guest);
	expect_demand(&guest);
	show_instead(&guest, new_buffer(VTR_PATH_UDMABUF, (uint64_t)WIDTH * HEIGHT * 8));
	for (uint32_t i = 0; i < 4; i++) {
		guest.offset = i % 2 * WIDTH * HEIGHT * 4;
		present_all(&guest);
		expect_import(&guest);
		g_assert_cmpuint(fake_find_fb(fake->crtcs[0].fb)->offset, ==, OFFSET + guest.offset);
	}
	g_assert_cmpuint(fake->primes, ==, 2);
	finish(&guest);
	fake_drm_destroy();
}

/* What nobody shows any more is let go, though the card is still in use; and what is on the screen is not. */
static void test_eviction(void)
{
	struct guest guest;

	fake_drm_create();
	start(&guest);
	expect_demand(&guest);
	show_instead(&guest, frame_buffer());
	present_all(&guest);
	expect_import(&guest);
	show_instead(&guest, frame_buffer());
	present_all(&guest);
	expect_import(&guest);
	WAIT_FOR(&guest, fake_count_handles() == 1 && fake_count_fbs() == 1); /* the black dumb buffers, too */
	present_all(&guest);
	expect_import(&guest);
	g_assert_cmpuint(fake->primes, ==, 2);
	finish(&guest);
	fake_drm_destroy();
}

/* Two buffers in one dmabuf, as parts of a BAR are: one handle, closed once, when neither is there any more. */
static void test_shared_handle(void)
{
	struct guest guest;
	uint64_t size = (uint64_t)WIDTH * HEIGHT * 4;
	int fd = vtr_memfd_create("bar", size * 2);

	fake_drm_create();
	start(&guest);
	expect_demand(&guest);
	show_instead(&guest, vtr_buffer_create(VTR_PATH_VFIO_WINDOW, fcntl(fd, F_DUPFD_CLOEXEC, 0), 0, size));
	present_all(&guest);
	expect_import(&guest);
	show_instead(&guest, vtr_buffer_create(VTR_PATH_VFIO_WINDOW, fcntl(fd, F_DUPFD_CLOEXEC, 0), size, size));
	present_all(&guest);
	expect_import(&guest);
	pthread_mutex_lock(&fake->lock);
	uint32_t handle = fake_find_fb(fake->crtcs[0].fb)->handle;
	g_assert_cmpuint(fake->handles[handle - 1].imports, ==, 2);
	pthread_mutex_unlock(&fake->lock);
	WAIT_FOR(&guest, fake_count_fbs() == 1);
	g_assert_cmpuint(fake->handles[handle - 1].closes, ==, 0);
	finish(&guest);
	g_assert_cmpuint(fake->handles[handle - 1].closes, ==, 1);
	fake_drm_destroy();
	close(fd);
}

static void test_too_small(void)
{
	struct guest guest;

	fake_drm_create();
	start(&guest);
	expect_demand(&guest);
	show_instead(&guest, new_buffer(VTR_PATH_UDMABUF, (uint64_t)WIDTH * HEIGHT * 4 - 1));
	present_all(&guest);
	expect_copy(&guest);
	g_assert_cmpuint(guest.refused, ==, 1);
	g_assert_cmpint(guest.error.owner, ==, VTR_ERROR_HOST);
	g_assert_nonnull(strstr(guest.error.text, "the picture ends"));
	g_assert_cmpuint(fake->primes, ==, 0);
	finish(&guest);
	fake_drm_destroy();
}

struct refusal_row {
	const char *name;
	size_t member; /* of the fake: what fails */
	int code;
	enum vtr_path path;
	enum vtr_error_owner owner;
	const char *text;
};

static const struct refusal_row refusals[] = {
	{ "import/unsupported", offsetof(struct fake_drm, prime_error), EOPNOTSUPP, VTR_PATH_UDMABUF, VTR_ERROR_UNSUPPORTED,
	  "import" },
	{ "import/no-memory", offsetof(struct fake_drm, prime_error), ENOMEM, VTR_PATH_UDMABUF, VTR_ERROR_HOST, "import" },
	{ "import/device-revoked", offsetof(struct fake_drm, prime_error), ENODEV, VTR_PATH_VFIO_DMABUF, VTR_ERROR_REVOKED,
	  "away" },
	{ "import/device-unsupported", offsetof(struct fake_drm, prime_error), EOPNOTSUPP, VTR_PATH_VFIO_WINDOW,
	  VTR_ERROR_UNSUPPORTED, "imports no device memory" },
	{ "import/device-unreachable", offsetof(struct fake_drm, prime_error), EINVAL, VTR_PATH_VFIO_DMABUF, VTR_ERROR_UNSUPPORTED,
	  "PCIe switch" },
	{ "framebuffer", offsetof(struct fake_drm, fb_error), EINVAL, VTR_PATH_UDMABUF, VTR_ERROR_UNSUPPORTED, "no framebuffer of" },
	{ "framebuffer/device", offsetof(struct fake_drm, fb_error), EINVAL, VTR_PATH_VFIO_DMABUF, VTR_ERROR_UNSUPPORTED,
	  "no framebuffer of" },
	{ "framebuffer/device-revoked", offsetof(struct fake_drm, fb_error), ENODEV, VTR_PATH_VFIO_WINDOW, VTR_ERROR_REVOKED, "away" },
	{ "framebuffer/no-memory", offsetof(struct fake_drm, fb_error), ENOMEM, VTR_PATH_VFIO_DMABUF, VTR_ERROR_HOST, "XR24" },
	{ "commit/device", offsetof(struct fake_drm, commit_error), EINVAL, VTR_PATH_VFIO_DMABUF, VTR_ERROR_HOST,
	  "or it cannot reach the assigned device" },
	{ "commit/device-ranges", offsetof(struct fake_drm, commit_error), EOPNOTSUPP, VTR_PATH_VFIO_DMABUF, VTR_ERROR_UNSUPPORTED,
	  "amdgpu" },
	{ "test", offsetof(struct fake_drm, test_error), EINVAL, VTR_PATH_UDMABUF, VTR_ERROR_HOST, "show" },
	{ "commit/device-revoked", offsetof(struct fake_drm, commit_error), ENODEV, VTR_PATH_VFIO_DMABUF, VTR_ERROR_REVOKED,
	  "away" },
};

static void set_error(const struct refusal_row *row, int code)
{
	pthread_mutex_lock(&fake->lock);
	*(int *)(void *)((char *)fake + row->member) = code;
	pthread_mutex_unlock(&fake->lock);
}

/* The reason is told, nothing is left of the attempt, and the pixels come another way. A later attempt may succeed. */
static void test_refusal(gconstpointer data)
{
	const struct refusal_row *row = data;
	struct guest guest;

	fake_drm_create();
	start(&guest);
	expect_demand(&guest);
	set_error(row, row->code);
	show_instead(&guest, new_buffer(row->path, (uint64_t)WIDTH * HEIGHT * 4));
	present_all(&guest);
	WAIT_FOR(&guest, guest.refused == 1);
	g_assert_cmpint(guest.error.owner, ==, row->owner);
	g_assert_nonnull(strstr(guest.error.text, row->text));
	set_error(row, 0);
	present_all(&guest);
	expect_copy(&guest);
	show_instead(&guest, new_buffer(row->path, (uint64_t)WIDTH * HEIGHT * 4));
	present_all(&guest);
	expect_import(&guest);
	g_assert_cmpuint(guest.refused, ==, 1);
	finish(&guest);
	g_assert_cmpuint(fake_count_handles(), ==, 0);
	g_assert_cmpuint(fake_count_fbs(), ==, 0);
	fake_drm_destroy();
}

/* ---- pacing ---- */

static bool fd_is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

/* A frame is done when its flip is, at the kernel's time; the newest waits; what is on the screen is held until it is not. */
static void test_pacing(void)
{
	struct guest guest;
	struct vtr_buffer *buffers[3] = { frame_buffer(), frame_buffer(), frame_buffer() };
	int fds[3];

	for (int i = 0; i < 3; i++)
		fds[i] = vtr_buffer_fd(buffers[i]);
	fake_drm_create();
	start(&guest);
	expect_demand(&guest);
	change(hold_events, true);
	show_instead(&guest, buffers[0]);
	present_all(&guest);
	WAIT_FOR(&guest, fake->crtcs[0].n_events);
	settle(&guest);
	g_assert_cmpuint(guest.done, ==, 0);
	show_instead(&guest, buffers[1]); /* buffers[0] has no owner but its frame now */
	present_all(&guest);
	show_instead(&guest, buffers[2]);
	present_all(&guest);
	WAIT_FOR(&guest, guest.done == 1); /* the second frame gave way */
	g_assert_cmpuint(guest.dropped, ==, 1);
	g_assert_false(fd_is_open(fds[1]));
	fake_flip(0, 123456789);
	WAIT_FOR(&guest, guest.done == 2);
	g_assert_cmpuint(guest.last_time, ==, UINT64_C(123456789000));
	WAIT_FOR(&guest, fake->crtcs[0].n_events); /* the third one's turn */
	settle(&guest);
	g_assert_true(fd_is_open(fds[0])); /* still on the screen */
	fake_flip(0, 123456999);
	WAIT_FOR(&guest, guest.done == 3 && !fd_is_open(fds[0]));
	g_assert_true(fd_is_open(fds[2]));
	g_assert_cmpuint(guest.dropped, ==, 1);
	change(hold_events, false);
	finish(&guest);
	fake_drm_destroy();
}

struct driver_row {
	const char *name;
	bool atomic, modifiers;
};

static const struct driver_row drivers[] = {
	{ "atomic", true, true },
	{ "atomic-without-modifiers", true, false },
	{ "legacy", false, true },
	{ "legacy-without-modifiers", false, false },
};

/* A guest that draws into the framebuffer on the screen: the driver is told where. */
static void test_in_place(gconstpointer data)
{
	const struct driver_row *row = data;
	struct guest guest;

	fake_drm_create();
	fake->atomic = row->atomic;
	fake->modifiers = row->modifiers;
	start(&guest);
	expect_demand(&guest);
	show_instead(&guest, frame_buffer());
	present_all(&guest);
	expect_import(&guest);
	g_assert_true(fake_find_fb(fake->crtcs[0].fb)->with_modifiers == row->modifiers);
	present_all(&guest);
	expect_import(&guest);
	unsigned modesets = fake->modesets, flips = fake->flips, commits = fake->commits, dirties = fake->dirties;
	present(&guest, 30, 40, 50, 60);
	expect_import(&guest);
	g_assert_cmpuint(fake->modesets, ==, modesets);
	g_assert_cmpuint(fake->flips, ==, flips + !row->atomic);
	g_assert_cmpuint(fake->dirties, ==, dirties + !row->atomic);
	g_assert_cmpuint(fake->commits, ==, commits + row->atomic);
	g_assert_cmpuint(fake->n_clips, ==, 1);
	g_assert_cmpint(fake->clips[0].x1, ==, 30);
	g_assert_cmpint(fake->clips[0].y1, ==, 40);
	g_assert_cmpint(fake->clips[0].x2, ==, 80);
	g_assert_cmpint(fake->clips[0].y2, ==, 100);
	finish(&guest);
	g_assert_cmpuint(fake_count_blobs(), ==, 0);
	fake_drm_destroy();
}

/* A driver that cannot flip to a framebuffer shows it all the same. */
static void test_no_flip(void)
{
	struct guest guest;

	fake_drm_create();
	fake->atomic = false;
	fake->flip_error = EINVAL;
	start(&guest);
	expect_demand(&guest);
	for (int i = 0; i < 3; i++) {
		show_instead(&guest, frame_buffer());
		present_all(&guest);
		expect_import(&guest);
	}
	g_assert_cmpuint(guest.dropped, ==, 0);
	g_assert_cmpuint(fake->flips, ==, 0);
	finish(&guest);
	fake_drm_destroy();
}

/* ---- sizes ---- */

static uint32_t cursor_image[64 * 64];

static void resize(struct guest *guest, uint32_t width, uint32_t height)
{
	guest->width = width;
	guest->height = height;
}

static void test_own_mode(void)
{
	struct guest guest;

	fake_drm_create();
	start(&guest);
	expect_demand(&guest);
	show_instead(&guest, frame_buffer());
	present_all(&guest);
	expect_import(&guest);
	unsigned modesets = fake->modesets;
	resize(&guest, 800, 600);
	present_all(&guest);
	expect_import(&guest);
	g_assert_cmpuint(fake->crtcs[0].mode.hdisplay, ==, 800);
	g_assert_cmpuint(fake->crtcs[0].mode.vdisplay, ==, 600);
	g_assert_cmpuint(fake->modesets, ==, modesets + 1);
	g_assert_cmpuint(vtr_output_mode(guest.output).width, ==, WIDTH); /* what the guest was told stays */
	finish(&guest);
	fake_drm_destroy();
}

static void test_plane_scales(void)
{
	struct guest guest;

	fake_drm_create();
	fake->scales = true;
	start(&guest);
	expect_demand(&guest);
	show_instead(&guest, frame_buffer());
	resize(&guest, 640, 200);
	present_all(&guest);
	expect_import(&guest);
	g_assert_cmpuint(fake->crtcs[0].mode.hdisplay, ==, WIDTH);
	g_assert_cmpuint(fake->crtcs[0].width, ==, 640);
	g_assert_cmpint(fake->crtcs[0].place.x1, ==, 0);
	g_assert_cmpint(fake->crtcs[0].place.y1, ==, 200);
	g_assert_cmpint(fake->crtcs[0].place.x2, ==, WIDTH);
	g_assert_cmpint(fake->crtcs[0].place.y2, ==, 600);
	vtr_output_move_cursor(guest.output, 10, 20); /* in the picture */
	vtr_output_set_cursor(guest.output, cursor_image, 0, 0);
	WAIT_FOR(&guest, fake->crtcs[0].cursor_x == 20 && fake->crtcs[0].cursor_y == 240);
	resize(&guest, 800, 600);
	present_all(&guest);
	WAIT_FOR(&guest, fake->crtcs[0].cursor_x == 10 && fake->crtcs[0].cursor_y == 20);
	finish(&guest);
	fake_drm_destroy();
}

static void test_copy_scales(gconstpointer data)
{
	const struct driver_row *row = data;
	struct guest guest;
	struct vtr_error error;

	fake_drm_create();
	fake->atomic = row->atomic;
	start(&guest);
	expect_demand(&guest);
	show_instead(&guest, frame_buffer());
	resize(&guest, 640, 200);
	for (uint32_t i = 0; i < 640 * 200; i++)
		guest.pixels[i] = i % 640 < 320 ? 0x112233 : 0x445566;
	present_all(&guest);
	WAIT_FOR(&guest, guest.presented == 2); /* the frame with the buffer was given up */
	expect_copy(&guest);
	g_assert_false(vtr_output_accepts(guest.output, DRM_FORMAT_XRGB8888, DRM_FORMAT_MOD_LINEAR, &error));
	g_assert_cmpint(error.owner, ==, VTR_ERROR_UNSUPPORTED);
	g_assert_nonnull(strstr(error.text, "no mode of the picture's size"));
	g_assert_cmpuint(guest.refused, ==, 0); /* it is not the buffer's fault */
	g_assert_cmphex(screen_pixel(0, 199), ==, 0);
	g_assert_cmphex(screen_pixel(0, 200), ==, 0x112233);
	g_assert_cmphex(screen_pixel(600, 300), ==, 0x112233);
	g_assert_cmphex(screen_pixel(1279, 599), ==, 0x445566);
	g_assert_cmphex(screen_pixel(1279, 600), ==, 0);
	present_all(&guest); /* both dumb buffers have it */
	expect_copy(&guest);
	resize(&guest, 200, 400);
	present_all(&guest);
	expect_copy(&guest);
	g_assert_cmphex(screen_pixel(0, 300), ==, 0); /* nothing of the wider picture is left */
	g_assert_cmphex(screen_pixel(450, 0), ==, 0x112233);
	resize(&guest, WIDTH, HEIGHT);
	present_all(&guest);
	expect_import(&guest);
	g_assert_true(vtr_output_accepts(guest.output, DRM_FORMAT_XRGB8888, DRM_FORMAT_MOD_LINEAR, &error));
	finish(&guest);
	fake_drm_destroy();
}

/* ---- copies ---- */

/* Two dumb buffers take turns, and each gets what it misses and nothing else. */
static void test_copy_damage(void)
{
	struct guest guest;
	uint32_t fbs[2];

	fake_drm_create();
	start(&guest);
	expect_demand(&guest);
	for (int i = 0; i < 2; i++) {
		present(&guest, 0, 0, i ? 0 : WIDTH, HEIGHT); /* nothing new for the second one */
		expect_copy(&guest);
		fbs[i] = fake->crtcs[0].fb;
	}
	g_assert_cmpuint(fbs[0], !=, fbs[1]);
	for (uint32_t i = 0; i < WIDTH * HEIGHT; i++)
		guest.pixels[i] = 0xffffff;
	for (int i = 0; i < 2; i++)
		fake_poke(fbs[i], 25, 15, 0x123456); /* would be written over */
	present(&guest, 10, 10, 10, 10);
	expect_copy(&guest);
	g_assert_cmpuint(fake->crtcs[0].fb, ==, fbs[0]);
	present(&guest, 30, 10, 10, 10);
	expect_copy(&guest);
	g_assert_cmpuint(fake->crtcs[0].fb, ==, fbs[1]);
	g_assert_cmphex(screen_pixel(10, 10), ==, 0xffffff);
	g_assert_cmphex(screen_pixel(39, 19), ==, 0xffffff);
	g_assert_cmphex(screen_pixel(25, 15), ==, 0x123456);
	present(&guest, 50, 10, 10, 10); /* the first one again, which has seen 10, 10 and missed 30, 10 */
	expect_copy(&guest);
	g_assert_cmphex(screen_pixel(25, 15), ==, 0x123456);
	g_assert_cmphex(screen_pixel(39, 19), ==, 0xffffff);
	present(&guest, 0, 0, 1, 1);
	expect_copy(&guest);
	g_assert_cmphex(screen_pixel(40, 19), ==, 0);
	g_assert_cmphex(screen_pixel(39, 20), ==, 0);
	finish(&guest);
	fake_drm_destroy();
}

/* The dumb buffers do not see what is shown as a dmabuf, and are brought up to date when they are needed again. */
static void test_copy_after_import(void)
{
	struct guest guest;

	fake_drm_create();
	start(&guest);
	expect_demand(&guest);
	for (int i = 0; i < 2; i++) {
		present_all(&guest);
		expect_copy(&guest);
	}
	guest.pixels[WIDTH * 500 + 500] = 0x123456;
	show_instead(&guest, frame_buffer());
	present(&guest, 500, 500, 1, 1);
	expect_import(&guest);
	show_instead(&guest, NULL);
	present(&guest, 0, 0, 1, 1);
	expect_copy(&guest);
	g_assert_cmphex(screen_pixel(500, 500), ==, 0x123456);
	finish(&guest);
	fake_drm_destroy();
}

/* A card without memory for a copy shows nothing, says so, and does not hang the guest. */
static void test_copy_no_memory(void)
{
	struct guest guest;

	fake_drm_create();
	fake->dumb_error = ENOMEM;
	vtr_log_set_level(VTR_LOG_ERROR);
	start(&guest);
	WAIT_FOR(&guest, vtr_output_demand(guest.output) == VTR_DEMAND_DMABUF);
	present_all(&guest);
	WAIT_FOR(&guest, guest.done == 1);
	g_assert_cmpuint(guest.dropped, ==, 1);
	vtr_log_set_level(VTR_LOG_WARN);
	show_instead(&guest, frame_buffer());
	present_all(&guest);
	expect_import(&guest);
	finish(&guest);
	fake_drm_destroy();
}

/* ---- cursor ---- */

static void test_plane_cursor(void)
{
	struct guest guest;

	fake_drm_create();
	start(&guest);
	expect_demand(&guest);
	cursor_image[65] = 0xff123456;
	vtr_output_move_cursor(guest.output, -3, 44);
	vtr_output_set_cursor(guest.output, cursor_image, 1, 2);
	WAIT_FOR(&guest, fake->crtcs[0].cursor && fake->crtcs[0].cursor_x == -3 && fake->crtcs[0].cursor_y == 44);
	pthread_mutex_lock(&fake->lock);
	uint32_t pixel, pitch = 64 * 4 + 64;
	g_assert_cmpint(pread(fake->memory, &pixel, 4, ((off_t)fake->crtcs[0].cursor << 24) + pitch + 4), ==, 4);
	pthread_mutex_unlock(&fake->lock);
	g_assert_cmphex(pixel, ==, 0xff123456);
	unsigned images = fake->cursor_images;
	vtr_output_move_cursor(guest.output, 700, 500);
	WAIT_FOR(&guest, fake->crtcs[0].cursor_x == 700 && fake->crtcs[0].cursor_y == 500);
	g_assert_cmpuint(fake->cursor_images, ==, images);
	vtr_output_set_cursor(guest.output, NULL, 0, 0);
	WAIT_FOR(&guest, !fake->crtcs[0].cursor);
	show_instead(&guest, frame_buffer());
	present_all(&guest);
	expect_import(&guest);
	finish(&guest);
	g_assert_cmpuint(fake_count_handles(), ==, 0);
	fake_drm_destroy();
}

/* Without a plane the picture is copied for as long as there is a cursor, which moves without a new frame. */
static void test_drawn_cursor(void)
{
	struct guest guest;
	struct vtr_error error;

	fake_drm_create();
	fake->cursor_plane = false;
	start(&guest);
	expect_demand(&guest);
	show_instead(&guest, frame_buffer());
	present_all(&guest);
	expect_import(&guest);
	cursor_image[0] = 0xff123456;
	vtr_output_move_cursor(guest.output, 100, 200);
	vtr_output_set_cursor(guest.output, cursor_image, 0, 0);
	expect_copy(&guest);
	g_assert_false(vtr_output_accepts(guest.output, DRM_FORMAT_XRGB8888, DRM_FORMAT_MOD_LINEAR, &error));
	g_assert_nonnull(strstr(error.text, "no cursor plane"));
	WAIT_FOR(&guest, fake_pixel(fake->crtcs[0].fb, 100, 200) == 0x123456);
	unsigned presented = guest.presented;
	vtr_output_move_cursor(guest.output, 300, 200);
	WAIT_FOR(&guest, fake_pixel(fake->crtcs[0].fb, 300, 200) == 0x123456 && fake_pixel(fake->crtcs[0].fb, 100, 200) == 0);
	vtr_output_move_cursor(guest.output, 500, 200);
	WAIT_FOR(&guest, fake_pixel(fake->crtcs[0].fb, 500, 200) == 0x123456 && fake_pixel(fake->crtcs[0].fb, 300, 200) == 0 &&
	                         fake_pixel(fake->crtcs[0].fb, 100, 200) == 0);
	g_assert_cmpuint(guest.presented, ==, presented);
	vtr_output_set_cursor(guest.output, NULL, 0, 0);
	expect_import(&guest);
	finish(&guest);
	fake_drm_destroy();
}

/* ---- captures ---- */

/* Guest memory is not read: the pixels are asked for, and after that the buffer is on the screen again. */
static void test_capture(void)
{
	struct guest guest;

	fake_drm_create();
	start(&guest);
	expect_demand(&guest);
	show_instead(&guest, frame_buffer());
	present_all(&guest);
	expect_import(&guest);
	guest.pixels[WIDTH + 7] = 0xff345678;
	g_assert_nonnull(vtr_output_capture(guest.output, false, captured, &guest));
	WAIT_FOR(&guest, guest.captured == 1);
	g_assert_cmpuint(guest.picture.width, ==, WIDTH);
	g_assert_cmphex(guest.captured_pixels[WIDTH + 7] & 0xffffff, ==, 0x345678);
	expect_import(&guest);
	g_assert_cmpint(vtr_output_demand(guest.output), ==, VTR_DEMAND_DMABUF);
	finish(&guest);
	fake_drm_destroy();
}

/* A frozen scanout has no newer pixels than those on the screen. */
static void test_capture_frozen(void)
{
	struct guest guest;

	fake_drm_create();
	start(&guest);
	expect_demand(&guest);
	guest.pixels[0] = 0xff345678;
	present_all(&guest);
	expect_copy(&guest);
	guest.presented = 0; /* nothing is presented by itself any more */
	guest.done = 0;
	g_assert_nonnull(vtr_output_capture(guest.output, false, captured, &guest));
	WAIT_FOR(&guest, vtr_output_demand(guest.output) == VTR_DEMAND_PIXELS);
	struct vtr_frame *frame = vtr_output_begin_frame(guest.output);
	frame->content = VTR_FRAME_UNREAD;
	frame->width = WIDTH;
	frame->height = HEIGHT;
	frame->format = DRM_FORMAT_XRGB8888;
	vtr_output_submit(guest.output, frame);
	WAIT_FOR(&guest, guest.captured == 1 && guest.done == 1);
	g_assert_cmphex(guest.captured_pixels[0] & 0xffffff, ==, 0x345678);
	finish(&guest);
	fake_drm_destroy();
}

int main(int argc, char **argv)
{
	setlocale(LC_ALL, "C");
	g_test_init(&argc, &argv, NULL);
	vtr_log_set_level(VTR_LOG_WARN);
	g_test_add_func("/kms/import/cache", test_cache);
	g_test_add_func("/kms/import/parts", test_parts);
	g_test_add_func("/kms/import/eviction", test_eviction);
	g_test_add_func("/kms/import/shared-handle", test_shared_handle);
	g_test_add_func("/kms/import/too-small", test_too_small);
	ADD_ROWS("/kms/refusal/", refusals, test_refusal);
	g_test_add_func("/kms/pacing", test_pacing);
	ADD_ROWS("/kms/in-place/", drivers, test_in_place);
	g_test_add_func("/kms/no-flip", test_no_flip);
	g_test_add_func("/kms/size/own-mode", test_own_mode);
	g_test_add_func("/kms/size/plane-scales", test_plane_scales);
	ADD_ROWS("/kms/size/copy-scales/", drivers, test_copy_scales);
	g_test_add_func("/kms/copy/damage", test_copy_damage);
	g_test_add_func("/kms/copy/after-import", test_copy_after_import);
	g_test_add_func("/kms/copy/no-memory", test_copy_no_memory);
	g_test_add_func("/kms/cursor/plane", test_plane_cursor);
	g_test_add_func("/kms/cursor/drawn", test_drawn_cursor);
	g_test_add_func("/kms/capture/zero-copy", test_capture);
	g_test_add_func("/kms/capture/frozen", test_capture_frozen);
	return g_test_run();
}
