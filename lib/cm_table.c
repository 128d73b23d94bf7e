/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* The life of a connection, as a table. Pure; a test walks every pair of state and event. */
#include "cm.h"

#include <stddef.h>

static const struct rsk_cm_rule rules[] = {
	{ RSK_LISTENING,     RSK_CM_REQUEST,        RSK_LISTENING,     RSK_ACT_QUEUE_REQUEST },
	{ RSK_LISTENING,     RSK_CM_DEVICE_REMOVED, RSK_FAILED,        RSK_ACT_FAIL },

	{ RSK_RESOLVE_ADDR,  RSK_CM_ADDR_RESOLVED,  RSK_RESOLVE_ROUTE, RSK_ACT_RESOLVE_ROUTE },
	{ RSK_RESOLVE_ADDR,  RSK_CM_ADDR_ERROR,     RSK_RESOLVE_ADDR,  RSK_ACT_RETRY_ADDR },
	{ RSK_RESOLVE_ADDR,  RSK_CM_TIMED_OUT,      RSK_FAILED,        RSK_ACT_FAIL },
	{ RSK_RESOLVE_ADDR,  RSK_CM_DEVICE_REMOVED, RSK_FAILED,        RSK_ACT_FAIL },

	{ RSK_RESOLVE_ROUTE, RSK_CM_ROUTE_RESOLVED, RSK_CONNECTING,    RSK_ACT_CONNECT },
	{ RSK_RESOLVE_ROUTE, RSK_CM_ROUTE_ERROR,    RSK_RESOLVE_ROUTE, RSK_ACT_RETRY_ROUTE },
	{ RSK_RESOLVE_ROUTE, RSK_CM_TIMED_OUT,      RSK_FAILED,        RSK_ACT_FAIL },
	{ RSK_RESOLVE_ROUTE, RSK_CM_DEVICE_REMOVED, RSK_FAILED,        RSK_ACT_FAIL },

	{ RSK_CONNECTING,    RSK_CM_ESTABLISHED,    RSK_CONNECTED,     RSK_ACT_OPEN_ACTIVE },
	{ RSK_CONNECTING,    RSK_CM_REJECTED,       RSK_FAILED,        RSK_ACT_FAIL },
	{ RSK_CONNECTING,    RSK_CM_UNREACHABLE,    RSK_FAILED,        RSK_ACT_FAIL },
	{ RSK_CONNECTING,    RSK_CM_ERROR,          RSK_FAILED,        RSK_ACT_FAIL },
	{ RSK_CONNECTING,    RSK_CM_DISCONNECTED,   RSK_FAILED,        RSK_ACT_FAIL },
	{ RSK_CONNECTING,    RSK_CM_TIMED_OUT,      RSK_FAILED,        RSK_ACT_FAIL },
	{ RSK_CONNECTING,    RSK_CM_DEVICE_REMOVED, RSK_FAILED,        RSK_ACT_FAIL },

	{ RSK_REQUESTED,     RSK_CM_ADMIT,          RSK_ACCEPTING,     RSK_ACT_ACCEPT },
	{ RSK_REQUESTED,     RSK_CM_REJECTED,       RSK_FAILED,        RSK_ACT_FAIL },
	{ RSK_REQUESTED,     RSK_CM_UNREACHABLE,    RSK_FAILED,        RSK_ACT_FAIL },
	{ RSK_REQUESTED,     RSK_CM_ERROR,          RSK_FAILED,        RSK_ACT_FAIL },
	{ RSK_REQUESTED,     RSK_CM_DISCONNECTED,   RSK_FAILED,        RSK_ACT_FAIL },
	{ RSK_REQUESTED,     RSK_CM_DEVICE_REMOVED, RSK_FAILED,        RSK_ACT_FAIL },

	{ RSK_ACCEPTING,     RSK_CM_ESTABLISHED,    RSK_CONNECTED,     RSK_ACT_OPEN_PASSIVE },
	{ RSK_ACCEPTING,     RSK_CM_REJECTED,       RSK_FAILED,        RSK_ACT_FAIL },
	{ RSK_ACCEPTING,     RSK_CM_UNREACHABLE,    RSK_FAILED,        RSK_ACT_FAIL },
	{ RSK_ACCEPTING,     RSK_CM_ERROR,          RSK_FAILED,        RSK_ACT_FAIL },
	{ RSK_ACCEPTING,     RSK_CM_DISCONNECTED,   RSK_FAILED,        RSK_ACT_FAIL },
	{ RSK_ACCEPTING,     RSK_CM_TIMED_OUT,      RSK_FAILED,        RSK_ACT_FAIL },
	{ RSK_ACCEPTING,     RSK_CM_DEVICE_REMOVED, RSK_FAILED,        RSK_ACT_FAIL },

	/* What became of the connection depends on what was said on it: the action decides. */
	{ RSK_CONNECTED,     RSK_CM_DISCONNECTED,   RSK_ENDED,         RSK_ACT_PEER_LEFT },
	/* By a peer that had accepted, and left before it heard that we know: also over. */
	{ RSK_CONNECTED,     RSK_CM_REJECTED,       RSK_ENDED,         RSK_ACT_PEER_LEFT },
	{ RSK_CONNECTED,     RSK_CM_DEVICE_REMOVED, RSK_FAILED,        RSK_ACT_FAIL },
	{ RSK_ENDED,         RSK_CM_DISCONNECTED,   RSK_ENDED,         RSK_ACT_PEER_LEFT },
};

const struct rsk_cm_rule *rsk_cm_rule(enum rsk_state state, enum rsk_cm_event event)
{
	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
		if (rules[i].state == state && rules[i].event == event)
			return &rules[i];
	}
	return NULL;
}

const char *rsk_state_name(enum rsk_state state)
{
	static const char *const names[RSK_STATES] = {
		[RSK_IDLE] = "idle", [RSK_LISTENING] = "listening",
		[RSK_RESOLVE_ADDR] = "resolving the address",
		[RSK_RESOLVE_ROUTE] = "resolving the route", [RSK_CONNECTING] = "connecting",
		[RSK_REQUESTED] = "requested", [RSK_ACCEPTING] = "accepting",
		[RSK_CONNECTED] = "connected", [RSK_ENDED] = "ended", [RSK_FAILED] = "failed",
	};

	return names[state];
}

const char *rsk_cm_event_name(enum rsk_cm_event event)
{
	static const char *const names[RSK_CM_EVENTS] = {
		[RSK_CM_ADDR_RESOLVED] = "address resolved", [RSK_CM_ADDR_ERROR] = "address error",
		[RSK_CM_ROUTE_RESOLVED] = "route resolved", [RSK_CM_ROUTE_ERROR] = "route error",
		[RSK_CM_REQUEST] = "connect request", [RSK_CM_ADMIT] = "admitted",
		[RSK_CM_ESTABLISHED] = "established", [RSK_CM_REJECTED] = "rejected",
		[RSK_CM_UNREACHABLE] = "unreachable", [RSK_CM_ERROR] = "connection error",
		[RSK_CM_DISCONNECTED] = "disconnected",
		[RSK_CM_DEVICE_REMOVED] = "device removed", [RSK_CM_TIMED_OUT] = "timed out",
	};

	return names[event];
}
