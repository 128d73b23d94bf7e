/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Compiled by `configure --with-dmm-headers=DIR` only: is abi.h what the true headers of DMM say? */
#include "abi.h"

#include "nstack_dmm_api.h"

#define SAME(ours, our_member, theirs, their_member) \
	_Static_assert(offsetof(ours, our_member) == offsetof(theirs, their_member) && \
		       __builtin_types_compatible_p(__typeof__(((ours *)0)->our_member), \
						    __typeof__(((theirs *)0)->their_member)), \
		       #our_member " differs")

#define NSTACK_MK_DECL(ret, fn, args) \
	SAME(struct dmm_socket_ops, fn, nstack_socket_ops, pf##fn)
#include "declare_syscalls.h"

SAME(struct dmm_extern_ops, module_init, nstack_extern_ops, module_init);
SAME(struct dmm_extern_ops, module_init_child, nstack_extern_ops, module_init_child);
SAME(struct dmm_extern_ops, fork_init_child, nstack_extern_ops, fork_init_child);
SAME(struct dmm_extern_ops, fork_parent_fd, nstack_extern_ops, fork_parent_fd);
SAME(struct dmm_extern_ops, fork_child_fd, nstack_extern_ops, fork_child_fd);
SAME(struct dmm_extern_ops, fork_free_fd, nstack_extern_ops, fork_free_fd);
SAME(struct dmm_extern_ops, ep_ctl, nstack_extern_ops, ep_ctl);
SAME(struct dmm_extern_ops, ep_getevt, nstack_extern_ops, ep_getevt);
SAME(struct dmm_extern_ops, ep_prewait_proc, nstack_extern_ops, ep_prewait_proc);
SAME(struct dmm_extern_ops, stack_fd_check, nstack_extern_ops, stack_fd_check);
SAME(struct dmm_extern_ops, stack_alloc_fd, nstack_extern_ops, stack_alloc_fd);
SAME(struct dmm_extern_ops, peak, nstack_extern_ops, peak);
SAME(struct dmm_host, handle, nstack_event_cb, handle);
SAME(struct dmm_host, type, nstack_event_cb, type);
SAME(struct dmm_host, event_cb, nstack_event_cb, event_cb);
_Static_assert(offsetof(struct dmm_ops, extern_ops) == offsetof(nstack_proc_cb, extern_ops) &&
	       sizeof(struct dmm_ops) == sizeof(nstack_proc_cb), "table differs");
_Static_assert((int)DMM_EP_ADD == nstack_ep_triggle_add && (int)DMM_EP_MOD == nstack_ep_triggle_mod &&
	       (int)DMM_EP_DEL == nstack_ep_triggle_del, "operations differ");
