/* SPDX-License-Identifier: MIT */
#ifndef VITRINE_LOG_H
#define VITRINE_LOG_H

#include <stdint.h>

#include <vitrine/api.h>

/*
 * Log. Messages are one line without a newline; they name the cause and, where there is one, the remedy. What a guest, a VMM or a
 * control client can repeat at will goes through vtr_log_limited(). All functions may be called from any thread.
 */
enum vtr_log_level {
	VTR_LOG_ERROR, /* the program, or one of its parts, cannot go on */
	VTR_LOG_WARN,  /* something here is worse than it could be; says what would lift it */
	VTR_LOG_INFO,  /* changes of state an admin wants to see: connections, modes, paths */
	VTR_LOG_DEBUG, /* guest errors and protocol details */
};

/* Receives each message whose level is enabled. text is valid during the call only. May be called from any thread. */
typedef void (*vtr_log_handler)(enum vtr_log_level level, const char *text, void *data);

/* Sets the handler; NULL restores the default (standard error, coloured on a terminal). Call before threads start. */
VTR_API void vtr_log_set_handler(vtr_log_handler handler, void *data);

/* Messages above level are dropped before they are formatted. The initial level is VTR_LOG_INFO. */
VTR_API void vtr_log_set_level(enum vtr_log_level level);
VTR_API enum vtr_log_level vtr_log_get_level(void);

/* Reads "error", "warn", "info" or "debug". Returns 0, or -EINVAL and leaves *level alone. */
VTR_API int vtr_log_level_from_name(const char *name, enum vtr_log_level *level);

VTR_API void vtr_log(enum vtr_log_level level, const char *format, ...) VTR_PRINTF(2, 3);

/* One budget of messages: at most VTR_LOG_BURST in VTR_LOG_WINDOW seconds, then silence and one line that counts what was dropped.
 * Zero-initialised; embedded in whoever can be made to talk. Not thread safe: one thread per budget. */
enum { VTR_LOG_BURST = 10, VTR_LOG_WINDOW = 10 };
struct vtr_log_limit {
	uint64_t window_ns; /* start of the current window, CLOCK_MONOTONIC */
	uint32_t count;     /* messages asked for in it */
};
VTR_API void vtr_log_limited(struct vtr_log_limit *limit, enum vtr_log_level level, const char *format, ...) VTR_PRINTF(3, 4);

#endif
