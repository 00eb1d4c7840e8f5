/* SPDX-License-Identifier: MIT */
#include "checks.h"

#include <drm.h>
#include <errno.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static int checks;

void check(bool ok, const char *name, const char *format, ...)
{
	va_list args;

	printf("%sok %d - %s\n", ok ? "" : "not ", ++checks, name);
	if (!ok) {
		va_start(args, format);
		printf("# ");
		vprintf(format, args);
		printf("\n");
		va_end(args);
	}
	fflush(stdout);
}

void check_error(const char *name, int result, const struct vtr_error *error, enum vtr_error_owner owner, int code)
{
	bool ok = result == -code && (code == 0 || (error->code == code && error->owner == owner));

	check(ok, name, "%d, not %d (%s: %s)", result, -code, vtr_error_owner_name(error->owner), error->text);
}

void must(bool ok, const char *what)
{
	if (ok)
		return;
	printf("Bail out! %s: %s\n", what, strerror(errno));
	exit(1);
}

void print_plan(void)
{
	printf("1..%d\n", checks);
	fflush(stdout);
}

void write_text(const char *path, const char *text)
{
	FILE *file = fopen(path, "we");

	must(file && fputs(text, file) >= 0 && fclose(file) == 0, path);
}

int import(int card, int dmabuf)
{
	struct drm_prime_handle prime = { .fd = dmabuf };

	if (ioctl(card, DRM_IOCTL_PRIME_FD_TO_HANDLE, &prime) < 0)
		return -errno;
	struct drm_gem_close gem = { .handle = prime.handle };
	return ioctl(card, DRM_IOCTL_GEM_CLOSE, &gem) < 0 ? -errno : 0;
}

uint64_t config_offset(int device)
{
	struct vfio_region_info info = { .argsz = sizeof(info), .index = VFIO_PCI_CONFIG_REGION_INDEX };

	must(ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &info) == 0, "region info");
	return info.offset;
}

void set_decoding(int device, bool on)
{
	off_t at = (off_t)config_offset(device) + PCI_COMMAND;
	uint16_t command;

	must(pread(device, &command, sizeof(command), at) == sizeof(command), "read the command register");
	command = (uint16_t)(on ? command | PCI_COMMAND_MEMORY : command & ~PCI_COMMAND_MEMORY);
	must(pwrite(device, &command, sizeof(command), at) == sizeof(command), "write the command register");
}
