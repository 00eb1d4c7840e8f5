/* SPDX-License-Identifier: MIT */
#include "fake_drm.h"

#include <drm_fourcc.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CRTC = 10, PLANE = 20, CONNECTOR = 30, ENCODER = 40, PROPERTY = 100, BLOB = 1000, DUMB_SHIFT = 24 };

struct fake_drm *fake;

static const char *const property_names[] = { "type",   "FB_ID",  "CRTC_ID", "SRC_X",  "SRC_Y",  "SRC_W",           "SRC_H",
	                                      "CRTC_X", "CRTC_Y", "CRTC_W",  "CRTC_H", "ACTIVE", "FB_DAMAGE_CLIPS", "MODE_ID" };
enum { PROPERTIES = G_N_ELEMENTS(property_names) };
enum property { TYPE, FB_ID, CRTC_ID, SRC_X, SRC_Y, SRC_W, SRC_H, CRTC_X, CRTC_Y, CRTC_W, CRTC_H, ACTIVE, DAMAGE, MODE_ID };

void fake_drm_create(void)
{
	pthread_mutexattr_t attributes;

	fake = mmap(NULL, sizeof(*fake), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	g_assert_true(fake != MAP_FAILED);
	pthread_mutexattr_init(&attributes);
	pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
	pthread_mutex_init(&fake->lock, &attributes);
	pthread_mutexattr_destroy(&attributes);
	g_snprintf(fake->path, sizeof(fake->path), "%s/fake-card-%d", g_get_tmp_dir(), getpid());
	unlink(fake->path);
	g_assert_cmpint(mkfifo(fake->path, 0600), ==, 0);
	fake->events = open(fake->path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	fake->memory = memfd_create("dumb", MFD_CLOEXEC);
	g_assert_cmpint(ftruncate(fake->memory, (off_t)(FAKE_HANDLES + 1) << DUMB_SHIFT), ==, 0);
	fake->n_crtcs = fake->n_connectors = 1;
	fake->atomic = fake->modifiers = fake->cursor_plane = true;
	for (int i = 0; i < FAKE_CONNECTORS; i++)
		fake->connectors[i] = (struct fake_connector){
			.connected = true,
			.n_modes = 3,
			.modes = { { 1280, 800, 60 }, { 1024, 768, 60 }, { 800, 600, 75 } },
		};
	fake->crtcs[0].fb = FAKE_OLD_FB;
	fake->crtcs[0].mode = (drmModeModeInfo){ .hdisplay = 640, .vdisplay = 480 };
	fake->next_fb = FAKE_OLD_FB + 1;
}

void fake_drm_destroy(void)
{
	close(fake->events);
	close(fake->memory);
	unlink(fake->path);
	munmap(fake, sizeof(*fake));
	fake = NULL;
}

static void lock(void)
{
	pthread_mutex_lock(&fake->lock);
}

static int unlock(int error)
{
	pthread_mutex_unlock(&fake->lock);
	if (error)
		errno = error;
	return error ? -1 : 0;
}

/* ---- what the card has ---- */

int drmGetCap(int fd, uint64_t capability, uint64_t *value)
{
	switch (capability) {
	case DRM_CAP_PRIME:
		*value = DRM_PRIME_CAP_IMPORT | DRM_PRIME_CAP_EXPORT;
		return 0;
	case DRM_CAP_ADDFB2_MODIFIERS:
		*value = fake->modifiers;
		return 0;
	case DRM_CAP_TIMESTAMP_MONOTONIC:
		*value = 1;
		return 0;
	default:
		return -EINVAL;
	}
}

int drmSetClientCap(int fd, uint64_t capability, uint64_t value)
{
	return capability != DRM_CLIENT_CAP_ATOMIC || fake->atomic ? 0 : -EOPNOTSUPP;
}

drmVersionPtr drmGetVersion(int fd)
{
	drmVersionPtr version = calloc(1, sizeof(*version));

	version->name = strdup("fake");
	return version;
}

int drmIsMaster(int fd)
{
	lock();
	bool master = fake->master;
	unlock(0);
	return master;
}

int drmSetMaster(int fd)
{
	lock();
	fake->master = !fake->other_master;
	return unlock(fake->other_master ? EBUSY : 0);
}

int drmDropMaster(int fd)
{
	lock();
	fake->master = false;
	return unlock(0);
}

static uint32_t *ids(unsigned n, uint32_t first)
{
	uint32_t *list = calloc(n ? n : 1, sizeof(*list));

	for (unsigned i = 0; i < n; i++)
		list[i] = first + i;
	return list;
}

drmModeResPtr drmModeGetResources(int fd)
{
	drmModeResPtr resources = calloc(1, sizeof(*resources));

	resources->count_crtcs = (int)fake->n_crtcs;
	resources->crtcs = ids(fake->n_crtcs, CRTC);
	resources->count_connectors = (int)fake->n_connectors;
	resources->connectors = ids(fake->n_connectors, CONNECTOR);
	return resources;
}

drmModePlaneResPtr drmModeGetPlaneResources(int fd)
{
	drmModePlaneResPtr planes = calloc(1, sizeof(*planes));

	planes->count_planes = fake->n_crtcs;
	planes->planes = ids(fake->n_crtcs, PLANE);
	return planes;
}

drmModePlanePtr drmModeGetPlane(int fd, uint32_t id)
{
	drmModePlanePtr plane = calloc(1, sizeof(*plane));

	plane->plane_id = id;
	plane->possible_crtcs = 1u << (id - PLANE);
	plane->count_formats = 2;
	plane->formats = calloc(2, sizeof(uint32_t));
	plane->formats[0] = DRM_FORMAT_XRGB8888;
	plane->formats[1] = DRM_FORMAT_XBGR8888;
	return plane;
}

drmModeEncoderPtr drmModeGetEncoder(int fd, uint32_t id)
{
	drmModeEncoderPtr encoder = calloc(1, sizeof(*encoder));

	encoder->encoder_id = id;
	encoder->possible_crtcs = (1u << fake->n_crtcs) - 1;
	unsigned crtc = fake->crossed ? fake->n_crtcs - 1 - (id - ENCODER) : id - ENCODER;
	encoder->crtc_id = crtc < fake->n_crtcs && fake->crtcs[crtc].fb ? CRTC + crtc : 0;
	return encoder;
}

static drmModeModeInfo make_mode(uint32_t width, uint32_t height, uint32_t hertz)
{
	return (drmModeModeInfo){
		.clock = (width + 100) * (height + 50) * hertz / 1000,
		.hdisplay = (uint16_t)width,
		.htotal = (uint16_t)(width + 100),
		.vdisplay = (uint16_t)height,
		.vtotal = (uint16_t)(height + 50),
	};
}

drmModeConnectorPtr drmModeGetConnector(int fd, uint32_t id)
{
	drmModeConnectorPtr connector = calloc(1, sizeof(*connector));

	lock();
	const struct fake_connector *from = &fake->connectors[id - CONNECTOR];
	connector->connector_id = id;
	connector->encoder_id = ENCODER + id - CONNECTOR;
	connector->connector_type = DRM_MODE_CONNECTOR_HDMIA;
	connector->connector_type_id = 1 + id - CONNECTOR;
	connector->connection = from->connected ? DRM_MODE_CONNECTED : DRM_MODE_DISCONNECTED;
	connector->count_encoders = 1;
	connector->encoders = ids(1, connector->encoder_id);
	if (from->connected) {
		connector->count_modes = from->n_modes;
		connector->modes = calloc(FAKE_MODES, sizeof(*connector->modes));
		for (int i = 0; i < from->n_modes; i++)
			connector->modes[i] = make_mode(from->modes[i].width, from->modes[i].height, from->modes[i].clock);
		connector->modes[0].type = DRM_MODE_TYPE_PREFERRED;
	}
	unlock(0);
	return connector;
}

drmModeCrtcPtr drmModeGetCrtc(int fd, uint32_t id)
{
	drmModeCrtcPtr crtc = calloc(1, sizeof(*crtc));
	const struct fake_crtc *from = &fake->crtcs[id - CRTC];

	crtc->crtc_id = id;
	crtc->buffer_id = from->fb;
	crtc->mode = from->mode;
	crtc->mode_valid = from->mode.hdisplay != 0;
	return crtc;
}

drmModeObjectPropertiesPtr drmModeObjectGetProperties(int fd, uint32_t id, uint32_t type)
{
	drmModeObjectPropertiesPtr list = calloc(1, sizeof(*list));

	list->count_props = PROPERTIES;
	list->props = ids(PROPERTIES, PROPERTY);
	list->prop_values = calloc(PROPERTIES, sizeof(uint64_t));
	list->prop_values[TYPE] = DRM_PLANE_TYPE_PRIMARY;
	return list;
}

drmModePropertyPtr drmModeGetProperty(int fd, uint32_t id)
{
	drmModePropertyPtr property = calloc(1, sizeof(*property));

	property->prop_id = id;
	strcpy(property->name, property_names[id - PROPERTY]);
	return property;
}

drmModePropertyBlobPtr drmModeGetPropertyBlob(int fd, uint32_t id)
{
	return NULL;
}

/* ---- buffers ---- */

static uint32_t new_handle(uint64_t inode)
{
	for (uint32_t i = 0; i < FAKE_HANDLES; i++)
		if (!fake->handles[i].open && !fake->handles[i].closes) { /* never used again: a stale one is seen */
			fake->handles[i] = (struct fake_handle){ .open = true, .inode = inode };
			return i + 1;
		}
	g_assert_not_reached();
}

static struct fake_handle *find_handle(uint32_t handle)
{
	g_assert_cmpuint(handle - 1, <, FAKE_HANDLES);
	g_assert_true(fake->handles[handle - 1].open);
	return &fake->handles[handle - 1];
}

int drmPrimeFDToHandle(int fd, int prime_fd, uint32_t *handle)
{
	struct stat status;

	g_assert_cmpint(fstat(prime_fd, &status), ==, 0);
	lock();
	fake->primes++;
	if (fake->prime_error)
		return unlock(fake->prime_error);
	for (*handle = 1; *handle <= FAKE_HANDLES; ++*handle)
		if (fake->handles[*handle - 1].open && fake->handles[*handle - 1].inode == status.st_ino)
			break;
	if (*handle > FAKE_HANDLES)
		*handle = new_handle(status.st_ino);
	find_handle(*handle)->imports++;
	return unlock(0);
}

int drmCloseBufferHandle(int fd, uint32_t handle)
{
	lock();
	find_handle(handle)->closes++;
	find_handle(handle)->open = false;
	return unlock(0);
}

int drmModeCreateDumbBuffer(int fd, uint32_t width, uint32_t height, uint32_t bpp, uint32_t flags, uint32_t *handle,
                            uint32_t *pitch, uint64_t *size)
{
	lock();
	if (fake->dumb_error)
		return unlock(fake->dumb_error);
	*handle = new_handle(0);
	*pitch = width * 4 + 64;
	*size = (uint64_t)*pitch * height;
	g_assert_cmpuint(*size, <=, 1u << DUMB_SHIFT);
	return unlock(0);
}

int drmModeDestroyDumbBuffer(int fd, uint32_t handle)
{
	return drmCloseBufferHandle(fd, handle);
}

int drmModeMapDumbBuffer(int fd, uint32_t handle, uint64_t *offset)
{
	*offset = (uint64_t)handle << DUMB_SHIFT;
	return 0;
}

void *__real_mmap(void *address, size_t length, int prot, int flags, int fd, off_t offset);
void *__wrap_mmap(void *address, size_t length, int prot, int flags, int fd, off_t offset);
void *__wrap_mmap64(void *address, size_t length, int prot, int flags, int fd, off_t offset);

void *__wrap_mmap(void *address, size_t length, int prot, int flags, int fd, off_t offset)
{
	struct stat status;
	bool is_card = fake && fd >= 0 && !fstat(fd, &status) && S_ISFIFO(status.st_mode);

	return __real_mmap(address, length, prot, flags, is_card ? fake->memory : fd, offset);
}

void *__wrap_mmap64(void *address, size_t length, int prot, int flags, int fd, off_t offset)
{
	return __wrap_mmap(address, length, prot, flags, fd, offset);
}

int drmModeAddFB2WithModifiers(int fd, uint32_t width, uint32_t height, uint32_t format, const uint32_t handles[4],
                               const uint32_t pitches[4], const uint32_t offsets[4], const uint64_t modifiers[4], uint32_t *id,
                               uint32_t flags)
{
	lock();
	find_handle(handles[0]);
	if (fake->fb_error)
		return unlock(fake->fb_error);
	for (unsigned i = 0; i < FAKE_FBS; i++)
		if (!fake->fbs[i].id) {
			*id = fake->next_fb++;
			fake->fbs[i] = (struct fake_fb){
				.id = *id,
				.width = width,
				.height = height,
				.format = format,
				.handle = handles[0],
				.pitch = pitches[0],
				.offset = offsets[0],
				.modifier = modifiers ? modifiers[0] : 0,
				.with_modifiers = flags & DRM_MODE_FB_MODIFIERS,
			};
			return unlock(0);
		}
	g_assert_not_reached();
}

int drmModeAddFB2(int fd, uint32_t width, uint32_t height, uint32_t format, const uint32_t handles[4], const uint32_t pitches[4],
                  const uint32_t offsets[4], uint32_t *id, uint32_t flags)
{
	return drmModeAddFB2WithModifiers(fd, width, height, format, handles, pitches, offsets, NULL, id, flags);
}

int drmModeRmFB(int fd, uint32_t id)
{
	lock();
	for (unsigned i = 0; i < fake->n_crtcs; i++)
		if (fake->crtcs[i].fb == id)
			fake->crtcs[i].fb = 0;
	for (unsigned i = 0; i < FAKE_FBS; i++)
		if (fake->fbs[i].id == id)
			fake->fbs[i].id = 0;
	return unlock(0);
}

unsigned fake_count_fbs(void)
{
	unsigned count = 0;

	for (unsigned i = 0; i < FAKE_FBS; i++)
		count += fake->fbs[i].id != 0;
	return count;
}

unsigned fake_count_handles(void)
{
	unsigned count = 0;

	for (unsigned i = 0; i < FAKE_HANDLES; i++)
		count += fake->handles[i].open;
	return count;
}

const struct fake_fb *fake_find_fb(uint32_t id)
{
	for (unsigned i = 0; i < FAKE_FBS; i++)
		if (id && fake->fbs[i].id == id)
			return &fake->fbs[i];
	return NULL;
}

static off_t pixel_place(uint32_t id, uint32_t x, uint32_t y)
{
	const struct fake_fb *fb = fake_find_fb(id);

	return ((off_t)fb->handle << DUMB_SHIFT) + fb->offset + (off_t)y * fb->pitch + x * 4;
}

uint32_t fake_pixel(uint32_t id, uint32_t x, uint32_t y)
{
	uint32_t pixel;

	g_assert_cmpint(pread(fake->memory, &pixel, 4, pixel_place(id, x, y)), ==, 4);
	return pixel & 0xffffff;
}

void fake_poke(uint32_t id, uint32_t x, uint32_t y, uint32_t pixel)
{
	g_assert_cmpint(pwrite(fake->memory, &pixel, 4, pixel_place(id, x, y)), ==, 4);
}

unsigned fake_count_blobs(void)
{
	unsigned count = 0;

	for (unsigned i = 0; i < FAKE_BLOBS; i++)
		count += fake->blobs[i].size != 0;
	return count;
}

/* ---- the screen ---- */

struct event {
	uint32_t crtc;
	uint64_t time_us;
	void *data;
};

/* With the lock held, as all of these. */
static void send_event(unsigned crtc, uint64_t time_us)
{
	struct fake_crtc *from = &fake->crtcs[crtc];
	struct event event = { crtc, time_us, from->events[0] };

	g_assert_cmpuint(from->n_events, >, 0);
	memmove(&from->events[0], &from->events[1], sizeof(from->events) - sizeof(from->events[0]));
	from->n_events--;
	g_assert_cmpint(write(fake->events, &event, sizeof(event)), ==, sizeof(event));
}

static void promise_event(unsigned crtc, void *data)
{
	struct fake_crtc *on = &fake->crtcs[crtc];

	g_assert_cmpuint(on->n_events, <, FAKE_EVENTS);
	on->events[on->n_events++] = data;
	if (!fake->hold_events)
		send_event(crtc, (uint64_t)g_get_monotonic_time());
}

void fake_flip(unsigned crtc, uint64_t time_us)
{
	lock();
	send_event(crtc, time_us);
	unlock(0);
}

int drmHandleEvent(int fd, drmEventContextPtr context)
{
	struct event event;

	if (read(fd, &event, sizeof(event)) != sizeof(event))
		return -1;
	g_assert_cmpint(context->version, >=, 3);
	context->page_flip_handler2(fd, 0, (unsigned)(event.time_us / 1000000), (unsigned)(event.time_us % 1000000),
	                            CRTC + event.crtc, event.data);
	return 0;
}

int drmModeSetCrtc(int fd, uint32_t id, uint32_t fb, uint32_t x, uint32_t y, uint32_t *connectors, int count,
                   drmModeModeInfoPtr mode)
{
	lock();
	if (!fake->master)
		return unlock(EACCES);
	struct fake_crtc *crtc = &fake->crtcs[id - CRTC];
	fake->modesets++;
	crtc->fb = fb;
	crtc->mode = mode ? *mode : (drmModeModeInfo){ 0 };
	return unlock(0);
}

int drmModePageFlip(int fd, uint32_t id, uint32_t fb, uint32_t flags, void *data)
{
	lock();
	if (!fake->master)
		return unlock(EACCES);
	if (fake->flip_error)
		return unlock(fake->flip_error);
	fake->flips++;
	fake->crtcs[id - CRTC].fb = fb;
	promise_event(id - CRTC, data);
	return unlock(0);
}

int drmModeDirtyFB(int fd, uint32_t fb, drmModeClipPtr clips, uint32_t count)
{
	lock();
	fake->dirties++;
	fake->n_clips = count;
	for (unsigned i = 0; i < count && i < FAKE_CLIPS; i++)
		fake->clips[i] = (struct drm_mode_rect){ clips[i].x1, clips[i].y1, clips[i].x2, clips[i].y2 };
	return unlock(0);
}

int drmModeSetCursor2(int fd, uint32_t id, uint32_t handle, uint32_t width, uint32_t height, int32_t hot_x, int32_t hot_y)
{
	lock();
	if (!fake->cursor_plane)
		return unlock(ENXIO);
	find_handle(handle);
	fake->cursor_images++;
	fake->crtcs[id - CRTC].cursor = handle;
	return unlock(0);
}

int drmModeSetCursor(int fd, uint32_t id, uint32_t handle, uint32_t width, uint32_t height)
{
	lock();
	g_assert_cmpuint(handle, ==, 0);
	fake->crtcs[id - CRTC].cursor = 0;
	return unlock(fake->cursor_plane ? 0 : ENXIO);
}

int drmModeMoveCursor(int fd, uint32_t id, int x, int y)
{
	lock();
	fake->crtcs[id - CRTC].cursor_x = x;
	fake->crtcs[id - CRTC].cursor_y = y;
	return unlock(fake->cursor_plane ? 0 : ENXIO);
}

/* ---- atomic ---- */

struct _drmModeAtomicReq {
	struct {
		uint32_t object, property;
		uint64_t value;
	} items[64];
	unsigned count;
};

drmModeAtomicReqPtr drmModeAtomicAlloc(void)
{
	return calloc(1, sizeof(struct _drmModeAtomicReq));
}

void drmModeAtomicFree(drmModeAtomicReqPtr request)
{
	free(request);
}

int drmModeAtomicAddProperty(drmModeAtomicReqPtr request, uint32_t object, uint32_t property, uint64_t value)
{
	g_assert_cmpuint(request->count, <, G_N_ELEMENTS(request->items));
	request->items[request->count].object = object;
	request->items[request->count].property = property;
	request->items[request->count++].value = value;
	return (int)request->count;
}

int drmModeCreatePropertyBlob(int fd, const void *data, size_t size, uint32_t *id)
{
	lock();
	for (unsigned i = 0; i < FAKE_BLOBS; i++)
		if (!fake->blobs[i].size) {
			g_assert_cmpuint(size, <=, sizeof(fake->blobs[i].data));
			memcpy(fake->blobs[i].data, data, size);
			fake->blobs[i].size = (uint32_t)size;
			*id = BLOB + i;
			return unlock(0);
		}
	g_assert_not_reached();
}

int drmModeDestroyPropertyBlob(int fd, uint32_t id)
{
	lock();
	g_assert_cmpuint(fake->blobs[id - BLOB].size, !=, 0);
	fake->blobs[id - BLOB].size = 0;
	return unlock(0);
}

static uint32_t crtc_of(uint32_t object)
{
	return object >= PLANE ? object - PLANE : object - CRTC;
}

static void apply(struct fake_crtc *crtc, enum property property, uint64_t value)
{
	switch (property) {
	case FB_ID:
		crtc->fb = (uint32_t)value;
		break;
	case MODE_ID:
		memset(&crtc->mode, 0, sizeof(crtc->mode));
		if (value)
			memcpy(&crtc->mode, fake->blobs[value - BLOB].data, sizeof(crtc->mode));
		break;
	case SRC_W:
		crtc->width = (uint32_t)(value >> 16);
		break;
	case SRC_H:
		crtc->height = (uint32_t)(value >> 16);
		break;
	case CRTC_X:
		crtc->place.x1 = (int)value;
		break;
	case CRTC_Y:
		crtc->place.y1 = (int)value;
		break;
	case CRTC_W:
		crtc->place.x2 = crtc->place.x1 + (int)value;
		break;
	case CRTC_H:
		crtc->place.y2 = crtc->place.y1 + (int)value;
		break;
	case DAMAGE:
		fake->n_clips = 0;
		if (value) {
			fake->n_clips = fake->blobs[value - BLOB].size / (uint32_t)sizeof(fake->clips[0]);
			memcpy(fake->clips, fake->blobs[value - BLOB].data, fake->blobs[value - BLOB].size);
		}
		break;
	default:
		break;
	}
}

/* What a driver without a scaler refuses. */
static bool is_scaled(const struct fake_crtc *crtc)
{
	return crtc->fb &&
	       ((int)crtc->width != crtc->place.x2 - crtc->place.x1 || (int)crtc->height != crtc->place.y2 - crtc->place.y1);
}

int drmModeAtomicCommit(int fd, drmModeAtomicReqPtr request, uint32_t flags, void *data)
{
	struct fake_crtc crtcs[FAKE_CRTCS];
	bool test = flags & DRM_MODE_ATOMIC_TEST_ONLY, touched[FAKE_CRTCS] = { false }, modeset = false;
	int error = 0;

	lock();
	*(test ? &fake->tests : &fake->commits) += 1;
	memcpy(crtcs, fake->crtcs, sizeof(crtcs));
	for (unsigned i = 0; i < request->count; i++) {
		if (request->items[i].object >= CONNECTOR)
			continue;
		unsigned crtc = crtc_of(request->items[i].object);

		touched[crtc] = true;
		modeset |= request->items[i].property - PROPERTY == MODE_ID;
		apply(&crtcs[crtc], (enum property)(request->items[i].property - PROPERTY), request->items[i].value);
	}
	for (unsigned i = 0; i < FAKE_CRTCS; i++)
		if (is_scaled(&crtcs[i]) && touched[i] && !fake->scales)
			error = EINVAL;
	g_assert_true(!modeset || flags & DRM_MODE_ATOMIC_ALLOW_MODESET);
	if (!fake->master)
		error = EACCES;
	else if (test && fake->test_error)
		error = fake->test_error;
	else if (!test && fake->commit_error)
		error = fake->commit_error;
	if (error || test)
		return unlock(error);
	fake->modesets += modeset;
	memcpy(fake->crtcs, crtcs, sizeof(crtcs));
	for (unsigned i = 0; i < FAKE_CRTCS; i++)
		if (touched[i] && flags & DRM_MODE_PAGE_FLIP_EVENT)
			promise_event(i, data);
	return unlock(0);
}
