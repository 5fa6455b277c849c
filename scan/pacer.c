/* pacer.c: goal, trigger, assists and the choice between minor and full cycles.
 *
 * Reached from the thread that runs cycles, pacer_assist() and pacer_due() from any that allocates.
 * Depends on base.h only. Checked against simulated programs by tests/unit/pacer_programs.c.
 */
#include "scan/pacer.h"

#define HEAP_MIN_BYTES MIB(4)                   /* at 100 percent */
#define HEAP_MIN_TIMES 8                        /* that much, where cycles would take ... */
#define CHEAP_SHARE 0.1                         /* ... more than this part of the time */
#define NEAR_SHARE 0.01                         /* of the time, for the near goal, ... */
#define NEAR_WAY_MIN 0.25                       /* ... which is no nearer than this part of the way */
#define END_PART 16                             /* one part of so many of a slot was not asked for, ... */
#define END_MIN_BYTES 8                         /* ... half of the steps between sizes, but at least so ... */
#define END_MAX_BYTES 4096                      /* ... and at most so many bytes */
#define RUNWAY_MAX 0.5                          /* of the way from live to goal ... */
#define RUNWAY_MIN 0.05                         /* ... kept free at its end */
#define LIMIT_HEADROOM 32                       /* one part of so many of the limit, ... */
#define LIMIT_HEADROOM_MIN MIB(1)               /* ... or this */
#define WAY_MIN 64                              /* one part of so many of live, at least, to the goal */
#define WAY_MIN_BYTES KIB(256)
#define BORN_TIMES 2.0                          /* what was found alive, and what was taken meanwhile */
#define MINOR_ROOM 0.5                          /* of the room, which minor cycles may fill up */
#define MINOR_COST_S 0.004                      /* a full cycle for less is not to be bettered */
#define GROWING_SHARE 0.25                      /* less than that of what was taken is reclaimed */
#define NFULL_WAITED_MAX 16
#define PERIOD_SHARE 0.01                       /* of the time, for full cycles by the clock */
#define EXCESS_MAX_S 1.0                        /* per processor, before collection holds back ... */
#define EXCESS_KEPT_S 5.0                       /* ... and as much of it is remembered */
#define PUT_OFF_PART 4                          /* by one part of so many, after a failure */
#define SMOOTH 0.5                              /* weight of what is new */
#define ASSIST_SHARE 4                          /* times its own share, a thread assists at most */
#define ASSIST_MIN_BYTES KIB(64)
#define ASSIST_MAX_BYTES MIB(1)                 /* 2 ms: nobody can be stopped meanwhile */
#define PATIENCE 2                              /* the line ends by that part of the way behind the goal */
#define ASSIST_MEAN_BYTES KIB(256)              /* when marking is as far behind as it should be */
#define EVERY_MIN_BYTES KIB(16)
#define EVERY_MAX_BYTES MIB(1)

static double at_least(double x, double min)
{
	return x > min ? x : min;
}

static double at_most(double x, double max)
{
	return x < max ? x : max;
}

/* Saturates; what is not a number, or below 0, is 0. */
static uint64_t to_bytes(double x)
{
	if (!(x > 0))
		return 0;
	return x < 9e18 ? (uint64_t)x : UINT64_MAX;
}

static double smoothed(double old, double new)
{
	return old > 0 ? old + SMOOTH * (new - old) : new;
}

void pacer_start(struct pacer *p, uint64_t percent, uint64_t limit_bytes, unsigned nprocs,
                 unsigned nworkers)
{
	*p = (struct pacer){ .percent = percent, .limit_bytes = limit_bytes, .asked_share = 1 };
	p->nprocs = nprocs ? nprocs : 1;
	p->nworkers = at_most(nworkers ? nworkers : 1, p->nprocs);
}

/* --- learning --- */

static double cost_s(const struct pacer *p, const struct pacer_cycle *c)
{
	return c->cpu_s + c->assist_s + c->fault_s + c->stopped_s * p->nprocs;
}

/* What the program would have taken without assists, per byte that workers read. */
static void learn_ratio(struct pacer *p, const struct pacer_cycle *c)
{
	double taken = c->end_bytes > c->start_bytes ? (double)(c->end_bytes - c->start_bytes) : 0;
	double others_s = at_least(p->nprocs - p->nworkers, 0.5) * c->mark_s;
	double free_to_run = c->assist_s > 0 ? at_least(1 - c->assist_s / others_s, 0.1) : 1;

	if (c->mark_s <= 0 || !c->work_bytes)
		return;
	p->cons_mark[p->ncycles++ % PACER_NCYCLES] = taken / free_to_run / (double)c->work_bytes;
}

static void learn_rate(struct pacer *p, const struct pacer_cycle *c)
{
	double taken = c->end_bytes > p->live_bytes ? (double)(c->end_bytes - p->live_bytes) : 0;

	if (c->elapsed_s > 0)
		p->take_bps = smoothed(p->take_bps, taken / c->elapsed_s);
	p->is_growing = (double)c->reclaimed_bytes < taken * GROWING_SHARE;
}

static void learn_spread(struct pacer *p, const struct pacer_cycle *c)
{
	if (c->resident_bytes && c->start_bytes)
		p->spread[p->nspreads++ % PACER_NCYCLES] =
			at_least((double)c->resident_bytes / (double)c->start_bytes, 1);
}

static double asked_share(uint64_t nbytes, uint64_t nblocks)
{
	double slot = (double)nbytes / at_least((double)nblocks, 1);

	if (!nbytes || !nblocks)
		return 1;
	return 1 - at_most(at_least(slot / END_PART, END_MIN_BYTES), END_MAX_BYTES) / at_least(slot, 16);
}

static void learn_full(struct pacer *p, const struct pacer_cycle *c, double yield)
{
	double live = at_most((double)c->live_bytes, (double)c->marked_bytes * BORN_TIMES);

	p->base_bytes = to_bytes(at_least(live, ((double)p->base_bytes + live) / 2));
	p->asked_share = asked_share(c->marked_bytes, c->marked_blocks);
	p->full_work_bytes = c->work_bytes + c->assist_bytes;
	p->full_yield = smoothed(p->full_yield, yield);
	p->full_cost_s = smoothed(p->full_cost_s, cost_s(p, c));
	if (p->nfull_to_go > 0)
		p->nfull_to_go--;
}

/* The yield of full cycles includes what minor ones left over; so equality is in favour of minor. */
static void learn_minor(struct pacer *p, const struct pacer_cycle *c, double yield)
{
	p->minor_work_bytes = to_bytes(smoothed((double)p->minor_work_bytes,
	                                        (double)(c->work_bytes + c->assist_bytes)));
	p->minor_yield = yield;
	if (yield >= p->full_yield) {
		p->nfull_waited = 0;
		return;
	}
	p->nfull_waited = p->nfull_waited ? 2 * p->nfull_waited : 1;
	if (p->nfull_waited > NFULL_WAITED_MAX)
		p->nfull_waited = NFULL_WAITED_MAX;
	p->nfull_to_go = p->nfull_waited;
}

void pacer_learn(struct pacer *p, const struct pacer_cycle *c)
{
	double cost = cost_s(p, c), yield = (double)c->reclaimed_bytes / at_least(cost, 1e-6);

	learn_ratio(p, c);
	learn_rate(p, c);
	learn_spread(p, c);
	p->cost_s = smoothed(p->cost_s, cost);
	p->live_bytes = c->live_bytes;
	p->root_bytes = c->root_bytes;
	if (c->is_minor)
		learn_minor(p, c, yield);
	else
		learn_full(p, c, yield);
	p->excess_s += cost + c->idle_s - c->elapsed_s * p->nprocs / 2;
	p->excess_s = at_most(at_least(p->excess_s, 0), EXCESS_KEPT_S * p->nprocs);
	p->wait_s = at_least(2 * (cost + c->idle_s) / p->nprocs - c->mark_s - c->stopped_s, 0);
}

/* --- planning --- */

static double heap_min(const struct pacer *p)
{
	return (double)HEAP_MIN_BYTES * (double)p->percent / 100;
}

/* However little lives. */
static double least_goal(const struct pacer *p)
{
	double least = heap_min(p);
	double cheap = (double)p->live_bytes + p->take_bps * p->cost_s / (CHEAP_SHARE * p->nprocs);

	return at_least(least, at_most(cheap, HEAP_MIN_TIMES * least));
}

static double grown(const struct pacer *p, double nbytes)
{
	return nbytes + (nbytes + (double)p->root_bytes) * (double)p->percent / 100;
}

static double goal_by_percent(const struct pacer *p)
{
	if (p->percent == PACER_PERCENT_OFF)
		return (double)UINT64_MAX;
	return at_least(grown(p, (double)p->base_bytes), least_goal(p));
}

static double least_spread(const struct pacer *p)
{
	double least = p->spread[0];

	for (unsigned i = 1; i < PACER_NCYCLES && i < p->nspreads; i++)
		least = at_most(p->spread[i], least);
	return least;
}

/* The percentage of what was asked for, in resident bytes. */
static double goal_by_residents(const struct pacer *p)
{
	double base = (double)p->base_bytes, longest = grown(p, base) - base, spread = least_spread(p);
	double way = spread > 0 ? grown(p, base * p->asked_share) / spread - base : longest;

	if (p->percent == PACER_PERCENT_OFF)
		return (double)UINT64_MAX;
	return at_least(base + at_least(way, longest * NEAR_WAY_MIN), heap_min(p));
}

static double goal_by_limit(const struct pacer *p, uint64_t other_bytes)
{
	double limit = (double)p->limit_bytes;
	double headroom = at_least(limit / LIMIT_HEADROOM, LIMIT_HEADROOM_MIN);

	return p->limit_bytes == PACER_NO_LIMIT ? (double)UINT64_MAX
	                                        : limit - headroom - (double)other_bytes;
}

/* Below what lives no cycle can get: a goal there is one just above it. */
static double nearest_goal(const struct pacer *p)
{
	double live = (double)p->live_bytes;

	return live + at_least(live / WAY_MIN, WAY_MIN_BYTES);
}

static bool has_room(const struct pacer *p, double goal_bytes)
{
	double base = (double)p->base_bytes;

	return (double)p->live_bytes - base <= MINOR_ROOM * (goal_bytes - base);
}

bool pacer_wants_minor(const struct pacer *p)
{
	return p->full_cost_s > MINOR_COST_S && p->nfull_to_go == 0;
}

bool pacer_full_is_cheap(const struct pacer *p, double since_full_s)
{
	return p->full_cost_s <= PERIOD_SHARE * since_full_s * p->nprocs;
}

static double runway(const struct pacer *p, uint64_t work_bytes)
{
	double most = 0;

	for (int i = 0; i < PACER_NCYCLES; i++)
		most = at_least(p->cons_mark[i], most);
	return most * (double)work_bytes;
}

/* Where there was no minor cycle yet, it reads a quarter of what a full one reads. */
static uint64_t work_ahead(const struct pacer *p, bool is_minor)
{
	if (!is_minor)
		return p->full_work_bytes;
	return p->minor_work_bytes ? p->minor_work_bytes : p->full_work_bytes / 4;
}

static double trigger_before(const struct pacer *p, double to, uint64_t work_bytes)
{
	double way = to - (double)p->live_bytes;

	return to - at_most(at_least(runway(p, work_bytes), RUNWAY_MIN * way), RUNWAY_MAX * way);
}

struct pacer_plan pacer_plan(const struct pacer *p, uint64_t other_bytes, bool is_armed)
{
	double to = at_least(at_most(goal_by_percent(p), goal_by_limit(p, other_bytes)), nearest_goal(p));
	double near = at_least(at_most(goal_by_residents(p), to), nearest_goal(p)), trigger, near_trigger;
	bool may_be_minor = is_armed && pacer_wants_minor(p) && has_room(p, to);
	bool is_minor = may_be_minor && !p->is_growing;
	uint64_t work = work_ahead(p, is_minor);
	bool has_excess = p->excess_s >= EXCESS_MAX_S * p->nprocs;
	bool is_limited = goal_by_limit(p, other_bytes) < goal_by_percent(p);

	trigger = trigger_before(p, to, work);
	near_trigger = trigger_before(p, near, work);
	return (struct pacer_plan){
		.goal_bytes = to_bytes(to),
		.trigger_bytes = to_bytes(to) == UINT64_MAX ? UINT64_MAX : to_bytes(trigger),
		.near_goal_bytes = to_bytes(near),
		.near_trigger_bytes = to_bytes(near) == UINT64_MAX ? UINT64_MAX : to_bytes(near_trigger),
		.near_after_s = (is_minor ? p->cost_s : p->full_cost_s) / (NEAR_SHARE * p->nprocs),
		.work_bytes = work,
		.assist_ratio = (double)work / at_least(to - trigger, 1),
		.most_bytes = is_limited ? UINT64_MAX : to_bytes(2 * to - (double)p->base_bytes),
		.is_limited = is_limited,
		.has_assists = !has_excess,
		.wait_s = has_excess ? p->wait_s : 0,
		.next_is_minor = is_minor,
		.may_be_minor = may_be_minor,
	};
}

bool pacer_is_due(const struct pacer_plan *plan, uint64_t now_bytes, double since_s)
{
	return now_bytes >= plan->trigger_bytes
	       || (now_bytes >= plan->near_trigger_bytes && since_s >= plan->near_after_s);
}

static void take_near_goal(struct pacer_plan *plan)
{
	plan->goal_bytes = plan->near_goal_bytes;
	plan->trigger_bytes = plan->near_trigger_bytes;
}

void pacer_begin(struct pacer_plan *plan, uint64_t start_bytes)
{
	if (start_bytes < plan->trigger_bytes && start_bytes >= plan->near_trigger_bytes)
		take_near_goal(plan);

	double start = (double)start_bytes, goal_bytes = (double)plan->goal_bytes;
	double way = at_least(at_least(start / WAY_MIN, WAY_MIN_BYTES),
	                      goal_bytes - (double)plan->trigger_bytes);

	if (!plan->work_bytes)
		plan->work_bytes = start_bytes;
	if (goal_bytes < start + way && plan->goal_bytes != UINT64_MAX)
		plan->goal_bytes = to_bytes(start + way);
	plan->assist_ratio = (double)plan->work_bytes / at_least((double)plan->goal_bytes - start, 1);
}

static uint64_t put_off(uint64_t nbytes, uint64_t now_bytes)
{
	uint64_t from = nbytes > now_bytes ? nbytes : now_bytes, by = from / PUT_OFF_PART;

	return from < UINT64_MAX - by ? from + by : UINT64_MAX;
}

void pacer_put_off(struct pacer_plan *plan, uint64_t now_bytes)
{
	plan->trigger_bytes = plan->near_trigger_bytes = put_off(plan->trigger_bytes, now_bytes);
	plan->goal_bytes = plan->near_goal_bytes = put_off(plan->goal_bytes, now_bytes);
}

/* --- assisting --- */

uint64_t pacer_due(uint64_t total, uint64_t done, uint64_t from, uint64_t to, uint64_t now)
{
	double wanted;

	if (done >= total || now <= from)
		return 0;
	if (now >= to)
		return total - done;
	wanted = (double)total * ((double)(now - from) / (double)(to - from));
	return wanted > (double)done ? to_bytes(wanted - (double)done) : 0;
}

uint64_t pacer_assist(const struct pacer_plan *plan, uint64_t start_bytes, uint64_t now_bytes,
                      uint64_t done_bytes, uint64_t taken_bytes)
{
	uint64_t total = plan->work_bytes, goal_bytes = plan->goal_bytes, due, share;
	uint64_t way = goal_bytes > start_bytes ? goal_bytes - start_bytes : 0;
	uint64_t to = plan->is_limited ? goal_bytes : goal_bytes + way / PATIENCE;

	if (goal_bytes == UINT64_MAX || (!plan->has_assists && now_bytes < plan->most_bytes))
		return 0;
	share = to_bytes(at_most(at_least((double)taken_bytes * plan->assist_ratio * ASSIST_SHARE,
	                                  ASSIST_MIN_BYTES), ASSIST_MAX_BYTES));
	if (now_bytes >= to)
		return share;                   /* whatever is left, it should be over */
	if (done_bytes >= total)                /* there is more than thought: at most all */
		total = start_bytes;
	due = pacer_due(total, done_bytes, start_bytes, to, now_bytes);
	return due < share ? due : share;
}

uint64_t pacer_assist_every(const struct pacer_plan *plan)
{
	return to_bytes(at_most(at_least(ASSIST_MEAN_BYTES / at_least(plan->assist_ratio, 1e-6),
	                                 EVERY_MIN_BYTES), EVERY_MAX_BYTES));
}
