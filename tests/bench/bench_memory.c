/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <vitrine/limits.h>
#include <vitrine/loop.h>
#include <vitrine/memory.h>

#include "util/fd.h"

/*
 * What guest memory costs: resolving entries, gathering a 4K frame, making a linear view of it. Each figure is the best of several
 * rounds; what is compared is measured in turns in the same run, because only the ratio survives a change of machine.
 */

enum {
	PAGE = 4096,
	REGIONS = 32, // as many as QEMU has
	ROUNDS = 15,
	FRAME_WIDTH = 3840,
	FRAME_HEIGHT = 2160,
	FRAME_STRIDE = FRAME_WIDTH * 4,
	FRAME_BYTES = FRAME_STRIDE * FRAME_HEIGHT,
	FRAME_PAGES = FRAME_BYTES / PAGE,
};

static bool as_json;
static const char *separator = "";

static void print(const char *name, double value, const char *unit, double ratio, const char *to)
{
	if (as_json) {
		printf("%s\n  {\"name\": \"%s\", \"value\": %.3f, \"unit\": \"%s\"", separator, name, value, unit);
		if (to)
			printf(", \"ratio\": %.3f, \"to\": \"%s\"", ratio, to);
		printf("}");
		separator = ",";
	} else if (to) {
		printf("%-40s %10.2f %-12s %6.2f of %s\n", name, value, unit, ratio, to);
	} else {
		printf("%-40s %10.2f %s\n", name, value, unit);
	}
}

static void *allocate(size_t size)
{
	void *data = calloc(1, size);

	if (!data) {
		fprintf(stderr, "bench_memory: out of memory\n");
		exit(1);
	}
	return data;
}

static void check(int result, const char *what)
{
	if (result < 0) {
		fprintf(stderr, "bench_memory: %s: %s\n", what, strerror(-result));
		exit(1);
	}
}

static void shuffle(struct vtr_mem_entry *entries, size_t count)
{
	srandom(1);
	for (size_t i = count; i > 1; i--) {
		size_t j = (size_t)random() % i;
		struct vtr_mem_entry entry = entries[i - 1];

		entries[i - 1] = entries[j];
		entries[j] = entry;
	}
}

/* ---- resolving ---- */

static double resolve_once(struct vtr_memory *memory, const struct vtr_mem_entry *entries, size_t count)
{
	struct vtr_spans spans;
	uint64_t start = vtr_now_ns();

	check(vtr_spans_resolve(&spans, memory, entries, count, NULL), "resolve");
	double ns = (double)(vtr_now_ns() - start);
	vtr_spans_finish(&spans);
	return ns;
}

/* Entries of one page each in random order, spread over regions many regions. */
static double bench_resolve(size_t count, unsigned regions)
{
	struct vtr_memory *memory = vtr_memory_create();
	struct vtr_mem_entry *entries = allocate(count * sizeof(*entries));
	uint64_t size = (count / regions + 1) * PAGE;
	double best = 0;

	for (unsigned i = 0; i < regions; i++)
		check(vtr_memory_add(memory, i * 2 * size, size, -1, 0, true), "add");
	for (size_t i = 0; i < count; i++)
		entries[i] = (struct vtr_mem_entry){ .address = i % regions * 2 * size + i / regions * PAGE, .length = PAGE };
	shuffle(entries, count);
	for (unsigned round = 0; round < ROUNDS; round++) {
		double ns = resolve_once(memory, entries, count);

		best = round && best < ns ? best : ns;
	}
	free(entries);
	vtr_memory_destroy(memory);
	return best;
}

static void bench_resolving(void)
{
	static const unsigned regions[] = { 1, REGIONS, 4096, VTR_MAX_REGIONS };

	for (size_t i = 0; i < sizeof(regions) / sizeof(regions[0]); i++) {
		double small = bench_resolve(8192, regions[i]) / 8192;
		double large = bench_resolve(262144, regions[i]) / 262144;
		char name[64];

		snprintf(name, sizeof(name), "resolve 8192 entries, %u region%s", regions[i], regions[i] > 1 ? "s" : "");
		print(name, small, "ns/entry", 0, NULL);
		snprintf(name, sizeof(name), "resolve 262144 entries, %u region%s", regions[i], regions[i] > 1 ? "s" : "");
		print(name, large, "ns/entry", large / small, "that of 8192");
	}
}

/* ---- a 4K frame ---- */

struct frame {
	struct vtr_memory *memory;
	struct vtr_spans spans;
	uint8_t *source, *target; // of the plain memcpy, of both
};

static void add_memory(struct vtr_memory *memory, int fd, bool device)
{
	struct vtr_memory_file *file;

	if (!device) {
		check(vtr_memory_add(memory, 0, 2 * FRAME_BYTES, fd, 0, true), "add");
		return;
	}
	file = vtr_memory_map_device(fd, 0, 2 * FRAME_BYTES);
	check(file ? 0 : -errno, "map");
	check(vtr_memory_add_device(memory, 0, 2 * FRAME_BYTES, file, 0), "add");
	vtr_memory_unmap_device(file);
	close(fd);
}

/* The frame's pages as ranges of range_pages pages each, in random order: in RAM, or read as a device's memory is. */
static struct frame make_frame(size_t range_pages, bool device)
{
	size_t count = (FRAME_PAGES + range_pages - 1) / range_pages;
	struct frame frame = { .memory = vtr_memory_create(), .source = allocate(FRAME_BYTES), .target = allocate(FRAME_BYTES) };
	struct vtr_mem_entry *entries = allocate(count * sizeof(*entries));
	uint8_t *content = allocate(2 * FRAME_BYTES);
	int fd = vtr_memfd_create("bench", 2 * FRAME_BYTES);

	check(fd, "memfd");
	memset(content, 0x5a, 2 * FRAME_BYTES);
	check(pwrite(fd, content, 2 * FRAME_BYTES, 0) == 2 * FRAME_BYTES ? 0 : -EIO, "write");
	add_memory(frame.memory, fd, device);
	memcpy(frame.source, content, FRAME_BYTES);
	memset(frame.target, 1, FRAME_BYTES);
	/* Every second range, so that nothing merges. */
	for (size_t i = 0; i < count; i++) {
		size_t pages = i + 1 < count ? range_pages : FRAME_PAGES - i * range_pages;

		entries[i] = (struct vtr_mem_entry){ .address = 2 * i * range_pages * PAGE, .length = (uint32_t)(pages * PAGE) };
	}
	shuffle(entries, count);
	check(vtr_spans_resolve(&frame.spans, frame.memory, entries, count, NULL), "resolve");
	free(entries);
	free(content);
	return frame;
}

static void free_frame(struct frame *frame)
{
	vtr_spans_finish(&frame->spans);
	vtr_memory_destroy(frame->memory);
	free(frame->source);
	free(frame->target);
}

static double time_memcpy(struct frame *frame)
{
	uint64_t start = vtr_now_ns();

	memcpy(frame->target, frame->source, FRAME_BYTES);
	__asm__ volatile("" : : "r"(frame->target) : "memory");
	return (double)(vtr_now_ns() - start);
}

/* What gathering would be with the library's copy, range by range, and without looking ahead. */
static double time_pieces(struct frame *frame)
{
	uint64_t start = vtr_now_ns();

	for (size_t i = 0; i < frame->spans.count; i++) {
		const struct vtr_span *span = &frame->spans.items[i];

		memcpy(frame->target + span->start, span->region->data + span->offset, span->length);
	}
	__asm__ volatile("" : : "r"(frame->target) : "memory");
	return (double)(vtr_now_ns() - start);
}

/* width pixels of each row, as damage of that width is read. */
static double time_gather(struct frame *frame, size_t width)
{
	uint64_t start = vtr_now_ns();

	check(vtr_spans_gather(&frame->spans, 0, FRAME_STRIDE, FRAME_HEIGHT, width * 4, frame->target, width * 4), "gather");
	return (double)(vtr_now_ns() - start);
}

static void print_gather(const char *how, size_t spans, double ns, double plain)
{
	char name[64];

	snprintf(name, sizeof(name), "gather 4K%s, %zu span%s", how, spans, spans > 1 ? "s" : "");
	print(name, ns / 1e6, "ms", ns / plain, "memcpy");
}

static void bench_gather(size_t range_pages)
{
	struct frame frame = make_frame(range_pages, false), device = make_frame(range_pages, true);
	double best[5] = { 0 };

	for (unsigned round = 0; round < ROUNDS; round++) {
		double ns[] = { time_memcpy(&frame), time_gather(&frame, FRAME_WIDTH), time_gather(&frame, FRAME_WIDTH - 1),
			        time_pieces(&frame), time_gather(&device, FRAME_WIDTH) };

		for (unsigned i = 0; i < 5; i++)
			best[i] = round && best[i] < ns[i] ? best[i] : ns[i];
	}
	print_gather("", frame.spans.count, best[1], best[0]);
	print_gather(" by rows", frame.spans.count, best[2], best[0]);
	print_gather(" without looking ahead", frame.spans.count, best[3], best[0]);
	/* in cached memory here: what its copy costs, not what a device does */
	print_gather(" as a device's", device.spans.count, best[4], best[0]);
	free_frame(&frame);
	free_frame(&device);
}

static void bench_view(size_t range_pages)
{
	struct frame frame = make_frame(range_pages, false);
	double plain = 0, make = 0, first = 0, again = 0;
	char name[64];

	for (unsigned round = 0; round < ROUNDS; round++) {
		double copy = time_memcpy(&frame);
		uint64_t t0 = vtr_now_ns();
		struct vtr_view *view = vtr_view_create(&frame.spans, NULL);
		uint64_t t1 = vtr_now_ns();

		if (!view || vtr_view_is_copy(view))
			check(-ENOMEM, "view");
		memcpy(frame.target, vtr_view_data(view), FRAME_BYTES);
		uint64_t t2 = vtr_now_ns();
		memcpy(frame.target, vtr_view_data(view), FRAME_BYTES);
		uint64_t t3 = vtr_now_ns();
		vtr_view_destroy(view);
		plain = round && plain < copy ? plain : copy;
		make = round && make < (double)(t1 - t0) ? make : (double)(t1 - t0);
		first = round && first < (double)(t2 - t1) ? first : (double)(t2 - t1);
		again = round && again < (double)(t3 - t2) ? again : (double)(t3 - t2);
	}
	const char *plural = frame.spans.count > 1 ? "s" : "";
	snprintf(name, sizeof(name), "view 4K, make, %zu span%s", frame.spans.count, plural);
	print(name, make / 1e6, "ms", make / plain, "memcpy");
	snprintf(name, sizeof(name), "view 4K, first read, %zu span%s", frame.spans.count, plural);
	print(name, first / 1e6, "ms", first / plain, "memcpy");
	snprintf(name, sizeof(name), "view 4K, next read, %zu span%s", frame.spans.count, plural);
	print(name, again / 1e6, "ms", again / plain, "memcpy");
	free_frame(&frame);
}

int main(int argc, char **argv)
{
	/* One range; 63, as the Linux driver made of a BAR; one per page. */
	static const size_t range_pages[] = { FRAME_PAGES, (FRAME_PAGES + 62) / 63, 1 };

	as_json = argc == 2 && !strcmp(argv[1], "--json");
	if (argc > 1 && !as_json) {
		fprintf(stderr, "usage: %s [--json]\n", argv[0]);
		return 2;
	}
	if (as_json)
		printf("[");
	bench_resolving();
	for (size_t i = 0; i < sizeof(range_pages) / sizeof(range_pages[0]); i++)
		bench_gather(range_pages[i]);
	for (size_t i = 0; i < sizeof(range_pages) / sizeof(range_pages[0]); i++)
		bench_view(range_pages[i]);
	if (as_json)
		printf("\n]\n");
	return 0;
}
