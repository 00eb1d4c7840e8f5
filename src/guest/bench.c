/* SPDX-License-Identifier: MIT */
/*
 * What the device costs: round trips on the control queue, its CPU time a frame at two sizes, its memory after few and after many
 * resources, and what a screenshot of a 4K frame takes. Each figure is one row with a unit; a row that could not be measured says
 * why and turns the exit code, the others are still taken.
 */
#include "guest/bench.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <vitrine/log.h>
#include <vitrine/loop.h>

#include "guest/command.h"
#include "guest/image.h"
#include "guest/machine.h"
#include "guest/shot.h"
#include "guest/usage.h"

enum {
	BATCH = 32,
	ROUND_TRIP_MS = 1000,
	ROUNDS = 6,
	FRAMES = 40, /* a round */
	FEW = 10,
	MANY = 1000,
	SHOTS = 10,
	NS_PER_MS = 1000000,
};

void vtr_bench_add(struct vtr_bench *bench, const char *name, double value, const char *unit)
{
	json_array_append_new(bench->rows, json_pack("{s:s, s:f, s:s}", "name", name, "value", value, "unit", unit));
}

void vtr_bench_give_up(struct vtr_bench *bench, const char *name, const char *why)
{
	bench->failed = true;
	json_array_append_new(bench->rows, json_pack("{s:s, s:n, s:s}", "name", name, "value", "error", why));
}

const char vtr_bench_unknown_process[] = "no answer, or the device's process is not ours to look at: try --pid PID";

/* ---- round trips ---- */

/* Commands that are measured: one that the device may have to ask somebody for, and one that is all its own. */
static const struct virtio_gpu_ctrl_hdr get_display_info = { .type = VIRTIO_GPU_CMD_GET_DISPLAY_INFO };
static const struct virtio_gpu_transfer_to_host_2d transfer = { .hdr.type = VIRTIO_GPU_CMD_TRANSFER_TO_HOST_2D,
	                                                        .r = { 0, 0, 1, 1 },
	                                                        .resource_id = 1 };

struct trip {
	const char *name, *cpu; /* of the rows */
	const void *request;
	size_t size, response_size;
	uint32_t batch;
};

static int one_batch(struct vtr_guest *guest, const struct trip *trip)
{
	uint64_t mark = guest->areas[VTR_GUEST_SYSTEM].used;
	struct vtr_guest_message message;
	uint32_t written;
	uint16_t head;
	int result = 0;

	for (uint32_t i = 0; i < trip->batch && !result; i++)
		result = vtr_guest_post(guest, VTR_GUEST_CONTROL, &message, trip->request, trip->size, trip->response_size);
	if (!result)
		result = vtr_guest_kick(guest, VTR_GUEST_CONTROL, false);
	for (uint32_t i = 0; i < trip->batch && !result; i++)
		result = vtr_guest_collect(guest, VTR_GUEST_CONTROL, &head, &written, guest->timeout_ms);
	guest->areas[VTR_GUEST_SYSTEM].used = mark;
	return result;
}

static void round_trip(struct vtr_bench *bench, const struct trip *trip)
{
	uint64_t started = vtr_now_ns(), now = started, commands = 0, before = 0, after = 0;
	bool cpu = !vtr_usage_cpu_ns(bench->pid, &before);

	for (; now - started < (uint64_t)ROUND_TRIP_MS * NS_PER_MS; now = vtr_now_ns(), commands += trip->batch) {
		if (one_batch(bench->guest, trip)) {
			vtr_bench_give_up(bench, trip->name, vtr_guest_error(bench->guest));
			return;
		}
	}
	vtr_bench_add(bench, trip->name, (double)commands * 1e9 / (double)(now - started), "commands/s");
	if (cpu && !vtr_usage_cpu_ns(bench->pid, &after))
		vtr_bench_add(bench, trip->cpu, (double)(after - before) / 1000 / (double)commands, "us");
	else
		vtr_bench_give_up(bench, trip->cpu, vtr_bench_unknown_process);
}

/* What the transfers are made of. */
static bool make_resource(struct vtr_guest *guest)
{
	struct virtio_gpu_mem_entry entry = { guest->areas[VTR_GUEST_RAM].address, 64 * 64 * 4, 0 };

	return vtr_command_create_2d(guest, transfer.resource_id, VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM, 64, 64) ==
	               VIRTIO_GPU_RESP_OK_NODATA &&
	       vtr_command_attach(guest, transfer.resource_id, &entry, 1) == VIRTIO_GPU_RESP_OK_NODATA;
}

static void round_trips(struct vtr_bench *bench)
{
	const size_t info = sizeof(struct virtio_gpu_resp_display_info), nothing = sizeof(struct virtio_gpu_ctrl_hdr);
	const struct trip trips[] = {
		{ "control round trips, one at a time", "device CPU of one", &get_display_info, sizeof(get_display_info), info, 1 },
		{ "control round trips, 32 at a time", "device CPU of one of them", &get_display_info, sizeof(get_display_info),
		  info, BATCH },
		{ "transfers of a pixel, one at a time", "device CPU of a transfer", &transfer, sizeof(transfer), nothing, 1 },
		{ "transfers of a pixel, 32 at a time", "device CPU of a transfer of 32", &transfer, sizeof(transfer), nothing,
		  BATCH },
	};

	if (!make_resource(bench->guest)) {
		vtr_bench_give_up(bench, trips[0].name, vtr_guest_error(bench->guest));
		return;
	}
	for (size_t i = 0; i < sizeof(trips) / sizeof(trips[0]); i++)
		round_trip(bench, &trips[i]);
}

/* ---- frames ---- */

struct size {
	const char *name;
	uint32_t width, height;
	struct vtr_image image;
	double cost; /* device CPU time of a flush, the least of all rounds, us */
};

static bool make_sizes(struct vtr_bench *bench, struct size *sizes, uint32_t n)
{
	bool passed = !vtr_guest_start(bench->guest, UINT64_MAX);

	for (uint32_t i = 0; i < n && passed; i++) {
		struct vtr_image_layout layout = { VTR_GUEST_BAR, sizes[i].width, sizes[i].height, .ranges = 63 };

		passed = !vtr_image_init(&sizes[i].image, bench->guest, &layout) &&
		         vtr_image_create_blob(&sizes[i].image, 1 + i) == VIRTIO_GPU_RESP_OK_NODATA;
	}
	return passed;
}

/* One round of flushes of resource id; false when the device did not answer or its time is not known. */
static bool flush_round(struct vtr_bench *bench, struct size *size, uint32_t id)
{
	struct vtr_rect all = { 0, 0, size->width, size->height };
	uint32_t response = vtr_image_show(&size->image, id, 0);
	uint64_t before, after;

	if (response != VIRTIO_GPU_RESP_OK_NODATA || vtr_usage_cpu_ns(bench->pid, &before))
		return false;
	for (int i = 0; i < FRAMES && response == VIRTIO_GPU_RESP_OK_NODATA; i++)
		response = vtr_command_flush(bench->guest, id, all);
	if (response != VIRTIO_GPU_RESP_OK_NODATA || vtr_usage_cpu_ns(bench->pid, &after))
		return false;
	double cost = (double)(after - before) / 1000 / FRAMES;
	if (cost < size->cost)
		size->cost = cost;
	return true;
}

/* The sizes take turns, so that what else the machine does meets both. */
static void frames(struct vtr_bench *bench)
{
	enum { SIZES = 2 };
	struct size sizes[SIZES] = {
		{ "device CPU of a flush, 1280x800", 1280, 800, .cost = INFINITY },
		{ "device CPU of a flush, 3840x2160", 3840, 2160, .cost = INFINITY },
	};
	bool passed = make_sizes(bench, sizes, SIZES);

	for (int round = 0; round < ROUNDS && passed; round++)
		for (uint32_t i = 0; i < SIZES && passed; i++)
			passed = flush_round(bench, &sizes[i], 1 + i);
	for (uint32_t i = 0; i < SIZES; i++) {
		if (passed)
			vtr_bench_add(bench, sizes[i].name, sizes[i].cost, "us");
		else
			vtr_bench_give_up(bench, sizes[i].name, vtr_bench_unknown_process);
		vtr_image_finish(&sizes[i].image);
	}
	if (passed && sizes[0].cost > 0)
		vtr_bench_add(bench, "ratio of the two", sizes[1].cost / sizes[0].cost, "");
}

/* ---- memory ---- */

static bool cycles(struct vtr_guest *guest, int n)
{
	struct vtr_image_layout layout = { VTR_GUEST_BAR, 640, 480, .ranges = 300 };
	struct vtr_image image = { 0 };
	uint64_t mark = guest->areas[VTR_GUEST_BAR].used;
	bool passed = !vtr_image_init(&image, guest, &layout);

	for (int i = 0; i < n && passed; i++)
		passed = vtr_image_create_blob(&image, 1) == VIRTIO_GPU_RESP_OK_NODATA &&
		         vtr_command_create_2d(guest, 2, VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM, 640, 480) == VIRTIO_GPU_RESP_OK_NODATA &&
		         vtr_command_unref(guest, 1) == VIRTIO_GPU_RESP_OK_NODATA &&
		         vtr_command_unref(guest, 2) == VIRTIO_GPU_RESP_OK_NODATA;
	guest->areas[VTR_GUEST_BAR].used = mark;
	vtr_image_finish(&image);
	return passed;
}

static void memory(struct vtr_bench *bench)
{
	static const char few[] = "device memory after 10 create/destroy cycles", many[] = "device memory after 1000";
	uint64_t after_few, after_many;

	if (vtr_guest_start(bench->guest, UINT64_MAX) || !cycles(bench->guest, FEW) || vtr_usage_resident(bench->pid, &after_few)) {
		vtr_bench_give_up(bench, few, vtr_guest_error(bench->guest));
		return;
	}
	vtr_bench_add(bench, few, (double)after_few / 1024, "KiB");
	if (!cycles(bench->guest, MANY - FEW) || vtr_usage_resident(bench->pid, &after_many))
		vtr_bench_give_up(bench, many, vtr_guest_error(bench->guest));
	else
		vtr_bench_add(bench, many, (double)after_many / 1024, "KiB");
}

/* ---- reading ---- */

/* One copy of as many bytes, here and now, for comparison. */
static double memcpy_ms(size_t size)
{
	uint8_t *from = malloc(size), *to = malloc(size);
	uint64_t best = UINT64_MAX;

	if (from && to) {
		memset(from, 1, size);
		memset(to, 2, size);
		for (int i = 0; i < SHOTS; i++) {
			uint64_t started = vtr_now_ns();

			memcpy(to, from, size);
			__asm__ volatile("" : : "r"(to) : "memory"); /* the copy has a reader */
			uint64_t took = vtr_now_ns() - started;
			best = took < best ? took : best;
		}
	}
	free(from);
	free(to);
	return (double)best / NS_PER_MS;
}

static void reading(struct vtr_bench *bench, const char *name, enum vtr_guest_memory kind)
{
	struct vtr_guest *guest = bench->guest;
	struct vtr_image_layout layout = { kind, 3840, 2160, .ranges = 2025 };
	struct vtr_image image = { 0 };
	struct vtr_error error = { .text = "the device does not show the frame" };
	uint64_t best = UINT64_MAX;
	bool passed = !vtr_guest_start(guest, UINT64_MAX) && !vtr_image_init(&image, guest, &layout) &&
	              vtr_image_create_blob(&image, 1) == VIRTIO_GPU_RESP_OK_NODATA &&
	              vtr_image_show(&image, 1, 0) == VIRTIO_GPU_RESP_OK_NODATA;

	for (int i = 0; i < SHOTS && passed; i++) {
		struct vtr_shot shot;
		uint64_t started;

		passed = vtr_command_flush(guest, 1, (struct vtr_rect){ 0, 0, 3840, 2160 }) == VIRTIO_GPU_RESP_OK_NODATA;
		started = vtr_now_ns();
		passed = passed && !vtr_shot_take(&shot, guest, 0, false, &error);
		if (passed) {
			best = vtr_now_ns() - started < best ? vtr_now_ns() - started : best;
			vtr_shot_finish(&shot);
		}
	}
	if (passed)
		vtr_bench_add(bench, name, (double)best / NS_PER_MS, "ms");
	else
		vtr_bench_give_up(bench, name, error.text);
	vtr_image_finish(&image);
}

/* ---- the whole ---- */

static void print(const json_t *rows, FILE *out)
{
	const json_t *row;
	size_t i;

	json_array_foreach (rows, i, row) {
		const json_t *value = json_object_get(row, "value");

		if (json_is_real(value))
			fprintf(out, "%-48s %12.2f %s\n", json_string_value(json_object_get(row, "name")), json_real_value(value),
			        json_string_value(json_object_get(row, "unit")));
		else
			fprintf(out, "%-48s            - %s\n", json_string_value(json_object_get(row, "name")),
			        json_string_value(json_object_get(row, "error")));
	}
}

static void run(struct vtr_bench *bench)
{
	if (bench->choice->three_d) {
		vtr_bench_3d(bench);
		return;
	}
	round_trips(bench);
	if (bench->choice->round_trips)
		return;
	frames(bench);
	memory(bench);
	if (!bench->guest->options.control)
		return;
	reading(bench, "screenshot of a 4K frame in RAM, best of 10", VTR_GUEST_RAM);
	if (vtr_guest_has_memory(bench->guest, VTR_GUEST_REMOTE))
		reading(bench, "screenshot of a 4K frame in remote memory", VTR_GUEST_REMOTE);
	if (bench->guest->assigned)
		reading(bench, "screenshot of a 4K frame in the assigned device", VTR_GUEST_BAR);
	vtr_bench_add(bench, "memcpy of as many bytes", memcpy_ms((size_t)3840 * 2160 * 4), "ms");
}

int vtr_guest_bench(const struct vtr_guest_options *options, const struct vtr_guest_bench *choice, FILE *out)
{
	struct vtr_error error;
	struct vtr_bench bench = { .guest = vtr_guest_open(options, &error), .choice = choice, .rows = json_array() };
	int code = VTR_GUEST_GONE;

	if (!bench.guest) {
		vtr_log(VTR_LOG_ERROR, "%s", error.text);
		goto finish;
	}
	bench.guest->three_d = choice->three_d;
	if (vtr_guest_start(bench.guest, UINT64_MAX)) {
		vtr_log(VTR_LOG_ERROR, "%s", vtr_guest_error(bench.guest));
		goto finish;
	}
	bench.pid = vtr_guest_peer_pid(bench.guest);
	run(&bench);
	if (choice->json) {
		json_dumpf(bench.rows, out, JSON_INDENT(2));
		fputc('\n', out);
	} else {
		print(bench.rows, out);
	}
	code = !vtr_guest_connected(bench.guest) ? VTR_GUEST_GONE : bench.failed ? VTR_GUEST_FAILED : VTR_GUEST_OK;
finish:
	json_decref(bench.rows);
	vtr_guest_close(bench.guest);
	return code;
}
