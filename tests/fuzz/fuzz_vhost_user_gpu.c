/* SPDX-License-Identifier: MIT */
/*
 * The vmm display against a front-end that answers anything, while frames, cursors, captures and questions go on.
 *
 * An input is a byte (how many outputs there are, and what the socket's features are) and steps: a byte that says what, and what
 * that takes (enum step). The display is on its own thread, so between the steps it has the time to take what it was sent; an input
 * does not run twice in the very same way. Whatever is answered: each frame comes back, each capture ends, and when the connection
 * is lost the outputs are somewhere else. seed_vhost_user_gpu.py writes inputs in this form.
 */
#include <drm_fourcc.h>
#include <linux/sockios.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <vitrine/display.h>
#include <vitrine/gpu.h>
#include <vitrine/log.h>

#include "vmm/message.h"

#include "vfio_user_input.h"

enum { MAX_OUTPUTS = 4, MAX_STEPS = 64, TURNS = 50, WIDTH = 64, HEIGHT = 48 };

enum step {
	RAW,      /* u8 fds, u16 length, bytes */
	REPLY,    /* u8 request, u8 flags, u16 length, bytes: as many as its payload should have */
	FEATURES, /* u8 */
	INFO,     /* u8 scanout, u16 width, u16 height */
	EDID,     /* u8 what is wrong with it, u8 at, u8 by how much */
	UPDATED,
	FRAME, /* u8 output, u8 content, u8 damage */
	CURSOR,
	ASK,     /* u8 output */
	CAPTURE, /* u8 output */
	MOVE,    /* u8 output */
	STEPS,
};

struct machine {
	int socket;
	struct vtr_outputs *outputs;
	struct vtr_display *vmm, *headless;
	struct virtio_gpu_resp_display_info info;
	unsigned n_outputs, submitted, done, captures;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- the front-end ---- */

/* What the display says is not listened to. */
static void drain(struct machine *machine)
{
	char bytes[4096], control[CMSG_SPACE(sizeof(int))];
	struct iovec part = { bytes, sizeof(bytes) };
	struct msghdr header = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control) };

	while (recvmsg(machine->socket, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) > 0) {
		for (struct cmsghdr *c = CMSG_FIRSTHDR(&header); c; c = CMSG_NXTHDR(&header, c))
			if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
				int fd;

				memcpy(&fd, CMSG_DATA(c), sizeof(fd));
				close(fd);
			}
		header.msg_controllen = sizeof(control);
	}
}

static void reply(struct machine *machine, uint32_t request, uint32_t flags, const void *payload, uint32_t size)
{
	struct vhost_user_gpu_header header = { request, flags, size };
	struct iovec parts[] = { { &header, sizeof(header) }, { (void *)payload, size } };
	struct msghdr message = { .msg_iov = parts, .msg_iovlen = 2 };

	if (sendmsg(machine->socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		return; /* it has hung up, as it may */
}

static void reply_edid(struct machine *machine, struct fuzz_input *input)
{
	const struct vtr_mode mode = { 640, 480, 60000 };
	struct virtio_gpu_resp_edid edid = { .hdr.type = VIRTIO_GPU_RESP_OK_EDID, .size = 256 };
	uint8_t wrong = fuzz_take8(input), at = fuzz_take8(input);

	vtr_edid_generate(&mode, "fuzz", 1, edid.edid);
	if (wrong & 1)
		edid.size = fuzz_take16(input);
	if (wrong & 2)
		edid.hdr.type = fuzz_take16(input);
	edid.edid[at] = (uint8_t)(edid.edid[at] + fuzz_take8(input));
	if (wrong & 4)
		edid.edid[127] = (uint8_t)(edid.edid[127] - (edid.edid[at] + wrong));
	reply(machine, VHOST_USER_GPU_GET_EDID, VHOST_USER_GPU_REPLY, &edid, sizeof(edid));
}

static void reply_info(struct machine *machine, struct fuzz_input *input)
{
	struct virtio_gpu_display_one *mode = &machine->info.pmodes[fuzz_take8(input) % VIRTIO_GPU_MAX_SCANOUTS];

	mode->r.width = fuzz_take16(input);
	mode->r.height = fuzz_take16(input);
	mode->enabled = mode->r.width & 1;
	reply(machine, VHOST_USER_GPU_GET_DISPLAY_INFO, VHOST_USER_GPU_REPLY, &machine->info, sizeof(machine->info));
}

static void reply_anything(struct machine *machine, struct fuzz_input *input)
{
	uint8_t request = fuzz_take8(input), flags = fuzz_take8(input);
	struct fuzz_bytes bytes = fuzz_take_bytes(input, fuzz_take16(input));

	reply(machine, request, flags, bytes.data, (uint32_t)bytes.length);
}

/* ---- the device ---- */

static void captured(const struct vtr_picture *picture, const struct vtr_error *error, void *data)
{
	struct machine *machine = data;

	machine->captures--;
	if (!error)
		close(picture->fd);
}

static struct vtr_output *output_of(struct machine *machine, struct fuzz_input *input)
{
	return vtr_outputs_get(machine->outputs, fuzz_take8(input) % machine->n_outputs);
}

static void attach_pixels(struct vtr_output *output, struct vtr_frame *frame)
{
	pixman_region32_t stale;

	pixman_region32_init(&stale);
	struct vtr_staging *staging = vtr_staging_begin(output, frame->width, frame->height, frame->format, &stale);
	if (staging) {
		memset(vtr_staging_data(staging), 0x55, (size_t)vtr_staging_stride(staging) * frame->height);
		vtr_staging_commit(staging, &stale, frame);
	}
	pixman_region32_fini(&stale);
}

static void attach_buffer(struct vtr_frame *frame, uint64_t offset)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, (off_t)frame->stride * frame->height) < 0)
		abort();
	struct vtr_buffer *buffer = vtr_buffer_create(VTR_PATH_UDMABUF, fd, offset, (uint64_t)frame->stride * frame->height);

	frame->content = VTR_FRAME_BUFFER;
	frame->buffer = vtr_buffer_lock(buffer);
	frame->offset = offset;
	vtr_buffer_drop(buffer);
}

static void submit(struct machine *machine, struct vtr_output *output, uint8_t content, uint8_t damage)
{
	struct vtr_frame *frame = vtr_output_begin_frame(output);

	if (!frame)
		return;
	frame->content = content & 3 ? VTR_FRAME_UNREAD : VTR_FRAME_BLANK;
	if (frame->content != VTR_FRAME_BLANK) {
		frame->width = WIDTH + (content >> 6);
		frame->height = HEIGHT;
		frame->format = content & 8 ? DRM_FORMAT_XRGB8888 : DRM_FORMAT_RGBA8888;
		frame->stride = frame->width * 4;
		pixman_region32_union_rect(&frame->damage, &frame->damage, damage & 15, damage >> 4, 1 + (damage & 31u),
		                           1 + (damage >> 5));
		vtr_staging_note_damage(output, &frame->damage);
		if ((content & 3) == 2)
			attach_buffer(frame, content & 16 ? 4 : 0);
		else if ((content & 3) == 3)
			attach_pixels(output, frame);
	}
	vtr_output_submit(output, frame);
	machine->submitted++;
}

static void handle_events(struct machine *machine)
{
	struct vtr_event event;

	while (vtr_outputs_next_event(machine->outputs, &event))
		machine->done += event.type == VTR_EVENT_FRAME_DONE;
}

static void capture(struct machine *machine, struct vtr_output *output)
{
	if (vtr_output_capture(output, true, captured, machine))
		machine->captures++;
}

static void move(struct machine *machine, struct vtr_output *output)
{
	bool away = !strcmp(vtr_output_display_name(output), "vmm");

	vtr_output_move(output, away ? machine->headless : machine->vmm);
}

static void set_cursor(struct machine *machine)
{
	static const uint32_t image[VTR_CURSOR_SIZE * VTR_CURSOR_SIZE];

	for (unsigned i = 0; i < machine->n_outputs; i++) {
		vtr_output_set_cursor(vtr_outputs_get(machine->outputs, i), machine->submitted & 1 ? image : NULL, 1, 1);
		vtr_output_move_cursor(vtr_outputs_get(machine->outputs, i), -5, (int32_t)i);
	}
}

/* ---- inputs ---- */

static void send_raw(struct machine *machine, struct fuzz_input *input)
{
	static struct fuzz_fds fds;

	if (!fds.fds[0])
		fuzz_fds_init(&fds, 4096);
	fuzz_send_raw(machine->socket, &fds, input);
}

static void run_step(struct machine *machine, struct fuzz_input *input)
{
	uint64_t features;

	switch (fuzz_take8(input) % STEPS) {
	case RAW:
		send_raw(machine, input);
		break;
	case REPLY:
		reply_anything(machine, input);
		break;
	case FEATURES:
		features = fuzz_take8(input);
		reply(machine, VHOST_USER_GPU_GET_PROTOCOL_FEATURES, VHOST_USER_GPU_REPLY, &features, sizeof(features));
		break;
	case INFO:
		reply_info(machine, input);
		break;
	case EDID:
		reply_edid(machine, input);
		break;
	case UPDATED:
		reply(machine, VHOST_USER_GPU_DMABUF_UPDATE, VHOST_USER_GPU_REPLY, NULL, 0);
		break;
	case FRAME: {
		struct vtr_output *output = output_of(machine, input);
		uint8_t content = fuzz_take8(input);

		submit(machine, output, content, fuzz_take8(input));
		break;
	}
	case CURSOR:
		set_cursor(machine);
		break;
	case ASK:
		vtr_output_ask(output_of(machine, input));
		break;
	case CAPTURE:
		capture(machine, output_of(machine, input));
		break;
	case MOVE:
		move(machine, output_of(machine, input));
		break;
	}
}

/* The display takes what it was sent, or has hung up. */
static void let_it_read(struct machine *machine)
{
	int unread = 1;

	for (int i = 0; i < TURNS && unread && vtr_display_alive(machine->vmm); i++) {
		drain(machine);
		handle_events(machine);
		if (ioctl(machine->socket, SIOCOUTQ, &unread) < 0)
			break;
		usleep(20);
	}
	handle_events(machine);
}

static void start(struct machine *machine, uint8_t options)
{
	const struct vtr_mode unpaced = { 640, 480, 0 };
	uint64_t features = options >> 4;
	int ends[2];

	*machine = (struct machine){ .n_outputs = 1 + options % MAX_OUTPUTS, .info.hdr.type = VIRTIO_GPU_RESP_OK_DISPLAY_INFO };
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		abort();
	machine->socket = ends[0];
	machine->outputs = vtr_outputs_create();
	machine->headless = vtr_headless_create();
	machine->vmm = vtr_vmm_create(ends[1], NULL);
	if (!machine->vmm)
		abort();
	vtr_outputs_set_fallback(machine->outputs, machine->headless);
	for (unsigned i = 0; i < machine->n_outputs; i++)
		vtr_outputs_add(machine->outputs, machine->vmm, options & 8 ? &unpaced : NULL, NULL);
	if (options & 0x80)
		return;
	let_it_read(machine);
	reply(machine, VHOST_USER_GPU_GET_PROTOCOL_FEATURES, VHOST_USER_GPU_REPLY, &features, sizeof(features));
	let_it_read(machine);
}

static void finish(struct machine *machine)
{
	close(machine->socket);
	vtr_display_destroy(machine->vmm);
	vtr_display_destroy(machine->headless);
	handle_events(machine);
	if (machine->done != machine->submitted || machine->captures)
		abort();
	vtr_outputs_destroy(machine->outputs);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = { data, size };
	struct machine machine;

	vtr_log_set_level(VTR_LOG_ERROR);
	start(&machine, fuzz_take8(&input));
	for (int i = 0; input.left && i < MAX_STEPS; i++) {
		run_step(&machine, &input);
		let_it_read(&machine);
	}
	finish(&machine);
	return 0;
}
