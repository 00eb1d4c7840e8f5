/* SPDX-License-Identifier: MIT */
#include "util/fault.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

/*
 * Theory of operation
 *
 * Guest memory is a file that the VMM owns. Sealed memfds cannot shrink; any other file can, at any moment, and then our next
 * access raises SIGBUS, whose default action ends the process. A check before the access cannot help, so the access itself is made
 * survivable: the handler maps zero pages over [faulting page, end of the guarded range) and returns, the interrupted instruction
 * runs again and reads zeros, and whoever copied asks vtr_fault_guard_hit() afterwards. A device that is assigned to a guest takes
 * its pages out of our mapping while the guest has it switched off: the same signal, the same cure; it may be mapped again later.
 *
 * The handler runs between any two instructions of any thread, so it takes no lock and allocates nothing. It walks a list of
 * chunks that only ever grows: a chunk is published by one atomic store and never freed, its guards are used again. The fields of
 * a guard change under a sequence count (odd meanwhile): the guard over a faulting address cannot be one that is being changed,
 * because its owner is using it, so the handler passes those by. Everything else happens under the table's lock.
 *
 * A SIGBUS that is not ours goes where it would have gone without us: to the handler that was there before, or to the default
 * action, for which the instruction is simply run again. The table is global because signal handlers are.
 */

enum { GUARDS_PER_CHUNK = 128 };

struct vtr_fault_guard {
	_Atomic uint32_t sequence;    // odd while the three below change
	_Atomic uintptr_t start, end; // equal when free
	_Atomic uintptr_t page;       // bytes
	_Atomic bool hit;
	struct vtr_fault_guard *next_free; // fault_table.free
};

struct guard_chunk {
	struct guard_chunk *next; // set before the chunk is published
	struct vtr_fault_guard guards[GUARDS_PER_CHUNK];
};

static struct {
	pthread_mutex_t lock;
	struct guard_chunk *_Atomic chunks;
	struct vtr_fault_guard *free;
	struct sigaction previous; // set before the first chunk is published
} fault_table = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* Reads a guard as a whole; false when it is being changed. */
static bool read_guard(struct vtr_fault_guard *guard, uintptr_t *start, uintptr_t *end, uintptr_t *page)
{
	uint32_t sequence = atomic_load_explicit(&guard->sequence, memory_order_acquire);

	*start = atomic_load_explicit(&guard->start, memory_order_relaxed);
	*end = atomic_load_explicit(&guard->end, memory_order_relaxed);
	*page = atomic_load_explicit(&guard->page, memory_order_relaxed);
	atomic_thread_fence(memory_order_acquire);
	return !(sequence & 1) && sequence == atomic_load_explicit(&guard->sequence, memory_order_relaxed);
}

static void write_guard(struct vtr_fault_guard *guard, uintptr_t start, uintptr_t end, uintptr_t page)
{
	uint32_t sequence = atomic_load_explicit(&guard->sequence, memory_order_relaxed);

	atomic_store_explicit(&guard->sequence, sequence + 1, memory_order_relaxed);
	atomic_thread_fence(memory_order_release);
	atomic_store_explicit(&guard->start, start, memory_order_relaxed);
	atomic_store_explicit(&guard->end, end, memory_order_relaxed);
	atomic_store_explicit(&guard->page, page, memory_order_relaxed);
	atomic_store_explicit(&guard->hit, false, memory_order_relaxed);
	atomic_store_explicit(&guard->sequence, sequence + 2, memory_order_release);
}

/* ---- in the signal handler ---- */

static bool map_zeros(uintptr_t start, uintptr_t end)
{
	return mmap((void *)start, end - start, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1,
	            0) != MAP_FAILED;
}

static bool replace_pages(uintptr_t address)
{
	for (struct guard_chunk *chunk = atomic_load(&fault_table.chunks); chunk; chunk = chunk->next)
		for (size_t i = 0; i < GUARDS_PER_CHUNK; i++) {
			struct vtr_fault_guard *guard = &chunk->guards[i];
			uintptr_t start, end, page;

			if (!read_guard(guard, &start, &end, &page) || address < start || address >= end)
				continue;
			/* First, so that nobody trusts what is read from the zero pages. */
			atomic_store(&guard->hit, true);
			/* Splitting the mapping may go over the limit of mappings; replacing all of it cannot. */
			return map_zeros(address & ~(page - 1), end) || map_zeros(start, end);
		}
	return false;
}

static void forward(int number, siginfo_t *info, void *context)
{
	const struct sigaction *previous = &fault_table.previous;
	bool sent = info->si_code <= 0; // by kill() and the like, not by an access

	if (previous->sa_flags & SA_SIGINFO) {
		previous->sa_sigaction(number, info, context);
	} else if (previous->sa_handler == SIG_IGN && sent) {
		return;
	} else if (previous->sa_handler == SIG_IGN || previous->sa_handler == SIG_DFL) {
		/* Ignoring a faulting access would repeat it for ever: the kernel ends such a process, and so do we. */
		signal(number, SIG_DFL);
		if (sent)
			raise(number);
	} else {
		previous->sa_handler(number);
	}
}

static void on_sigbus(int number, siginfo_t *info, void *context)
{
	int saved = errno;
	bool access = info->si_code == BUS_ADRERR || info->si_code == BUS_MCEERR_AR;

	if (!access || !replace_pages((uintptr_t)info->si_addr))
		forward(number, info, context);
	errno = saved;
}

/* ---- the table ---- */

static bool install_handler(void)
{
	struct sigaction action = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART };

	sigemptyset(&action.sa_mask);
	return sigaction(SIGBUS, NULL, &fault_table.previous) == 0 && sigaction(SIGBUS, &action, NULL) == 0;
}

static bool add_chunk(void)
{
	struct guard_chunk *chunk = calloc(1, sizeof(*chunk));
	struct guard_chunk *chunks = atomic_load(&fault_table.chunks);

	if (!chunk)
		return false;
	if (!chunks && !install_handler()) {
		free(chunk);
		return false;
	}
	for (size_t i = 0; i < GUARDS_PER_CHUNK; i++) {
		chunk->guards[i].next_free = fault_table.free;
		fault_table.free = &chunk->guards[i];
	}
	chunk->next = chunks;
	atomic_store(&fault_table.chunks, chunk);
	return true;
}

struct vtr_fault_guard *vtr_fault_guard_add(void *start, size_t length, size_t page)
{
	struct vtr_fault_guard *guard = NULL;

	pthread_mutex_lock(&fault_table.lock);
	if (fault_table.free || add_chunk()) {
		guard = fault_table.free;
		fault_table.free = guard->next_free;
		write_guard(guard, (uintptr_t)start, (uintptr_t)start + length, page);
	}
	pthread_mutex_unlock(&fault_table.lock);
	return guard;
}

void vtr_fault_guard_remove(struct vtr_fault_guard *guard)
{
	if (!guard)
		return;
	pthread_mutex_lock(&fault_table.lock);
	write_guard(guard, 0, 0, 0);
	guard->next_free = fault_table.free;
	fault_table.free = guard;
	pthread_mutex_unlock(&fault_table.lock);
}

void vtr_fault_guard_reset(struct vtr_fault_guard *guard)
{
	atomic_store(&guard->hit, false);
}

bool vtr_fault_guard_hit(const struct vtr_fault_guard *guard)
{
	/* The handler ran in this thread: what it set must not have been read before the copy that it interrupted. */
	atomic_signal_fence(memory_order_seq_cst);
	return guard && atomic_load_explicit(&guard->hit, memory_order_acquire);
}
