/* SPDX-License-Identifier: MIT */
#ifndef KMS_VT_H
#define KMS_VT_H

#include <stdbool.h>

/*
 * A virtual terminal (console_ioctl(4), VT_SETMODE in ioctl_console(2)): in graphics mode the kernel's console does not draw, and
 * switches between terminals are asked for with signals instead of being made. All functions but kms_vt_open() are safe after
 * fork().
 */
enum { KMS_VT_LEAVE = 10 /* SIGUSR1 */, KMS_VT_ENTER = 12 /* SIGUSR2 */ };

/* The terminal that is on the screen, or else the one that standard input is. number: of ttyN. An fd, or -1 when there is none or
 * it may not be opened. */
int kms_vt_open(int *number);
bool kms_vt_is_active(int vt, int number);

/* Graphics mode; from now on the calling process gets the signals KMS_VT_LEAVE and KMS_VT_ENTER. 0 or -errno. */
int kms_vt_take(int vt);
void kms_vt_allow_leaving(int vt); /* the answer to KMS_VT_LEAVE */
void kms_vt_entered(int vt);       /* the answer to KMS_VT_ENTER */
void kms_vt_give_back(int vt);     /* text mode, and switches without asking */

#endif
