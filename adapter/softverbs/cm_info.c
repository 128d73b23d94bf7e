/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* rdma_getaddrinfo(): names to addresses, by way of getaddrinfo(). */
#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>

#include <rdma/rdma_cma.h>

/* Which port spaces and QP types belong together; the first is the default. */
static int choose_service(struct rdma_addrinfo *info, const struct rdma_addrinfo *hints)
{
	int space = hints ? hints->ai_port_space : 0, type = hints ? hints->ai_qp_type : 0;

	info->ai_port_space = space ? space : type == IBV_QPT_UD ? RDMA_PS_UDP : RDMA_PS_TCP;
	info->ai_qp_type = type ? type : space == RDMA_PS_UDP ? IBV_QPT_UD : IBV_QPT_RC;
	return 0;
}

static int copy_addr(const struct sockaddr *addr, socklen_t size, struct sockaddr **to, socklen_t *to_size)
{
	*to = malloc(size);
	if (!*to)
		return EAI_MEMORY;
	memcpy(*to, addr, size);
	*to_size = size;
	return 0;
}

static int fill(struct rdma_addrinfo *info, const struct addrinfo *found, const struct rdma_addrinfo *hints)
{
	int ret = choose_service(info, hints);

	info->ai_family = found->ai_family;
	if (info->ai_flags & RAI_PASSIVE)
		return copy_addr(found->ai_addr, found->ai_addrlen, &info->ai_src_addr, &info->ai_src_len);
	ret = copy_addr(found->ai_addr, found->ai_addrlen, &info->ai_dst_addr, &info->ai_dst_len);
	if (!ret && hints && hints->ai_src_len)
		ret = copy_addr(hints->ai_src_addr, hints->ai_src_len, &info->ai_src_addr,
				&info->ai_src_len);
	return ret;
}

/* No name, but addresses in the hints: they are the answer. */
static int fill_from_hints(struct rdma_addrinfo *info, const struct rdma_addrinfo *hints)
{
	int ret = choose_service(info, hints);

	if (!ret && hints->ai_src_len)
		ret = copy_addr(hints->ai_src_addr, hints->ai_src_len, &info->ai_src_addr, &info->ai_src_len);
	if (!ret && hints->ai_dst_len)
		ret = copy_addr(hints->ai_dst_addr, hints->ai_dst_len, &info->ai_dst_addr, &info->ai_dst_len);
	info->ai_family = hints->ai_src_len ? hints->ai_src_addr->sa_family :
			  hints->ai_dst_len ? hints->ai_dst_addr->sa_family : 0;
	return ret;
}

int rdma_getaddrinfo(const char *node, const char *service, const struct rdma_addrinfo *hints,
		     struct rdma_addrinfo **res)
{
	int flags = hints ? hints->ai_flags : 0, ret;
	struct addrinfo want = { .ai_socktype = SOCK_STREAM }, *found;
	struct rdma_addrinfo *info;

	if (!node && !service && !hints) {
		errno = EINVAL;
		return -1;
	}
	info = calloc(1, sizeof(*info));
	if (!info)
		return EAI_MEMORY;
	info->ai_flags = flags;
	if (!node && !service) {
		ret = fill_from_hints(info, hints);
	} else {
		want.ai_flags = (flags & RAI_PASSIVE ? AI_PASSIVE : 0) |
				(flags & RAI_NUMERICHOST ? AI_NUMERICHOST : 0);
		want.ai_family = flags & RAI_FAMILY || (hints && hints->ai_family) ? hints->ai_family : 0;
		ret = getaddrinfo(node, service, &want, &found);
		if (!ret) {
			ret = fill(info, found, hints);
			freeaddrinfo(found);
		}
	}
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
