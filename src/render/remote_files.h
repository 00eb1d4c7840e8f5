/* SPDX-License-Identifier: MIT */
#ifndef VTR_RENDER_REMOTE_FILES_H
#define VTR_RENDER_REMOTE_FILES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "render/remote_protocol.h"

/*
 * Which files the process has, and which resource needs them.
 */
struct vtr_remote_file {
	bool used;
	dev_t device;
	ino_t inode;
	int access;    /* O_ACCMODE */
	uint64_t size; /* as far as the process has mapped it */
	uint32_t refs; /* backings and images */
};

struct vtr_remote_resource {
	struct vtr_remote_resource *next; // in its bucket
	uint32_t id;
	uint64_t created; /* number of the call that made it */
	uint32_t width, height;
	uint64_t backed;          /* number of the call that gave it the backing */
	uint16_t *slots, n_slots; /* of the backing; NULL: none */
	int image;                /* slot of the image it was last read into; -1: none */
};

enum { VTR_REMOTE_BUCKETS = 1024 };

struct vtr_remote_files {
	struct vtr_remote_file files[VTR_REMOTE_FILES];
	unsigned n_files; /* slots from there on are free */
	struct vtr_remote_resource *buckets[VTR_REMOTE_BUCKETS];
};

/* Forgets everything: the process is gone. */
void vtr_remote_files_reset(struct vtr_remote_files *files);

/* The slot of the file behind fd, of which the process has [0, end); -ENOENT: it has to be sent; -EINVAL: it is no file. */
int vtr_remote_files_find(const struct vtr_remote_files *files, int fd, uint64_t end);
/* A slot for the file behind fd, which is size bytes long. Or -EINVAL, -ENOSPC. */
int vtr_remote_files_add(struct vtr_remote_files *files, int fd, uint64_t *size);

struct vtr_remote_resource *vtr_remote_files_resource(struct vtr_remote_files *files, uint32_t id); /* NULL: none */
/* A new one; what there was under that id goes. NULL when out of memory. */
struct vtr_remote_resource *vtr_remote_files_create(struct vtr_remote_files *files, uint32_t id, uint64_t number);
void vtr_remote_files_unref(struct vtr_remote_files *files, uint32_t id); /* an unknown one is fine */
/* The call with that number was refused: what it made, or gave a resource, is not there. */
void vtr_remote_files_refused(struct vtr_remote_files *files, uint32_t id, uint64_t number);
void vtr_remote_files_unref_all(struct vtr_remote_files *files);

/* Its backing lies in these slots (copied) now. 0 or -ENOMEM. */
int vtr_remote_files_back(struct vtr_remote_files *files, struct vtr_remote_resource *resource, const uint16_t *slots, uint16_t n,
                          uint64_t number);
void vtr_remote_files_unback(struct vtr_remote_files *files, struct vtr_remote_resource *resource);
/* It is read into the image in slot (-1: none) now. */
void vtr_remote_files_set_image(struct vtr_remote_files *files, struct vtr_remote_resource *resource, int slot);

/* Frees the slots that nobody needs and sets their bits. */
void vtr_remote_files_forget(struct vtr_remote_files *files, uint64_t forget[VTR_REMOTE_FILES / 64]);

#endif
