"""sampler.py: the memory of a tree of processes over time.

Reached from runner.py. A *light* sample reads statm and stat of each process; a *full* one also
smaps_rollup, whose cost grows with what is resident. A Budget keeps both together under 0.8 % of
a core: a full sample is taken when it is affordable, and if light ones alone cost too much the
interval is lengthened. While nothing moves (no fault, no CPU time used, the same RSS, no call of
madvise) a light sample is made full by what the last full one said, for at most a second; what
that saves is spent when something moves. See reckon() for the others.

The kernel counts a page in the RSS of each process that shares it. With several processes the
sum of PSS, which counts it once, is the total; it exists in full samples only.
"""
import os
import time

import counters
import proc

SHARE = 0.008                   # of a core, for all sampling
HEAD_START = 0.001              # seconds of CPU: else a short program would have no full sample
SAVED_MAX = 0.05                # seconds of CPU
LIGHT_SHARE = 0.005             # of a core, for light samples
LIGHT_SECONDS_MAX = 0.001       # a longer one was an exception
STILL_SECONDS = 1.0
WIDE_EVERY = 4                  # walks: how often threads are asked for their children
FULL_SECONDS_A_BYTE = 3.5e-6 / (1 << 20)        # first guess; measured while it runs


class Sample:
    """One moment; bytes. pss, lazy and swap are None in a light sample."""

    __slots__ = ("at", "nprocesses", "rss", "pss", "lazy", "swap", "minflt", "majflt", "is_read",
                 "lazily", "again", "pids", "is_guess")

    def __init__(self, at):
        self.at, self.nprocesses, self.rss = at, 0, 0
        self.is_read = False                    # of smaps_rollup, at this very moment
        self.pss = self.lazy = self.swap = None
        self.minflt = self.majflt = 0
        self.lazily = self.again = None         # counters of MADV_FREE, if all processes have them
        self.pids = []
        self.is_guess = False                   # LazyFree is 0 because it always was

    def add_smaps(self, maps):
        self.pss = (self.pss or 0) + maps.get("Pss", 0)
        self.lazy = (self.lazy or 0) + maps.get("LazyFree", 0)
        self.swap = (self.swap or 0) + maps.get("Swap", 0)

    def row(self):
        """What --json keeps: seconds, then bytes."""
        return [round(self.at, 4), self.nprocesses, self.rss, self.pss, self.lazy, self.swap,
                self.minflt, self.majflt, self.is_read]


ROW_FIELDS = ("seconds", "processes", "rss", "pss", "lazy_free", "swap", "minor_faults",
              "major_faults", "is_smaps_read")


class Budget:
    """CPU time that this process may still spend on sampling."""

    def __init__(self, interval):
        self.asked = self.interval = interval
        self.began, self.cpu_began = time.monotonic(), time.process_time()
        self.credit, self.at, self.cpu = HEAD_START, self.began, self.cpu_began
        self.light = 0.0                        # seconds of CPU for one, a moving average
        self.noted = self.cpu_began             # until here, light and full ones are told apart
        self.a_byte = FULL_SECONDS_A_BYTE

    def spent(self):
        return time.process_time() - self.cpu_began

    def affords(self, resident):
        now, cpu = time.monotonic(), time.process_time()
        self.credit += (now - self.at) * SHARE - (cpu - self.cpu)
        self.credit = min(self.credit, SAVED_MAX)
        self.at, self.cpu = now, cpu
        return 0.0002 + resident * self.a_byte <= self.credit

    def note_light(self):
        """All that was spent since the last note: waking up costs as much as reading."""
        cpu = time.process_time()
        self.light += (min(cpu - self.noted, LIGHT_SECONDS_MAX) - self.light) * 0.1
        self.noted = cpu
        self.interval = max(self.asked, self.light / LIGHT_SHARE)

    def note_full(self, resident):
        cpu = time.process_time()
        seconds, self.noted = cpu - self.noted, cpu
        if resident > 16 << 20:
            self.a_byte += (seconds / resident - self.a_byte) * 0.3


def total(values):
    values = list(values)
    return None if None in values else sum(values)


def reckon(samples):
    """Fills in what light samples lack, where it follows from a reading of smaps_rollup of the
    same processes: what they share stays the same (PSS), and LazyFree by reckon_lazy(). At 1 GiB,
    LazyFree was at most 5 MiB of 907 off when it was read the next time."""
    last = None
    reads = [s for s in samples if s.is_read]
    for s in samples:
        if s.is_read:
            last = s
            reads = reads[1:]
        elif s.lazy is None:
            following = reads[0] if reads else None
            known = last if last and last.pids == s.pids else following
            lazy = reckon_lazy(s, last, following)
            if lazy is not None and known and known.pids == s.pids:
                s.lazy, s.swap = lazy, known.swap
                s.pss = max(0, s.rss - (known.rss - known.pss))
                s.is_guess = s.lazily is None and not (last and following)


def reckon_lazy(s, last, following):
    """The library's counters say what became lazily free since the last reading and what was
    handed out again; what RSS lost meanwhile, the kernel took. Without counters: nothing, if it
    was nothing at the readings before and after."""
    if last and s.lazily is not None and last.lazily is not None and s.lazily >= last.lazily:
        came, went = s.lazily - last.lazily, s.again - last.again
        return min(max(0, last.lazy + came - went - max(0, last.rss - s.rss)), s.rss)
    around = [x.lazy for x in (last, following) if x]
    return 0 if around and not any(around) else None


class Process:
    """One process of the tree, as last seen."""

    def __init__(self, pid, library):
        self.pid = pid
        self.files = proc.Files(pid)
        self.live = counters.Live(library) if library else None
        self.stat = None
        self.folder = None                      # None: it has no memory any more
        self.has_thread_children = False
        self.rss = 0

    def look(self):
        """False: it is gone."""
        self.stat = self.files.stat()
        if self.stat is None:
            return False
        self.folder = proc.memory_folder(self.pid, self.stat)
        return True

    def children(self, lists, is_wide):
        """is_wide: also of threads in which no child was seen yet."""
        found = lists.of(self.pid, self.files)
        if self.stat.nthreads > 1 and (is_wide or self.has_thread_children):
            more = lists.of_other_threads(self.pid)
            self.has_thread_children = bool(more)
            found += more
        return found

    def resident(self):
        if self.folder == self.files.folder:
            return self.files.rss()
        return proc.statm_rss(self.folder) if self.folder else 0

    def close(self):
        self.files.close()
        if self.live:
            self.live.close()


class Sampler:
    """Everything below this process but its own helpers.

    library   counters.Library or None
    helpers   pids of ours that are no part of the program; their sessions with them
    """

    def __init__(self, library, interval, helpers):
        self.library, self.helpers = library, helpers
        self.budget = Budget(interval)
        self.children = proc.Children()
        self.own, self.nwalks = proc.Files(os.getpid()), 0
        self.living, self.ended = {}, []
        self.samples = []
        self.last_full = self.signs = None      # the last full sample, and how things stood then
        self.high_water = 0                     # of the only process; 0 once there were two
        self.most_processes = 0
        self.is_hidden = False
        self.reaped = [0, 0]                    # minor, major faults of those we waited for
        self.t0 = time.monotonic()

    # --- who is there

    def is_helper(self, pid, st):
        return pid in self.helpers or (st is not None and st.session in self.helpers)

    def of_helpers(self):
        """Pids of the helpers and of what they left behind: orphans are children of ours."""
        self.children.refresh()
        return [pid for pid in self.children.of(os.getpid(), self.own)
                if self.is_helper(pid, proc.stat(pid))]

    def known(self, pid, parent):
        """The Process of a child, new or old; None if it is a helper's or gone."""
        process = self.living.get(pid)
        if process and process.look():
            return process
        process = Process(pid, self.library)
        if process.look() and not (parent is None and process.stat.session in self.helpers):
            return process
        process.close()
        return None

    def walk(self):
        """Brings self.living up to date: [Process] that have memory."""
        self.children.refresh()
        self.nwalks += 1
        is_wide = self.nwalks % WIDE_EVERY == 1
        queue = [(pid, None) for pid in self.children.of(os.getpid(), self.own)
                 if pid not in self.helpers]
        found = {}
        while queue:
            pid, parent = queue.pop()
            process = None if pid in found else self.known(pid, parent)
            if process:
                found[pid] = process
                queue += [(child, process)
                          for child in process.children(self.children, is_wide)]
        for pid, process in self.living.items():
            if found.get(pid) is not process:
                self.bury(process)
        self.living = found
        return [p for p in found.values() if p.folder]

    def bury(self, process):
        process.close()
        self.ended.append(process)

    def close(self):
        for process in self.living.values():
            self.bury(process)
        self.living = {}
        self.own.close()
        reckon(self.samples)

    # --- one sample

    def take(self, want_full=False):
        """Returns the sample, or None: nothing is resident any more."""
        sample = Sample(time.monotonic() - self.t0)
        processes = []
        sample.minflt, sample.majflt = self.reaped
        for process in self.walk():
            process.rss = process.resident()
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
        signs = self.signs_of(processes, sample)
        sample.pids = signs[0]
        if all(p.live for p in processes):
            sample.lazily = total(p.live.field("lazy_bytes") for p in processes)
            sample.again = total(p.live.field("reused_released_bytes") for p in processes)
        self.budget.note_light()
        if not want_full and self.is_still(signs, sample):
            self.copy_full(sample)
        elif want_full or self.budget.affords(sample.rss):
            self.note_high_water(processes)
            self.complete(sample, processes)
            if sample.is_read:
                self.last_full, self.signs = sample, signs
        if not sample.rss:
            return None
        self.samples.append(sample)
        return sample

    @staticmethod
    def signs_of(processes, sample):
        """What changes if anything moves."""
        cpu = sum(p.stat.user + p.stat.system for p in processes)
        calls = sum(p.live.field("madvise_calls") or 0 for p in processes if p.live)
        return ([p.pid for p in processes], sample.rss, sample.minflt, sample.majflt, cpu, calls)

    def is_still(self, signs, sample):
        return signs == self.signs and sample.at - self.last_full.at < STILL_SECONDS

    def lazy_of(self, sample):
        """What is known or reckoned of LazyFree now, else 0."""
        if sample.lazy is not None:
            return sample.lazy
        if not self.last_full or self.last_full.pids != sample.pids:
            return 0
        return reckon_lazy(sample, self.last_full, None) or 0

    def copy_full(self, sample):
        full = self.last_full
        sample.rss, sample.pss, sample.lazy, sample.swap = full.rss, full.pss, full.lazy, full.swap

    def look_at(self, process):
        if process.live:
            process.live.look(process.folder)

    def note_high_water(self, processes):
        if self.most_processes == 1:
            self.high_water = max(self.high_water, proc.high_water(processes[0].folder))
        else:
            self.high_water = 0

    def complete(self, sample, processes):
        """Makes it a full sample; light again if a process hides its smaps or is gone."""
        light_rss, rss = sample.rss, 0
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
        sample.rss, sample.is_read = rss, True
        self.budget.note_full(light_rss)

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
        return counters.sum_of(parts), last_seen, is_loaded
