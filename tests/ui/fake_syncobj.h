/* SPDX-License-Identifier: MIT */
#ifndef TESTS_UI_FAKE_SYNCOBJ_H
#define TESTS_UI_FAKE_SYNCOBJ_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * DRM timelines in memory: fake_syncobj.c defines the functions of libdrm that ui/wayland/timeline.c calls, which then runs as it
 * is. A timeline's fd is a memfd with the timeline's number in it. The nodes are /dev/null.
 */

enum { FAKE_MAIN_DEVICE = 0xe280 }; /* the only one that has a number; the list of all has one without */

struct fake_syncobj_options {
	bool present;      /* there are DRM devices */
	bool no_timelines; /* a kernel or driver without them, */
	bool no_eventfd;   /* or one before 6.6 */
};

/* Forgets all timelines. No display may be there. */
void fake_syncobj_start(const struct fake_syncobj_options *options);
void fake_syncobj_fail_watches(void); /* from now on, as a device does that was pulled out */

/* What a compositor does with the fd of a timeline: its number, and -1 where the fd is none. */
int fake_syncobj_import(int fd);
void fake_syncobj_signal(int timeline, uint64_t point);
bool fake_syncobj_is_signalled(int timeline, uint64_t point);

/* What is left in this process; and how often a device was asked for by number. */
unsigned fake_syncobj_handles(void);
unsigned fake_syncobj_main_device_asked(void);

#endif
