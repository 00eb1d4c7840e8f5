/* SPDX-License-Identifier: MIT */
/* The memory map behind an IOMMU: what is missing is asked for, once and in bounded numbers, and what is taken back is gone. */
#include <vitrine/limits.h>
#include <vitrine/loop.h>

#include "memory/iommu.h"
#include "memory_fixture.h"

enum { FILE_PAGES = 1024, FILE_SIZE = FILE_PAGES * PAGE, SEED = 3, RW = VTR_ACCESS_READ | VTR_ACCESS_WRITE };

#define IOVA UINT64_C(0xfff000000000)

/* A VMM that remembers what it was asked, and answers when the test says. */
struct vmm {
	struct vtr_loop *loop;
	struct vtr_memory *memory;
	struct vtr_memory_file *file;
	struct vtr_memory_listener listener;
	struct vtr_memory_waiter waiter;
	struct {
		uint64_t number, address;
		unsigned access;
	} asked[VTR_MAX_MISSES];
	unsigned n_asked; /* and not answered */
	unsigned misses, denied, ready, removed, added;
	int error; /* of every miss */
};

static int miss(void *data, uint64_t number, uint64_t address, unsigned access)
{
	struct vmm *vmm = data;

	vmm->misses++;
	if (vmm->error)
		return vmm->error;
	g_assert_cmpuint(vmm->n_asked, <, VTR_MAX_MISSES);
	for (unsigned i = 0; i < vmm->n_asked; i++)
		g_assert_false(vmm->asked[i].address == address && vmm->asked[i].access == access);
	vmm->asked[vmm->n_asked].number = number;
	vmm->asked[vmm->n_asked].address = address;
	vmm->asked[vmm->n_asked++].access = access;
	return 0;
}

/* The newest miss of that address and access is refused. */
static void refuse(struct vmm *vmm, uint64_t address, unsigned access)
{
	uint64_t number = 0;

	for (unsigned i = 0; i < vmm->n_asked; i++)
		if (vmm->asked[i].address == address && vmm->asked[i].access == access)
			number = vmm->asked[i].number;
	vtr_memory_miss_failed(vmm->memory, number);
}

static void denied(void *data, uint64_t address, unsigned access)
{
	((struct vmm *)data)->denied++;
}

static const struct vtr_iommu_impl impl = { .miss = miss, .denied = denied };

static void ready(struct vtr_memory_waiter *waiter)
{
	((struct vmm *)waiter->data)->ready++;
}

static struct vmm *vmm_from(struct vtr_memory_listener *listener)
{
	return (struct vmm *)((char *)listener - offsetof(struct vmm, listener));
}

static void removing(struct vtr_memory_listener *listener, struct vtr_region *region)
{
	g_assert_true(region->mapped);
	vmm_from(listener)->removed++;
}

static void added(struct vtr_memory_listener *listener, struct vtr_region *region)
{
	vmm_from(listener)->added++;
}

static void set_up(struct vmm *vmm)
{
	*vmm = (struct vmm){ .loop = vtr_loop_create(), .memory = vtr_memory_create() };
	vmm->waiter = (struct vtr_memory_waiter){ .ready = ready, .data = vmm };
	vmm->listener = (struct vtr_memory_listener){ .removing = removing, .added = added };
	vtr_memory_add_listener(vmm->memory, &vmm->listener);
	g_assert_cmpint(vtr_memory_set_iommu(vmm->memory, vmm->loop, &impl, vmm), ==, 0);
	vmm->file = vtr_memory_open(vmm->memory, pattern_file(SEED, FILE_SIZE), 0, FILE_SIZE);
	g_assert_nonnull(vmm->file);
}

static void tear_down(struct vmm *vmm)
{
	vtr_memory_cancel_wait(vmm->memory, &vmm->waiter);
	vtr_memory_close(vmm->file);
	vtr_memory_remove_listener(vmm->memory, &vmm->listener);
	vtr_memory_destroy(vmm->memory);
	vtr_loop_destroy(vmm->loop);
}

static struct vtr_iommu_status status_of(const struct vmm *vmm)
{
	struct vtr_iommu_status status;

	vtr_memory_iommu_status(vmm->memory, &status);
	return status;
}

/* iova means the page of the file with that number. */
static int translate(struct vmm *vmm, uint64_t iova, uint64_t page, uint64_t pages, unsigned access)
{
	return vtr_memory_translate(vmm->memory, iova, pages * PAGE, vmm->file, page * PAGE, access);
}

/* Answers what was asked for first: its page means the page of the file with the same number. */
static void answer(struct vmm *vmm)
{
	const uint64_t page = vmm->asked[0].address / PAGE;

	g_assert_cmpuint(vmm->n_asked, >, 0);
	memmove(vmm->asked, vmm->asked + 1, --vmm->n_asked * sizeof(vmm->asked[0]));
	g_assert_cmpint(translate(vmm, page * PAGE, page % FILE_PAGES, 1, RW), ==, 0);
}

static int read_byte(struct vmm *vmm, uint64_t address)
{
	uint8_t byte;

	return vtr_memory_read(vmm->memory, address, &byte, 1);
}

static int write_byte(struct vmm *vmm, uint64_t address)
{
	uint8_t byte = 1;

	return vtr_memory_write(vmm->memory, address, &byte, 1);
}

static void wait_ready(struct vmm *vmm)
{
	const uint64_t end = vtr_now_ns() + UINT64_C(10000000000);

	while (!vmm->ready && vtr_now_ns() < end)
		vtr_loop_dispatch(vmm->loop, 10);
	g_assert_cmpuint(vmm->ready, ==, 1);
}

/* ---- misses ---- */

static void test_miss(void)
{
	struct vmm vmm;
	uint8_t bytes[16];

	set_up(&vmm);
	g_assert_cmpint(read_byte(&vmm, IOVA + 5), ==, -EINPROGRESS);
	g_assert_cmphex(vmm.asked[0].address, ==, IOVA + 5);
	g_assert_cmpuint(vmm.asked[0].access, ==, VTR_ACCESS_READ);
	g_assert_cmpint(read_byte(&vmm, IOVA + 6), ==, -EINPROGRESS); /* the same page */
	g_assert_cmpuint(vmm.misses, ==, 1);
	vtr_memory_wait(vmm.memory, &vmm.waiter);
	g_assert_true(vtr_memory_waits(&vmm.waiter));
	g_assert_cmpint(translate(&vmm, IOVA - PAGE, 0, 1, RW), ==, 0); /* another one */
	g_assert_cmpuint(vmm.ready, ==, 0);
	g_assert_cmpint(translate(&vmm, IOVA, 7, 1, RW), ==, 0);
	g_assert_cmpuint(vmm.ready, ==, 1);
	g_assert_false(vtr_memory_waits(&vmm.waiter));
	g_assert_cmpint(vtr_memory_read(vmm.memory, IOVA + 5, bytes, sizeof(bytes)), ==, 0);
	assert_pattern(bytes, sizeof(bytes), SEED, 7 * PAGE + 5);
	struct vtr_iommu_status status = status_of(&vmm);
	g_assert_cmpuint(status.misses, ==, 1);
	g_assert_cmpuint(status.updates, ==, 2);
	g_assert_cmpuint(status.entries, ==, 2);
	g_assert_cmpuint(status.pending, ==, 0);
	g_assert_cmpuint(status.hits, ==, 1);
	tear_down(&vmm);
}

/* A long range is asked for in batches, and waited for the last one of each. */
static void test_batches(void)
{
	enum { PAGES = 200 };
	static uint8_t bytes[PAGES * PAGE];
	struct vmm vmm;
	unsigned rounds = 0;

	set_up(&vmm);
	while (vtr_memory_read(vmm.memory, IOVA, bytes, sizeof(bytes)) == -EINPROGRESS) {
		g_assert_cmpuint(++rounds, <=, PAGES / VTR_MISSES_AHEAD + 1);
		g_assert_cmpuint(status_of(&vmm).pending, ==, vmm.n_asked);
		vmm.ready = 0;
		vtr_memory_wait(vmm.memory, &vmm.waiter);
		while (vmm.n_asked) {
			g_assert_cmpuint(vmm.ready, ==, 0);
			answer(&vmm);
		}
		g_assert_cmpuint(vmm.ready, ==, 1);
	}
	g_assert_cmpuint(vmm.misses, ==, PAGES);
	assert_pattern(bytes, sizeof(bytes), SEED, IOVA / PAGE % FILE_PAGES * PAGE);
	tear_down(&vmm);
}

/* Where translations are large, one is asked for each, not for each page. */
static void test_granule(void)
{
	struct vmm vmm;
	static uint8_t bytes[FILE_SIZE];

	set_up(&vmm);
	g_assert_cmpint(translate(&vmm, IOVA - FILE_SIZE, 0, FILE_PAGES / 4, RW), ==, 0);
	g_assert_cmpint(vtr_memory_read(vmm.memory, IOVA, bytes, sizeof(bytes)), ==, -EINPROGRESS);
	g_assert_cmpuint(vmm.misses, ==, 4);
	tear_down(&vmm);
}

static void test_refused(void)
{
	struct vmm vmm;

	set_up(&vmm);
	g_assert_cmpint(read_byte(&vmm, IOVA), ==, -EINPROGRESS);
	vtr_memory_wait(vmm.memory, &vmm.waiter);
	refuse(&vmm, IOVA + PAGE, VTR_ACCESS_READ); /* nobody asked for that */
	refuse(&vmm, IOVA, VTR_ACCESS_WRITE);
	g_assert_cmpuint(vmm.ready, ==, 0);
	refuse(&vmm, IOVA, VTR_ACCESS_READ);
	g_assert_cmpuint(vmm.ready, ==, 1);
	g_assert_cmpint(read_byte(&vmm, IOVA), ==, -EFAULT);
	vmm.n_asked = 0;
	g_assert_cmpint(read_byte(&vmm, IOVA), ==, -EINPROGRESS); /* it may be there by now */
	g_assert_cmpuint(vmm.misses, ==, 2);
	g_assert_cmpuint(status_of(&vmm).failures, ==, 1);
	tear_down(&vmm);
}

/* A refusal that nobody comes for does not hit a later access. */
static void test_refusal_forgotten(void)
{
	struct vmm vmm;

	set_up(&vmm);
	g_assert_cmpint(read_byte(&vmm, IOVA), ==, -EINPROGRESS);
	refuse(&vmm, IOVA, VTR_ACCESS_READ);
	for (int i = 0; i < 3; i++)
		vtr_loop_dispatch(vmm.loop, 0);
	g_assert_cmpuint(status_of(&vmm).pending, ==, 0);
	vmm.n_asked = 0;
	g_assert_cmpint(read_byte(&vmm, IOVA), ==, -EINPROGRESS);
	tear_down(&vmm);
}

/* One of a batch is refused: who waits for another one is told, too, and finds it. */
static void test_refused_in_a_batch(void)
{
	static uint8_t bytes[8 * PAGE];
	struct vmm vmm;

	set_up(&vmm);
	g_assert_cmpint(vtr_memory_read(vmm.memory, IOVA, bytes, sizeof(bytes)), ==, -EINPROGRESS);
	vtr_memory_wait(vmm.memory, &vmm.waiter);
	refuse(&vmm, IOVA + 3 * PAGE, VTR_ACCESS_READ);
	g_assert_cmpuint(vmm.ready, ==, 1);
	g_assert_cmpint(vtr_memory_read(vmm.memory, IOVA, bytes, sizeof(bytes)), ==, -EFAULT);
	tear_down(&vmm);
}

/* The access has failed, and what it had asked for besides is refused afterwards: that is not for a later access. */
static void test_late_refusal(void)
{
	static uint8_t bytes[8 * PAGE];
	struct vmm vmm;

	set_up(&vmm);
	g_assert_cmpint(vtr_memory_read(vmm.memory, IOVA, bytes, sizeof(bytes)), ==, -EINPROGRESS);
	const uint64_t late = vmm.asked[3].number;
	refuse(&vmm, IOVA, VTR_ACCESS_READ);
	g_assert_cmpint(vtr_memory_read(vmm.memory, IOVA, bytes, sizeof(bytes)), ==, -EFAULT);
	g_assert_cmpuint(status_of(&vmm).pending, ==, 0);

	vmm.n_asked = 0;
	g_assert_cmpint(read_byte(&vmm, IOVA + 3 * PAGE), ==, -EINPROGRESS);
	vtr_memory_miss_failed(vmm.memory, late);
	g_assert_cmpint(read_byte(&vmm, IOVA + 3 * PAGE), ==, -EINPROGRESS);
	g_assert_cmpint(translate(&vmm, IOVA + 3 * PAGE, 3, 1, RW), ==, 0);
	g_assert_cmpint(read_byte(&vmm, IOVA + 3 * PAGE), >=, 0);
	tear_down(&vmm);
}

/* There is no room for one more question: it waits for one of those that are under way, and fails where there is none. */
static void test_cannot_ask_yet(void)
{
	struct vmm vmm;

	set_up(&vmm);
	vmm.error = -EBUSY;
	g_assert_cmpint(read_byte(&vmm, IOVA), ==, -EFAULT);
	vmm.error = 0;
	g_assert_cmpint(read_byte(&vmm, IOVA), ==, -EINPROGRESS);
	vmm.error = -EBUSY;
	g_assert_cmpint(read_byte(&vmm, IOVA + PAGE), ==, -EINPROGRESS);
	vtr_memory_wait(vmm.memory, &vmm.waiter);
	g_assert_cmpuint(vmm.ready, ==, 0);
	answer(&vmm);
	g_assert_cmpuint(vmm.ready, ==, 1);
	vmm.error = 0;
	g_assert_cmpint(read_byte(&vmm, IOVA + PAGE), ==, -EINPROGRESS);
	g_assert_cmphex(vmm.asked[0].address, ==, IOVA + PAGE);
	answer(&vmm);
	g_assert_cmpint(read_byte(&vmm, IOVA + PAGE), ==, 0);
	g_assert_cmpuint(status_of(&vmm).failures, ==, 1);
	tear_down(&vmm);
}

static void test_cannot_ask(void)
{
	struct vmm vmm;

	set_up(&vmm);
	vmm.error = -ENOTCONN;
	g_assert_cmpint(read_byte(&vmm, IOVA), ==, -EFAULT);
	g_assert_cmpint(write_byte(&vmm, IOVA), ==, -EFAULT);
	g_assert_cmpuint(status_of(&vmm).pending, ==, 0);
	tear_down(&vmm);
}

static void test_timeout(void)
{
	struct vmm vmm;

	set_up(&vmm);
	vtr_iommu_set_limits(vmm.memory, VTR_MAX_TRANSLATIONS, 30);
	g_assert_cmpint(read_byte(&vmm, IOVA), ==, -EINPROGRESS);
	vtr_memory_wait(vmm.memory, &vmm.waiter);
	wait_ready(&vmm);
	g_assert_cmpint(read_byte(&vmm, IOVA), ==, -EFAULT);
	g_assert_cmpuint(status_of(&vmm).timeouts, ==, 1);
	g_assert_cmpint(translate(&vmm, IOVA, 0, 1, RW), ==, 0); /* better late than never */
	g_assert_cmpint(read_byte(&vmm, IOVA), ==, 0);
	tear_down(&vmm);
}

/* Nothing to wait for any more: whoever waits is told at once. */
static void test_wait_for_nothing(void)
{
	struct vmm vmm;

	set_up(&vmm);
	vtr_memory_wait(vmm.memory, &vmm.waiter);
	g_assert_cmpuint(vmm.ready, ==, 1);
	g_assert_cmpint(read_byte(&vmm, IOVA), ==, -EINPROGRESS);
	answer(&vmm);
	vtr_memory_wait(vmm.memory, &vmm.waiter);
	g_assert_cmpuint(vmm.ready, ==, 2);
	tear_down(&vmm);
}

static void test_leave(void)
{
	struct vmm vmm;

	set_up(&vmm);
	g_assert_cmpint(translate(&vmm, IOVA, 0, 1, RW), ==, 0);
	g_assert_cmpint(read_byte(&vmm, IOVA + PAGE), ==, -EINPROGRESS);
	vtr_memory_wait(vmm.memory, &vmm.waiter);
	g_assert_cmpint(vtr_memory_set_iommu(vmm.memory, NULL, NULL, NULL), ==, 0);
	g_assert_cmpuint(vmm.ready, ==, 1);
	g_assert_cmpuint(vmm.removed, ==, 1);
	g_assert_cmpint(read_byte(&vmm, IOVA), ==, -EFAULT);
	g_assert_cmpint(read_byte(&vmm, IOVA + PAGE), ==, -EFAULT);
	g_assert_cmpint(translate(&vmm, IOVA, 0, 1, RW), ==, -EINVAL);
	g_assert_cmpint(vtr_memory_invalidate(vmm.memory, IOVA, PAGE), ==, -EINVAL);
	tear_down(&vmm);
}

/* ---- permissions ---- */

static void test_upgrade(void)
{
	struct vmm vmm;

	set_up(&vmm);
	g_assert_cmpint(translate(&vmm, IOVA, 0, 1, VTR_ACCESS_READ), ==, 0);
	g_assert_cmpint(read_byte(&vmm, IOVA), ==, 0);
	g_assert_cmpint(write_byte(&vmm, IOVA), ==, -EINPROGRESS);
	g_assert_cmpuint(vmm.asked[0].access, ==, RW);
	g_assert_cmpint(read_byte(&vmm, IOVA), ==, 0); /* meanwhile */
	g_assert_cmpint(translate(&vmm, IOVA, 0, 1, RW), ==, 0);
	g_assert_cmpint(write_byte(&vmm, IOVA), ==, 0);
	g_assert_cmpint(read_byte(&vmm, IOVA), ==, 0);
	tear_down(&vmm);
}

static const struct permission {
	const char *name;
	unsigned access; /* of the translation that comes */
	int read, write;
} permissions[] = {
	{ "read", VTR_ACCESS_READ, 0, -EACCES },
	{ "write", VTR_ACCESS_WRITE, -EACCES, 0 },
	{ "both", RW, 0, 0 },
};

static int after_answer(struct vmm *vmm, int (*access)(struct vmm *vmm, uint64_t address), unsigned permission)
{
	int error = access(vmm, IOVA);

	if (error != -EINPROGRESS)
		return error;
	vtr_memory_wait(vmm->memory, &vmm->waiter);
	vmm->ready = vmm->n_asked = 0;
	g_assert_cmpint(translate(vmm, IOVA, 0, 1, permission), ==, 0);
	g_assert_cmpuint(vmm->ready, ==, 1);
	return access(vmm, IOVA);
}

static void test_permission(const void *data)
{
	const struct permission *row = data;
	struct vmm vmm;

	set_up(&vmm);
	g_assert_cmpint(after_answer(&vmm, read_byte, row->access), ==, row->read);
	g_assert_cmpint(after_answer(&vmm, write_byte, row->access), ==, row->write);
	g_assert_cmpuint(vmm.denied, ==, (row->read != 0) + (row->write != 0));
	g_assert_cmpuint(status_of(&vmm).failures, ==, vmm.denied);
	tear_down(&vmm);
}

/* The VMM says "write" of a file that cannot be written: asking again would not help. */
static void test_read_only_file(void)
{
	struct vmm vmm;
	int fd = pattern_file(SEED, PAGE);
	g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", fd);

	set_up(&vmm);
	struct vtr_memory_file *file = vtr_memory_open(vmm.memory, open(path, O_RDONLY | O_CLOEXEC), 0, PAGE);
	g_assert_nonnull(file);
	g_assert_cmpint(write_byte(&vmm, IOVA), ==, -EINPROGRESS);
	g_assert_cmpint(vtr_memory_translate(vmm.memory, IOVA, PAGE, file, 0, RW), ==, 0);
	g_assert_cmpint(write_byte(&vmm, IOVA), ==, -EACCES);
	g_assert_cmpint(read_byte(&vmm, IOVA), ==, 0);
	vtr_memory_close(file);
	close(fd);
	tear_down(&vmm);
}

static void test_spans_need_reading(void)
{
	const struct vtr_mem_entry entry = { IOVA, PAGE, 0 };
	struct vtr_spans spans;
	struct vtr_error error;
	struct vmm vmm;

	set_up(&vmm);
	g_assert_cmpint(translate(&vmm, IOVA, 0, 1, VTR_ACCESS_WRITE), ==, 0);
	g_assert_cmpint(vtr_spans_resolve(&spans, vmm.memory, &entry, 1, &error), ==, -EINPROGRESS);
	g_assert_cmpint(translate(&vmm, IOVA, 0, 1, VTR_ACCESS_WRITE), ==, 0);
	g_assert_cmpint(vtr_spans_resolve(&spans, vmm.memory, &entry, 1, &error), ==, -EACCES);
	g_assert_cmpint(error.owner, ==, VTR_ERROR_GUEST);
	tear_down(&vmm);
}

/* ---- translations ---- */

static const struct refusal {
	const char *name;
	uint64_t address, size, offset;
	unsigned access;
} refusals[] = {
	{ "empty", IOVA, 0, 0, RW },
	{ "wraps", UINT64_MAX - PAGE + 2, PAGE, 0, RW },
	{ "no-access", IOVA, PAGE, 0, 0 },
	{ "unknown-access", IOVA, PAGE, 0, 4 },
	{ "beyond-the-file", IOVA, PAGE, FILE_SIZE - PAGE + 1, RW },
	{ "far-beyond", IOVA, PAGE, UINT64_MAX - PAGE + 1, RW },
	{ "larger-than-the-file", IOVA, FILE_SIZE + 1, 0, RW },
};

static void test_translate_refused(const void *data)
{
	const struct refusal *row = data;
	struct vmm vmm;

	set_up(&vmm);
	g_assert_cmpint(vtr_memory_translate(vmm.memory, row->address, row->size, vmm.file, row->offset, row->access), ==, -EINVAL);
	g_assert_cmpuint(status_of(&vmm).entries, ==, 0);
	tear_down(&vmm);
}

/* Pages 4 to 19 at IOVA; what is left after taking a range back. */
static const struct hole {
	const char *name;
	uint64_t first, size; /* from IOVA, bytes */
	unsigned regions;     /* then */
} holes[] = {
	{ "all", 0, 16 * PAGE, 0 },
	{ "more-than-all", (uint64_t)0 - PAGE, 18 * PAGE, 0 },
	{ "beginning", 0, PAGE, 1 },
	{ "across-the-beginning", (uint64_t)0 - PAGE, 2 * PAGE, 1 },
	{ "end", 15 * PAGE, PAGE, 1 },
	{ "across-the-end", 15 * PAGE, 2 * PAGE, 1 },
	{ "middle", 5 * PAGE, 3 * PAGE, 2 },
	{ "bytes", 5 * PAGE + 17, 3, 2 },
	{ "before", (uint64_t)0 - PAGE, PAGE, 1 },
	{ "behind", 16 * PAGE, PAGE, 1 },
};

static void test_invalidate(const void *data)
{
	const struct hole *row = data;
	struct vmm vmm;

	set_up(&vmm);
	g_assert_cmpint(translate(&vmm, IOVA, 4, 16, RW), ==, 0);
	vmm.added = 0;
	g_assert_cmpint(vtr_memory_invalidate(vmm.memory, IOVA + row->first, row->size), ==, 0);
	struct vtr_iommu_status status = status_of(&vmm);
	g_assert_cmpuint(status.entries, ==, row->regions);
	g_assert_cmpuint(vmm.added, ==, vmm.removed ? row->regions : 0);
	for (uint64_t i = 0; i < 16 * PAGE; i += 1) {
		uint8_t byte;
		bool gone = i - row->first < row->size;

		if (i % 509 && (i + 2) % PAGE > 4 && i - row->first > 4) /* not every byte */
			continue;
		int error = vtr_memory_read(vmm.memory, IOVA + i, &byte, 1);
		g_assert_cmpint(error, ==, gone ? -EINPROGRESS : 0);
		if (!gone)
			g_assert_cmpuint(byte, ==, pattern(SEED, 4 * PAGE + i));
		if (gone)
			refuse(&vmm, IOVA + i, VTR_ACCESS_READ), vmm.n_asked = 0;
		if (gone)
			g_assert_cmpint(read_byte(&vmm, IOVA + i), ==, -EFAULT);
	}
	tear_down(&vmm);
}

static void test_top_of_the_address_space(void)
{
	const uint64_t top = (uint64_t)0 - 4 * PAGE;
	struct vmm vmm;

	set_up(&vmm);
	g_assert_cmpint(translate(&vmm, top, 0, 4, RW), ==, 0);
	g_assert_cmpint(read_byte(&vmm, UINT64_MAX), ==, 0);
	g_assert_cmpint(vtr_memory_invalidate(vmm.memory, top + PAGE, PAGE), ==, 0);
	g_assert_cmpint(read_byte(&vmm, UINT64_MAX), ==, 0);
	g_assert_cmpuint(status_of(&vmm).entries, ==, 2);
	g_assert_cmpint(vtr_memory_invalidate(vmm.memory, 0, UINT64_MAX), ==, 0); /* all but the last byte */
	g_assert_cmpint(read_byte(&vmm, UINT64_MAX), ==, 0);
	g_assert_cmpuint(status_of(&vmm).entries, ==, 1);
	g_assert_cmpint(vtr_memory_invalidate(vmm.memory, UINT64_MAX, 1), ==, 0);
	g_assert_cmpint(vtr_memory_invalidate(vmm.memory, UINT64_MAX, 2), ==, -EINVAL);
	g_assert_cmpint(vtr_memory_invalidate(vmm.memory, 0, 0), ==, -EINVAL);
	g_assert_cmpuint(status_of(&vmm).entries, ==, 0);
	tear_down(&vmm);
}

static void test_the_same_again(void)
{
	struct vmm vmm;

	set_up(&vmm);
	g_assert_cmpint(translate(&vmm, IOVA, 4, 16, RW), ==, 0);
	g_assert_cmpint(translate(&vmm, IOVA, 4, 16, RW), ==, 0);
	g_assert_cmpint(translate(&vmm, IOVA + 3 * PAGE, 7, 2, RW), ==, 0); /* a part of it */
	g_assert_cmpuint(vmm.added, ==, 1);
	g_assert_cmpuint(vmm.removed, ==, 0);
	g_assert_cmpint(translate(&vmm, IOVA, 4, 16, VTR_ACCESS_READ), ==, 0); /* less */
	g_assert_cmpuint(vmm.removed, ==, 1);
	g_assert_cmpint(write_byte(&vmm, IOVA), ==, -EINPROGRESS);
	tear_down(&vmm);
}

static void test_eviction(void)
{
	enum { LIMIT = 16 };
	const struct vtr_mem_entry entry = { IOVA, 2 * PAGE, 0 };
	struct vtr_spans spans;
	struct vmm vmm;
	uint8_t byte;

	set_up(&vmm);
	vtr_iommu_set_limits(vmm.memory, LIMIT, VTR_MISS_TIMEOUT_MS);
	g_assert_cmpint(translate(&vmm, IOVA, 0, 1, RW), ==, 0);
	g_assert_cmpint(translate(&vmm, IOVA + PAGE, 1, 1, RW), ==, 0);
	g_assert_cmpint(vtr_spans_resolve(&spans, vmm.memory, &entry, 1, NULL), ==, 0);
	for (uint64_t i = 2; i < 10 * LIMIT; i++) {
		g_assert_cmpint(translate(&vmm, IOVA + i * PAGE, i, 1, RW), ==, 0);
		g_assert_cmpuint(status_of(&vmm).entries, <=, LIMIT);
	}
	g_assert_cmpuint(status_of(&vmm).evictions, >=, 8 * LIMIT);
	g_assert_cmpint(vtr_spans_read(&spans, PAGE, &byte, 1), ==, 0); /* what is in use stays */
	vtr_spans_finish(&spans);

	struct vtr_mem_entry all[LIMIT];
	vtr_memory_invalidate(vmm.memory, 0, UINT64_MAX);
	for (uint64_t i = 0; i < LIMIT; i++) {
		all[i] = (struct vtr_mem_entry){ IOVA + 2 * i * PAGE, PAGE, 0 };
		g_assert_cmpint(translate(&vmm, all[i].address, i, 1, RW), ==, 0);
	}
	g_assert_cmpint(vtr_spans_resolve(&spans, vmm.memory, all, LIMIT, NULL), ==, 0);
	g_assert_cmpint(read_byte(&vmm, 0), ==, -EINPROGRESS);
	g_assert_cmpint(translate(&vmm, 0, 0, 1, RW), ==, -ENOSPC);
	g_assert_cmpint(read_byte(&vmm, 0), ==, -EFAULT);
	vtr_spans_finish(&spans);
	tear_down(&vmm);
}

/* Random translations and invalidations against a table of pages. */
static void test_random(void)
{
	enum { PAGES = 512, STEPS = 20000 };
	static int model[PAGES];
	struct vmm vmm;
	uint8_t bytes[2];

	set_up(&vmm);
	memset(model, -1, sizeof(model));
	for (unsigned step = 0; step < STEPS; step++) {
		int first = g_test_rand_int_range(0, PAGES), count = g_test_rand_int_range(1, MIN(PAGES - first, 24) + 1);
		int to = g_test_rand_int_range(0, FILE_PAGES - count);
		bool invalidate = g_test_rand_bit();

		if (invalidate)
			g_assert_cmpint(vtr_memory_invalidate(vmm.memory, IOVA + (uint64_t)first * PAGE, (uint64_t)count * PAGE),
			                ==, 0);
		else
			g_assert_cmpint(translate(&vmm, IOVA + (uint64_t)first * PAGE, (uint64_t)to, (uint64_t)count, RW), ==, 0);
		for (int i = 0; i < count; i++)
			model[first + i] = invalidate ? -1 : to + i;

		int page = g_test_rand_int_range(0, PAGES);
		const uint64_t at = IOVA + (uint64_t)page * PAGE + 100;
		if (model[page] < 0) {
			g_assert_cmpint(vtr_memory_read(vmm.memory, at, bytes, 2), ==, -EINPROGRESS);
			refuse(&vmm, at, VTR_ACCESS_READ);
			g_assert_cmpint(vtr_memory_read(vmm.memory, at, bytes, 2), ==, -EFAULT);
			vmm.n_asked = 0;
		} else {
			g_assert_cmpint(vtr_memory_read(vmm.memory, at, bytes, 2), ==, 0);
			assert_pattern(bytes, 2, SEED, (uint64_t)model[page] * PAGE + 100);
		}
	}
	const struct vtr_region *last = NULL;
	for (size_t i = 0; i < status_of(&vmm).entries; i++) {
		const struct vtr_region *region = vtr_memory_region(vmm.memory, i);

		g_assert_true(!last || last->address + last->size <= region->address);
		last = region;
	}
	tear_down(&vmm);
}

/* ---- lists of entries ---- */

/* As many entries as a resource may have, scattered, all of them missing. */
static void test_many_entries(void)
{
	struct vtr_mem_entry *entries = g_new(struct vtr_mem_entry, VTR_MAX_ENTRIES);
	struct vtr_spans_cursor cursor = { 0 };
	struct vtr_spans spans;
	struct vtr_error error;
	struct vmm vmm;
	unsigned rounds = 0;
	uint8_t byte;

	set_up(&vmm);
	for (uint64_t i = 0; i < VTR_MAX_ENTRIES; i++)
		entries[i] = (struct vtr_mem_entry){ IOVA + i * 48271 % (VTR_MAX_ENTRIES - 1) * 2 * PAGE, PAGE, 0 };
	const gint64 start = g_get_monotonic_time();
	int code;
	while ((code = vtr_spans_ask(vmm.memory, entries, VTR_MAX_ENTRIES, &cursor, &error)) == -EINPROGRESS) {
		rounds++;
		vmm.ready = 0;
		vtr_memory_wait(vmm.memory, &vmm.waiter);
		while (vmm.n_asked)
			answer(&vmm);
		g_assert_cmpuint(vmm.ready, ==, 1);
	}
	g_assert_cmpint(code, ==, 0);
	g_assert_cmpuint(vmm.misses, ==, VTR_MAX_ENTRIES - 1); /* the first one is the last one, too */
	g_assert_cmpuint(rounds, <=, VTR_MAX_ENTRIES / VTR_MISSES_AHEAD + 1);
	g_assert_cmpint(vtr_spans_resolve(&spans, vmm.memory, entries, VTR_MAX_ENTRIES, &error), ==, 0);
	g_test_message("%u misses in %u rounds, %" G_GINT64_FORMAT " ms", vmm.misses, rounds,
	               (g_get_monotonic_time() - start) / 1000);
	for (unsigned i = 0; i < VTR_MAX_ENTRIES; i += 997) {
		g_assert_cmpint(vtr_spans_read(&spans, (uint64_t)i * PAGE + 9, &byte, 1), ==, 0);
		g_assert_cmpuint(byte, ==, pattern(SEED, entries[i].address / PAGE % FILE_PAGES * PAGE + 9));
	}
	vtr_spans_finish(&spans);
	tear_down(&vmm);
	g_free(entries);
}

static const struct list {
	const char *name;
	struct vtr_mem_entry entries[2];
	int error;
} lists[] = {
	{ "empty-entry", { { IOVA, PAGE, 0 }, { IOVA, 0, 0 } }, -EINVAL },
	{ "wraps", { { IOVA, PAGE, 0 }, { UINT64_MAX, 2, 0 } }, -EOVERFLOW },
	{ "wraps-first", { { UINT64_MAX, 2, 0 }, { IOVA, PAGE, 0 } }, -EOVERFLOW },
};

/* What is wrong with the list itself shows before anything is waited for. */
static void test_list_refused(const void *data)
{
	const struct list *row = data;
	struct vtr_spans_cursor cursor = { 0 };
	struct vtr_error error;
	struct vmm vmm;

	set_up(&vmm);
	g_assert_cmpint(vtr_spans_ask(vmm.memory, row->entries, 2, &cursor, &error), ==, row->error);
	g_assert_cmpint(error.owner, ==, VTR_ERROR_GUEST);
	tear_down(&vmm);
}

/* One entry of 4 GiB in pages is more spans than a resource may have: it ends before they are all asked for. */
static void test_too_many_regions(void)
{
	const struct vtr_mem_entry entries[] = { { IOVA, UINT32_MAX, 0 }, { IOVA, UINT32_MAX, 0 } };
	struct vtr_spans_cursor cursor = { 0 };
	struct vtr_error error;
	struct vmm vmm;
	int code;

	set_up(&vmm);
	while ((code = vtr_spans_ask(vmm.memory, entries, 2, &cursor, &error)) == -EINPROGRESS)
		while (vmm.n_asked)
			answer(&vmm);
	g_assert_cmpint(code, ==, -E2BIG);
	g_assert_cmpuint(vmm.misses, <=, 2 * VTR_MAX_ENTRIES + VTR_MAX_MISSES);
	tear_down(&vmm);
}

static void test_plain_map(void)
{
	const struct vtr_mem_entry entry = { IOVA, PAGE, 0 };
	struct vtr_memory *memory = vtr_memory_create();
	struct vtr_spans_cursor cursor = { 0 };
	struct vtr_iommu_status status;
	struct vtr_spans spans;
	uint8_t byte;

	g_assert_cmpint(vtr_spans_ask(memory, &entry, 1, &cursor, NULL), ==, 0);
	g_assert_cmpint(vtr_spans_resolve(&spans, memory, &entry, 1, NULL), ==, -EFAULT);
	g_assert_cmpint(vtr_memory_read(memory, IOVA, &byte, 1), ==, -EFAULT);
	vtr_memory_miss_failed(memory, 1);
	vtr_memory_iommu_status(memory, &status);
	g_assert_cmpuint(status.misses + status.hits + status.entries, ==, 0);
	vtr_memory_destroy(memory);
}

/* Neighbours of one file are one piece to a ring, whoever made pages of them. */
static void test_pointer(void)
{
	struct vmm vmm;

	set_up(&vmm);
	g_assert_cmpint(translate(&vmm, IOVA, 5, 1, RW), ==, 0);
	g_assert_cmpint(translate(&vmm, IOVA + PAGE, 6, 1, RW), ==, 0);
	g_assert_cmpint(translate(&vmm, IOVA + 2 * PAGE, 8, 1, VTR_ACCESS_READ), ==, 0);
	uint8_t *data = vtr_memory_pointer(vmm.memory, IOVA + 8, 2 * PAGE - 8, VTR_ACCESS_WRITE);
	g_assert_nonnull(data);
	assert_pattern(data, 2 * PAGE - 8, SEED, 5 * PAGE + 8);
	g_assert_null(vtr_memory_pointer(vmm.memory, IOVA, 2 * PAGE + 1, VTR_ACCESS_READ));
	g_assert_null(vtr_memory_pointer(vmm.memory, IOVA + 2 * PAGE, 1, VTR_ACCESS_WRITE));
	g_assert_nonnull(vtr_memory_pointer(vmm.memory, IOVA + 2 * PAGE, PAGE, VTR_ACCESS_READ));
	g_assert_null(vtr_memory_pointer(vmm.memory, IOVA + 2 * PAGE, PAGE + 1, VTR_ACCESS_READ));
	g_assert_cmpuint(vmm.misses, ==, 0);
	tear_down(&vmm);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/iommu/miss", test_miss);
	g_test_add_func("/iommu/batches", test_batches);
	g_test_add_func("/iommu/granule", test_granule);
	g_test_add_func("/iommu/refused", test_refused);
	g_test_add_func("/iommu/refusal-forgotten", test_refusal_forgotten);
	g_test_add_func("/iommu/refused-in-a-batch", test_refused_in_a_batch);
	g_test_add_func("/iommu/late-refusal", test_late_refusal);
	g_test_add_func("/iommu/cannot-ask", test_cannot_ask);
	g_test_add_func("/iommu/cannot-ask-yet", test_cannot_ask_yet);
	g_test_add_func("/iommu/timeout", test_timeout);
	g_test_add_func("/iommu/wait-for-nothing", test_wait_for_nothing);
	g_test_add_func("/iommu/leave", test_leave);
	g_test_add_func("/iommu/upgrade", test_upgrade);
	ADD_ROWS("/iommu/permission/", permissions, test_permission);
	g_test_add_func("/iommu/read-only-file", test_read_only_file);
	g_test_add_func("/iommu/spans-need-reading", test_spans_need_reading);
	ADD_ROWS("/iommu/translate-refused/", refusals, test_translate_refused);
	ADD_ROWS("/iommu/invalidate/", holes, test_invalidate);
	g_test_add_func("/iommu/top-of-the-address-space", test_top_of_the_address_space);
	g_test_add_func("/iommu/the-same-again", test_the_same_again);
	g_test_add_func("/iommu/eviction", test_eviction);
	g_test_add_func("/iommu/random", test_random);
	g_test_add_func("/iommu/many-entries", test_many_entries);
	ADD_ROWS("/iommu/list/", lists, test_list_refused);
	g_test_add_func("/iommu/too-many-regions", test_too_many_regions);
	g_test_add_func("/iommu/plain-map", test_plain_map);
	g_test_add_func("/iommu/pointer", test_pointer);
	return g_test_run();
}
