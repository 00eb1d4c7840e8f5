/* SPDX-License-Identifier: MIT */
/*
 * Event loop over epoll. Each source is one file descriptor: the caller's, a timerfd, a signalfd or an eventfd. A removed source is
 * taken out of the epoll set at once but freed only when no dispatch is under way, because epoll_wait() may have handed us its
 * pointer already; `removed` keeps such an event from firing.
 */
#include "util/loop.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "util/fd.h"

enum source_kind { SOURCE_FD, SOURCE_TIMER, SOURCE_SIGNAL, SOURCE_EVENT };

struct vtr_source {
	struct vtr_loop *loop;
	struct vtr_source *next; /* loop.sources or loop.garbage */
	enum source_kind kind;
	int fd; /* owned but for SOURCE_FD */
	uint32_t events;
	bool removed;
	vtr_fd_func fd_func;
	vtr_source_func func;
	void *data;
};

struct vtr_loop {
	int epoll;
	struct vtr_source *sources;
	struct vtr_source *garbage; /* removed during a dispatch */
	unsigned depth;             /* dispatches under way */
	uint64_t turn;              /* dispatches ever */
	struct vtr_source *stop;
	atomic_bool stopped;
};

uint64_t vtr_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

static void source_free(struct vtr_source *source)
{
	if (source->kind != SOURCE_FD)
		vtr_fd_close(&source->fd);
	free(source);
}

static void collect_garbage(struct vtr_loop *loop)
{
	while (loop->garbage) {
		struct vtr_source *source = loop->garbage;

		loop->garbage = source->next;
		source_free(source);
	}
}

/* Takes fd (unless it is the caller's), also when it fails. */
static struct vtr_source *source_add(struct vtr_loop *loop, enum source_kind kind, int fd, uint32_t events, void *data)
{
	if (fd < 0)
		return NULL;
	struct vtr_source *source = malloc(sizeof(*source));
	if (!source)
		goto fail;
	*source = (struct vtr_source){ .loop = loop, .kind = kind, .fd = fd, .events = events, .data = data };
	struct epoll_event event = { .events = events, .data.ptr = source };
	if (epoll_ctl(loop->epoll, EPOLL_CTL_ADD, fd, &event) < 0)
		goto fail;
	source->next = loop->sources;
	loop->sources = source;
	return source;
fail:;
	int error = errno;
	free(source);
	if (kind != SOURCE_FD)
		close(fd);
	errno = error;
	return NULL;
}

static void stop_raised(void *data)
{
	/* only ends epoll_wait(); vtr_loop_run() looks at `stopped` */
}

struct vtr_loop *vtr_loop_create(void)
{
	struct vtr_loop *loop = calloc(1, sizeof(*loop));

	if (!loop)
		return NULL;
	loop->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epoll >= 0)
		loop->stop = vtr_loop_add_event(loop, stop_raised, NULL);
	if (!loop->stop) {
		vtr_loop_destroy(loop);
		return NULL;
	}
	return loop;
}

void vtr_loop_destroy(struct vtr_loop *loop)
{
	if (!loop)
		return;
	while (loop->sources)
		vtr_source_remove(loop->sources);
	collect_garbage(loop);
	vtr_fd_close(&loop->epoll);
	free(loop);
}

int vtr_loop_fd(const struct vtr_loop *loop)
{
	return loop->epoll;
}

uint64_t vtr_loop_turn(const struct vtr_loop *loop)
{
	return loop->turn;
}

static void source_dispatch(struct vtr_source *source, uint32_t events)
{
	union {
		uint64_t count;
		struct signalfd_siginfo signal;
	} drain;

	if (source->kind == SOURCE_FD) {
		source->fd_func(source->fd, events, source->data);
		return;
	}
	/* A timer re-armed by an earlier source of the same dispatch has nothing to read: it is not due. */
	if (read(source->fd, &drain, source->kind == SOURCE_SIGNAL ? sizeof(drain.signal) : sizeof(drain.count)) > 0)
		source->func(source->data);
}

int vtr_loop_dispatch(struct vtr_loop *loop, int timeout_ms)
{
	struct epoll_event events[32];
	int count = epoll_wait(loop->epoll, events, 32, timeout_ms);

	if (count < 0)
		return errno == EINTR ? 0 : -errno;
	loop->depth++;
	loop->turn++;
	for (int i = 0; i < count; i++) {
		struct vtr_source *source = events[i].data.ptr;

		if (!source->removed)
			source_dispatch(source, events[i].events);
	}
	if (!--loop->depth)
		collect_garbage(loop);
	return 0;
}

int vtr_loop_run(struct vtr_loop *loop)
{
	while (!atomic_load(&loop->stopped)) {
		int error = vtr_loop_dispatch(loop, -1);

		if (error)
			return error;
	}
	atomic_store(&loop->stopped, false);
	return 0;
}

void vtr_loop_stop(struct vtr_loop *loop)
{
	atomic_store(&loop->stopped, true);
	vtr_event_raise(loop->stop);
}

struct vtr_source *vtr_loop_add_fd(struct vtr_loop *loop, int fd, uint32_t events, vtr_fd_func func, void *data)
{
	struct vtr_source *source = source_add(loop, SOURCE_FD, fd, events, data);

	if (source)
		source->fd_func = func;
	return source;
}

int vtr_source_set_events(struct vtr_source *source, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = source };

	if (events == source->events)
		return 0;
	if (epoll_ctl(source->loop->epoll, EPOLL_CTL_MOD, source->fd, &event) < 0)
		return -errno;
	source->events = events;
	return 0;
}

static struct vtr_source *add_owned(struct vtr_loop *loop, enum source_kind kind, int fd, vtr_source_func func, void *data)
{
	struct vtr_source *source = source_add(loop, kind, fd, EPOLLIN, data);

	if (source)
		source->func = func;
	return source;
}

struct vtr_source *vtr_loop_add_timer(struct vtr_loop *loop, vtr_source_func func, void *data)
{
	return add_owned(loop, SOURCE_TIMER, timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK), func, data);
}

void vtr_timer_arm(struct vtr_source *timer, uint64_t deadline_ns)
{
	struct itimerspec spec = {
		.it_value = { .tv_sec = (time_t)(deadline_ns / 1000000000), .tv_nsec = (long)(deadline_ns % 1000000000) },
	};

	timerfd_settime(timer->fd, TFD_TIMER_ABSTIME, &spec, NULL);
}

struct vtr_source *vtr_loop_add_signal(struct vtr_loop *loop, int signo, vtr_source_func func, void *data)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, signo);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return NULL;
	return add_owned(loop, SOURCE_SIGNAL, signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK), func, data);
}

struct vtr_source *vtr_loop_add_event(struct vtr_loop *loop, vtr_source_func func, void *data)
{
	return add_owned(loop, SOURCE_EVENT, eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), func, data);
}

void vtr_event_raise(struct vtr_source *event)
{
	uint64_t one = 1;
	ssize_t written = write(event->fd, &one, sizeof(one));

	(void)written; /* fails only when 2^64 - 1 raises are pending, which is raised enough */
}

void vtr_source_remove(struct vtr_source *source)
{
	if (!source)
		return;
	struct vtr_loop *loop = source->loop;
	struct vtr_source **link = &loop->sources;

	while (*link != source)
		link = &(*link)->next;
	*link = source->next;
	source->removed = true;
	epoll_ctl(loop->epoll, EPOLL_CTL_DEL, source->fd, NULL);
	if (loop->depth) {
		source->next = loop->garbage;
		loop->garbage = source;
	} else {
		source_free(source);
	}
}
