/* SPDX-License-Identifier: MIT */
/* Calls that the process that renders is refused, whatever it asks for: each in a process of its own. */
#include <errno.h>
#include <glib.h>
#include <unistd.h>

#include "confined.h"
#include "render/process_kernel.h"
#include "rows.h"

struct call {
	const char *name;
	long number;
	int expected;
};

#define CALL(name, expected)                                                                                                       \
	{                                                                                                                          \
#name, SYS_##name, expected                                                                                        \
	}

static const struct call calls[] = {
	CALL(clone3, ENOSYS),
	CALL(openat2, ENOSYS),
	CALL(io_uring_setup, ENOSYS),
	CALL(unshare, EPERM),
	CALL(setns, EPERM),
	CALL(setuid, EPERM),
	CALL(setresuid, EPERM),
	CALL(setgroups, EPERM),
	CALL(setfsuid, EPERM),
	CALL(capset, EPERM),
	CALL(setpriority, EPERM),
	CALL(ioprio_set, EPERM),
	CALL(sched_setattr, EPERM),
	CALL(sched_setparam, EPERM),
	CALL(migrate_pages, EPERM),
	CALL(move_pages, EPERM),
	CALL(process_madvise, EPERM),
	CALL(process_mrelease, EPERM),
	CALL(kcmp, EPERM),
	CALL(listen, EACCES),
	CALL(accept, EACCES),
	CALL(accept4, EACCES),
	CALL(shmget, EPERM),
	CALL(shmat, EPERM),
	CALL(shmctl, EPERM),
	CALL(semget, EPERM),
	CALL(semctl, EPERM),
	CALL(semop, EPERM),
	CALL(semtimedop, EPERM),
	CALL(msgget, EPERM),
	CALL(msgsnd, EPERM),
	CALL(msgrcv, EPERM),
	CALL(msgctl, EPERM),
	CALL(mq_open, EPERM),
	CALL(mq_unlink, EPERM),
	CALL(add_key, EPERM),
	CALL(request_key, EPERM),
	CALL(keyctl, EPERM),
	CALL(truncate, EPERM),
	CALL(fchmod, EPERM),
	CALL(fchmodat, EPERM),
	CALL(fchmodat2, EPERM),
	CALL(fchown, EPERM),
	CALL(fchownat, EPERM),
	CALL(setxattr, EPERM),
	CALL(lsetxattr, EPERM),
	CALL(fsetxattr, EPERM),
	CALL(setxattrat, EPERM),
	CALL(removexattr, EPERM),
	CALL(lremovexattr, EPERM),
	CALL(fremovexattr, EPERM),
	CALL(removexattrat, EPERM),
	CALL(file_setattr, EPERM),
	CALL(utimensat, EPERM),
#ifdef SYS_chmod
	CALL(chmod, EPERM),
	CALL(chown, EPERM),
	CALL(lchown, EPERM),
	CALL(utime, EPERM),
	CALL(utimes, EPERM),
	CALL(futimesat, EPERM),
#endif
	CALL(bpf, EPERM),
	CALL(perf_event_open, EPERM),
	CALL(userfaultfd, EPERM),
	CALL(mount, EPERM),
	CALL(umount2, EPERM),
	CALL(move_mount, EPERM),
	CALL(open_tree, EPERM),
	CALL(open_tree_attr, EPERM),
	CALL(mount_setattr, EPERM),
	CALL(fsopen, EPERM),
	CALL(fsconfig, EPERM),
	CALL(fsmount, EPERM),
	CALL(fspick, EPERM),
	CALL(pivot_root, EPERM),
	CALL(chroot, EPERM),
	CALL(open_by_handle_at, EPERM),
	CALL(fanotify_init, EPERM),
	CALL(swapon, EPERM),
	CALL(swapoff, EPERM),
	CALL(reboot, EPERM),
	CALL(init_module, EPERM),
	CALL(finit_module, EPERM),
	CALL(delete_module, EPERM),
	CALL(settimeofday, EPERM),
	CALL(clock_settime, EPERM),
	CALL(syslog, EPERM),
	CALL(acct, EPERM),
	CALL(quotactl, EPERM),
};

/* Arguments that make no sense: what is not refused fails, and changes nothing outside of that process. Calls of which that is not
 * sure have no row. */
static int act(const void *data)
{
	const struct call *call = data;

	return result((int)syscall(call->number, -1L, 0L, 0L, 0L, 0L, 0L));
}

static void test_call(gconstpointer data)
{
	const struct call *call = data;

	g_assert_cmpint(confined_result(act, call, CONFINED), ==, call->expected);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	ADD_ROWS("/unit/process_calls/", calls, test_call);
	return g_test_run();
}
