/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Protection domains and memory regions. A key holds the region's place in a table and a number that
 * changes each time the place is used again, so that an old key does not open new memory. The kernel
 * pins registered pages and counts them against RLIMIT_MEMLOCK; here they are counted only.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <linux/capability.h>
#include <unistd.h>

#include "fault.h"
#include "objects.h"
#include "options.h"

struct soft_mr {
	struct ibv_mr ibv;
	int access;
	uint64_t iova;
	size_t pages;
};

static struct place {
	struct soft_mr *mr;
	uint8_t turn;
} *table;

static size_t pinned_pages;
static uint64_t registered_bytes;

static uint32_t places(void)
{
	return (uint32_t)soft_options.max_mr + 1; /* a key of 0 is none */
}

/* Protection domains */

struct ibv_pd *ibv_alloc_pd(struct ibv_context *context)
{
	struct soft_pd *pd = calloc(1, sizeof(*pd));
	int ret;

	if (!pd)
		return NULL;
	soft_lock();
	ret = soft_count_new(&soft_counts.pds, soft_options.max_pd, SOFT_AT_ALLOC_PD);
	soft_unlock();
	if (ret) {
		free(pd);
		errno = ret;
		return NULL;
	}
	pd->ibv.context = context;
	return &pd->ibv;
}

int ibv_dealloc_pd(struct ibv_pd *ibv)
{
	struct soft_pd *pd = soft_pd(ibv);
	bool busy;

	soft_lock();
	busy = pd->users;
	if (!busy)
		soft_counts.pds--;
	soft_unlock();
	if (busy)
		return EBUSY;
	free(pd);
	return 0;
}

/* The memory-lock limit */

static bool pin(size_t pages)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_MEMLOCK, &limit) || limit.rlim_cur == RLIM_INFINITY ||
	    pinned_pages + pages <= limit.rlim_cur / (size_t)sysconf(_SC_PAGESIZE) || soft_node_may(CAP_IPC_LOCK)) {
		pinned_pages += pages;
		return true;
	}
	return false;
}

/* Is there memory at all of these pages? */
static bool is_mapped(uintptr_t start, size_t pages)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	unsigned char resident[256];

	for (size_t done = 0; done < pages; done += sizeof(resident)) {
		size_t n = pages - done < sizeof(resident) ? pages - done : sizeof(resident);

		if (mincore((void *)(start + done * page), n * page, resident))
			return false;
	}
	return true;
}

/* The table */

/* 0: there is none. */
static uint32_t free_place(void)
{
	if (!table)
		table = calloc(places(), sizeof(*table));
	for (uint32_t i = 1; table && i < places(); i++) {
		if (!table[i].mr)
			return i;
	}
	return 0;
}

static struct soft_mr *find(uint32_t key)
{
	uint32_t i = key >> 8;

	return table && i < places() && table[i].mr && table[i].mr->ibv.lkey == key ? table[i].mr : NULL;
}

static int enter(struct soft_mr *mr)
{
	struct soft_fault fault = soft_fault_at(SOFT_AT_REG_MR, registered_bytes + mr->ibv.length);
	uint32_t place;

	if (fault.action == SOFT_FAIL)
		return fault.value;
	if (!(place = free_place()) || !pin(mr->pages))
		return ENOMEM;
	mr->ibv.lkey = mr->ibv.rkey = place << 8 | ++table[place].turn;
	table[place].mr = mr;
	soft_pd(mr->ibv.pd)->users++;
	soft_counts.mrs++;
	registered_bytes += mr->ibv.length;
	return 0;
}

static struct ibv_mr *register_memory(struct ibv_pd *pd, void *addr, size_t length, uint64_t iova,
				      unsigned int access)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), start = (uintptr_t)addr & ~(page - 1);
	struct soft_mr *mr;
	int ret;

	if ((access & (IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_ATOMIC)) &&
	    !(access & IBV_ACCESS_LOCAL_WRITE)) {
		errno = EINVAL;
		return NULL;
	}
	mr = calloc(1, sizeof(*mr));
	if (!mr)
		return NULL;
	mr->ibv = (struct ibv_mr){ .context = pd->context, .pd = pd, .addr = addr, .length = length };
	mr->access = (int)access;
	mr->iova = iova;
	mr->pages = length ? ((uintptr_t)addr + length - start + page - 1) / page : 0;
	soft_lock();
	ret = is_mapped(start, mr->pages) ? enter(mr) : EFAULT;
	soft_unlock();
	if (!ret)
		return &mr->ibv;
	free(mr);
	errno = ret;
	return NULL;
}

#undef ibv_reg_mr
struct ibv_mr *ibv_reg_mr(struct ibv_pd *pd, void *addr, size_t length, int access)
{
	return register_memory(pd, addr, length, (uintptr_t)addr, (unsigned int)access);
}

#undef ibv_reg_mr_iova
struct ibv_mr *ibv_reg_mr_iova(struct ibv_pd *pd, void *addr, size_t length, uint64_t iova, int access)
{
	return register_memory(pd, addr, length, iova, (unsigned int)access);
}

struct ibv_mr *ibv_reg_mr_iova2(struct ibv_pd *pd, void *addr, size_t length, uint64_t iova,
				unsigned int access)
{
	return register_memory(pd, addr, length, iova, access & ~(unsigned int)IBV_ACCESS_OPTIONAL_RANGE);
}

int ibv_dereg_mr(struct ibv_mr *ibv)
{
	struct soft_mr *mr = (struct soft_mr *)ibv;

	soft_lock();
	table[ibv->lkey >> 8].mr = NULL;
	soft_pd(ibv->pd)->users--;
	soft_counts.mrs--;
	registered_bytes -= ibv->length;
	pinned_pages -= mr->pages;
	soft_unlock();
	free(mr);
	return 0;
}

/* Access */

void *soft_mr_memory(struct ibv_pd *pd, uint32_t key, uint64_t addr, uint64_t len, int access)
{
	struct soft_mr *mr = find(key);

	if (!mr || mr->ibv.pd != pd || (mr->access & access) != access || addr < mr->iova ||
	    len > mr->ibv.length || addr - mr->iova > mr->ibv.length - len)
		return NULL;
	return (uint8_t *)mr->ibv.addr + (addr - mr->iova);
}

int soft_sge_map(struct ibv_pd *pd, const struct ibv_sge *sge, int count, uint64_t offset, size_t len, int access,
		 struct iovec *pieces)
{
	int n = 0;

	for (int i = 0; len && i < count; i++) {
		size_t here;
		void *at;

		if (offset >= sge[i].length) {
			offset -= sge[i].length;
			continue;
		}
		here = sge[i].length - offset;
		if (here > len)
			here = len;
		at = soft_mr_memory(pd, sge[i].lkey, sge[i].addr + offset, here, access);
		if (!at)
			return -1;
		pieces[n++] = (struct iovec){ at, here };
		len -= here;
		offset = 0;
	}
	return len ? -1 : n;
}

uint64_t soft_sge_bytes(const struct ibv_sge *sge, int count)
{
	uint64_t bytes = 0;

	for (int i = 0; i < count; i++)
		bytes += sge[i].length;
	return bytes;
}
