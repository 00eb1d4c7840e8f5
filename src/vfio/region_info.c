/* SPDX-License-Identifier: MIT */
#include "vfio/device.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dmabuf/udmabuf.h"
#include "util/checked.h"

/*
 * Theory of operation
 *
 * VFIO_DEVICE_GET_REGION_INFO answers with a fixed structure and, where a region is not mappable as a whole, a chain of
 * capabilities behind it, one of which lists the areas that are. How long the answer is comes with the answer, so it is asked for
 * twice.
 *
 * Whoever answers may be a process that lies. All offsets are checked against the bytes that are there; the chain may go backwards
 * but ends after as many steps as there is room for headers, so a loop is found; counts are checked against the bytes before
 * anything is allocated from them. An answer that contradicts itself makes the region unusable: -EPROTO, no guess.
 *
 * A file that another process hands us as a region's memory has to be memory, and to reach as far as the areas do: mapping a device
 * on somebody's word may do anything, and beyond a file's end nothing can be read. What may be mapped and is not is left to
 * accesses by message.
 */

/* The answer, size bytes of it. NULL with *code: -errno. */
static struct vfio_region_info *ask(struct vtr_vfio_backend *backend, uint32_t index, size_t *size, int *fd, int *code)
{
	struct vfio_region_info *info = NULL, *grown;

	/* What a second answer needs may have changed since the first; a third is not asked for. */
	*size = sizeof(*info);
	for (int attempt = 0; attempt < 2; attempt++) {
		*code = -ENOMEM;
		grown = realloc(info, *size);
		if (!grown)
			goto fail;
		info = grown;
		memset(info, 0, *size);
		info->argsz = (uint32_t)*size;
		info->index = index;
		*code = backend->impl->region_info(backend, info, fd);
		if (*code)
			goto fail;
		*code = -EPROTO;
		if (info->argsz < sizeof(*info) || info->argsz > VTR_MAX_VFIO_REGION_INFO)
			goto fail;
		if (info->argsz <= *size) {
			*size = info->argsz;
			*code = 0;
			return info;
		}
		*size = info->argsz;
	}
fail:
	free(info);
	return NULL;
}

/* Finds the chain's one capability of kind id: its offset in *found, 0 for none. 0 or -EPROTO. */
static int find_capability(const struct vfio_region_info *info, size_t size, uint16_t id, size_t *found)
{
	size_t at = info->flags & VFIO_REGION_INFO_FLAG_CAPS ? info->cap_offset : 0;
	struct vfio_info_cap_header header;

	*found = 0;
	for (size_t steps = size / sizeof(header); at; at = header.next, steps--) {
		if (!steps || at < sizeof(*info) || !vtr_range_fits(at, sizeof(header), size))
			return -EPROTO;
		memcpy(&header, (const uint8_t *)info + at, sizeof(header));
		if (header.id != id)
			continue;
		if (*found)
			return -EPROTO;
		*found = at;
	}
	return 0;
}

static int compare_areas(const void *a, const void *b)
{
	const struct vtr_vfio_area *left = a, *right = b;

	return left->offset < right->offset ? -1 : left->offset > right->offset;
}

/* Sorts the areas and merges those that touch. 0, or -EPROTO when two overlap. */
static int arrange_areas(struct vtr_vfio_region *region)
{
	struct vtr_vfio_area *areas = region->areas;
	size_t kept = 0;

	qsort(areas, region->n_areas, sizeof(*areas), compare_areas);
	for (size_t i = 1; i < region->n_areas; i++) {
		uint64_t end = areas[kept].offset + areas[kept].size;

		if (areas[i].offset < end)
			return -EPROTO;
		if (areas[i].offset == end)
			areas[kept].size += areas[i].size;
		else
			areas[++kept] = areas[i];
	}
	if (region->n_areas)
		region->n_areas = kept + 1;
	return 0;
}

static int add_area(struct vtr_vfio_region *region, uint64_t offset, uint64_t size)
{
	if (!vtr_range_fits(offset, size, region->size))
		return -EPROTO;
	if (size)
		region->areas[region->n_areas++] = (struct vtr_vfio_area){ .offset = offset, .size = size };
	return 0;
}

/* The areas of the sparse mmap capability that begins at `at`. */
static int read_sparse(struct vtr_vfio_region *region, const struct vfio_region_info *info, size_t size, size_t at)
{
	struct vfio_region_info_cap_sparse_mmap sparse;
	int code = 0;

	if (!vtr_range_fits(at, sizeof(sparse), size))
		return -EPROTO;
	memcpy(&sparse, (const uint8_t *)info + at, sizeof(sparse));
	at += sizeof(sparse);
	if (sparse.nr_areas > (size - at) / sizeof(sparse.areas[0]))
		return -EPROTO;
	if (!sparse.nr_areas)
		return 0;
	region->areas = malloc(sparse.nr_areas * sizeof(*region->areas));
	if (!region->areas)
		return -ENOMEM;
	for (uint32_t i = 0; i < sparse.nr_areas && !code; i++) {
		struct vfio_region_sparse_mmap_area area;

		memcpy(&area, (const uint8_t *)info + at + i * sizeof(area), sizeof(area));
		code = add_area(region, area.offset, area.size);
	}
	return code ? code : arrange_areas(region);
}

/* The parts that may be mapped: those listed, or all of it. */
static int read_areas(struct vtr_vfio_region *region, const struct vfio_region_info *info, size_t size)
{
	size_t sparse;
	int code = find_capability(info, size, VFIO_REGION_INFO_CAP_SPARSE_MMAP, &sparse);

	if (code || !(info->flags & VFIO_REGION_INFO_FLAG_MMAP) || !region->size)
		return code;
	if (sparse)
		return read_sparse(region, info, size, sparse);
	region->areas = malloc(sizeof(*region->areas));
	return region->areas ? add_area(region, 0, region->size) : -ENOMEM;
}

static void forget_areas(struct vtr_vfio_region *region)
{
	free(region->areas);
	region->areas = NULL;
	region->n_areas = 0;
	region->fd = -1;
}

/* Looks at the file in which another process has the region. 0, or -EPROTO when it is no file that could be. */
static int check_file(struct vtr_vfio_region *region)
{
	const struct vtr_vfio_area *last = &region->areas[region->n_areas - 1];
	struct stat info;

	if (fstat(region->fd, &info) < 0)
		return -EPROTO;
	bool file = S_ISREG(info.st_mode) && !vtr_dmabuf_is(region->fd);
	if (!file && !S_ISREG(info.st_mode) && !S_ISCHR(info.st_mode) && info.st_mode & S_IFMT)
		return -EPROTO; // a pipe, a socket, a folder
	if (file && (info.st_size < 0 || !vtr_range_fits(region->offset, last->offset + last->size, (uint64_t)info.st_size)))
		return -EPROTO;
	if (file && region->offset % (uint64_t)sysconf(_SC_PAGESIZE) == 0)
		region->sealed = vtr_udmabuf_takes(region->fd);
	else
		forget_areas(region);
	return 0;
}

int vtr_vfio_region_read(struct vtr_vfio_backend *backend, uint32_t index, struct vtr_vfio_region *region)
{
	int code, fd = -1;
	size_t size;
	uint64_t end;

	*region = (struct vtr_vfio_region){ .fd = -1 };
	struct vfio_region_info *info = ask(backend, index, &size, &fd, &code);
	if (!info)
		return code;
	region->fd = fd;
	region->size = info->size;
	region->offset = info->offset;
	region->readable = info->flags & VFIO_REGION_INFO_FLAG_READ;
	region->writable = info->flags & VFIO_REGION_INFO_FLAG_WRITE;
	/* offsets go through off_t, which is signed */
	bool sane = info->index == index && vtr_add_u64(info->offset, info->size, &end) && end <= INT64_MAX;
	code = sane ? read_areas(region, info, size) : -EPROTO;
	free(info);
	if (!code && backend->impl->foreign_fds && region->n_areas)
		code = check_file(region);
	if (code) {
		forget_areas(region);
		*region = (struct vtr_vfio_region){ .fd = -1 };
	}
	return code;
}

bool vtr_vfio_find_area(const struct vtr_vfio_region *region, uint64_t offset, uint64_t length, size_t *area)
{
	size_t low = 0, high = region->n_areas;

	/* the last area that does not begin behind offset */
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (region->areas[middle].offset <= offset)
			low = middle + 1;
		else
			high = middle;
	}
	*area = low - 1;
	return low && vtr_range_fits(offset - region->areas[*area].offset, length, region->areas[*area].size);
}
