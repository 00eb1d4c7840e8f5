/* SPDX-License-Identifier: MIT */
/* The PCI function and the vfio-user requests around it: virtio 1.3, 4.1. */
#include <errno.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <stddef.h>

#include "guest/check/check.h"
#include "util/checked.h"
#include "util/fd.h"

enum { BASE_CLASS_DISPLAY = 0x03 };

static bool identity(struct vtr_check *check, const void *row)
{
	const struct vtr_guest_function *function = vtr_guest_function_of(check->guest);

	return vtr_expect_value(check, "vendor", function->vendor, 0x1af4) &&
	       vtr_expect_value(check, "device", function->device, 0x1040 + 16) &&
	       vtr_expect_value(check, "base class (display)", function->class_code >> 16, BASE_CLASS_DISPLAY) &&
	       vtr_expect_value(check, "revision is at least 1", function->revision >= 1, true);
}

static bool bar_sizes(struct vtr_check *check, const void *row)
{
	for (unsigned i = 0; i < VTR_GUEST_BARS; i++) {
		const struct vtr_guest_bar *bar = &vtr_guest_function_of(check->guest)->bars[i];

		if (bar->size && !vtr_is_power_of_two(bar->size))
			return vtr_check_fail(check, "BAR %u: expected a power of two, got %llu", i, (unsigned long long)bar->size);
		if (!vtr_expect_value(check, "BAR size and region size", bar->region, bar->size))
			return false;
	}
	return true;
}

static bool structures(struct vtr_check *check, const void *row)
{
	const struct vtr_guest_function *function = vtr_guest_function_of(check->guest);

	return vtr_expect_value(check, "common structure holds queue_reset",
	                        function->common.length >= VIRTIO_PCI_COMMON_Q_RESET + 2, true) &&
	       vtr_expect_value(check, "PCI configuration access capability", function->pci.found, true) &&
	       vtr_expect_value(check, "notify multiplier is 0 or even", function->notify_multiplier % 2, 0) &&
	       vtr_expect_value(check, "at least three MSI-X vectors", function->msix_vectors >= 3, true) &&
	       vtr_expect_value(check, "MSI-X table inside its BAR",
	                        vtr_range_fits(function->msix_table_offset, function->msix_vectors * 16ull,
	                                       function->bars[function->msix_table_bar % VTR_GUEST_BARS].size),
	                        true) &&
	       vtr_expect_value(check, "MSI-X PBA inside its BAR",
	                        vtr_range_fits(function->msix_pba_offset, (function->msix_vectors + 63u) / 64 * 8,
	                                       function->bars[function->msix_pba_bar % VTR_GUEST_BARS].size),
	                        true);
}

static bool ids_are_read_only(struct vtr_check *check, const void *row)
{
	struct vtr_guest_function *function = vtr_guest_function_of(check->guest);

	vtr_guest_config_space_write(function, PCI_VENDOR_ID, 4, 0);
	uint32_t ids = vtr_guest_config_space_read(function, PCI_VENDOR_ID, 4);
	return vtr_expect_success(check, "configuration space", vtr_guest_function_check(function)) &&
	       vtr_expect_value(check, "vendor and device after writing 0", ids, 0x10501af4);
}

/* virtio 1.3, 4.1.4.9: registers through a window in configuration space. */
static bool configuration_window(struct vtr_check *check, const void *row)
{
	struct vtr_guest_function *function = vtr_guest_function_of(check->guest);
	uint32_t at = function->pci.position;

	vtr_guest_config_space_write(function, at + VIRTIO_PCI_CAP_BAR, 1, function->common.bar);
	vtr_guest_config_space_write(function, at + VIRTIO_PCI_CAP_OFFSET, 4, function->common.offset + VIRTIO_PCI_COMMON_STATUS);
	vtr_guest_config_space_write(function, at + VIRTIO_PCI_CAP_LENGTH, 4, 1);
	uint32_t status =
		vtr_guest_config_space_read(function, at + (uint32_t)offsetof(struct virtio_pci_cfg_cap, pci_cfg_data), 1);
	vtr_guest_config_space_write(function, at + (uint32_t)offsetof(struct virtio_pci_cfg_cap, pci_cfg_data), 1, 0);
	uint8_t after = vtr_guest_function_status(function);

	return vtr_expect_success(check, "window", vtr_guest_function_check(function)) &&
	       vtr_expect_value(check, "status read through the window", status, 0x0f) &&
	       vtr_expect_value(check, "status after writing 0 through it", after, 0) && vtr_expect_recovery(check);
}

/* The window must not reach what no BAR has. */
static bool configuration_window_beyond(struct vtr_check *check, const void *row)
{
	struct vtr_guest_function *function = vtr_guest_function_of(check->guest);
	uint32_t at = function->pci.position;
	static const struct {
		uint32_t bar, offset, length;
	} wrong[] = { { 6, 0, 4 }, { 255, 0, 4 }, { 0, 0xfffffffc, 4 }, { 4, 0xffffffff, 4 }, { 4, 0, 0xffffffff }, { 4, 1, 3 } };

	for (size_t i = 0; i < VTR_CHECK_COUNT(wrong); i++) {
		vtr_guest_config_space_write(function, at + VIRTIO_PCI_CAP_BAR, 1, wrong[i].bar);
		vtr_guest_config_space_write(function, at + VIRTIO_PCI_CAP_OFFSET, 4, wrong[i].offset);
		vtr_guest_config_space_write(function, at + VIRTIO_PCI_CAP_LENGTH, 4, wrong[i].length);
		vtr_guest_config_space_read(function, at + (uint32_t)offsetof(struct virtio_pci_cfg_cap, pci_cfg_data), 4);
		vtr_guest_config_space_write(function, at + (uint32_t)offsetof(struct virtio_pci_cfg_cap, pci_cfg_data), 4,
		                             0xffffffff);
		vtr_guest_function_check(function); /* an error reply is as good as a 0 */
		if (!vtr_guest_connected(check->guest))
			return vtr_check_fail(check, "window to BAR %u: expected an answer, got a closed connection", wrong[i].bar);
	}
	return vtr_expect_recovery(check);
}

struct region_row {
	uint32_t region;
	uint64_t offset;
	bool from_end; /* offset counts from the end of the region */
	size_t length;
};

static int region_info(struct vtr_check *check, uint32_t region, struct vfio_region_info *info)
{
	int fd;

	*info = (struct vfio_region_info){ .argsz = sizeof(*info), .index = region };
	int result = vtr_vfio_user_region_info(vtr_guest_client_of(check->guest), info, &fd);
	vtr_fd_close(&fd);
	return result;
}

/* Accesses that leave their region get an error reply. */
static bool access_beyond(struct vtr_check *check, const void *row)
{
	const struct region_row *r = row;
	struct vtr_guest *guest = check->guest;
	struct vfio_region_info info;
	uint8_t bytes[64] = { 0 };

	if (r->from_end && !vtr_expect_success(check, "region info", region_info(check, r->region, &info)))
		return false;
	uint64_t offset = r->from_end ? info.size + r->offset : r->offset;
	return vtr_expect_refusal(check, "reading",
	                          vtr_vfio_user_read(vtr_guest_client_of(guest), r->region, offset, bytes, r->length)) &&
	       vtr_expect_refusal(check, "writing",
	                          vtr_vfio_user_write(vtr_guest_client_of(guest), r->region, offset, bytes, r->length, false)) &&
	       vtr_expect_alive(check);
}

/* Every width at every offset of the structures is answered, whatever with. */
static bool odd_accesses(struct vtr_check *check, const void *row)
{
	struct vtr_guest *guest = check->guest;
	const struct vtr_guest_function *function = vtr_guest_function_of(guest);
	const struct vtr_guest_structure *all[] = { &function->common, &function->isr, &function->config, &function->notify };
	uint8_t bytes[16];

	for (size_t i = 0; i < VTR_CHECK_COUNT(all); i++) {
		for (uint32_t offset = 0; offset < 64 && offset < all[i]->length; offset++) {
			for (size_t width = 1; width <= sizeof(bytes); width++) {
				vtr_vfio_user_read(vtr_guest_client_of(guest), all[i]->bar, all[i]->offset + offset, bytes, width);
				if (!vtr_guest_connected(guest))
					return vtr_check_fail(
						check,
						"%zu bytes at %u of structure %u: expected an answer, got a closed connection",
						width, offset, all[i]->type);
			}
		}
	}
	return vtr_expect_recovery(check);
}

static bool unknown_region(struct vtr_check *check, const void *row)
{
	struct vfio_region_info info;

	return vtr_expect_refusal(check, "info of region 99", region_info(check, 99, &info)) && vtr_expect_alive(check);
}

static bool unknown_vector(struct vtr_check *check, const void *row)
{
	struct vtr_guest *guest = check->guest;
	struct vtr_guest_function *function = vtr_guest_function_of(guest);
	int fd = guest->queues[VTR_GUEST_CONTROL].eventfd;

	if (!vtr_expect_refusal(check, "SET_IRQS of vector 2000",
	                        vtr_vfio_user_set_irq(vtr_guest_client_of(guest), VFIO_PCI_MSIX_IRQ_INDEX, 2000, fd)) ||
	    !vtr_expect_refusal(check, "SET_IRQS of index 77", vtr_vfio_user_set_irq(vtr_guest_client_of(guest), 77, 0, fd)))
		return false;
	vtr_guest_function_write(function, &function->common, VIRTIO_PCI_COMMON_MSIX, 2, 2000);
	uint64_t vector = vtr_guest_function_read(function, &function->common, VIRTIO_PCI_COMMON_MSIX, 2);
	return vtr_expect_success(check, "registers", vtr_guest_function_check(function)) &&
	       vtr_expect_value(check, "configuration vector after writing 2000", vector, VIRTIO_MSI_NO_VECTOR) &&
	       vtr_expect_alive(check);
}

static bool device_reset(struct vtr_check *check, const void *row)
{
	struct vtr_guest *guest = check->guest;
	struct vtr_guest_function *function = vtr_guest_function_of(guest);

	if (!vtr_expect_success(check, "DEVICE_RESET", vtr_vfio_user_reset(vtr_guest_client_of(guest))))
		return false;
	uint8_t status = vtr_guest_function_status(function);
	uint32_t command = vtr_guest_config_space_read(function, PCI_COMMAND, 2);
	vtr_guest_config_space_write(function, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE);
	vtr_guest_config_space_write(function, function->msix_position + PCI_MSIX_FLAGS, 2, PCI_MSIX_FLAGS_ENABLE);
	return vtr_expect_success(check, "registers", vtr_guest_function_check(function)) &&
	       vtr_expect_value(check, "device status after DEVICE_RESET", status, 0) &&
	       vtr_expect_value(check, "PCI command after DEVICE_RESET", command, 0) && vtr_expect_recovery(check);
}

static const struct vtr_check_case cases[] = {
	{ "identity", identity },
	{ "bar-sizes", bar_sizes },
	{ "structures", structures },
	{ "ids-are-read-only", ids_are_read_only },
	{ "configuration-window", configuration_window },
	{ "configuration-window-beyond", configuration_window_beyond },
	{ "read-past-bar", access_beyond, &(const struct region_row){ VFIO_PCI_BAR4_REGION_INDEX, 0, true, 4 } },
	{ "read-across-bar-end", access_beyond, &(const struct region_row){ VFIO_PCI_BAR4_REGION_INDEX, UINT64_MAX - 1, true, 4 } },
	{ "read-absent-bar", access_beyond, &(const struct region_row){ VFIO_PCI_BAR3_REGION_INDEX, 0, false, 4 } },
	{ "read-wraps", access_beyond, &(const struct region_row){ VFIO_PCI_BAR4_REGION_INDEX, UINT64_MAX - 1, false, 4 } },
	{ "read-past-config-space", access_beyond, &(const struct region_row){ VFIO_PCI_CONFIG_REGION_INDEX, 0, true, 4 } },
	{ "read-unknown-region", access_beyond, &(const struct region_row){ 99, 0, false, 4 } },
	{ "odd-accesses", odd_accesses },
	{ "unknown-region-info", unknown_region },
	{ "unknown-vector", unknown_vector },
	{ "device-reset", device_reset },
};

const struct vtr_check_family vtr_check_pci = { "pci", cases, VTR_CHECK_COUNT(cases), .links = VTR_ON_VFIO_USER };
