/* SPDX-License-Identifier: MIT */
#ifndef VITRINE_MEMORY_H
#define VITRINE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vitrine/api.h>
#include <vitrine/error.h>
#include <vitrine/loop.h>

/*
 * Guest memory.
 *
 * A vtr_memory is the device's view of guest addresses: a set of regions that do not overlap. Memory is never assumed to be
 * mappable: a region is RAM (an fd we mmap), a dmabuf window (CPU access only by leave of the dmabuf's exporter), remote (bytes by
 * request to the VMM) or memory of an assigned device; windows and remote regions can be given CPU access through such a device's
 * fd. Nobody outside this room sees a pointer into guest memory that could go stale: users hold spans, which keep their region's
 * object alive but not its contents, and listeners are told before a range goes away, so that nothing made from it is left when the
 * removal is acknowledged.
 *
 * A memory file that its owner truncates under us does not end the process: the mapping is replaced by zero pages and the region
 * is marked faulted.
 *
 * Thread: everything here belongs to the device thread.
 */

enum vtr_region_kind {
	VTR_REGION_RAM,    /* fd + offset, mapped */
	VTR_REGION_VFIO,   /* part of an assigned device's BAR that the VMM did not announce: mmap of the device's fd, read-only */
	VTR_REGION_WINDOW, /* a dmabuf of the whole region: bytes by request, through the device that it is of, or where its
	                      exporter lets it be mapped, through itself */
	VTR_REGION_REMOTE, /* no fd: likewise */
};

struct vtr_region {
	uint64_t address; /* guest address (IOVA as the transport gave it) */
	uint64_t size;    /* bytes */
	enum vtr_region_kind kind;
	int fd;                       /* its file's; -1 for VTR_REGION_REMOTE, and once removed */
	uint64_t offset;              /* of the region's first byte in fd */
	bool readable;                /* the device may read: false only behind an IOMMU */
	bool writable;                /* the device may write */
	bool mapped;                  /* its bytes may be used; false once removed from the map */
	uint8_t *data;                /* CPU address of the first byte; NULL when there is none, and once removed. For reading only
	                                 when cpu is not file */
	size_t page;                  /* page size of the file (hugetlbfs: large): mappings begin and end on multiples of it */
	uint32_t refs;                /* of the map, and of accesses under way */
	uint32_t spans;               /* how many spans lie in it; they keep the object alive, too */
	struct vtr_memory_file *file; /* fd and mapping, shared by the regions of one file; NULL as fd is -1 */
	struct vtr_memory_file *cpu;  /* in whose mapping data lies: file, or memory of a device; NULL as data is */
	struct vtr_memory *memory;    /* for remote access; NULL once removed, and for memory of our own */
};

/* "ram", "vfio", "window" or "remote". */
VTR_API const char *vtr_region_kind_name(enum vtr_region_kind kind);

/* True when a fault replaced the region's mapping: its file is shorter than it was, or the device whose memory it is did not
 * answer when it was last read. The former is for good; the latter is tried again by the next read. */
VTR_API bool vtr_region_faulted(const struct vtr_region *region);

/* Why the CPU cannot read the region's memory, a sentence; NULL when it can. Valid as long as the region is in the map. */
VTR_API const char *vtr_region_why_no_cpu(const struct vtr_region *region);
/* Of a window that the CPU reads through its own dmabuf: what else that knows, 1 << enum vtr_dmabuf_attribute; else 0. */
VTR_API uint32_t vtr_region_attributes(const struct vtr_region *region);

struct vtr_remote_piece {
	uint64_t address; /* guest address */
	void *buffer;     /* where the bytes go */
	size_t length;    /* not 0 */
};

/* Access to memory that has no CPU mapping, by request to the VMM (vfio-user DMA_READ and DMA_WRITE). length may be anything: what
 * exceeds one message is theirs to split. All return 0 or -errno: -ECANCELED when something else has to be done first (the map may
 * have changed then, and with it everything made from it), -EBUSY when nothing can be asked now: both may be done again from the
 * loop. -ETIMEDOUT: it takes too long, and would the next time. */
struct vtr_remote_impl {
	int (*read)(void *data, uint64_t address, void *buffer, size_t length);
	int (*write)(void *data, uint64_t address, const void *buffer, size_t length);
	/* Reads many pieces, several at a time: all are read, or nothing is promised. NULL: they are read one after another. */
	int (*read_many)(void *data, const struct vtr_remote_piece *pieces, size_t count);
};

/* Told, on the device thread, before a region leaves the map (its contents still readable) and after one was added, in the order in
 * which they were added themselves. Either callback may be NULL. In a callback a listener may remove itself, but no other. */
struct vtr_memory_listener {
	void (*removing)(struct vtr_memory_listener *listener, struct vtr_region *region);
	void (*added)(struct vtr_memory_listener *listener, struct vtr_region *region);
	struct vtr_memory_listener *next; /* vtr_memory.listeners */
};

struct vtr_memory;

VTR_API struct vtr_memory *vtr_memory_create(void);         /* NULL when out of memory */
VTR_API void vtr_memory_destroy(struct vtr_memory *memory); /* removes all regions; NULL is fine */
/* Who answers for windows and remote regions; impl NULL for nobody (access gives -ENOTCONN). */
VTR_API void vtr_memory_set_remote(struct vtr_memory *memory, const struct vtr_remote_impl *impl, void *data);
VTR_API void vtr_memory_add_listener(struct vtr_memory *memory, struct vtr_memory_listener *listener); /* embedded in the caller */
VTR_API void vtr_memory_remove_listener(struct vtr_memory *memory, struct vtr_memory_listener *listener);

/*
 * Adds [address, address + size). Takes fd (also on failure: closed); -1 means remote. The kind is found by looking at the fd: a
 * regular file (memfd, hugetlbfs, shared memory) becomes RAM and must be at least offset + size bytes long; a dmabuf becomes a
 * window; nothing is mmapped that was not recognised. size, address and offset need no alignment. The region is writable only when
 * the fd is, too.
 * Regions of devices (vtr_memory_add_device()) in the range give way.
 * Errors: EINVAL (size 0, wraps, fd of a kind that cannot be memory or cannot be read, file or dmabuf too short), EEXIST
 * (overlaps), ENOSPC (VTR_MAX_REGIONS, VTR_MAX_FILES), ENOMEM.
 */
VTR_API int vtr_memory_add(struct vtr_memory *memory, uint64_t address, uint64_t size, int fd, uint64_t offset, bool writable);

/*
 * The same in two steps, for a transport that is given a file once and then told of many ranges of it.
 * vtr_memory_open() takes fd (also on failure) and looks at it: [offset, offset + size) of it has to be memory, as vtr_memory_add()
 * says. Files that are the same share one mapping. The caller ends it with vtr_memory_close() before the map is destroyed; regions
 * go on using it until they are removed. NULL with errno (EINVAL, ENOSPC, ENOMEM).
 * vtr_memory_add_file() adds a region that lies at offset of file. 0 or -errno as vtr_memory_add(); EINVAL, too, when file does not
 * reach that far.
 */
VTR_API struct vtr_memory_file *vtr_memory_open(struct vtr_memory *memory, int fd, uint64_t offset, uint64_t size);
VTR_API void vtr_memory_close(struct vtr_memory_file *file); /* NULL is fine */
VTR_API int vtr_memory_add_file(struct vtr_memory *memory, uint64_t address, uint64_t size, struct vtr_memory_file *file,
                                uint64_t offset, bool writable);

/* Removes all regions inside [address, address + size), but for those of devices: listeners are told, then the file is let go,
 * which closes and unmaps it unless other regions lie in it; the region's object lives on while spans refer to it, but nothing is
 * read through it any more. EINVAL (nothing is removed) when a region lies across a border, size is 0 or the range wraps; ENOENT
 * when there is none. */
VTR_API int vtr_memory_remove(struct vtr_memory *memory, uint64_t address, uint64_t size);
/* Removes all regions, those of devices included. */
VTR_API void vtr_memory_remove_all(struct vtr_memory *memory);

/* Changes whenever a region is added or removed. Never 0. */
VTR_API uint64_t vtr_memory_generation(const struct vtr_memory *memory);

/* The i-th region in address order, or NULL. Valid until the next change of the map. */
VTR_API const struct vtr_region *vtr_memory_region(const struct vtr_memory *memory, size_t i);

/* ---- memory of assigned devices ---- */

/*
 * Maps [offset, offset + size) of a device's fd for reading (fd is duplicated). Nothing is read now; while the device does not
 * decode its memory a read fails with -EFAULT, and once it does again the next one succeeds. Only for fds that are known to be
 * devices whose range may be mapped. The caller ends it with vtr_memory_unmap_device(), and regions go on using it until they are
 * removed. NULL with errno.
 */
VTR_API struct vtr_memory_file *vtr_memory_map_device(int fd, uint64_t offset, uint64_t size);
VTR_API void vtr_memory_unmap_device(struct vtr_memory_file *file); /* NULL is fine */

/* Adds [address, address + size), VTR_REGION_VFIO: the bytes at offset of the device's fd, which file has mapped. It gives way when
 * the VMM announces something there. 0, -EINVAL (size 0, wraps, not in file), -EEXIST, -ENOSPC (VTR_MAX_DEVICE_REGIONS),
 * -EOPNOTSUPP (behind an IOMMU) or -ENOMEM. */
VTR_API int vtr_memory_add_device(struct vtr_memory *memory, uint64_t address, uint64_t size, struct vtr_memory_file *file,
                                  uint64_t offset);
/* Removes the VTR_REGION_VFIO that begins at address; -ENOENT when there is none. */
VTR_API int vtr_memory_remove_device(struct vtr_memory *memory, uint64_t address);

/* Gives the window or remote region that begins at address CPU access through file, at offset of the device's fd, or takes it away
 * (file NULL). Its fd stays what it was, and writes still go by request. Listeners see it removed and added. 0, -ENOENT (no such
 * region), -EINVAL (it has memory of its own, or file is too short) or -ECANCELED (it went away meanwhile). */
VTR_API int vtr_memory_set_device(struct vtr_memory *memory, uint64_t address, struct vtr_memory_file *file, uint64_t offset);

/* Who knows where the memory of assigned devices is now. */
struct vtr_memory_devices_impl {
	/* The guest names memory that is in no region, or in a device's: brings the regions of devices up to date. True when the
	 * map has changed. */
	bool (*update)(void *data);
	/* A device's memory could not be read, or can be again. From inside the read: may not change the map. */
	void (*fault)(void *data);
};
/* impl NULL for nobody. */
VTR_API void vtr_memory_set_devices(struct vtr_memory *memory, const struct vtr_memory_devices_impl *impl, void *data);

/* ---- translated addresses ---- */

/*
 * Behind an IOMMU the addresses that the guest names are its IOVAs, and the map is a cache of what they mean, filled on demand: an
 * access to what is not there, or not with that permission, gives -EINPROGRESS instead of -EFAULT. Then it was asked for, and can
 * be made again when the answer has come (memory/iommu.h has who waits for that). An answer is vtr_memory_translate(), or
 * vtr_memory_miss_failed(); without one for VTR_MISS_TIMEOUT_MS the access fails with -EFAULT the next time, and so it does when
 * the translation is refused; -EACCES when the translation that came does not permit it.
 */
enum {
	VTR_ACCESS_READ = 1,
	VTR_ACCESS_WRITE = 2,
};

struct vtr_iommu_impl {
	/* Asks for the translation of address with that access (VTR_ACCESS_*); number is the miss's name, ascending. At most
	 * VTR_MAX_MISSES are waited for, none twice; one that nobody waits for any more may be asked for again. From inside an
	 * access: may not change the map. 0; -EBUSY: not before one of those that are under way has an answer; or another -errno:
	 * it cannot be asked for, and the access fails. */
	int (*miss)(void *data, uint64_t number, uint64_t address, unsigned access);
	/* An answer that came does not permit the access, which fails. Likewise from inside. May be NULL. */
	void (*denied)(void *data, uint64_t address, unsigned access);
};

/* Makes the map one of translated addresses (impl NULL: of plain ones again) and removes all regions: they meant something else.
 * While it is, memory of assigned devices has no place in it. 0 or -errno (and the map is one of plain addresses). */
VTR_API int vtr_memory_set_iommu(struct vtr_memory *memory, struct vtr_loop *loop, const struct vtr_iommu_impl *impl, void *data);

/*
 * [address, address + size) means the bytes at offset of file (vtr_memory_open()), with that access. Takes the place of what was
 * there, as vtr_memory_invalidate() does; the same once more changes nothing. When there are VTR_MAX_TRANSLATIONS some that nobody
 * uses are forgotten. 0; -EINVAL (no size, wraps, no access or an unknown one, not in file, no IOMMU), -ENOSPC, -ENOMEM.
 */
VTR_API int vtr_memory_translate(struct vtr_memory *memory, uint64_t address, uint64_t size, struct vtr_memory_file *file,
                                 uint64_t offset, unsigned access);
/* Nothing in [address, address + size) is to be used any more: regions go as with vtr_memory_remove(), and of one that reaches
 * beyond the range what is outside comes back as a region of its own. 0 or -EINVAL (no size, wraps, no IOMMU). */
VTR_API int vtr_memory_invalidate(struct vtr_memory *memory, uint64_t address, uint64_t size);
/* Translations to bytes in [offset, offset + size) of file go. */
VTR_API void vtr_memory_invalidate_file(struct vtr_memory *memory, const struct vtr_memory_file *file, uint64_t offset,
                                        uint64_t size);
/* The answer to the miss with that number is no. An unknown one is one that is over. */
VTR_API void vtr_memory_miss_failed(struct vtr_memory *memory, uint64_t number);

struct vtr_iommu_status {
	uint64_t hits;          /* look-ups that found their address, so far */
	uint64_t misses;        /* asked for */
	uint64_t updates;       /* translations that came, asked for or not */
	uint64_t invalidations; /* as messages, not regions */
	uint64_t failures;      /* misses with a no for an answer, or too little */
	uint64_t timeouts;      /* misses without an answer */
	uint64_t evictions;     /* translations forgotten to make room */
	size_t entries;         /* now */
	size_t pending;         /* misses waited for */
};
/* All 0 for a map of plain addresses. */
VTR_API void vtr_memory_iommu_status(const struct vtr_memory *memory, struct vtr_iommu_status *status);

/* ---- access ---- */

/* Copies between guest memory and buffer, across adjacent regions. 0, -EFAULT when a byte is not in the map or its file was
 * truncated or its device revoked (nothing is promised about the others), -EACCES when not writable, -EINPROGRESS behind an IOMMU,
 * or an error of the remote side. */
VTR_API int vtr_memory_read(struct vtr_memory *memory, uint64_t address, void *buffer, size_t length);
VTR_API int vtr_memory_write(struct vtr_memory *memory, uint64_t address, const void *buffer, size_t length);

/* Spans: a list of mem entries resolved into regions. */
struct vtr_span {
	struct vtr_region *region; /* counted in region->spans */
	uint64_t offset;           /* in region, bytes */
	uint64_t length;           /* bytes, never 0 */
	uint64_t start;            /* where the span begins in the linear image: the sum of the lengths before it */
};

struct vtr_spans {
	struct vtr_span *items;
	size_t count;
	uint64_t length; /* sum of the lengths */
	bool cpu;        /* every span has a CPU mapping: reading needs no request */
};

/* struct virtio_gpu_mem_entry, host byte order (virtio 1.3, 5.7.6.8). */
struct vtr_mem_entry {
	uint64_t address;
	uint32_t length;
	uint32_t padding;
};

/*
 * Resolves count entries into *spans; neighbours that continue each other in the same region are merged, an entry that runs over
 * the border of two adjacent regions is split. Overlapping and repeated entries are allowed.
 * The caller ends *spans with vtr_spans_finish(); on failure *spans is empty. 0 or -errno, *error (may be NULL) filled:
 * GUEST EINVAL (an entry of zero length), GUEST EFAULT (an entry not in the map), GUEST EOVERFLOW (an entry wraps),
 * GUEST E2BIG (count, or the number of spans, is more than VTR_MAX_ENTRIES), HOST ENOMEM. Behind an IOMMU also GUEST EACCES, and
 * REVOKED EINPROGRESS.
 */
VTR_API int vtr_spans_resolve(struct vtr_spans *spans, struct vtr_memory *memory, const struct vtr_mem_entry *entries, size_t count,
                              struct vtr_error *error);

/* The same for entries that the guest names now: devices may have moved since the map was last told, so when the entries lie in
 * memory of a device, or nowhere, the map is brought up to date first (vtr_memory_set_devices()). Changes the map. */
VTR_API int vtr_spans_resolve_named(struct vtr_spans *spans, struct vtr_memory *memory, const struct vtr_mem_entry *entries,
                                    size_t count, struct vtr_error *error);

/* How far a list of mem entries is known to be in the map: { 0 } at the beginning. */
struct vtr_spans_cursor {
	size_t entry;
	uint64_t offset; /* in it */
	size_t regions;  /* that were passed */
};

/* Before resolving behind an IOMMU: goes on from *cursor over what is in the map, and asks for what is missing, as much as may be
 * asked for at a time. Every entry is looked at about once, however often this is called. 0: all of it is, or was, there (always so
 * in a map of plain addresses); -EINPROGRESS: again when the answer has come; or an error, and *error, as vtr_spans_resolve(). */
VTR_API int vtr_spans_ask(struct vtr_memory *memory, const struct vtr_mem_entry *entries, size_t count,
                          struct vtr_spans_cursor *cursor, struct vtr_error *error);

/* One span over the whole of a private memory file: host memory that is read and written like guest memory. Takes fd (also on
 * failure). 0 or -errno, *error (may be NULL) filled: HOST EINVAL (not a readable memory file of size bytes), HOST ENOMEM. */
VTR_API int vtr_spans_from_file(struct vtr_spans *spans, int fd, uint64_t size, struct vtr_error *error);

VTR_API void vtr_spans_finish(struct vtr_spans *spans); /* drops the references; an empty or finished one is fine */

/* True when one of the spans lies in region. Quick when no spans at all do. */
VTR_API bool vtr_spans_use(const struct vtr_spans *spans, const struct vtr_region *region);

/* Copies length bytes at offset of the linear image. 0, -ERANGE beyond the end, -EFAULT when a region faulted (before or during the
 * copy; a device's memory: now) or was removed, -EACCES when not writable, -E2BIG as vtr_spans_gather(), or an error of the remote
 * side. */
VTR_API int vtr_spans_read(const struct vtr_spans *spans, uint64_t offset, void *buffer, size_t length);
VTR_API int vtr_spans_write(const struct vtr_spans *spans, uint64_t offset, const void *buffer, size_t length);

/* Gathers rows of row_bytes each: row i is read at offset + i * stride and written to target + i * target_stride. Errors as
 * vtr_spans_read(), and -E2BIG when more than VTR_MAX_FETCH_REQUESTS requests to the VMM are needed; what was read before the error
 * is in target. What lies close together in remote memory is asked for together, with the bytes between: neighbouring pieces in
 * whatever order, and rows that make up half of their stride or more. */
VTR_API int vtr_spans_gather(const struct vtr_spans *spans, uint64_t offset, uint32_t stride, uint32_t rows, size_t row_bytes,
                             void *target, size_t target_stride);

/* The same bytes by request to the VMM, also where there is a mapping. -ENOTCONN when there is nobody to ask, -EOPNOTSUPP for
 * memory of our own, which nobody else has. */
VTR_API int vtr_spans_fetch(const struct vtr_spans *spans, uint64_t offset, uint32_t stride, uint32_t rows, size_t row_bytes,
                            void *target, size_t target_stride);

/*
 * A linear CPU view of spans: address space reserved once, each span's pages mapped into it, no copy. Where that cannot be (spans
 * that do not meet on page borders, memory without a CPU mapping, of a device or in huge pages, VTR_MAX_VIEW_MAPPINGS or the
 * kernel's limit reached) the view is a private copy, made at creation, and vtr_view_refresh() reads it again.
 *
 * A mapped view keeps its memory alive by itself: whoever made it destroys it when a region of its spans is removed.
 */
struct vtr_view;

/* NULL on failure, *error (may be NULL) filled: REVOKED EFAULT (a region was removed, or its device is revoked), HOST EFAULT (a
 * file was truncated), HOST EINVAL (no bytes at all), HOST ENOMEM (out of memory, or the copy goes over VTR_MAX_VIEW_COPIES), HOST
 * with the error of the remote side (-ECANCELED: REVOKED). */
VTR_API struct vtr_view *vtr_view_create(const struct vtr_spans *spans, struct vtr_error *error);
VTR_API void vtr_view_destroy(struct vtr_view *view);           /* NULL is fine */
VTR_API const void *vtr_view_data(const struct vtr_view *view); /* spans->length bytes, valid until destroyed */
VTR_API bool vtr_view_is_copy(const struct vtr_view *view);
/* spans are those of the creation. 0 at once for a mapped view, or HOST EFAULT when its memory's file was truncated; for a copy
 * -errno of vtr_spans_read(). *error (may be NULL) says why as vtr_view_create() does. */
VTR_API int vtr_view_refresh(struct vtr_view *view, const struct vtr_spans *spans, struct vtr_error *error);

#endif
