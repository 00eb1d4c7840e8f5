/* SPDX-License-Identifier: MIT */
#include <vitrine/vfio.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vitrine/log.h>

#include "util/fd.h"
#include "vfio/acquire.h"
#include "vfio/awaited.h"
#include "vfio/map.h"

/*
 * Theory of operation
 *
 * The devices that are assigned to the guest, tied to its memory map (map.c says what that means). Nobody tells us when a guest
 * moves or disables a BAR, so their addresses are read whenever there is a reason to doubt them, and never without one:
 *
 *   the VMM has changed the map         from the loop, once for all changes until then
 *   the guest names memory in a BAR that the VMM does not announce, or nowhere          at once, before it gets its answer
 *   memory of a device could not be read, or can be again                               from the loop
 *   a device came or went                                                               at once
 *
 * Listeners of the map see each change as usual. Whoever makes something of the devices themselves (dmabufs) is told when all is
 * done, from the loop, or before a device is closed.
 *
 * A device that we hold stays open, also when its VMM has ended, and no other VMM can have it then. So devices belong to one VMM:
 * when it leaves, whoever sees that says so (vtr_vfio_assigned_vmm_left()), and they are let go.
 *
 * Thread: the device thread.
 */

struct vtr_vfio_assigned {
	struct vtr_memory *memory;
	struct vtr_memory_listener listener;
	struct vtr_vfio_devices *devices; // owned
	struct vtr_vfio_awaited awaited;
	struct vtr_source *event;    // look again
	void (*changed)(void *data); // may be NULL
	void *data;
	bool updating; // the map changes because of us
	bool news;     // changed() has not been called yet
	bool used;     // by a VMM: it has announced memory
};

/* ---- looking again ---- */

static bool update(struct vtr_vfio_assigned *assigned, bool gone)
{
	/* who listens to the map may ask again while it changes */
	if (assigned->updating)
		return false;
	assigned->updating = true;
	bool changed = vtr_vfio_map_update(assigned->devices, assigned->memory, gone);
	assigned->updating = false;
	return changed;
}

static void tell(struct vtr_vfio_assigned *assigned)
{
	assigned->news = false;
	if (assigned->changed)
		assigned->changed(assigned->data);
}

static void look_again(void *data)
{
	struct vtr_vfio_assigned *assigned = data;

	if (update(assigned, false) || assigned->news)
		tell(assigned);
}

static void map_changed(struct vtr_memory_listener *listener, struct vtr_region *region)
{
	struct vtr_vfio_assigned *assigned =
		(struct vtr_vfio_assigned *)((char *)listener - offsetof(struct vtr_vfio_assigned, listener));

	if (assigned->updating)
		return;
	/* what we have put there ourselves goes with any client, also with one that was no VMM */
	assigned->used |= region->kind != VTR_REGION_VFIO;
	vtr_vfio_awaited_poke(&assigned->awaited);
	if (assigned->devices->count)
		vtr_event_raise(assigned->event);
}

static bool on_named(void *data)
{
	struct vtr_vfio_assigned *assigned = data;

	if (!assigned->devices->count || !update(assigned, false))
		return false;
	assigned->news = true;
	vtr_event_raise(assigned->event);
	return true;
}

static void on_fault(void *data)
{
	struct vtr_vfio_assigned *assigned = data;

	vtr_event_raise(assigned->event);
}

static const struct vtr_memory_devices_impl devices_impl = { .update = on_named, .fault = on_fault };

/* ---- devices come and go ---- */

static struct vtr_vfio_device *find(const struct vtr_vfio_assigned *assigned, const char *name)
{
	for (size_t i = 0; i < assigned->devices->count; i++)
		if (!strcmp(assigned->devices->items[i]->name, name))
			return assigned->devices->items[i];
	return NULL;
}

/* Older kernels do not tell which device an fd is: such devices are numbered, so that each can be named. */
static void number(const struct vtr_vfio_assigned *assigned, struct vtr_vfio_device *device)
{
	for (unsigned i = 2; find(assigned, device->name); i++)
		snprintf(device->name, sizeof(device->name), "%s %u", VTR_VFIO_UNKNOWN, i);
}

int vtr_vfio_assigned_add_device(struct vtr_vfio_assigned *assigned, struct vtr_vfio_device *device, struct vtr_error *error)
{
	int code;

	if (!strcmp(device->name, VTR_VFIO_UNKNOWN))
		number(assigned, device);
	if (find(assigned, device->name))
		code = vtr_error_set(error, VTR_ERROR_HOST, EEXIST, "%s is assigned already", device->name);
	else if (vtr_vfio_devices_add(assigned->devices, device))
		code = vtr_error_set(error, VTR_ERROR_HOST, ENOSPC, "%d devices are assigned, that is all there can be",
		                     VTR_MAX_VFIO_DEVICES);
	else
		code = 0;
	if (code) {
		vtr_vfio_device_destroy(device);
		return code;
	}
	vtr_log(VTR_LOG_INFO, "assigned device %s%s%s", device->name, *device->no_dmabuf.text ? ": " : "", device->no_dmabuf.text);
	update(assigned, false);
	assigned->news = true;
	vtr_event_raise(assigned->event);
	return 0;
}

struct vtr_vfio_device *vtr_vfio_assigned_add(struct vtr_vfio_assigned *assigned, int fd, struct vtr_error *error)
{
	if (!vtr_vfio_fd_is_device(&vtr_vfio_this_host, "self", fd)) {
		vtr_fd_close(&fd);
		vtr_error_set(error, VTR_ERROR_HOST, ENODEV,
		              "this fd is no VFIO device: pass what VFIO_GROUP_GET_DEVICE_FD returned, or an open "
		              "/dev/vfio/devices/vfioN");
		return NULL;
	}
	struct vtr_vfio_device *device = vtr_vfio_device_create(fd, error);
	return device && !vtr_vfio_assigned_add_device(assigned, device, error) ? device : NULL;
}

int vtr_vfio_assigned_acquire(struct vtr_vfio_assigned *assigned, const char *text, struct vtr_error *error)
{
	struct vtr_error reason = { 0 };
	int code = vtr_vfio_awaited_acquire(&assigned->awaited, text, &reason);

	if (code < 0 && error)
		*error = reason;
	return code;
}

const char *vtr_vfio_assigned_awaited(const struct vtr_vfio_assigned *assigned, size_t i, const char **why)
{
	if (i >= assigned->awaited.count)
		return NULL;
	*why = assigned->awaited.items[i].why.text;
	return assigned->awaited.items[i].text;
}

static void drop(struct vtr_vfio_assigned *assigned, struct vtr_vfio_device *device)
{
	vtr_vfio_devices_remove(assigned->devices, device);
	update(assigned, true);
	tell(assigned);
	vtr_log(VTR_LOG_INFO, "device %s is let go", device->name);
	vtr_vfio_device_destroy(device);
}

int vtr_vfio_assigned_remove(struct vtr_vfio_assigned *assigned, const char *name)
{
	struct vtr_vfio_device *device = find(assigned, name);

	if (!device)
		return -ENOENT;
	drop(assigned, device);
	return 0;
}

static void drop_all(struct vtr_vfio_assigned *assigned)
{
	while (assigned->devices->count)
		drop(assigned, assigned->devices->items[assigned->devices->count - 1]);
}

void vtr_vfio_assigned_vmm_left(struct vtr_vfio_assigned *assigned)
{
	if (assigned->used)
		drop_all(assigned);
	assigned->used = false;
}

/* ---- life ---- */

struct vtr_vfio_assigned *vtr_vfio_assigned_create(struct vtr_loop *loop, struct vtr_memory *memory)
{
	struct vtr_vfio_assigned *assigned = calloc(1, sizeof(*assigned));

	if (!assigned)
		return NULL;
	assigned->memory = memory;
	assigned->devices = vtr_vfio_devices_create();
	assigned->event = vtr_loop_add_event(loop, look_again, assigned);
	if (!assigned->devices || !assigned->event || vtr_vfio_awaited_init(&assigned->awaited, loop, assigned))
		goto fail;
	assigned->listener = (struct vtr_memory_listener){ .removing = map_changed, .added = map_changed };
	vtr_memory_add_listener(memory, &assigned->listener);
	vtr_memory_set_devices(memory, &devices_impl, assigned);
	return assigned;
fail:
	vtr_source_remove(assigned->event);
	vtr_vfio_devices_destroy(assigned->devices);
	free(assigned);
	return NULL;
}

void vtr_vfio_assigned_destroy(struct vtr_vfio_assigned *assigned)
{
	if (!assigned)
		return;
	assigned->changed = NULL;
	vtr_vfio_awaited_finish(&assigned->awaited);
	drop_all(assigned);
	vtr_memory_set_devices(assigned->memory, NULL, NULL);
	vtr_memory_remove_listener(assigned->memory, &assigned->listener);
	vtr_source_remove(assigned->event);
	vtr_vfio_devices_destroy(assigned->devices);
	free(assigned);
}

struct vtr_vfio_devices *vtr_vfio_assigned_devices(struct vtr_vfio_assigned *assigned)
{
	return assigned->devices;
}

void vtr_vfio_assigned_on_change(struct vtr_vfio_assigned *assigned, void (*changed)(void *data), void *data)
{
	assigned->changed = changed;
	assigned->data = data;
}
