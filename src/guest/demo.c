/* SPDX-License-Identifier: MIT */
/*
 * A moving picture: two blobs, each of many shuffled ranges; one is drawn while the other is shown, then they change places with
 * SET_SCANOUT_BLOB and a fenced RESOURCE_FLUSH, as a page flip of Linux does; or one blob, drawn into in its place; or targets of a
 * 3D context (demo_3d.c). The fence paces the loop, as it would a guest's compositor.
 */
#include <inttypes.h>
#include <poll.h>
#include <unistd.h>

#include <vitrine/limits.h>
#include <vitrine/log.h>
#include <vitrine/loop.h>

#include "guest/command.h"
#include "guest/demo.h"
#include "guest/machine.h"

enum { CURSOR_ID = VTR_DEMO_FIRST_ID + VTR_GUEST_DEMO_BUFFERS, DEFAULT_RANGES = 63, NS_PER_S = 1000000000 };

int vtr_demo_fail(const struct vtr_guest *guest, const char *what, uint32_t response)
{
	if (response)
		vtr_log(VTR_LOG_ERROR, "%s: the device answered %s", what, vtr_command_response_name(response));
	else
		vtr_log(VTR_LOG_ERROR, "%s: %s", what, vtr_guest_error(guest));
	return response ? VTR_GUEST_FAILED : VTR_GUEST_GONE;
}

/* What the device prefers for this scanout, where the user did not say. */
static int choose_size(struct vtr_demo *demo)
{
	const struct vtr_guest_demo *choice = demo->choice;
	struct virtio_gpu_resp_display_info info;

	demo->width = choice->width;
	demo->height = choice->height;
	if (!demo->width || !demo->height) {
		uint32_t response = vtr_command_display_info(demo->guest, &info);

		if (response != VIRTIO_GPU_RESP_OK_DISPLAY_INFO)
			return vtr_demo_fail(demo->guest, "asking for the display's size", response);
		const struct virtio_gpu_display_one *one = &info.pmodes[choice->scanout % VIRTIO_GPU_MAX_SCANOUTS];
		demo->width = one->r.width;
		demo->height = one->r.height;
	}
	if (!demo->width || !demo->height) {
		vtr_log(VTR_LOG_ERROR, "scanout %u has no size: choose one with --size WxH", choice->scanout);
		return VTR_GUEST_FAILED;
	}
	return VTR_GUEST_OK;
}

static bool goes_on(const struct vtr_guest_demo *demo, uint64_t frame, uint64_t started_ns)
{
	return (!demo->frames || frame < demo->frames) &&
	       (!demo->seconds || vtr_now_ns() - started_ns < (uint64_t)demo->seconds * NS_PER_S);
}

uint32_t vtr_demo_buffers(const struct vtr_demo *demo)
{
	return demo->choice->buffers ? demo->choice->buffers : VTR_GUEST_DEMO_BUFFERS;
}

static int play(struct vtr_demo *demo, const struct vtr_demo_painter *painter, FILE *out)
{
	const struct vtr_guest_demo *choice = demo->choice;
	uint64_t frame = 0, started = vtr_now_ns();

	for (; goes_on(choice, frame, started); frame++) {
		uint32_t buffer = (uint32_t)(frame % vtr_demo_buffers(demo));
		uint32_t response = painter->show(demo, (uint32_t)frame, buffer, choice->scanout, true);

		for (uint32_t head = 1; head < choice->heads && response == VIRTIO_GPU_RESP_OK_NODATA; head++)
			response = painter->show(demo, (uint32_t)frame, buffer, choice->scanout + head, false);
		if (response != VIRTIO_GPU_RESP_OK_NODATA)
			return vtr_demo_fail(demo->guest, "showing a frame", response);
	}
	double seconds = (double)(vtr_now_ns() - started) / NS_PER_S;
	fprintf(out, "%" PRIu64 " frames of %ux%u ", frame, demo->width, demo->height);
	painter->describe(demo, out);
	fprintf(out, ", %.1f s, %.1f frames/s, last frame number %" PRIu64 "\n", seconds, seconds > 0 ? (double)frame / seconds : 0,
	        frame ? frame - 1 : 0);
	fflush(out);
	return VTR_GUEST_OK;
}

/* Serves the device until somebody closes standard input, or the device leaves. */
static void keep_showing(struct vtr_guest *guest)
{
	struct pollfd input = { .fd = STDIN_FILENO, .events = POLLIN };
	char bytes[256];

	while (vtr_guest_connected(guest) && !vtr_guest_idle(guest, 100))
		if (poll(&input, 1, 0) > 0 && read(STDIN_FILENO, bytes, sizeof(bytes)) <= 0)
			return;
}

/* ---- what the guest draws ---- */

static int make_blobs(struct vtr_demo *demo)
{
	const struct vtr_image_layout layout = {
		.memory = demo->choice->memory,
		.width = demo->width,
		.height = demo->height,
		.ranges = demo->choice->ranges ? demo->choice->ranges : DEFAULT_RANGES,
	};

	for (uint32_t i = 0; i < vtr_demo_buffers(demo); i++) {
		if (vtr_image_init(&demo->images[i], demo->guest, &layout)) {
			vtr_log(VTR_LOG_ERROR, "%s", vtr_guest_error(demo->guest));
			return VTR_GUEST_FAILED;
		}
		uint32_t response = vtr_image_create_blob(&demo->images[i], VTR_DEMO_FIRST_ID + i);
		if (response != VIRTIO_GPU_RESP_OK_NODATA)
			return vtr_demo_fail(demo->guest, "creating a blob", response);
	}
	return VTR_GUEST_OK;
}

static uint32_t show_blob(struct vtr_demo *demo, uint32_t frame, uint32_t buffer, uint32_t scanout, bool draw)
{
	if (draw)
		vtr_image_draw_all(&demo->images[buffer], &(struct vtr_pattern){ demo->width, demo->height, frame });
	return vtr_image_show(&demo->images[buffer], VTR_DEMO_FIRST_ID + buffer, scanout);
}

static void describe_blobs(const struct vtr_demo *demo, FILE *out)
{
	fprintf(out, "in %u ranges of %s memory", demo->images[0].n_entries, vtr_guest_memory_name(demo->choice->memory));
}

static const struct vtr_demo_painter blobs = {
	.feature = VIRTIO_GPU_F_RESOURCE_BLOB,
	.missing = "the device does not offer RESOURCE_BLOB, which the demo is about",
	.make = make_blobs,
	.show = show_blob,
	.describe = describe_blobs,
};

/* ---- the whole ---- */

/* A blob has no format; a cursor's is B8G8R8A8, as the Linux driver has it. */
static int show_cursor(struct vtr_guest *guest, const struct vtr_guest_demo *demo)
{
	const struct vtr_image_layout layout = { .memory = demo->memory, .width = VTR_CURSOR_SIZE, .height = VTR_CURSOR_SIZE };
	struct vtr_image image;

	if (vtr_image_init(&image, guest, &layout)) {
		vtr_log(VTR_LOG_ERROR, "%s", vtr_guest_error(guest));
		return VTR_GUEST_FAILED;
	}
	for (uint32_t y = 0; y < VTR_CURSOR_SIZE; y++)
		for (uint32_t x = 0; x < VTR_CURSOR_SIZE; x++) {
			uint32_t argb = vtr_pattern_cursor(x, y);

			vtr_image_write(&image, (y * VTR_CURSOR_SIZE + x) * sizeof(argb), &argb, sizeof(argb));
		}
	uint32_t response = vtr_image_create_blob(&image, CURSOR_ID);
	vtr_image_finish(&image);
	if (response != VIRTIO_GPU_RESP_OK_NODATA)
		return vtr_demo_fail(guest, "creating a cursor", response);
	if (vtr_command_update_cursor(guest, demo->scanout, CURSOR_ID, demo->cursor_x, demo->cursor_y, 0, 0))
		return vtr_demo_fail(guest, "showing a cursor", 0);
	return VTR_GUEST_OK;
}

static int run(struct vtr_guest *guest, const struct vtr_guest_demo *choice, FILE *out)
{
	const struct vtr_demo_painter *painter = choice->three_d ? &vtr_demo_3d : &blobs;
	struct vtr_demo demo = { .guest = guest, .choice = choice };

	guest->three_d = choice->three_d;
	if (vtr_guest_start(guest, UINT64_MAX))
		return vtr_demo_fail(guest, "starting the device", 0);
	if (!(vtr_guest_features(guest) & UINT64_C(1) << painter->feature)) {
		vtr_log(VTR_LOG_ERROR, "%s", painter->missing);
		return VTR_GUEST_FAILED;
	}
	int code = choose_size(&demo);
	if (code == VTR_GUEST_OK)
		code = painter->make(&demo);
	if (code == VTR_GUEST_OK && choice->cursor)
		code = show_cursor(guest, choice);
	if (code == VTR_GUEST_OK)
		code = play(&demo, painter, out);
	if (code == VTR_GUEST_OK && choice->keep)
		keep_showing(guest);
	for (size_t i = 0; i < VTR_GUEST_DEMO_BUFFERS; i++)
		vtr_image_finish(&demo.images[i]);
	return code;
}

int vtr_guest_demo(const struct vtr_guest_options *options, const struct vtr_guest_demo *demo, FILE *out)
{
	struct vtr_error error;
	struct vtr_guest *guest = vtr_guest_open(options, &error);

	if (!guest) {
		vtr_log(VTR_LOG_ERROR, "%s", error.text);
		return VTR_GUEST_GONE;
	}
	int code = run(guest, demo, out);
	vtr_guest_close(guest);
	return code;
}
