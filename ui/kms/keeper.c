/* SPDX-License-Identifier: MIT */
/*
 * The keeper of screen and terminal.
 *
 * When a program that shows something with KMS dies, the kernel takes its framebuffers off the screen and, when nobody else has the
 * card open, puts the console's there again. But it leaves the virtual terminal in graphics mode, where the console draws nothing
 * and the next switch waits for a process that is gone. So a process of ours has the terminal: forked when the display starts, with
 * a copy of the card's file and one end of a socket, whose other end closes when we die of whatever. Then it sets the modes that
 * were on (with the copy of the card's file we are still its master), and gives the terminal back. An orderly end goes the same
 * way, so the way out after a crash is used every day.
 *
 *     taken --SIGUSR1--> LEAVE --LEFT--> away --SIGUSR2--> ENTER, taken
 *       \-- END or end of file --> restored (not while away) -- end of file --> terminal given back, exit
 *
 * It also answers the kernel's signals about switches, so that this library needs none of its host's. It ignores all others, is a
 * process group of its own (Ctrl-C is for us), and has another name (killall -9 is for us, too).
 *
 * After fork() it calls nothing but system calls: the process it comes from may have had threads.
 */
#include "keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/fd.h"
#include "vt.h"

enum { ANSWER_MS = 2000 /* for the other side's answer */ };

struct saved_crtc {
	uint32_t id, fb, x, y;
	bool on;
	drmModeModeInfo mode;
	uint32_t connectors[VTR_MAX_SCANOUTS];
	int n_connectors;
};

struct keeper {
	int card, socket, vt, signals; /* vt may be -1 */
	bool away, restored;
	struct saved_crtc crtcs[KMS_MAX_CRTCS];
	size_t n_crtcs;
};

/* ---- what is on the screen ---- */

static void save_connectors(const struct kms_card *card, struct saved_crtc *saved)
{
	for (size_t i = 0; i < card->n_connectors; i++)
		if (card->connectors[i].crtc == saved->id)
			saved->connectors[saved->n_connectors++] = card->connectors[i].id;
}

static void save(struct keeper *keeper, const struct kms_card *card)
{
	for (size_t i = 0; i < card->n_crtcs; i++) {
		struct saved_crtc *saved = &keeper->crtcs[keeper->n_crtcs++];
		drmModeCrtc *crtc = drmModeGetCrtc(card->fd, card->crtcs[i].id);

		saved->id = card->crtcs[i].id;
		if (crtc && crtc->mode_valid && crtc->buffer_id) {
			saved->on = true;
			saved->fb = crtc->buffer_id;
			saved->x = crtc->x;
			saved->y = crtc->y;
			saved->mode = crtc->mode;
			save_connectors(card, saved);
		}
		drmModeFreeCrtc(crtc);
	}
}

/* A framebuffer of a program that has ended meanwhile cannot come back: then the CRTC is turned off, as the kernel would do it. */
static void restore(struct keeper *keeper)
{
	if (keeper->restored || keeper->away)
		return;
	keeper->restored = true;
	for (size_t i = 0; i < keeper->n_crtcs; i++) {
		struct saved_crtc *saved = &keeper->crtcs[i];

		drmModeSetCursor(keeper->card, saved->id, 0, 0, 0);
		if (!saved->on || !saved->n_connectors ||
		    drmModeSetCrtc(keeper->card, saved->id, saved->fb, saved->x, saved->y, saved->connectors, saved->n_connectors,
		                   &saved->mode))
			drmModeSetCrtc(keeper->card, saved->id, 0, 0, 0, NULL, 0, NULL);
	}
}

/* ---- the keeper's process ---- */

static void tell(int socket, enum kms_keeper_message message)
{
	char byte = (char)message;

	send(socket, &byte, 1, MSG_NOSIGNAL);
}

/* The next message, KMS_KEEPER_GONE at the end of file, or when none comes in time (-1: whenever). */
static enum kms_keeper_message receive(int socket, int timeout_ms)
{
	struct pollfd ready = { .fd = socket, .events = POLLIN };
	char byte;
	int n;

	do
		n = poll(&ready, 1, timeout_ms);
	while (n < 0 && errno == EINTR);
	if (n <= 0 || recv(socket, &byte, 1, 0) != 1)
		return KMS_KEEPER_GONE;
	return (enum kms_keeper_message)byte;
}

/* END may have crossed our LEAVE: then there is nothing to leave any more. */
static void leave(struct keeper *keeper)
{
	enum kms_keeper_message answer;

	tell(keeper->socket, KMS_KEEPER_LEAVE);
	answer = receive(keeper->socket, ANSWER_MS);
	if (answer == KMS_KEEPER_END) {
		restore(keeper);
		tell(keeper->socket, KMS_KEEPER_RESTORED);
	}
	keeper->away = true;
	kms_vt_allow_leaving(keeper->vt);
}

static void read_signal(struct keeper *keeper)
{
	struct signalfd_siginfo info;

	if (read(keeper->signals, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo == KMS_VT_LEAVE) {
		leave(keeper);
	} else {
		kms_vt_entered(keeper->vt);
		keeper->away = false;
		tell(keeper->socket, KMS_KEEPER_ENTER);
	}
}

/* Everything but the four descriptors is closed: above all guest memory, which must not outlive our owner. */
static void keep_only(struct keeper *keeper)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int *const kept[] = { &keeper->card, &keeper->socket, &keeper->vt, &keeper->signals };
	int next = STDERR_FILENO + 1;

	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		dup2(null, fd);
	/* first out of the way, then in order */
	for (size_t i = 0; i < 4; i++)
		if (*kept[i] >= 0)
			*kept[i] = fcntl(*kept[i], F_DUPFD_CLOEXEC, 16);
	for (size_t i = 0; i < 4; i++)
		if (*kept[i] >= 0) {
			dup2(*kept[i], next);
			*kept[i] = next++;
		}
	close_range((unsigned)next, ~0U, 0);
}

static void keep(struct keeper *keeper)
{
	for (;;) {
		struct pollfd ready[] = { { .fd = keeper->socket, .events = POLLIN }, { .fd = keeper->signals, .events = POLLIN } };

		if (poll(ready, 2, -1) < 0 && errno != EINTR)
			return;
		if (ready[1].revents & POLLIN)
			read_signal(keeper);
		else if (ready[0].revents) {
			enum kms_keeper_message message = receive(keeper->socket, 0);

			if (message == KMS_KEEPER_GONE)
				return;
			if (message == KMS_KEEPER_END) {
				restore(keeper);
				tell(keeper->socket, KMS_KEEPER_RESTORED);
			}
		}
	}
}

static _Noreturn void run(struct keeper *keeper, int vt_number)
{
	sigset_t mask;

	prctl(PR_SET_NAME, "vitrine-keeper");
	setpgid(0, 0);
	sigemptyset(&mask);
	sigaddset(&mask, KMS_VT_LEAVE);
	sigaddset(&mask, KMS_VT_ENTER);
	keeper->signals = signalfd(-1, &mask, SFD_CLOEXEC);
	sigfillset(&mask);
	sigprocmask(SIG_SETMASK, &mask, NULL);
	keep_only(keeper);
	if (keeper->vt >= 0 && kms_vt_take(keeper->vt))
		keeper->vt = -1;
	keeper->away = keeper->vt >= 0 && !kms_vt_is_active(keeper->vt, vt_number);
	tell(keeper->socket, keeper->away ? KMS_KEEPER_AWAY : KMS_KEEPER_READY);
	keep(keeper);
	restore(keeper);
	close(keeper->card); /* after a crash the last one: the kernel's console has the card again */
	if (keeper->vt >= 0)
		kms_vt_give_back(keeper->vt);
	_exit(0);
}

/* ---- our side ---- */

int kms_keeper_start(struct kms_keeper *keeper, const struct kms_card *card, struct vtr_error *error)
{
	struct keeper state = { .card = card->fd };
	int sockets[2], vt_number;

	*keeper = (struct kms_keeper){ .socket = -1 };
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets))
		return vtr_error_set(error, VTR_ERROR_HOST, errno, "no socket for the keeper of the terminal: %s", strerror(errno));
	save(&state, card);
	state.socket = sockets[1];
	state.vt = kms_vt_open(&vt_number);
	keeper->has_vt = state.vt >= 0;
	keeper->socket = sockets[0];
	keeper->pid = fork();
	if (keeper->pid == 0)
		run(&state, vt_number);
	int code = errno;
	close(sockets[1]);
	vtr_fd_close(&state.vt);
	if (keeper->pid < 0) {
		vtr_fd_close(&keeper->socket);
		return vtr_error_set(error, VTR_ERROR_HOST, code, "no process for the keeper of the terminal: %s", strerror(code));
	}
	enum kms_keeper_message ready = receive(keeper->socket, -1);
	if (ready != KMS_KEEPER_GONE)
		return ready;
	kms_keeper_end(keeper, card);
	return vtr_error_set(error, VTR_ERROR_HOST, EIO, "the keeper of the terminal ended before it began");
}

enum kms_keeper_message kms_keeper_read(struct kms_keeper *keeper)
{
	return receive(keeper->socket, 0);
}

void kms_keeper_tell(struct kms_keeper *keeper, enum kms_keeper_message message)
{
	tell(keeper->socket, message);
}

void kms_keeper_end(struct kms_keeper *keeper, const struct kms_card *card)
{
	enum kms_keeper_message answer;

	if (keeper->socket < 0)
		return;
	tell(keeper->socket, KMS_KEEPER_END);
	do
		answer = receive(keeper->socket, ANSWER_MS);
	while (answer != KMS_KEEPER_RESTORED && answer != KMS_KEEPER_GONE);
	drmDropMaster(card->fd); /* else the console could not draw */
	vtr_fd_close(&keeper->socket);
	waitpid(keeper->pid, NULL, 0);
}
