/* SPDX-License-Identifier: MIT */
/* The KMS display on a card in memory (fake_drm.c): monitors that come and go, whose screen it is, and what cannot work. */
#include <errno.h>
#include <linux/netlink.h>
#include <locale.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <vitrine/log.h>

#include "../ui/kms/hotplug.h"
#include "kms_guest.h"
#include "mute_display.h"
#include "rows.h"

int __real_kms_hotplug_open(void);

/* ---- monitors ---- */

/* A connector changes, and the kernel says so. */
static void plug(unsigned connector, struct fake_connector what)
{
	static const char message[] = "change@/devices/card0\0ACTION=change\0SUBSYSTEM=drm\0HOTPLUG=1\0MAJOR=0\0MINOR=0";

	pthread_mutex_lock(&fake->lock);
	fake->connectors[connector] = what;
	pthread_mutex_unlock(&fake->lock);
	g_assert_cmpint(send(hotplug[1], message, sizeof(message), 0), ==, sizeof(message));
}

static void test_hotplug(void)
{
	struct guest guest;

	fake_drm_create();
	start(&guest);
	expect_demand(&guest);
	show_instead(&guest, frame_buffer());
	present_all(&guest);
	expect_import(&guest);
	unsigned modes = guest.modes;
	plug(0, (struct fake_connector){ .connected = false });
	WAIT_FOR(&guest, !vtr_output_connected(guest.output) && !fake->crtcs[0].mode.hdisplay && guest.modes > modes);
	g_assert_cmpint(vtr_output_demand(guest.output), ==, VTR_DEMAND_NONE);
	g_assert_nonnull(vtr_output_capture(guest.output, false, captured, &guest));
	WAIT_FOR(&guest, guest.captured == 1);
	g_assert_cmpint(guest.picture.fd, ==, -1);
	modes = guest.modes;
	plug(0, (struct fake_connector){ .connected = true, .n_modes = 2, .modes = { { 1920, 1080, 50 }, { 1280, 800, 60 } } });
	WAIT_FOR(&guest, vtr_output_connected(guest.output) && guest.modes > modes);
	g_assert_cmpuint(vtr_output_mode(guest.output).width, ==, 1920);
	g_assert_cmpuint(vtr_output_mode(guest.output).height, ==, 1080);
	g_assert_cmpuint(vtr_output_mode(guest.output).refresh_mhz, ==, 50000);
	expect_import(&guest); /* the guest's picture is that of before, in its own mode */
	WAIT_FOR(&guest, fake->crtcs[0].mode.hdisplay == WIDTH);
	finish(&guest);
	fake_drm_destroy();
}

/* The same monitor reports something: nothing changes. Another one prefers another mode. */
static void test_other_monitor(void)
{
	struct guest guest;

	fake_drm_create();
	start(&guest);
	expect_demand(&guest);
	unsigned modes = guest.modes, modesets = fake->modesets;
	plug(0, fake->connectors[0]);
	settle(&guest);
	g_assert_cmpuint(guest.modes, ==, modes);
	g_assert_cmpuint(fake->modesets, ==, modesets);
	plug(0, (struct fake_connector){ .connected = true, .n_modes = 1, .modes = { { 1024, 768, 60 } } });
	WAIT_FOR(&guest, vtr_output_mode(guest.output).width == 1024);
	finish(&guest);
	fake_drm_destroy();
}

static const char unrelated[] = "change@/x\0ACTION=change\0SUBSYSTEM=drm\0MAJOR=226\0MINOR=1";
static const char truncated[] = "change@/x\0ACTION=change\0SUBSYSTEM=drm\0MAJOR=0\0MINO";
static const char other_subsystem[] = "change@/x\0ACTION=change\0SUBSYSTEM=usb\0MAJOR=0\0MINOR=0";
static const char added[] = "add@/x\0ACTION=add\0SUBSYSTEM=drm\0MAJOR=226\0MINOR=0";

static const struct message_row {
	const char *name;
	const char *text;
	size_t size;
} messages[] = {
	{ "another-card", unrelated, sizeof(unrelated) },
	{ "truncated", truncated, sizeof(truncated) - 1 },
	{ "another-subsystem", other_subsystem, sizeof(other_subsystem) },
	{ "another-action", added, sizeof(added) },
	{ "empty", "", 0 },
};

static void count_probes(struct fake_drm *drm, uint32_t value)
{
	drm->connectors[0].connected = value;
}

/* Messages that are none of ours are passed over. */
static void test_message(gconstpointer data)
{
	const struct message_row *row = data;
	struct guest guest;

	fake_drm_create();
	start(&guest);
	expect_demand(&guest);
	change(count_probes, false); /* would be seen by whoever looks */
	g_assert_cmpint(send(hotplug[1], row->text, row->size, 0), ==, (ssize_t)row->size);
	settle(&guest);
	g_assert_true(vtr_output_connected(guest.output));
	finish(&guest);
	fake_drm_destroy();
}

/* Three connectors, two CRTCs: the third monitor has to wait until one of the others is pulled. */
static void test_crtcs(void)
{
	struct guest guest;

	fake_drm_create();
	fake->n_connectors = 3;
	fake->n_crtcs = 2;
	fake->connectors[0].connected = false;
	vtr_log_set_level(VTR_LOG_ERROR);
	start(&guest); /* the one without a monitor is the last */
	g_assert_cmpstr(vtr_output_name(vtr_outputs_get(guest.outputs, 0)), ==, "HDMI-A-2");
	g_assert_cmpstr(vtr_output_name(vtr_outputs_get(guest.outputs, 2)), ==, "HDMI-A-1");
	WAIT_FOR(&guest, fake->crtcs[0].fb > FAKE_OLD_FB && fake->crtcs[1].fb > FAKE_OLD_FB &&
	                         !vtr_output_connected(vtr_outputs_get(guest.outputs, 2)));
	plug(0, (struct fake_connector){ .connected = true, .n_modes = 1, .modes = { { 800, 600, 60 } } });
	settle(&guest);
	g_assert_false(vtr_output_connected(vtr_outputs_get(guest.outputs, 2)));
	plug(2, (struct fake_connector){ .connected = false });
	WAIT_FOR(&guest, !vtr_output_connected(vtr_outputs_get(guest.outputs, 1)));
	plug(0, fake->connectors[0]);
	WAIT_FOR(&guest, vtr_output_connected(vtr_outputs_get(guest.outputs, 2)));
	vtr_log_set_level(VTR_LOG_WARN);
	finish(&guest);
	fake_drm_destroy();
}

/* Each connector stays on the CRTC that fed it: what the firmware or the console have chosen works. */
static void test_same_crtc(void)
{
	struct guest guest;

	fake_drm_create();
	fake->n_connectors = fake->n_crtcs = 2;
	fake->crtcs[1] = fake->crtcs[0];
	fake->crossed = true;
	fake->connectors[1].modes[0].width = 1600;
	start(&guest);
	WAIT_FOR(&guest, fake->crtcs[0].mode.hdisplay == 1600 && fake->crtcs[1].mode.hdisplay == WIDTH);
	finish(&guest);
	g_assert_cmpuint(fake->crtcs[1].fb, ==, FAKE_OLD_FB);
	fake_drm_destroy();
}

static void hold_events(struct fake_drm *drm, uint32_t value)
{
	drm->hold_events = value;
}

/* The event of a flip that was on its way when the monitor was pulled is not that of what is shown on the next one. */
static void test_late_event(void)
{
	struct guest guest;

	fake_drm_create();
	start(&guest);
	expect_demand(&guest);
	change(hold_events, true);
	show_instead(&guest, frame_buffer());
	present_all(&guest);
	WAIT_FOR(&guest, fake->crtcs[0].n_events == 1);
	plug(0, (struct fake_connector){ .connected = false });
	WAIT_FOR(&guest, !vtr_output_connected(guest.output));
	plug(0, (struct fake_connector){ .connected = true, .n_modes = 1, .modes = { { WIDTH, HEIGHT, 60 } } });
	WAIT_FOR(&guest, vtr_output_connected(guest.output) && fake->crtcs[0].n_events == 2);
	unsigned commits = fake->commits;
	present_all(&guest);
	fake_flip(0, 1);
	settle(&guest);
	g_assert_cmpuint(fake->commits, ==, commits);
	fake_flip(0, 2);
	WAIT_FOR(&guest, fake->commits == commits + 1);
	change(hold_events, false);
	fake_flip(0, 3);
	expect_import(&guest);
	finish(&guest);
	fake_drm_destroy();
}

/* Whatever is in it: a message of another process, which the kernel passes on for root, is none of the kernel's. */
static void test_foreign_message(void)
{
	static const char message[] = "change@/x\0ACTION=change\0SUBSYSTEM=drm\0MAJOR=0\0MINOR=0";
	struct sockaddr_nl address = { .nl_family = AF_NETLINK };
	socklen_t length = sizeof(address);
	int fd = __real_kms_hotplug_open(), sender = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_KOBJECT_UEVENT);

	g_assert_cmpint(fd, >=, 0);
	g_assert_cmpint(getsockname(fd, (struct sockaddr *)&address, &length), ==, 0);
	address.nl_groups = 0;
	if (sendto(sender, message, sizeof(message), 0, (struct sockaddr *)&address, length) < 0)
		g_assert_true(errno == EPERM || errno == ECONNREFUSED); /* the kernel does not even pass it on */
	else
		g_assert_false(kms_hotplug_read(fd, 0));
	close(sender);
	close(fd);
}

struct wanted_row {
	const char *name;
	struct vtr_mode wanted;
	uint32_t width, height;
};

static const struct wanted_row wanted[] = {
	{ "there", { 800, 600, 75000 }, 800, 600 },
	{ "not-there", { 1600, 900, 60000 }, WIDTH, HEIGHT },
};

static void test_wanted(gconstpointer data)
{
	const struct wanted_row *row = data;
	struct guest guest = { 0 };
	struct vtr_error error;

	fake_drm_create();
	vtr_log_set_level(VTR_LOG_ERROR);
	guest.display = vtr_kms_create(fake->path, &error);
	guest.outputs = vtr_outputs_create();
	guest.output = vtr_outputs_add(guest.outputs, guest.display, &row->wanted, NULL);
	WAIT_FOR(&guest, fake->crtcs[0].mode.hdisplay == row->width && vtr_output_mode(guest.output).height == row->height);
	vtr_log_set_level(VTR_LOG_WARN);
	finish(&guest);
	fake_drm_destroy();
}

/* An output that moves to another display leaves its monitor dark, and what it had there is given back; and it comes back. */
static void test_move(void)
{
	struct guest guest;
	struct mute_display *other = mute_display_create();

	fake_drm_create();
	start(&guest);
	expect_demand(&guest);
	show_instead(&guest, frame_buffer());
	present_all(&guest);
	expect_import(&guest);
	g_assert_cmpint(vtr_output_move(guest.output, &other->base), ==, 0);
	WAIT_FOR(&guest, !fake->crtcs[0].mode.hdisplay);
	mute_wait(other, &other->attached, 1);
	guest.presented = guest.done = 0;
	g_assert_cmpint(vtr_output_move(guest.output, guest.display), ==, 0);
	WAIT_FOR(&guest, vtr_output_demand(guest.output) == VTR_DEMAND_DMABUF && fake->crtcs[0].mode.hdisplay == WIDTH);
	present_all(&guest);
	expect_import(&guest);
	vtr_display_destroy(guest.display);
	vtr_display_destroy(&other->base);
	guest.display = NULL;
	finish(&guest);
	g_assert_cmpuint(fake_count_handles(), ==, 0);
	fake_drm_destroy();
}

/* ---- whose screen it is ---- */

static void set_other_master(struct fake_drm *drm, uint32_t value)
{
	drm->other_master = value;
	drm->master = !value;
}

static void test_lost_master(void)
{
	struct guest guest;

	fake_drm_create();
	start(&guest);
	expect_demand(&guest);
	show_instead(&guest, frame_buffer());
	present_all(&guest);
	expect_import(&guest);
	vtr_log_set_level(VTR_LOG_ERROR);
	change(set_other_master, true);
	present_all(&guest);
	WAIT_FOR(&guest, vtr_output_demand(guest.output) == VTR_DEMAND_NONE && guest.done == guest.presented);
	g_assert_cmpuint(guest.refused, ==, 0); /* the buffer is all right */
	g_assert_cmpuint(guest.dropped, ==, 1);
	uint32_t fb = fake->crtcs[0].fb;
	present_all(&guest);
	WAIT_FOR(&guest, guest.done == guest.presented);
	g_assert_cmpuint(fake->crtcs[0].fb, ==, fb);
	g_assert_cmpuint(guest.dropped, ==, 2);
	pthread_mutex_lock(&fake->lock);
	fake->crtcs[0].fb = FAKE_OLD_FB; /* what the other one showed */
	pthread_mutex_unlock(&fake->lock);
	unsigned modesets = fake->modesets;
	change(set_other_master, false);
	pthread_mutex_lock(&fake->lock);
	fake->master = false;
	pthread_mutex_unlock(&fake->lock);
	WAIT_FOR(&guest, fake->master && fake->modesets > modesets);
	expect_import(&guest);
	vtr_log_set_level(VTR_LOG_WARN);
	finish(&guest);
	fake_drm_destroy();
}

/* What was on the screen before comes back, and somebody else may have the card. */
static void test_restore(void)
{
	struct guest guest;

	fake_drm_create();
	start(&guest);
	expect_demand(&guest);
	show_instead(&guest, frame_buffer());
	present_all(&guest);
	expect_import(&guest);
	finish(&guest);
	g_assert_cmpuint(fake->crtcs[0].fb, ==, FAKE_OLD_FB);
	g_assert_cmpuint(fake->crtcs[0].mode.hdisplay, ==, 640);
	g_assert_false(fake->master);
	fake_drm_destroy();
}

/* The same when the process is killed. */
static void test_killed(void)
{
	struct guest guest;

	fake_drm_create();
	pid_t child = fork();
	if (child == 0) {
		start(&guest);
		expect_demand(&guest);
		for (;;)
			pause();
	}
	gint64 end = g_get_monotonic_time() + SECONDS * G_USEC_PER_SEC;
	while (g_get_monotonic_time() < end && __atomic_load_n(&fake->crtcs[0].fb, __ATOMIC_RELAXED) <= FAKE_OLD_FB)
		g_usleep(1000);
	g_assert_cmpuint(fake->crtcs[0].fb, >, FAKE_OLD_FB);
	/* not within a call of the fake's, which would keep its lock for ever: a kernel comes to an end with it */
	pthread_mutex_lock(&fake->lock);
	kill(child, SIGKILL);
	g_assert_cmpint(waitpid(child, NULL, 0), ==, child);
	pthread_mutex_unlock(&fake->lock);
	end = g_get_monotonic_time() + SECONDS * G_USEC_PER_SEC; /* for the keeper */
	while (g_get_monotonic_time() < end && __atomic_load_n(&fake->crtcs[0].fb, __ATOMIC_RELAXED) != FAKE_OLD_FB)
		g_usleep(1000);
	g_assert_cmpuint(fake->crtcs[0].fb, ==, FAKE_OLD_FB);
	g_assert_cmpuint(fake->crtcs[0].mode.hdisplay, ==, 640);
	fake_drm_destroy();
}

/* ---- what cannot work ---- */

static void no_connectors(void)
{
	fake->n_connectors = 0;
}

static void other_master(void)
{
	fake->other_master = true;
}

static void no_card(void)
{
	strcpy(fake->path, "/nonexistent/card0");
}

static void nothing(void)
{
}

static const struct failure_row {
	const char *name;
	void (*prepare)(void);
	int code;
	const char *words[2];
} failures[] = {
	{ "no-card", no_card, ENOENT, { "there is no", "driver" } },
	{ "no-connectors", no_connectors, ENODEV, { "no connectors", "another card" } },
	{ "another-master", other_master, EBUSY, { "another program", "end it" } },
	{ "long-name", nothing, ENAMETOOLONG, { "name", "too long" } },
};

static void test_failure(gconstpointer data)
{
	const struct failure_row *row = data;
	g_autofree char *long_name = g_strnfill(5000, 'x');
	struct vtr_error error;
	char path[64];

	fake_drm_create();
	strcpy(path, fake->path);
	row->prepare();
	g_assert_null(vtr_kms_create(row->code == ENAMETOOLONG ? long_name : fake->path, &error));
	g_assert_cmpint(error.code, ==, row->code);
	for (size_t i = 0; i < G_N_ELEMENTS(row->words); i++)
		if (!strstr(error.text, row->words[i]))
			g_error("'%s' is not in '%s'", row->words[i], error.text);
	strcpy(fake->path, path);
	fake_drm_destroy();
}

static void test_no_permission(void)
{
	struct vtr_error error;

	if (geteuid() == 0) { /* root may open everything: as somebody else, in a process of its own */
		fake_drm_create();
		chmod(fake->path, 0);
		pid_t child = fork();
		if (child == 0)
			_exit(setuid(65534) || vtr_kms_create(fake->path, &error) || error.code != EACCES ||
			      !strstr(error.text, "video"));
		int status;
		g_assert_cmpint(waitpid(child, &status, 0), ==, child);
		g_assert_cmpint(status, ==, 0);
		fake_drm_destroy();
		return;
	}
	fake_drm_create();
	chmod(fake->path, 0);
	g_assert_null(vtr_kms_create(fake->path, &error));
	g_assert_cmpint(error.code, ==, EACCES);
	g_assert_nonnull(strstr(error.text, "video"));
	fake_drm_destroy();
}

int main(int argc, char **argv)
{
	setlocale(LC_ALL, "C");
	g_test_init(&argc, &argv, NULL);
	vtr_log_set_level(VTR_LOG_WARN);
	g_test_add_func("/kms/monitor/hotplug", test_hotplug);
	g_test_add_func("/kms/monitor/other", test_other_monitor);
	ADD_ROWS("/kms/monitor/message/", messages, test_message);
	g_test_add_func("/kms/monitor/crtcs", test_crtcs);
	g_test_add_func("/kms/monitor/same-crtc", test_same_crtc);
	g_test_add_func("/kms/monitor/late-event", test_late_event);
	g_test_add_func("/kms/monitor/foreign-message", test_foreign_message);
	ADD_ROWS("/kms/monitor/wanted/", wanted, test_wanted);
	g_test_add_func("/kms/move", test_move);
	g_test_add_func("/kms/master/lost", test_lost_master);
	g_test_add_func("/kms/master/restore", test_restore);
	g_test_add_func("/kms/master/killed", test_killed);
	ADD_ROWS("/kms/failure/", failures, test_failure);
	g_test_add_func("/kms/failure/no-permission", test_no_permission);
	return g_test_run();
}
