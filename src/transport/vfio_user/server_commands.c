/* SPDX-License-Identifier: MIT */
/*
 * What a client may ask: one table, one row a command. Sizes and numbers of fds are checked before a handler sees the message;
 * handlers copy the fixed part out, check what it says, and return the size of the reply's body or an errno. SET_IRQS is in
 * server_irqs.c.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "transport/vfio_user/server.h"

bool vtr_vfio_user_reserve(struct vtr_vfio_user_server *server, size_t size)
{
	if (size <= server->reply_capacity)
		return true;
	uint8_t *reply = realloc(server->reply, size);
	if (!reply)
		return false;
	server->reply = reply;
	server->reply_capacity = size;
	return true;
}

static ssize_t reply_with(struct vtr_vfio_user_server *server, const void *body, size_t size)
{
	if (!vtr_vfio_user_reserve(server, size))
		return -ENOMEM;
	memcpy(server->reply, body, size);
	return (ssize_t)size;
}

static ssize_t handle_version(struct vtr_vfio_user_server *server, struct vtr_vfio_user_request *request)
{
	struct vtr_vfio_user_capabilities own = vtr_vfio_user_own_capabilities();
	struct vfio_user_version version;

	memcpy(&version, request->body, sizeof(version));
	if (server->negotiated)
		return -EINVAL;
	if (version.major != VFIO_USER_MAJOR)
		return -EPROTONOSUPPORT;
	int error =
		vtr_vfio_user_capabilities_parse(&server->client, request->body + sizeof(version), request->size - sizeof(version));
	if (error)
		return error;
	if (!vtr_vfio_user_reserve(server, sizeof(version) + VTR_VFIO_USER_MAX_VERSION_DATA))
		return -ENOMEM;
	if (version.minor > VFIO_USER_MINOR)
		version.minor = VFIO_USER_MINOR;
	own.write_multiple = server->client.write_multiple;
	memcpy(server->reply, &version, sizeof(version));
	int length =
		vtr_vfio_user_capabilities_format(&own, (char *)server->reply + sizeof(version), VTR_VFIO_USER_MAX_VERSION_DATA);
	if (length <= 0)
		return length;
	server->negotiated = true;
	vtr_pci_reset(server->function); /* what was left for the last client's people to see goes */
	return (ssize_t)sizeof(version) + length;
}

/* ---- memory ---- */

static ssize_t handle_dma_map(struct vtr_vfio_user_server *server, struct vtr_vfio_user_request *request)
{
	struct vfio_user_dma_map map;

	memcpy(&map, request->body, sizeof(map));
	if (map.argsz < sizeof(map) || map.flags & ~(uint32_t)(VFIO_USER_DMA_READABLE | VFIO_USER_DMA_WRITABLE))
		return -EINVAL;
	/* The memory map knows no memory that can only be written. */
	if (!(map.flags & VFIO_USER_DMA_READABLE))
		return -EINVAL;
	int fd = request->message->n_fds ? vtr_message_take_fd(request->message, 0) : -1;
	return vtr_memory_add(server->memory, map.address, map.size, fd, map.offset, map.flags & VFIO_USER_DMA_WRITABLE);
}

/* As VFIO has it, unmapping where nothing is succeeds and says so with a size of 0: QEMU clears whole address spaces when a virtual
 * IOMMU is switched on. */
static int unmap_range(struct vtr_vfio_user_server *server, struct vfio_user_dma_unmap *unmap)
{
	int error = vtr_memory_remove(server->memory, unmap->address, unmap->size);

	if (error != -ENOENT)
		return error;
	unmap->size = 0;
	return 0;
}

static int unmap_all(struct vtr_vfio_user_server *server, const struct vfio_user_dma_unmap *unmap)
{
	if (unmap->address || unmap->size)
		return -EINVAL;
	vtr_memory_remove_all(server->memory);
	return 0;
}

static ssize_t handle_dma_unmap(struct vtr_vfio_user_server *server, struct vtr_vfio_user_request *request)
{
	struct vfio_user_dma_unmap unmap;
	int error;

	memcpy(&unmap, request->body, sizeof(unmap));
	if (unmap.argsz < sizeof(unmap))
		return -EINVAL;
	switch (unmap.flags) {
	case 0:
		error = unmap_range(server, &unmap);
		break;
	case VFIO_DMA_UNMAP_FLAG_ALL:
		error = unmap_all(server, &unmap);
		break;
	case VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP:
		error = -ENOTSUP; /* the protocol dropped it for DMA logging, which belongs to migration */
		break;
	default:
		error = -EINVAL;
		break;
	}
	return error ? error : reply_with(server, &unmap, sizeof(unmap));
}

/* ---- what the device is ---- */

static ssize_t handle_get_info(struct vtr_vfio_user_server *server, struct vtr_vfio_user_request *request)
{
	struct vfio_user_device_info info;

	memcpy(&info, request->body, sizeof(info));
	if (info.argsz < sizeof(info))
		return -EINVAL;
	info = (struct vfio_user_device_info){
		.argsz = sizeof(info),
		.flags = VFIO_DEVICE_FLAGS_PCI | VFIO_DEVICE_FLAGS_RESET,
		.num_regions = VFIO_PCI_NUM_REGIONS,
		.num_irqs = VFIO_PCI_NUM_IRQS,
	};
	return reply_with(server, &info, sizeof(info));
}

static ssize_t handle_get_region_info(struct vtr_vfio_user_server *server, struct vtr_vfio_user_request *request)
{
	struct vfio_user_region_info info;

	memcpy(&info, request->body, sizeof(info));
	if (info.argsz < sizeof(info) || info.index >= VFIO_PCI_NUM_REGIONS)
		return -EINVAL;
	info = (struct vfio_user_region_info){ .argsz = sizeof(info),
		                               .index = info.index,
		                               .size = vtr_pci_region_size(server->function, info.index) };
	if (info.size)
		info.flags = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE;
	return reply_with(server, &info, sizeof(info));
}

/* Doorbells come as messages: there are no fds to give. */
static ssize_t handle_get_region_io_fds(struct vtr_vfio_user_server *server, struct vtr_vfio_user_request *request)
{
	struct vfio_user_region_io_fds info;

	memcpy(&info, request->body, sizeof(info));
	if (info.argsz < sizeof(info) || info.flags || info.count || info.index >= VFIO_PCI_NUM_REGIONS)
		return -EINVAL;
	info.argsz = sizeof(info);
	return reply_with(server, &info, sizeof(info));
}

static ssize_t handle_get_irq_info(struct vtr_vfio_user_server *server, struct vtr_vfio_user_request *request)
{
	struct vfio_user_irq_info info;

	memcpy(&info, request->body, sizeof(info));
	if (info.argsz < sizeof(info) || info.index >= VFIO_PCI_NUM_IRQS)
		return -EINVAL;
	info = (struct vfio_user_irq_info){ .argsz = sizeof(info),
		                            .index = info.index,
		                            .count = vtr_pci_irq_count(server->function, info.index) };
	if (info.count)
		info.flags = VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_MASKABLE;
	if (info.index == VFIO_PCI_INTX_IRQ_INDEX)
		info.flags |= VFIO_IRQ_INFO_AUTOMASKED;
	return reply_with(server, &info, sizeof(info));
}

/* ---- region accesses ---- */

static ssize_t handle_region_read(struct vtr_vfio_user_server *server, struct vtr_vfio_user_request *request)
{
	struct vfio_user_region_access access;

	memcpy(&access, request->body, sizeof(access));
	if (access.count > VTR_MAX_DATA_XFER || access.region >= VFIO_PCI_NUM_REGIONS)
		return -EINVAL;
	if (!vtr_vfio_user_reserve(server, sizeof(access) + access.count))
		return -ENOMEM;
	int error = vtr_pci_read(server->function, access.region, access.offset, server->reply + sizeof(access), access.count);
	if (error)
		return error;
	memcpy(server->reply, &access, sizeof(access));
	return (ssize_t)(sizeof(access) + access.count);
}

static ssize_t handle_region_write(struct vtr_vfio_user_server *server, struct vtr_vfio_user_request *request)
{
	struct vfio_user_region_access access;

	memcpy(&access, request->body, sizeof(access));
	if (access.count != request->size - sizeof(access) || access.region >= VFIO_PCI_NUM_REGIONS)
		return -EINVAL;
	int error = vtr_pci_write(server->function, access.region, access.offset, request->body + sizeof(access), access.count);
	return error ? error : reply_with(server, &access, sizeof(access));
}

/* True when the request's size is that of wr_cnt writes. */
static bool decode_write_multi(const struct vtr_vfio_user_request *request, struct vfio_user_write_multi *multi)
{
	size_t array = request->size - sizeof(*multi);

	memcpy(multi, request->body, sizeof(*multi));
	return !(array % sizeof(struct vfio_user_single_write)) && multi->wr_cnt == array / sizeof(struct vfio_user_single_write);
}

static struct vfio_user_single_write nth_write(const struct vtr_vfio_user_request *request, size_t n)
{
	struct vfio_user_single_write write;

	memcpy(&write, request->body + sizeof(struct vfio_user_write_multi) + n * sizeof(write), sizeof(write));
	return write;
}

/* All or nothing as far as that can be known before: the shape of every write is checked first. */
static ssize_t handle_region_write_multi(struct vtr_vfio_user_server *server, struct vtr_vfio_user_request *request)
{
	struct vfio_user_write_multi multi;

	if (!decode_write_multi(request, &multi))
		return -EINVAL;
	for (size_t i = 0; i < multi.wr_cnt; i++) {
		struct vfio_user_single_write write = nth_write(request, i);

		if (write.access.count > sizeof(write.data) || write.access.region >= VFIO_PCI_NUM_REGIONS)
			return -EINVAL;
	}
	for (size_t i = 0; i < multi.wr_cnt; i++) {
		struct vfio_user_single_write write = nth_write(request, i);
		int error =
			vtr_pci_write(server->function, write.access.region, write.access.offset, write.data, write.access.count);

		if (error)
			return error;
	}
	return reply_with(server, &multi, sizeof(multi));
}

static bool is_doorbell(const struct vtr_vfio_user_server *server, const struct vfio_user_region_access *access)
{
	return vtr_pci_is_doorbell(server->function, access->region, access->offset, access->count);
}

bool vtr_vfio_user_rings_only(const struct vtr_vfio_user_server *server, const struct vtr_vfio_user_request *request)
{
	struct vfio_user_region_access access;
	struct vfio_user_write_multi multi;

	if (request->header.command == VFIO_USER_REGION_WRITE) {
		memcpy(&access, request->body, sizeof(access));
		return is_doorbell(server, &access);
	}
	if (!decode_write_multi(request, &multi))
		return true;
	for (size_t i = 0; i < multi.wr_cnt; i++) {
		struct vfio_user_single_write write = nth_write(request, i);

		if (!is_doorbell(server, &write.access))
			return false;
	}
	return true;
}

/* ---- the rest ---- */

static ssize_t handle_reset(struct vtr_vfio_user_server *server, struct vtr_vfio_user_request *request)
{
	vtr_pci_reset(server->function);
	return 0;
}

/* No feature is implemented, but what is malformed is told apart from what is unknown. */
static ssize_t handle_device_feature(struct vtr_vfio_user_server *server, struct vtr_vfio_user_request *request)
{
	const uint32_t operations = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_SET;
	struct vfio_user_device_feature feature;

	memcpy(&feature, request->body, sizeof(feature));
	if (feature.argsz < sizeof(feature) ||
	    feature.flags & ~(uint32_t)(VFIO_DEVICE_FEATURE_MASK | operations | VFIO_DEVICE_FEATURE_PROBE))
		return -EINVAL;
	if (!(feature.flags & (operations | VFIO_DEVICE_FEATURE_PROBE)))
		return -EINVAL;
	if ((feature.flags & operations) == operations && !(feature.flags & VFIO_DEVICE_FEATURE_PROBE))
		return -EINVAL;
	return -ENOTTY;
}

static ssize_t handle_migration(struct vtr_vfio_user_server *server, struct vtr_vfio_user_request *request)
{
	return -ENOTSUP;
}

/* Sizes of bodies */
enum {
	VERSION = sizeof(struct vfio_user_version),
	MAX_VERSION = VERSION + VTR_VFIO_USER_MAX_VERSION_DATA,
	MAP = sizeof(struct vfio_user_dma_map),
	UNMAP = sizeof(struct vfio_user_dma_unmap),
	INFO = sizeof(struct vfio_user_device_info),
	REGION = sizeof(struct vfio_user_region_info),
	IO_FDS = sizeof(struct vfio_user_region_io_fds),
	IRQ = sizeof(struct vfio_user_irq_info),
	IRQ_SET = sizeof(struct vfio_user_irq_set),
	ACCESS = sizeof(struct vfio_user_region_access),
	MAX_ACCESS = ACCESS + VTR_MAX_DATA_XFER,
	MULTI = sizeof(struct vfio_user_write_multi),
	FEATURE = sizeof(struct vfio_user_device_feature),
	MAX_BODY = VTR_MAX_MESSAGE - sizeof(struct vfio_user_header),
};

/* clang-format off */
static const struct vtr_vfio_user_command commands[] = {
	/* name, body: smallest, largest, fds, when, handler */
	[VFIO_USER_VERSION] =                 { "VERSION",            VERSION, MAX_VERSION, 0,                   VTR_UNWOUND,  handle_version },
	[VFIO_USER_DMA_MAP] =                 { "DMA_MAP",            MAP,     MAP,         1,                   VTR_UNWOUND,  handle_dma_map },
	[VFIO_USER_DMA_UNMAP] =               { "DMA_UNMAP",          UNMAP,   MAX_BODY,    0,                   VTR_UNWOUND,  handle_dma_unmap },
	[VFIO_USER_DEVICE_GET_INFO] =         { "GET_INFO",           INFO,    INFO,        0,                   VTR_ANY_TIME, handle_get_info },
	[VFIO_USER_DEVICE_GET_REGION_INFO] =  { "GET_REGION_INFO",    REGION,  REGION,      0,                   VTR_ANY_TIME, handle_get_region_info },
	[VFIO_USER_DEVICE_GET_REGION_IO_FDS] ={ "GET_REGION_IO_FDS",  IO_FDS,  IO_FDS,      0,                   VTR_ANY_TIME, handle_get_region_io_fds },
	[VFIO_USER_DEVICE_GET_IRQ_INFO] =     { "GET_IRQ_INFO",       IRQ,     IRQ,         0,                   VTR_ANY_TIME, handle_get_irq_info },
	[VFIO_USER_DEVICE_SET_IRQS] =         { "SET_IRQS",           IRQ_SET, MAX_BODY,    VTR_MAX_MESSAGE_FDS, VTR_ANY_TIME, vtr_vfio_user_handle_set_irqs },
	[VFIO_USER_REGION_READ] =             { "REGION_READ",        ACCESS,  ACCESS,      0,                   VTR_ANY_TIME, handle_region_read },
	[VFIO_USER_REGION_WRITE] =            { "REGION_WRITE",       ACCESS,  MAX_ACCESS,  0,                   VTR_WRITES,   handle_region_write },
	[VFIO_USER_DEVICE_RESET] =            { "RESET",              0,       0,           0,                   VTR_UNWOUND,  handle_reset },
	[VFIO_USER_REGION_WRITE_MULTI] =      { "REGION_WRITE_MULTI", MULTI,   MAX_BODY,    0,                   VTR_WRITES,   handle_region_write_multi },
	[VFIO_USER_DEVICE_FEATURE] =          { "DEVICE_FEATURE",     FEATURE, MAX_BODY,    0,                   VTR_ANY_TIME, handle_device_feature },
	[VFIO_USER_MIG_DATA_READ] =           { "MIG_DATA_READ",      0,       MAX_BODY,    0,                   VTR_ANY_TIME, handle_migration },
	[VFIO_USER_MIG_DATA_WRITE] =          { "MIG_DATA_WRITE",     0,       MAX_BODY,    0,                   VTR_ANY_TIME, handle_migration },
};
/* clang-format on */

const struct vtr_vfio_user_command *vtr_vfio_user_command_find(uint16_t command)
{
	if (command >= sizeof(commands) / sizeof(commands[0]) || !commands[command].handle)
		return NULL;
	return &commands[command];
}
