/* SPDX-License-Identifier: MIT */
/*
 * What a client can ask of the device: each function makes one command and checks what its reply says of itself. What a region's
 * information means is read where devices are made of it (vfio/region_info.c).
 */
#include <errno.h>
#include <linux/vfio.h>
#include <string.h>

#include "transport/vfio_user/client.h"

enum { MAX_IRQS = 2048 }; /* of one kind: PCI has no more MSI-X vectors */

/* A call whose body is `fixed` and whose reply, when reply is not NULL, is a structure of that very size. */
static int simple_call(struct vtr_vfio_user_client *client, uint16_t command, const void *fixed, void *reply, size_t size)
{
	struct vtr_vfio_user_call call = {
		.command = command,
		.body = &(struct iovec){ (void *)fixed, size },
		.n_body = 1,
		.min_reply = reply ? size : 0,
		.max_reply = reply ? size : 0,
	};
	int error = vtr_vfio_user_call(client, &call);

	if (error)
		return error;
	if (reply)
		memcpy(reply, call.reply_body, size);
	vtr_message_finish(&call.reply);
	return 0;
}

int vtr_vfio_user_device_info(struct vtr_vfio_user_client *client, uint32_t *flags, uint32_t *n_regions, uint32_t *n_irqs)
{
	struct vfio_user_device_info info = { .argsz = sizeof(info) };
	int error = simple_call(client, VFIO_USER_DEVICE_GET_INFO, &info, &info, sizeof(info));

	if (error)
		return error;
	if (info.num_regions > VTR_VFIO_USER_MAX_REGIONS || info.num_irqs > VTR_VFIO_USER_MAX_REGIONS)
		return vtr_vfio_user_client_distrust(client);
	*flags = info.flags;
	*n_regions = info.num_regions;
	*n_irqs = info.num_irqs;
	return 0;
}

/* ---- regions ---- */

static_assert(sizeof(struct vfio_region_info) == sizeof(struct vfio_user_region_info), "the same in both");

/* Does what came fit what it says of itself? A region that can be mapped has one fd; where the answer had no room for all it may
 * come with the next one. */
static bool is_sound(const struct vtr_vfio_user_call *call, const struct vfio_user_region_info *told, uint32_t index, uint32_t room)
{
	size_t n_fds = told->flags & VFIO_REGION_INFO_FLAG_MMAP ? 1 : 0;

	if (told->index != index || told->argsz < sizeof(*told))
		return false;
	if (told->argsz > room)
		return call->reply.n_fds <= n_fds;
	return call->reply_size == told->argsz && call->reply.n_fds == n_fds;
}

int vtr_vfio_user_region_info(struct vtr_vfio_user_client *client, struct vfio_region_info *info, int *fd)
{
	struct vfio_user_region_info question = { .argsz = info->argsz, .index = info->index }, told;
	struct vtr_vfio_user_call call = {
		.command = VFIO_USER_DEVICE_GET_REGION_INFO,
		.body = &(struct iovec){ &question, sizeof(question) },
		.n_body = 1,
		.min_reply = sizeof(told),
		.max_reply = info->argsz,
		.max_reply_fds = 1,
	};

	*fd = -1;
	if (info->argsz < sizeof(*info))
		return -EINVAL;
	int error = vtr_vfio_user_call(client, &call);
	if (error)
		return error;
	memcpy(&told, call.reply_body, sizeof(told));
	bool sound = is_sound(&call, &told, question.index, question.argsz);
	if (sound) {
		memcpy(info, call.reply_body, call.reply_size);
		*fd = call.reply.n_fds ? vtr_message_take_fd(&call.reply, 0) : -1;
	}
	vtr_message_finish(&call.reply);
	return sound ? 0 : vtr_vfio_user_client_distrust(client);
}

/* ---- features ---- */

int vtr_vfio_user_feature(struct vtr_vfio_user_client *client, struct vfio_device_feature *feature, int *fd)
{
	struct vtr_vfio_user_call call = {
		.command = VFIO_USER_DEVICE_FEATURE,
		.body = &(struct iovec){ feature, feature->argsz },
		.n_body = 1,
		.min_reply = sizeof(*feature),
		.max_reply = feature->argsz,
		.max_reply_fds = 1,
	};
	struct vfio_user_device_feature told;

	*fd = -1;
	if (feature->argsz < sizeof(*feature))
		return -EINVAL;
	if (feature->argsz > VTR_MAX_DATA_XFER || feature->argsz > client->server.max_data_xfer_size)
		return -E2BIG;
	int error = vtr_vfio_user_call(client, &call);
	if (error)
		return error;
	memcpy(&told, call.reply_body, sizeof(told));
	bool sound = told.flags == feature->flags;
	if (sound) {
		memcpy(feature, call.reply_body, call.reply_size);
		*fd = call.reply.n_fds ? vtr_message_take_fd(&call.reply, 0) : -1;
	}
	vtr_message_finish(&call.reply);
	return sound ? 0 : vtr_vfio_user_client_distrust(client);
}

/* ---- irqs ---- */

int vtr_vfio_user_irq_count(struct vtr_vfio_user_client *client, uint32_t index, uint32_t *count)
{
	struct vfio_user_irq_info question = { .argsz = sizeof(question), .index = index }, info;
	int error = simple_call(client, VFIO_USER_DEVICE_GET_IRQ_INFO, &question, &info, sizeof(info));

	if (error)
		return error;
	if (info.index != index || info.count > MAX_IRQS)
		return vtr_vfio_user_client_distrust(client);
	*count = info.count;
	return 0;
}

int vtr_vfio_user_set_irq(struct vtr_vfio_user_client *client, uint32_t index, uint32_t vector, int eventfd)
{
	struct vfio_user_irq_set set = {
		.argsz = sizeof(set),
		.flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
		.index = index,
		.start = vector,
		.count = 1,
	};
	struct vtr_vfio_user_call call = {
		.command = VFIO_USER_DEVICE_SET_IRQS,
		.body = &(struct iovec){ &set, sizeof(set) },
		.n_body = 1,
		.fds = &eventfd,
		.n_fds = eventfd >= 0,
	};
	int error = vtr_vfio_user_call(client, &call);

	if (!error)
		vtr_message_finish(&call.reply);
	return error;
}

/* ---- memory ---- */

int vtr_vfio_user_dma_map(struct vtr_vfio_user_client *client, uint64_t address, uint64_t size, int fd, uint64_t offset,
                          bool writable)
{
	struct vfio_user_dma_map map = {
		.argsz = sizeof(map),
		.flags = VFIO_USER_DMA_READABLE | (writable ? VFIO_USER_DMA_WRITABLE : 0),
		.offset = fd >= 0 ? offset : 0,
		.address = address,
		.size = size,
	};
	struct vtr_vfio_user_call call = {
		.command = VFIO_USER_DMA_MAP,
		.body = &(struct iovec){ &map, sizeof(map) },
		.n_body = 1,
		.fds = &fd,
		.n_fds = fd >= 0,
	};
	int error = vtr_vfio_user_call(client, &call);

	if (!error)
		vtr_message_finish(&call.reply);
	return error;
}

/* The reply repeats the request; a size of 0 says that nothing was there. */
int vtr_vfio_user_dma_unmap(struct vtr_vfio_user_client *client, uint64_t address, uint64_t size)
{
	struct vfio_user_dma_unmap unmap = { .argsz = sizeof(unmap), .address = address, .size = size }, reply;
	int error = simple_call(client, VFIO_USER_DMA_UNMAP, &unmap, &reply, sizeof(unmap));

	if (error)
		return error;
	if (reply.address != address || (reply.size && reply.size != size))
		return vtr_vfio_user_client_distrust(client);
	return reply.size == size ? 0 : -ENOENT;
}

int vtr_vfio_user_reset(struct vtr_vfio_user_client *client)
{
	return simple_call(client, VFIO_USER_DEVICE_RESET, NULL, NULL, 0);
}
