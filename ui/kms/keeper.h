/* SPDX-License-Identifier: MIT */
#ifndef KMS_KEEPER_H
#define KMS_KEEPER_H

#include <sys/types.h>

#include "card.h"

/*
 * The keeper: a small process beside ours that has the virtual terminal, and that gives screen and terminal back when we end, in
 * whatever way.
 */
struct kms_keeper {
	int socket; /* -1: there is none */
	pid_t pid;
	bool has_vt; /* else switches of terminals are not followed */
};

/* What the keeper says, and what it is told: a byte each. */
enum kms_keeper_message {
	KMS_KEEPER_GONE = 0,    /* it is not there any more */
	KMS_KEEPER_READY = 'r', /* the terminal is taken, and on the screen */
	KMS_KEEPER_LEAVE = 'l', /* somebody switches to another terminal: stop, drop master, and answer LEFT */
	KMS_KEEPER_LEFT = 'L',
	KMS_KEEPER_ENTER = 'e',    /* the terminal is on the screen again */
	KMS_KEEPER_AWAY = 'a',     /* instead of READY: the terminal is taken, but another one is on the screen */
	KMS_KEEPER_END = 'q',      /* restore what was on the screen, and answer RESTORED */
	KMS_KEEPER_RESTORED = 'R', /* the terminal follows when the socket is closed */
};

/* Notes what is on the card's screens, and starts the keeper, which takes the terminal. KMS_KEEPER_READY or KMS_KEEPER_AWAY, or
 * -errno with *error. Where there is no terminal that we may have, the screens alone are kept. */
int kms_keeper_start(struct kms_keeper *keeper, const struct kms_card *card, struct vtr_error *error);

/* The keeper's socket is readable: the next message, waits for nothing. */
enum kms_keeper_message kms_keeper_read(struct kms_keeper *keeper);
void kms_keeper_tell(struct kms_keeper *keeper, enum kms_keeper_message message);

/* Everything as it was. Drops master. Nothing happens when the keeper has ended. */
void kms_keeper_end(struct kms_keeper *keeper, const struct kms_card *card);

#endif
