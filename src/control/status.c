/* SPDX-License-Identifier: MIT */
/* What is shown, how, and what it costs: the reply to `status`. docs/control.md has the keys. */
#include <inttypes.h>
#include <linux/input-event-codes.h>
#include <stdio.h>

#include <vitrine/dmabuf.h>

#include "control/control.h"
#include "memory/iommu.h"
#include "util/fourcc.h"
#include "vitrine-version.h"

/* What is not ASCII would have to be valid UTF-8. */
json_t *vtr_control_text(const char *string)
{
	char clean[512];

	snprintf(clean, sizeof(clean), "%s", string);
	for (char *c = clean; *c; c++)
		if (*c < 0x20 || *c > 0x7e)
			*c = '?';
	return json_string(clean);
}

/* JSON integers are signed here. */
static json_t *number(uint64_t value)
{
	return json_integer(value > INT64_MAX ? INT64_MAX : (json_int_t)value);
}

static json_t *features(const struct vtr_control_subject *subject)
{
	struct vtr_virtio_device *device = vtr_gpu_virtio(subject->gpu);
	uint64_t accepted = vtr_virtio_driver_features(device);
	json_t *names = json_array();

	for (unsigned bit = 0; bit < 64; bit++) {
		const char *name = vtr_virtio_feature_name(vtr_virtio_device_id(device), bit);

		if (!(accepted & UINT64_C(1) << bit))
			continue;
		json_array_append_new(names, name ? json_string(name) : json_sprintf("BIT_%u", bit));
	}
	return names;
}

static json_t *attributes(const struct vtr_region *region)
{
	json_t *names = json_array();

	for (unsigned i = 0; i < VTR_DMABUF_ATTRIBUTES; i++)
		if (vtr_region_attributes(region) >> i & 1)
			json_array_append_new(names, json_string(vtr_dmabuf_attribute_name(i)));
	return names;
}

/* What answers for a range of guest addresses. */
static json_t *region_object(const struct vtr_region *region)
{
	const char *why = vtr_region_why_no_cpu(region);
	json_t *object = json_pack("{s:o, s:o, s:s, s:b, s:b, s:o}", "address", json_sprintf("0x%" PRIx64, region->address), "size",
	                           number(region->size), "kind", vtr_region_kind_name(region->kind), "writable", region->writable,
	                           "faulted", vtr_region_faulted(region), "no_cpu", why ? vtr_control_text(why) : json_null());

	if (object && region->kind == VTR_REGION_WINDOW)
		json_object_set_new(object, "attributes", attributes(region));
	return object;
}

/* Behind an IOMMU there may be one for each page, which nobody wants to read: the IOTLB's status counts them. */
static json_t *regions(const struct vtr_memory *memory)
{
	json_t *list = json_array();
	const struct vtr_region *region;

	for (size_t i = 0; memory && !vtr_memory_is_translated(memory) && (region = vtr_memory_region(memory, i)); i++)
		json_array_append_new(list, region_object(region));
	return list;
}

static json_t *connection(const struct vtr_control_subject *subject)
{
	struct vtr_vfio_user_status status;

	vtr_vfio_user_server_status(subject->vfio_user, &status);
	return json_pack("{s:b, s:o, s:o, s:o, s:I}", "connected", status.connected, "connections", number(status.connections),
	                 "messages", number(status.messages), "bytes_fetched", number(status.bytes_fetched), "peer_pid",
	                 (json_int_t)status.peer_pid);
}

static json_t *protocol_features(uint64_t features)
{
	json_t *names = json_array();

	for (unsigned bit = 0; bit < 64; bit++) {
		const char *name = vtr_vhost_user_protocol_feature_name(bit);

		if (features & UINT64_C(1) << bit)
			json_array_append_new(names, name ? json_string(name) : json_sprintf("BIT_%u", bit));
	}
	return names;
}

static json_t *rings(uint32_t running)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < 32; i++)
		if (running & UINT32_C(1) << i)
			json_array_append_new(list, json_integer(i));
	return list;
}

/* null where addresses are not translated */
static json_t *iotlb(const struct vtr_vhost_user_iotlb_status *status)
{
	const struct vtr_iommu_status *map = &status->map;

	if (!status->active)
		return json_null();
	return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:I, s:I}", "hits", number(map->hits), "misses",
	                 number(map->misses), "updates", number(map->updates), "invalidations", number(map->invalidations),
	                 "failures", number(map->failures), "timeouts", number(map->timeouts), "evictions", number(map->evictions),
	                 "access_failures", number(status->access_failures), "entries", (json_int_t)map->entries, "pending",
	                 (json_int_t)map->pending);
}

static json_t *front_end(const struct vtr_control_subject *subject)
{
	struct vtr_vhost_user_status status;

	vtr_vhost_user_server_status(subject->vhost_user, &status);
	return json_pack("{s:b, s:o, s:o, s:o, s:I, s:o, s:I, s:o, s:b, s:o}", "connected", status.connected, "connections",
	                 number(status.connections), "messages", number(status.messages), "refused", number(status.refused),
	                 "peer_pid", (json_int_t)status.peer_pid, "protocol_features", protocol_features(status.protocol_features),
	                 "memory_slots", (json_int_t)status.memory_slots, "rings", rings(status.rings), "backend_channel",
	                 status.backend_channel, "iotlb", iotlb(&status.iotlb));
}

static json_t *refusals(const struct vtr_scanout_status *scanout)
{
	json_t *list = json_array();

	for (size_t i = 0; i < scanout->n_why_not; i++)
		json_array_append_new(list, json_pack("{s:s, s:o}", "path", vtr_path_name(scanout->why_not[i].path), "reason",
		                                      vtr_control_text(scanout->why_not[i].reason)));
	return list;
}

/* "XR24"; null when there is none. */
static json_t *format(uint32_t fourcc)
{
	char name[VTR_FOURCC_NAME];

	return fourcc ? vtr_control_text(vtr_fourcc_name(fourcc, name)) : json_null();
}

json_t *vtr_control_output(const struct vtr_output *output)
{
	const struct vtr_mode mode = vtr_output_mode(output);
	const char *lost = vtr_output_lost(output);

	return json_pack("{s:I, s:I, s:f, s:b, s:b, s:o}", "width", (json_int_t)mode.width, "height", (json_int_t)mode.height,
	                 "refresh_hz", mode.refresh_mhz / 1000.0, "connected", vtr_output_connected(output), "fixed",
	                 vtr_output_fixed(output), "lost", *lost ? vtr_control_text(lost) : json_null());
}

static json_t *output(const struct vtr_outputs *outputs, uint32_t index)
{
	struct vtr_output *found = vtr_outputs_get((struct vtr_outputs *)outputs, index);

	return found ? vtr_control_output(found) : json_null();
}

/* Tenths of a microsecond: more would be noise. */
static double cpu_us_per_frame(const struct vtr_scanout_status *scanout)
{
	return scanout->frames ? (double)(scanout->cpu_ns / scanout->frames / 100) / 10 : 0;
}

static json_t *scanout(const struct vtr_outputs *outputs, const struct vtr_scanout_status *status)
{
	json_t *object =
		json_pack("{s:I, s:o, s:s, s:o, s:b, s:b, s:b}", "id", (json_int_t)status->id, "name",
	                  vtr_control_text(status->name), "display", status->display, "output", output(outputs, status->id),
	                  "enabled", status->enabled, "frozen", status->frozen, "revoked", status->revoked);
	json_t *picture = json_pack("{s:I, s:I, s:o, s:I, s:s, s:o}", "width", (json_int_t)status->width, "height",
	                            (json_int_t)status->height, "format", format(status->format), "resource",
	                            (json_int_t)status->resource, "path", vtr_path_name(status->path), "why_not", refusals(status));
	json_t *cost = json_pack("{s:o, s:o, s:o, s:o, s:f, s:{s:o, s:o}}", "frames", number(status->frames), "dropped",
	                         number(status->dropped), "timeouts", number(status->timeouts), "bytes_copied",
	                         number(status->bytes_copied), "cpu_us_per_frame", cpu_us_per_frame(status), "flush_to_present_us",
	                         "p50", number(status->present_p50_us), "p99", number(status->present_p99_us));

	if (json_object_update_new(object, picture) || json_object_update_new(object, cost)) {
		json_decref(object);
		return NULL;
	}
	return object;
}

static json_t *scanouts(const struct vtr_control_subject *subject)
{
	struct vtr_scanout_status status;
	json_t *list = json_array();

	for (uint32_t i = 0; vtr_gpu_scanout_status(subject->gpu, i, &status); i++)
		json_array_append_new(list, scanout(subject->outputs, &status));
	return list;
}

/* pid: null while it has no process of its own */
static json_t *renderer(const struct vtr_renderer *renderer, const struct vtr_gpu_status *gpu)
{
	int pid = vtr_renderer_pid(renderer);

	return json_pack("{s:o, s:b, s:o, s:I, s:I, s:o, s:o}", "description", vtr_control_text(vtr_renderer_description(renderer)),
	                 "isolated", pid != 0, "pid", pid > 0 ? json_integer(pid) : json_null(), "contexts",
	                 (json_int_t)gpu->contexts, "resources", (json_int_t)gpu->resources_3d, "lost", number(gpu->renderer_lost),
	                 "lost_reason", gpu->renderer_lost ? vtr_control_text(gpu->lost_why) : json_null());
}

static json_t *leds(uint32_t lit)
{
	static const char *const names[] = { [LED_NUML] = "num", [LED_CAPSL] = "caps", [LED_SCROLLL] = "scroll" };
	json_t *list = json_array();

	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (lit >> i & 1)
			json_array_append_new(list, json_string(names[i]));
	return list;
}

static json_t *input(struct vtr_input *input)
{
	json_t *devices = json_array();

	for (unsigned kind = 0; kind < VTR_INPUT_KINDS; kind++) {
		struct vtr_input_status status;

		vtr_input_status(input, kind, &status);
		json_array_append_new(devices,
		                      json_pack("{s:s, s:b, s:o, s:o, s:o, s:o}", "kind", vtr_input_kind_name(kind), "used",
		                                status.used, "held", number(status.held), "waiting", number(status.waiting),
		                                "events", number(status.events), "merged", number(status.merged)));
	}
	return json_pack("{s:o, s:o}", "leds", leds(vtr_input_leds(input)), "devices", devices);
}

json_t *vtr_control_status(const struct vtr_control_subject *subject)
{
	struct vtr_gpu_status gpu;

	vtr_gpu_status(subject->gpu, &gpu);
	json_t *reply = json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "version", VTR_VERSION, "transport",
	                          vtr_control_text(subject->transport ? subject->transport : "none"), "guest_features",
	                          features(subject), "memory_regions", regions(subject->memory), "resources", number(gpu.resources),
	                          "mem_entries", number(gpu.entries), "hostmem", number(gpu.hostmem), "commands",
	                          number(gpu.commands), "errors", number(gpu.errors), "scanouts", scanouts(subject));
	if (reply && subject->assigned)
		json_object_set_new(reply, "assigned", vtr_control_assigned(subject->assigned));
	if (reply && subject->assigned)
		json_object_set_new(reply, "awaited", vtr_control_awaited(subject->assigned));
	if (reply && subject->vfio_user)
		json_object_set_new(reply, "vfio_user", connection(subject));
	if (reply && subject->vhost_user)
		json_object_set_new(reply, "vhost_user", front_end(subject));
	if (reply && subject->renderer)
		json_object_set_new(reply, "renderer", renderer(subject->renderer, &gpu));
	if (reply && subject->input)
		json_object_set_new(reply, "input", input(subject->input));
	return reply;
}
