/* SPDX-License-Identifier: MIT */
/*
 * Prints what a device is. Everything is first collected into one JSON object, which is printed as it is (--json) or read out for
 * people: so both say the same.
 */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <linux/vfio.h>
#include <linux/virtio_gpu.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <string.h>

#include <vitrine/log.h>
#include <vitrine/virtio.h>

#include "guest/command.h"
#include "guest/edid.h"
#include "guest/link_vhost.h"

static json_t *hex(const char *format, unsigned long long value)
{
	char text[32];

	snprintf(text, sizeof(text), format, value);
	return json_string(text);
}

static json_t *bars(const struct vtr_guest_function *function)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < VTR_GUEST_BARS; i++) {
		const struct vtr_guest_bar *bar = &function->bars[i];

		if (!bar->size && !bar->region)
			continue;
		json_array_append_new(list, json_pack("{s:i, s:I, s:I, s:i, s:b, s:b}", "bar", i, "size", (json_int_t)bar->size,
		                                      "region_size", (json_int_t)bar->region, "bits",
		                                      bar->io      ? 16
		                                      : bar->is_64 ? 64
		                                                   : 32,
		                                      "prefetchable", bar->prefetchable, "mappable",
		                                      !!(function->region_flags[i] & VFIO_REGION_INFO_FLAG_MMAP)));
		if (bar->is_64)
			i++;
	}
	return list;
}

static void add_structure(json_t *list, const char *name, const struct vtr_guest_structure *structure)
{
	if (structure->found)
		json_array_append_new(list, json_pack("{s:s, s:o, s:i, s:o, s:I}", "name", name, "position",
		                                      hex("0x%02llx", structure->position), "bar", structure->bar, "offset",
		                                      hex("0x%llx", structure->offset), "length", (json_int_t)structure->length));
}

static json_t *capabilities(const struct vtr_guest_function *function)
{
	json_t *list = json_array();
	struct vtr_guest_structure table = {
		.found = function->msix_position,
		.position = function->msix_position,
		.bar = function->msix_table_bar,
		.offset = function->msix_table_offset,
		.length = function->msix_vectors * 16u,
	};

	add_structure(list, "common", &function->common);
	add_structure(list, "notify", &function->notify);
	add_structure(list, "isr", &function->isr);
	add_structure(list, "device", &function->config);
	add_structure(list, "pci", &function->pci);
	add_structure(list, "msix", &table);
	return list;
}

static json_t *feature_names(uint64_t features)
{
	json_t *list = json_array();

	for (unsigned bit = 0; bit < 64; bit++) {
		const char *name = vtr_virtio_feature_name(VIRTIO_ID_GPU, bit);

		if (!(features & UINT64_C(1) << bit))
			continue;
		json_array_append_new(list, name ? json_string(name) : hex("bit %llu", bit));
	}
	return list;
}

static json_t *configuration(struct vtr_guest *guest)
{
	struct virtio_gpu_config config = { 0 };

	guest->link->impl->read_config(guest->link, 0, &config, sizeof(config));
	return json_pack("{s:I, s:I, s:I}", "events", (json_int_t)config.events_read, "scanouts", (json_int_t)config.num_scanouts,
	                 "capsets", (json_int_t)config.num_capsets);
}

static json_t *edid_of(struct vtr_guest *guest, uint32_t scanout)
{
	struct virtio_gpu_resp_edid response;
	struct vtr_edid_info info;

	if (!(guest->features & UINT64_C(1) << VIRTIO_GPU_F_EDID))
		return json_null();
	if (vtr_command_edid(guest, scanout, &response) != VIRTIO_GPU_RESP_OK_EDID || response.size > sizeof(response.edid))
		return json_null();
	vtr_edid_read(response.edid, response.size, &info);
	return json_pack("{s:b, s:s, s:s, s:i, s:i, s:f, s:i}", "valid", info.valid, "name", info.name, "vendor", info.vendor,
	                 "width", (int)info.width, "height", (int)info.height, "refresh", info.refresh_mhz / 1000.0, "bytes",
	                 (int)response.size);
}

static json_t *scanouts(struct vtr_guest *guest, uint64_t count)
{
	struct virtio_gpu_resp_display_info info;
	json_t *list = json_array();

	if (vtr_command_display_info(guest, &info) != VIRTIO_GPU_RESP_OK_DISPLAY_INFO)
		return list;
	for (uint32_t i = 0; i < count && i < VIRTIO_GPU_MAX_SCANOUTS; i++) {
		const struct virtio_gpu_display_one *one = &info.pmodes[i];

		json_array_append_new(list, json_pack("{s:i, s:b, s:i, s:i, s:i, s:i, s:o}", "id", (int)i, "enabled",
		                                      !!one->enabled, "x", (int)one->r.x, "y", (int)one->r.y, "width",
		                                      (int)one->r.width, "height", (int)one->r.height, "edid", edid_of(guest, i)));
	}
	return list;
}

static json_t *assigned_bars(const struct vtr_guest_assigned *assigned)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < VTR_VFIO_BARS; i++) {
		const struct vtr_vfio_region *bar = vtr_vfio_device_region(assigned->device, i);
		uint64_t mappable = 0;

		for (size_t area = 0; area < bar->n_areas; area++)
			mappable += bar->areas[area].size;
		if (bar->size)
			json_array_append_new(list, json_pack("{s:i, s:I, s:o, s:I, s:b}", "bar", (int)i, "size",
			                                      (json_int_t)bar->size, "address", hex("0x%llx", bar->address),
			                                      "mappable", (json_int_t)mappable, "sealed", bar->sealed));
	}
	return list;
}

/* The device that is assigned to the guest; null without one. */
static json_t *assigned_device(const struct vtr_guest_assigned *assigned)
{
	struct vtr_error error = { 0 };

	if (!assigned)
		return json_null();
	uint32_t capabilities = vtr_vfio_device_capabilities(assigned->device);
	const char *dmabufs = capabilities & VTR_VFIO_DMA_BUF ? "made by the device" : "udmabufs of its memory";
	if (vtr_vfio_device_probe_dmabuf(assigned->device, &error))
		dmabufs = error.text;
	return json_pack("{s:o, s:o, s:o, s:{s:i, s:i, s:i}, s:s, s:s}", "vendor", hex("%04llx", assigned->vendor_id), "device",
	                 hex("%04llx", assigned->device_id), "bars", assigned_bars(assigned), "interrupts", "intx",
	                 (int)assigned->irqs[0], "msi", (int)assigned->irqs[1], "msix", (int)assigned->irqs[2], "memory",
	                 vtr_guest_assigned_kind(assigned), "dmabufs", dmabufs);
}

/* What only a PCI function has. */
static void add_function(json_t *device, const struct vtr_guest_function *function)
{
	json_t *ids = json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "vendor", hex("%04llx", function->vendor), "device",
	                        hex("%04llx", function->device), "subsystem_vendor", hex("%04llx", function->subsystem_vendor),
	                        "subsystem", hex("%04llx", function->subsystem), "class", hex("%06llx", function->class_code),
	                        "revision", hex("%02llx", function->revision));

	json_object_set_new(device, "pci", ids);
	json_object_set_new(device, "msix_vectors", json_integer(function->msix_vectors));
	json_object_set_new(device, "bars", bars(function));
	json_object_set_new(device, "capabilities", capabilities(function));
}

/* What only a vhost-user back-end has. */
static json_t *backend(const struct vtr_vhost_user_frontend *frontend)
{
	struct vtr_vhost_user_frontend_status status;
	json_t *list = json_array();

	vtr_vhost_user_frontend_status(frontend, &status);
	for (unsigned bit = 0; bit < 64; bit++) /* those that both ends know, so each has a name */
		if (status.protocol_features >> bit & 1)
			json_array_append_new(list, json_string(vtr_vhost_user_protocol_feature_name(bit)));
	return json_pack("{s:o, s:i, s:i}", "protocol_features", list, "vrings", (int)status.vrings, "memory_slots",
	                 (int)status.slots);
}

static json_t *collect(struct vtr_guest *guest)
{
	struct vtr_guest_vhost *vhost = vtr_guest_vhost_of(guest);
	uint64_t offered = vtr_guest_offered(guest);
	json_t *config = configuration(guest);
	uint64_t count = (uint64_t)json_integer_value(json_object_get(config, "scanouts"));
	json_t *device = json_pack("{s:s, s:o, s:o, s:o, s:i, s:o, s:o}", "link", guest->link->impl->name, "features",
	                           feature_names(offered), "feature_bits", hex("0x%llx", offered), "config", config, "queue_size",
	                           guest->queues[VTR_GUEST_CONTROL].ring.size, "scanouts", scanouts(guest, count), "assigned",
	                           assigned_device(guest->assigned));

	if (vhost)
		json_object_set_new(device, "vhost_user", backend(vhost->frontend));
	else
		add_function(device, vtr_guest_function_of(guest));
	return device;
}

/* ---- for people ---- */

static const char *text(const json_t *object, const char *key)
{
	const char *value = json_string_value(json_object_get(object, key));

	return value ? value : "";
}

static json_int_t number(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

static void print_pci(const json_t *device, FILE *out)
{
	const json_t *pci = json_object_get(device, "pci"), *item;
	size_t i;

	fprintf(out, "device        %s:%s (subsystem %s:%s), class %s, revision %s\n", text(pci, "vendor"), text(pci, "device"),
	        text(pci, "subsystem_vendor"), text(pci, "subsystem"), text(pci, "class"), text(pci, "revision"));
	json_array_foreach (json_object_get(device, "bars"), i, item)
		fprintf(out,
		        "BAR %" JSON_INTEGER_FORMAT "         %" JSON_INTEGER_FORMAT " bytes, %" JSON_INTEGER_FORMAT " bit%s%s\n",
		        number(item, "bar"), number(item, "size"), number(item, "bits"),
		        json_is_true(json_object_get(item, "prefetchable")) ? ", prefetchable" : "",
		        json_is_true(json_object_get(item, "mappable")) ? ", mappable" : "");
	json_array_foreach (json_object_get(device, "capabilities"), i, item)
		fprintf(out, "capability    %s at %s: BAR %" JSON_INTEGER_FORMAT ", offset %s, %" JSON_INTEGER_FORMAT " bytes\n",
		        text(item, "name"), text(item, "position"), number(item, "bar"), text(item, "offset"),
		        number(item, "length"));
	fprintf(out, "MSI-X         %" JSON_INTEGER_FORMAT " vectors\n", number(device, "msix_vectors"));
}

static void print_backend(const json_t *backend, FILE *out)
{
	const json_t *item;
	size_t i;

	fprintf(out,
	        "back-end      vhost-user, %" JSON_INTEGER_FORMAT " vrings, %" JSON_INTEGER_FORMAT " memory slots\nprotocol     ",
	        number(backend, "vrings"), number(backend, "memory_slots"));
	json_array_foreach (json_object_get(backend, "protocol_features"), i, item)
		fprintf(out, " %s", json_string_value(item));
	fputc('\n', out);
}

static void print_scanouts(const json_t *device, FILE *out)
{
	const json_t *item;
	size_t i;

	json_array_foreach (json_object_get(device, "scanouts"), i, item) {
		const json_t *edid = json_object_get(item, "edid");

		fprintf(out,
		        "scanout %-5zu %s, %" JSON_INTEGER_FORMAT "x%" JSON_INTEGER_FORMAT "+%" JSON_INTEGER_FORMAT
		        "+%" JSON_INTEGER_FORMAT "\n",
		        i, json_is_true(json_object_get(item, "enabled")) ? "enabled" : "disabled", number(item, "width"),
		        number(item, "height"), number(item, "x"), number(item, "y"));
		if (json_is_object(edid))
			fprintf(out,
			        "              EDID \"%s\" (%s), prefers %" JSON_INTEGER_FORMAT "x%" JSON_INTEGER_FORMAT
			        " at %.2f Hz, %" JSON_INTEGER_FORMAT " bytes, %s\n",
			        text(edid, "name"), text(edid, "vendor"), number(edid, "width"), number(edid, "height"),
			        json_real_value(json_object_get(edid, "refresh")), number(edid, "bytes"),
			        json_is_true(json_object_get(edid, "valid")) ? "whole" : "damaged");
	}
}

static void print_assigned(const json_t *assigned, FILE *out)
{
	const json_t *irqs = json_object_get(assigned, "interrupts"), *item;
	size_t i;

	fprintf(out,
	        "assigned      %s:%s, memory by %s, interrupts: %" JSON_INTEGER_FORMAT " INTx, %" JSON_INTEGER_FORMAT
	        " MSI, %" JSON_INTEGER_FORMAT " MSI-X\n",
	        text(assigned, "vendor"), text(assigned, "device"), text(assigned, "memory"), number(irqs, "intx"),
	        number(irqs, "msi"), number(irqs, "msix"));
	json_array_foreach (json_object_get(assigned, "bars"), i, item)
		fprintf(out,
		        "              BAR %" JSON_INTEGER_FORMAT " at %s, %" JSON_INTEGER_FORMAT " bytes, %" JSON_INTEGER_FORMAT
		        " mappable%s\n",
		        number(item, "bar"), text(item, "address"), number(item, "size"), number(item, "mappable"),
		        json_is_true(json_object_get(item, "sealed")) ? ", sealed" : "");
	fprintf(out, "              dmabufs: %s\n", text(assigned, "dmabufs"));
}

static void print(const json_t *device, FILE *out)
{
	const json_t *config = json_object_get(device, "config"), *item;
	size_t i;

	if (json_object_get(device, "pci"))
		print_pci(device, out);
	else
		print_backend(json_object_get(device, "vhost_user"), out);
	fprintf(out, "features     ");
	json_array_foreach (json_object_get(device, "features"), i, item)
		fprintf(out, " %s", json_string_value(item));
	fprintf(out, "\nconfiguration events 0x%" PRIx64 ", %" JSON_INTEGER_FORMAT " scanouts, %" JSON_INTEGER_FORMAT " capsets\n",
	        (uint64_t)number(config, "events"), number(config, "scanouts"), number(config, "capsets"));
	fprintf(out, "queue         %" JSON_INTEGER_FORMAT " entries\n", number(device, "queue_size"));
	print_scanouts(device, out);
	if (json_is_object(json_object_get(device, "assigned")))
		print_assigned(json_object_get(device, "assigned"), out);
}

int vtr_guest_probe(const struct vtr_guest_options *options, bool json, FILE *out)
{
	struct vtr_error error;
	struct vtr_guest *guest = vtr_guest_open(options, &error);

	if (!guest) {
		vtr_log(VTR_LOG_ERROR, "%s", error.text);
		return VTR_GUEST_GONE;
	}
	int code = VTR_GUEST_GONE;
	json_t *device = NULL;
	if (vtr_guest_start(guest, UINT64_MAX)) {
		vtr_log(VTR_LOG_ERROR, "%s", vtr_guest_error(guest));
		goto close;
	}
	device = collect(guest);
	if (!device || !vtr_guest_connected(guest)) {
		vtr_log(VTR_LOG_ERROR, "the device stopped answering: %s", vtr_guest_error(guest));
		goto close;
	}
	if (json) {
		json_dumpf(device, out, JSON_INDENT(2));
		fputc('\n', out);
	} else {
		print(device, out);
	}
	code = VTR_GUEST_OK;
close:
	json_decref(device);
	vtr_guest_close(guest);
	return code;
}
