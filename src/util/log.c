/* SPDX-License-Identifier: MIT */
#include <vitrine/log.h>

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <vitrine/loop.h>

static const char *const level_names[] = {
	[VTR_LOG_ERROR] = "error",
	[VTR_LOG_WARN] = "warn",
	[VTR_LOG_INFO] = "info",
	[VTR_LOG_DEBUG] = "debug",
};

static void log_to_stderr(enum vtr_log_level level, const char *text, void *data)
{
	static const char *const colours[] = { "\033[31m", "\033[33m", "", "\033[2m" };
	bool terminal = isatty(STDERR_FILENO);

	if (terminal)
		fprintf(stderr, "%svitrine: %s: %s\033[0m\n", colours[level], level_names[level], text);
	else
		fprintf(stderr, "vitrine: %s: %s\n", level_names[level], text);
}

/* The one mutable global of the library: set before threads start, but for the level. */
static struct {
	vtr_log_handler handler;
	void *data;
	_Atomic enum vtr_log_level level;
} log_state = { .handler = log_to_stderr, .level = VTR_LOG_INFO };

void vtr_log_set_handler(vtr_log_handler handler, void *data)
{
	log_state.handler = handler ? handler : log_to_stderr;
	log_state.data = data;
}

void vtr_log_set_level(enum vtr_log_level level)
{
	atomic_store_explicit(&log_state.level, level, memory_order_relaxed);
}

enum vtr_log_level vtr_log_get_level(void)
{
	return atomic_load_explicit(&log_state.level, memory_order_relaxed);
}

int vtr_log_level_from_name(const char *name, enum vtr_log_level *level)
{
	for (size_t i = 0; i < sizeof(level_names) / sizeof(level_names[0]); i++)
		if (!strcmp(name, level_names[i])) {
			*level = (enum vtr_log_level)i;
			return 0;
		}
	return -EINVAL;
}

static void log_args(enum vtr_log_level level, const char *format, va_list args)
{
	char text[1024];

	vsnprintf(text, sizeof(text), format, args);
	/* Text of a peer may be in it: one line, no control characters for a terminal to act on. */
	for (char *c = text; *c; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = '?';
	log_state.handler(level, text, log_state.data);
}

void vtr_log(enum vtr_log_level level, const char *format, ...)
{
	va_list args;

	if (level > vtr_log_get_level())
		return;
	va_start(args, format);
	log_args(level, format, args);
	va_end(args);
}

void vtr_log_limited(struct vtr_log_limit *limit, enum vtr_log_level level, const char *format, ...)
{
	uint64_t now;
	va_list args;

	if (level > vtr_log_get_level())
		return;
	now = vtr_now_ns();
	if (!limit->window_ns || now - limit->window_ns > VTR_LOG_WINDOW * UINT64_C(1000000000)) {
		if (limit->count > VTR_LOG_BURST)
			vtr_log(level, "%u more messages like the last ones were left out", limit->count - VTR_LOG_BURST);
		*limit = (struct vtr_log_limit){ .window_ns = now };
	}
	if (limit->count < UINT32_MAX)
		limit->count++;
	if (limit->count > VTR_LOG_BURST)
		return;
	va_start(args, format);
	log_args(level, format, args);
	va_end(args);
}
