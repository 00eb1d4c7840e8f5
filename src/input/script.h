/* SPDX-License-Identifier: MIT */
#ifndef VTR_INPUT_SCRIPT_H
#define VTR_INPUT_SCRIPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vitrine/error.h>
#include <vitrine/input.h>

/*
 * What somebody asks for in words, as steps that are done one after the other: the requests key, type and pointer of the control
 * socket. Making a script changes nothing; it is whoever performs it who leaves time between the steps.
 */
enum vtr_step_type {
	VTR_STEP_KEY,
	VTR_STEP_BUTTON,
	VTR_STEP_MOVE,
	VTR_STEP_MOVE_BY,
	VTR_STEP_WHEEL,
	VTR_STEP_TOUCH,
	VTR_STEP_TOUCH_UP,
};

struct vtr_step {
	enum vtr_step_type type;
	bool pressed;    /* KEY, BUTTON */
	uint32_t code;   /* KEY, BUTTON */
	uint32_t output; /* MOVE, TOUCH */
	double x, y;     /* MOVE, MOVE_BY, TOUCH: pixels; WHEEL: steps */
};

struct vtr_script {
	struct vtr_step *steps; /* owned */
	size_t count, capacity;
};

enum {
	VTR_MAX_SCRIPT = 16384, /* steps; a character takes two to four */
	VTR_SCRIPT_FINGER = 1,  /* the only one that scripts use */
};

void vtr_script_finish(struct vtr_script *script);                                            /* an empty one is fine */
int vtr_script_add(struct vtr_script *script, struct vtr_step step, struct vtr_error *error); /* as those below */

/* What is done with the keys of a combination. */
enum vtr_key_action {
	VTR_KEY_TAP,     /* all down in order, all up in reverse order */
	VTR_KEY_PRESS,   /* down only */
	VTR_KEY_RELEASE, /* up only */
};

/*
 * Each appends to *script, which the caller finishes in any case. 0 or -errno with *error: GUEST EINVAL (the words make no sense;
 * the text says which, and what would), GUEST E2BIG (more than VTR_MAX_SCRIPT steps), HOST ENOMEM.
 */

/* Combinations with blanks between them: "ctrl-alt-f2", "a b shift+c". */
int vtr_script_keys(struct vtr_script *script, const char *keys, enum vtr_key_action action, struct vtr_error *error);
/* Characters of a US keyboard, newlines and tabs. */
int vtr_script_type(struct vtr_script *script, const char *text, struct vtr_error *error);
/* Words with blanks between them; docs/control.md has them all: "100,200 click", "10,10 drag:90,10", "wheel:-3". */
int vtr_script_pointer(struct vtr_script *script, uint32_t output, const char *actions, struct vtr_error *error);

/* Does one step. */
void vtr_step_perform(const struct vtr_step *step, struct vtr_input *input);
/* True when the step only lets go of something. */
bool vtr_step_releases(const struct vtr_step *step);
/* The device that tells it to the guest: of a button or the wheel, the tablet. */
enum vtr_input_kind vtr_step_kind(const struct vtr_step *step);

#endif
