/* SPDX-License-Identifier: MIT */
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "memory_fixture.h"
#include "util/fault.h"

struct mapping {
	int fd;
	uint8_t *data;
	size_t size;
	struct vtr_fault_guard *guard;
};

static struct mapping map_pattern(size_t pages)
{
	struct mapping mapping = { .fd = pattern_file(1, pages * PAGE), .size = pages * PAGE };

	mapping.data = mmap(NULL, mapping.size, PROT_READ | PROT_WRITE, MAP_SHARED, mapping.fd, 0);
	g_assert_true(mapping.data != MAP_FAILED);
	return mapping;
}

static struct mapping map_guarded(size_t pages)
{
	struct mapping mapping = map_pattern(pages);

	mapping.guard = vtr_fault_guard_add(mapping.data, mapping.size, PAGE);
	g_assert_nonnull(mapping.guard);
	return mapping;
}

static void unmap(struct mapping *mapping)
{
	vtr_fault_guard_remove(mapping->guard);
	munmap(mapping->data, mapping->size);
	close(mapping->fd);
}

static uint8_t touch(const uint8_t *data)
{
	return *(const volatile uint8_t *)data;
}

/* ---- what a guarded access sees ---- */

static const struct hit_row {
	const char *name;
	size_t left, at; // bytes of the file, offset of the access
	bool hit;
} hit_rows[] = {
	{ "before-the-cut", 4 * PAGE, 4 * PAGE - 1, false },
	{ "first-byte-behind", 4 * PAGE, 4 * PAGE, true },
	{ "last-byte", 4 * PAGE, 8 * PAGE - 1, true },
	{ "file-empty", 0, 0, true },
	{ "cut-inside-the-page", 4 * PAGE + 1, 4 * PAGE + 2, false },
};

static void test_hit(gconstpointer data)
{
	const struct hit_row *row = data;
	struct mapping mapping = map_guarded(8);

	g_assert_false(vtr_fault_guard_hit(mapping.guard));
	g_assert_cmpint(ftruncate(mapping.fd, (off_t)row->left), ==, 0);
	uint8_t byte = touch(mapping.data + row->at);
	g_assert_cmpint(vtr_fault_guard_hit(mapping.guard), ==, row->hit);
	if (row->hit) {
		g_assert_cmpuint(byte, ==, 0);
		/* From the page on to the end all is zeros and may be written; what was before it is the file's. */
		size_t page = row->at / PAGE * PAGE;
		for (size_t i = page; i < mapping.size; i++)
			g_assert_cmpuint(mapping.data[i], ==, 0);
		mapping.data[row->at] = 5;
		assert_pattern(mapping.data, row->left, 1, 0);
	}
	unmap(&mapping);
}

static void test_write_hits(void)
{
	struct mapping mapping = map_guarded(2);

	g_assert_cmpint(ftruncate(mapping.fd, PAGE), ==, 0);
	memset(mapping.data, 0xaa, mapping.size);
	g_assert_true(vtr_fault_guard_hit(mapping.guard));
	g_assert_cmpuint(mapping.data[PAGE - 1], ==, 0xaa);
	unmap(&mapping);
}

static void test_neighbours_are_left_alone(void)
{
	struct mapping a = map_guarded(2), b = map_guarded(2), c = map_guarded(2);

	g_assert_cmpint(ftruncate(b.fd, 0), ==, 0);
	touch(b.data);
	g_assert_false(vtr_fault_guard_hit(a.guard));
	g_assert_true(vtr_fault_guard_hit(b.guard));
	g_assert_false(vtr_fault_guard_hit(c.guard));
	assert_pattern(a.data, a.size, 1, 0);
	assert_pattern(c.data, c.size, 1, 0);
	unmap(&a);
	unmap(&b);
	unmap(&c);
}

/* Pages of the file that are larger than the processor's are replaced as a whole. */
static void test_large_page(void)
{
	struct mapping mapping = map_pattern(16);
	/* A guard must begin on a large page: so give up the pages before the first one. */
	size_t large = 4 * PAGE, skip = (large - (uintptr_t)mapping.data % large) % large;

	mapping.guard = vtr_fault_guard_add(mapping.data + skip, 12 * PAGE, large);
	g_assert_cmpint(ftruncate(mapping.fd, (off_t)(skip + 6 * PAGE)), ==, 0);
	touch(mapping.data + skip + 7 * PAGE);
	g_assert_true(vtr_fault_guard_hit(mapping.guard));
	assert_pattern(mapping.data, skip + 4 * PAGE, 1, 0);
	for (size_t i = skip + 4 * PAGE; i < skip + 12 * PAGE; i++)
		g_assert_cmpuint(mapping.data[i], ==, 0);
	unmap(&mapping);
}

static void test_many_guards(void)
{
	enum { GUARDS = 1000 };
	static uint8_t *const nowhere = (uint8_t *)(uintptr_t)PAGE;
	struct vtr_fault_guard *guards[GUARDS];

	for (size_t i = 0; i < GUARDS; i++)
		guards[i] = vtr_fault_guard_add(nowhere + i * PAGE, PAGE, PAGE);
	struct mapping mapping = map_guarded(1);
	g_assert_cmpint(ftruncate(mapping.fd, 0), ==, 0);
	g_assert_cmpuint(touch(mapping.data), ==, 0);
	g_assert_true(vtr_fault_guard_hit(mapping.guard));
	for (size_t i = 0; i < GUARDS; i++) {
		g_assert_false(vtr_fault_guard_hit(guards[i]));
		vtr_fault_guard_remove(guards[i]);
	}
	unmap(&mapping);
	/* A guard that is used again starts unmarked. */
	struct mapping again = map_guarded(1);
	g_assert_false(vtr_fault_guard_hit(again.guard));
	unmap(&again);
	vtr_fault_guard_remove(NULL);
	g_assert_false(vtr_fault_guard_hit(NULL));
}

static atomic_bool stop;

static gpointer change_guards(gpointer data)
{
	struct vtr_fault_guard *guards[8] = { 0 };

	for (unsigned i = 0; !atomic_load(&stop); i = (i + 1) % 8) {
		vtr_fault_guard_remove(guards[i]);
		guards[i] = vtr_fault_guard_add((uint8_t *)(uintptr_t)PAGE + i * PAGE, PAGE, PAGE);
	}
	for (unsigned i = 0; i < 8; i++)
		vtr_fault_guard_remove(guards[i]);
	return NULL;
}

/* Faults while another thread changes the table. */
static void test_threads(void)
{
	GThread *thread = g_thread_new("guards", change_guards, NULL);

	for (unsigned i = 0; i < 300; i++) {
		struct mapping mapping = map_guarded(2);

		g_assert_cmpint(ftruncate(mapping.fd, PAGE), ==, 0);
		g_assert_cmpuint(touch(mapping.data + PAGE), ==, 0);
		g_assert_true(vtr_fault_guard_hit(mapping.guard));
		unmap(&mapping);
	}
	atomic_store(&stop, true);
	g_thread_join(thread);
}

/* ---- signals that are not ours: each in a process of its own, because the handler is installed once ---- */

enum { EXIT_HANDLED = 7 };

static void handle_plain(int number)
{
	_exit(number == SIGBUS ? EXIT_HANDLED : 1);
}

static void handle_info(int number, siginfo_t *info, void *context)
{
	_exit(number == SIGBUS && info && context ? EXIT_HANDLED : 1);
}

static void previous_default(void)
{
	signal(SIGBUS, SIG_DFL);
}

static void previous_ignored(void)
{
	signal(SIGBUS, SIG_IGN);
}

static void previous_plain(void)
{
	signal(SIGBUS, handle_plain);
}

static void previous_info(void)
{
	struct sigaction action = { .sa_sigaction = handle_info, .sa_flags = SA_SIGINFO };

	sigaction(SIGBUS, &action, NULL);
}

static void fault_outside(void)
{
	struct mapping guarded = map_guarded(1), other = map_pattern(1);

	g_assert_cmpint(ftruncate(other.fd, 0), ==, 0);
	touch(other.data);
	unmap(&guarded);
}

static void fault_after_removal(void)
{
	struct mapping mapping = map_guarded(1);

	vtr_fault_guard_remove(mapping.guard);
	g_assert_cmpint(ftruncate(mapping.fd, 0), ==, 0);
	touch(mapping.data);
}

static void send_signal(void)
{
	struct mapping guarded = map_guarded(1);

	raise(SIGBUS);
	unmap(&guarded);
}

static const struct foreign_row {
	const char *name;
	void (*previous)(void);
	void (*signal)(void);
	int exit; // the status that is expected; -1: ended by SIGBUS
} foreign_rows[] = {
	{ "fault-default", previous_default, fault_outside, -1 },
	{ "fault-ignored", previous_ignored, fault_outside, -1 },
	{ "fault-plain-handler", previous_plain, fault_outside, EXIT_HANDLED },
	{ "fault-info-handler", previous_info, fault_outside, EXIT_HANDLED },
	{ "fault-after-removal", previous_default, fault_after_removal, -1 },
	{ "sent-default", previous_default, send_signal, -1 },
	{ "sent-ignored", previous_ignored, send_signal, 0 },
	{ "sent-plain-handler", previous_plain, send_signal, EXIT_HANDLED },
	{ "sent-info-handler", previous_info, send_signal, EXIT_HANDLED },
};

static void run_foreign(const struct foreign_row *row)
{
	row->previous();
	row->signal();
	exit(0);
}

static void test_foreign(gconstpointer data)
{
	const struct foreign_row *row = data;
	g_autofree char *program = g_file_read_link("/proc/self/exe", NULL);
	const char *arguments[] = { program, "--foreign", row->name, NULL };
	int status = 0;

	g_assert_true(g_spawn_sync(NULL, (char **)arguments, NULL, G_SPAWN_DEFAULT, NULL, NULL, NULL, NULL, &status, NULL));
	if (row->exit < 0) {
		g_assert_true(WIFSIGNALED(status));
		g_assert_cmpint(WTERMSIG(status), ==, SIGBUS);
	} else {
		g_assert_true(WIFEXITED(status));
		g_assert_cmpint(WEXITSTATUS(status), ==, row->exit);
	}
}

int main(int argc, char **argv)
{
	for (size_t i = 0; argc == 3 && i < G_N_ELEMENTS(foreign_rows); i++)
		if (!strcmp(argv[1], "--foreign") && !strcmp(argv[2], foreign_rows[i].name))
			run_foreign(&foreign_rows[i]);
	g_test_init(&argc, &argv, NULL);
	ADD_ROWS("/fault/hit/", hit_rows, test_hit);
	ADD_ROWS("/fault/foreign/", foreign_rows, test_foreign);
	g_test_add_func("/fault/write-hits", test_write_hits);
	g_test_add_func("/fault/neighbours-are-left-alone", test_neighbours_are_left_alone);
	g_test_add_func("/fault/large-page", test_large_page);
	g_test_add_func("/fault/many-guards", test_many_guards);
	g_test_add_func("/fault/threads", test_threads);
	return g_test_run();
}
