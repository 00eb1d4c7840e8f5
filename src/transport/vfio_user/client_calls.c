/* SPDX-License-Identifier: MIT */
/*
 * What a client can ask: each function makes one command (reads and writes as many as the server's max_data_xfer_size needs) and
 * checks what its reply says.
 */
#include <errno.h>
#include <linux/vfio.h>
#include <string.h>
#include <sys/stat.h>

#include "transport/vfio_user/client.h"
#include "util/checked.h"
#include "util/fd.h"

enum {
	MAX_REGION_INFO = 4096, /* bytes, with its capabilities */
	MAX_IRQS = 2048,        /* of one kind: PCI has no more MSI-X vectors */
};

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

/* The areas of a sparse mmap capability at `at` of the reply. Too many for us: the region counts as not mappable. */
static bool decode_areas(const struct vtr_vfio_user_call *call, size_t at, struct vtr_vfio_user_region *region)
{
	struct vfio_user_sparse_mmap sparse;
	struct vfio_user_sparse_mmap_area area;

	if (!vtr_range_fits(at, sizeof(sparse), call->reply_size))
		return false;
	memcpy(&sparse, call->reply_body + at, sizeof(sparse));
	at += sizeof(sparse);
	if (sparse.nr_areas > (call->reply_size - at) / sizeof(area))
		return false;
	region->n_areas = sparse.nr_areas <= VTR_VFIO_USER_MAX_AREAS ? sparse.nr_areas : 0;
	if (!region->n_areas)
		region->flags &= ~(uint32_t)VFIO_REGION_INFO_FLAG_MMAP;
	for (uint32_t i = 0; i < sparse.nr_areas; i++, at += sizeof(area)) {
		memcpy(&area, call->reply_body + at, sizeof(area));
		if (!vtr_range_fits(area.offset, area.size, region->size))
			return false;
		if (i < region->n_areas)
			region->areas[i] = (struct vtr_vfio_user_area){ area.offset, area.size };
	}
	return true;
}

/* Walks the capabilities. Each lies behind the one before, so the walk ends. */
static bool decode_capabilities(const struct vtr_vfio_user_call *call, size_t first, struct vtr_vfio_user_region *region)
{
	struct vfio_user_cap_header cap;

	for (size_t at = first, previous = sizeof(struct vfio_user_region_info) - 1; at; previous = at, at = cap.next) {
		if (at <= previous || !vtr_range_fits(at, sizeof(cap), call->reply_size))
			return false;
		memcpy(&cap, call->reply_body + at, sizeof(cap));
		if (cap.id == VFIO_REGION_INFO_CAP_SPARSE_MMAP && !decode_areas(call, at + sizeof(cap), region))
			return false;
	}
	return true;
}

/* Could [offset, offset + size) of fd be mapped? A file has to be as long; a device we have to believe. */
static bool is_mappable(int fd, uint64_t offset, uint64_t size)
{
	struct stat info;

	if (offset > INT64_MAX || size > INT64_MAX - offset || fstat(fd, &info) < 0)
		return false;
	if (S_ISREG(info.st_mode))
		return info.st_size >= 0 && (uint64_t)info.st_size >= offset + size;
	return S_ISCHR(info.st_mode) || !(info.st_mode & S_IFMT);
}

/* The end of the part of the region that may be mapped. */
static uint64_t mappable_end(const struct vtr_vfio_user_region *region)
{
	uint64_t end = region->n_areas ? 0 : region->size;

	for (uint32_t i = 0; i < region->n_areas; i++)
		if (region->areas[i].offset + region->areas[i].size > end)
			end = region->areas[i].offset + region->areas[i].size;
	return end;
}

static bool decode_region(struct vtr_vfio_user_call *call, const struct vfio_user_region_info *info,
                          struct vtr_vfio_user_region *region)
{
	bool has_fd = info->flags & VFIO_REGION_INFO_FLAG_MMAP;

	*region = (struct vtr_vfio_user_region){ .size = info->size, .flags = info->flags, .offset = info->offset, .fd = -1 };
	if (has_fd != (call->reply.n_fds == 1))
		return false;
	if (info->flags & VFIO_REGION_INFO_FLAG_CAPS && !decode_capabilities(call, info->cap_offset, region))
		return false;
	if (!has_fd || !(region->flags & VFIO_REGION_INFO_FLAG_MMAP))
		return true;
	if (!is_mappable(call->reply.fds[0], region->offset, mappable_end(region)))
		return false;
	region->fd = vtr_message_take_fd(&call->reply, 0);
	return true;
}

/* Asks for at most argsz bytes of information. 0 with *info decoded and call's reply to be finished, or -errno. */
static int ask_region(struct vtr_vfio_user_client *client, uint32_t index, uint32_t argsz, struct vtr_vfio_user_call *call,
                      struct vfio_user_region_info *info)
{
	struct vfio_user_region_info question = { .argsz = argsz, .index = index };
	struct iovec body = { &question, sizeof(question) };

	*call = (struct vtr_vfio_user_call){
		.command = VFIO_USER_DEVICE_GET_REGION_INFO,
		.body = &body,
		.n_body = 1,
		.min_reply = sizeof(*info),
		.max_reply = argsz,
		.max_reply_fds = 1,
	};
	int error = vtr_vfio_user_call(client, call);
	call->body = NULL;
	if (error)
		return error;
	memcpy(info, call->reply_body, sizeof(*info));
	if (info->index == index && info->argsz >= sizeof(*info))
		return 0;
	vtr_message_finish(&call->reply);
	return vtr_vfio_user_client_distrust(client);
}

int vtr_vfio_user_region_info(struct vtr_vfio_user_client *client, uint32_t index, struct vtr_vfio_user_region *region)
{
	struct vtr_vfio_user_call call;
	struct vfio_user_region_info info;

	if (index >= VTR_VFIO_USER_MAX_REGIONS)
		return -EINVAL;
	int error = ask_region(client, index, sizeof(info), &call, &info);
	if (!error && info.argsz > sizeof(info)) {
		/* There is more to tell: capabilities. */
		vtr_message_finish(&call.reply);
		if (info.argsz > MAX_REGION_INFO)
			return vtr_vfio_user_client_distrust(client);
		error = ask_region(client, index, info.argsz, &call, &info);
	}
	if (error)
		return error;
	bool valid = decode_region(&call, &info, region);
	vtr_message_finish(&call.reply);
	if (!valid)
		return vtr_vfio_user_client_distrust(client);
	vtr_fd_close(&client->region_fds[index]);
	client->region_fds[index] = region->fd;
	return 0;
}

static size_t chunk_size(const struct vtr_vfio_user_client *client, size_t length)
{
	size_t limit = VTR_MAX_DATA_XFER;

	if (client->server.max_data_xfer_size < limit)
		limit = (size_t)client->server.max_data_xfer_size;
	return length < limit ? length : limit;
}

/* The reply to an access repeats what was asked for. Finishes the reply. */
static int check_access(struct vtr_vfio_user_client *client, struct vtr_vfio_user_call *call,
                        const struct vfio_user_region_access *access)
{
	bool same = !memcmp(call->reply_body, access, sizeof(*access));

	vtr_message_finish(&call->reply);
	return same ? 0 : vtr_vfio_user_client_distrust(client);
}

static int read_chunk(struct vtr_vfio_user_client *client, uint32_t region, uint64_t offset, void *buffer, size_t length)
{
	struct vfio_user_region_access access = { .offset = offset, .region = region, .count = (uint32_t)length };
	struct vtr_vfio_user_call call = {
		.command = VFIO_USER_REGION_READ,
		.body = &(struct iovec){ &access, sizeof(access) },
		.n_body = 1,
		.min_reply = sizeof(access) + length,
		.max_reply = sizeof(access) + length,
	};
	int error = vtr_vfio_user_call(client, &call);

	if (error)
		return error;
	memcpy(buffer, call.reply_body + sizeof(access), length);
	return check_access(client, &call, &access);
}

static int write_chunk(struct vtr_vfio_user_client *client, uint32_t region, uint64_t offset, const void *buffer, size_t length,
                       bool posted)
{
	struct vfio_user_region_access access = { .offset = offset, .region = region, .count = (uint32_t)length };
	struct vtr_vfio_user_call call = {
		.command = VFIO_USER_REGION_WRITE,
		.body = (struct iovec[]){ { &access, sizeof(access) }, { (void *)buffer, length } },
		.n_body = 2,
		.min_reply = sizeof(access),
		.max_reply = sizeof(access),
	};

	if (posted)
		return vtr_vfio_user_post(client, &call);
	int error = vtr_vfio_user_call(client, &call);
	return error ? error : check_access(client, &call, &access);
}

int vtr_vfio_user_read(struct vtr_vfio_user_client *client, uint32_t region, uint64_t offset, void *buffer, size_t length)
{
	uint8_t *bytes = buffer;
	int error = 0;

	for (size_t done = 0, count; !error && done < length; done += count) {
		count = chunk_size(client, length - done);
		error = read_chunk(client, region, offset + done, bytes + done, count);
	}
	return error;
}

int vtr_vfio_user_write(struct vtr_vfio_user_client *client, uint32_t region, uint64_t offset, const void *buffer, size_t length,
                        bool posted)
{
	const uint8_t *bytes = buffer;
	int error = 0;

	for (size_t done = 0, count; !error && done < length; done += count) {
		count = chunk_size(client, length - done);
		error = write_chunk(client, region, offset + done, bytes + done, count, posted);
	}
	return error;
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
