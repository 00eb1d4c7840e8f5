/* SPDX-License-Identifier: MIT */
/*
 * Captures: a picture of what an output shows, asked for on the device thread, made on the display's.
 *
 *     asked (output->captures) --deliver--> with the display --finish--> event --dispatch--> func, gone
 *
 * The answer travels through the event queue, so that func runs where it was asked for. A cancelled capture that the display has
 * seen goes the rest of its way silently; one it has not seen is gone at once. The number of captures alive is bounded per output,
 * so that a display which does not answer cannot be made to collect them.
 *
 * A display that loses the output gives back what it has not answered: back in output->captures it waits for the next display, and
 * that gets it when it has taken its first frame: before that it could only answer with black.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "display/output.h"
#include "util/fd.h"

struct vtr_capture {
	struct vtr_output *output;
	struct vtr_capture *next; // vtr_output.captures
	bool cursor;
	vtr_capture_func func; /* NULL once cancelled; device thread */
	void *data;
	struct vtr_picture picture;
	struct vtr_error error;
	struct vtr_event_node node;
};

static void capture_free(struct vtr_capture *capture)
{
	capture->output->n_captures--;
	vtr_fd_close(&capture->picture.fd);
	free(capture);
}

static bool deliver_finished(struct vtr_event_node *node)
{
	struct vtr_capture *capture = (struct vtr_capture *)((char *)node - offsetof(struct vtr_capture, node));
	struct vtr_picture picture = capture->picture;

	if (capture->func) {
		capture->picture.fd = -1; /* the callee's */
		capture->func(&picture, picture.fd < 0 ? &capture->error : NULL, capture->data);
	}
	capture_free(capture);
	return false;
}

static void append(struct vtr_output *output, struct vtr_capture *capture)
{
	vtr_output_lock(output);
	struct vtr_capture **last = &output->captures;
	while (*last)
		last = &(*last)->next;
	*last = capture;
	vtr_output_unlock(output);
}

struct vtr_capture *vtr_output_capture(struct vtr_output *output, bool cursor, vtr_capture_func func, void *data)
{
	if (output->n_captures >= VTR_MAX_CAPTURES) {
		errno = EBUSY;
		return NULL;
	}
	struct vtr_capture *capture = calloc(1, sizeof(*capture));
	if (!capture)
		return NULL;
	*capture = (struct vtr_capture){
		.output = output,
		.cursor = cursor,
		.func = func,
		.data = data,
		.picture.fd = -1,
		.node.deliver = deliver_finished,
	};
	output->n_captures++;
	append(output, capture);
	if (vtr_output_connected(output))
		vtr_display_mail(output, VTR_MAIL_CAPTURE);
	else
		vtr_captures_fail(output, "the output is not connected");
	return capture;
}

void vtr_capture_cancel(struct vtr_capture *capture)
{
	struct vtr_output *output = capture->output;
	bool found = false;

	capture->func = NULL;
	vtr_output_lock(output);
	for (struct vtr_capture **link = &output->captures; *link; link = &(*link)->next)
		if (*link == capture) {
			*link = capture->next;
			found = true;
			break;
		}
	vtr_output_unlock(output);
	if (found)
		capture_free(capture);
}

static struct vtr_capture *pop_capture(struct vtr_output *output)
{
	vtr_output_lock(output);
	struct vtr_capture *capture = output->captures;
	if (capture)
		output->captures = capture->next;
	vtr_output_unlock(output);
	return capture;
}

void vtr_captures_deliver(struct vtr_output *output)
{
	struct vtr_capture *capture;

	while ((capture = pop_capture(output)))
		output->display->impl->capture(output->display, output, capture);
}

void vtr_captures_fail(struct vtr_output *output, const char *reason)
{
	struct vtr_capture *capture;
	struct vtr_error error;

	vtr_error_set(&error, VTR_ERROR_HOST, ENODEV, "%s", reason);
	while ((capture = pop_capture(output)))
		vtr_capture_finish(capture, NULL, 0, &error);
}

void vtr_capture_give_back(struct vtr_capture *capture)
{
	struct vtr_output *output = capture->output;

	capture->next = NULL;
	append(output, capture);
	if (!vtr_output_connected(output))
		vtr_captures_fail(output, "the output is not connected");
}

bool vtr_capture_wants_cursor(const struct vtr_capture *capture)
{
	return capture->cursor;
}

static int write_all(int fd, const void *data, size_t size)
{
	const char *bytes = data;

	while (size) {
		ssize_t written = write(fd, bytes, size);

		if (written < 0 && errno != EINTR)
			return -errno;
		if (written > 0) {
			bytes += written;
			size -= (size_t)written;
		}
	}
	return 0;
}

/* Written and not mapped: a full /dev/shm is then an error and not a signal. */
static int picture_file(pixman_image_t *image, const struct vtr_picture *picture)
{
	const uint8_t *data = (const uint8_t *)pixman_image_get_data(image);
	size_t stride = (size_t)pixman_image_get_stride(image);
	int fd = vtr_memfd_create("vitrine-picture", (uint64_t)picture->stride * picture->height), error = fd < 0 ? fd : 0;

	if (stride == picture->stride && !error)
		error = write_all(fd, data, stride * picture->height);
	else
		for (uint32_t y = 0; y < picture->height && !error; y++)
			error = write_all(fd, data + y * stride, picture->stride);
	if (!error && fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SEAL) < 0)
		error = -errno;
	if (error && fd >= 0)
		close(fd);
	return error ? error : fd;
}

void vtr_capture_finish(struct vtr_capture *capture, pixman_image_t *image, uint64_t sequence, const struct vtr_error *error)
{
	struct vtr_picture *picture = &capture->picture;

	if (image) {
		assert(PIXMAN_FORMAT_BPP(pixman_image_get_format(image)) == 32);
		picture->width = (uint32_t)pixman_image_get_width(image);
		picture->height = (uint32_t)pixman_image_get_height(image);
		picture->stride = picture->width * 4;
		picture->sequence = sequence;
		picture->fd = picture_file(image, picture);
		if (picture->fd < 0) {
			vtr_error_set(&capture->error, VTR_ERROR_HOST, -picture->fd, "no memory file for the picture: error %d",
			              -picture->fd);
			picture->fd = -1;
		}
	} else {
		capture->error = *error;
	}
	vtr_outputs_post(capture->output->outputs, &capture->node);
}
