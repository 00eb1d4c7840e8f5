/* SPDX-License-Identifier: MIT */
/* Names of feature bits, for people: without their VIRTIO_F_, VIRTIO_RING_F_ and VIRTIO_<type>_F_ prefixes. */
#include <stddef.h>

#include <linux/virtio_ids.h>
#include <vitrine/virtio.h>

/* virtio 1.3, 6 */
static const char *const reserved_names[] = {
	[24] = "NOTIFY_ON_EMPTY",   [27] = "ANY_LAYOUT",        [28] = "INDIRECT_DESC", [29] = "EVENT_IDX",      [32] = "VERSION_1",
	[33] = "ACCESS_PLATFORM",   [34] = "RING_PACKED",       [35] = "IN_ORDER",      [36] = "ORDER_PLATFORM", [37] = "SR_IOV",
	[38] = "NOTIFICATION_DATA", [39] = "NOTIF_CONFIG_DATA", [40] = "RING_RESET",    [41] = "ADMIN_VQ",
};

/* virtio 1.3, 5.7.3; BLOB_ALIGNMENT is newer */
static const char *const gpu_names[] = { "VIRGL", "EDID", "RESOURCE_UUID", "RESOURCE_BLOB", "CONTEXT_INIT", "BLOB_ALIGNMENT" };

static const char *name_at(const char *const *names, size_t count, unsigned bit)
{
	return bit < count ? names[bit] : NULL;
}

const char *vtr_virtio_feature_name(uint16_t id, unsigned bit)
{
	const char *name = NULL;

	if (id == VIRTIO_ID_GPU)
		name = name_at(gpu_names, sizeof(gpu_names) / sizeof(gpu_names[0]), bit);
	return name ? name : name_at(reserved_names, sizeof(reserved_names) / sizeof(reserved_names[0]), bit);
}
