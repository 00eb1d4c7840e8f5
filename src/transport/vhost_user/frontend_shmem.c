/* SPDX-License-Identifier: MIT */
/*
 * Shared memory regions of the device, and what the back-end maps into them.
 *
 * A region is address space that is reserved once, when the back-end has said how large it is, and shown to the guest as a whole;
 * what comes and goes in it are mappings of the back-end's fds. Between them there is private memory, never a hole: a guest may
 * touch any of it at any time, through a hypervisor that could only fail.
 *
 * The back-end is not trusted with it. It says where in a region, never where in memory; a mapping lies inside its region and over
 * no other; only files and dmabufs are mapped, which have to hold what is mapped of them; a file that shrinks later reads as zeros
 * from there on (the guard). Regions that are too large are not made: the device has to do without.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vitrine/dmabuf.h>

#include "transport/vhost_user/frontend.h"
#include "util/checked.h"
#include "util/fault.h"

/* Of address space, for all regions of a device. */
#define MAX_SHMEM (UINT64_C(1) << 40)

struct mapping {
	struct mapping *next;
	uint64_t offset, size;
	struct vtr_fault_guard *guard; // NULL: a dmabuf, which does not shrink
};

struct vtr_vhost_user_shm_region {
	uint8_t shmid;
	uint64_t size;
	uint8_t *window;
	struct mapping *mappings;
};

static struct vtr_vhost_user_shm_region *find_region(const struct vtr_vhost_user_frontend *frontend, uint8_t shmid)
{
	for (size_t i = 0; i < frontend->n_shm; i++)
		if (frontend->shm[i].shmid == shmid)
			return &frontend->shm[i];
	return NULL;
}

/* Private memory, at `at` or (NULL) anywhere. */
static void *fill(void *at, uint64_t size)
{
	return mmap(at, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (at ? MAP_FIXED : 0), -1, 0);
}

/* ---- regions ---- */

/* The sizes as one answer: 0 or -EPROTO. */
static int check_config(const struct vhost_user_shmem_config *config, uint64_t *total)
{
	const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	uint32_t n = 0;

	*total = 0;
	for (size_t i = 0; i < VHOST_USER_MAX_SHMEM_REGIONS; i++) {
		if (config->memory_sizes[i] % page || !vtr_add_u64(*total, config->memory_sizes[i], total))
			return -EPROTO;
		n += config->memory_sizes[i] > 0;
	}
	return n == config->nregions ? 0 : -EPROTO;
}

static int make_regions(struct vtr_vhost_user_frontend *frontend, const struct vhost_user_shmem_config *config)
{
	frontend->shm = calloc(config->nregions, sizeof(*frontend->shm));
	if (!frontend->shm)
		return -ENOMEM;
	for (size_t i = 0; i < VHOST_USER_MAX_SHMEM_REGIONS; i++) {
		if (!config->memory_sizes[i])
			continue;
		void *window = fill(NULL, config->memory_sizes[i]);
		if (window == MAP_FAILED)
			return -errno;
		frontend->shm[frontend->n_shm++] =
			(struct vtr_vhost_user_shm_region){ (uint8_t)i, config->memory_sizes[i], window, NULL };
	}
	return 0;
}

int vtr_vhost_user_ask_shmem(struct vtr_vhost_user_frontend *frontend)
{
	struct vhost_user_shmem_config config;
	struct vtr_vhost_user_call call = {
		.request = VHOST_USER_GET_SHMEM_CONFIG, .reply = true, .min_reply = sizeof(config), .max_reply = sizeof(config)
	};
	uint64_t total;
	int error = vtr_vhost_user_call(frontend, &call);

	if (error)
		return error;
	memcpy(&config, call.payload, sizeof(config));
	vtr_message_finish(&call.message);
	if (check_config(&config, &total) < 0)
		return vtr_vhost_user_distrust(frontend);
	if (total > MAX_SHMEM)
		vtr_log_limited(&frontend->limit, VTR_LOG_WARN,
		                "the back-end's shared memory regions are larger than %llu GiB: the device does without them",
		                (unsigned long long)(MAX_SHMEM >> 30));
	return total && total <= MAX_SHMEM ? make_regions(frontend, &config) : 0;
}

void *vtr_vhost_user_frontend_shm(const struct vtr_vhost_user_frontend *frontend, uint8_t shmid, uint64_t *size)
{
	const struct vtr_vhost_user_shm_region *region = find_region(frontend, shmid);

	*size = region ? region->size : 0;
	return region ? region->window : NULL;
}

/* ---- mappings ---- */

/* The region that request is about: its range is inside, on whole pages. NULL with *error. */
static struct vtr_vhost_user_shm_region *check_range(const struct vtr_vhost_user_frontend *frontend,
                                                     const struct vhost_user_mmap *request, int *error)
{
	const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	struct vtr_vhost_user_shm_region *region = find_region(frontend, request->shmid);

	*error = -EINVAL;
	if (!region || !request->len || (request->len | request->shm_offset) % page ||
	    !vtr_range_fits(request->shm_offset, request->len, region->size))
		return NULL;
	return region;
}

static bool is_free(const struct vtr_vhost_user_shm_region *region, uint64_t offset, uint64_t size)
{
	for (const struct mapping *mapping = region->mappings; mapping; mapping = mapping->next)
		if (vtr_ranges_overlap(mapping->offset, mapping->size, offset, size))
			return false;
	return true;
}

/* Does fd hold that range? *shrinks: a file, which may not hold it later. */
static bool holds(int fd, uint64_t offset, uint64_t size, bool *shrinks)
{
	struct stat info;

	*shrinks = !vtr_dmabuf_is(fd);
	if (!*shrinks)
		return vtr_range_fits(offset, size, vtr_dmabuf_size(fd));
	return fstat(fd, &info) == 0 && S_ISREG(info.st_mode) && vtr_range_fits(offset, size, (uint64_t)info.st_size);
}

static void forget(struct vtr_vhost_user_frontend *frontend, struct mapping **link)
{
	struct mapping *mapping = *link;

	vtr_fault_guard_remove(mapping->guard);
	*link = mapping->next;
	free(mapping);
	frontend->counters.shm_mappings--;
}

/* Replaces what is mapped in one step: nobody sees a hole. 0, or -errno, and it is still there. */
static int unmap(struct vtr_vhost_user_frontend *frontend, struct vtr_vhost_user_shm_region *region, struct mapping **link)
{
	if (fill(region->window + (*link)->offset, (*link)->size) == MAP_FAILED)
		return -errno;
	forget(frontend, link);
	return 0;
}

int vtr_vhost_user_shmem_map(struct vtr_vhost_user_frontend *frontend, const struct vhost_user_mmap *request, int fd)
{
	int error;
	bool shrinks;
	struct vtr_vhost_user_shm_region *region = check_range(frontend, request, &error);

	if (!region || request->flags & ~(uint64_t)VHOST_USER_FLAG_MAP_RW || request->fd_offset % (uint64_t)sysconf(_SC_PAGESIZE) ||
	    !holds(fd, request->fd_offset, request->len, &shrinks))
		return -EINVAL;
	if (!is_free(region, request->shm_offset, request->len))
		return -EEXIST;
	if (frontend->counters.shm_mappings == VTR_VHOST_USER_MAX_SHM_MAPPINGS)
		return -ENOSPC;
	struct mapping *mapping = malloc(sizeof(*mapping));
	if (!mapping)
		return -ENOMEM;
	*mapping = (struct mapping){ region->mappings, request->shm_offset, request->len, NULL };
	uint8_t *at = region->window + request->shm_offset;
	const int protection = PROT_READ | (request->flags & VHOST_USER_FLAG_MAP_RW ? PROT_WRITE : 0);
	if (mmap(at, request->len, protection, MAP_SHARED | MAP_FIXED, fd, (off_t)request->fd_offset) == MAP_FAILED) {
		error = -errno;
		goto free_mapping;
	}
	mapping->guard = shrinks ? vtr_fault_guard_add(at, request->len, (size_t)sysconf(_SC_PAGESIZE)) : NULL;
	if (shrinks && !mapping->guard) {
		error = -ENOMEM;
		goto free_mapping;
	}
	region->mappings = mapping;
	frontend->counters.shm_mappings++;
	return 0;
free_mapping:
	fill(at, request->len); /* also a mapping that failed may have taken away what was there */
	free(mapping);
	return error;
}

int vtr_vhost_user_shmem_unmap(struct vtr_vhost_user_frontend *frontend, const struct vhost_user_mmap *request)
{
	int error;
	struct vtr_vhost_user_shm_region *region = check_range(frontend, request, &error);

	if (!region)
		return error;
	struct mapping **link = &region->mappings;
	while (*link && ((*link)->offset != request->shm_offset || (*link)->size != request->len))
		link = &(*link)->next;
	return *link ? unmap(frontend, region, link) : -ENOENT;
}

void vtr_vhost_user_shmem_reset(struct vtr_vhost_user_frontend *frontend)
{
	for (size_t i = 0; i < frontend->n_shm; i++) {
		struct mapping **link = &frontend->shm[i].mappings;

		while (*link)
			if (unmap(frontend, &frontend->shm[i], link) < 0)
				link = &(*link)->next;
	}
}

void vtr_vhost_user_shmem_finish(struct vtr_vhost_user_frontend *frontend)
{
	for (size_t i = 0; i < frontend->n_shm; i++) {
		while (frontend->shm[i].mappings)
			forget(frontend, &frontend->shm[i].mappings);
		munmap(frontend->shm[i].window, frontend->shm[i].size);
	}
	free(frontend->shm);
	frontend->shm = NULL;
	frontend->n_shm = 0;
}
