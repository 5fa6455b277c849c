"""sampler.py: the memory of a tree of processes over time.

Reached from runner.py. A *light* sample reads statm and stat of each process; a *full* one also
smaps_rollup, whose cost grows with what is resident. A Budget keeps both together under 0.8 % of
a core: full samples are taken when they are affordable, and if light ones alone cost too much the
interval is lengthened.

The kernel counts a page in the RSS of each process that shares it. With several processes the
sum of PSS, which counts it once, is the total; it exists in full samples only.
"""
import os
import time

import counters
import proc

SHARE = 0.008                   # of a core, for all sampling
HEAD_START = 0.003              # seconds of CPU: else a short program would have no full sample
LIGHT_SHARE = 0.005             # of a core, for light samples
FULL_SECONDS_A_BYTE = 3.5e-6 / (1 << 20)        # first guess; measured while it runs


class Sample:
    """One moment; bytes. pss, lazy and swap are None in a light sample."""

    __slots__ = ("at", "nprocesses", "rss", "pss", "lazy", "swap", "minflt", "majflt")

    def __init__(self, at):
        self.at, self.nprocesses, self.rss = at, 0, 0
        self.pss = self.lazy = self.swap = None
        self.minflt = self.majflt = 0

    def add_smaps(self, maps):
        self.pss = (self.pss or 0) + maps.get("Pss", 0)
        self.lazy = (self.lazy or 0) + maps.get("LazyFree", 0)
        self.swap = (self.swap or 0) + maps.get("Swap", 0)

    def row(self):
        """What --json keeps: seconds, then bytes."""
        return [round(self.at, 4), self.nprocesses, self.rss, self.pss, self.lazy, self.swap,
                self.minflt, self.majflt]


ROW_FIELDS = ("seconds", "processes", "rss", "pss", "lazy_free", "swap", "minor_faults",
              "major_faults")


class Budget:
    """CPU time that this process may still spend on sampling."""

    def __init__(self, interval):
        self.asked = self.interval = interval
        self.began, self.cpu_began = time.monotonic(), time.process_time()
        self.light = 0.0                        # seconds of CPU, a moving average
        self.a_byte = FULL_SECONDS_A_BYTE

    def spent(self):
        return time.process_time() - self.cpu_began

    def share(self):
        elapsed = time.monotonic() - self.began
        return self.spent() / elapsed if elapsed else 0.0

    def affords(self, resident):
        allowed = (time.monotonic() - self.began) * SHARE + HEAD_START
        return self.spent() + 0.0002 + resident * self.a_byte <= allowed

    def note_light(self, seconds):
        self.light += (seconds - self.light) * (0.1 if self.light else 1)
        self.interval = max(self.asked, self.light / LIGHT_SHARE)

    def note_full(self, seconds, resident):
        if resident > 16 << 20:
            self.a_byte += (seconds / resident - self.a_byte) * 0.3


class Process:
    """One process of the tree, as last seen."""

    def __init__(self, pid, parent, st, live):
        self.pid, self.parent, self.started, self.live = pid, parent, st.started, live
        self.folder = self.stat = None
        self.rss = 0
        self.is_hidden = False


class Sampler:
    """Everything below this process but its own helpers.

    library   counters.Library or None
    helpers   pids of ours that are no part of the program; their sessions with them
    """

    def __init__(self, library, interval, helpers):
        self.library, self.helpers = library, helpers
        self.budget = Budget(interval)
        self.children = proc.Children()
        self.living, self.ended = {}, []
        self.samples = []
        self.high_water = 0                     # of the only process; 0 once there were two
        self.most_processes = 0
        self.is_hidden = False
        self.reaped = [0, 0]                    # minor, major faults of those we waited for
        self.t0 = time.monotonic()

    # --- who is there

    def roots(self, of_helpers=False):
        """(pid, stat) of this process's children: the program's, or the helpers'. Orphans are
        ours by then; a helper's are known by their session."""
        for pid in self.children.of(os.getpid()):
            st = proc.stat(pid)
            if st and (pid in self.helpers or st.session in self.helpers) == of_helpers:
                yield pid, st

    def of_helpers(self):
        self.children.refresh()
        return [pid for pid, _ in self.roots(of_helpers=True)]

    def walk(self):
        """Brings self.living up to date: [Process] that still run."""
        self.children.refresh()
        queue = [(pid, st, None) for pid, st in self.roots()]
        found, order = {}, []
        while queue:
            pid, st, parent = queue.pop()
            process = self.living.get(pid)
            if process is None or process.started != st.started:
                process = Process(pid, parent, st,
                                  counters.Live(self.library) if self.library else None)
            found[pid] = process
            process.stat, process.folder = st, proc.memory_folder(pid, st)
            order.append(process)
            for child in self.children.of(pid, st.nthreads):
                child_stat = proc.stat(child)
                if child_stat and child not in found:
                    queue.append((child, child_stat, process))
        for pid, process in self.living.items():
            if found.get(pid) is not process:
                self.bury(process)
        self.living = found
        return [p for p in order if p.folder]

    def bury(self, process):
        if process.live:
            process.live.close()
        self.ended.append(process)

    def close(self):
        for process in self.living.values():
            self.bury(process)
        self.living = {}

    # --- one sample

    def take(self, want_full=False):
        """Returns the sample, or None: nothing is resident any more."""
        began = time.process_time()
        sample = Sample(time.monotonic() - self.t0)
        processes = []
        sample.minflt, sample.majflt = self.reaped
        for process in self.walk():
            process.rss = proc.statm_rss(process.folder)
            if process.rss:
                processes.append(process)
                sample.rss += process.rss
                self.look_at(process)
            sample.minflt += process.stat.minflt
            sample.majflt += process.stat.majflt
        if not processes:
            return None
        sample.nprocesses = len(processes)
        self.most_processes = max(self.most_processes, len(processes))
        self.note_high_water(processes)
        self.budget.note_light(time.process_time() - began)
        if want_full or self.budget.affords(sample.rss):
            self.complete(sample, processes)
        if not sample.rss:
            return None
        self.samples.append(sample)
        return sample

    def look_at(self, process):
        if process.live:
            process.live.look(process.folder, process.parent.live if process.parent else None)

    def note_high_water(self, processes):
        if self.most_processes == 1:
            self.high_water = max(self.high_water, proc.high_water(processes[0].folder))
        else:
            self.high_water = 0

    def complete(self, sample, processes):
        """Makes it a full sample; light again if a process hides its smaps or is gone."""
        began, light_rss = time.process_time(), sample.rss
        rss = 0
        for process in processes:
            maps = proc.smaps(process.folder)
            if not maps.get("Rss"):
                still = proc.stat(process.pid)
                if still and proc.statm_rss(process.folder):
                    self.is_hidden = True
                sample.pss = sample.lazy = sample.swap = None
                return
            rss += maps["Rss"]
            sample.add_smaps(maps)
        sample.rss = rss
        self.budget.note_full(time.process_time() - began, light_rss)

    # --- what it was in the end

    def counters(self, exit_folder):
        """(sums over all processes, pids known by their last reading only, was it loaded)."""
        at_exit = counters.of_exit_files(exit_folder)
        parts, last_seen = list(at_exit.values()), []
        is_loaded = bool(at_exit)
        for process in self.ended + list(self.living.values()):
            live = process.live
            if not live:
                continue
            is_loaded |= live.is_loaded
            parts += live.earlier
            if process.pid not in at_exit and (live.values or live.is_loaded):
                last_seen.append(process.pid)
                parts += [live.figures()] if live.values else []
            elif process.pid in at_exit and live.at_fork:
                inherited = live.inherited()
                parts.append({name: -n for name, n in inherited.items() if n is not None})
        return counters.sum_of(parts), last_seen, is_loaded
