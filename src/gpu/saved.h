/* SPDX-License-Identifier: MIT */
#ifndef VTR_GPU_SAVED_H
#define VTR_GPU_SAVED_H

#include <linux/virtio_gpu.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "virtio/saved_memory.h"

struct vtr_chain;
struct vtr_gpu;
struct vtr_gpu_request;
struct vtr_resource;

/*
 * What the guest has told the device, in memory that outlives the process (virtio/saved_memory.h): its resources with their mem
 * entries, scanouts and cursors, as the commands that make them again, and which commands that were not answered yet have been
 * carried out. Handlers note what they did; the change counts from vtr_saved_commit() on, as a whole.
 */
struct vtr_saved;

size_t vtr_saved_size(void); /* bytes of memory that it takes */

/* Begins with nothing, whatever the memory holds. NULL with errno. memory is used, not owned. */
struct vtr_saved *vtr_saved_create(struct vtr_saved_memory *memory);
void vtr_saved_destroy(struct vtr_saved *saved); /* the memory keeps what it has; NULL is fine */

/* The commands in memory are carried out again on gpu, which has nothing of a guest yet, by the handlers that the guest's own go
 * through; the scanouts are presented. What cannot be made again is forgotten. NULL with errno: ENOENT (nothing was saved), EPROTO
 * (it is not what we save), or out of memory. */
struct vtr_saved *vtr_saved_restore(struct vtr_gpu *gpu, struct vtr_saved_memory *memory);

/* ---- for handlers; saved may be NULL: nothing happens, nor for a resource that was never noted (a 3D one) ---- */

/* command is the one that made it, without mem entries; a backing that it has already is noted, too. */
void vtr_saved_note_created(struct vtr_saved *saved, struct vtr_resource *resource, const void *command, size_t size);
void vtr_saved_note_attached(struct vtr_saved *saved, const struct vtr_resource *resource);
void vtr_saved_note_detached(struct vtr_saved *saved, const struct vtr_resource *resource);
void vtr_saved_note_destroyed(struct vtr_saved *saved, const struct vtr_resource *resource);
void vtr_saved_note_uuid(struct vtr_saved *saved, const struct vtr_resource *resource);
/* command is a SET_SCANOUT or SET_SCANOUT_BLOB; NULL: the scanout shows nothing. */
void vtr_saved_note_scanout(struct vtr_saved *saved, uint32_t scanout, const void *command, size_t size);
/* An UPDATE_CURSOR, or a MOVE_CURSOR, of which the position counts. */
void vtr_saved_note_cursor(struct vtr_saved *saved, const struct virtio_gpu_update_cursor *command);

/* ---- for command.c ---- */

/* Was the chain's command carried out by a process before us, and only not answered? */
bool vtr_saved_executed(const struct vtr_saved *saved, unsigned queue, const struct vtr_chain *chain);
/* The command of this chain is carried out, and what was noted counts. Commands whose answers have data are not marked: they change
 * nothing, or nothing if they are done twice. */
void vtr_saved_commit(struct vtr_saved *saved, unsigned queue, uint16_t head, uint64_t ticket, bool mark);

#endif
