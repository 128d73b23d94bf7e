/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The life of a connection: the table of states and events says exactly what is written here, and
 * nothing in it is a dead end or out of reach.
 */
#include "cm.h"

#include <string.h>

#include "unit.h"

/* -- the whole table --------------------------------------------------------------------------- */

/* What a pair of state and event leads to; NO: nothing. */
enum outcome { NO, QUE, RTE, ADR, CON, RRT, ACC, ACT, PAS, BAD, END };

static const struct {
	enum rsk_state next;
	enum rsk_cm_action action;
} outcomes[] = {
	[QUE] = { RSK_LISTENING, RSK_ACT_QUEUE_REQUEST },
	[RTE] = { RSK_RESOLVE_ROUTE, RSK_ACT_RESOLVE_ROUTE },
	[ADR] = { RSK_RESOLVE_ADDR, RSK_ACT_RETRY_ADDR },
	[CON] = { RSK_CONNECTING, RSK_ACT_CONNECT },
	[RRT] = { RSK_RESOLVE_ROUTE, RSK_ACT_RETRY_ROUTE },
	[ACC] = { RSK_ACCEPTING, RSK_ACT_ACCEPT },
	[ACT] = { RSK_CONNECTED, RSK_ACT_OPEN_ACTIVE },
	[PAS] = { RSK_CONNECTED, RSK_ACT_OPEN_PASSIVE },
	[BAD] = { RSK_FAILED, RSK_ACT_FAIL },
	[END] = { RSK_ENDED, RSK_ACT_PEER_LEFT },
};

static const enum rsk_cm_event columns[RSK_CM_EVENTS] = {
	RSK_CM_ADDR_RESOLVED, RSK_CM_ADDR_ERROR, RSK_CM_ROUTE_RESOLVED, RSK_CM_ROUTE_ERROR,
	RSK_CM_REQUEST, RSK_CM_ADMIT, RSK_CM_ESTABLISHED, RSK_CM_REJECTED, RSK_CM_UNREACHABLE,
	RSK_CM_ERROR, RSK_CM_DISCONNECTED, RSK_CM_DEVICE_REMOVED, RSK_CM_TIMED_OUT,
};

static const struct {
	enum rsk_state state;
	enum outcome cells[RSK_CM_EVENTS];
} rows[] = {
	/* addr addr rout rout conn ours esta reje unre erro disc remo timed
	 * ok   bad  ok   bad  req. adm. bl.  cted ach. r    onn. ved  out */
	{ RSK_IDLE,
	  { NO,  NO,  NO,  NO,  NO,  NO,  NO,  NO,  NO,  NO,  NO,  NO,  NO } },
	{ RSK_LISTENING,
	  { NO,  NO,  NO,  NO,  QUE, NO,  NO,  NO,  NO,  NO,  NO,  BAD, NO } },
	{ RSK_RESOLVE_ADDR,
	  { RTE, ADR, NO,  NO,  NO,  NO,  NO,  NO,  NO,  NO,  NO,  BAD, BAD } },
	{ RSK_RESOLVE_ROUTE,
	  { NO,  NO,  CON, RRT, NO,  NO,  NO,  NO,  NO,  NO,  NO,  BAD, BAD } },
	{ RSK_CONNECTING,
	  { NO,  NO,  NO,  NO,  NO,  NO,  ACT, BAD, BAD, BAD, BAD, BAD, BAD } },
	{ RSK_REQUESTED,
	  { NO,  NO,  NO,  NO,  NO,  ACC, NO,  BAD, BAD, BAD, BAD, BAD, NO } },
	{ RSK_ACCEPTING,
	  { NO,  NO,  NO,  NO,  NO,  NO,  PAS, BAD, BAD, BAD, BAD, BAD, BAD } },
	{ RSK_CONNECTED,
	  { NO,  NO,  NO,  NO,  NO,  NO,  NO,  END, NO,  NO,  END, BAD, NO } },
	{ RSK_ENDED,
	  { NO,  NO,  NO,  NO,  NO,  NO,  NO,  NO,  NO,  NO,  END, NO,  NO } },
	{ RSK_FAILED,
	  { NO,  NO,  NO,  NO,  NO,  NO,  NO,  NO,  NO,  NO,  NO,  NO,  NO } },
};

START_TEST(expectations_cover_every_state_and_event_once)
{
	bool state_seen[RSK_STATES] = { false }, event_seen[RSK_CM_EVENTS] = { false };

	ck_assert_uint_eq(COUNT(rows), RSK_STATES);
	for (size_t row = 0; row < COUNT(rows); row++) {
		ck_assert(!state_seen[rows[row].state]);
		state_seen[rows[row].state] = true;
	}
	for (size_t column = 0; column < COUNT(columns); column++) {
		ck_assert(!event_seen[columns[column]]);
		event_seen[columns[column]] = true;
	}
}
END_TEST

static void check_cell(enum rsk_state state, enum rsk_cm_event event, enum outcome outcome)
{
	const struct rsk_cm_rule *rule = rsk_cm_rule(state, event);
	const char *in = rsk_state_name(state), *on = rsk_cm_event_name(event);

	if (outcome == NO) {
		ck_assert_msg(!rule, "%s, %s: must mean nothing", in, on);
		return;
	}
	ck_assert_msg(rule, "%s, %s: missing", in, on);
	ck_assert_msg(rule->state == state && rule->event == event, "%s, %s: not its rule", in, on);
	ck_assert_msg(rule->next == outcomes[outcome].next, "%s, %s: leads to %s", in, on,
		      rsk_state_name(rule->next));
	ck_assert_msg(rule->action == outcomes[outcome].action, "%s, %s: action %d", in, on,
		      rule->action);
}

START_TEST(every_state_meets_every_event_as_expected)
{
	for (size_t row = 0; row < COUNT(rows); row++) {
		for (size_t column = 0; column < COUNT(columns); column++)
			check_cell(rows[row].state, columns[column], rows[row].cells[column]);
	}
}
END_TEST

START_TEST(pairs_outside_the_table_have_no_rule)
{
	for (int state = 0; state <= RSK_STATES; state++)
		ck_assert_ptr_null(rsk_cm_rule((enum rsk_state)state, RSK_CM_EVENTS));
	for (int event = 0; event <= RSK_CM_EVENTS; event++)
		ck_assert_ptr_null(rsk_cm_rule(RSK_STATES, (enum rsk_cm_event)event));
}
END_TEST

/* -- what the table as a whole must do --------------------------------------------------------- */

/* Steps that no event makes: the application's connect and listen, and the end of the stream, which
 * is told on the QP. RSK_REQUESTED is what a listener's child is born with. */
static const struct {
	enum rsk_state from, to;
} direct[] = {
	{ RSK_IDLE, RSK_RESOLVE_ADDR },
	{ RSK_IDLE, RSK_LISTENING },
	{ RSK_CONNECTED, RSK_ENDED },
};

/* Adds what one step reaches from @seen; true if that is anything new. */
static bool spread(bool seen[RSK_STATES])
{
	bool grew = false;

	for (int state = 0; state < RSK_STATES; state++) {
		for (int event = 0; event < RSK_CM_EVENTS && seen[state]; event++) {
			const struct rsk_cm_rule *rule =
				rsk_cm_rule((enum rsk_state)state, (enum rsk_cm_event)event);

			if (rule && !seen[rule->next])
				seen[rule->next] = grew = true;
		}
	}
	for (size_t i = 0; i < COUNT(direct); i++) {
		if (seen[direct[i].from] && !seen[direct[i].to])
			seen[direct[i].to] = grew = true;
	}
	return grew;
}

START_TEST(every_state_is_reached)
{
	bool seen[RSK_STATES] = { [RSK_IDLE] = true, [RSK_REQUESTED] = true };

	while (spread(seen))
		;
	for (int state = 0; state < RSK_STATES; state++)
		ck_assert_msg(seen[state], "%s", rsk_state_name((enum rsk_state)state));
}
END_TEST

START_TEST(either_side_alone_gets_connected)
{
	static const enum rsk_state starts[] = { RSK_IDLE, RSK_REQUESTED };

	for (size_t i = 0; i < COUNT(starts); i++) {
		bool seen[RSK_STATES] = { [RSK_IDLE] = false };

		seen[starts[i]] = true;
		while (spread(seen))
			;
		ck_assert(seen[RSK_CONNECTED]);
		ck_assert(seen[RSK_ENDED]);
		ck_assert(seen[RSK_FAILED]);
	}
}
END_TEST

START_TEST(waiting_for_a_peer_has_a_time_limit)
{
	static const enum rsk_state waiting[] = {
		RSK_RESOLVE_ADDR, RSK_RESOLVE_ROUTE, RSK_CONNECTING, RSK_ACCEPTING,
	};

	for (size_t i = 0; i < COUNT(waiting); i++)
		check_cell(waiting[i], RSK_CM_TIMED_OUT, BAD);
}
END_TEST

START_TEST(to_fail_is_to_end_up_failed)
{
	for (int state = 0; state < RSK_STATES; state++) {
		for (int event = 0; event < RSK_CM_EVENTS; event++) {
			const struct rsk_cm_rule *rule =
				rsk_cm_rule((enum rsk_state)state, (enum rsk_cm_event)event);

			if (rule)
				ck_assert_int_eq(rule->action == RSK_ACT_FAIL,
						 rule->next == RSK_FAILED);
		}
	}
}
END_TEST

START_TEST(every_action_is_taken_somewhere)
{
	bool taken[RSK_ACTIONS] = { false };

	for (int state = 0; state < RSK_STATES; state++) {
		for (int event = 0; event < RSK_CM_EVENTS; event++) {
			const struct rsk_cm_rule *rule =
				rsk_cm_rule((enum rsk_state)state, (enum rsk_cm_event)event);

			if (rule)
				taken[rule->action] = true;
		}
	}
	for (int action = 0; action < RSK_ACTIONS; action++)
		ck_assert_msg(taken[action], "action %d", action);
}
END_TEST

/* -- names ------------------------------------------------------------------------------------- */

START_TEST(states_have_names_of_their_own)
{
	for (int state = 0; state < RSK_STATES; state++) {
		const char *name = rsk_state_name((enum rsk_state)state);

		ck_assert_msg(name && *name, "state %d", state);
		for (int other = 0; other < state; other++)
			ck_assert_str_ne(name, rsk_state_name((enum rsk_state)other));
	}
}
END_TEST

START_TEST(events_have_names_of_their_own)
{
	for (int event = 0; event < RSK_CM_EVENTS; event++) {
		const char *name = rsk_cm_event_name((enum rsk_cm_event)event);

		ck_assert_msg(name && *name, "event %d", event);
		for (int other = 0; other < event; other++)
			ck_assert_str_ne(name, rsk_cm_event_name((enum rsk_cm_event)other));
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("cm");
	TCase *tc = group(s, "table");

	tcase_add_test(tc, expectations_cover_every_state_and_event_once);
	tcase_add_test(tc, every_state_meets_every_event_as_expected);
	tcase_add_test(tc, pairs_outside_the_table_have_no_rule);
	tcase_add_test(tc, every_state_is_reached);
	tcase_add_test(tc, either_side_alone_gets_connected);
	tcase_add_test(tc, waiting_for_a_peer_has_a_time_limit);
	tcase_add_test(tc, to_fail_is_to_end_up_failed);
	tcase_add_test(tc, every_action_is_taken_somewhere);

	tc = group(s, "names");
	tcase_add_test(tc, states_have_names_of_their_own);
	tcase_add_test(tc, events_have_names_of_their_own);
	return run_suite(s);
}
