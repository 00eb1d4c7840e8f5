/* SPDX-License-Identifier: MIT */
/*
 * udmabuf-limits: udmabuf's rules and limits in a real kernel, and what the library makes of them; as root in a small guest with a
 * DRM card. Prints one TAP line a check.
 *
 *   udmabuf-limits CARD
 *
 * The kernel's rules are checked by ioctls of our own, because the library asks nothing that breaks them; the limits, which an
 * admin can raise, go through the library, which has to name them.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/udmabuf.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <vitrine/dmabuf.h>
#include <vitrine/memory.h>

#include "checks.h"

#define LIST_LIMIT "/sys/module/udmabuf/parameters/list_limit"
#define SIZE_LIMIT "/sys/module/udmabuf/parameters/size_limit_mb"

enum { PAGE = 4096, FILE_SIZE = 4 << 20, DEFAULT_LIST_LIMIT = 1024 };

static int memory_file(unsigned seals)
{
	int fd = memfd_create("memory", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	must(fd >= 0 && ftruncate(fd, FILE_SIZE) == 0 && fcntl(fd, F_ADD_SEALS, seals) == 0, "memfd");
	return fd;
}

/* ---- the kernel's rules ---- */

static int create(int device, const struct udmabuf_create_item *items, uint32_t count)
{
	struct udmabuf_create_list *list = calloc(1, sizeof(*list) + count * sizeof(*items));

	must(list, "memory");
	list->flags = UDMABUF_FLAGS_CLOEXEC;
	list->count = count;
	if (count)
		memcpy(list->list, items, count * sizeof(*items));
	int result = ioctl(device, UDMABUF_CREATE_LIST, list);
	if (result < 0)
		result = -errno;
	free(list);
	return result;
}

enum { SEALED, UNSEALED, READ_ONLY, PLAIN_FILE, N_FILES };

static const struct rule {
	const char *name;
	unsigned file;
	struct {
		uint64_t offset, size;
	} pieces[2];
	uint32_t count;
	int code;
} rules[] = {
	{ "one piece", SEALED, { { 0, PAGE } }, 1, 0 },
	{ "pieces backwards", SEALED, { { PAGE, PAGE }, { 0, PAGE } }, 2, 0 },
	{ "the same piece twice", SEALED, { { 0, PAGE }, { 0, PAGE } }, 2, 0 },
	{ "no pieces", SEALED, { { 0 } }, 0, EINVAL },
	{ "no size", SEALED, { { 0, 0 } }, 1, EINVAL },
	{ "offset off page", SEALED, { { 512, PAGE } }, 1, EINVAL },
	{ "size off page", SEALED, { { 0, 512 } }, 1, EINVAL },
	{ "beyond the file", SEALED, { { FILE_SIZE - PAGE, 2 * PAGE } }, 1, EINVAL },
	{ "without F_SEAL_SHRINK", UNSEALED, { { 0, PAGE } }, 1, EINVAL },
	{ "with F_SEAL_WRITE", READ_ONLY, { { 0, PAGE } }, 1, EINVAL },
	{ "no memfd", PLAIN_FILE, { { 0, PAGE } }, 1, EBADFD },
};

static void check_rules(int device)
{
	const int files[N_FILES] = { memory_file(F_SEAL_SHRINK), memory_file(0), memory_file(F_SEAL_SHRINK | F_SEAL_WRITE),
		                     open("/dev/zero", O_RDWR | O_CLOEXEC) };

	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
		const struct rule *rule = &rules[i];
		struct udmabuf_create_item items[2] = { 0 };
		char name[96];

		for (uint32_t piece = 0; piece < rule->count; piece++)
			items[piece] = (struct udmabuf_create_item){ .memfd = (uint32_t)files[rule->file],
				                                     .offset = rule->pieces[piece].offset,
				                                     .size = rule->pieces[piece].size };
		int result = create(device, items, rule->count);
		snprintf(name, sizeof(name), "udmabuf: %s: %s", rule->name, rule->code ? strerrorname_np(rule->code) : "yes");
		check(rule->code ? result == -rule->code : result >= 0, name, "%s", result < 0 ? strerror(-result) : "success");
		if (result >= 0)
			close(result);
	}
	for (unsigned i = 0; i < N_FILES; i++)
		close(files[i]);
}

/* ---- the library: scattered pages of one file ---- */

/* A udmabuf of count single pages, none beside another, then pages more in one piece: the fd or -errno. */
static int scattered(uint32_t count, uint32_t pages, struct vtr_error *error)
{
	struct vtr_memory *memory = vtr_memory_create();
	struct vtr_mem_entry *entries = calloc(count + 1, sizeof(*entries));
	struct vtr_spans spans = { 0 };
	int file = memory_file(F_SEAL_SHRINK | F_SEAL_GROW);

	must(memory && entries && vtr_memory_add(memory, 0, FILE_SIZE, file, 0, true) == 0, "memory");
	for (uint32_t i = 0; i < count; i++)
		entries[i] = (struct vtr_mem_entry){ .address = (uint64_t)(i * 37 % 512) * 2 * PAGE, .length = PAGE };
	entries[count] = (struct vtr_mem_entry){ .address = 0, .length = pages * PAGE };
	must(vtr_spans_resolve(&spans, memory, entries, count + (pages != 0), error) == 0, "resolve");
	int fd = vtr_udmabuf_create(&spans, error);
	vtr_spans_finish(&spans);
	vtr_memory_destroy(memory);
	free(entries);
	return fd;
}

static void check_made(int card, uint32_t count)
{
	struct vtr_error error = { 0 };
	int fd = scattered(count, 0, &error);
	char name[96];

	snprintf(name, sizeof(name), "udmabuf: %u pages, none beside another, are one dmabuf", count);
	check(fd >= 0 && vtr_dmabuf_size(fd) == (uint64_t)count * PAGE, name, "%s", error.text);
	int code = fd < 0 ? fd : import(card, fd);
	snprintf(name, sizeof(name), "udmabuf: a card imports %u pages", count);
	check(code == 0, name, "%s", strerror(-code));
	if (fd >= 0)
		close(fd);
}

/* A limit that is hit: HOST E2BIG, and the message has the file and the value that would do. */
static void check_refused(const char *name, uint32_t count, uint32_t pages, const char *path, const char *value)
{
	struct vtr_error error = { 0 };
	int result = scattered(count, pages, &error);
	char named[128];

	check_error(name, result, &error, VTR_ERROR_HOST, E2BIG);
	snprintf(named, sizeof(named), "%s: the message says what to write where", name);
	check(strstr(error.text, path) && strstr(error.text, value), named, "%s", error.text);
}

static void check_limits(int card)
{
	check_made(card, DEFAULT_LIST_LIMIT);
	check_refused("udmabuf: one piece more than list_limit", DEFAULT_LIST_LIMIT + 1, 0, LIST_LIMIT, "echo 1025");
	write_text(LIST_LIMIT, "2048");
	check_made(card, DEFAULT_LIST_LIMIT + 1); // what the message told to do, and no new process
	write_text(LIST_LIMIT, "1024");
	write_text(SIZE_LIMIT, "2");
	check_refused("udmabuf: a page more than size_limit_mb", 1, 512, SIZE_LIMIT, "echo 3");
	struct vtr_error error = { 0 };
	int fd = scattered(1, 511, &error);
	check(fd >= 0, "udmabuf: exactly size_limit_mb", "%s", error.text);
	close(fd);
}

/* ---- the library: a udmabuf as somebody else's memory ---- */

static void check_cpu_map(int device)
{
	int file = memory_file(F_SEAL_SHRINK);
	const struct udmabuf_create_item items[] = { { .memfd = (uint32_t)file, .offset = PAGE, .size = PAGE },
		                                     { .memfd = (uint32_t)file, .offset = 0, .size = PAGE } };
	struct vtr_memory *memory = vtr_memory_create();
	int fd = create(device, items, 2);
	struct vtr_dmabuf_cpu cpu;
	char first[8] = "", second[8] = "";

	must(memory && fd >= 0 && pwrite(file, "second", 7, 0) == 7 && pwrite(file, "first", 6, PAGE) == 6, "udmabuf");
	check(vtr_dmabuf_probe_cpu(fd, &cpu) == 0, "udmabuf: the CPU may map it", "%s", cpu.why_not.text);
	check(cpu.attributes == 0, "udmabuf: it knows no other way to be mapped", "%#x", cpu.attributes);
	must(vtr_memory_add(memory, 0x10000, 2 * PAGE, fd, 0, true) == 0, "window");
	const struct vtr_region *region = vtr_memory_region(memory, 0);
	check(region->kind == VTR_REGION_WINDOW && region->data, "udmabuf: a window with CPU access", "%s, %s",
	      vtr_region_kind_name(region->kind), vtr_region_why_no_cpu(region));
	int error = vtr_memory_read(memory, 0x10000, first, 6);
	if (!error)
		error = vtr_memory_read(memory, 0x10000 + PAGE, second, 7);
	check(!error && !strcmp(first, "first") && !strcmp(second, "second"), "udmabuf: the window reads as the file's pages",
	      "%s: '%s', '%s'", strerror(-error), first, second);
	vtr_memory_destroy(memory);
	close(file);
}

int main(int argc, char **argv)
{
	int device = open("/dev/udmabuf", O_RDWR | O_CLOEXEC), card = argc == 2 ? open(argv[1], O_RDWR | O_CLOEXEC) : -1;
	struct vtr_error error = { 0 };

	must(argc == 2, "udmabuf-limits CARD");
	must(device >= 0, "/dev/udmabuf");
	must(card >= 0, argv[1]);
	check_rules(device);
	check(vtr_udmabuf_probe(&error) == 0, "udmabuf: the library finds the device", "%s", error.text);
	check_limits(card);
	check_cpu_map(device);
	print_plan();
	return 0;
}
