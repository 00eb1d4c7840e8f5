/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vfio/acquire.h"
#include "vfio/uapi.h"

/*
 * A machine in a folder: what is read of /proc, /sys and /dev is real files there, and the system calls that act on other processes
 * and devices are the functions here.
 */

#define DEVICE_LINK "anon_inode:[vfio-device]"

enum { PID = 4242, PIDFD = 300, DUPLICATE = 301, DEVICE = 302 };

static struct {
	char *root;
	struct vtr_vfio_host host;
	char proc[256], sys[256], dev[256];
	int pidfd_error, getfd_error; // 0: works
	int taken;                    // which fd of the process
	int status_flags;             // of the group
	unsigned long failing;        // ioctl request that fails
	int ioctl_error;
	unsigned ioctls;
	unsigned long requests[8];
} machine;

/* Files have the text's newline; nothing is made twice. */
static void put_file(const char *name, const char *text)
{
	g_autofree char *path = g_build_filename(machine.root, name, NULL), *folder = g_path_get_dirname(path);

	g_assert_cmpint(g_mkdir_with_parents(folder, 0755), ==, 0);
	g_assert_true(g_file_set_contents(path, text, -1, NULL));
}

static void put_link(const char *name, const char *target)
{
	g_autofree char *path = g_build_filename(machine.root, name, NULL), *folder = g_path_get_dirname(path);

	g_assert_cmpint(g_mkdir_with_parents(folder, 0755), ==, 0);
	unlink(path);
	g_assert_cmpint(symlink(target, path), ==, 0);
}

static void remove_all(const char *path)
{
	GDir *folder = g_file_test(path, G_FILE_TEST_IS_SYMLINK) ? NULL : g_dir_open(path, 0, NULL);
	const char *name;

	while (folder && (name = g_dir_read_name(folder))) {
		g_autofree char *inner = g_build_filename(path, name, NULL);

		remove_all(inner);
	}
	if (folder)
		g_dir_close(folder);
	g_remove(path);
}

static int open_at(int number)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC), at = fcntl(fd, F_DUPFD_CLOEXEC, number);

	g_assert_cmpint(at, ==, number); // else something was left open
	close(fd);
	return at;
}

static int fake_pidfd_open(pid_t pid, unsigned flags)
{
	g_assert_cmpint(pid, ==, PID);
	g_assert_cmpuint(flags, ==, 0);
	errno = machine.pidfd_error;
	return machine.pidfd_error ? -1 : open_at(PIDFD);
}

static int fake_pidfd_getfd(int pidfd, int fd, unsigned flags)
{
	g_assert_cmpint(pidfd, ==, PIDFD);
	g_assert_cmpuint(flags, ==, 0);
	machine.taken = fd;
	errno = machine.getfd_error;
	return machine.getfd_error ? -1 : open_at(DUPLICATE);
}

static int fake_ioctl(int fd, unsigned long request, void *argument)
{
	g_assert_cmpuint(machine.ioctls, <, G_N_ELEMENTS(machine.requests));
	machine.requests[machine.ioctls++] = request;
	if (request == machine.failing) {
		errno = machine.ioctl_error;
		return -1;
	}
	if (request == VFIO_GROUP_GET_STATUS)
		((struct vfio_group_status *)argument)->flags = (uint32_t)machine.status_flags;
	if (request == VFIO_GROUP_GET_DEVICE_FD) {
		g_assert_cmpstr(argument, ==, "0000:01:00.0");
		return open_at(DEVICE);
	}
	return 0;
}

static void set_up(void)
{
	memset(&machine, 0, sizeof(machine));
	machine.root = g_dir_make_tmp("vitrine-XXXXXX", NULL);
	machine.status_flags = VFIO_GROUP_FLAGS_VIABLE;
	machine.taken = -1;
	g_snprintf(machine.proc, sizeof(machine.proc), "%s/proc", machine.root);
	g_snprintf(machine.sys, sizeof(machine.sys), "%s/sys", machine.root);
	g_snprintf(machine.dev, sizeof(machine.dev), "%s/dev", machine.root);
	machine.host = (struct vtr_vfio_host){
		.proc = machine.proc,
		.sys = machine.sys,
		.dev = machine.dev,
		.ioctl = fake_ioctl,
		.pidfd_open = fake_pidfd_open,
		.pidfd_getfd = fake_pidfd_getfd,
	};
	put_file("proc/self/status", "Name:\tvitrine\nUid:\t1000\t1000\t1000\t1000\nCapEff:\t0000000000000000\n");
}

static void tear_down(void)
{
	remove_all(machine.root);
	g_free(machine.root);
	g_assert_cmpint(fcntl(PIDFD, F_GETFD), ==, -1); // closed, however it went
}

/* fd number fd of process: what its link says, and which device fdinfo names (NULL: none) */
static void put_fd(const char *process, int fd, const char *link, const char *bdf)
{
	g_autofree char *name = g_strdup_printf("proc/%s/fd/%d", process, fd);
	g_autofree char *info = g_strdup_printf("proc/%s/fdinfo/%d", process, fd);
	g_autofree char *text =
		bdf ? g_strdup_printf("pos:\t0\nflags:\t02000002\nvfio-device-syspath: /sys/devices/pci0000:00/%s\n", bdf)
		    : g_strdup("pos:\t0\nflags:\t02\n");

	put_link(name, link);
	put_file(info, text);
}

static int acquire(const char *text, struct vtr_error *error)
{
	*error = (struct vtr_error){ 0 };
	int fd = vtr_vfio_host_acquire(&machine.host, text, error);
	g_assert_cmpuint(strlen(error->text), <, sizeof(error->text) - 1);
	return fd;
}

static void expect_error(int result, const struct vtr_error *error, int code, const char *word)
{
	g_assert_cmpint(result, ==, -code);
	g_assert_cmpint(error->code, ==, code);
	if (!strstr(error->text, word))
		g_test_fail_printf("\"%s\" does not say \"%s\"", error->text, word);
}

/* ---- texts ---- */

static const char *const bad_texts[] = {
	"",
	"fd",
	"fd=",
	"fd=x",
	"fd=-1",
	"fd=3x",
	"fd=99999999999",
	"pid=",
	"pid=0",
	"pid=-1",
	"pid=12,",
	"pid=12,device=",
	"pid=12,device=x",
	"pid=12,bdf=01:00.0",
	"pid=123456789012345678901234567890",
	"bdf=",
	"bdf=1",
	"bdf=01:00",
	"bdf=01:00.8",
	"bdf=01:20.0",
	"bdf=100:00.0",
	"bdf=0000:01:00.0x",
	"bdf=../../etc",
	"dev=01:00.0",
	"=3",
};

static void test_bad_text(gconstpointer data)
{
	struct vtr_error error;

	set_up();
	expect_error(acquire(data, &error), &error, EINVAL, "bdf=BDF");
	tear_down();
}

static void test_vfio_user(void)
{
	struct vtr_error error;

	set_up();
	expect_error(acquire("vfio-user=/run/device.sock", &error), &error, EINVAL, "one client, its VMM");
	tear_down();
}

static void test_bdf(void)
{
	char bdf[VTR_VFIO_BDF];

	g_assert_true(vtr_vfio_parse_bdf("01:00.0", bdf));
	g_assert_cmpstr(bdf, ==, "0000:01:00.0");
	g_assert_true(vtr_vfio_parse_bdf("0000:AB:1f.7", bdf));
	g_assert_cmpstr(bdf, ==, "0000:ab:1f.7");
	g_assert_true(vtr_vfio_parse_bdf("10000:01:00.0", bdf));
	g_assert_cmpstr(bdf, ==, "10000:01:00.0");
}

/* ---- fd= ---- */

static void test_fd(void)
{
	struct vtr_error error;
	int fd = open("/dev/null", O_RDWR); // NOLINT: inherited, so not CLOEXEC
	g_autofree char *text = g_strdup_printf("fd=%d", fd);

	set_up();
	put_fd("self", fd, "/dev/null", NULL);
	expect_error(acquire(text, &error), &error, ENODEV, "no VFIO device");
	g_assert_cmpint(fcntl(fd, F_GETFD), ==, 0); // still open, untouched
	put_fd("self", fd, DEVICE_LINK, NULL);
	g_assert_cmpint(acquire(text, &error), ==, fd);
	g_assert_cmpint(fcntl(fd, F_GETFD), ==, FD_CLOEXEC);
	put_fd("self", fd, "/dev/vfio/devices/vfio3", NULL);
	g_assert_cmpint(acquire(text, &error), ==, fd);
	close(fd);
	expect_error(acquire(text, &error), &error, EBADF, "not open");
	tear_down();
}

/* ---- pid= ---- */

enum { FDS = 4 };

static const struct pid_row {
	const char *name;
	struct {
		int fd;
		const char *link, *bdf;
	} fds[FDS];
	const char *text;
	int taken;            // -1: none
	const char *received; // BDF of the duplicate
	int code;
	const char *word;
} pid_rows[] = {
	{ "only-one", { { 3, "/dev/null", 0 }, { 17, DEVICE_LINK, "0000:01:00.0" } }, "pid=4242", 17, "0000:01:00.0", 0, "" },
	{ "node", { { 17, "/dev/vfio/devices/vfio0", "0000:01:00.0" } }, "pid=4242", 17, "0000:01:00.0", 0, "" },
	{ "unknown-address", { { 17, DEVICE_LINK, 0 } }, "pid=4242", 17, 0, 0, "" },
	{ "which",
	  { { 17, DEVICE_LINK, "0000:01:00.0" }, { 18, DEVICE_LINK, "0000:02:00.0" } },
	  "pid=4242,device=02:00.0",
	  18,
	  "0000:02:00.0",
	  0,
	  "" },
	{ "which-by-its-full-name",
	  { { 17, DEVICE_LINK, "0000:01:00.0" }, { 18, DEVICE_LINK, "0001:01:00.0" } },
	  "pid=4242,device=0001:01:00.0",
	  18,
	  "0001:01:00.0",
	  0,
	  "" },
	{ "which-of-two",
	  { { 17, DEVICE_LINK, "0000:01:00.0" }, { 18, DEVICE_LINK, "0000:02:00.0" } },
	  "pid=4242",
	  -1,
	  0,
	  EINVAL,
	  "device=" },
	{ "another", { { 17, DEVICE_LINK, "0000:01:00.0" } }, "pid=4242,device=02:00.0", -1, 0, ENODEV, "but 0000:01:00.0" },
	{ "none", { { 17, "/dev/vfio/12", 0 }, { 18, "anon_inode:kvm-vm", 0 } }, "pid=4242", -1, 0, ENODEV, "the VMM itself" },
	{ "changed", { { 17, DEVICE_LINK, "0000:01:00.0" } }, "pid=4242", 17, "0000:02:00.0", EAGAIN, "try again" },
};

static void test_pid(gconstpointer data)
{
	const struct pid_row *row = data;
	struct vtr_error error;

	set_up();
	for (unsigned i = 0; i < FDS && row->fds[i].link; i++)
		put_fd("4242", row->fds[i].fd, row->fds[i].link, row->fds[i].bdf);
	put_fd("self", DUPLICATE, DEVICE_LINK, row->received);
	int fd = acquire(row->text, &error);
	g_assert_cmpint(machine.taken, ==, row->taken);
	if (row->code) {
		expect_error(fd, &error, row->code, row->word);
	} else {
		g_assert_cmpint(fd, ==, DUPLICATE);
		close(fd);
	}
	g_assert_cmpint(fcntl(DUPLICATE, F_GETFD), ==, -1);
	tear_down();
}

static void test_two_fds_of_one_device(void)
{
	struct vtr_error error;

	set_up();
	put_fd("4242", 17, DEVICE_LINK, "0000:01:00.0");
	put_fd("4242", 18, DEVICE_LINK, "0000:01:00.0");
	put_fd("self", DUPLICATE, DEVICE_LINK, "0000:01:00.0");
	int fd = acquire("pid=4242", &error);
	g_assert_cmpint(fd, ==, DUPLICATE);
	close(fd);
	tear_down();
}

static void test_not_what_it_was(void)
{
	struct vtr_error error;

	set_up();
	put_fd("4242", 17, DEVICE_LINK, NULL);
	put_fd("self", DUPLICATE, "/etc/shadow", NULL);
	expect_error(acquire("pid=4242", &error), &error, EAGAIN, "try again");
	g_assert_cmpint(fcntl(DUPLICATE, F_GETFD), ==, -1);
	tear_down();
}

static const struct right_row {
	const char *name;
	int open_error, take_error;
	unsigned owner;
	const char *scope; // of Yama, NULL: not there
	bool capable;
	int code;
	const char *word;
} right_rows[] = {
	{ "no-process", ESRCH, 0, 1000, NULL, false, ESRCH, "no process 4242" },
	{ "other-user", 0, EPERM, 107, "0\n", false, EPERM, "belongs to user 107" },
	{ "yama-1", 0, EPERM, 1000, "1\n", false, EPERM, "ptrace_scope is 1" },
	{ "yama-2", 0, EPERM, 1000, "2\n", false, EPERM, "ptrace_scope is 2" },
	{ "yama-3", 0, EPERM, 1000, "3\n", true, EPERM, "fd=" },
	{ "not-dumpable", 0, EPERM, 1000, NULL, false, EPERM, "dumped" },
	{ "capable-and-forbidden", 0, EPERM, 107, "1\n", true, EPERM, "seccomp" },
	{ "old-kernel", ENOSYS, 0, 1000, NULL, false, ENOSYS, "5.6" },
	{ "old-kernel-with-pidfds", 0, ENOSYS, 1000, NULL, false, ENOSYS, "5.6" },
	{ "closed-meanwhile", 0, EBADF, 1000, NULL, false, EAGAIN, "just closed" },
	{ "no-room", 0, EMFILE, 1000, NULL, false, EMFILE, "open files" },
};

static void test_right(gconstpointer data)
{
	const struct right_row *row = data;
	struct vtr_error error;

	set_up();
	g_autofree char *status =
		g_strdup_printf("Name:\tqemu\nUid:\t%u\t%u\t%u\t%u\n", row->owner, row->owner, row->owner, row->owner);
	put_file("proc/4242/status", status);
	put_fd("4242", 17, DEVICE_LINK, "0000:01:00.0");
	if (row->scope)
		put_file("proc/sys/kernel/yama/ptrace_scope", row->scope);
	if (row->capable)
		put_file("proc/self/status", "Uid:\t1000\t1000\t1000\t1000\nCapEff:\t0000000000080000\n");
	machine.pidfd_error = row->open_error;
	machine.getfd_error = row->take_error;
	expect_error(acquire("pid=4242", &error), &error, row->code, row->word);
	tear_down();
}

static void test_process_ends(void)
{
	struct vtr_error error;

	set_up(); // there is a pidfd, and nothing in /proc any more
	expect_error(acquire("pid=4242", &error), &error, ESRCH, "no process");
	tear_down();
}

/* ---- bdf= ---- */

static void put_device(const char *driver)
{
	put_link("sys/bus/pci/devices/0000:01:00.0/iommu_group", "../../../../kernel/iommu_groups/12");
	put_link("sys/bus/pci/devices/0000:01:00.0/driver", driver);
}

static void put_group(void)
{
	put_device("../../../bus/pci/drivers/vfio-pci");
	put_file("dev/vfio/vfio", "");
	put_file("dev/vfio/12", "");
}

static void put_node(void)
{
	put_file("sys/bus/pci/devices/0000:01:00.0/vfio-dev/vfio3/dev", "511:3\n");
	put_file("dev/vfio/devices/vfio3", "");
	put_file("dev/iommu", "");
}

static void test_group(void)
{
	struct vtr_error error;

	set_up();
	put_group();
	int fd = acquire("bdf=01:00.0", &error);
	g_assert_cmpstr(error.text, ==, "");
	g_assert_cmpint(fd, ==, DEVICE);
	g_assert_cmpuint(machine.ioctls, ==, 4);
	g_assert_cmpuint(machine.requests[1], ==, VFIO_GROUP_SET_CONTAINER);
	g_assert_cmpuint(machine.requests[2], ==, VFIO_SET_IOMMU);
	close(fd);
	tear_down();
}

static void test_node(void)
{
	struct vtr_error error;

	set_up();
	put_group();
	put_node();
	int fd = acquire("bdf=01:00.0", &error);
	g_assert_cmpint(fd, >=, 0);
	g_assert_cmpuint(machine.ioctls, ==, 1);
	g_assert_cmpuint(machine.requests[0], ==, VTR_VFIO_DEVICE_BIND_IOMMUFD);
	g_assert_cmpint(fcntl(fd, F_GETFD), ==, FD_CLOEXEC);
	close(fd);
	tear_down();
}

static const struct open_row {
	const char *name;
	unsigned long failing;
	int error;
	bool node;
	int code;
	const char *word;
} open_rows[] = {
	{ "node-in-use", VTR_VFIO_DEVICE_BIND_IOMMUFD, EINVAL, true, EBUSY, "pid=" },
	{ "node-of-a-busy-group", VTR_VFIO_DEVICE_BIND_IOMMUFD, EBUSY, true, EBUSY, "pid=" },
	{ "node-without-iommu", VTR_VFIO_DEVICE_BIND_IOMMUFD, ENODEV, true, ENODEV, "cannot be bound" },
	{ "group-is-none", VFIO_GROUP_GET_STATUS, ENOTTY, false, ENOTTY, "no VFIO group" },
	{ "container", VFIO_GROUP_SET_CONTAINER, EINVAL, false, EINVAL, "vfio_iommu_type1" },
	{ "iommu", VFIO_SET_IOMMU, EPERM, false, EPERM, "vfio_iommu_type1" },
	{ "device", VFIO_GROUP_GET_DEVICE_FD, EIO, false, EIO, "out of its group" },
};

static void test_open(gconstpointer data)
{
	const struct open_row *row = data;
	struct vtr_error error;

	set_up();
	put_group();
	if (row->node)
		put_node();
	machine.failing = row->failing;
	machine.ioctl_error = row->error;
	int before = dup(0);
	expect_error(acquire("bdf=0000:01:00.0", &error), &error, row->code, row->word);
	int after = dup(0);
	g_assert_cmpint(after, ==, before + 1); // nothing was left open
	close(before);
	close(after);
	tear_down();
}

static void test_group_in_use_by_host(void)
{
	struct vtr_error error;

	set_up();
	put_group();
	machine.status_flags = 0;
	expect_error(acquire("bdf=01:00.0", &error), &error, EPERM, "the host still uses");
	tear_down();
}

static void test_other_driver(void)
{
	struct vtr_error error;

	set_up();
	put_device("../../../bus/pci/drivers/amdgpu");
	expect_error(acquire("bdf=01:00.0", &error), &error, ENODEV, "bound to amdgpu");
	tear_down();
}

static void test_no_group(void)
{
	struct vtr_error error;

	set_up();
	put_link("sys/bus/pci/devices/0000:01:00.0/driver", "../vfio-pci");
	expect_error(acquire("bdf=01:00.0", &error), &error, ENODEV, "intel_iommu=on");
	expect_error(acquire("bdf=01:00.1", &error), &error, ENODEV, "no PCI device 0000:01:00.1");
	tear_down();
}

#define ADD_ROWS(path, rows, function)                                                                                             \
	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {                                                                          \
		g_autofree char *name = g_strdup_printf(path "/%s", rows[i].name);                                                 \
		g_test_add_data_func(name, &rows[i], function);                                                                    \
	}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	for (size_t i = 0; i < G_N_ELEMENTS(bad_texts); i++) {
		g_autofree char *name = g_strdup_printf("/unit/vfio/acquire/bad-text/%zu", i);

		g_test_add_data_func(name, bad_texts[i], test_bad_text);
	}
	g_test_add_func("/unit/vfio/acquire/vfio-user", test_vfio_user);
	g_test_add_func("/unit/vfio/acquire/bdf", test_bdf);
	g_test_add_func("/unit/vfio/acquire/fd", test_fd);
	ADD_ROWS("/unit/vfio/acquire/pid", pid_rows, test_pid);
	g_test_add_func("/unit/vfio/acquire/pid/two-fds-of-one-device", test_two_fds_of_one_device);
	g_test_add_func("/unit/vfio/acquire/pid/not-what-it-was", test_not_what_it_was);
	ADD_ROWS("/unit/vfio/acquire/right", right_rows, test_right);
	g_test_add_func("/unit/vfio/acquire/right/process-ends", test_process_ends);
	g_test_add_func("/unit/vfio/acquire/open/group", test_group);
	g_test_add_func("/unit/vfio/acquire/open/node", test_node);
	ADD_ROWS("/unit/vfio/acquire/open", open_rows, test_open);
	g_test_add_func("/unit/vfio/acquire/open/group-in-use-by-host", test_group_in_use_by_host);
	g_test_add_func("/unit/vfio/acquire/open/other-driver", test_other_driver);
	g_test_add_func("/unit/vfio/acquire/open/no-group", test_no_group);
	return g_test_run();
}
