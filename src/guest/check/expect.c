/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "guest/check/check.h"

#define CONSOLE_NS UINT64_C(5000000000)

bool vtr_check_fail(struct vtr_check *check, const char *format, ...)
{
	va_list arguments;

	if (check->failure[0])
		return false; /* the first reason is the one to tell */
	va_start(arguments, format);
	vsnprintf(check->failure, sizeof(check->failure), format, arguments);
	va_end(arguments);
	return false;
}

static bool no_response(struct vtr_check *check, const char *what, const char *expected)
{
	return vtr_check_fail(check, "%s: expected %s, got no response: %s", what, expected, vtr_guest_error(check->guest));
}

bool vtr_expect_response(struct vtr_check *check, const char *what, uint32_t got, uint32_t expected)
{
	if (got == expected)
		return true;

	char name[40];
	snprintf(name, sizeof(name), "%s", vtr_command_response_name(expected));
	if (!got)
		return no_response(check, what, name);
	return vtr_check_fail(check, "%s: expected %s, got %s", what, name, vtr_command_response_name(got));
}

bool vtr_expect_ok(struct vtr_check *check, const char *what, uint32_t got)
{
	return vtr_expect_response(check, what, got, VIRTIO_GPU_RESP_OK_NODATA);
}

bool vtr_expect_error(struct vtr_check *check, const char *what, uint32_t got)
{
	if (!got)
		return no_response(check, what, "an error response");
	if (got < VIRTIO_GPU_RESP_ERR_UNSPEC)
		return vtr_check_fail(check, "%s: expected an error response, got %s", what, vtr_command_response_name(got));
	return true;
}

bool vtr_expect_answer(struct vtr_check *check, const char *what, uint32_t got)
{
	return got ? true : no_response(check, what, "a response");
}

bool vtr_expect_success(struct vtr_check *check, const char *what, int result)
{
	if (!result)
		return true;
	return vtr_check_fail(check, "%s: expected success, got %s (%s)", what, strerror(-result), vtr_guest_error(check->guest));
}

bool vtr_expect_refusal(struct vtr_check *check, const char *what, int result)
{
	if (!vtr_guest_connected(check->guest))
		return vtr_check_fail(check, "%s: expected an error reply, got a closed connection", what);
	if (!result)
		return vtr_check_fail(check, "%s: expected an error reply, got success", what);
	return true;
}

bool vtr_expect_value(struct vtr_check *check, const char *what, uint64_t got, uint64_t expected)
{
	if (got == expected)
		return true;
	return vtr_check_fail(check, "%s: expected %llu (0x%llx), got %llu (0x%llx)", what, (unsigned long long)expected,
	                      (unsigned long long)expected, (unsigned long long)got, (unsigned long long)got);
}

bool vtr_expect_alive(struct vtr_check *check)
{
	struct virtio_gpu_resp_display_info info;

	return vtr_expect_response(check, "GET_DISPLAY_INFO", vtr_command_display_info(check->guest, &info),
	                           VIRTIO_GPU_RESP_OK_DISPLAY_INFO);
}

bool vtr_expect_recovery(struct vtr_check *check)
{
	return vtr_expect_success(check, "reset and start", vtr_guest_start(check->guest, UINT64_MAX)) && vtr_expect_alive(check);
}

static bool compare(struct vtr_check *check, const struct vtr_shot *shot, vtr_pixel_func pixel, const void *data)
{
	for (uint32_t y = 0; y < shot->height; y++) {
		for (uint32_t x = 0; x < shot->width; x++) {
			uint32_t expected = pixel(data, x, y), got = vtr_shot_pixel(shot, x, y);

			if (expected != got)
				return vtr_check_fail(check, "pixel %u,%u: expected %06x, got %06x", x, y, expected, got);
		}
	}
	return true;
}

static bool expect_shot(struct vtr_check *check, uint32_t scanout, bool cursor, uint32_t width, uint32_t height,
                        vtr_pixel_func pixel, const void *data)
{
	struct vtr_shot shot;
	struct vtr_error error;

	if (vtr_shot_take(&shot, check->guest, scanout, cursor, &error))
		return vtr_check_fail(check, "screenshot: expected a picture, got: %s", error.text);
	bool same = shot.width == width && shot.height == height;
	if (same)
		same = compare(check, &shot, pixel, data);
	else
		vtr_check_fail(check, "picture: expected %ux%u, got %ux%u", width, height, shot.width, shot.height);
	vtr_shot_finish(&shot);
	return same;
}

/* A screenshot is made of the newest frame; a console shows it when it has got it, and before that a part of it. */
bool vtr_expect_pixels(struct vtr_check *check, uint32_t scanout, bool cursor, uint32_t width, uint32_t height,
                       vtr_pixel_func pixel, const void *data)
{
	const bool console = !check->guest->options.control, again = console && !check->failure[0];
	const uint64_t end = vtr_now_ns() + CONSOLE_NS;

	if (console && (cursor || !check->guest->options.display_socket))
		return true;
	while (!expect_shot(check, scanout, cursor, width, height, pixel, data)) {
		if (!again || vtr_now_ns() > end)
			return false;
		check->failure[0] = '\0';
	}
	return true;
}

static uint32_t pattern_pixel(const void *data, uint32_t x, uint32_t y)
{
	return vtr_pattern_pixel(data, x, y);
}

bool vtr_expect_pattern(struct vtr_check *check, uint32_t scanout, const struct vtr_pattern *pattern)
{
	return vtr_expect_pixels(check, scanout, false, pattern->width, pattern->height, pattern_pixel, pattern);
}

static uint32_t black(const void *data, uint32_t x, uint32_t y)
{
	return 0;
}

bool vtr_expect_blank(struct vtr_check *check, uint32_t scanout)
{
	struct virtio_gpu_resp_display_info info;

	if (!vtr_expect_response(check, "GET_DISPLAY_INFO", vtr_command_display_info(check->guest, &info),
	                         VIRTIO_GPU_RESP_OK_DISPLAY_INFO))
		return false;
	const struct virtio_gpu_rect *mode = &info.pmodes[scanout].r;
	return vtr_expect_pixels(check, scanout, false, mode->width, mode->height, black, NULL);
}

static uint32_t patchwork_pixel(const void *data, uint32_t x, uint32_t y)
{
	const struct vtr_patchwork *p = data;
	uint32_t px = x + p->dx, py = y + p->dy;
	bool inside = px >= p->rect.x && px - p->rect.x < p->rect.width && py >= p->rect.y && py - p->rect.y < p->rect.height;

	return vtr_pattern_pixel(inside ? &p->inside : &p->outside, px, py);
}

bool vtr_expect_patchwork(struct vtr_check *check, uint32_t scanout, uint32_t width, uint32_t height,
                          const struct vtr_patchwork *patchwork)
{
	return vtr_expect_pixels(check, scanout, false, width, height, patchwork_pixel, patchwork);
}

struct vtr_rect vtr_check_whole(const struct vtr_image *image)
{
	return (struct vtr_rect){ 0, 0, image->framebuffer.width, image->framebuffer.height };
}

bool vtr_check_show(struct vtr_check *check, struct vtr_image *image, const struct vtr_image_layout *layout, uint32_t resource,
                    uint32_t frame)
{
	struct vtr_pattern pattern = { layout->width, layout->height, frame };

	if (!vtr_expect_success(check, "laying out an image", vtr_image_init(image, check->guest, layout)))
		return false;
	vtr_image_draw_all(image, &pattern);
	return vtr_expect_ok(check, "RESOURCE_CREATE_BLOB", vtr_image_create_blob(image, resource)) &&
	       vtr_expect_ok(check, "SET_SCANOUT_BLOB and RESOURCE_FLUSH", vtr_image_show(image, resource, 0));
}
