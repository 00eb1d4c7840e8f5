/* SPDX-License-Identifier: MIT */
#include "vt.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kd.h>
#include <linux/major.h>
#include <linux/vt.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

_Static_assert((int)KMS_VT_LEAVE == SIGUSR1 && (int)KMS_VT_ENTER == SIGUSR2, "what vt.h says");

static int open_number(int number)
{
	char path[32];

	snprintf(path, sizeof(path), "/dev/tty%d", number);
	return open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
}

/* /dev/tty0 is whatever is on the screen; usually only root may open it. */
static int active_number(void)
{
	int fd = open("/dev/tty0", O_RDWR | O_NOCTTY | O_CLOEXEC);
	struct vt_stat state;
	int number = fd >= 0 && ioctl(fd, VT_GETSTATE, &state) == 0 ? state.v_active : -1;

	if (fd >= 0)
		close(fd);
	return number;
}

static int input_number(void)
{
	struct stat status;

	if (fstat(STDIN_FILENO, &status) || !S_ISCHR(status.st_mode) || major(status.st_rdev) != TTY_MAJOR ||
	    minor(status.st_rdev) < MIN_NR_CONSOLES || minor(status.st_rdev) > MAX_NR_CONSOLES)
		return -1;
	return (int)minor(status.st_rdev);
}

int kms_vt_open(int *number)
{
	int vt = -1;

	*number = active_number();
	if (*number > 0)
		vt = open_number(*number);
	if (vt >= 0)
		return vt;
	*number = input_number();
	return *number > 0 ? open_number(*number) : -1;
}

bool kms_vt_is_active(int vt, int number)
{
	struct vt_stat state;

	return ioctl(vt, VT_GETSTATE, &state) || state.v_active == number;
}

int kms_vt_take(int vt)
{
	struct vt_mode mode = { .mode = VT_PROCESS, .relsig = KMS_VT_LEAVE, .acqsig = KMS_VT_ENTER };

	if (ioctl(vt, VT_SETMODE, &mode))
		return -errno;
	/* A terminal that somebody left in graphics mode is taken all the same: the card is ours. */
	if (ioctl(vt, KDSETMODE, KD_GRAPHICS)) {
		int error = -errno;

		kms_vt_give_back(vt);
		return error;
	}
	return 0;
}

void kms_vt_allow_leaving(int vt)
{
	ioctl(vt, VT_RELDISP, 1);
}

void kms_vt_entered(int vt)
{
	ioctl(vt, VT_RELDISP, VT_ACKACQ);
}

void kms_vt_give_back(int vt)
{
	struct vt_mode mode = { .mode = VT_AUTO };

	ioctl(vt, KDSETMODE, KD_TEXT);
	ioctl(vt, VT_SETMODE, &mode);
}
