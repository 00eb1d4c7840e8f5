/* SPDX-License-Identifier: MIT */
/* Virtio-input: the configuration space, packets, what becomes of events that the guest does not take, LEDs. */
#include <linux/input.h>
#include <math.h>

#include "input_driver.h"
#include "mute_display.h"
#include "rows.h"

struct fixture {
	struct vtr_loop *loop;
	struct mute_display *display;
	struct vtr_outputs *outputs;
	struct vtr_input *input;
	struct input_driver drivers[VTR_INPUT_KINDS];
	uint32_t leds;
	unsigned leds_changed;
};

static void leds_changed(uint32_t leds, void *data)
{
	struct fixture *f = data;

	f->leds = leds;
	f->leds_changed++;
}

/* One output of 16384x16384 pixels, so that pixel i is position 2i + 1. */
static void set_up(struct fixture *f)
{
	const struct vtr_mode mode = { 16384, 16384, 0 };

	*f = (struct fixture){ .loop = vtr_loop_create(), .display = mute_display_create(), .outputs = vtr_outputs_create() };
	g_assert_nonnull(vtr_outputs_add(f->outputs, &f->display->base, &mode, NULL));
	f->input = vtr_input_create(f->loop, f->outputs);
	g_assert_nonnull(f->input);
	vtr_input_set_leds_listener(f->input, leds_changed, f);
	for (unsigned i = 0; i < VTR_INPUT_KINDS; i++)
		driver_init(&f->drivers[i], f->input, i, f->loop);
}

static void tear_down(struct fixture *f)
{
	for (unsigned i = 0; i < VTR_INPUT_KINDS; i++)
		driver_finish(&f->drivers[i]);
	vtr_input_destroy(f->input);
	vtr_display_destroy(&f->display->base);
	vtr_outputs_destroy(f->outputs);
	vtr_loop_destroy(f->loop);
}

static struct input_driver *start_without_buffers(struct fixture *f, enum vtr_input_kind kind)
{
	driver_start(&f->drivers[kind]);
	driver_dispatch(&f->drivers[kind]);
	return &f->drivers[kind];
}

static struct input_driver *start(struct fixture *f, enum vtr_input_kind kind)
{
	start_without_buffers(f, kind);
	driver_give(&f->drivers[kind], DRIVER_SIZE, sizeof(struct virtio_input_event));
	driver_dispatch(&f->drivers[kind]);
	return &f->drivers[kind];
}

static void expect(struct input_driver *driver, const char *events)
{
	g_autofree char *read = driver_read(driver, true);

	g_assert_cmpstr(read, ==, events);
}

/* Gives the driver all buffers again after a time without, and reads what comes. */
static void expect_later(struct input_driver *driver, const char *events)
{
	driver_give(driver, DRIVER_SIZE, sizeof(struct virtio_input_event));
	expect(driver, events);
}

/* ---- the configuration space (virtio 1.3, 5.8.4) ---- */

static void read_config(struct fixture *f, enum vtr_input_kind kind, uint8_t select, uint8_t subsel,
                        struct virtio_input_config *config)
{
	struct vtr_virtio_device *device = vtr_input_virtio(f->input, kind);

	device->impl->config_write(device, 0, &select, 1);
	device->impl->config_write(device, 1, &subsel, 1);
	device->impl->config_read(device, 0, config, sizeof(*config));
	g_assert_cmpuint(config->select, ==, select);
	g_assert_cmpuint(config->subsel, ==, subsel);
}

static const struct config_row {
	const char *name;
	enum vtr_input_kind kind;
	uint8_t select, subsel;
	uint8_t size;
	const char *bytes; /* of the beginning; NULL: not compared */
} config_rows[] = {
	{ "unset", VTR_INPUT_KEYBOARD, VIRTIO_INPUT_CFG_UNSET, 0, 0, NULL },
	{ "unknown-selector", VTR_INPUT_KEYBOARD, 0x7f, 0, 0, NULL },
	{ "name-keyboard", VTR_INPUT_KEYBOARD, VIRTIO_INPUT_CFG_ID_NAME, 0, 16, "Vitrine Keyboard" },
	{ "name-tablet", VTR_INPUT_TABLET, VIRTIO_INPUT_CFG_ID_NAME, 0, 14, "Vitrine Tablet" },
	{ "name-mouse", VTR_INPUT_MOUSE, VIRTIO_INPUT_CFG_ID_NAME, 0, 13, "Vitrine Mouse" },
	{ "name-touch", VTR_INPUT_TOUCH, VIRTIO_INPUT_CFG_ID_NAME, 0, 19, "Vitrine Touchscreen" },
	{ "name-subsel", VTR_INPUT_KEYBOARD, VIRTIO_INPUT_CFG_ID_NAME, 1, 0, NULL },
	{ "serial", VTR_INPUT_MOUSE, VIRTIO_INPUT_CFG_ID_SERIAL, 0, 13, "vitrine-mouse" },
	{ "ids", VTR_INPUT_KEYBOARD, VIRTIO_INPUT_CFG_ID_DEVIDS, 0, 8, "\x06\0\xf4\x1a\x01\0\x01\0" },
	{ "ids-touch", VTR_INPUT_TOUCH, VIRTIO_INPUT_CFG_ID_DEVIDS, 0, 8, "\x06\0\xf4\x1a\x04\0\x01\0" },
	{ "properties-keyboard", VTR_INPUT_KEYBOARD, VIRTIO_INPUT_CFG_PROP_BITS, 0, 0, NULL },
	{ "properties-mouse", VTR_INPUT_MOUSE, VIRTIO_INPUT_CFG_PROP_BITS, 0, 1, "\x01" },
	{ "properties-touch", VTR_INPUT_TOUCH, VIRTIO_INPUT_CFG_PROP_BITS, 0, 1, "\x02" },
	{ "events-syn", VTR_INPUT_KEYBOARD, VIRTIO_INPUT_CFG_EV_BITS, EV_SYN, 0, NULL },
	{ "events-leds", VTR_INPUT_KEYBOARD, VIRTIO_INPUT_CFG_EV_BITS, EV_LED, 1, "\x07" },
	{ "events-repeat", VTR_INPUT_KEYBOARD, VIRTIO_INPUT_CFG_EV_BITS, EV_REP, 1, "\x03" },
	{ "events-no-repeat", VTR_INPUT_TABLET, VIRTIO_INPUT_CFG_EV_BITS, EV_REP, 0, NULL },
	{ "events-keyboard-rel", VTR_INPUT_KEYBOARD, VIRTIO_INPUT_CFG_EV_BITS, EV_REL, 0, NULL },
	{ "events-tablet-abs", VTR_INPUT_TABLET, VIRTIO_INPUT_CFG_EV_BITS, EV_ABS, 1, "\x03" },
	{ "events-tablet-rel", VTR_INPUT_TABLET, VIRTIO_INPUT_CFG_EV_BITS, EV_REL, 2, "\x40\x19" },
	{ "events-mouse-rel", VTR_INPUT_MOUSE, VIRTIO_INPUT_CFG_EV_BITS, EV_REL, 2, "\x43\x19" },
	{ "events-mouse-abs", VTR_INPUT_MOUSE, VIRTIO_INPUT_CFG_EV_BITS, EV_ABS, 0, NULL },
	{ "events-touch-abs", VTR_INPUT_TOUCH, VIRTIO_INPUT_CFG_EV_BITS, EV_ABS, 8, "\x03\0\0\0\0\x80\x60\x02" },
	{ "events-keyboard-keys", VTR_INPUT_KEYBOARD, VIRTIO_INPUT_CFG_EV_BITS, EV_KEY, 88,
	  "\xfe\xff\xff\xff\xff\xff\xff\xff\xff\xff\xef" },
	{ "events-unknown", VTR_INPUT_KEYBOARD, VIRTIO_INPUT_CFG_EV_BITS, 0xff, 0, NULL },
	{ "axis-tablet", VTR_INPUT_TABLET, VIRTIO_INPUT_CFG_ABS_INFO, ABS_Y, 20, "\0\0\0\0\xff\x7f\0\0\0\0\0\0\0\0\0\0\0\0\0\0" },
	{ "axis-slot", VTR_INPUT_TOUCH, VIRTIO_INPUT_CFG_ABS_INFO, ABS_MT_SLOT, 20, "\0\0\0\0\x09\0\0\0" },
	{ "axis-tracking-id", VTR_INPUT_TOUCH, VIRTIO_INPUT_CFG_ABS_INFO, ABS_MT_TRACKING_ID, 20, "\0\0\0\0\xff\xff\0\0" },
	{ "axis-not-there", VTR_INPUT_TABLET, VIRTIO_INPUT_CFG_ABS_INFO, ABS_Z, 0, NULL },
	{ "axis-of-a-mouse", VTR_INPUT_MOUSE, VIRTIO_INPUT_CFG_ABS_INFO, ABS_X, 0, NULL },
};

/* How many bytes of row->bytes are compared: strings end, the others have zeros in them. */
static size_t known_bytes(const struct config_row *row)
{
	if (row->select == VIRTIO_INPUT_CFG_EV_BITS && row->subsel == EV_KEY)
		return 11;
	return row->select == VIRTIO_INPUT_CFG_ABS_INFO ? 8 : row->size;
}

static void test_config(const void *data)
{
	const struct config_row *row = data;
	struct virtio_input_config config;
	struct fixture f;

	set_up(&f);
	read_config(&f, row->kind, row->select, row->subsel, &config);
	g_assert_cmpuint(config.size, ==, row->size);
	if (row->bytes)
		g_assert_cmpmem(config.u.string, known_bytes(row), row->bytes, known_bytes(row));
	for (size_t i = row->size; i < sizeof(config.u.string); i++)
		g_assert_cmpint(config.u.string[i], ==, 0);
	tear_down(&f);
}

/* What udev takes a device for hangs on these. */
static void test_key_bits(void)
{
	static const struct {
		enum vtr_input_kind kind;
		uint16_t code;
		bool there;
	} wanted[] = {
		{ VTR_INPUT_KEYBOARD, KEY_ESC, true },
		{ VTR_INPUT_KEYBOARD, KEY_RESERVED, false },
		{ VTR_INPUT_KEYBOARD, 84, false },
		{ VTR_INPUT_KEYBOARD, KEY_F24, true },
		{ VTR_INPUT_KEYBOARD, KEY_MICMUTE, true },
		{ VTR_INPUT_KEYBOARD, BTN_LEFT, false },
		{ VTR_INPUT_KEYBOARD, BTN_SOUTH, false },
		{ VTR_INPUT_KEYBOARD, BTN_TOUCH, false },
		{ VTR_INPUT_KEYBOARD, KEY_OK, true },
		{ VTR_INPUT_KEYBOARD, BTN_DPAD_UP, false },
		{ VTR_INPUT_KEYBOARD, BTN_TRIGGER_HAPPY, false },
		{ VTR_INPUT_TABLET, BTN_LEFT, true },
		{ VTR_INPUT_TABLET, BTN_TASK, true },
		{ VTR_INPUT_TABLET, BTN_TOUCH, false },
		{ VTR_INPUT_MOUSE, BTN_MIDDLE, true },
		{ VTR_INPUT_TOUCH, BTN_TOUCH, true },
		{ VTR_INPUT_TOUCH, BTN_LEFT, false },
	};
	struct virtio_input_config config;
	struct fixture f;

	set_up(&f);
	for (size_t i = 0; i < G_N_ELEMENTS(wanted); i++) {
		read_config(&f, wanted[i].kind, VIRTIO_INPUT_CFG_EV_BITS, EV_KEY, &config);
		g_assert_cmpint(config.u.bitmap[wanted[i].code / 8] >> wanted[i].code % 8 & 1, ==, wanted[i].there);
	}
	tear_down(&f);
}

/* The rest of the space takes no writes, whatever their size. */
static void test_config_writes(void)
{
	uint8_t junk[sizeof(struct virtio_input_config)];
	struct virtio_input_config config;
	struct vtr_virtio_device *device;
	struct fixture f;

	set_up(&f);
	device = vtr_input_virtio(f.input, VTR_INPUT_KEYBOARD);
	memset(junk, VIRTIO_INPUT_CFG_ID_NAME, sizeof(junk));
	junk[1] = 0;
	device->impl->config_write(device, 0, junk, sizeof(junk));
	device->impl->config_write(device, 8, junk, 100);
	device->impl->config_read(device, 0, &config, sizeof(config));
	g_assert_cmpuint(config.size, ==, 16);
	g_assert_cmpmem(config.u.string, 16, "Vitrine Keyboard", 16);
	vtr_virtio_reset(device);
	device->impl->config_read(device, 0, &config, sizeof(config));
	g_assert_cmpuint(config.select | config.subsel | config.size, ==, 0);
	tear_down(&f);
}

/* ---- packets ---- */

static void test_keys(void)
{
	struct input_driver *driver;
	struct fixture f;

	set_up(&f);
	driver = start(&f, VTR_INPUT_KEYBOARD);
	vtr_input_key(f.input, KEY_A, true);
	vtr_input_key(f.input, KEY_A, true); /* the host repeats */
	vtr_input_key(f.input, KEY_LEFTSHIFT, true);
	vtr_input_key(f.input, KEY_A, false);
	vtr_input_key(f.input, KEY_A, false);
	vtr_input_key(f.input, KEY_LEFTSHIFT, false);
	expect(driver, "k30+ | k42+ | k30- | k42- |");
	vtr_input_key(f.input, BTN_LEFT, true); /* no keys of this device */
	vtr_input_key(f.input, 84, true);
	vtr_input_key(f.input, UINT32_MAX, true);
	expect(driver, "");
	tear_down(&f);
}

static void test_tablet(void)
{
	struct input_driver *driver;
	struct fixture f;

	set_up(&f);
	driver = start(&f, VTR_INPUT_TABLET);
	vtr_input_move(f.input, 0, 100, 50.75);
	expect(driver, "x201 y101 |");
	vtr_input_move(f.input, 0, 100, 60);
	expect(driver, "y121 |");
	vtr_input_move(f.input, 0, 100.9, 60);
	expect(driver, "");
	vtr_input_button(f.input, BTN_LEFT, true);
	vtr_input_button(f.input, BTN_LEFT, false);
	expect(driver, "k272+ | k272- |");
	vtr_input_move(f.input, 0, -5, 1e9);
	expect(driver, "x1 y32767 |");
	vtr_input_move(f.input, 1, 3, 3); /* there is no such output */
	vtr_input_move(f.input, UINT32_MAX, 3, 3);
	expect(driver, "");
	vtr_input_move(f.input, 0, (double)NAN, 0);
	expect(driver, "y1 |");
	tear_down(&f);
}

static void test_mouse(void)
{
	struct input_driver *driver;
	struct fixture f;

	set_up(&f);
	driver = start(&f, VTR_INPUT_MOUSE);
	vtr_input_move_by(f.input, 3, -4);
	expect(driver, "dx3 dy-4 |");
	vtr_input_move_by(f.input, 0.75, 0);
	expect(driver, "");
	vtr_input_move_by(f.input, 0.75, -0.5);
	expect(driver, "dx1 |");
	vtr_input_move_by(f.input, (double)INFINITY, (double)NAN);
	expect(driver, "");
	vtr_input_move_by(f.input, 40000, 0); /* further than drivers expect at once */
	expect(driver, "dx32767 | dx7233 |");
	tear_down(&f);
}

static void test_wheel(void)
{
	struct input_driver *driver;
	struct fixture f;

	set_up(&f);
	driver = start(&f, VTR_INPUT_TABLET);
	vtr_input_wheel(f.input, 0, 120);
	expect(driver, "W120 w1 |");
	vtr_input_wheel(f.input, 0, -240);
	expect(driver, "W-240 w-2 |");
	vtr_input_wheel(f.input, 0, 50);
	expect(driver, "W50 |");
	vtr_input_wheel(f.input, 0, 50);
	expect(driver, "W50 |");
	vtr_input_wheel(f.input, 0, 50);
	expect(driver, "W50 w1 |");
	vtr_input_wheel(f.input, -120, -30);
	expect(driver, "HW-120 hw-1 W-30 |");
	tear_down(&f);
}

/* Buttons go where the pointer last came from, and are released where they were pressed. */
static void test_pointers(void)
{
	struct input_driver *tablet, *mouse;
	struct fixture f;

	set_up(&f);
	tablet = start(&f, VTR_INPUT_TABLET);
	mouse = start(&f, VTR_INPUT_MOUSE);
	vtr_input_button(f.input, BTN_RIGHT, true);
	expect(tablet, "k273+ |");
	vtr_input_move_by(f.input, 1, 0);
	vtr_input_button(f.input, BTN_LEFT, true);
	vtr_input_button(f.input, BTN_RIGHT, false);
	vtr_input_wheel(f.input, 0, 120);
	expect(mouse, "dx1 | k272+ | W120 w1 |");
	expect(tablet, "k273- |");
	vtr_virtio_reset(mouse->device); /* the guest has only the tablet now */
	vtr_input_button(f.input, BTN_MIDDLE, true);
	expect(tablet, "k274+ |");
	tear_down(&f);
}

static void test_touch(void)
{
	struct input_driver *driver;
	struct fixture f;

	set_up(&f);
	driver = start(&f, VTR_INPUT_TOUCH);
	vtr_input_touch(f.input, 77, 0, 10, 20);
	expect(driver, ""); /* the frame is not ended */
	vtr_input_touch_frame(f.input);
	expect(driver, "slot0 id0 tx21 ty41 x21 y41 k330+ |");
	vtr_input_touch(f.input, 5, 0, 100, 200);
	vtr_input_touch(f.input, 77, 0, 11, 20);
	vtr_input_touch_frame(f.input);
	expect(driver, "slot0 tx23 slot1 id1 tx201 ty401 x23 |");
	vtr_input_touch_up(f.input, 77);
	vtr_input_touch_frame(f.input);
	expect(driver, "slot0 id-1 x201 y401 |");
	vtr_input_touch(f.input, 77, 0, 10, 20); /* another finger by the same number */
	vtr_input_touch_frame(f.input);
	expect(driver, "slot0 id2 tx21 ty41 |");
	vtr_input_touch_up(f.input, 5);
	vtr_input_touch_up(f.input, 77);
	vtr_input_touch_up(f.input, 78); /* was never there */
	vtr_input_touch_frame(f.input);
	expect(driver, "slot0 id-1 slot1 id-1 k330- |");
	tear_down(&f);
}

/* Up and down again within a frame: the guest sees the first finger go before the second comes. */
static void test_touch_replaced(void)
{
	struct input_driver *driver;
	struct fixture f;

	set_up(&f);
	driver = start(&f, VTR_INPUT_TOUCH);
	vtr_input_touch(f.input, 1, 0, 1, 1);
	vtr_input_touch_frame(f.input);
	expect(driver, "slot0 id0 tx3 ty3 x3 y3 k330+ |");
	vtr_input_touch_up(f.input, 1);
	vtr_input_touch(f.input, 2, 0, 1, 1);
	vtr_input_touch_frame(f.input);
	expect(driver, "slot0 id-1 | slot0 id1 tx3 ty3 |");
	tear_down(&f);
}

static void test_touch_many(void)
{
	struct input_driver *driver;
	struct vtr_input_status status;
	struct fixture f;

	set_up(&f);
	driver = start(&f, VTR_INPUT_TOUCH);
	for (uint32_t i = 0; i < 2 * VTR_INPUT_CONTACTS; i++)
		vtr_input_touch(f.input, i, 0, i, i);
	vtr_input_touch_frame(f.input);
	g_autofree char *read = driver_read(driver, true);
	g_assert_true(g_str_has_suffix(read, "slot9 id9 tx19 ty19 x1 y1 k330+ |"));
	vtr_input_status(f.input, VTR_INPUT_TOUCH, &status);
	g_assert_cmpuint(status.held, ==, VTR_INPUT_CONTACTS + 1); /* and BTN_TOUCH */
	vtr_input_release_all(f.input);
	g_autofree char *released = driver_read(driver, true);
	g_assert_true(g_str_has_suffix(released, "slot9 id-1 k330- |"));
	tear_down(&f);
}

/* ---- a guest that does not take its events ---- */

/* A packet of which half was given is completed when there are buffers again. */
static void test_half_a_packet(void)
{
	struct input_driver *driver;
	struct fixture f;

	set_up(&f);
	driver = start_without_buffers(&f, VTR_INPUT_TABLET);
	driver_give(driver, 2, sizeof(struct virtio_input_event));
	vtr_input_move(f.input, 0, 1, 2);
	g_autofree char *read = driver_read(driver, false);
	g_assert_cmpstr(read, ==, "x3 y5");
	vtr_input_move(f.input, 0, 3, 4);
	vtr_input_move(f.input, 0, 5, 6);
	expect_later(driver, "| x11 y13 |");
	tear_down(&f);
}

/* Motion is replaced by the newest, or adds up; a click in between is kept with its place. */
static void test_motion_waits(void)
{
	struct input_driver *tablet, *mouse;
	struct fixture f;

	set_up(&f);
	tablet = start_without_buffers(&f, VTR_INPUT_TABLET);
	mouse = start_without_buffers(&f, VTR_INPUT_MOUSE);
	for (int i = 0; i <= 1000; i++)
		vtr_input_move(f.input, 0, i, i);
	vtr_input_button(f.input, BTN_LEFT, true);
	vtr_input_button(f.input, BTN_LEFT, false);
	for (int i = 0; i <= 1000; i++)
		vtr_input_move(f.input, 0, 1000 - i, 2000);
	expect_later(tablet, "x1 y1 | x2001 y2001 k272+ | k272- | x1 y4001 |");
	for (int i = 0; i < 1000; i++)
		vtr_input_move_by(f.input, 1, -2);
	expect_later(mouse, "dx1 dy-2 | dx999 dy-1998 |");
	tear_down(&f);
}

/* Whatever happens while the queue is full, in the end the guest knows what is down. */
static void test_resynchronisation(void)
{
	struct vtr_input_status status;
	struct input_driver *driver;
	struct fixture f;
	uint8_t down[KEY_CNT] = { 0 };
	struct virtio_input_event event = { 0 };
	unsigned events = 0;

	set_up(&f);
	driver = start_without_buffers(&f, VTR_INPUT_KEYBOARD);
	vtr_input_key(f.input, KEY_LEFTCTRL, true);
	for (int i = 0; i < 5000; i++)
		vtr_input_key(f.input, KEY_1 + (uint32_t)i / 2 % 10, i % 2 == 0);
	vtr_input_key(f.input, KEY_LEFTCTRL, false);
	vtr_input_key(f.input, KEY_Z, true);
	vtr_input_key(f.input, KEY_X, true);
	vtr_input_status(f.input, VTR_INPUT_KEYBOARD, &status);
	g_assert_cmpuint(status.waiting, <=, VTR_MAX_INPUT_EVENTS);
	g_assert_cmpuint(status.merged, >, 4000);
	g_assert_cmpuint(status.held, ==, 2);

	driver_give(driver, DRIVER_SIZE, sizeof(event));
	for (; driver_take(driver, &event); driver_give(driver, 1, sizeof(event))) {
		events++;
		if (event.type != EV_KEY)
			continue;
		g_assert_cmpuint(event.code, <, KEY_CNT);
		g_assert_cmpuint(down[event.code], ==, !event.value); /* presses and releases take turns */
		down[event.code] = (uint8_t)event.value;
	}
	g_assert_cmpuint(event.type, ==, EV_SYN); /* the last of them */
	g_assert_cmpuint(events, >, 200);
	for (unsigned code = 0; code < KEY_CNT; code++)
		g_assert_cmpuint(down[code], ==, code == KEY_Z || code == KEY_X);
	tear_down(&f);
}

/* A finger that came and went while the queue was full was never there; one that was known goes. */
static void test_resynchronisation_touch(void)
{
	struct vtr_input_status status;
	struct input_driver *driver;
	struct fixture f;

	set_up(&f);
	driver = start_without_buffers(&f, VTR_INPUT_TOUCH);
	vtr_input_touch(f.input, 0, 0, 1, 1);
	vtr_input_touch_frame(f.input);
	do {
		vtr_input_touch(f.input, 1, 0, 2, 2);
		vtr_input_touch_frame(f.input);
		vtr_input_touch_up(f.input, 1);
		vtr_input_touch_frame(f.input);
		vtr_input_status(f.input, VTR_INPUT_TOUCH, &status);
	} while (!status.merged);
	vtr_input_touch_up(f.input, 0);
	vtr_input_touch_frame(f.input);
	driver_give(driver, DRIVER_SIZE, sizeof(struct virtio_input_event));
	g_autofree char *read = driver_read(driver, true);
	g_assert_true(g_str_has_suffix(read, " slot0 id-1 k330- |"));
	tear_down(&f);
}

static void test_many_keys(void)
{
	struct input_driver *driver;
	struct fixture f;

	set_up(&f);
	driver = start(&f, VTR_INPUT_KEYBOARD);
	for (uint32_t code = KEY_1; code < KEY_1 + 20; code++)
		vtr_input_key(f.input, code, true);
	g_autofree char *pressed = driver_read(driver, true);
	g_assert_nonnull(strstr(pressed, "k21+ |"));
	vtr_input_release_all(f.input); /* no packet has more than 16 keys */
	expect(driver, "k2- k3- k4- k5- k6- k7- k8- k9- k10- k11- k12- k13- k14- k15- k16- k17- | k18- k19- k20- k21- |");
	tear_down(&f);
}

/* ---- drivers that come and go ---- */

static void test_nobody(void)
{
	struct vtr_input_status status;
	struct input_driver *driver;
	struct fixture f;

	set_up(&f);
	g_assert_false(vtr_input_used(f.input, VTR_INPUT_KEYBOARD));
	vtr_input_key(f.input, KEY_A, true);
	vtr_input_key(f.input, KEY_A, false);
	vtr_input_key(f.input, KEY_B, true); /* held when the driver comes */
	vtr_input_move_by(f.input, 100, 100);
	driver = start(&f, VTR_INPUT_KEYBOARD);
	expect(driver, "k48+ |");
	expect(start(&f, VTR_INPUT_MOUSE), "");
	g_assert_true(vtr_input_used(f.input, VTR_INPUT_KEYBOARD));
	vtr_input_status(f.input, VTR_INPUT_KEYBOARD, &status);
	g_assert_cmpuint(status.events, ==, 2);
	tear_down(&f);
}

/* What waited is forgotten with the driver; what is held is told to the next one. */
static void test_reset(void)
{
	struct input_driver *driver;
	struct fixture f;

	set_up(&f);
	driver = start_without_buffers(&f, VTR_INPUT_KEYBOARD);
	vtr_input_key(f.input, KEY_A, true);
	vtr_input_key(f.input, KEY_B, true);
	vtr_input_key(f.input, KEY_B, false);
	vtr_virtio_reset(driver->device);
	g_assert_false(vtr_input_used(f.input, VTR_INPUT_KEYBOARD));
	driver = start(&f, VTR_INPUT_KEYBOARD);
	expect(driver, "k30+ |");
	vtr_virtio_reset(driver->device);
	vtr_input_key(f.input, KEY_A, false);
	driver = start(&f, VTR_INPUT_KEYBOARD);
	expect(driver, "");
	tear_down(&f);
}

/* Only the queue is reset (RING_RESET): nothing is lost. */
static void test_queue_reset(void)
{
	struct input_driver *driver;
	struct fixture f;

	set_up(&f);
	driver = start_without_buffers(&f, VTR_INPUT_KEYBOARD);
	vtr_input_key(f.input, KEY_A, true);
	driver_dispatch(driver);
	vtr_virtio_reset_queue(driver->device, VTR_INPUT_EVENTQ);
	vtr_input_key(f.input, KEY_A, false);
	driver_dispatch(driver);
	vring_driver_init(&driver->eventq, &driver->ram, DRIVER_BASE, DRIVER_SIZE);
	memset(driver->ram.data, 0, 0x400 + 6 + 128 + 4 + 6 + 512);
	driver->given = 0;
	driver_start_queue(driver, VTR_INPUT_EVENTQ, &driver->eventq);
	expect_later(driver, "k30+ | k30- |");
	tear_down(&f);
}

static void test_focus_lost(void)
{
	struct input_driver *keyboard, *tablet;
	struct fixture f;

	set_up(&f);
	keyboard = start(&f, VTR_INPUT_KEYBOARD);
	tablet = start(&f, VTR_INPUT_TABLET);
	vtr_input_key(f.input, KEY_LEFTALT, true);
	vtr_input_key(f.input, KEY_TAB, true);
	vtr_input_button(f.input, BTN_LEFT, true);
	expect(keyboard, "k56+ | k15+ |");
	expect(tablet, "k272+ |");
	vtr_input_release_all(f.input);
	expect(keyboard, "k15- k56- |");
	expect(tablet, "k272- |");
	vtr_input_release_all(f.input);
	vtr_input_key(f.input, KEY_TAB, false); /* comes late */
	expect(keyboard, "");
	tear_down(&f);
}

/* ---- what a driver may do wrong, and what it says ---- */

static void test_small_buffer(void)
{
	struct input_driver *driver;
	struct fixture f;

	set_up(&f);
	driver = start_without_buffers(&f, VTR_INPUT_KEYBOARD);
	driver_give(driver, 1, sizeof(struct virtio_input_event) - 1);
	driver_dispatch(driver);
	g_assert_false(vtr_virtio_status(driver->device) & VIRTIO_CONFIG_S_NEEDS_RESET); /* nobody has looked at it yet */
	vtr_input_key(f.input, KEY_A, true);
	expect(driver, "");
	g_assert_true(vtr_virtio_status(driver->device) & VIRTIO_CONFIG_S_NEEDS_RESET);
	g_assert_cmpuint(driver->config_interrupts, ==, 1);
	vtr_virtio_reset(driver->device);
	expect(start(&f, VTR_INPUT_KEYBOARD), "k30+ |");
	tear_down(&f);
}

static const struct status_row {
	const char *name;
	uint16_t type, code;
	uint32_t value, size, leds;
} status_rows[] = {
	{ "caps-on", EV_LED, LED_CAPSL, 1, 8, 1 << LED_CAPSL },
	{ "num-on", EV_LED, LED_NUML, 1, 8, 1 << LED_NUML },
	{ "any-value-is-on", EV_LED, LED_SCROLLL, 0xffff, 8, 1 << LED_SCROLLL },
	{ "off", EV_LED, LED_NUML, 0, 8, 0 },
	{ "longer", EV_LED, LED_NUML, 1, 60, 1 << LED_NUML },
	{ "shorter", EV_LED, LED_NUML, 1, 7, 0 },
	{ "no-such-led", EV_LED, LED_MISC, 1, 8, 0 },
	{ "a-led-far-away", EV_LED, 0xffff, 1, 8, 0 },
	{ "bell", EV_SND, SND_BELL, 1, 8, 0 },
	{ "repeat-rate", EV_REP, REP_DELAY, 250, 8, 0 },
	{ "syn", EV_SYN, SYN_REPORT, 0, 8, 0 },
	{ "key", EV_KEY, KEY_A, 1, 8, 0 },
};

static void test_status(const void *data)
{
	const struct status_row *row = data;
	struct vring_used_elem used;
	struct input_driver *driver;
	struct fixture f;

	set_up(&f);
	driver = start(&f, VTR_INPUT_KEYBOARD);
	driver_send(driver, 0, row->type, row->code, row->value, row->size);
	g_assert_cmpint(vring_take_used(&driver->statusq, &used), ==, 1);
	g_assert_cmpuint(used.len, ==, 0);
	g_assert_cmpuint(vtr_input_leds(f.input), ==, row->leds);
	g_assert_cmpuint(f.leds, ==, row->leds);
	g_assert_cmpuint(f.leds_changed, ==, row->leds != 0);
	g_assert_cmpuint(vtr_virtio_status(driver->device) & VIRTIO_CONFIG_S_NEEDS_RESET, ==, 0);
	expect(driver, "");
	tear_down(&f);
}

static void test_leds(void)
{
	struct input_driver *driver;
	struct fixture f;

	set_up(&f);
	driver = start(&f, VTR_INPUT_KEYBOARD);
	driver_send(driver, 0, EV_LED, LED_NUML, 1, 8);
	driver_send(driver, 1, EV_LED, LED_CAPSL, 1, 8);
	driver_send(driver, 2, EV_LED, LED_CAPSL, 1, 8);
	g_assert_cmpuint(f.leds, ==, 1 << LED_NUML | 1 << LED_CAPSL);
	g_assert_cmpuint(f.leds_changed, ==, 2);
	driver_send(driver, 3, EV_LED, LED_NUML, 0, 8);
	g_assert_cmpuint(f.leds, ==, 1 << LED_CAPSL);
	vtr_virtio_reset(driver->device); /* they go out with their driver */
	g_assert_cmpuint(f.leds, ==, 0);
	g_assert_cmpuint(f.leds_changed, ==, 4);
	/* other devices have none */
	driver = start(&f, VTR_INPUT_MOUSE);
	driver_send(driver, 0, EV_LED, LED_NUML, 1, 8);
	g_assert_cmpuint(f.leds_changed, ==, 4);
	tear_down(&f);
}

/* ---- threads ---- */

static void *press_and_release(void *data)
{
	struct fixture *f = data;

	for (uint32_t i = 0; i < 20000; i++) {
		vtr_input_key(f->input, KEY_1 + i % 7, i / 7 % 2 == 0);
		vtr_input_move(f->input, 0, i % 1000, i % 777);
		vtr_input_used(f->input, VTR_INPUT_KEYBOARD);
	}
	for (uint32_t i = 0; i < 7; i++)
		vtr_input_key(f->input, KEY_1 + i, false);
	return NULL;
}

/* A display's thread is faster than the guest: the guest ends up with nothing held down. */
static void test_threads(void)
{
	struct input_driver *driver;
	struct virtio_input_event event;
	struct vtr_input_status status;
	uint8_t down[KEY_CNT] = { 0 };
	struct fixture f;
	pthread_t thread;

	set_up(&f);
	driver = start(&f, VTR_INPUT_KEYBOARD);
	g_assert_cmpint(pthread_create(&thread, NULL, press_and_release, &f), ==, 0);
	for (bool ended = false, more = true; more || !ended;) {
		if (!more)
			ended = !pthread_tryjoin_np(thread, NULL);
		more = driver_take(driver, &event);
		if (!more)
			continue;
		driver_give(driver, 1, sizeof(event));
		if (event.type == EV_KEY)
			down[event.code] = (uint8_t)event.value;
	}
	for (unsigned code = 0; code < KEY_CNT; code++)
		g_assert_cmpuint(down[code], ==, 0);
	vtr_input_status(f.input, VTR_INPUT_KEYBOARD, &status);
	g_assert_cmpuint(status.waiting, ==, 0);
	tear_down(&f);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	ADD_ROWS("/input/config/", config_rows, test_config);
	g_test_add_func("/input/config/key-bits", test_key_bits);
	g_test_add_func("/input/config/writes", test_config_writes);
	g_test_add_func("/input/packet/keys", test_keys);
	g_test_add_func("/input/packet/tablet", test_tablet);
	g_test_add_func("/input/packet/mouse", test_mouse);
	g_test_add_func("/input/packet/wheel", test_wheel);
	g_test_add_func("/input/packet/pointers", test_pointers);
	g_test_add_func("/input/packet/touch", test_touch);
	g_test_add_func("/input/packet/touch-replaced", test_touch_replaced);
	g_test_add_func("/input/packet/touch-many", test_touch_many);
	g_test_add_func("/input/slow/half-a-packet", test_half_a_packet);
	g_test_add_func("/input/slow/motion-waits", test_motion_waits);
	g_test_add_func("/input/slow/resynchronisation", test_resynchronisation);
	g_test_add_func("/input/slow/resynchronisation-touch", test_resynchronisation_touch);
	g_test_add_func("/input/slow/many-keys", test_many_keys);
	g_test_add_func("/input/driver/nobody", test_nobody);
	g_test_add_func("/input/driver/reset", test_reset);
	g_test_add_func("/input/driver/queue-reset", test_queue_reset);
	g_test_add_func("/input/driver/focus-lost", test_focus_lost);
	g_test_add_func("/input/driver/small-buffer", test_small_buffer);
	ADD_ROWS("/input/status/", status_rows, test_status);
	g_test_add_func("/input/status/leds", test_leds);
	g_test_add_func("/input/threads", test_threads);
	return g_test_run();
}
