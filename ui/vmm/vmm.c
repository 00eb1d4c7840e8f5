/* SPDX-License-Identifier: MIT */
/*
 * The VMM's own console as a display: the guest's pictures go over the display socket of vhost-user-gpu, and QEMU's windows, VNC,
 * SPICE or D-Bus show them.
 *
 * Roles are unusual: we are the back-end of the device, and ask; the VMM is the front-end, and answers. It is not trusted: its
 * answers are checked, nothing waits for it, and one that stops reading costs a frame in flight. When its end is closed (which QEMU
 * does whenever the guest resets the device) the display has failed, and the outputs go on headless until the next socket.
 *
 * An output shows the VMM's scanout of its own number. One that the VMM does not have, or has not connected, is not connected.
 */
#include <drm_fourcc.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "util/fd.h"
#include "vmm/vmm.h"

/* More than the messages that are made without waiting for the one before to be gone: those of outputs that go. */
enum { QUEUE_LIMIT = 1024 * 1024 };

static int attach(struct vtr_display *display, struct vtr_output *output)
{
	struct vmm *vmm = vmm_from(display);
	struct vmm_output *state = calloc(1, sizeof(*state));

	if (!state)
		return -ENOMEM;
	*state = (struct vmm_output){ .vmm = vmm, .output = output, .scanout = vtr_output_number(output) };
	if (!vmm_frames_init(state)) {
		int error = -errno;

		free(state);
		return error;
	}
	vtr_output_set_user(output, state);
	vmm->outputs[state->scanout] = state;
	vmm_frames_connected(state, true);
	vmm_monitors_apply(state);
	return 0;
}

static void detach(struct vtr_display *display, struct vtr_output *output)
{
	struct vmm *vmm = vmm_from(display);
	struct vmm_output *state = vtr_output_user(output);

	vmm_frames_finish(state);
	vmm_forget(vmm, state);
	vmm->outputs[state->scanout] = NULL;
	free(state);
	vmm_pump(vmm);
}

static void frame(struct vtr_display *display, struct vtr_output *output)
{
	vmm_frames_forward(vtr_output_user(output));
	vmm_pump(vmm_from(display));
}

static void cursor(struct vtr_display *display, struct vtr_output *output)
{
	struct vmm_output *state = vtr_output_user(output);

	state->cursor_stale = true;
	vmm_pump(vmm_from(display));
}

static void ask(struct vtr_display *display, struct vtr_output *output)
{
	vmm_monitors_ask(vmm_from(display));
	vmm_pump(vmm_from(display));
}

static void capture(struct vtr_display *display, struct vtr_output *output, struct vtr_capture *capture)
{
	vmm_frames_capture(vtr_output_user(output), capture);
	vmm_frames_forward(vtr_output_user(output));
	vmm_pump(vmm_from(display));
}

/* Any thread. */
static bool accepts(struct vtr_display *display, const struct vtr_output *output, uint32_t format, uint64_t modifier,
                    struct vtr_error *error)
{
	return vmm_can_express_format(format, modifier, atomic_load(&vmm_from(display)->modifiers), error);
}

static int start(struct vtr_display *display)
{
	struct vmm *vmm = vmm_from(display);
	int error = vmm_monitors_open(vmm);

	return error ? error : vmm_connection_open(vmm);
}

static void destroy(struct vtr_display *display)
{
	vmm_connection_close(vmm_from(display));
	free(display);
}

static const struct vtr_display_impl vmm_impl = {
	.name = "vmm",
	.start = start,
	.attach = attach,
	.detach = detach,
	.frame = frame,
	.cursor = cursor,
	.ask = ask,
	.capture = capture,
	.accepts = accepts,
	.flips = true,
	.destroy = destroy,
};

static bool is_stream(int fd)
{
	socklen_t size = sizeof(int);
	int domain, type;

	return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain == AF_UNIX &&
	       getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_STREAM;
}

struct vtr_display *vtr_vmm_create(int socket, struct vtr_error *error)
{
	size_t row = (size_t)VTR_MAX_DIMENSION * 4;
	struct vmm *vmm = calloc(1, sizeof(*vmm));
	int result = -ENOMEM;

	if (!is_stream(socket)) {
		result = vtr_error_set(error, VTR_ERROR_HOST, EINVAL, "the VMM's display socket is no UNIX stream socket");
		goto fail;
	}
	if (!vmm)
		goto fail;
	*vmm = (struct vmm){ .socket = socket, .band = malloc(row > VMM_BAND_SIZE ? row : VMM_BAND_SIZE) };
	vtr_message_reader_init(&vmm->reader, &vmm_framing);
	vtr_message_queue_init(&vmm->queue, QUEUE_LIMIT);
	if (!vmm->band)
		goto fail;
	result = vtr_display_init(&vmm->base, &vmm_impl);
	if (!result)
		return &vmm->base;
	free(vmm->band);
fail:
	if (result != -EINVAL)
		vtr_error_set(error, VTR_ERROR_HOST, -result, "cannot start the vmm display: %s", strerror(-result));
	free(vmm);
	vtr_fd_close(&socket);
	return NULL;
}
