/* SPDX-License-Identifier: MIT */
/* Assigned devices: given to a running device as a file descriptor, taken back, shown in the status. */
#include <inttypes.h>

#include "control/control.h"

static json_t *capabilities(const struct vtr_vfio_device *device)
{
	static const struct {
		enum vtr_vfio_capability bit;
		const char *name;
	} names[] = {
		{ VTR_VFIO_DMA_BUF, "dmabuf" },
		{ VTR_VFIO_REGION_MMAP, "mmap" },
		{ VTR_VFIO_BAR_ADDRESSES, "bar-addresses" },
	};
	json_t *list = json_array();

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (vtr_vfio_device_capabilities(device) & names[i].bit)
			json_array_append_new(list, json_string(names[i].name));
	return list;
}

static json_t *bars(const struct vtr_vfio_device *device)
{
	const struct vtr_vfio_region *region;
	json_t *list = json_array();

	for (uint32_t bar = 0; (region = vtr_vfio_device_region(device, bar)); bar++) {
		uint64_t mappable = 0;

		if (!region->size)
			continue;
		for (size_t i = 0; i < region->n_areas; i++)
			mappable += region->areas[i].size;
		json_array_append_new(list, json_pack("{s:I, s:I, s:I, s:o, s:b}", "bar", (json_int_t)bar, "size",
		                                      (json_int_t)region->size, "mappable", (json_int_t)mappable, "address",
		                                      region->address ? json_sprintf("0x%" PRIx64, region->address) : json_null(),
		                                      "decoded", region->decoded));
	}
	return list;
}

static json_t *describe(const struct vtr_vfio_device *device)
{
	struct vtr_error why;

	return json_pack("{s:o, s:o, s:o, s:o}", "name", vtr_control_text(vtr_vfio_device_name(device)), "capabilities",
	                 capabilities(device), "no_dmabuf",
	                 vtr_vfio_device_probe_dmabuf(device, &why) ? vtr_control_text(why.text) : json_null(), "bars",
	                 bars(device));
}

json_t *vtr_control_assigned(const struct vtr_vfio_assigned *assigned)
{
	struct vtr_vfio_devices *devices = vtr_vfio_assigned_devices((struct vtr_vfio_assigned *)assigned);
	const struct vtr_vfio_device *device;
	json_t *list = json_array();

	for (size_t i = 0; (device = vtr_vfio_devices_get(devices, i)); i++)
		json_array_append_new(list, describe(device));
	return list;
}

json_t *vtr_control_awaited(const struct vtr_vfio_assigned *assigned)
{
	json_t *list = json_array();
	const char *text, *why;

	for (size_t i = 0; (text = vtr_vfio_assigned_awaited(assigned, i, &why)); i++)
		json_array_append_new(list,
		                      json_pack("{s:o, s:o}", "device", vtr_control_text(text), "reason", vtr_control_text(why)));
	return list;
}

static void remove_device(struct vtr_control_client *client)
{
	if (vtr_vfio_assigned_remove(client->control->subject.assigned, client->arguments.remove))
		vtr_control_refuse(client, "failed", "no device '%s' is assigned", client->arguments.remove);
	else
		vtr_control_reply(client, json_object(), -1);
}

static void add_device(struct vtr_control_client *client)
{
	struct vtr_error error = { 0 };
	int fd = vtr_control_take_fd(client);

	if (fd < 0) {
		vtr_control_refuse(client, "invalid",
		                   client->in_fds_lost ? "assign takes one file descriptor, and more came (or none could be taken)"
		                                       : "assign needs the device's file descriptor with the request, or remove");
		return;
	}
	struct vtr_vfio_device *device = vtr_vfio_assigned_add(client->control->subject.assigned, fd, &error);
	if (device)
		vtr_control_reply(client, describe(device), -1);
	else
		vtr_control_refuse(client, "failed", "%s", error.text);
}

void vtr_control_assign(struct vtr_control_client *client)
{
	bool removing = *client->arguments.remove;

	if (!client->control->subject.assigned)
		vtr_control_refuse(client, "failed", "no devices can be assigned here");
	else if (removing && (client->in_fd >= 0 || client->in_fds_lost))
		vtr_control_refuse(client, "invalid", "assign takes a file descriptor or remove, not both");
	else if (removing)
		remove_device(client);
	else
		add_device(client);
}
