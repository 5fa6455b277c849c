/* pacer.h: when a cycle starts, which kind it is, and how much of its work allocating threads do.
 *
 * Pure arithmetic: no clock, no lock, no memory but the caller's. Time comes as seconds, memory as
 * bytes of heap in use: slots and pages taken less those put back by free() or by a sweep
 * (core/budget.h).
 *
 * The rules are Go's where nothing is said:
 *   goal     live + (live + roots) * percent / 100, at least 4 MiB * percent / 100; lower near the
 *            memory limit. A cycle is to be done when the heap in use is there.
 *            Where less lives than after the cycle before, half of the difference still counts.
 *            What was taken during marking counts as alive, but no more than as much as was
 *            found alive: or the longer marking takes, the higher the goal, the longer it takes.
 *   near     a second goal, in memory that users see: as much lower as the heap is larger than what the
 *            program asked for, by records and free slots (resident bytes for a byte in use, when
 *            cycles began: the least of four, since free slots fill up) and by the ends of slots (as
 *            blocks of that mean size have them); but not below a quarter of the way. It counts once
 *            so much time has passed that a cycle takes no more than a hundredth of it.
 *            A cycle has a price however small the heap is (two stops, all roots). Where that would
 *            be more than a tenth of the time, the least goal grows to up to 8 times as much.
 *   trigger  the goal less the runway: what the program takes while the workers alone read what
 *            they will have to read, by the largest of the last four cycles' ratios of
 *            bytes taken to bytes read.
 *   assist   marking keeps up with a line from the trigger to half of the way behind the goal (the
 *            workers alone are to meet the goal; whoever helps is not doing his own work) or, near
 *            the limit, to the goal; sweeping with one to half of the way to the next trigger. A
 *            thread that allocates does what is missing, as far as its own share goes.
 *   half     collection takes at most half of the processors' time, whatever the goal: beyond that
 *            no thread assists, and the next cycle waits; until the heap is twice as far from what
 *            lives as its goal is, if that is not the limit's: there memory counts for more.
 *
 * A minor cycle keeps the marks of what lived and finds only what died young. It never moves the
 * goal: that stays what the last full cycle made it, so what minor cycles fail to find costs no more
 * memory than the percentage allows. A full cycle comes when they have left less than half of the
 * room, when they reclaim less per second than a full one does, when the last one was not worth
 * having (then 1, 2, 4 ... 16 full ones go by before the next trial), when most of what is taken
 * stays, when the heap is so small that a full cycle costs nothing, and when the program asks.
 */
#ifndef SCAN_PACER_H
#define SCAN_PACER_H

#include "core/base.h"

#define PACER_NCYCLES 4                         /* whose ratios count */
#define PACER_PERCENT_OFF UINT64_MAX            /* KNOB_OFF */
#define PACER_NO_LIMIT UINT64_MAX               /* KNOB_OFF */

/* Whoever runs cycles: one at a time, no thread beside it. */
struct pacer {
	/* constant after pacer_start() */
	uint64_t percent;
	uint64_t limit_bytes;
	double   nprocs;
	double   nworkers;

	double   cons_mark[PACER_NCYCLES];      /* bytes taken per byte read by workers */
	unsigned ncycles;                       /* learnt from */
	uint64_t live_bytes;                    /* what the last cycle left */
	uint64_t base_bytes;                    /* what the last full one left, or more if it was more before */
	bool     is_growing;                    /* most of what was taken before it lives */
	uint64_t root_bytes;
	double   spread[PACER_NCYCLES];         /* resident bytes for a byte in use; 0: not known */
	unsigned nspreads;                      /* learnt */
	double   asked_share;                   /* of a slot, presumably */
	uint64_t full_work_bytes, minor_work_bytes;     /* read by a cycle of that kind, smoothed */
	double   full_yield, minor_yield;       /* bytes reclaimed per second of cost, smoothed */
	double   full_cost_s;                   /* seconds of processor, smoothed */
	unsigned nfull_to_go;                   /* full cycles before a minor one is tried again */
	unsigned nfull_waited;                  /* how many it was the last time */
	double   take_bps;                      /* bytes taken per second, smoothed */
	double   cost_s;                        /* of a cycle, in seconds of processor, smoothed */
	double   excess_s;                      /* processor time beyond half, with a bound */
	double   wait_s;                        /* after the last cycle: then it had half */
};

/* How a cycle went. */
struct pacer_cycle {
	bool     is_minor;
	uint64_t start_bytes;                   /* heap in use when it began ... */
	uint64_t end_bytes;                     /* ... at its final stop ... */
	uint64_t live_bytes;                    /* ... and that, less what its sweep reclaimed */
	uint64_t marked_bytes;                  /* found alive, without what was born meanwhile ... */
	uint64_t marked_blocks;
	uint64_t resident_bytes;                /* when it began, for the heap; 0: not known */
	uint64_t reclaimed_bytes;
	uint64_t root_bytes;                    /* read as roots, at its end */
	uint64_t work_bytes;                    /* of blocks, read by its own threads */
	uint64_t assist_bytes;                  /* of blocks, read by allocating threads */
	double   mark_s;                        /* of the program running beside marking */
	double   stopped_s;
	double   cpu_s;                         /* of its own threads: marking, sweeping, the rest */
	double   assist_s;                      /* of allocating threads, added up */
	double   fault_s;                       /* of threads whose writes were to be seen */
	double   idle_s;                        /* of processors, while threads waited for it */
	double   elapsed_s;                     /* since the end of the cycle before, or the start */
};

struct pacer_plan {
	uint64_t goal_bytes;                    /* UINT64_MAX: none */
	uint64_t trigger_bytes;                 /* heap in use that starts a cycle; UINT64_MAX: none */
	uint64_t near_goal_bytes;               /* the same, neither higher, ... */
	uint64_t near_trigger_bytes;
	double   near_after_s;                  /* ... from so long after the last cycle on */
	uint64_t work_bytes;                    /* what that cycle will read, presumably */
	uint64_t most_bytes;                    /* heap in use that counts for more than the half */
	double   assist_ratio;                  /* bytes read for a byte taken */
	double   wait_s;                        /* no cycle starts before this has passed */
	bool     next_is_minor;                 /* if the heap calls for it; ... */
	bool     may_be_minor;                  /* ... if it comes by the clock */
	bool     is_limited;                    /* the goal is what the memory limit makes it */
	bool     has_assists;                   /* false: collection has had its half, but see most_bytes */
};

/* ctx: any */
void pacer_start(struct pacer *p, uint64_t percent, uint64_t limit_bytes, unsigned nprocs,
                 unsigned nworkers);

/* Takes a cycle that came to its end, sweep included, into account. ctx: any */
void pacer_learn(struct pacer *p, const struct pacer_cycle *c);

/* Before the final stop: will a minor cycle be worth its tracking, so that it should stay armed?
 * ctx: any */
bool pacer_wants_minor(const struct pacer *p);

/* What comes next. `other_bytes`: resident memory that counts against the limit beside the heap in
 * use. `is_armed`: writes have been tracked since the last final stop. ctx: any */
struct pacer_plan pacer_plan(const struct pacer *p, uint64_t other_bytes, bool is_armed);

/* Does that much in use, `since_s` after the last cycle, start one? ctx: any */
bool pacer_is_due(const struct pacer_plan *plan, uint64_t now_bytes, double since_s);

/* A cycle begins with that much in use. The goal is as far away as it was from the trigger, if the
 * program came further before anybody looked; what is to be read may not be known yet. ctx: any */
void pacer_begin(struct pacer_plan *plan, uint64_t start_bytes);

/* A cycle failed, with that much in use: the next one is not at once, as if this one had found nothing
 * dead. ctx: any */
void pacer_put_off(struct pacer_plan *plan, uint64_t now_bytes);

/* A cycle that comes by the clock, `since_full_s` after the last full one. Is a full one cheap for so long
 * a time? Minor ones never find what died after it was marked. ctx: any */
bool pacer_full_is_cheap(const struct pacer *p, double since_full_s);

/* Of `total` bytes of work, with `done` behind us: what is missing while the heap in use, on its way
 * from `from` to `to`, is at `now`. ctx: any */
uint64_t pacer_due(uint64_t total, uint64_t done, uint64_t from, uint64_t to, uint64_t now);

/* What a thread that took `taken_bytes` has to read, while marking began at `start_bytes`, has read
 * `done_bytes` and the heap is at `now_bytes`. 0: nothing. ctx: any */
uint64_t pacer_assist(const struct pacer_plan *plan, uint64_t start_bytes, uint64_t now_bytes,
                      uint64_t done_bytes, uint64_t taken_bytes);

/* How many bytes may be taken between two calls of pacer_assist(). ctx: any */
uint64_t pacer_assist_every(const struct pacer_plan *plan);

#endif
