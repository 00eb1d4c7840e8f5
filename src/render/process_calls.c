/* SPDX-License-Identifier: MIT */
/*
 * What the process that renders can ask the kernel for: seccomp.
 *
 * A list of what is refused, and why, not of what is allowed: drivers, not all of which are free or known here, take what they
 * need, and a library's next version takes something else. So what is not listed is allowed, and each group below stands for a way
 * out. Refused calls fail as they do for who may not, or where the kernel is older, and a driver goes on without.
 *
 * A filter sees numbers, not what pointers point to: calls that hide what they ask for in memory (clone3, openat2) are said not to
 * exist, and libraries take the older call.
 */
#include <asm/ioctls.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/sockios.h>
#include <sched.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "render/process_confine.h"
#include "render/process_kernel.h"

#if defined(__x86_64__)
#define OUR_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define OUR_ARCH AUDIT_ARCH_AARCH64
#elif defined(__riscv) && __riscv_xlen == 64
#define OUR_ARCH AUDIT_ARCH_RISCV64
#else
#define OUR_ARCH 0
#endif

/* ---- what is refused ---- */

enum condition {
	ALWAYS,
	IF,         /* (argument & mask) is value */
	UNLESS,     /* ... is not */
	FOR_OTHERS, /* the argument is neither 0 nor our process */
};

struct refusal {
	uint32_t call;
	uint16_t error;
	enum condition condition;
	unsigned argument; /* its low half: pids, commands and flags are no longer */
	uint32_t mask, value;
};

#define ALL UINT32_MAX
/* An ioctl's type: the letter in the middle of its number. */
#define TYPE_MASK 0xff00U
#define TYPE(letter) ((uint32_t)(letter) << 8)

static const struct refusal refusals[] = {
	/* other programs, other processes; threads are allowed */
	{ SYS_execve, EPERM },
	{ SYS_execveat, EPERM },
	{ SYS_clone, EPERM, UNLESS, 0, CLONE_THREAD, CLONE_THREAD },
	{ SYS_clone3, ENOSYS },
#ifdef SYS_fork
	{ SYS_fork, EPERM },
	{ SYS_vfork, EPERM },
#endif
	/* others' memory, files and state */
	{ SYS_ptrace, EPERM },
	{ SYS_process_vm_readv, EPERM },
	{ SYS_process_vm_writev, EPERM },
	{ SYS_process_madvise, EPERM },
	{ SYS_process_mrelease, EPERM },
	{ SYS_pidfd_getfd, EPERM },
	{ SYS_kcmp, EPERM, FOR_OTHERS, 0 },
	{ SYS_kcmp, EPERM, FOR_OTHERS, 1 },
	{ SYS_migrate_pages, EPERM, FOR_OTHERS, 0 },
	{ SYS_move_pages, EPERM, FOR_OTHERS, 0 },
	/* signals; abort() takes tgkill */
	{ SYS_kill, EPERM },
	{ SYS_tkill, EPERM },
	{ SYS_tgkill, EPERM, FOR_OTHERS, 0 },
	{ SYS_rt_sigqueueinfo, EPERM },
	{ SYS_rt_tgsigqueueinfo, EPERM },
	{ SYS_pidfd_send_signal, EPERM },
	/* signals that the kernel sends to who owns a file, and what makes others wait for us to let go of one */
	{ SYS_fcntl, EPERM, IF, 1, ALL, F_SETOWN },
	{ SYS_fcntl, EPERM, IF, 1, ALL, F_SETOWN_EX },
	{ SYS_fcntl, EPERM, IF, 1, ALL, F_SETSIG },
	{ SYS_fcntl, EPERM, IF, 1, ALL, F_SETLEASE },
	{ SYS_ioctl, EPERM, IF, 1, ALL, FIOSETOWN },
	{ SYS_ioctl, EPERM, IF, 1, ALL, SIOCSPGRP },
	/* limits, priorities and processors of others; a thread of ours is another one to this filter, and drivers do without */
	{ SYS_prlimit64, EPERM, FOR_OTHERS, 0 },
	{ SYS_setpriority, EPERM },
	{ SYS_ioprio_set, EPERM },
	{ SYS_sched_setscheduler, EPERM, FOR_OTHERS, 0 },
	{ SYS_sched_setparam, EPERM, FOR_OTHERS, 0 },
	{ SYS_sched_setattr, EPERM, FOR_OTHERS, 0 },
	{ SYS_sched_setaffinity, EPERM, FOR_OTHERS, 0 },
	/* living on without vitrine: a change of user undoes that, too */
	{ SYS_prctl, EPERM, IF, 0, ALL, PR_SET_PDEATHSIG },
	{ SYS_setuid, EPERM },
	{ SYS_setgid, EPERM },
	{ SYS_setreuid, EPERM },
	{ SYS_setregid, EPERM },
	{ SYS_setresuid, EPERM },
	{ SYS_setresgid, EPERM },
	{ SYS_setfsuid, EPERM },
	{ SYS_setfsgid, EPERM },
	{ SYS_setgroups, EPERM },
	{ SYS_capset, EPERM },
	{ SYS_unshare, EPERM },
	{ SYS_setns, EPERM },
	/* typing into a terminal */
	{ SYS_ioctl, EPERM, IF, 1, ALL, TIOCSTI },
	{ SYS_ioctl, EPERM, IF, 1, ALL, TIOCSCTTY },
	{ SYS_ioctl, EPERM, IF, 1, ALL, TIOCLINUX },
	/* sockets but the one that it has, and what opens them without being asked here */
	{ SYS_socket, EACCES },
	{ SYS_socketpair, EACCES },
	{ SYS_connect, EACCES },
	{ SYS_bind, EACCES },
	{ SYS_listen, EACCES },
	{ SYS_accept, EACCES },
	{ SYS_accept4, EACCES },
	{ SYS_io_uring_setup, ENOSYS },
	/* memory, queues and keys that go by a number or a name of their own */
	{ SYS_shmget, EPERM },
	{ SYS_shmat, EPERM },
	{ SYS_shmctl, EPERM },
	{ SYS_semget, EPERM },
	{ SYS_semctl, EPERM },
	{ SYS_semop, EPERM },
	{ SYS_semtimedop, EPERM },
	{ SYS_msgget, EPERM },
	{ SYS_msgsnd, EPERM },
	{ SYS_msgrcv, EPERM },
	{ SYS_msgctl, EPERM },
	{ SYS_mq_open, EPERM },
	{ SYS_mq_unlink, EPERM },
	{ SYS_add_key, EPERM },
	{ SYS_request_key, EPERM },
	{ SYS_keyctl, EPERM },
	/* files: what Landlock does not handle. ftruncate() is for files that it has open for writing, memory's */
	{ SYS_truncate, EPERM },
	{ SYS_openat2, ENOSYS },
	{ SYS_fchmod, EPERM },
	{ SYS_fchmodat, EPERM },
	{ SYS_fchmodat2, EPERM },
	{ SYS_fchown, EPERM },
	{ SYS_fchownat, EPERM },
	{ SYS_setxattr, EPERM },
	{ SYS_lsetxattr, EPERM },
	{ SYS_fsetxattr, EPERM },
	{ SYS_setxattrat, EPERM },
	{ SYS_removexattr, EPERM },
	{ SYS_lremovexattr, EPERM },
	{ SYS_fremovexattr, EPERM },
	{ SYS_removexattrat, EPERM },
	{ SYS_file_setattr, EPERM },
	{ SYS_utimensat, EPERM },
#ifdef SYS_chmod
	{ SYS_chmod, EPERM },
	{ SYS_chown, EPERM },
	{ SYS_lchown, EPERM },
	{ SYS_utime, EPERM },
	{ SYS_utimes, EPERM },
	{ SYS_futimesat, EPERM },
#endif
	/* ioctls of file systems, some of which change what is open for reading only: linux/fs.h, XFS, btrfs, F2FS */
	{ SYS_ioctl, EPERM, IF, 1, TYPE_MASK, TYPE('f') },
	{ SYS_ioctl, EPERM, IF, 1, TYPE_MASK, TYPE('X') },
	{ SYS_ioctl, EPERM, IF, 1, TYPE_MASK, TYPE(0x94) },
	{ SYS_ioctl, EPERM, IF, 1, TYPE_MASK, TYPE(0xf5) },
	/* where the kernel is known to be weak */
	{ SYS_bpf, EPERM },
	{ SYS_perf_event_open, EPERM },
	{ SYS_userfaultfd, EPERM },
	/* the machine, for a vitrine that root has started */
	{ SYS_mount, EPERM },
	{ SYS_umount2, EPERM },
	{ SYS_move_mount, EPERM },
	{ SYS_open_tree, EPERM },
	{ SYS_open_tree_attr, EPERM },
	{ SYS_mount_setattr, EPERM },
	{ SYS_fsopen, EPERM },
	{ SYS_fsconfig, EPERM },
	{ SYS_fsmount, EPERM },
	{ SYS_fspick, EPERM },
	{ SYS_pivot_root, EPERM },
	{ SYS_chroot, EPERM },
	{ SYS_open_by_handle_at, EPERM },
	{ SYS_fanotify_init, EPERM },
	{ SYS_swapon, EPERM },
	{ SYS_swapoff, EPERM },
	{ SYS_reboot, EPERM },
	{ SYS_kexec_load, EPERM },
	{ SYS_init_module, EPERM },
	{ SYS_finit_module, EPERM },
	{ SYS_delete_module, EPERM },
	{ SYS_settimeofday, EPERM },
	{ SYS_clock_settime, EPERM },
	{ SYS_adjtimex, EPERM },
	{ SYS_clock_adjtime, EPERM },
	{ SYS_sethostname, EPERM },
	{ SYS_setdomainname, EPERM },
	{ SYS_syslog, EPERM },
	{ SYS_acct, EPERM },
	{ SYS_quotactl, EPERM },
	{ SYS_quotactl_fd, EPERM },
#ifdef SYS_kexec_file_load
	{ SYS_kexec_file_load, EPERM },
#endif
#ifdef SYS_iopl
	{ SYS_iopl, EPERM },
	{ SYS_ioperm, EPERM },
#endif
};

/* ... when nobody else refuses it. Reading is enough to cut a file short so. */
static const struct refusal truncation[] = {
	{ SYS_openat, EACCES, IF, 2, O_TRUNC, O_TRUNC },
#ifdef SYS_open
	{ SYS_open, EACCES, IF, 1, O_TRUNC, O_TRUNC },
	{ SYS_creat, EACCES },
#endif
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- the program that says so ---- */

/* Numbers from there on belong to another calling convention of the same processor (x32). */
enum { OTHER_CONVENTION = 0x40000000 };

enum { BEGIN_LENGTH = 6, REFUSAL_LENGTH = 6, END_LENGTH = 1 };

struct program {
	struct sock_filter filter[BEGIN_LENGTH + (COUNT(refusals) + COUNT(truncation)) * REFUSAL_LENGTH + END_LENGTH];
	unsigned short length;
};

static void put(struct program *program, uint16_t code, uint32_t value, uint8_t if_true, uint8_t if_false)
{
	program->filter[program->length++] = (struct sock_filter){ code, if_true, if_false, value };
}

static void put_load(struct program *program, size_t offset)
{
	put(program, BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset, 0, 0);
}

/* Leaves out as many instructions as said. */
static void put_jump(struct program *program, uint32_t equal_to, uint8_t if_true, uint8_t if_false)
{
	put(program, BPF_JMP | BPF_JEQ | BPF_K, equal_to, if_true, if_false);
}

static void put_return(struct program *program, uint32_t action)
{
	put(program, BPF_RET | BPF_K, action, 0, 0);
}

static void put_begin(struct program *program)
{
	put_load(program, offsetof(struct seccomp_data, arch));
	put_jump(program, OUR_ARCH, 1, 0);
	put_return(program, SECCOMP_RET_KILL_PROCESS);
	put_load(program, offsetof(struct seccomp_data, nr));
	put(program, BPF_JMP | BPF_JGE | BPF_K, OTHER_CONVENTION, 0, 1);
	put_return(program, SECCOMP_RET_KILL_PROCESS);
}

/* What leaves out the return that follows, where the condition is not met. */
static void put_condition(struct program *program, const struct refusal *refusal, uint32_t pid)
{
	put_load(program, offsetof(struct seccomp_data, args) + refusal->argument * sizeof(uint64_t)); // low half: little endian
	if (refusal->condition == FOR_OTHERS) {
		put_jump(program, 0, 2, 0);
		put_jump(program, pid, 1, 0);
		return;
	}
	put(program, BPF_ALU | BPF_AND | BPF_K, refusal->mask, 0, 0);
	put_jump(program, refusal->value, refusal->condition == UNLESS, refusal->condition == IF);
}

static void put_refusal(struct program *program, const struct refusal *refusal, uint32_t pid)
{
	put_load(program, offsetof(struct seccomp_data, nr));
	put_jump(program, refusal->call, 0, refusal->condition == ALWAYS ? 1 : 4);
	if (refusal->condition != ALWAYS)
		put_condition(program, refusal, pid);
	put_return(program, SECCOMP_RET_ERRNO | refusal->error);
}

int vtr_process_restrict_calls(bool refuse_truncation)
{
	struct program program = { .length = 0 };
	const uint32_t pid = (uint32_t)getpid();

	if (!OUR_ARCH)
		return -EOPNOTSUPP;
	put_begin(&program);
	for (size_t i = 0; i < COUNT(refusals); i++)
		put_refusal(&program, &refusals[i], pid);
	for (size_t i = 0; i < COUNT(truncation) && refuse_truncation; i++)
		put_refusal(&program, &truncation[i], pid);
	put_return(&program, SECCOMP_RET_ALLOW);
	const struct sock_fprog all = { .len = program.length, .filter = program.filter };
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &all) < 0 ? -errno : 0;
}
