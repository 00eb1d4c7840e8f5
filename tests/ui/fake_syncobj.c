/* SPDX-License-Identifier: MIT */
#include "fake_syncobj.h"

#include <errno.h>
#include <glib.h>
#include <pthread.h>
#include <stdarg.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xf86drm.h>

enum { TIMELINES = 4096, WATCHES = 8 };

/* As the kernel lays it out; headers before Linux 6.6 do not have it. */
struct watch_request {
	uint32_t handle, flags;
	uint64_t point;
	int32_t fd;
	uint32_t pad;
};

struct watch {
	uint64_t point; /* 0: free */
	int fd;         /* a duplicate */
};

struct timeline {
	bool handle; /* of this process: its number + 1 */
	uint64_t signalled;
	struct watch watches[WATCHES];
};

static struct {
	pthread_mutex_t lock; /* not GLib's: TSan does not see those */
	struct fake_syncobj_options options;
	bool fail_watches;
	struct timeline timelines[TIMELINES];
	unsigned n_timelines, n_handles, main_device_asked;
} fake = { .lock = PTHREAD_MUTEX_INITIALIZER };

static int fail(int error)
{
	pthread_mutex_unlock(&fake.lock);
	errno = error;
	return -1;
}

static int ok(void)
{
	pthread_mutex_unlock(&fake.lock);
	return 0;
}

/* Locks. NULL: there is none. */
static struct timeline *timeline_of(uint32_t handle)
{
	pthread_mutex_lock(&fake.lock);
	struct timeline *timeline = handle && handle <= fake.n_timelines ? &fake.timelines[handle - 1] : NULL;
	return timeline && timeline->handle ? timeline : NULL;
}

static void drop_watches(struct timeline *timeline, uint64_t signalled, bool wake)
{
	for (int i = 0; i < WATCHES; i++) {
		struct watch *watch = &timeline->watches[i];

		if (!watch->point || watch->point > signalled)
			continue;
		if (wake)
			eventfd_write(watch->fd, 1);
		close(watch->fd);
		*watch = (struct watch){ 0 };
	}
}

static void signal_point(struct timeline *timeline, uint64_t point)
{
	timeline->signalled = MAX(timeline->signalled, point);
	drop_watches(timeline, timeline->signalled, true);
}

/* ---- for tests ---- */

void fake_syncobj_start(const struct fake_syncobj_options *options)
{
	pthread_mutex_lock(&fake.lock);
	for (unsigned i = 0; i < fake.n_timelines; i++)
		drop_watches(&fake.timelines[i], UINT64_MAX, false);
	memset(fake.timelines, 0, sizeof(fake.timelines));
	fake.options = *options;
	fake.fail_watches = false;
	fake.n_timelines = fake.n_handles = fake.main_device_asked = 0;
	pthread_mutex_unlock(&fake.lock);
}

void fake_syncobj_fail_watches(void)
{
	pthread_mutex_lock(&fake.lock);
	fake.fail_watches = true;
	pthread_mutex_unlock(&fake.lock);
}

int fake_syncobj_import(int fd)
{
	int number;

	return pread(fd, &number, sizeof(number), 0) == sizeof(number) ? number : -1;
}

void fake_syncobj_signal(int timeline, uint64_t point)
{
	pthread_mutex_lock(&fake.lock);
	signal_point(&fake.timelines[timeline], point);
	pthread_mutex_unlock(&fake.lock);
}

bool fake_syncobj_is_signalled(int timeline, uint64_t point)
{
	pthread_mutex_lock(&fake.lock);
	bool signalled = fake.timelines[timeline].signalled >= point;
	pthread_mutex_unlock(&fake.lock);
	return signalled;
}

unsigned fake_syncobj_handles(void)
{
	pthread_mutex_lock(&fake.lock);
	unsigned handles = fake.n_handles;
	pthread_mutex_unlock(&fake.lock);
	return handles;
}

unsigned fake_syncobj_main_device_asked(void)
{
	pthread_mutex_lock(&fake.lock);
	unsigned asked = fake.main_device_asked;
	pthread_mutex_unlock(&fake.lock);
	return asked;
}

/* ---- devices ---- */

static char *nodes[DRM_NODE_MAX] = { [DRM_NODE_PRIMARY] = (char *)"/dev/null", [DRM_NODE_RENDER] = (char *)"/dev/null" };
static drmDevice render_device = { .nodes = nodes, .available_nodes = 1 << DRM_NODE_PRIMARY | 1 << DRM_NODE_RENDER };
static drmDevice display_device = { .nodes = nodes, .available_nodes = 1 << DRM_NODE_PRIMARY };

int drmGetDeviceFromDevId(dev_t dev_id, uint32_t flags, drmDevicePtr *device)
{
	pthread_mutex_lock(&fake.lock);
	fake.main_device_asked++;
	bool found = fake.options.present && dev_id == FAKE_MAIN_DEVICE;
	pthread_mutex_unlock(&fake.lock);
	*device = &render_device;
	return found ? 0 : -ENODEV;
}

int drmGetDevices2(uint32_t flags, drmDevicePtr devices[], int max_devices)
{
	devices[0] = &display_device;
	return fake.options.present ? 1 : 0;
}

void drmFreeDevice(drmDevicePtr *device)
{
	*device = NULL;
}

void drmFreeDevices(drmDevicePtr devices[], int count)
{
}

int drmDropMaster(int fd)
{
	return 0;
}

int drmGetCap(int fd, uint64_t capability, uint64_t *value)
{
	*value = capability == DRM_CAP_SYNCOBJ_TIMELINE && !fake.options.no_timelines;
	return 0;
}

/* ---- timelines ---- */

int drmSyncobjCreate(int fd, uint32_t flags, uint32_t *handle)
{
	pthread_mutex_lock(&fake.lock);
	if (fake.n_timelines == TIMELINES)
		return fail(ENOMEM);
	fake.timelines[fake.n_timelines++].handle = true;
	fake.n_handles++;
	*handle = fake.n_timelines;
	return ok();
}

int drmSyncobjDestroy(int fd, uint32_t handle)
{
	struct timeline *timeline = timeline_of(handle);

	if (!timeline)
		return fail(EINVAL);
	drop_watches(timeline, UINT64_MAX, false);
	timeline->handle = false;
	fake.n_handles--;
	return ok();
}

int drmSyncobjHandleToFD(int fd, uint32_t handle, int *obj_fd)
{
	struct timeline *timeline = timeline_of(handle);
	int number = (int)handle - 1;

	if (!timeline)
		return fail(EINVAL);
	*obj_fd = memfd_create("timeline", MFD_CLOEXEC);
	g_assert_cmpint(write(*obj_fd, &number, sizeof(number)), ==, sizeof(number));
	return ok();
}

int drmSyncobjTimelineSignal(int fd, const uint32_t *handles, uint64_t *points, uint32_t handle_count)
{
	struct timeline *timeline = timeline_of(handles[0]);

	if (!timeline || handle_count != 1)
		return fail(EINVAL);
	signal_point(timeline, points[0]);
	return ok();
}

static int add_watch(struct timeline *timeline, const struct watch_request *request)
{
	for (int i = 0; i < WATCHES; i++) {
		if (timeline->watches[i].point)
			continue;
		timeline->watches[i] = (struct watch){ request->point, dup(request->fd) };
		drop_watches(timeline, timeline->signalled, true);
		return ok();
	}
	return fail(ENOMEM);
}

int drmIoctl(int fd, unsigned long request, void *arg)
{
	if (request != DRM_IOWR(0xCF, struct watch_request)) {
		errno = ENOTTY;
		return -1;
	}
	struct timeline *timeline = timeline_of(((struct watch_request *)arg)->handle);
	if (fake.options.no_eventfd || fake.fail_watches)
		return fail(fake.fail_watches ? ENODEV : ENOTTY);
	return timeline ? add_watch(timeline, arg) : fail(ENOENT);
}
