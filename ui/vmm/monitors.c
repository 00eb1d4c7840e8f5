/* SPDX-License-Identifier: MIT */
/*
 * How the VMM's scanouts are: which of them are connected, their sizes and EDIDs become the outputs'.
 *
 *     idle --ask--> info --reply--> edid of each that is connected --last reply--> applied, idle
 *
 * There is no message that says that something changed. The front-end (QEMU) raises the guest's display event by itself when its
 * window has another size, the guest asks the device, and the device asks the display (vtr_output_ask()): that is one reason to ask
 * here. The other is a reply that came with a frame and was different: front-ends that leave the event to us.
 *
 * Size and EDID are applied together, because a guest drops a preferred mode that is not the display's size. An EDID that does not
 * come in time is done without, until it comes.
 */
#include <errno.h>
#include <string.h>

#include "vmm/vmm.h"

#define PATIENCE_NS UINT64_C(1000000000)

static void begin(struct vmm *vmm)
{
	vmm->monitors.step = VMM_STEP_INFO;
	vmm->monitors.asked = false;
	vmm->monitors.again = false;
	for (unsigned i = 0; i < VTR_MAX_SCANOUTS; i++)
		if (vmm->outputs[i])
			vtr_output_begin_answer(vmm->outputs[i]->output);
}

void vmm_monitors_ask(struct vmm *vmm)
{
	if (vmm->monitors.step != VMM_STEP_IDLE)
		vmm->monitors.again = true;
	else if (vmm->ready)
		begin(vmm);
}

bool vmm_monitors_send(struct vmm *vmm)
{
	struct vmm_monitors *monitors = &vmm->monitors;
	struct vhost_user_gpu_edid_request edid = { .scanout_id = monitors->next };

	if (monitors->step == VMM_STEP_IDLE || monitors->asked)
		return false;
	if (monitors->step == VMM_STEP_INFO)
		monitors->asked = vmm_ask(vmm, VHOST_USER_GPU_GET_DISPLAY_INFO, NULL, 0, VMM_FOR_MONITORS, NULL);
	else
		monitors->asked = vmm_ask(vmm, VHOST_USER_GPU_GET_EDID, &edid, sizeof(edid), VMM_FOR_MONITORS, NULL);
	return monitors->asked;
}

/* ---- to the outputs ---- */

static void apply_mode(struct vtr_output *output, const struct vmm_monitor *monitor)
{
	struct vtr_mode now = vtr_output_mode(output), mode = { monitor->width, monitor->height, monitor->refresh_mhz };

	if (!mode.refresh_mhz)
		mode.refresh_mhz = now.refresh_mhz;
	if (mode.width != now.width || mode.height != now.height || mode.refresh_mhz != now.refresh_mhz)
		vtr_output_set_mode(output, &mode);
}

void vmm_monitors_apply(struct vmm_output *output)
{
	const struct vmm_monitor *monitor = &output->vmm->monitors.items[output->scanout];

	if (!output->vmm->monitors.known)
		return;
	vtr_output_set_edid(output->output, monitor->edid, monitor->edid_size);
	if (monitor->enabled && !vtr_output_fixed(output->output))
		apply_mode(output->output, monitor);
	vtr_output_set_connected(output->output, monitor->enabled);
	vmm_frames_connected(output, monitor->enabled);
}

static void apply_all(struct vmm *vmm)
{
	vmm->monitors.known = true;
	for (unsigned i = 0; i < VTR_MAX_SCANOUTS; i++) {
		if (!vmm->outputs[i])
			continue;
		vmm_monitors_apply(vmm->outputs[i]);
		vtr_output_answer(vmm->outputs[i]->output);
	}
}

static void lose_patience(void *data)
{
	apply_all(data);
}

/* ---- from the VMM ---- */

/* The next scanout that has an EDID to be asked for, from number `first`; or it is done. */
static void go_on(struct vmm *vmm, unsigned first)
{
	struct vmm_monitors *monitors = &vmm->monitors;

	while (first < VIRTIO_GPU_MAX_SCANOUTS && (!vmm->edids || !monitors->items[first].enabled))
		first++;
	monitors->next = first;
	monitors->asked = false;
	if (first < VIRTIO_GPU_MAX_SCANOUTS) {
		monitors->step = VMM_STEP_EDID;
		vtr_timer_arm(monitors->patience, vtr_now_ns() + PATIENCE_NS);
		return;
	}
	vtr_timer_arm(monitors->patience, 0);
	monitors->step = VMM_STEP_IDLE;
	apply_all(vmm);
	if (monitors->again)
		begin(vmm);
}

void vmm_monitors_reply(struct vmm *vmm, const void *payload, uint32_t request)
{
	struct vmm_monitors *monitors = &vmm->monitors;

	if (request == VHOST_USER_GPU_GET_DISPLAY_INFO) {
		vmm_decode_display_info(payload, monitors->items);
		for (unsigned i = 0; i < VIRTIO_GPU_MAX_SCANOUTS; i++)
			monitors->items[i].edid_size = 0; /* of the size before, maybe */
		go_on(vmm, 0);
		return;
	}
	if (!vmm_decode_edid(payload, &monitors->items[monitors->next]))
		vtr_log(VTR_LOG_DEBUG, "vmm: what the VMM has for scanout %u is no EDID", monitors->next);
	go_on(vmm, monitors->next + 1);
}

void vmm_monitors_compare(struct vmm *vmm, const struct virtio_gpu_resp_display_info *info)
{
	struct vmm_monitor now[VIRTIO_GPU_MAX_SCANOUTS] = { 0 };

	if (vmm->monitors.step != VMM_STEP_IDLE)
		return;
	vmm_decode_display_info(info, now);
	for (unsigned i = 0; i < VIRTIO_GPU_MAX_SCANOUTS; i++) {
		const struct vmm_monitor *known = &vmm->monitors.items[i];

		if (now[i].enabled == known->enabled &&
		    (!known->enabled || (now[i].width == known->width && now[i].height == known->height)))
			continue;
		begin(vmm);
		return;
	}
}

int vmm_monitors_open(struct vmm *vmm)
{
	vmm->monitors.patience = vtr_loop_add_timer(vmm->base.loop, lose_patience, vmm);
	return vmm->monitors.patience ? 0 : -errno;
}
