/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * rsk: sockets over RDMA.
 *
 * The calls below mirror POSIX sockets: same arguments, same results, same errno, with `rsk_` before
 * the name. They speak the rsockets protocol of librdmacm, so either end of a connection may be a
 * program that uses rsockets. Link with -lrsk.
 *
 * A descriptor returned by rsk_socket() or rsk_accept() is a kernel descriptor with a life of its
 * own: hand it only to rsk_* calls, and to poll(2), epoll(7) or an event loop to learn when to look
 * again. rsk_close() ends it; close(2) leaks the connection.
 *
 * Thread safety: every call may be made from any thread. On one socket one sender and one receiver
 * run at the same time; two senders take turns, as do two receivers. rsk_close() may be called while
 * other threads are inside calls on the socket: those fail with EBADF or ECONNABORTED, never crash.
 *
 * Blocking calls honour O_NONBLOCK, MSG_DONTWAIT, SO_RCVTIMEO and SO_SNDTIMEO. A signal whose handler was
 * installed without SA_RESTART interrupts them with EINTR when nothing was transferred yet.
 *
 * Every call sets errno when it returns -1. Besides the causes listed with each, all calls fail with
 *   EBADF   fd is not an open rsk descriptor (also: inherited over fork)
 * and the calls that take addresses or buffers with
 *   EFAULT  a pointer that must not be NULL is NULL.
 */
#ifndef RSK_RSK_H
#define RSK_RSK_H

#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Socket options of level SOL_RDMA, with upstream's values. All but the last take an int, in the unit named.
 * They can be set until connecting or listening; accepted sockets inherit the ints of their listener.
 * <rdma/rsocket.h> defines them too: a file that needs both includes that first. */
#ifndef SOL_RDMA
#define SOL_RDMA 0x10000
enum {
	RDMA_SQSIZE = 0,    /* send queue, entries: 16 .. 65534, default 384 */
	RDMA_RQSIZE = 1,    /* receive credits, entries: 16 .. 65534, default 384 */
	RDMA_INLINE = 2,    /* largest inline send, bytes: 0 .. what the device can, default 64 */
	RDMA_IOMAPSIZE = 3, /* mappings that the peer may offer (rsk_iomap), entries: 0 .. 32512, above 128
			     * rounded up to a multiple of 256; default 0 */
	RDMA_ROUTE = 4      /* struct ibv_path_data[] of <infiniband/sa.h>, 1 or 2: the path to connect over;
			     * when connected, the path in use, if the device keeps one */
};
#endif

/**
 * rsk_socket - create a stream socket that connects over RDMA.
 * @domain:   AF_INET or AF_INET6
 * @type:     SOCK_STREAM, optionally with SOCK_NONBLOCK and SOCK_CLOEXEC
 * @protocol: 0 or IPPROTO_TCP
 *
 * Returns a descriptor, or -1 with errno:
 *   EAFNOSUPPORT     another domain
 *   EPROTONOSUPPORT  another protocol, or SOCK_DGRAM
 *   EINVAL           an unknown type, or unknown bits in it
 *   EMFILE, ENFILE   out of descriptors
 *   ENOMEM           out of memory
 *   ENODEV           no RDMA device, or the RDMA connection manager is not there (rdma_ucm not loaded)
 * Never blocks. Source: POSIX socket().
 */
int rsk_socket(int domain, int type, int protocol);

/**
 * rsk_bind - give the socket a local address.
 * @addr:    an address of an RDMA device of this host, or the wildcard address; port 0 picks one
 * @addrlen: bytes of @addr
 *
 * Returns 0, or -1 with errno:
 *   EINVAL         already bound, connecting or connected; @addrlen too short
 *   EAFNOSUPPORT   the family is not the socket's
 *   EADDRINUSE     the port is taken
 *   EADDRNOTAVAIL  not an address of this host
 *   ENODEV         an address of this host that no RDMA device serves (127.0.0.1 is one)
 *   EACCES         a privileged port
 * Never blocks. Source: POSIX bind().
 */
int rsk_bind(int fd, const struct sockaddr *addr, socklen_t addrlen);

/**
 * rsk_listen - wait for connections.
 * @backlog: how many connections may be open and not yet accepted, clipped to 1 .. 4096. As many
 *           again are kept waiting unanswered until there is room; the rest is refused.
 *
 * An unbound socket is bound to the wildcard address and a free port. A second call changes the
 * backlog. Returns 0, or -1 with errno:
 *   EINVAL      connecting or connected
 *   EADDRINUSE  the port is taken
 *   ENODEV      no RDMA device
 * Never blocks. Source: POSIX listen().
 */
int rsk_listen(int fd, int backlog);

/**
 * rsk_accept - take the oldest established connection of a listener.
 * @addr:    the peer's address is stored here, unless NULL
 * @addrlen: in: room at @addr in bytes; out: the address's size, even when it was cut
 *
 * The new socket is blocking and has no close-on-exec flag; its options are the listener's.
 * Returns its descriptor, or -1 with errno:
 *   EINVAL          not listening; @addrlen negative
 *   ENETDOWN        the RDMA device was removed
 *   EAGAIN          O_NONBLOCK, and no connection is ready
 *   EMFILE, ENFILE  out of descriptors; the connection stays in the queue
 *   EINTR           a signal came first
 *   ECONNABORTED    the socket was closed by another thread
 * Blocks unless O_NONBLOCK. Source: POSIX accept().
 */
int rsk_accept(int fd, struct sockaddr *addr, socklen_t *addrlen);

/**
 * rsk_accept4 - rsk_accept() with flags for the new socket.
 * @flags: SOCK_NONBLOCK, SOCK_CLOEXEC; others fail with EINVAL
 *
 * Source: accept4(2).
 */
int rsk_accept4(int fd, struct sockaddr *addr, socklen_t *addrlen, int flags);

/**
 * rsk_connect - connect to a listener.
 * @addr:    its address
 * @addrlen: bytes of @addr
 *
 * Address and route are resolved again and again within the connect time limit (30 s; the setting
 * connect_timeout). Returns 0, or -1 with errno:
 *   EINPROGRESS      O_NONBLOCK, or SO_SNDTIMEO passed: under way. When it is decided, rsk_poll() reports
 *                    POLLOUT and the descriptor itself becomes readable; then SO_ERROR tells how
 *   EALREADY         under way from an earlier call
 *   EISCONN          connected already (the first call after a connect that was under way returns 0), or
 *                    listening
 *   EINVAL           @addrlen too short
 *   EAFNOSUPPORT     the family is not the socket's
 *   ECONNREFUSED     the peer refused, or nobody listens
 *   ETIMEDOUT        no answer within the limit
 *   EHOSTUNREACH, ENETUNREACH, EADDRNOTAVAIL, ENODEV
 *                    no RDMA device leads there (to 127.0.0.1 none does but software verbs)
 *   EPROTO           the peer answered something that is not the protocol
 *   ENOTSUP          the peer speaks another version of it, or the device lacks what it needs
 *   ENOMEM           out of memory, or of memory that may be registered (see ulimit -l)
 *   EMFILE, ENFILE   out of descriptors
 *   EINTR            a signal came first; the connection goes on being made
 *   ECONNABORTED     the socket was closed by another thread; or an earlier attempt failed, which only
 *                    SO_ERROR has told so far: call again
 * rsk_error() has the whole story. After a call that says that connecting failed, the socket may connect
 * again. Blocks unless O_NONBLOCK.
 * Source: POSIX connect(); rsocket protocol, connection establishment.
 */
int rsk_connect(int fd, const struct sockaddr *addr, socklen_t addrlen);

/**
 * rsk_shutdown - end one or both directions.
 * @how: SHUT_RD, SHUT_WR or SHUT_RDWR
 *
 * After SHUT_WR the peer reads what was sent before, then end of file. SHUT_RD is local: reads
 * return what had arrived, then 0. A listener stops listening, unless @how is SHUT_WR: connections that
 * nobody accepted are closed, rsk_accept() fails with EINVAL, and rsk_listen() may be called again.
 * Returns 0, or -1 with errno:
 *   EINVAL    another @how
 *   ENOTCONN  neither connected nor listening
 * Never blocks: what was sent goes out in the background. Source: POSIX shutdown(); rsocket protocol,
 * shutdown and close.
 */
int rsk_shutdown(int fd, int how);

/**
 * rsk_close - close the descriptor.
 *
 * Returns at once; what was sent still goes out, for at most 10 s (the setting close_timeout), in the
 * background (and at exit(3), which waits for it). With SO_LINGER on, it waits up to l_linger seconds until
 * the peer's adapter has confirmed everything, also when O_NONBLOCK is set; what is left then goes on in
 * the background. With l_linger 0 the connection is reset instead: the peer gets ECONNRESET, and what was
 * still on its way may be lost. Unread data is dropped. Calls of other threads on the socket return.
 * Connections of a listener that nobody accepted are closed too. Returns 0, or -1 with EBADF.
 * Source: POSIX close(); socket(7).
 */
int rsk_close(int fd);

/**
 * rsk_send - send bytes.
 * @buf:   not kept: may be reused on return
 * @len:   bytes; 0 returns 0 and sends nothing
 * @flags: MSG_DONTWAIT, MSG_NOSIGNAL, MSG_MORE; MSG_EOR, MSG_CONFIRM and MSG_DONTROUTE mean
 *         nothing; others fail with EOPNOTSUPP
 *
 * With MSG_MORE, or while TCP_CORK is set, less than 4 KiB is accepted and held back, to go in one message
 * with what follows. It goes when a send has no MSG_MORE and TCP_CORK is not set, when 4 KiB are there, when
 * TCP_CORK is cleared or TCP_NODELAY set, before a rsk_iowrite(), rsk_shutdown() or rsk_close(), and after
 * 200 ms.
 *
 * Returns the bytes accepted: all of them when blocking (fewer only if a signal, a time limit or a
 * failure came in between), as many as there was room for otherwise. Or -1 with errno:
 *   EAGAIN      non-blocking, or SO_SNDTIMEO passed, and there was room for nothing
 *   ENOTCONN    not connected
 *   EPIPE       the sending direction is shut down, or the peer closed; SIGPIPE is raised unless
 *               MSG_NOSIGNAL
 *   ECONNRESET  the peer died or gave up the connection
 *   ETIMEDOUT   the peer no longer answers
 *   EPROTO      the peer broke the protocol
 *   EIO         the device failed
 *   ENOMEM      no memory could be registered for sending (see ulimit -l)
 *   EINTR       a signal came first
 * Source: POSIX send(); send(2), tcp(7); rsocket protocol, data path.
 */
ssize_t rsk_send(int fd, const void *buf, size_t len, int flags);

/**
 * rsk_sendto - rsk_send(); a destination fails with EISCONN, without a connection with ENOTCONN.
 * Source: POSIX sendto().
 */
ssize_t rsk_sendto(int fd, const void *buf, size_t len, int flags, const struct sockaddr *addr,
		   socklen_t addrlen);

/**
 * rsk_sendmsg - rsk_send() from several buffers.
 *
 * Also fails with EISCONN or ENOTCONN (msg_name given), EOPNOTSUPP (control data given), EMSGSIZE
 * (msg_iovlen above IOV_MAX), EINVAL (lengths add up to more than SSIZE_MAX). Source: POSIX sendmsg().
 */
ssize_t rsk_sendmsg(int fd, const struct msghdr *msg, int flags);

/** rsk_write - rsk_send() without flags. Source: POSIX write(). */
ssize_t rsk_write(int fd, const void *buf, size_t len);

/**
 * rsk_writev - rsk_write() from several buffers.
 * @iovcnt: 0 .. IOV_MAX, else EINVAL
 *
 * Source: POSIX writev().
 */
ssize_t rsk_writev(int fd, const struct iovec *iov, int iovcnt);

/**
 * rsk_recv - receive bytes.
 * @len:   room at @buf, bytes; 0 returns 0 at once
 * @flags: MSG_DONTWAIT, MSG_PEEK, MSG_WAITALL; MSG_TRUNC: drop the bytes instead of storing them (@buf may
 *         be NULL); MSG_NOSIGNAL and MSG_CMSG_CLOEXEC mean nothing; others fail with EOPNOTSUPP
 *
 * Returns the bytes received: when blocking at least one, or SO_RCVLOWAT, and all of @len with MSG_WAITALL
 * (fewer only if a signal, a time limit, a failure or the end came in between, or, with MSG_PEEK, if the
 * receive buffer is full). 0 at end of file: the peer shut down its sending direction and all of it was
 * read, or this side called rsk_shutdown(SHUT_RD). Or -1 with errno:
 *   EAGAIN      non-blocking, or SO_RCVTIMEO passed, and nothing has arrived
 *   ENOTCONN    not connected
 *   EINVAL      MSG_OOB: there is no out-of-band data
 *   ECONNRESET  the peer died or gave up the connection without ending it in order
 *   ETIMEDOUT   the peer no longer answers
 *   EPROTO      the peer broke the protocol
 *   EIO         the device failed
 *   EINTR       a signal came first
 * What had arrived before a failure is delivered first; a failure is never reported as 0.
 * Source: POSIX recv(); rsocket protocol, data path.
 */
ssize_t rsk_recv(int fd, void *buf, size_t len, int flags);

/**
 * rsk_recvfrom - rsk_recv() that also tells the peer's address.
 * @addr, @addrlen: as in rsk_accept()
 *
 * Source: POSIX recvfrom().
 */
ssize_t rsk_recvfrom(int fd, void *buf, size_t len, int flags, struct sockaddr *addr,
		     socklen_t *addrlen);

/**
 * rsk_recvmsg - rsk_recv() into several buffers.
 *
 * msg_namelen, msg_controllen and msg_flags are set to 0. Also fails with EMSGSIZE (msg_iovlen above
 * IOV_MAX), EINVAL (lengths add up to more than SSIZE_MAX). Source: POSIX recvmsg().
 */
ssize_t rsk_recvmsg(int fd, struct msghdr *msg, int flags);

/** rsk_read - rsk_recv() without flags. Source: POSIX read(). */
ssize_t rsk_read(int fd, void *buf, size_t len);

/** rsk_readv - rsk_read() into several buffers; iovcnt 0 .. IOV_MAX, else EINVAL. Source: POSIX readv(). */
ssize_t rsk_readv(int fd, const struct iovec *iov, int iovcnt);

/**
 * rsk_iomap - let the peer write to memory of this process, with rsk_iowrite().
 * @buf:    the memory; must stay allocated until rsk_iounmap() or rsk_close()
 * @len:    its bytes: 1 .. 4294967295
 * @prot:   PROT_WRITE of <sys/mman.h>; or PROT_NONE, which offers it to nobody
 * @flags:  none is defined; not looked at
 * @offset: what the peer calls its first byte, 0 or more; or -1 for the address of @buf
 *
 * The peer may write there at any time, and nobody is told when it has; it can follow its writes by a
 * message. What this side sends after this call returned reaches the peer when it knows of the mapping.
 * Mappings may overlap; of two that hold an offset, which is written to is not defined.
 * Returns the offset, or -1 with errno:
 *   EINVAL      @len, @prot or @offset out of range
 *   ENOTCONN    not connected, or not yet
 *   ENOMEM      the peer's table is full: it has RDMA_IOMAPSIZE entries, as set on that side before
 *               connecting, default 0. Or no memory could be registered (see ulimit -l)
 *   ENOBUFS     the peer has not returned the credits of earlier mappings. rsockets never do, and a quarter
 *               of their receive queue's size is how many mappings such a connection can have in all;
 *               rsk does when it is next called
 *   EAGAIN      O_NONBLOCK, or SO_SNDTIMEO passed, and there is no room to send: wait as for rsk_send()
 *   EPIPE       the sending direction is shut down, or the peer closed; no SIGPIPE is raised
 *   ECONNRESET, ETIMEDOUT, EPROTO
 *               the connection failed, as in rsk_send()
 *   EINTR       a signal came first
 * Blocks while there is no room to send, unless O_NONBLOCK. Source: librdmacm's riomap(); rsocket protocol,
 * iomap extension.
 */
off_t rsk_iomap(int fd, void *buf, size_t len, int prot, int flags, off_t offset);

/**
 * rsk_iounmap - end a mapping.
 * @buf, @len: as in rsk_iomap()
 *
 * When this returns the peer cannot write there any more. It is told; but if it wrote at that moment, the
 * connection fails (ECONNRESET at both ends), so the two programs must agree when a mapping ends.
 * rsk_close() ends all mappings. Returns 0, or -1 with errno:
 *   EINVAL  no mapping is exactly this
 * Never blocks. Source: librdmacm's riounmap(); rsocket protocol, iomap extension.
 */
int rsk_iounmap(int fd, void *buf, size_t len);

/**
 * rsk_iowrite - write to memory that the peer offered with rsk_iomap().
 * @buf:    not kept: may be reused on return
 * @count:  bytes; 0 returns 0 and does nothing
 * @offset: where, as the peer named it; the bytes may lie in several mappings
 * @flags:  as rsk_send()'s; MSG_MORE means nothing
 *
 * The peer's program is not told. What was sent before arrives before these bytes, what is sent afterwards
 * after them. Returns the bytes accepted: all of them when blocking, fewer if the mappings end before, or for
 * the reasons that rsk_send() has. Or -1 with errno:
 *   EINVAL  @offset is negative
 *   ENXIO   the peer has no mapping at @offset
 * and those of rsk_send(). Sending and writing threads take turns. Source: librdmacm's riowrite(); rsocket
 * protocol, iomap extension.
 */
ssize_t rsk_iowrite(int fd, const void *buf, size_t count, off_t offset, int flags);

/**
 * rsk_poll - wait until one of several descriptors is ready.
 * @fds:     rsk descriptors and kernel descriptors, mixed; negative ones are skipped
 * @nfds:    how many
 * @timeout: milliseconds; 0 looks once, negative waits for ever
 *
 * Bits appear as on a TCP socket: POLLIN (data, end of file, a connection to accept, a failure),
 * POLLOUT (a send would be accepted, or a connect was decided), POLLRDHUP (the peer ended its direction),
 * POLLHUP (both directions ended, or never were), POLLERR (the connection failed), POLLNVAL (not open).
 * Returns how many have bits, 0 when the time passed, or -1 with errno:
 *   EINTR   a signal came first (whatever SA_RESTART says, as poll(2))
 *   EINVAL  @nfds above the limit of open files
 *   ENOMEM  out of memory
 * Source: POSIX poll().
 */
int rsk_poll(struct pollfd *fds, nfds_t nfds, int timeout);

/**
 * rsk_ppoll - rsk_poll() with a finer time limit, and with signals let in only while it sleeps.
 * @timeout: NULL waits for ever
 * @sigmask: the signal mask while it sleeps, or NULL to leave it alone
 *
 * Errors as rsk_poll(), and EINVAL for a negative @timeout. Source: ppoll(2).
 */
int rsk_ppoll(struct pollfd *fds, nfds_t nfds, const struct timespec *timeout, const sigset_t *sigmask);

/**
 * rsk_select - rsk_poll() with sets of descriptors.
 * @nfds:    the highest descriptor in any set, plus 1. The sets are arrays of @nfds bits: they may be longer
 *           than an fd_set
 * @timeout: NULL waits for ever, 0 looks once; the time left is stored, as Linux does
 *
 * A failed connection is readable and writable; no rsk socket ever has an exceptional condition.
 * Returns how many bits are set, 0 when the time passed, or -1 with errno EBADF (a descriptor is not open),
 * EINTR, EINVAL (@nfds or @timeout negative), ENOMEM; then the sets are unchanged. Source: POSIX select().
 */
int rsk_select(int nfds, fd_set *readfds, fd_set *writefds, fd_set *exceptfds, struct timeval *timeout);

/** rsk_pselect - rsk_select() with rsk_ppoll()'s time limit and signal mask. Source: POSIX pselect(). */
int rsk_pselect(int nfds, fd_set *readfds, fd_set *writefds, fd_set *exceptfds,
		const struct timespec *timeout, const sigset_t *sigmask);

/**
 * rsk_epoll_create1 - create an epoll instance.
 * @flags: 0 or EPOLL_CLOEXEC
 *
 * Its members may be rsk sockets, kernel descriptors, and other instances. The instance is a kernel
 * descriptor that is readable when a report waits (and, now and then, when there is nothing after all):
 * poll it, or make it a member of another instance, of rsk or of the kernel. Close it with rsk_close().
 * A wait costs what is ready, not what is watched; no thread works for it.
 * Returns the descriptor, or -1 with errno EINVAL, EMFILE, ENFILE, ENOMEM. Source: epoll_create(2).
 */
int rsk_epoll_create1(int flags);

/**
 * rsk_epoll_ctl - add, change or remove a member.
 * @op:    EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLL_CTL_DEL
 * @fd:    an rsk socket in any state, or a kernel descriptor
 * @event: bits as of rsk_poll(), EPOLLET, EPOLLONESHOT; EPOLLEXCLUSIVE is accepted, and all instances are
 *         told; EPOLLWAKEUP has no effect. Ignored for EPOLL_CTL_DEL
 *
 * Edge triggered, each arrival of data is reported, whether or not earlier data has been read, and room to
 * send once a send has found none. A closed socket is a member no more; a closed descriptor of the kernel
 * is one as long as a duplicate of it is open, as in epoll(7). The first descriptor of the kernel takes one
 * more, for the instance.
 * Returns 0, or -1 with errno:
 *   EBADF   @epfd or @fd is not open
 *   EINVAL  @epfd is no rsk epoll instance, or the same as @fd; unknown @op; EPOLLEXCLUSIVE with other flags
 *           or for EPOLL_CTL_MOD
 *   EEXIST  it is a member already
 *   ENOENT  it is no member
 *   EPERM   a file that cannot be waited for
 *   ELOOP   instances would be members of each other
 *   EFAULT  @event is NULL
 *   ENOMEM, ENOSPC  out of memory, or of the user's watches
 *   EMFILE, ENFILE  no descriptor is left for the instance
 * Never blocks. Any thread, also while others wait. Source: epoll_ctl(2).
 */
int rsk_epoll_ctl(int epfd, int op, int fd, struct epoll_event *event);

/**
 * rsk_epoll_wait - wait for reports of an instance's members.
 * @maxevents: room at @events, > 0; not more than 64 are reported at a time
 * @timeout:   milliseconds; 0 looks once, negative waits for ever
 *
 * Several threads may wait. Members take turns when there are more reports than room.
 * Returns how many were stored, 0 when the time passed, or -1 with errno:
 *   EBADF   @epfd is not open, or was closed meanwhile
 *   EINVAL  @epfd is no rsk epoll instance; @maxevents out of range
 *   EFAULT  @events is NULL
 *   EINTR   a signal came first
 * Source: epoll_wait(2).
 */
int rsk_epoll_wait(int epfd, struct epoll_event *events, int maxevents, int timeout);

/** rsk_epoll_pwait - rsk_epoll_wait() with rsk_ppoll()'s signal mask. Source: epoll_pwait(2). */
int rsk_epoll_pwait(int epfd, struct epoll_event *events, int maxevents, int timeout,
		    const sigset_t *sigmask);

/** rsk_epoll_pwait2 - the same, with rsk_ppoll()'s time limit. Source: epoll_pwait2(2). */
int rsk_epoll_pwait2(int epfd, struct epoll_event *events, int maxevents, const struct timespec *timeout,
		     const sigset_t *sigmask);

/** Called when something arrives at a watched socket: @events of those asked for, EPOLLERR, EPOLLHUP. */
typedef void rsk_watch_fn(int fd, uint32_t events, void *arg);

/**
 * rsk_watch - have a function called when something arrives at a socket.
 * @fd:     a socket in any state
 * @events: EPOLLIN, EPOLLOUT, EPOLLRDHUP; EPOLLERR and EPOLLHUP come unasked
 * @fn:     the function, or NULL (with @events 0) to end watching
 * @arg:    is passed to it
 *
 * It is called for each arrival, as an edge-triggered epoll reports it: new data, a connection to accept, room
 * to send after a send found none, an end, a failure. A socket has one watch; another call replaces it.
 * The function runs on the library's own thread, with no lock held: it may make any call of this library, on
 * this socket too, but must not block: nothing connects or is accepted meanwhile. Once rsk_watch() has
 * returned (to another thread than that), the previous function is not running and will not be called.
 * rsk_close() ends watching, but does not wait for a call that is being made.
 *
 * Returns the bits that are there now (>= 0; they are not told), or -1 with errno EBADF, EINVAL (unknown bits,
 * or bits without a function), EMFILE, ENFILE, ENOMEM, ENOSPC. Does not block but for a function that is
 * running.
 * Source: none; the readiness bits are those of rsk_poll().
 */
int rsk_watch(int fd, uint32_t events, rsk_watch_fn *fn, void *arg);

/** rsk_getsockname - the local address; the wildcard before binding. Source: POSIX getsockname(). */
int rsk_getsockname(int fd, struct sockaddr *addr, socklen_t *addrlen);

/** rsk_getpeername - the peer's address; ENOTCONN when there is none. Source: POSIX getpeername(). */
int rsk_getpeername(int fd, struct sockaddr *addr, socklen_t *addrlen);

/**
 * rsk_setsockopt - set an option.
 *
 *   level, name                  value             meaning
 *   SOL_SOCKET   SO_REUSEADDR    int               bind to a port that an old connection still holds;
 *                                                  before binding
 *                SO_RCVBUF       int, bytes        receive buffer: doubled as in Linux, then fixed; before
 *                                                  connecting only. Not set, it grows with the traffic
 *                SO_SNDBUF       int, bytes        send buffer: doubled as in Linux; before connecting
 *                SO_RCVLOWAT     int, bytes        receive and POLLIN wait for this much, or as much as the
 *                                                  receive buffer holds
 *                SO_RCVTIMEO     struct timeval    limit of a blocking receive or accept, 0 none
 *                SO_SNDTIMEO     struct timeval    limit of a blocking send or connect, 0 none
 *                SO_LINGER       struct linger     see rsk_close()
 *                SO_KEEPALIVE    int               ask an idle peer whether it is there
 *   IPPROTO_TCP  TCP_CORK        int               small sends are joined: see rsk_send()
 *                TCP_NODELAY     int               set to 1, it sends what is held back, also while TCP_CORK is
 *                                                  set. A send that is not to be joined leaves at once anyway
 *                TCP_KEEPIDLE    int, s            when it has been idle for so long: 1 .. 32767
 *                TCP_KEEPINTVL   int, s            it is gone when it has not answered for the product of
 *                TCP_KEEPCNT     int, probes       these two (1 .. 32767, 1 .. 127): ETIMEDOUT. The adapter
 *                                                  repeats the question by itself, so one is sent
 *                TCP_USER_TIMEOUT int, ms          the same limit for that answer, and for the peer's adapter
 *                                                  to confirm what was sent; 0, the default: as long as
 *                                                  our adapter tries, which ends any longer limit
 *   IPPROTO_IP   IP_TOS          int or octet      type of service of a connection to be made from here;
 *   IPPROTO_IPV6 IPV6_TCLASS     int, -1 .. 255    without the two bits that are not the application's
 *                IPV6_V6ONLY     int               before binding
 *   SOL_RDMA     RDMA_*          see above         before connecting or listening
 *
 * Kept, without an effect: SO_OOBINLINE, SO_BROADCAST, SO_PRIORITY, TCP_QUICKACK, TCP_DEFER_ACCEPT.
 * TCP_MAXSEG takes 88 .. 32767 and changes nothing. TCP_CONGESTION is "rdma". SO_REUSEPORT, SO_DONTROUTE,
 * SO_DEBUG (0) and SO_SNDLOWAT (1) can be set only to what they are. Keepalive and buffers have defaults that
 * a site sets: rsk-config(5).
 *
 * Returns 0, or -1 with errno:
 *   ENOPROTOOPT  unknown, read-only, or fixed at another value
 *   EINVAL       @optlen too short, value out of range, or too late
 *   EDOM         a time limit with microseconds out of range
 *   ENOENT       no such congestion control
 * Source: POSIX setsockopt(); socket(7), ip(7), tcp(7); rsocket API.
 */
int rsk_setsockopt(int fd, int level, int optname, const void *optval, socklen_t optlen);

/**
 * rsk_getsockopt - read an option.
 * @optlen: in: room at @optval in bytes; out: bytes stored
 *
 * All of rsk_setsockopt(), and: SO_ERROR (the pending failure, which is cleared), SO_TYPE, SO_DOMAIN,
 * SO_PROTOCOL, SO_ACCEPTCONN, TCP_MAXSEG (RDMA path MTU, bytes), TCP_INFO (struct tcp_info: the state; of a
 * connection the path MTU, the messages in flight as tcpi_unacked and how many may be as tcpi_snd_cwnd, the
 * receive buffer; of a listener the connections to accept as tcpi_unacked; what RDMA does not tell is 0).
 * Returns 0, or -1 with errno:
 *   ENOPROTOOPT  unknown
 *   EINVAL       *@optlen negative; RDMA_ROUTE: there is none, or it has not the room
 * Source: POSIX getsockopt(); tcp(7).
 */
int rsk_getsockopt(int fd, int level, int optname, void *optval, socklen_t *optlen);

/**
 * rsk_fcntl - F_GETFL, F_SETFL (O_NONBLOCK), F_GETFD, F_SETFD (FD_CLOEXEC).
 *
 * Returns the value asked for, or 0, or -1 with errno EINVAL for other commands: F_DUPFD among them, as a
 * socket has one descriptor. Source: POSIX fcntl().
 */
int rsk_fcntl(int fd, int cmd, ... /* int arg */);

/**
 * rsk_ioctl - FIONREAD, FIONBIO, SIOCOUTQ and other requests.
 * @request: and what the int behind its argument is
 *   FIONREAD, SIOCINQ  out: bytes that can be received now
 *   SIOCOUTQ, TIOCOUTQ out: bytes sent that the peer's adapter has not confirmed, at most (a small message
 *                      counts as the largest inline send), and those held back; 0 when all was confirmed
 *   FIONBIO            in: O_NONBLOCK on or off
 *   SIOCATMARK         out: 0, as there is no out-of-band data
 *   FIOCLEX, FIONCLEX  no argument: FD_CLOEXEC on or off
 *
 * Returns 0, or -1 with errno:
 *   EINVAL  FIONREAD, SIOCOUTQ: the socket is listening
 *   ENOTTY  another request
 * Never blocks. Source: ioctl(2), tcp(7).
 */
int rsk_ioctl(int fd, unsigned long request, ... /* int *value */);

/**
 * rsk_error - why a connection failed, in words.
 * @buf: the text, always terminated, for example
 *       "connect to 10.0.0.2:7471: refused: nobody listens there (ECONNREFUSED)"; "" when there is nothing
 *       to tell
 * @len: bytes at @buf
 *
 * The text is of the connection, of the last attempt to make one, or of a call that failed since then for
 * want of memory to send from or of a mapping. Calls of which errno says it all leave it as it is.
 * Returns 0, or -1 with EBADF, EINVAL (@len is 0). Never blocks.
 */
int rsk_error(int fd, char *buf, size_t len);

/** rsk_version - version of the library that runs, for example "0.1.0". Never fails. */
const char *rsk_version(void);

#ifdef __cplusplus
}
#endif

#endif
