/* SPDX-License-Identifier: MIT */
/*
 * What the process says, which a guest may have taken over: a message has the size of its type, an answer is that to the oldest
 * call that was sent, a fence is one that is waited for, an fd comes where one belongs and is what it is said to be. Anything else
 * is the end of the process. Text is cut and made printable, because it goes into logs and JSON.
 */
#include "render/remote.h"

#include <drm_fourcc.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <vitrine/dmabuf.h>

#include "util/checked.h"
#include "util/fd.h"

enum { MESSAGES_PER_TURN = 64 }; /* then everybody else has a turn */

static uint64_t message_size(const uint8_t *header)
{
	struct vtr_remote_header said;

	memcpy(&said, header, sizeof(said));
	return said.size;
}

const struct vtr_framing vtr_remote_framing = {
	.header_size = sizeof(struct vtr_remote_header),
	.max_size = sizeof(struct vtr_remote_started),
	.message_size = message_size,
};

void vtr_remote_make_printable(char *text, size_t size)
{
	text[size - 1] = '\0';
	for (char *c = text; *c; c++)
		if (*c < 0x20 || *c >= 0x7f)
			*c = '?';
}

void vtr_remote_take_error(struct vtr_error *error, const struct vtr_remote_error *said)
{
	*error = (struct vtr_error){ .owner = VTR_ERROR_HOST, .code = EIO };
	if (said->owner > VTR_ERROR_NONE && said->owner <= VTR_ERROR_REVOKED)
		error->owner = (enum vtr_error_owner)said->owner;
	if (said->code > 0 && said->code < 4096)
		error->code = (int)said->code;
	memcpy(error->text, said->text, sizeof(error->text));
	vtr_remote_make_printable(error->text, sizeof(error->text));
}

/* ---- fds ---- */

/* How much there is of a file that others may map: a dmabuf, or memory that cannot be cut short any more. 0: it is neither. */
static uint64_t safe_size(int fd)
{
	struct stat info;

	if (vtr_dmabuf_is(fd))
		return vtr_dmabuf_size(fd);
	if (fstat(fd, &info) < 0 || !S_ISREG(info.st_mode) || info.st_size < 0)
		return 0;
	int seals = fcntl(fd, F_GET_SEALS);
	if (seals < 0 || (!(seals & F_SEAL_SHRINK) && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK) < 0))
		return 0;
	/* Again: it may have been cut before it was sealed. */
	return fstat(fd, &info) < 0 || info.st_size < 0 ? 0 : (uint64_t)info.st_size;
}

/* All that a linear picture takes; what a tiled one takes only its driver knows, who checks it at the import. */
static bool layout_fits(const struct vtr_remote_done *done, const struct vtr_remote_resource *resource)
{
	uint64_t rows, end;

	if (done->offset > UINT32_MAX || !done->stride)
		return false;
	if (done->modifier != DRM_FORMAT_MOD_LINEAR || !resource || !resource->height)
		return done->offset < done->size;
	return done->stride / 4 >= resource->width && vtr_mul_u64(done->stride, resource->height, &rows) &&
	       vtr_add_u64(done->offset, rows, &end) && end <= done->size;
}

static const char *take_exported(struct vtr_remote *remote, struct vtr_render_call *call, const struct vtr_remote_done *done,
                                 int fd)
{
	const struct vtr_buffer_layout layout = {
		.stride = done->stride, .offset = (uint32_t)done->offset, .format = done->format, .modifier = done->modifier
	};

	if (!layout_fits(done, vtr_remote_files_resource(&remote->files, call->args.resource_id)) || done->size > safe_size(fd)) {
		vtr_fd_close(&fd);
		return "has exported a picture that is not what it should be";
	}
	call->exported = vtr_buffer_create(VTR_PATH_VIRGL, fd, 0, done->size);
	if (call->exported)
		vtr_buffer_set_layout(call->exported, &layout);
	return NULL;
}

static const char *take_mapped(struct vtr_render_call *call, const struct vtr_remote_done *done, int fd)
{
	uint64_t end;

	if (!done->size || !vtr_add_u64(done->offset, done->size, &end) || end > safe_size(fd) || done->map_info > 3) {
		vtr_fd_close(&fd);
		return "has exported memory that is not what it should be";
	}
	call->mapped.fd = fd;
	call->mapped.offset = done->offset;
	call->mapped.size = done->size;
	call->mapped.map_info = done->map_info;
	return NULL;
}

/* ---- messages ---- */

static bool is_code(int32_t code)
{
	return code == 0 || code == -EINVAL || code == -ENOENT || code == -ENOMEM || code == -EOPNOTSUPP;
}

static bool gives_fd(const struct vtr_render_args *args)
{
	return args->op == VTR_RENDER_EXPORT || args->op == VTR_RENDER_EXPORT_BLOB;
}

/* A result of an EXPORT or EXPORT_BLOB. */
static const char *take_result(struct vtr_remote *remote, struct vtr_render_call *call, const struct vtr_remote_done *done,
                               struct vtr_message *message)
{
	if (done->code) {
		vtr_remote_take_error(&call->why, &done->error);
		return NULL;
	}
	int fd = vtr_message_take_fd(message, 0);
	return call->args.op == VTR_RENDER_EXPORT ? take_exported(remote, call, done, fd) : take_mapped(call, done, fd);
}

static const char *take_done(struct vtr_remote *remote, struct vtr_message *message)
{
	struct vtr_remote_done done;

	memcpy(&done, message->data, sizeof(done));
	if (remote->answered == remote->sent || done.serial != remote->answered)
		return "has answered what was not asked";
	struct vtr_render_call *call = vtr_remote_entry(remote, remote->answered)->call;
	if (!is_code(done.code))
		return "has answered with an unknown code";
	if (message->n_fds != (!done.code && gives_fd(&call->args) ? 1 : 0))
		return "has sent an fd too many, or too few";
	const char *wrong = gives_fd(&call->args) ? take_result(remote, call, &done, message) : NULL;
	if (wrong)
		return wrong;
	bool failed = !done.code && call->args.op == VTR_RENDER_EXPORT && !call->exported;
	vtr_remote_answered(remote, failed ? -ENOMEM : done.code);
	return NULL;
}

static const char *take_fence(struct vtr_remote *remote, struct vtr_message *message)
{
	struct vtr_remote_fence_done done;

	memcpy(&done, message->data, sizeof(done));
	if (!vtr_remote_fence_passed(remote, done.id))
		return "has passed a fence that nobody waits for";
	vtr_event_raise(remote->deliver_event);
	return NULL;
}

/* NULL, or what is wrong. */
static const char *take(struct vtr_remote *remote, struct vtr_message *message)
{
	struct vtr_remote_header header;

	memcpy(&header, message->data, sizeof(header));
	if (header.type != VTR_REMOTE_DONE && message->n_fds)
		return "has sent an fd that nobody wants";
	if (header.type == VTR_REMOTE_STARTED && header.size == sizeof(struct vtr_remote_started))
		return vtr_remote_started(remote, message);
	if (header.type == VTR_REMOTE_DONE && header.size == sizeof(struct vtr_remote_done))
		return take_done(remote, message);
	if (header.type == VTR_REMOTE_FENCE_DONE && header.size == sizeof(struct vtr_remote_fence_done))
		return take_fence(remote, message);
	return "has sent an unknown message";
}

static void lose_malformed(struct vtr_remote *remote, const char *wrong)
{
	char what[sizeof(remote->why.text)];

	if (remote->refusal.code)
		snprintf(what, sizeof(what), "%s: %.150s", wrong, remote->refusal.text);
	else
		snprintf(what, sizeof(what), "%s, and was killed", wrong);
	vtr_remote_lose(remote, what);
}

void vtr_remote_receive(struct vtr_remote *remote)
{
	for (int i = 0; i < MESSAGES_PER_TURN && remote->state != VTR_REMOTE_DOWN; i++) {
		struct vtr_message message;
		int result = vtr_message_read(&remote->reader, remote->socket, &message);

		if (result == 0)
			break;
		if (result < 0) {
			if (result == -ECONNRESET)
				vtr_remote_lose(remote, NULL);
			else
				lose_malformed(remote, "has sent a malformed message");
			break;
		}
		remote->progress_ns = vtr_now_ns();
		const char *wrong = take(remote, &message);
		vtr_message_finish(&message);
		if (wrong)
			lose_malformed(remote, wrong);
	}
}
