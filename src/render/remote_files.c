/* SPDX-License-Identifier: MIT */
/*
 * What the process has been given.
 *
 * A file is sent once and is known by its device and inode from then on, which nobody else can have while the process keeps it
 * open: fd numbers are used again, and pointers are. It is forgotten when no backing lies in it and no resource is read into it any
 * more. A file that has grown is another one.
 *
 * A resource is remembered from its creation to its UNREF, for what of that it needs, and for how large it is.
 */
#include "render/remote_files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- files ---- */

static int identify(struct vtr_remote_file *file, int fd)
{
	struct stat info;
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fstat(fd, &info) < 0 || info.st_size < 0)
		return -EINVAL;
	*file = (struct vtr_remote_file){ .used = true,
		                          .device = info.st_dev,
		                          .inode = info.st_ino,
		                          .access = flags & O_ACCMODE,
		                          .size = (uint64_t)info.st_size };
	return 0;
}

int vtr_remote_files_find(const struct vtr_remote_files *files, int fd, uint64_t end)
{
	struct vtr_remote_file wanted;

	if (identify(&wanted, fd) < 0)
		return -EINVAL;
	for (unsigned i = 0; i < files->n_files; i++) {
		const struct vtr_remote_file *file = &files->files[i];

		if (file->used && file->inode == wanted.inode && file->device == wanted.device && file->access == wanted.access &&
		    end <= file->size)
			return (int)i;
	}
	return -ENOENT;
}

int vtr_remote_files_add(struct vtr_remote_files *files, int fd, uint64_t *size)
{
	struct vtr_remote_file file;
	unsigned slot = 0;

	if (identify(&file, fd) < 0)
		return -EINVAL;
	while (slot < files->n_files && files->files[slot].used)
		slot++;
	if (slot == VTR_REMOTE_FILES)
		return -ENOSPC;
	if (slot == files->n_files)
		files->n_files++;
	files->files[slot] = file;
	*size = file.size;
	return (int)slot;
}

void vtr_remote_files_forget(struct vtr_remote_files *files, uint64_t forget[VTR_REMOTE_FILES / 64])
{
	for (unsigned i = 0; i < files->n_files; i++)
		if (files->files[i].used && !files->files[i].refs) {
			files->files[i].used = false;
			forget[i / 64] |= UINT64_C(1) << i % 64;
		}
	while (files->n_files && !files->files[files->n_files - 1].used)
		files->n_files--;
}

/* ---- resources ---- */

static struct vtr_remote_resource **find(struct vtr_remote_files *files, uint32_t id)
{
	struct vtr_remote_resource **link = &files->buckets[id % VTR_REMOTE_BUCKETS];

	while (*link && (*link)->id != id)
		link = &(*link)->next;
	return link;
}

struct vtr_remote_resource *vtr_remote_files_resource(struct vtr_remote_files *files, uint32_t id)
{
	return *find(files, id);
}

struct vtr_remote_resource *vtr_remote_files_create(struct vtr_remote_files *files, uint32_t id, uint64_t number)
{
	vtr_remote_files_unref(files, id);
	struct vtr_remote_resource **link = find(files, id), *resource = malloc(sizeof(*resource));
	if (!resource)
		return NULL;
	*resource = (struct vtr_remote_resource){ .id = id, .created = number, .image = -1 };
	*link = resource;
	return resource;
}

void vtr_remote_files_unback(struct vtr_remote_files *files, struct vtr_remote_resource *resource)
{
	for (unsigned i = 0; i < resource->n_slots; i++)
		files->files[resource->slots[i]].refs--;
	free(resource->slots);
	resource->slots = NULL;
	resource->n_slots = 0;
}

int vtr_remote_files_back(struct vtr_remote_files *files, struct vtr_remote_resource *resource, const uint16_t *slots, uint16_t n,
                          uint64_t number)
{
	uint16_t *copy = malloc(n * sizeof(*copy));

	if (!copy && n)
		return -ENOMEM;
	vtr_remote_files_unback(files, resource);
	for (unsigned i = 0; i < n; i++)
		files->files[copy[i] = slots[i]].refs++;
	resource->slots = copy;
	resource->n_slots = n;
	resource->backed = number;
	return 0;
}

void vtr_remote_files_set_image(struct vtr_remote_files *files, struct vtr_remote_resource *resource, int slot)
{
	if (slot >= 0)
		files->files[slot].refs++;
	if (resource->image >= 0)
		files->files[resource->image].refs--;
	resource->image = slot;
}

static void free_resource(struct vtr_remote_files *files, struct vtr_remote_resource **link)
{
	struct vtr_remote_resource *resource = *link;

	vtr_remote_files_unback(files, resource);
	vtr_remote_files_set_image(files, resource, -1);
	*link = resource->next;
	free(resource);
}

void vtr_remote_files_unref(struct vtr_remote_files *files, uint32_t id)
{
	struct vtr_remote_resource **link = find(files, id);

	if (*link)
		free_resource(files, link);
}

void vtr_remote_files_refused(struct vtr_remote_files *files, uint32_t id, uint64_t number)
{
	struct vtr_remote_resource **link = find(files, id);

	if (*link && (*link)->created == number)
		free_resource(files, link);
	else if (*link && (*link)->n_slots && (*link)->backed == number)
		vtr_remote_files_unback(files, *link);
}

void vtr_remote_files_unref_all(struct vtr_remote_files *files)
{
	for (unsigned i = 0; i < VTR_REMOTE_BUCKETS; i++)
		while (files->buckets[i])
			free_resource(files, &files->buckets[i]);
}

void vtr_remote_files_reset(struct vtr_remote_files *files)
{
	vtr_remote_files_unref_all(files);
	memset(files->files, 0, sizeof(files->files));
	files->n_files = 0;
}
