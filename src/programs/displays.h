/* SPDX-License-Identifier: MIT */
#ifndef VTR_PROGRAMS_DISPLAYS_H
#define VTR_PROGRAMS_DISPLAYS_H

#include <vitrine/log.h>
#include <vitrine/window.h>

#include "options.h"

/* The displays of this process, by the names that --display and 'vitrinectl output' take: "headless", "KIND=ARGUMENT". Each is
 * started when it is first asked for, and again when it has failed. */

enum { MAX_DISPLAYS = 8 };

struct displays {
	struct vtr_window_options window; /* of those with windows */
	const char *first;                /* the name of the one that the program began with */
	struct vtr_outputs *outputs;      /* not owned */
	bool follow;                      /* outputs go to the VMM's console when there is one: nobody named another display */
	struct vtr_display *lender;       /* its EGLDisplay is somebody's; NULL: none is */
	struct vtr_display *retired;      /* the lender, when it has failed and its place is another's */
	uint32_t lent;                    /* bit per output: it was a free place before it did */
	struct vtr_log_limit vmm_log;     /* a VMM may send display sockets as it likes */
	struct {
		char name[64];
		struct vtr_display *display; /* NULL: could not be started */
	} items[MAX_DISPLAYS];
	size_t count;
};

/* True when a display of that name can be asked for. */
bool displays_know(const char *name);

/* The display, owned by displays. NULL with *error. */
struct vtr_display *displays_open(struct displays *displays, const char *name, struct vtr_error *error);

/* Opens the display of the options, adds the outputs that it begins with, and free places for those that come later. A headless
 * display stands by for when it fails. 0 or -errno with *error. */
int displays_start(struct displays *displays, const struct options *options, struct vtr_outputs *outputs, struct vtr_error *error);

/* The EGLDisplay of the display that the program began with, NULL: it has none. It is valid until displays_close(), also when that
 * display fails, or is asked for and started again. */
void *displays_lend_egl(struct displays *displays);

/* The VMM's display socket came (taken, also when it fails): there is a display "vmm" now, in place of the last one. The outputs of
 * that go to it, and with --display auto or vmm all others, too, but those that somebody has moved elsewhere. 0 or -errno. */
int displays_take_vmm(struct displays *displays, int socket);

/* The VMM is gone: what went to its console goes back to where it was. */
void displays_vmm_left(struct displays *displays);

void displays_close(struct displays *displays); /* all of them */

#endif
