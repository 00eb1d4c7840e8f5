/* SPDX-License-Identifier: MIT */
/*
 * What a display with windows costs: the processor time of a frame, for each way its pixels can take, and how long a frame waits
 * for its commit; and what a window costs that shows nothing new.
 *
 *     bench_display wayland|sdl|sdl=software [--json] [--check]
 *
 * The main thread plays the device thread with a guest's picture in a memfd, which the kit's Mesa and weston take for a dmabuf.
 * Three times are told apart: the device thread's (gathering what is damaged, where it must be copied), the display thread's, and
 * that of threads which libraries have made, where a software renderer does what would be a GPU's work. Beside them stands a memcpy
 * of the damaged bytes, taken between the rounds. Sizes take turns and the best round counts, because others use the machine, too.
 *
 * --check is a test: handing over a picture of 3840x2160 may take at most a tenth more processor time than one of 1280x720.
 */
#include <fcntl.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>

#include <vitrine/log.h>

#include "window_scanout.h"

enum { ROUNDS = 3, WARM_UP = 8, FRAMES = 60 };
enum { CHECK_ROUNDS = 60, CHECK_PERCENT = 110, CHEAP = 10 };
enum {
	LATENCY_FRAMES = 200,
	MAX_HEADS = 4,
	IDLE_SECONDS = 4,
	OPEN_MS = 1000,   /* windows are made, sized and shown */
	SETTLE_MS = 2500, /* nothing is kept for quick repetition any more */
	REST_MS = 25,     /* longer than a refresh, so that no frame waits for its turn */
};

static const struct size {
	const char *name;
	uint32_t width, height;
} sizes[] = { { "1280x720", 1280, 720 }, { "3840x2160", 3840, 2160 } };

static const char *kind;
static bool as_json;
static const char *separator = "";

static bool is_wayland(void)
{
	return !strcmp(kind, "wayland");
}

static struct vtr_display *create_display(void)
{
	struct vtr_window_options options = { .guest = "benchmark" };
	struct vtr_error error = { 0 };

	options.renderer = strcmp(kind, "sdl=software") ? VTR_RENDERER_AUTO : VTR_RENDERER_SOFTWARE;
	struct vtr_display *display = is_wayland() ? vtr_wayland_create(NULL, &options, &error) : vtr_sdl_create(&options, &error);
	if (!display)
		g_error("%s", error.text);
	return display;
}

/* ---- processor time, in microseconds ---- */

static double clock_us(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

struct thread_time {
	double us;
	unsigned turns; /* how often it was given a processor */
};

/* The display thread's statistics; there is one display at a time. */
static int open_display_thread(void)
{
	GDir *tasks = g_dir_open("/proc/self/task", 0, NULL);
	const char *task;
	int found = -1;

	g_assert_nonnull(tasks);
	while (found < 0 && (task = g_dir_read_name(tasks))) {
		char *name = g_strdup_printf("/proc/self/task/%s/comm", task), *comm = NULL;
		char *statistics = g_strdup_printf("/proc/self/task/%s/schedstat", task);

		if (g_file_get_contents(name, &comm, NULL, NULL) && !strcmp(comm, "vitrine-display\n"))
			found = open(statistics, O_RDONLY | O_CLOEXEC);
		g_free(comm);
		g_free(statistics);
		g_free(name);
	}
	g_dir_close(tasks);
	if (found < 0)
		g_error("/proc/self/task/*/schedstat does not tell the display thread's time: CONFIG_SCHED_INFO is missing");
	return found;
}

static struct thread_time read_thread(int statistics)
{
	struct thread_time time = { 0 };
	unsigned long long ran, waited;
	char line[96] = "";

	if (pread(statistics, line, sizeof(line) - 1, 0) > 0 && sscanf(line, "%llu %llu %u", &ran, &waited, &time.turns) == 3)
		time.us = (double)ran / 1e3;
	return time;
}

static int compare_double(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double percentile(double *values, unsigned count, unsigned percent)
{
	qsort(values, count, sizeof(values[0]), compare_double);
	return values[(count - 1) * percent / 100];
}

struct cost {
	double device, display, others; /* us a frame */
};

static double total(const struct cost *cost)
{
	return cost->device + cost->display;
}

/* ---- frames ---- */

struct bench_case {
	const char *name;
	bool pixels;
	unsigned percent; /* of the rows that each frame damages */
};

static void present(struct scanout *scanout, const struct bench_case *row, unsigned number)
{
	uint32_t rows = scanout->height * row->percent / 100;
	pixman_region32_t damage;

	pixman_region32_init_rect(&damage, 0, (int)(number * rows % (scanout->height - rows + 1)), scanout->width, rows);
	scanout_present(scanout, &damage);
	pixman_region32_fini(&damage);
}

static void begin(struct scanout *scanout, const struct size *size, bool pixels)
{
	scanout_init(scanout, create_display(), size->width, size->height);
	scanout_new_buffer(scanout, 0);
	memset(scanout->memory, 0x55, scanout->size);
	scanout->no_dmabuf = pixels;
	scanout->nothing_new = true;
	scanout_show(scanout);
	scanout_settle(scanout);
	for (unsigned i = 0; i < WARM_UP; i++)
		scanout_show(scanout);
}

/* A guest that is shown as it draws: each frame when the last one was. That frame counts which `percent` of them are cheaper than,
 * as some are disturbed. */
static struct cost measure(const struct size *size, const struct bench_case *row, unsigned percent)
{
	double device[FRAMES], display[FRAMES];
	struct scanout scanout;

	begin(&scanout, size, row->pixels);
	int statistics = open_display_thread();
	double first = read_thread(statistics).us, last = first;
	double process = clock_us(CLOCK_PROCESS_CPUTIME_ID), thread = clock_us(CLOCK_THREAD_CPUTIME_ID);
	for (unsigned i = 0; i < FRAMES; i++) {
		double start = clock_us(CLOCK_THREAD_CPUTIME_ID);

		present(&scanout, row, i);
		device[i] = clock_us(CLOCK_THREAD_CPUTIME_ID) - start;
		scanout_run_until(&scanout, &scanout.done, scanout.done + 1);
		double now = read_thread(statistics).us;
		display[i] = now - last;
		last = now;
	}
	thread = clock_us(CLOCK_THREAD_CPUTIME_ID) - thread;
	process = clock_us(CLOCK_PROCESS_CPUTIME_ID) - process;
	close(statistics);
	if (!row->pixels && !vtr_output_accepts(scanout.output, scanout.format, scanout.modifier, &scanout.error))
		scanout.import_failed++;
	if (scanout.import_failed)
		g_error("the picture was not taken: %s", scanout.error.text);
	scanout_finish(&scanout);
	return (struct cost){ percentile(device, FRAMES, percent), percentile(display, FRAMES, percent),
		              (process - thread - (last - first)) / FRAMES };
}

static double measure_memcpy(size_t bytes)
{
	uint8_t *from = g_malloc(bytes), *to = g_malloc(bytes);
	double best = 0;

	memset(from, 1, bytes);
	for (int round = 0; round < 8; round++) {
		double start = clock_us(CLOCK_THREAD_CPUTIME_ID);

		memcpy(to, from, bytes);
		__asm__ volatile("" : : "r"(to) : "memory"); /* somebody could look */
		double us = clock_us(CLOCK_THREAD_CPUTIME_ID) - start;
		best = round < 2 || us < best ? us : best; /* the first one makes the pages */
	}
	g_free(from);
	g_free(to);
	return best;
}

static double smaller(double a, double b)
{
	return a < b ? a : b;
}

static void print_cost(const struct bench_case *row, const struct size *size, const struct cost *cost, double copy, double to_first)
{
	if (as_json) {
		printf("%s\n  {\"name\": \"%s, %u %%, %s\", \"unit\": \"us\", \"value\": %.1f, \"device\": %.1f, \"display\": "
		       "%.1f, "
		       "\"libraries\": %.1f, \"memcpy\": %.1f, \"to_memcpy\": %.3f, \"to_%s\": %.3f}",
		       separator, row->name, row->percent, size->name, total(cost), cost->device, cost->display, cost->others, copy,
		       total(cost) / copy, sizes[0].name, to_first);
		separator = ",";
		return;
	}
	printf("%-14s %4u %%  %-10s %9.1f %9.1f %9.1f %9.1f %9.2f %9.2f\n", row->name, row->percent, size->name, cost->device,
	       cost->display, cost->others, copy, total(cost) / copy, to_first);
}

static void bench_case(const struct bench_case *row)
{
	struct cost best[G_N_ELEMENTS(sizes)];
	double copies[G_N_ELEMENTS(sizes)];

	for (int round = 0; round < ROUNDS; round++)
		for (size_t i = 0; i < G_N_ELEMENTS(sizes); i++) {
			struct cost cost = measure(&sizes[i], row, 50);
			double copy = measure_memcpy((size_t)sizes[i].width * (sizes[i].height * row->percent / 100) * 4);

			if (!round || total(&cost) < total(&best[i]))
				best[i] = cost;
			copies[i] = round ? smaller(copy, copies[i]) : copy;
		}
	for (size_t i = 0; i < G_N_ELEMENTS(sizes); i++)
		print_cost(row, &sizes[i], &best[i], copies[i], total(&best[i]) / total(&best[0]));
}

/* ---- from the flush to the commit ---- */

/* libwayland writes what was asked by this; a commit is on its way when it was called. */
static _Atomic uint64_t writes[MAX_HEADS + 1];
static atomic_uint n_writes;

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
	unsigned number = atomic_fetch_add(&n_writes, 1);

	if (number <= MAX_HEADS)
		atomic_store(&writes[number], vtr_now_ns());
	return syscall(SYS_sendmsg, fd, message, flags);
}

struct heads {
	struct scanout scanouts[MAX_HEADS];
	unsigned count, done;
	uint64_t shown[MAX_HEADS]; /* when the newest frame was, and 0: it was dropped */
};

static void handle(struct heads *heads, unsigned milliseconds)
{
	struct pollfd poll_fd = { .fd = vtr_outputs_event_fd(heads->scanouts[0].outputs), .events = POLLIN };
	struct vtr_event event;

	poll(&poll_fd, 1, (int)milliseconds);
	while (vtr_outputs_next_event(heads->scanouts[0].outputs, &event)) {
		scanout_handle(&heads->scanouts[event.output], &event);
		if (event.type != VTR_EVENT_FRAME_DONE)
			continue;
		heads->done++;
		heads->shown[event.output] = event.dropped ? 0 : event.time_ns;
	}
}

static void rest(struct heads *heads, unsigned milliseconds)
{
	uint64_t end = vtr_now_ns() + UINT64_C(1000000) * milliseconds;

	while (vtr_now_ns() < end)
		handle(heads, 1);
}

static void add_head(struct heads *heads, const struct size *size)
{
	struct vtr_mode mode = { size->width, size->height, 60000 };
	struct scanout *scanout = &heads->scanouts[heads->count];

	if (!heads->count) {
		scanout_init(scanout, create_display(), size->width, size->height);
	} else {
		*scanout = heads->scanouts[0];
		scanout->memory = NULL;
		scanout->buffer = NULL;
		scanout->output = vtr_outputs_add(scanout->outputs, scanout->display, &mode, NULL);
		g_assert_nonnull(scanout->output);
	}
	scanout_new_buffer(scanout, 0);
	scanout->nothing_new = true;
	heads->count++;
}

static void heads_finish(struct heads *heads)
{
	vtr_display_destroy(heads->scanouts[0].display);
	vtr_outputs_destroy(heads->scanouts[0].outputs);
	for (unsigned i = 0; i < heads->count; i++) {
		munmap(heads->scanouts[i].memory, heads->scanouts[i].size);
		vtr_buffer_drop(heads->scanouts[i].buffer);
	}
}

/* One frame for each head, flushed one right after the other as a guest does. False when it cannot be told which write was whose,
 * because there were others. */
static bool flush_all(struct heads *heads, double waited[MAX_HEADS])
{
	unsigned end = heads->done + heads->count;
	uint64_t flushed[MAX_HEADS];

	atomic_store(&n_writes, 0);
	for (unsigned i = 0; i < heads->count; i++) {
		flushed[i] = vtr_now_ns();
		scanout_present_all(&heads->scanouts[i]);
	}
	uint64_t late = vtr_now_ns() + UINT64_C(60000000000);
	while (heads->done < end) {
		if (vtr_now_ns() > late)
			g_error("frames are not shown");
		handle(heads, 100);
	}
	if (is_wayland() && atomic_load(&n_writes) != heads->count)
		return false;
	for (unsigned i = 0; i < heads->count; i++) {
		uint64_t committed = is_wayland() ? atomic_load(&writes[i]) : heads->shown[i];

		if (committed < flushed[i])
			return false;
		waited[i] = (double)(committed - flushed[i]) / 1e3;
	}
	return true;
}

static void print_latency(unsigned heads, double *us, unsigned count, unsigned unclear)
{
	double p50 = percentile(us, count, 50), p99 = percentile(us, count, 99);

	if (as_json) {
		printf("%s\n  {\"name\": \"flush to commit, %u heads\", \"unit\": \"us\", \"value\": %.1f, \"p50\": %.1f, \"p99\": "
		       "%.1f, "
		       "\"samples\": %u}",
		       separator, heads, p50, p50, p99, count);
		separator = ",";
	} else {
		printf("flush to commit, %u head%s: %.1f us median, %.1f us 99 %% of %u frames (%u not told apart)\n", heads,
		       heads > 1 ? "s" : "", p50, p99, count, unclear);
	}
}

static void bench_latency(unsigned count, const struct size *size)
{
	static double samples[LATENCY_FRAMES * MAX_HEADS];
	struct heads heads = { 0 };
	double waited[MAX_HEADS];
	unsigned n = 0, unclear = 0;

	while (heads.count < count)
		add_head(&heads, size);
	rest(&heads, OPEN_MS);
	for (unsigned i = 0; i < LATENCY_FRAMES; i++) {
		rest(&heads, REST_MS);
		if (flush_all(&heads, waited))
			for (unsigned k = 0; k < count; k++)
				samples[n++] = waited[k];
		else
			unclear += count;
	}
	if (!n)
		g_error("no frame could be told apart");
	print_latency(count, samples, n, unclear);
	heads_finish(&heads);
}

/* ---- nothing to do ---- */

/* A window with a picture that does not change. */
static void bench_idle(const struct size *size)
{
	struct heads heads = { 0 };

	add_head(&heads, size);
	rest(&heads, OPEN_MS + SETTLE_MS);
	int statistics = open_display_thread();
	struct thread_time before = read_thread(statistics);
	rest(&heads, IDLE_SECONDS * 1000);
	struct thread_time after = read_thread(statistics);
	close(statistics);
	double us = (after.us - before.us) / IDLE_SECONDS, turns = (double)(after.turns - before.turns) / IDLE_SECONDS;
	if (as_json)
		printf("%s\n  {\"name\": \"idle window\", \"unit\": \"us/s\", \"value\": %.1f, \"wakeups\": %.1f}", separator, us,
		       turns);
	else
		printf("idle window: %.1f us a second, %.1f wakeups a second\n", us, turns);
	heads_finish(&heads);
}

/* ---- what is run ---- */

static void bench_all(void)
{
	static const struct bench_case cases[] = {
		{ "dmabuf", false, 100 },
		{ "dmabuf", false, 1 },
		{ "pixels", true, 100 },
		{ "pixels", true, 1 },
	};
	bool no_dmabufs = !strcmp(kind, "sdl=software") || g_getenv("VITRINE_TEST_NO_IMPORT");

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (as_json)
		printf("[");
	else
		printf("%-14s %6s  %-10s %9s %9s %9s %9s %9s %9s\n", kind, "damage", "picture", "device us", "display", "libraries",
		       "memcpy", "x memcpy", "x 720p");
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++)
		if (cases[i].pixels || !no_dmabufs)
			bench_case(&cases[i]);
	bench_latency(1, &sizes[0]);
	bench_latency(MAX_HEADS, &sizes[0]);
	bench_idle(&sizes[0]);
	if (as_json)
		printf("\n]\n");
}

/* The processor's caches are ours then, and not what the compositor has left of them. */
static void take_first_processor(void)
{
	const char *pid = getenv("VITRINE_TEST_COMPOSITOR");
	cpu_set_t all, first;

	if (!pid || sched_getaffinity(0, sizeof(all), &all) < 0 || CPU_COUNT(&all) < 2)
		return;
	CPU_ZERO(&first);
	for (int i = 0; i < CPU_SETSIZE && !CPU_COUNT(&first); i++)
		if (CPU_ISSET(i, &all)) {
			CPU_SET(i, &first);
			CPU_CLR(i, &all);
		}
	g_autofree char *tasks = g_strdup_printf("/proc/%s/task", pid);
	g_autoptr(GDir) threads = g_dir_open(tasks, 0, NULL);
	for (const char *thread; threads && (thread = g_dir_read_name(threads));)
		sched_setaffinity(atoi(thread), sizeof(all), &all);
	sched_setaffinity(0, sizeof(first), &first);
}

/* Each round can only bring the figures down to what the work itself takes; a cost that grows with the picture stays above the
 * limit however often it is looked at. The compositor composes a larger picture on the same processors, with the same caches, so
 * the cheap ones of the frames are compared. */
static int check_hand_off(void)
{
	static const struct bench_case row = { "dmabuf", false, 100 };
	double best[G_N_ELEMENTS(sizes)] = { 0 };
	int round = 0;

	take_first_processor();
	do {
		for (size_t i = 0; i < G_N_ELEMENTS(sizes); i++) {
			struct cost cost = measure(&sizes[i], &row, CHEAP);

			best[i] = round ? smaller(total(&cost), best[i]) : total(&cost);
		}
	} while (++round < ROUNDS || (round < CHECK_ROUNDS && best[1] * 100 > best[0] * CHECK_PERCENT));
	bool ok = best[1] * 100 <= best[0] * CHECK_PERCENT;
	printf("1..1\n%s 1 - handing over %s takes %.1f us, %s %.1f us: %.2f times as much, %d %% at most\n", ok ? "ok" : "not ok",
	       sizes[1].name, best[1], sizes[0].name, best[0], best[1] / best[0], CHECK_PERCENT);
	return !ok;
}

int main(int argc, char **argv)
{
	bool check = false;

	for (int i = 1; i < argc; i++)
		if (!strcmp(argv[i], "--json"))
			as_json = true;
		else if (!strcmp(argv[i], "--check"))
			check = true;
		else
			kind = argv[i];
	if (!kind) {
		fprintf(stderr, "usage: bench_display wayland|sdl|sdl=software [--json] [--check]\n");
		return 2;
	}
	vtr_log_set_level(VTR_LOG_WARN);
	if (check)
		return check_hand_off();
	bench_all();
	return 0;
}
