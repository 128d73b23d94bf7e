/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* nStack's part: see nstack.h. */
#include "nstack.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { APPS = 65536, BITS = 8192, SELECT_US = 100 };

/* libc behind the names */

#define NAMES(NAME) \
	NAME(socket) NAME(bind) NAME(listen) NAME(shutdown) NAME(getsockname) NAME(getpeername) \
	NAME(getsockopt) NAME(setsockopt) NAME(accept) NAME(accept4) NAME(connect) NAME(recv) NAME(send) \
	NAME(read) NAME(write) NAME(writev) NAME(readv) NAME(sendto) NAME(recvfrom) NAME(sendmsg) \
	NAME(recvmsg) NAME(close) NAME(select) NAME(ioctl) NAME(fcntl) NAME(epoll_create) \
	NAME(epoll_ctl) NAME(epoll_wait) NAME(fork)

static struct {
#define MEMBER(name) __typeof__(name) *name;
	NAMES(MEMBER)
} libc;

__attribute__((constructor)) static void find_libc(void)
{
	void *handle = dlopen("libc.so.6", RTLD_LAZY);

#define FIND(name) *(void **)&libc.name = dlsym(handle, #name);
	NAMES(FIND)
}

/* What must not come from a library */

static char unsafe_call[128];

static void note_unsafe(const char *name, void *caller)
{
	Dl_info from, program;
	const char *file;

	if (!dladdr(caller, &from) || !dladdr(find_libc, &program))
		return;
	file = strrchr(from.dli_fname, '/');
	file = file ? file + 1 : from.dli_fname;
	/* The test program, its framework, and this library may. */
	if (from.dli_fbase == program.dli_fbase || !strncmp(file, "libcheck", 8) || !strstr(file, ".so"))
		return;
	if (!*unsafe_call)
		snprintf(unsafe_call, sizeof(unsafe_call), "%s called by %s", name, file);
}

#define UNSAFE(name) note_unsafe(name, __builtin_return_address(0))

const char *host_unsafe_call(void)
{
	return *unsafe_call ? unsafe_call : NULL;
}

/* Descriptors and epoll sets */

struct item;

/* One for each application descriptor: what modules know as pdata. */
struct info {
	pthread_spinlock_t lock;     /* "epiLock" */
	struct item *items;
};

struct set {
	pthread_spinlock_t sem;      /* held by control and collection */
	pthread_spinlock_t lock;     /* of the lists */
	struct item *members;
	struct item *ready, **ready_end;
	struct item *overflow;
	bool collecting;
	sem_t posted;
};

/* One descriptor in one set. */
struct item {
	struct set *set;
	struct info *info;
	int fd;
	struct epoll_event event;
	unsigned pending, overflowed;
	bool queued, in_overflow;
	struct item *next_of_info, *next_of_set, *next_ready, *next_overflow;
};

static struct app {
	int number;                  /* the module's, when info is not NULL */
	bool routed;                 /* to the module */
	struct info *info;
	struct set *set;             /* an epoll instance */
	atomic_bool close_lock;      /* a spinlock that needs no making */
} apps[APPS];

static struct dmm_ops module;
static bool loaded;
static pthread_rwlock_t fork_lock = PTHREAD_RWLOCK_INITIALIZER;
static atomic_uint told[32], told_late;
static atomic_int told_at;

static struct app *find(int fd)
{
	return loaded && fd >= 0 && fd < APPS && (apps[fd].info || apps[fd].set) ? &apps[fd] : NULL;
}

/* An application's descriptor that the module serves. */
static struct app *find_socket(int fd)
{
	struct app *app = find(fd);

	return app && app->info ? app : NULL;
}

static void hold(struct app *app)
{
	while (atomic_exchange(&app->close_lock, true))
		;
}

static void let_go(struct app *app)
{
	atomic_store(&app->close_lock, false);
}

const struct dmm_ops *host_module(void)
{
	return &module;
}

int host_number(int fd)
{
	struct app *app = find_socket(fd);

	return app ? app->number : -1;
}

unsigned host_told(unsigned events)
{
	unsigned sum = 0;

	for (int bit = 0; bit < 32; bit++)
		sum += events >> bit & 1 ? atomic_load(&told[bit]) : 0;
	return sum;
}

unsigned host_told_late(void)
{
	return atomic_load(&told_late);
}

int host_told_at(void)
{
	return told_at;
}

static void queue(struct set *set, struct item *item)
{
	item->queued = true;
	item->next_ready = NULL;
	*set->ready_end = item;
	set->ready_end = &item->next_ready;
}

static void unqueue(struct set *set, struct item *item)
{
	struct item **at = &set->ready;

	while (*at && *at != item)
		at = &(*at)->next_ready;
	if (*at)
		*at = item->next_ready;
	for (set->ready_end = &set->ready; *set->ready_end;)
		set->ready_end = &(*set->ready_end)->next_ready;
	item->queued = false;
}

/* The module tells of events. */
static int event_cb(void *pdata, int events)
{
	struct info *info = pdata;

	if (!info)
		return -1;
	for (int bit = 0; bit < 32; bit++)
		atomic_fetch_add(&told[bit], (unsigned)events >> bit & 1);
	told_at = getpriority(PRIO_PROCESS, 0);
	pthread_spin_lock(&info->lock);
	/* Items are there before the module's add, and after its del. */
	if (!info->items)
		atomic_fetch_add(&told_late, 1);
	for (struct item *item = info->items; item; item = item->next_of_info) {
		struct set *set = item->set;

		if (!(item->event.events & (unsigned)events))
			continue;
		pthread_spin_lock(&set->lock);
		if (set->collecting) {
			/* Not masked, and nobody is woken: merged when the collection ends. */
			item->overflowed |= (unsigned)events;
			if (!item->in_overflow) {
				item->in_overflow = true;
				item->next_overflow = set->overflow;
				set->overflow = item;
			}
		} else {
			item->pending |= item->event.events & (unsigned)events;
			if (!item->queued) {
				queue(set, item);
				sem_post(&set->posted);
			}
		}
		pthread_spin_unlock(&set->lock);
	}
	pthread_spin_unlock(&info->lock);
	return 0;
}

int host_load(const char *path)
{
	struct dmm_host host = { .type = 1, .event_cb = event_cb };
	dmm_register_fn *fn;

	host.handle = dlopen(path, RTLD_LAZY);
	if (!host.handle) {
		fprintf(stderr, "%s\n", dlerror());
		return -1;
	}
	*(void **)&fn = dlsym(host.handle, "rsocket_stack_register");
	if (!fn || fn(&module, &host)) {
		fprintf(stderr, "%s does not register\n", path);
		return -1;
	}
	if (module.extern_ops.module_init)
		module.extern_ops.module_init();
	loaded = true;
	return 0;
}

static void add_socket(int fd, int number, bool routed)
{
	struct info *info = calloc(1, sizeof(*info));

	pthread_spin_init(&info->lock, PTHREAD_PROCESS_PRIVATE);
	apps[fd].number = number;
	apps[fd].routed = routed;
	apps[fd].info = info;
}

/* epoll: control */

static unsigned trigger(struct item *item, int op)
{
	return module.extern_ops.ep_ctl(-1, apps[item->fd].number, op, &item->event, item->info);
}

/* What the module returns replaces what is pending. */
static void take_result(struct item *item, int op, unsigned ready)
{
	struct set *set = item->set;

	if ((int)ready < 0)
		return;
	item->pending = ready;
	pthread_spin_lock(&set->lock);
	if (ready & item->event.events) {
		if (!item->queued) {
			queue(set, item);
			sem_post(&set->posted);
		} else if (op == DMM_EP_ADD) {
			sem_post(&set->posted);
		}
	} else if (op == DMM_EP_MOD && item->queued && item->event.events & EPOLLET) {
		unqueue(set, item);
	}
	pthread_spin_unlock(&set->lock);
}

static void add_item(struct set *set, int fd, const struct epoll_event *event)
{
	struct item *item = calloc(1, sizeof(*item));
	struct info *info = apps[fd].info;

	*item = (struct item){ .set = set, .info = info, .fd = fd, .event = *event };
	item->next_of_set = set->members;
	set->members = item;
	pthread_spin_lock(&info->lock);
	item->next_of_info = info->items;
	info->items = item;
	pthread_spin_unlock(&info->lock);
	take_result(item, DMM_EP_ADD, trigger(item, DMM_EP_ADD));
}

static void drop_item(struct item *item)
{
	struct item **at;

	trigger(item, DMM_EP_DEL);
	pthread_spin_lock(&item->info->lock);
	for (at = &item->info->items; *at != item;)
		at = &(*at)->next_of_info;
	*at = item->next_of_info;
	pthread_spin_unlock(&item->info->lock);
	pthread_spin_lock(&item->set->lock);
	if (item->queued)
		unqueue(item->set, item);
	pthread_spin_unlock(&item->set->lock);
	for (at = &item->set->members; *at != item;)
		at = &(*at)->next_of_set;
	*at = item->next_of_set;
	free(item);
}

static struct item *find_item(struct set *set, int fd)
{
	struct item *item = set->members;

	while (item && item->fd != fd)
		item = item->next_of_set;
	return item;
}

static int control(struct set *set, int op, int fd, const struct epoll_event *event)
{
	struct item *item = find_item(set, fd);

	if (op == EPOLL_CTL_ADD && !item) {
		add_item(set, fd, event);
	} else if (op == EPOLL_CTL_MOD && item) {
		pthread_spin_lock(&set->lock);
		item->event = *event;
		pthread_spin_unlock(&set->lock);
		take_result(item, DMM_EP_MOD, trigger(item, DMM_EP_MOD));
	} else if (op == EPOLL_CTL_DEL && item) {
		drop_item(item);
	} else {
		errno = item ? EEXIST : ENOENT;
		return -1;
	}
	return 0;
}

int epoll_create(int size)
{
	struct set *set;
	int fd;

	UNSAFE("epoll_create");
	fd = libc.epoll_create(size);
	if (!loaded || fd < 0)
		return fd;
	set = calloc(1, sizeof(*set));
	pthread_spin_init(&set->sem, PTHREAD_PROCESS_PRIVATE);
	pthread_spin_init(&set->lock, PTHREAD_PROCESS_PRIVATE);
	sem_init(&set->posted, 0, 0);
	set->ready_end = &set->ready;
	apps[fd].set = set;
	return fd;
}

int epoll_ctl(int ep, int op, int fd, struct epoll_event *event)
{
	struct app *app = find_socket(fd), *at = find(ep);
	struct epoll_event full = { 0 };
	int ret;

	/* nStack gives another set's events, or none. */
	if (!at || !at->set) {
		UNSAFE("epoll_ctl");
		return libc.epoll_ctl(ep, op, fd, event);
	}
	if (!app) {
		errno = EPERM;
		return -1;
	}
	if (event) {
		full = *event;
		full.events |= EPOLLERR | EPOLLHUP;
	}
	pthread_rwlock_rdlock(&fork_lock);
	hold(app);
	pthread_spin_lock(&at->set->sem);
	ret = control(at->set, op, fd, &full);
	pthread_spin_unlock(&at->set->sem);
	let_go(app);
	pthread_rwlock_unlock(&fork_lock);
	return ret;
}

/* epoll: waiting */

static struct item *begin_collection(struct set *set)
{
	struct item *list;

	pthread_spin_lock(&set->lock);
	list = set->ready;
	set->ready = NULL;
	set->ready_end = &set->ready;
	set->collecting = true;
	pthread_spin_unlock(&set->lock);
	return list;
}

/* What was not looked at goes first next time; what came meanwhile last. */
static void end_collection(struct set *set, struct item *rest)
{
	struct item *mine;

	pthread_spin_lock(&set->lock);
	mine = set->ready;
	set->ready = rest;
	for (set->ready_end = &set->ready; *set->ready_end;)
		set->ready_end = &(*set->ready_end)->next_ready;
	*set->ready_end = mine;
	while (*set->ready_end)
		set->ready_end = &(*set->ready_end)->next_ready;
	for (struct item *item; (item = set->overflow);) {
		set->overflow = item->next_overflow;
		item->in_overflow = false;
		item->pending |= item->overflowed;
		item->overflowed = 0;
		if (!item->queued)
			queue(set, item);
	}
	set->collecting = false;
	pthread_spin_unlock(&set->lock);
}

static int collect(struct set *set, int ep, struct epoll_event *events, int max)
{
	struct item *item, *next;
	int n = 0;

	pthread_spin_lock(&set->sem);
	for (item = begin_collection(set); item && n < max; item = next) {
		next = item->next_ready;
		item->queued = false;
		if (apps[item->fd].routed)
			item->pending |= module.extern_ops.ep_getevt(ep, apps[item->fd].number,
								     item->event.events);
		if (item->pending) {
			events[n].events = item->pending;
			events[n++].data = item->event.data;
			/* Level: ask again next time. */
			if (!(item->event.events & EPOLLET))
				queue(set, item);
		}
		item->pending = 0;
	}
	end_collection(set, item);
	pthread_spin_unlock(&set->sem);
	return n;
}

/* What was told during a collection that found nothing wakes nobody. nStack would sleep now, which no module can
 * help; this program is about the module. */
static bool has_ready(struct set *set)
{
	bool ready;

	pthread_spin_lock(&set->lock);
	ready = set->ready;
	pthread_spin_unlock(&set->lock);
	return ready;
}

int epoll_wait(int ep, struct epoll_event *events, int max, int timeout)
{
	struct app *at = find(ep);
	struct timespec until;
	int n;

	if (!at || !at->set)
		return libc.epoll_wait(ep, events, max, timeout);
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += timeout / 1000;
	until.tv_nsec += timeout % 1000 * 1000000l;
	if (until.tv_nsec >= 1000000000l) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000l;
	}
	while (!(n = collect(at->set, ep, events, max)) && timeout) {
		if (has_ready(at->set))
			continue;
		if (timeout < 0 ? sem_wait(&at->set->posted) : sem_timedwait(&at->set->posted, &until))
			return errno == ETIMEDOUT ? 0 : -1;
	}
	return n;
}

/* select */

struct wide {
	unsigned long words[BITS / 64];
};

static bool is_in(const fd_set *set, int fd)
{
	return set && FD_ISSET(fd, set);
}

static void put(struct wide *set, int number)
{
	set->words[number / 64] |= 1ul << number % 64;
}

static bool has(const struct wide *set, int number)
{
	return set->words[number / 64] >> number % 64 & 1;
}

/* Asks the module about its descriptors among the application's. */
static int ask(int n, const fd_set *in[3], struct wide out[3])
{
	struct timeval ignored = { 1000, 0 };
	int top = 0;

	memset(out, 0, 3 * sizeof(*out));
	for (int fd = 0; fd < n; fd++) {
		struct app *app = find_socket(fd);

		for (int i = 0; app && i < 3; i++) {
			if (!is_in(in[i], fd))
				continue;
			put(&out[i], app->number);
			top = app->number >= top ? app->number + 1 : top;
		}
	}
	return top ? module.socket_ops.select(top, (fd_set *)&out[0], (fd_set *)&out[1],
					      (fd_set *)&out[2], &ignored) : -2;
}

int select(int n, fd_set *in, fd_set *out, fd_set *except, struct timeval *timeout)
{
	const fd_set *sets[3] = { in, out, except };
	long left_us = timeout ? timeout->tv_sec * 1000000 + timeout->tv_usec : -1;
	fd_set *mine[3] = { in, out, except };
	struct wide wide[3];
	int ready, count = 0;

	UNSAFE("select");
	while (!(ready = ask(n, sets, wide)) && left_us) {
		usleep(SELECT_US);
		if (left_us > 0)
			left_us = left_us > SELECT_US ? left_us - SELECT_US : 0;
	}
	if (ready == -2)
		return libc.select(n, in, out, except, timeout);
	for (int fd = 0; ready >= 0 && fd < n; fd++) {
		for (int i = 0; i < 3; i++) {
			if (!is_in(sets[i], fd))
				continue;
			if (find_socket(fd) && has(&wide[i], apps[fd].number))
				count++;
			else
				FD_CLR(fd, mine[i]);
		}
	}
	return ready < 0 ? -1 : count;
}

/* Sockets: opening, closing, fork */

int socket(int domain, int type, int protocol)
{
	int fd = libc.socket(domain, type, protocol), number;

	if (domain == AF_INET)
		UNSAFE("socket");
	if (!loaded || domain != AF_INET || fd < 0)
		return fd;
	number = module.socket_ops.socket(domain, type, protocol);
	if (number < 0) {
		int error = errno;

		libc.close(fd);
		errno = error;
		return -1;
	}
	add_socket(fd, number, false);
	return fd;
}

static int adopt(int number)
{
	int fd;

	if (number < 0)
		return -1;
	fd = libc.socket(AF_UNIX, SOCK_DGRAM, 0);
	if (fd < 0)
		module.socket_ops.close(number);
	else
		add_socket(fd, number, true);
	return fd;
}

int accept(int fd, struct sockaddr *addr, socklen_t *len)
{
	struct app *app = find_socket(fd);

	return app ? adopt(module.socket_ops.accept(app->number, addr, len)) : libc.accept(fd, addr, len);
}

int accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
	struct app *app = find_socket(fd);

	return app ? adopt(module.socket_ops.accept4(app->number, addr, len, flags)) :
		     libc.accept4(fd, addr, len, flags);
}

static void close_socket(struct app *app)
{
	struct item *item;

	hold(app);
	while ((item = app->info->items)) {
		struct set *set = item->set;

		pthread_spin_lock(&set->sem);
		drop_item(item);
		pthread_spin_unlock(&set->sem);
	}
	module.socket_ops.close(app->number);
	/* Never freed, as in nStack: a late event finds an empty list. */
	app->info = NULL;
	let_go(app);
}

static void close_set(struct app *app)
{
	pthread_spin_lock(&app->set->sem);
	while (app->set->members)
		drop_item(app->set->members);
	pthread_spin_unlock(&app->set->sem);
	sem_destroy(&app->set->posted);
	free(app->set);
	app->set = NULL;
}

int close(int fd)
{
	struct app *app = find(fd);

	if (app && app->info)
		close_socket(app);
	else if (app)
		close_set(app);
	return libc.close(fd);
}

pid_t fork(void)
{
	pid_t parent = getpid(), pid;

	UNSAFE("fork");
	if (!loaded)
		return libc.fork();
	pthread_rwlock_wrlock(&fork_lock);
	for (int fd = 0; fd < APPS && module.extern_ops.fork_parent_fd; fd++) {
		if (apps[fd].info)
			module.extern_ops.fork_parent_fd(apps[fd].number, parent);
	}
	pid = libc.fork();
	if (pid == 0) {
		if (module.extern_ops.fork_init_child)
			module.extern_ops.fork_init_child(parent, getpid());
		for (int fd = 0; fd < APPS && module.extern_ops.fork_child_fd; fd++) {
			if (apps[fd].info)
				module.extern_ops.fork_child_fd(apps[fd].number, parent, getpid());
		}
		if (module.extern_ops.module_init_child)
			module.extern_ops.module_init_child();
		fork_lock = (pthread_rwlock_t)PTHREAD_RWLOCK_INITIALIZER;
		return 0;
	}
	pthread_rwlock_unlock(&fork_lock);
	return pid;
}

/* Sockets: what only translates the descriptor */

#define PASS(type, name, params, theirs, ours) \
	type name params \
	{ \
		struct app *app = find_socket(fd); \
		return app ? module.socket_ops.name ours : libc.name theirs; \
	}

PASS(int, listen, (int fd, int backlog), (fd, backlog), (app->number, backlog))
PASS(int, shutdown, (int fd, int how), (fd, how), (app->number, how))
PASS(int, getsockname, (int fd, struct sockaddr *a, socklen_t *l), (fd, a, l), (app->number, a, l))
PASS(int, getpeername, (int fd, struct sockaddr *a, socklen_t *l), (fd, a, l), (app->number, a, l))
PASS(int, getsockopt, (int fd, int level, int name, void *v, socklen_t *l), (fd, level, name, v, l),
     (app->number, level, name, v, l))
PASS(int, setsockopt, (int fd, int level, int name, const void *v, socklen_t l), (fd, level, name, v, l),
     (app->number, level, name, v, l))
PASS(ssize_t, recv, (int fd, void *b, size_t n, int f), (fd, b, n, f), (app->number, b, n, f))
PASS(ssize_t, send, (int fd, const void *b, size_t n, int f), (fd, b, n, f), (app->number, b, n, f))
PASS(ssize_t, read, (int fd, void *b, size_t n), (fd, b, n), (app->number, b, n))
PASS(ssize_t, write, (int fd, const void *b, size_t n), (fd, b, n), (app->number, b, n))
PASS(ssize_t, readv, (int fd, const struct iovec *v, int n), (fd, v, n), (app->number, v, n))
PASS(ssize_t, writev, (int fd, const struct iovec *v, int n), (fd, v, n), (app->number, v, n))
PASS(ssize_t, recvfrom, (int fd, void *b, size_t n, int f, struct sockaddr *a, socklen_t *l),
     (fd, b, n, f, a, l), (app->number, b, n, f, a, l))
PASS(ssize_t, sendto, (int fd, const void *b, size_t n, int f, const struct sockaddr *a, socklen_t l),
     (fd, b, n, f, a, l), (app->number, b, n, f, a, l))
PASS(ssize_t, recvmsg, (int fd, struct msghdr *m, int f), (fd, m, f), (app->number, m, f))
PASS(ssize_t, sendmsg, (int fd, const struct msghdr *m, int f), (fd, m, f), (app->number, m, f))

/* The address decides the route, which stays. */
int bind(int fd, const struct sockaddr *addr, socklen_t len)
{
	struct app *app = find_socket(fd);
	int ret;

	if (!app)
		return libc.bind(fd, addr, len);
	ret = module.socket_ops.bind(app->number, addr, len);
	app->routed |= !ret;
	return ret;
}

int connect(int fd, const struct sockaddr *addr, socklen_t len)
{
	struct app *app = find_socket(fd);

	if (!app)
		return libc.connect(fd, addr, len);
	app->routed = true;
	return module.socket_ops.connect(app->number, addr, len);
}

int ioctl(int fd, unsigned long request, ...)
{
	struct app *app = find_socket(fd);
	unsigned long arg;
	va_list args;

	va_start(args, request);
	arg = va_arg(args, unsigned long);
	va_end(args);
	return app ? module.socket_ops.ioctl(app->number, request, arg) : libc.ioctl(fd, request, arg);
}

int fcntl(int fd, int cmd, ...)
{
	struct app *app = find_socket(fd);
	unsigned long arg;
	va_list args;

	va_start(args, cmd);
	arg = va_arg(args, unsigned long);
	va_end(args);
	return app ? module.socket_ops.fcntl(app->number, cmd, arg) : libc.fcntl(fd, cmd, arg);
}
