/* SPDX-License-Identifier: MIT */
/* The status as people read it: a line a fact, scanouts as blocks; colours on a terminal that wants them. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vitrinectl.h"

enum { LABEL_WIDTH = 20, MAX_REGIONS_SHOWN = 24 };

static struct {
	const char *bold, *good, *bad, *dim, *end;
} colours = { "", "", "", "", "" };

static void choose_colours(void)
{
	const char *no = getenv("NO_COLOR");

	if (!isatty(STDOUT_FILENO) || (no && *no))
		return;
	colours.bold = "\033[1m";
	colours.good = "\033[32m";
	colours.bad = "\033[33m";
	colours.dim = "\033[2m";
	colours.end = "\033[0m";
}

static const char *text(const json_t *object, const char *key)
{
	const char *value = json_string_value(json_object_get(object, key));

	return value ? value : "-";
}

static int64_t number(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

static bool truth(const json_t *object, const char *key)
{
	return json_is_true(json_object_get(object, key));
}

static void label(const char *name)
{
	printf("  %s%-*s%s ", colours.dim, LABEL_WIDTH, name, colours.end);
}

/* 64.0 MB */
static void print_size(int64_t bytes)
{
	static const char *const units[] = { "bytes", "KiB", "MiB", "GiB", "TiB" };
	double value = (double)bytes;
	size_t unit = 0;

	while (value >= 1024 && unit < 4) {
		value /= 1024;
		unit++;
	}
	printf("%.*f %s", unit ? 1 : 0, value, units[unit]);
}

static void print_features(const json_t *names)
{
	const json_t *name;
	size_t i;

	label("guest features");
	json_array_foreach (names, i, name)
		printf("%s%s", i ? " " : "", json_string_value(name));
	puts(json_array_size(names) ? "" : "none (no driver yet)");
}

static const char *fault(const json_t *region)
{
	if (!truth(region, "faulted"))
		return "";
	return strcmp(text(region, "kind"), "ram") ? " (revoked: the device is away)" : " (its file was truncated)";
}

static void print_regions(const json_t *regions)
{
	const json_t *region;
	int64_t bytes = 0;
	size_t i;

	json_array_foreach (regions, i, region)
		bytes += number(region, "size");
	label("memory");
	print_size(bytes);
	printf(" in %zu regions\n", json_array_size(regions));
	json_array_foreach (regions, i, region) {
		if (i == MAX_REGIONS_SHOWN) {
			printf("  %*s and %zu more\n", LABEL_WIDTH, "", json_array_size(regions) - i);
			break;
		}
		printf("  %*s %-18s ", LABEL_WIDTH, "", text(region, "address"));
		print_size(number(region, "size"));
		printf(" %s%s%s\n", text(region, "kind"), truth(region, "writable") ? "" : " read-only", fault(region));
	}
}

/* Device by device: what can be done with it, and where the guest has its BARs. */
static void print_device(const json_t *device)
{
	const json_t *bars = json_object_get(device, "bars"), *bar;
	size_t i;

	printf("%s%s", text(device, "name"), json_is_string(json_object_get(device, "no_dmabuf")) ? ": " : ", exports dmabufs\n");
	if (json_is_string(json_object_get(device, "no_dmabuf")))
		puts(text(device, "no_dmabuf"));
	json_array_foreach (bars, i, bar) {
		printf("  %*s BAR %" PRId64 " ", LABEL_WIDTH, "", number(bar, "bar"));
		print_size(number(bar, "size"));
		if (truth(bar, "decoded"))
			printf(" at %s", text(bar, "address"));
		else
			printf(", switched off");
		puts(number(bar, "mappable") ? "" : ", not mappable");
	}
}

static void print_devices(const json_t *devices)
{
	const json_t *device;
	size_t i;

	json_array_foreach (devices, i, device) {
		label(i ? "" : "assigned");
		print_device(device);
	}
}

static void print_awaited(const json_t *devices)
{
	const json_t *device;
	size_t i;

	json_array_foreach (devices, i, device) {
		label(i ? "" : "awaited");
		printf("%s: %s\n", text(device, "device"), text(device, "reason"));
	}
}

void ctl_print_assigned(const json_t *device)
{
	print_device(device);
}

static void print_path(const json_t *scanout)
{
	const json_t *refusals = json_object_get(scanout, "why_not"), *refusal;
	size_t i;

	label("path");
	printf("%s%s%s\n", json_array_size(refusals) ? colours.bad : colours.good, text(scanout, "path"), colours.end);
	json_array_foreach (refusals, i, refusal) {
		label(i ? "" : "  why not");
		printf("%s: %s\n", text(refusal, "path"), text(refusal, "reason"));
	}
}

/* What is to be said of the picture when it is not what the guest shows now. */
static const char *why_still(const json_t *scanout, bool vmm)
{
	if (truth(scanout, "frozen") && !vmm)
		return ", frozen: its VMM is gone, the last picture stays until another one comes";
	if (truth(scanout, "revoked"))
		return ", revoked: its memory is away for now, the last picture stays";
	return truth(scanout, "frozen") ? ", frozen: it has no memory yet" : "";
}

static void print_picture(const json_t *scanout, bool vmm)
{
	label("picture");
	if (!truth(scanout, "enabled")) {
		puts("none: the guest shows nothing here");
		return;
	}
	printf("%" PRId64 "x%" PRId64 " %s, resource %" PRId64 "%s\n", number(scanout, "width"), number(scanout, "height"),
	       text(scanout, "format"), number(scanout, "resource"), why_still(scanout, vmm));
	if (!truth(scanout, "frozen"))
		print_path(scanout);
}

static void print_cost(const json_t *scanout)
{
	const json_t *latency = json_object_get(scanout, "flush_to_present_us");
	int64_t frames = number(scanout, "frames");

	label("frames");
	printf("%" PRId64 ", %" PRId64 " dropped, %" PRId64 " timed out\n", frames, number(scanout, "dropped"),
	       number(scanout, "timeouts"));
	label("copied a frame");
	print_size(frames ? number(scanout, "bytes_copied") / frames : 0);
	putchar('\n');
	label("CPU a frame");
	printf("%.1f us\n", json_number_value(json_object_get(scanout, "cpu_us_per_frame")));
	label("flush to presented");
	printf("%" PRId64 " us median, %" PRId64 " us 99 %%\n", number(latency, "p50"), number(latency, "p99"));
}

/* A place for an output that may come. */
static bool is_free(const json_t *scanout)
{
	return !strcmp(text(scanout, "display"), "none") && !truth(scanout, "enabled");
}

static void print_scanout(const json_t *scanout, bool vmm)
{
	const json_t *output = json_object_get(scanout, "output");
	const char *lost = json_string_value(json_object_get(output, "lost"));

	printf("\n%sscanout %" PRId64 "%s %s on %s, %" PRId64 "x%" PRId64 " at %g Hz%s\n", colours.bold, number(scanout, "id"),
	       colours.end, text(scanout, "name"), text(scanout, "display"), number(output, "width"), number(output, "height"),
	       json_number_value(json_object_get(output, "refresh_hz")), truth(output, "connected") ? "" : " (not connected)");
	if (lost) {
		label("lost");
		printf("%s%s%s\n", colours.bad, lost, colours.end);
	}
	print_picture(scanout, vmm);
	if (number(scanout, "frames"))
		print_cost(scanout);
}

static void print_input(const json_t *input)
{
	const json_t *device, *led, *leds = json_object_get(input, "leds");
	size_t i;

	label("input");
	json_array_foreach (json_object_get(input, "devices"), i, device)
		printf("%s%s%s%s%s", i ? ", " : "", truth(device, "used") ? colours.good : colours.dim, text(device, "kind"),
		       colours.end, truth(device, "used") ? "" : " (no driver)");
	json_array_foreach (leds, i, led)
		printf("%s%s", i ? " " : "; LEDs: ", json_string_value(led));
	putchar('\n');
}

static void print_renderer(const json_t *renderer)
{
	int64_t lost = number(renderer, "lost");

	label("3D");
	fputs(text(renderer, "description"), stdout);
	if (json_is_integer(json_object_get(renderer, "pid")))
		printf(", in process %" PRId64, number(renderer, "pid"));
	else if (truth(renderer, "isolated"))
		fputs(", its process is started for the next context", stdout);
	putchar('\n');
	label("");
	printf("%" PRId64 " contexts, %" PRId64 " resources\n", number(renderer, "contexts"), number(renderer, "resources"));
	if (lost) {
		label("");
		printf("%slost %" PRId64 " times, at last: %s%s\n", colours.bad, lost, text(renderer, "lost_reason"), colours.end);
	}
}

/* What a vhost-user front-end has agreed to, and given. */
static void print_front_end(const json_t *front_end)
{
	const json_t *features = json_object_get(front_end, "protocol_features"), *name;
	const json_t *iotlb = json_object_get(front_end, "iotlb");
	size_t i;

	label("vhost-user");
	json_array_foreach (features, i, name)
		printf("%s%s", i ? " " : "", json_string_value(name));
	puts(json_array_size(features) ? "" : "no protocol features");
	label("");
	printf("%" PRId64 " memory slots, %zu rings running, %" PRId64 " messages, %" PRId64 " refused\n",
	       number(front_end, "memory_slots"), json_array_size(json_object_get(front_end, "rings")),
	       number(front_end, "messages"), number(front_end, "refused"));
	if (json_is_object(iotlb)) {
		label("IOTLB");
		printf("%" PRId64 " entries, %" PRId64 " hits, %" PRId64 " misses, %" PRId64 " updates, %" PRId64
		       " invalidations\n",
		       number(iotlb, "entries"), number(iotlb, "hits"), number(iotlb, "misses"), number(iotlb, "updates"),
		       number(iotlb, "invalidations"));
	}
	if (json_is_object(iotlb) && number(iotlb, "failures") + number(iotlb, "timeouts")) {
		label("");
		printf("%" PRId64 " misses refused, %" PRId64 " not answered, %" PRId64 " accesses not permitted\n",
		       number(iotlb, "failures"), number(iotlb, "timeouts"), number(iotlb, "access_failures"));
	}
}

void ctl_print_status(const json_t *status)
{
	const json_t *front_end = json_object_get(status, "vhost_user");
	const json_t *connection = front_end ? front_end : json_object_get(status, "vfio_user");
	const json_t *scanouts = json_object_get(status, "scanouts"), *scanout;
	bool vmm = !connection || truth(connection, "connected");
	size_t i;

	choose_colours();
	printf("%svitrine %s%s\n", colours.bold, text(status, "version"), colours.end);
	label("transport");
	fputs(text(status, "transport"), stdout);
	if (connection && vmm)
		printf(", %sconnected%s to process %" PRId64 "\n", colours.good, colours.end, number(connection, "peer_pid"));
	else
		printf(", %snot connected%s\n", colours.bad, colours.end);
	if (front_end && vmm)
		print_front_end(front_end);
	print_features(json_object_get(status, "guest_features"));
	print_regions(json_object_get(status, "memory_regions"));
	print_devices(json_object_get(status, "assigned"));
	print_awaited(json_object_get(status, "awaited"));
	label("resources");
	printf("%" PRId64 ", ", number(status, "resources"));
	print_size(number(status, "hostmem"));
	puts(" of host memory");
	label("commands");
	printf("%" PRId64 ", %" PRId64 " refused\n", number(status, "commands"), number(status, "errors"));
	if (json_object_get(status, "renderer"))
		print_renderer(json_object_get(status, "renderer"));
	if (json_object_get(status, "input"))
		print_input(json_object_get(status, "input"));
	json_array_foreach (scanouts, i, scanout)
		if (!is_free(scanout))
			print_scanout(scanout, vmm);
}
