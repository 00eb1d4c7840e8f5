/* SPDX-License-Identifier: MIT */
/*
 * The headless display: outputs that nobody sees, paced like real ones, of which captures can be taken.
 *
 * Pacing: each output ticks at its refresh rate, and at a tick the newest frame is taken and finished: at most one a tick. Without
 * a refresh rate a frame is finished when it comes. The timer runs only while a frame waits.
 *
 * Demand: nobody looks, so the outputs ask for no pixels, and a frame costs the same however large it is. A capture raises the
 * demand; the device thread presents the scanout again with everything that was not read (FRAME_NEEDED), the damaged rectangles are
 * read into the output's picture, all waiting captures get that picture, and the demand falls again. A picture is therefore always
 * that of a frame which was made after somebody asked. While the guest shows nothing the answer is black, as soon as that is known;
 * a frame whose tick has not come may be the guest's first.
 *
 * Reading: dmabufs are mapped and read by the CPU, textures of a renderer by a context of the display's own on the same EGLDisplay
 * (texture.c); what cannot be read is refused (IMPORT_FAILED) and comes back as pixels.
 * Frames are never held: they are read and finished in one go. Everything here runs on the display's thread.
 */
#include <drm_fourcc.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <vitrine/dmabuf.h>

#include "display/capture_set.h"
#include "display/picture.h"
#include "mapping.h"
#include "texture.h"
#include "util/checked.h"
#include "util/fault.h"

/* How long mappings and contexts are kept when the last capture was answered: somebody who waits for a picture asks again at once.
 */
#define IDLE_NS UINT64_C(1000000000)

struct headless {
	struct vtr_display base;
	struct headless_mappings mappings;
	struct headless_textures *textures;
	struct vtr_source *idle; /* timer, NULL before the first output */
};

struct headless_output {
	struct headless *headless;
	struct vtr_output *output;
	struct vtr_source *tick;
	bool ticking;
	uint64_t start_ns;       /* the first tick */
	bool told;               /* a frame came: what the scanout shows is known */
	bool blank;              /* the scanout is disabled, or never was enabled */
	pixman_image_t *picture; /* what was read, current but for the damage still to come; NULL before */
	struct vtr_capture_set captures;
};

static struct headless *headless_from(struct vtr_display *display)
{
	return (struct headless *)display;
}

/* ---- captures ---- */

static void fail_captures(struct headless_output *state, const struct vtr_error *error)
{
	vtr_output_set_demand(state->output, VTR_DEMAND_NONE);
	vtr_capture_set_fail(&state->captures, error);
}

static void finish_captures(struct headless_output *state, uint64_t sequence)
{
	if (!state->captures.count)
		return;
	vtr_output_set_demand(state->output, VTR_DEMAND_NONE);
	if (state->blank)
		vtr_capture_set_answer_pixels(&state->captures, NULL, sequence);
	else
		vtr_capture_set_answer(&state->captures, state->picture, sequence);
	vtr_timer_arm(state->headless->idle, vtr_now_ns() + IDLE_NS);
}

static void capture(struct vtr_display *display, struct vtr_output *output, struct vtr_capture *capture)
{
	struct headless_output *state = vtr_output_user(output);

	vtr_capture_set_add(&state->captures, capture);
	if (state->told && state->blank && !state->ticking)
		finish_captures(state, 0);
	else
		vtr_output_set_demand(output, VTR_DEMAND_DMABUF);
}

static void idle(void *data)
{
	struct headless *headless = data;

	headless_mappings_clear(&headless->mappings);
	headless_textures_clear(&headless->textures);
}

/* ---- frames ---- */

static int read_dmabuf(struct headless_output *state, const struct vtr_frame *frame, struct vtr_error *error)
{
	uint64_t length = (uint64_t)frame->stride * (frame->height - 1) + (uint64_t)frame->width * 4;
	struct headless_mapping *mapping = headless_mappings_get(&state->headless->mappings, frame->buffer, error);
	int fd = vtr_buffer_fd(frame->buffer);

	if (frame->flipped)
		return vtr_error_set(error, VTR_ERROR_UNSUPPORTED, EOPNOTSUPP,
		                     "the headless display reads no dmabufs that are upside down in memory");
	if (!mapping)
		return -error->code;
	if (frame->offset < mapping->offset || !vtr_range_fits(frame->offset - mapping->offset, length, mapping->length))
		return vtr_error_set(error, VTR_ERROR_HOST, EINVAL, "the picture does not fit its dmabuf");
	int result = vtr_dmabuf_begin_cpu(fd, false);
	if (result && result != -ENOTTY) /* ENOTTY: shared memory and not a dmabuf, always coherent */
		return vtr_error_set(error, VTR_ERROR_HOST, -result, "the dmabuf cannot be read by the CPU: %s", strerror(-result));
	bool ok = vtr_picture_read(state->picture, &frame->damage, (uint8_t *)mapping->start + (frame->offset - mapping->offset),
	                           frame->stride, frame->format);
	if (!result)
		vtr_dmabuf_end_cpu(fd, false);
	if (!ok)
		return vtr_error_set(error, VTR_ERROR_HOST, ENOMEM, "no memory to convert the picture");
	if (vtr_fault_guard_hit(mapping->guard))
		return vtr_error_set(error, VTR_ERROR_HOST, EFAULT, "the dmabuf's memory went away while it was read");
	return 0;
}

/* The picture in the frame's size. A new one needs no reading of its own: all of such a frame is damaged. */
static bool ensure_picture(struct headless_output *state, const struct vtr_frame *frame)
{
	pixman_image_t *picture = state->picture;

	if (picture && pixman_image_get_width(picture) == (int)frame->width &&
	    pixman_image_get_height(picture) == (int)frame->height)
		return true;
	if (picture)
		pixman_image_unref(picture);
	state->picture = vtr_picture_create(frame->width, frame->height);
	return state->picture;
}

/* Reads what the frame damaged. 0 or -errno with *error. */
static int read_frame(struct headless_output *state, const struct vtr_frame *frame, struct vtr_error *error)
{
	if (!ensure_picture(state, frame))
		return vtr_error_set(error, VTR_ERROR_HOST, ENOMEM, "no memory for the picture");
	if (!vtr_picture_knows(frame->format))
		return vtr_error_set(error, VTR_ERROR_UNSUPPORTED, EOPNOTSUPP, "the picture's format is unknown");
	if (frame->content == VTR_FRAME_BUFFER && vtr_buffer_texture(frame->buffer))
		return headless_textures_read(&state->headless->textures, frame, state->picture, error);
	if (frame->content == VTR_FRAME_BUFFER)
		return read_dmabuf(state, frame, error);
	if (!vtr_picture_read(state->picture, &frame->damage, frame->pixels, frame->stride, frame->format))
		return vtr_error_set(error, VTR_ERROR_HOST, ENOMEM, "no memory to convert the picture");
	return 0;
}

static void show_pixels(struct headless_output *state, struct vtr_frame *frame)
{
	struct vtr_error error;
	uint64_t sequence = frame->sequence;

	state->blank = false;
	if (!read_frame(state, frame, &error)) {
		vtr_frame_finish(frame, vtr_now_ns());
		finish_captures(state, sequence);
		return;
	}
	bool again = frame->content == VTR_FRAME_BUFFER; /* another way of getting at the pixels may do */
	if (again)
		vtr_frame_import_failed(frame, &error);
	vtr_frame_finish(frame, 0);
	if (!again)
		fail_captures(state, &error);
}

/* No pixels. When nothing changed since they were last read (a frozen scanout, whose memory is gone, has no newer ones), the
 * picture is this frame's all the same. */
static void show_unread(struct headless_output *state, struct vtr_frame *frame)
{
	uint64_t sequence = frame->sequence;

	state->blank = false;
	vtr_frame_finish(frame, vtr_now_ns());
	if (state->picture && vtr_output_is_current(state->output))
		finish_captures(state, sequence);
}

static void show_blank(struct headless_output *state, struct vtr_frame *frame)
{
	uint64_t sequence = frame->sequence;

	state->blank = true;
	vtr_frame_finish(frame, vtr_now_ns());
	finish_captures(state, sequence);
}

/* A tick: the newest frame's turn. */
static void show(struct headless_output *state)
{
	struct vtr_frame *frame = vtr_output_take_frame(state->output);

	if (!frame)
		return;
	state->told = true;
	switch (frame->content) {
	case VTR_FRAME_BUFFER:
	case VTR_FRAME_PIXELS:
		show_pixels(state, frame);
		break;
	case VTR_FRAME_UNREAD:
		show_unread(state, frame);
		break;
	case VTR_FRAME_BLANK:
		show_blank(state, frame);
		break;
	}
}

static void tick(void *data)
{
	struct headless_output *state = data;

	state->ticking = false;
	show(state);
}

static void frame_waits(struct vtr_display *display, struct vtr_output *output)
{
	struct headless_output *state = vtr_output_user(output);
	uint32_t refresh_mhz = vtr_output_mode(output).refresh_mhz;

	if (state->ticking)
		return;
	if (!refresh_mhz) {
		show(state);
		return;
	}
	uint64_t period = UINT64_C(1000000000000) / refresh_mhz, now = vtr_now_ns();
	state->ticking = true;
	vtr_timer_arm(state->tick, state->start_ns + ((now - state->start_ns) / period + 1) * period);
}

/* ---- the display ---- */

static int attach(struct vtr_display *display, struct vtr_output *output)
{
	struct headless *headless = headless_from(display);
	struct headless_output *state = calloc(1, sizeof(*state));

	if (!state)
		return -ENOMEM;
	if (!headless->idle)
		headless->idle = vtr_loop_add_timer(display->loop, idle, headless);
	*state = (struct headless_output){
		.headless = headless,
		.output = output,
		.tick = vtr_loop_add_timer(display->loop, tick, state),
		.start_ns = vtr_now_ns(),
		.blank = true,
	};
	vtr_capture_set_init(&state->captures, output);
	if (!state->tick || !headless->idle) {
		int error = -errno;

		vtr_source_remove(state->tick);
		free(state);
		return error;
	}
	vtr_output_set_user(output, state);
	return 0;
}

static void detach(struct vtr_display *display, struct vtr_output *output)
{
	struct headless_output *state = vtr_output_user(output);

	vtr_capture_set_give_back(&state->captures);
	vtr_source_remove(state->tick);
	if (state->picture)
		pixman_image_unref(state->picture);
	free(state);
}

static bool accepts(struct vtr_display *display, const struct vtr_output *output, uint32_t format, uint64_t modifier,
                    struct vtr_error *error)
{
	if (!vtr_picture_knows(format)) {
		vtr_error_set(error, VTR_ERROR_UNSUPPORTED, EOPNOTSUPP, "the headless display does not know the format");
		return false;
	}
	if (modifier != DRM_FORMAT_MOD_LINEAR) {
		vtr_error_set(error, VTR_ERROR_UNSUPPORTED, EOPNOTSUPP, "the headless display reads linear dmabufs only");
		return false;
	}
	return true;
}

static bool accepts_texture(struct vtr_display *display, void *egl_display, struct vtr_error *error)
{
	return headless_textures_accept(egl_display, error);
}

/* The last on the thread: contexts are destroyed where they were used. */
static void stop(struct vtr_display *display)
{
	headless_textures_clear(&headless_from(display)->textures);
}

static void destroy(struct vtr_display *display)
{
	struct headless *headless = headless_from(display);

	headless_mappings_clear(&headless->mappings);
	free(headless);
}

static const struct vtr_display_impl headless_impl = {
	.name = "headless",
	.stop = stop,
	.attach = attach,
	.detach = detach,
	.frame = frame_waits,
	.capture = capture,
	.accepts = accepts,
	.accepts_texture = accepts_texture,
	.flips = true,
	.destroy = destroy,
};

struct vtr_display *vtr_headless_create(void)
{
	struct headless *headless = calloc(1, sizeof(*headless));

	if (!headless)
		return NULL;
	int error = vtr_display_init(&headless->base, &headless_impl);
	if (error) {
		free(headless);
		errno = -error;
		return NULL;
	}
	return &headless->base;
}
