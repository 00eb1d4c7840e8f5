/* SPDX-License-Identifier: MIT */
/* Initialization, features, queues, reset: virtio 1.3, 2.1, 2.2, 2.6, 3.1, 4.1.4.3. */
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>
#include <stddef.h>

#include "guest/check/check.h"

static bool offers(struct vtr_check *check, const void *row)
{
	uint64_t features = vtr_guest_offered(check->guest);
	static const struct {
		unsigned bit;
		bool offered;
		const char *name;
	} wanted[] = {
		{ VIRTIO_F_VERSION_1, true, "VERSION_1" },
		{ VIRTIO_RING_F_INDIRECT_DESC, true, "INDIRECT_DESC" },
		{ VIRTIO_RING_F_EVENT_IDX, true, "EVENT_IDX" },
		{ VIRTIO_F_RING_RESET, true, "RING_RESET" },
		{ VIRTIO_F_ACCESS_PLATFORM, true, "ACCESS_PLATFORM" },
		{ VIRTIO_GPU_F_EDID, true, "EDID" },
		{ VIRTIO_GPU_F_RESOURCE_UUID, true, "RESOURCE_UUID" },
		{ VIRTIO_F_RING_PACKED, false, "RING_PACKED" },
	};

	for (size_t i = 0; i < VTR_CHECK_COUNT(wanted); i++)
		if (!vtr_expect_value(check, wanted[i].name, features >> wanted[i].bit & 1, wanted[i].offered))
			return false;
	return true;
}

/* row: features to accept beyond what is offered, or to leave out. */
struct negotiation_row {
	uint64_t with, without;
};

static bool refuses_features(struct vtr_check *check, const void *row)
{
	const struct negotiation_row *r = row;
	struct vtr_guest *guest = check->guest;
	uint64_t offered = vtr_guest_offered(guest);

	if (!vtr_expect_success(check, "reset", vtr_guest_stop(guest)))
		return false;
	int result = guest->link->impl->negotiate(guest->link, (offered | r->with) & ~r->without);
	return vtr_expect_value(check, "FEATURES_OK is refused (-errno)", (uint64_t)-result, ENOTSUP) && vtr_expect_recovery(check);
}

/* Works with fewer features too. */
static bool works_without(struct vtr_check *check, const void *row)
{
	const struct negotiation_row *r = row;

	if (!vtr_expect_success(check, "start", vtr_guest_start(check->guest, ~r->without)))
		return false;
	for (int i = 0; i < 100; i++)
		if (!vtr_expect_alive(check))
			return false;
	return true;
}

static bool small_queue(struct vtr_check *check, const void *row)
{
	check->guest->queue_limit = 4;
	return works_without(check, &(const struct negotiation_row){ 0 }) &&
	       works_without(check, &(const struct negotiation_row){ .without = VTR_FEATURE(VIRTIO_RING_F_INDIRECT_DESC) });
}

static bool reset_forgets(struct vtr_check *check, const void *row)
{
	struct vtr_guest *guest = check->guest;

	return vtr_expect_ok(check, "RESOURCE_CREATE_2D",
	                     vtr_command_create_2d(guest, 1, VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM, 16, 16)) &&
	       vtr_expect_recovery(check) &&
	       vtr_expect_response(check, "RESOURCE_UNREF after a reset", vtr_command_unref(guest, 1),
	                           VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID);
}

static bool reset_blanks(struct vtr_check *check, const void *row)
{
	struct vtr_image image = { 0 };
	bool passed = vtr_check_show(check, &image, &(struct vtr_image_layout){ VTR_GUEST_RAM, 64, 48 }, 1, 0) &&
	              vtr_expect_recovery(check) && vtr_expect_blank(check, 0);

	vtr_image_finish(&image);
	return passed;
}

static bool reset_with_flushes_pending(struct vtr_check *check, const void *row)
{
	struct vtr_guest *guest = check->guest;

	for (int round = 0; round < 20; round++) {
		struct vtr_image image = { 0 };
		struct vtr_guest_message message;
		bool shown = vtr_check_show(check, &image, &(struct vtr_image_layout){ VTR_GUEST_RAM, 64, 48 }, 1, 0);
		struct virtio_gpu_resource_flush flush = {
			.hdr = { .type = VIRTIO_GPU_CMD_RESOURCE_FLUSH, .flags = VIRTIO_GPU_FLAG_FENCE },
			.r = { 0, 0, 64, 48 },
			.resource_id = 1,
		};

		vtr_image_finish(&image);
		for (int i = 0; shown && i < 8; i++)
			shown = vtr_expect_success(check, "posting",
			                           vtr_guest_post(guest, VTR_GUEST_CONTROL, &message, &flush, sizeof(flush), 24));
		if (!shown || !vtr_expect_success(check, "doorbell", vtr_guest_kick(guest, VTR_GUEST_CONTROL, true)) ||
		    !vtr_expect_recovery(check))
			return false;
	}
	return true;
}

static bool queues(struct vtr_check *check, const void *row)
{
	struct vtr_guest_function *function = vtr_guest_function_of(check->guest);
	uint64_t sizes[3];
	uint64_t count = vtr_guest_function_read(function, &function->common, VIRTIO_PCI_COMMON_NUMQ, 2);

	for (unsigned i = 0; i < 3; i++) {
		vtr_guest_function_write(function, &function->common, VIRTIO_PCI_COMMON_Q_SELECT, 2, i < 2 ? i : 40000);
		sizes[i] = vtr_guest_function_read(function, &function->common, VIRTIO_PCI_COMMON_Q_SIZE, 2);
	}
	return vtr_expect_success(check, "registers", vtr_guest_function_check(function)) &&
	       vtr_expect_value(check, "queues", count, 2) &&
	       vtr_expect_value(check, "control queue has entries", sizes[0] >= 16, true) &&
	       vtr_expect_value(check, "cursor queue has entries", sizes[1] >= 4, true) &&
	       vtr_expect_value(check, "entries of queue 40000", sizes[2], 0);
}

/* virtio 1.3, 2.6.1 */
static bool queue_reset(struct vtr_check *check, const void *row)
{
	struct vtr_guest *guest = check->guest;

	return vtr_expect_success(check, "resetting the queue", guest->link->impl->reset_queue(guest->link, VTR_GUEST_CONTROL)) &&
	       vtr_expect_success(check, "setting the queue up again",
	                          vtr_guest_setup_queue(guest, VTR_GUEST_CONTROL, VTR_GUEST_SYSTEM)) &&
	       vtr_expect_alive(check) &&
	       vtr_expect_ok(check, "RESOURCE_CREATE_2D after it",
	                     vtr_command_create_2d(guest, 1, VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM, 16, 16));
}

static bool doorbells_of_nobody(struct vtr_check *check, const void *row)
{
	struct vtr_guest *guest = check->guest;
	struct vtr_guest_function *function = vtr_guest_function_of(guest);

	if (!vtr_expect_success(check, "reset", vtr_guest_stop(guest)))
		return false;
	for (uint32_t i = 0; i < 8; i++)
		vtr_guest_function_write(function, &function->notify, i * 4 % function->notify.length, 2, i * 1000);
	vtr_guest_function_check(function); /* answered, whatever with */
	return vtr_expect_recovery(check);
}

/* What is written to a field that is read-only is lost, or refused. */
static bool configuration(struct vtr_check *check, const void *row)
{
	struct vtr_guest_link *link = check->guest->link;
	struct virtio_gpu_config before, after;
	const uint32_t nonsense = 99, all = UINT32_MAX;
	int result = link->impl->read_config(link, 0, &before, sizeof(before));

	if (!vtr_expect_success(check, "reading the configuration", result))
		return false;
	link->impl->write_config(link, offsetof(struct virtio_gpu_config, num_scanouts), &nonsense, sizeof(nonsense));
	return vtr_expect_success(
		       check, "writing events_clear",
		       link->impl->write_config(link, offsetof(struct virtio_gpu_config, events_clear), &all, sizeof(all))) &&
	       vtr_expect_success(check, "reading the configuration", link->impl->read_config(link, 0, &after, sizeof(after))) &&
	       vtr_expect_value(check, "1 to 16 scanouts",
	                        before.num_scanouts >= 1 && before.num_scanouts <= VIRTIO_GPU_MAX_SCANOUTS, true) &&
	       vtr_expect_value(check, "num_scanouts after writing to it", after.num_scanouts, before.num_scanouts) &&
	       vtr_expect_value(check, "events_read after clearing all", after.events_read, 0) &&
	       vtr_expect_value(check, "capsets where VIRGL is offered, else none", after.num_capsets > 0,
	                        vtr_guest_offered(check->guest) & VTR_FEATURE(VIRTIO_GPU_F_VIRGL));
}

/* It counts changes, and there was none. */
static bool generation(struct vtr_check *check, const void *row)
{
	struct vtr_guest_function *function = vtr_guest_function_of(check->guest);
	uint64_t before = vtr_guest_function_read(function, &function->common, VIRTIO_PCI_COMMON_CFGGENERATION, 1);
	bool passed = configuration(check, row);
	uint64_t after = vtr_guest_function_read(function, &function->common, VIRTIO_PCI_COMMON_CFGGENERATION, 1);

	return passed && vtr_expect_success(check, "registers", vtr_guest_function_check(function)) &&
	       vtr_expect_value(check, "config_generation", after, before);
}

static bool failed_status(struct vtr_check *check, const void *row)
{
	struct vtr_guest_link *link = check->guest->link;

	return vtr_expect_success(check, "status", link->impl->set_status(link, VIRTIO_CONFIG_S_FAILED)) &&
	       vtr_expect_recovery(check);
}

static const struct vtr_check_case cases[] = {
	{ "offers", offers },
	{ "refuses-unoffered-feature", refuses_features, &(const struct negotiation_row){ .with = UINT64_C(1) << 63 } },
	{ "refuses-no-version-1", refuses_features, &(const struct negotiation_row){ .without = VTR_FEATURE(VIRTIO_F_VERSION_1) } },
	{ "works-without-event-idx", works_without,
	  &(const struct negotiation_row){ .without = VTR_FEATURE(VIRTIO_RING_F_EVENT_IDX) } },
	{ "works-without-indirect", works_without,
	  &(const struct negotiation_row){ .without = VTR_FEATURE(VIRTIO_RING_F_INDIRECT_DESC) } },
	{ "works-with-nothing", works_without, &(const struct negotiation_row){ .without = UINT64_MAX } },
	{ "small-queue", small_queue },
	{ "reset-forgets", reset_forgets },
	{ "reset-blanks", reset_blanks, NULL, VTR_FEATURE(VIRTIO_GPU_F_RESOURCE_BLOB), true },
	{ "reset-with-flushes-pending", reset_with_flushes_pending, NULL, VTR_FEATURE(VIRTIO_GPU_F_RESOURCE_BLOB) },
	{ "queues", queues, .links = VTR_ON_VFIO_USER },
	{ "queue-reset", queue_reset, NULL, VTR_FEATURE(VIRTIO_F_RING_RESET) },
	{ "doorbells-of-nobody", doorbells_of_nobody, .links = VTR_ON_VFIO_USER },
	{ "configuration", configuration },
	{ "config-generation", generation, .links = VTR_ON_VFIO_USER },
	{ "failed-status", failed_status },
};

const struct vtr_check_family vtr_check_setup = { "setup", cases, VTR_CHECK_COUNT(cases) };
