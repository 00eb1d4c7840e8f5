/* SPDX-License-Identifier: MIT */
/*
 * vfio-errnos: the VFIO part of the library against a real kernel, as root in a small guest with two emulated devices bound to
 * vfio-pci and a DRM card that imports device memory. Prints one TAP line a check; what it measures goes into comment lines.
 *
 *   vfio-errnos MEMORY-BDF RESET-BDF TEST-BDF CARD
 *   vfio-errnos MEMORY-BDF CARD      where the card is behind an IOMMU that translates
 *
 * MEMORY-BDF: a device whose BAR 2 is 64 MiB of plain memory (ivshmem-plain). RESET-BDF: one that can be reset (nvme). TEST-BDF:
 * one with an I/O BAR 1 (pci-testdev).
 *
 * The kernel's rules are checked by ioctls of our own, because the library asks nothing that breaks them; what remains goes through
 * the library.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/pci_regs.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <vitrine/dmabuf.h>
#include <vitrine/limits.h>
#include <vitrine/loop.h>
#include <vitrine/vfio.h>

#include "checks.h"
#include "vfio/uapi.h"

enum { PAGE = 4096, MEMORY_BAR = 2, BAR_SIZE = 64 << 20, MANY = 100000, ROUNDS = 5, RESETS = 5 };

/* ---- the kernel's rules, asked without the library ---- */

struct head { // of struct vtr_vfio_feature_dma_buf
	uint32_t region_index, open_flags, flags, nr_ranges;
};

/* VFIO_DEVICE_FEATURE with count ranges, whatever the request says of them: what the ioctl returns, or -errno. */
static int raw_export(int device, uint32_t operation, struct head request, const struct vtr_vfio_dma_range *ranges, uint32_t count)
{
	size_t size = sizeof(struct vfio_device_feature) + sizeof(request) + count * sizeof(*ranges);
	struct vfio_device_feature *feature = calloc(1, size);

	must(feature, "memory");
	feature->argsz = (uint32_t)size;
	feature->flags = operation | VTR_VFIO_FEATURE_DMA_BUF;
	memcpy(feature->data, &request, sizeof(request));
	if (count)
		memcpy(feature->data + sizeof(request), ranges, count * sizeof(*ranges));
	int result = ioctl(device, VFIO_DEVICE_FEATURE, feature);
	if (result < 0)
		result = -errno;
	free(feature);
	return result;
}

enum { GET = VFIO_DEVICE_FEATURE_GET, SET = VFIO_DEVICE_FEATURE_SET, PROBE = VFIO_DEVICE_FEATURE_PROBE };
#define FLAGS (O_RDWR | O_CLOEXEC)

static const struct rule {
	const char *name;
	uint32_t operation;
	struct head request;
	struct vtr_vfio_dma_range ranges[2];
	uint32_t count;
	int code;
} rules[] = {
	{ "probe", PROBE | GET, { 0 }, { { 0 } }, 0, 0 },
	{ "one range", GET, { 2, FLAGS, 0, 1 }, { { 0, PAGE } }, 1, 0 },
	{ "the whole BAR", GET, { 2, FLAGS, 0, 1 }, { { 0, BAR_SIZE } }, 1, 0 },
	{ "the same range twice", GET, { 2, FLAGS, 0, 2 }, { { 0, PAGE }, { 0, PAGE } }, 2, 0 },
	{ "overlapping ranges", GET, { 2, FLAGS, 0, 2 }, { { 0, 2 * PAGE }, { PAGE, PAGE } }, 2, 0 },
	{ "ranges backwards", GET, { 2, FLAGS, 0, 2 }, { { PAGE, PAGE }, { 0, PAGE } }, 2, 0 },
	{ "read-only open flags", GET, { 2, O_RDONLY | O_CLOEXEC, 0, 1 }, { { 0, PAGE } }, 1, 0 },
	{ "no ranges", GET, { 2, FLAGS, 0, 0 }, { { 0 } }, 0, EINVAL },
	{ "flags", GET, { 2, FLAGS, 1, 1 }, { { 0, PAGE } }, 1, EINVAL },
	{ "no length", GET, { 2, FLAGS, 0, 1 }, { { 0, 0 } }, 1, EINVAL },
	{ "offset off page", GET, { 2, FLAGS, 0, 1 }, { { 512, PAGE } }, 1, EINVAL },
	{ "length off page", GET, { 2, FLAGS, 0, 1 }, { { 0, 512 } }, 1, EINVAL },
	{ "second off page", GET, { 2, FLAGS, 0, 2 }, { { 0, PAGE }, { PAGE, 100 } }, 2, EINVAL },
	{ "beyond the BAR", GET, { 2, FLAGS, 0, 1 }, { { BAR_SIZE - PAGE, 2 * PAGE } }, 1, EINVAL },
	{ "behind the BAR", GET, { 2, FLAGS, 0, 1 }, { { BAR_SIZE, PAGE } }, 1, EINVAL },
	{ "set", SET, { 2, FLAGS, 0, 1 }, { { 0, PAGE } }, 1, EINVAL },
	{ "region 6", GET, { 6, FLAGS, 0, 1 }, { { 0, PAGE } }, 1, ENODEV },
	{ "the configuration space", GET, { 7, FLAGS, 0, 1 }, { { 0, PAGE } }, 1, ENODEV },
	{ "an absent BAR", GET, { 5, FLAGS, 0, 1 }, { { 0, PAGE } }, 1, ENODEV },
	{ "wraps", GET, { 2, FLAGS, 0, 1 }, { { UINT64_MAX - PAGE + 1, 2 * PAGE } }, 1, EOVERFLOW },
};

static void check_rules(int device)
{
	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
		const struct rule *rule = &rules[i];
		int result = raw_export(device, rule->operation, rule->request, rule->ranges, rule->count);
		char name[96];

		snprintf(name, sizeof(name), "kernel: %s: %s", rule->name, rule->code ? strerrorname_np(rule->code) : "yes");
		check(rule->code ? result == -rule->code : result >= 0, name, "%s", result < 0 ? strerror(-result) : "success");
		if (result > 0)
			close(result);
	}
	struct vfio_device_feature unknown = { .argsz = sizeof(unknown), .flags = PROBE | GET | 0xfff0 };
	int result = ioctl(device, VFIO_DEVICE_FEATURE, &unknown);
	check(result < 0 && errno == ENOTTY, "kernel: a feature that it does not have: ENOTTY", "%s", strerror(errno));
}

static void check_too_many(int device)
{
	struct vtr_vfio_dma_range *ranges = calloc(VTR_MAX_ENTRIES + 1, sizeof(*ranges));
	struct head request = { MEMORY_BAR, FLAGS, 0, VTR_MAX_ENTRIES };

	must(ranges, "memory");
	for (unsigned i = 0; i <= VTR_MAX_ENTRIES; i++)
		ranges[i] = (struct vtr_vfio_dma_range){ (uint64_t)(i % 8192 * 2) * PAGE, PAGE };
	int fd = raw_export(device, GET, request, ranges, VTR_MAX_ENTRIES);
	check(fd >= 0, "kernel: 262144 ranges: yes", "%s", strerror(-fd));
	close(fd);
	request.nr_ranges++;
	fd = raw_export(device, GET, request, ranges, VTR_MAX_ENTRIES + 1);
	check(fd == -ENOMEM, "kernel: 262145 ranges: ENOMEM", "%s", fd < 0 ? strerror(-fd) : "success");
	free(ranges);
}

/* ---- full tables, through the library ---- */

static void check_open_files(struct vtr_vfio_device *device)
{
	const struct vtr_vfio_range range = { MEMORY_BAR, 0, PAGE };
	struct vtr_error error = { 0 };
	struct rlimit limit, few;

	must(getrlimit(RLIMIT_NOFILE, &limit) == 0, "getrlimit");
	few = limit;
	few.rlim_cur = 3; // all below are open
	must(setrlimit(RLIMIT_NOFILE, &few) == 0, "setrlimit");
	int fd = vtr_vfio_device_create_dmabuf(device, &range, 1, &error);
	setrlimit(RLIMIT_NOFILE, &limit);
	check_error("no fd is free: HOST EMFILE", fd, &error, VTR_ERROR_HOST, EMFILE);
}

/* Root may open files beyond the limit, so this is done without that right, by a child. Its exit status is the errno. The kernel
 * counts files in batches for each processor, and sees the limit reached only when there are some more. */
static int errno_of_full_table(struct vtr_vfio_device *device, struct vtr_error *error)
{
	const struct vtr_vfio_range range = { MEMORY_BAR, 0, PAGE };
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	for (unsigned i = 0; i < 500; i++)
		open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (syscall(SYS_capget, &header, data) < 0)
		return 0;
	data[0].effective &= ~(1u << CAP_SYS_ADMIN);
	if (syscall(SYS_capset, &header, data) < 0)
		return 0;
	int fd = vtr_vfio_device_create_dmabuf(device, &range, 1, error);
	return fd < 0 && error->owner == VTR_ERROR_HOST ? -fd : 0;
}

static void check_file_table(struct vtr_vfio_device *device)
{
	struct vtr_error error = { 0 };
	int status = 0;

	write_text("/proc/sys/fs/file-max", "1");
	fflush(stdout);
	pid_t child = fork();
	if (!child)
		_exit(errno_of_full_table(device, &error));
	waitpid(child, &status, 0);
	write_text("/proc/sys/fs/file-max", "100000");
	check(WIFEXITED(status) && WEXITSTATUS(status) == ENFILE, "the file table is full: HOST ENFILE", "status 0x%x", status);
}

/* ---- dmabufs of many ranges ---- */

static void fill_ranges(struct vtr_vfio_range *ranges, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		ranges[i] = (struct vtr_vfio_range){ MEMORY_BAR, (uint64_t)(i * 37 % 8192 * 2) * PAGE, PAGE };
}

static double kernel_ns(int device, const struct vtr_vfio_range *ranges, unsigned count)
{
	struct vtr_vfio_dma_range *copy = calloc(count, sizeof(*copy));

	must(copy, "memory");
	for (unsigned i = 0; i < count; i++)
		copy[i] = (struct vtr_vfio_dma_range){ ranges[i].offset, ranges[i].length };
	uint64_t start = vtr_now_ns();
	int fd = raw_export(device, GET, (struct head){ MEMORY_BAR, FLAGS, 0, count }, copy, count);
	double ns = (double)(vtr_now_ns() - start);
	must(fd >= 0, "export");
	close(fd);
	free(copy);
	return ns;
}

static void check_ranges(struct vtr_vfio_device *device, int device_fd, unsigned count)
{
	struct vtr_vfio_range *ranges = calloc(count, sizeof(*ranges));
	struct vtr_error error = { 0 };
	double ours = 0, kernel = 0;
	char name[64];
	int fd = -1;

	must(ranges, "memory");
	fill_ranges(ranges, count);
	for (unsigned round = 0; round < ROUNDS; round++) {
		if (fd >= 0)
			close(fd);
		uint64_t start = vtr_now_ns();
		fd = vtr_vfio_device_create_dmabuf(device, ranges, count, &error);
		double ns = (double)(vtr_now_ns() - start);
		ours = round && ours < ns ? ours : ns;
		ns = kernel_ns(device_fd, ranges, count);
		kernel = round && kernel < ns ? kernel : ns;
	}
	snprintf(name, sizeof(name), "%u ranges are one dmabuf", count);
	check(fd >= 0 && lseek(fd, 0, SEEK_END) == (off_t)count * PAGE, name, "%s", error.text);
	printf("# figure: %u ranges: %.0f us in all, %.0f us of them the kernel's; %.0f ranges/s\n", count, ours / 1e3,
	       kernel / 1e3, count * 1e9 / ours);
	/* a sanitizer's build needs 15 times as long as the kernel, ours 5 times; what is not linear would be far above that */
	snprintf(name, sizeof(name), "%u ranges: the time is linear in their number", count);
	check(ours < 50 * kernel, name, "%.0f us and %.0f us of the kernel's", ours / 1e3, kernel / 1e3);
	close(fd);
	free(ranges);
}

static void check_dmabuf(struct vtr_vfio_device *device)
{
	const struct vtr_vfio_range range = { MEMORY_BAR, PAGE, PAGE + 100 };
	char path[64], text[512] = "", link[64] = "";
	struct vtr_error error = { 0 };
	int fd = vtr_vfio_device_create_dmabuf(device, &range, 1, &error);

	must(fd >= 0, error.text);
	check(fcntl(fd, F_GETFD) == FD_CLOEXEC, "the dmabuf is CLOEXEC", "it is not");
	check(lseek(fd, 0, SEEK_END) == 2 * PAGE, "a tail gets its whole page", "%ld bytes", (long)lseek(fd, 0, SEEK_END));
	void *map = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
	check(map == MAP_FAILED && errno == EINVAL, "no CPU access: mmap is EINVAL", "%s",
	      map == MAP_FAILED ? strerror(errno) : "mapped");
	struct vtr_dmabuf_cpu cpu;
	int probed = vtr_dmabuf_probe_cpu(fd, &cpu);
	check(probed == -EINVAL && cpu.why_not.owner == VTR_ERROR_UNSUPPORTED, "no CPU access: the library says why", "%d: %s",
	      probed, cpu.why_not.text);
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	FILE *file = fopen(path, "re");
	must(file, path);
	check(fread(text, 1, sizeof(text) - 1, file) > 0 && strstr(text, "vfio_pci_core"), "its exporter is vfio_pci_core", "%s",
	      text);
	fclose(file);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	check(readlink(path, link, sizeof(link) - 1) > 0 && strncmp(link, "/dmabuf", 7) == 0, "it is a dmabuf", "%s", link);
	close(fd);
}

/* ---- importing and revoking ---- */

/* A dmabuf of count ranges, imported. Returns it. */
static int check_import(struct vtr_vfio_device *device, int card, unsigned count)
{
	struct vtr_vfio_range *ranges = calloc(count, sizeof(*ranges));
	char name[64];

	must(ranges, "memory");
	fill_ranges(ranges, count);
	int fd = vtr_vfio_device_create_dmabuf(device, ranges, count, NULL), code = import(card, fd);
	snprintf(name, sizeof(name), "a card imports %u ranges", count);
	check(code == 0, name, "%s", strerror(-code));
	free(ranges);
	return fd;
}

static void check_decoding(struct vtr_vfio_devices *devices, struct vtr_vfio_device *device, int device_fd, int card, int dmabuf)
{
	const struct vtr_vfio_range range = { MEMORY_BAR, 0, PAGE };
	const struct vtr_mem_entry entry = { .address = vtr_vfio_device_region(device, MEMORY_BAR)->address, .length = PAGE };
	struct vtr_error error = { 0 };

	set_decoding(device_fd, false);
	int code = import(card, dmabuf);
	check(code == -ENODEV, "decoding off: an importer gets ENODEV", "%s", strerror(-code));
	check_error("decoding off: that is REVOKED", vtr_vfio_import_error(&error, -code, 1), &error, VTR_ERROR_REVOKED, ENODEV);
	int born = vtr_vfio_device_create_dmabuf(device, &range, 1, &error);
	check(born >= 0 && import(card, born) == -ENODEV, "decoding off: a dmabuf is made, revoked", "%s", error.text);
	check(vtr_vfio_devices_refresh(devices), "decoding off: the BAR has no address", "it has");
	check_error("decoding off: entries in the BAR are REVOKED",
	            vtr_vfio_devices_dmabuf_from_entries(devices, &entry, 1, &error), &error, VTR_ERROR_REVOKED, ENODEV);
	set_decoding(device_fd, true);
	check(import(card, dmabuf) == 0, "decoding on again: the old dmabuf is back", "%s", strerror(-import(card, dmabuf)));
	check(import(card, born) == 0, "decoding on again: so is the one made meanwhile", "%s", strerror(-import(card, born)));
	int fd = vtr_vfio_devices_dmabuf_from_entries(devices, &entry, 1, &error);
	check(fd >= 0, "decoding on again: entries are found", "%s", error.text);
	close(fd);
	close(born);
}

/* Imports for a while and tells what happened: bit 0 it worked, bit 1 ENODEV, bit 2 anything else. */
static int watch_imports(int card, int dmabuf)
{
	uint64_t end = vtr_now_ns() + UINT64_C(3000000000);
	int seen = 0;

	while (vtr_now_ns() < end) {
		int code = import(card, dmabuf);

		seen |= code == 0 ? 1 : code == -ENODEV ? 2 : 4;
	}
	return seen;
}

/* Where the power management capability's control register is, in the device's fd. */
static off_t power_register(int device)
{
	off_t config = (off_t)config_offset(device);
	uint8_t at = 0, capability[2] = { 0 };

	must(pread(device, &at, 1, config + PCI_CAPABILITY_LIST) == 1, "read the list of capabilities");
	for (unsigned left = 48; at && left; left--, at = capability[1]) {
		must(pread(device, capability, 2, config + at) == 2, "read a capability");
		if (capability[0] == PCI_CAP_ID_PM)
			return config + at + PCI_PM_CTRL;
	}
	must(false, "the device has no power management");
	return 0;
}

static void set_power(int device, uint16_t state)
{
	off_t at = power_register(device);
	uint16_t control;

	must(pread(device, &control, sizeof(control), at) == sizeof(control), "read the power register");
	control = (uint16_t)((control & ~PCI_PM_CTRL_STATE_MASK) | state);
	must(pwrite(device, &control, sizeof(control), at) == sizeof(control), "write the power register");
}

/* The guest puts its device to sleep and wakes it up. */
static void check_sleep(int device, int card, int dmabuf)
{
	set_power(device, 3);
	int code = import(card, dmabuf);
	check(code == -ENODEV, "D3hot: an importer gets ENODEV", "%s", strerror(-code));
	set_power(device, 0);
	code = import(card, dmabuf);
	check(code == 0, "D0 again: a card imports", "%s", strerror(-code));
}

static void check_reset(const char *bdf, int card)
{
	const struct vtr_vfio_range range = { 0, 0, PAGE };
	struct vtr_error error = { 0 };
	char text[64];
	int status = 0;

	snprintf(text, sizeof(text), "bdf=%s", bdf);
	int fd = vtr_vfio_acquire(text, &error);
	must(fd >= 0, error.text);
	int device_fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	struct vtr_vfio_device *device = vtr_vfio_device_create(fd, &error);
	must(device, error.text);
	int dmabuf = vtr_vfio_device_create_dmabuf(device, &range, 1, &error);
	must(dmabuf >= 0, error.text);
	int code = import(card, dmabuf);
	check(code == 0, "reset: a card imports before", "%s", strerror(-code));
	fflush(stdout);
	pid_t child = fork();
	if (!child)
		_exit(watch_imports(card, dmabuf));
	/* an importer that happens to wait through all of a reset (100 ms) sees nothing of it: several */
	for (unsigned i = 0; i < RESETS && !code; i++) {
		usleep(200000);
		code = ioctl(device_fd, VFIO_DEVICE_RESET) < 0 ? -errno : 0;
	}
	check(code == 0, "reset: the device is reset", "%s", strerror(-code));
	waitpid(child, &status, 0);
	check(WIFEXITED(status) && WEXITSTATUS(status) == 3, "reset: importers get ENODEV meanwhile, nothing else", "saw 0x%x",
	      WEXITSTATUS(status));
	code = import(card, dmabuf);
	check(code == 0, "reset: a card imports afterwards", "%s", strerror(-code));
	check_sleep(device_fd, card, dmabuf);
	close(device_fd);
	vtr_vfio_device_destroy(device);
	close(dmabuf);
}

/* ---- BAR addresses ---- */

static void check_addresses(struct vtr_vfio_devices *devices, struct vtr_vfio_device *device, int device_fd, const char *bdf)
{
	const struct vtr_vfio_region *bar = vtr_vfio_device_region(device, MEMORY_BAR);
	off_t at = (off_t)config_offset(device_fd) + PCI_BASE_ADDRESS_0 + 4 * MEMORY_BAR;
	unsigned long long start = 0;
	struct vtr_vfio_place place;
	uint32_t saved, moved = 0xd0000000;
	char path[128];

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/resource", bdf);
	FILE *file = fopen(path, "re");
	for (int i = 0; file && i <= MEMORY_BAR; i++)
		must(fscanf(file, "%llx %*x %*x", &start) == 1, path);
	if (file)
		fclose(file);
	check(bar->decoded && bar->address == start, "a BAR is where the machine has put it", "%d at 0x%llx, not 0x%llx",
	      bar->decoded, (unsigned long long)bar->address, start);
	must(pread(device_fd, &saved, sizeof(saved), at) == sizeof(saved), "read BAR 2");
	must(pwrite(device_fd, &moved, sizeof(moved), at) == sizeof(moved), "write BAR 2");
	check(vtr_vfio_devices_refresh(devices) && !vtr_vfio_devices_find(devices, start, &place) &&
	              vtr_vfio_devices_find(devices, moved + PAGE, &place) && place.bar == MEMORY_BAR && place.offset == PAGE,
	      "a BAR that the guest moves is followed", "0x%llx", (unsigned long long)bar->address);
	must(pwrite(device_fd, &saved, sizeof(saved), at) == sizeof(saved), "write BAR 2");
	vtr_vfio_devices_refresh(devices);
}

/* ---- getting the device ---- */

/* A process that opens the device, says so, and holds it. */
static pid_t start_holder(const char *bdf)
{
	char text[64], ready;
	int pipe_fds[2];

	must(pipe(pipe_fds) == 0, "pipe");
	fflush(stdout);
	pid_t child = fork();
	must(child >= 0, "fork");
	if (!child) {
		struct vtr_error error = { 0 };

		snprintf(text, sizeof(text), "bdf=%s", bdf);
		int fd = vtr_vfio_acquire(text, &error);
		if (fd < 0)
			fprintf(stderr, "# %s\n", error.text);
		if (fd < 0 || write(pipe_fds[1], "r", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	close(pipe_fds[1]);
	bool held = read(pipe_fds[0], &ready, 1) == 1;
	check(held, "bdf= opens a device by group and container", "it does not");
	close(pipe_fds[0]);
	return child;
}

/* A process without rights is told what it lacks: its exit status is 0 then. */
static int lacks_rights(const char *text)
{
	struct vtr_error error = { 0 };

	if (setgid(65534) < 0 || setuid(65534) < 0)
		return 2;
	int fd = vtr_vfio_acquire(text, &error);
	return fd < 0 && strstr(error.text, "CAP_SYS_PTRACE") && strstr(error.text, "belongs to user 0") ? 0 : 1;
}

/* The device's fd out of another process, which ends then. */
static int check_acquire(const char *bdf)
{
	pid_t holder = start_holder(bdf);
	struct vtr_error error = { 0 };
	char text[64];
	int status = 0;

	snprintf(text, sizeof(text), "bdf=%s", bdf);
	check_error("bdf= of a device that is held: EBUSY", vtr_vfio_acquire(text, &error), &error, VTR_ERROR_HOST, EBUSY);
	snprintf(text, sizeof(text), "pid=%d,device=0000:1f:1f.7", (int)holder);
	check_error("pid= of another device: ENODEV", vtr_vfio_acquire(text, &error), &error, VTR_ERROR_HOST, ENODEV);
	check(strstr(error.text, bdf), "pid= says what the process does hold", "%s", error.text);
	snprintf(text, sizeof(text), "pid=%d", (int)getpid());
	check_error("pid= of a process without a device: ENODEV", vtr_vfio_acquire(text, &error), &error, VTR_ERROR_HOST, ENODEV);
	snprintf(text, sizeof(text), "pid=%d,device=%s", (int)holder, bdf);
	fflush(stdout);
	pid_t stranger = fork();
	if (!stranger)
		_exit(lacks_rights(text));
	waitpid(stranger, &status, 0);
	check(WIFEXITED(status) && WEXITSTATUS(status) == 0, "pid= names the right that is missing", "status 0x%x", status);
	int fd = vtr_vfio_acquire(text, &error);
	check(fd >= 0, "pid= takes the device out of a process", "%s", error.text);
	kill(holder, SIGKILL);
	waitpid(holder, &status, 0);
	must(fd >= 0, "no device");
	snprintf(text, sizeof(text), "fd=%d", fd);
	check(vtr_vfio_acquire(text, &error) == fd, "fd= takes an inherited device", "%s", error.text);
	snprintf(text, sizeof(text), "fd=%d", STDOUT_FILENO);
	check_error("fd= of something else: ENODEV", vtr_vfio_acquire(text, &error), &error, VTR_ERROR_HOST, ENODEV);
	return fd;
}

static void check_other_device(const char *bdf)
{
	const struct vtr_vfio_range range = { 1, 0, PAGE };
	struct vtr_error error = { 0 };
	char text[64];

	snprintf(text, sizeof(text), "bdf=%s", bdf);
	int fd = vtr_vfio_acquire(text, &error);
	must(fd >= 0, error.text);
	int result = raw_export(fd, GET, (struct head){ 1, FLAGS, 0, 1 }, &(struct vtr_vfio_dma_range){ 0, PAGE }, 1);
	check(result == -EINVAL, "kernel: an I/O BAR: EINVAL", "%d", result);
	struct vtr_vfio_device *device = vtr_vfio_device_create(fd, &error);
	must(device, error.text);
	result = vtr_vfio_device_create_dmabuf(device, &range, 1, &error);
	check(result < 0 && error.owner == VTR_ERROR_GUEST, "an I/O BAR is the guest's error", "%d %s", result, error.text);
	vtr_vfio_device_destroy(device);
}

/* ---- host addresses, as an embedding VMM has them ---- */

static void check_iovec(struct vtr_vfio_devices *devices, struct vtr_vfio_device *device)
{
	const struct vtr_vfio_region *bar = vtr_vfio_device_region(device, MEMORY_BAR);
	uint8_t *host = mmap(NULL, bar->size, PROT_READ | PROT_WRITE, MAP_SHARED, bar->fd, (off_t)bar->offset);
	struct vtr_error error = { 0 };

	must(host != MAP_FAILED, "map BAR 2");
	must(vtr_vfio_device_add_mapping(device, MEMORY_BAR, 0, host, bar->size) == 0, "add the mapping");
	struct iovec iov[] = { { host + 4 * PAGE, PAGE }, { host + 5 * PAGE, PAGE }, { host, PAGE } };
	int fd = vtr_vfio_devices_dmabuf_from_iovec(devices, iov, 3, &error);
	check(fd >= 0 && lseek(fd, 0, SEEK_END) == 3 * PAGE, "host addresses in a mapped BAR are one dmabuf", "%s", error.text);
	close(fd);
	vtr_vfio_device_remove_mapping(device, host);
	munmap(host, bar->size);
}

/* ---- behind an IOMMU that translates ---- */

/* Kernels that map all ranges at one address there refuse the second; one that has learned it takes them. */
static void check_translated(const char *bdf, int card)
{
	const struct vtr_vfio_range ranges[] = { { MEMORY_BAR, 0, PAGE },
		                                 { MEMORY_BAR, PAGE, PAGE },
		                                 { MEMORY_BAR, 4 * PAGE, PAGE } };
	struct vtr_error error = { 0 };
	char text[64];

	snprintf(text, sizeof(text), "bdf=%s", bdf);
	int fd = vtr_vfio_acquire(text, &error);
	must(fd >= 0, error.text);
	struct vtr_vfio_device *device = vtr_vfio_device_create(fd, &error);
	must(device, error.text);
	int merged = vtr_vfio_device_create_dmabuf(device, ranges, 2, &error),
	    apart = vtr_vfio_device_create_dmabuf(device, ranges, 3, &error);
	must(merged >= 0 && apart >= 0, error.text);
	int code = import(card, merged);
	check(code == 0, "translated: neighbours are one range, which a card imports", "%s", strerror(-code));
	code = import(card, apart);
	check(code == 0 || code == -EADDRINUSE, "translated: two ranges are imported or EADDRINUSE", "%s", strerror(-code));
	printf("# figure: two ranges behind an IOMMU that translates: %s\n", code ? strerror(-code) : "imported");
	if (code)
		check(vtr_vfio_import_error(&error, -code, 2) == code && error.owner == VTR_ERROR_UNSUPPORTED &&
		              strstr(error.text, "iommu=pt"),
		      "translated: the error names the remedy", "%s", error.text);
	close(merged);
	close(apart);
	vtr_vfio_device_destroy(device);
	print_plan();
}

int main(int argc, char **argv)
{
	static const unsigned counts[] = { 1, 2, 63, 1024, MANY };
	struct vtr_error error = { 0 };

	must(argc == 5 || argc == 3, "vfio-errnos MEMORY-BDF [RESET-BDF TEST-BDF] CARD");
	int card = open(argv[argc - 1], O_RDWR | O_CLOEXEC);
	must(card >= 0, argv[argc - 1]);
	if (argc == 3) {
		check_translated(argv[1], card);
		return 0;
	}
	int fd = check_acquire(argv[1]);
	int device_fd = fcntl(fd, F_DUPFD_CLOEXEC, 3); // for what the library does not do
	struct vtr_vfio_device *device = vtr_vfio_device_create(fd, &error);
	must(device, error.text);
	struct vtr_vfio_devices *devices = vtr_vfio_devices_create();
	must(devices && vtr_vfio_devices_add(devices, device) == 0, "memory");
	check(strcmp(vtr_vfio_device_name(device), argv[1]) == 0, "the device knows its address", "%s",
	      vtr_vfio_device_name(device));
	check(vtr_vfio_device_capabilities(device) == (VTR_VFIO_DMA_BUF | VTR_VFIO_REGION_MMAP | VTR_VFIO_BAR_ADDRESSES),
	      "the device can all there is", "0x%x", vtr_vfio_device_capabilities(device));
	check_rules(device_fd);
	check_too_many(device_fd);
	check_open_files(device);
	check_file_table(device);
	check_dmabuf(device);
	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
		check_ranges(device, device_fd, counts[i]);
	check_iovec(devices, device);
	check_addresses(devices, device, device_fd, argv[1]);
	int dmabuf = -1;
	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		if (dmabuf >= 0)
			close(dmabuf);
		dmabuf = check_import(device, card, counts[i]);
	}
	check_decoding(devices, device, device_fd, card, dmabuf);
	check_reset(argv[2], card);
	check_other_device(argv[3]);
	vtr_vfio_devices_destroy(devices);
	int code = import(card, dmabuf);
	check(code == 0, "another fd keeps the device open: its dmabufs go on", "%s", strerror(-code));
	close(device_fd);
	code = import(card, dmabuf);
	check(code == -ENODEV, "the device is closed: importers get ENODEV for good", "%s", strerror(-code));
	print_plan();
	return 0;
}
