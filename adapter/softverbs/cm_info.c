/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* rdma_getaddrinfo(): names to addresses, by way of getaddrinfo(). */
#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>

#include <rdma/rdma_cma.h>

/* Which port spaces and QP types belong together; the first is the default. */
static void choose_service(struct rdma_addrinfo *info, const struct rdma_addrinfo *hints)
{
	int space = hints->ai_port_space, type = hints->ai_qp_type;

	info->ai_port_space = space ? space : type == IBV_QPT_UD ? RDMA_PS_UDP : RDMA_PS_TCP;
	info->ai_qp_type = type ? type : space == RDMA_PS_UDP ? IBV_QPT_UD : IBV_QPT_RC;
}

static int copy_addr(const struct sockaddr *addr, socklen_t size, struct sockaddr **to, socklen_t *to_size)
{
	if (!size)
		return 0;
	*to = malloc(size);
	if (!*to)
		return EAI_MEMORY;
	memcpy(*to, addr, size);
	*to_size = size;
	return 0;
}

/* @found: NULL if no name was given: then the addresses in the hints are the answer. */
static int fill(struct rdma_addrinfo *info, const struct addrinfo *found, const struct rdma_addrinfo *hints)
{
	struct rdma_addrinfo from = *hints;
	int ret;

	if (found && hints->ai_flags & RAI_PASSIVE) {
		from.ai_src_addr = found->ai_addr;
		from.ai_src_len = found->ai_addrlen;
		from.ai_dst_len = 0;
	} else if (found) {
		from.ai_dst_addr = found->ai_addr;
		from.ai_dst_len = found->ai_addrlen;
	}
	info->ai_family = found ? found->ai_family :
			  from.ai_src_len ? from.ai_src_addr->sa_family :
			  from.ai_dst_len ? from.ai_dst_addr->sa_family : 0;
	ret = copy_addr(from.ai_src_addr, from.ai_src_len, &info->ai_src_addr, &info->ai_src_len);
	return ret ? ret : copy_addr(from.ai_dst_addr, from.ai_dst_len, &info->ai_dst_addr, &info->ai_dst_len);
}

int rdma_getaddrinfo(const char *node, const char *service, const struct rdma_addrinfo *hints,
		     struct rdma_addrinfo **res)
{
	static const struct rdma_addrinfo no_hints;
	struct addrinfo want = { .ai_socktype = SOCK_STREAM }, *found = NULL;
	struct rdma_addrinfo *info;
	int ret = 0;

	if (!node && !service && !hints) {
		errno = EINVAL;
		return -1;
	}
	hints = hints ? hints : &no_hints;
	info = calloc(1, sizeof(*info));
	if (!info)
		return EAI_MEMORY;
	info->ai_flags = hints->ai_flags;
	choose_service(info, hints);
	want.ai_flags = (hints->ai_flags & RAI_PASSIVE ? AI_PASSIVE : 0) |
			(hints->ai_flags & RAI_NUMERICHOST ? AI_NUMERICHOST : 0);
	want.ai_family = hints->ai_family;
	if (node || service)
		ret = getaddrinfo(node, service, &want, &found);
	if (!ret)
		ret = fill(info, found, hints);
	if (found)
		freeaddrinfo(found);
	if (ret)
		rdma_freeaddrinfo(info);
	else
		*res = info;
	return ret;
}

void rdma_freeaddrinfo(struct rdma_addrinfo *res)
{
	while (res) {
		struct rdma_addrinfo *next = res->ai_next;

		free(res->ai_src_addr);
		free(res->ai_dst_addr);
		free(res);
		res = next;
	}
}
