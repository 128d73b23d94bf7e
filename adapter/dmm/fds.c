/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* The module's descriptors: see fds.h. */
#include "fds.h"

#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "range.h"

static struct dmm_fd table[DMM_FDS];
static struct dmm_range range = { 0, DMM_MAXFD_DEFAULT };

static pthread_mutex_t free_lock = PTHREAD_MUTEX_INITIALIZER; /* guards the next two */
static int first_free = -1;
static atomic_int used;              /* entries below have been used; read without the lock, too */

void dmm_fds_init(void)
{
	range = dmm_range_configured();
	atomic_store(&used, range.min);
}

/* Numbers that were free before come first: few numbers, in few pages. */
int dmm_fd_reserve(void)
{
	int s;

	pthread_mutex_lock(&free_lock);
	s = first_free;
	if (s >= 0) {
		first_free = table[s].next_free;
	} else if (atomic_load(&used) <= range.max) {
		s = atomic_load(&used);
		atomic_init(&table[s].fd, DMM_FREE);
		pthread_mutex_init(&table[s].lock, NULL);
		atomic_store(&used, s + 1);
	}
	pthread_mutex_unlock(&free_lock);
	if (s < 0)
		errno = EMFILE;
	return s;
}

void dmm_fd_open(int s, int fd)
{
	atomic_store(&table[s].fd, fd);
}

void dmm_fd_release(int s)
{
	pthread_mutex_lock(&free_lock);
	table[s].next_free = first_free;
	first_free = s;
	pthread_mutex_unlock(&free_lock);
}

struct dmm_fd *dmm_fd_find(int s)
{
	if (s >= range.min && s < atomic_load(&used) && atomic_load(&table[s].fd) != DMM_FREE)
		return &table[s];
	errno = EBADF;
	return NULL;
}

int dmm_fd_get(int s)
{
	struct dmm_fd *entry = dmm_fd_find(s);
	int fd = entry ? atomic_load(&entry->fd) : DMM_FREE;

	if (fd >= 0)
		return fd;
	errno = fd == DMM_INHERITED ? ECONNRESET : EBADF;
	return -1;
}

void dmm_fds_inherit(void)
{
	pthread_mutex_init(&free_lock, NULL);
	for (int s = range.min; s < atomic_load(&used); s++) {
		int fd = atomic_load(&table[s].fd);

		pthread_mutex_init(&table[s].lock, NULL);
		if (fd < 0)
			continue;
		/* librsk knows it no more; what is left is a kernel descriptor. Not by close(), which is
		 * nStack's here. */
		syscall(SYS_close, fd);
		atomic_store(&table[s].fd, DMM_INHERITED);
		table[s].sets = 0;
	}
}
