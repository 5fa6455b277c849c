"""runner.py: one run of the program under one setting, watched from its start to its end.

Reached from rss.py. This process is the reaper of all that the program starts (subreaper), so
that daemons and orphans stay below it: the run ends when none of them is left, or when it is
stopped: after --duration or --load, or because the user asked. Stopping is polite: SIGTERM, then
SIGKILL after a grace.
"""
import ctypes
import errno
import os
import select
import signal
import stat
import tempfile
import time

import counters
import sampler
from program import note

PR_SET_CHILD_SUBREAPER = 36
GRACE_SECONDS = 5.0
INTERRUPT_SECONDS = 0.5         # after Ctrl-C, which the program got from the terminal as well
LEFTOVER_SECONDS = 0.3
NEVER = float("inf")


class Asked:
    """What signals told this process; select() wakes up for each of them."""

    def __init__(self):
        self.signo, self.times = 0, 0
        self.wake, self.waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def install(self):
        signal.set_wakeup_fd(self.waker, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for signo in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(signo, self.note)

    def note(self, signo, _frame):
        self.signo = self.signo or signo
        self.times += 1

    def sleep(self, seconds):
        """Until the time is over or a signal came."""
        ready, _, _ = select.select([self.wake], [], [], max(0.0, seconds))
        if ready:
            os.read(self.wake, 4096)


def become_reaper():
    """Orphans below us become ours. Without it (or with another libc) they are lost."""
    try:
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    except (OSError, AttributeError):
        note("spangc rss: no PR_SET_CHILD_SUBREAPER: orphans of the program are not followed")


def spawn(argv, env, streams, path=None, is_session=False, group=None):
    """Starts argv and returns its pid; OSError if that fails. Not by fork: a copy of this process
    would show in the program's faults. A `group` (pressure.Group) is inherited, so this process
    is in it meanwhile."""
    actions = [(os.POSIX_SPAWN_DUP2, fd, target) for target, fd in enumerate(streams)]
    undone = [signal.SIGPIPE, signal.SIGXFSZ]           # Python ignores them
    if group:
        group.enter()
    try:
        return os.posix_spawn(path or argv[0], argv, env, file_actions=actions,
                              setsid=is_session, setsigdef=undone)
    finally:
        if group:
            group.leave()


class Usage:
    """Times and faults of all that was waited for."""

    def __init__(self):
        self.user = self.system = 0.0
        self.minflt = self.majflt = self.maxrss = 0

    def add(self, usage):
        self.user += usage.ru_utime
        self.system += usage.ru_stime
        self.minflt += usage.ru_minflt
        self.majflt += usage.ru_majflt
        self.maxrss = max(self.maxrss, usage.ru_maxrss * 1024)


class Run:
    """One run. After go(): status, usage, sampler, counters, wall and what is worth telling."""

    def __init__(self, options, setting, asked):
        self.options, self.setting, self.asked = options, setting, asked
        self.helpers = set()                    # pids of ours that are not the program
        self.helper_status = {}
        self.usage = Usage()
        self.status = None                      # of the program; None: not ended
        self.stopped = None                     # why we ended it: duration load interrupt
        self.remarks = []                       # sentences about this run
        self.counters = dict.fromkeys(counters.NAMES)
        self.last_seen = []
        self.is_loaded = False
        self.wall = self.began = 0.0
        self.own_peak = 0                       # ours at the fork: ru_maxrss may be that
        self.deadline = NEVER
        self.is_left_told = False

    # --- its course

    def go(self, program, env, streams, group=None):
        with tempfile.TemporaryDirectory(prefix="spangc-rss-") as folder:
            env = self.setting.environment(env, folder)
            self.own_peak = sampler.proc.high_water("/proc/self")
            library = self.setting.library if self.setting.is_ours else None
            self.began = time.monotonic()
            self.sampler_cpu = 0.0
            self.sampler = sampler.Sampler(library and counters.Library(library),
                                           self.options.interval, self.helpers)
            self.group = group
            self.pid = spawn(program.argv, env, streams, path=program.path, group=group)
            try:
                self.watch(env)
            finally:
                self.end_all()
                self.sampler.close()
                self.sampler_cpu = self.sampler.budget.spent()
            if library:
                self.counters, self.last_seen, self.is_loaded = self.sampler.counters(folder)
        return self

    def watch(self, env):
        plan = self.plan(env)
        wake_at = next(plan)
        next_sample = self.began
        while self.is_alive():
            now = time.monotonic()
            if now >= next_sample:
                self.look(group_squeeze=True)
                next_sample = max(next_sample + self.sampler.budget.interval, now)
            if now >= wake_at or self.asked.signo:
                try:
                    wake_at = next(plan)
                except StopIteration:
                    break
            self.asked.sleep(min(next_sample, wake_at) - time.monotonic())
            self.reap()
        self.wall = self.wall or time.monotonic() - self.began

    def look(self, want_full=False, group_squeeze=False):
        sample = self.sampler.take(want_full)
        if sample and self.group and group_squeeze:
            self.group.squeeze(self, sample)

    def plan(self, env):
        """What is done to the program and when: yields the time of the next step. Ends when the
        program was asked to end."""
        options = self.options
        end_at = self.began + options.duration if options.duration else NEVER
        if options.load:
            yield from self.until(min(end_at, self.began + options.load_delay))
            if not self.asked.signo and time.monotonic() < end_at:
                yield from self.run_load(env, end_at)
            end_at = min(end_at, time.monotonic() + options.idle)
        yield from self.until(end_at)
        self.stopped = "interrupt" if self.asked.signo else "load" if options.load else "duration"

    def until(self, moment):
        while time.monotonic() < moment and not self.asked.signo:
            yield moment

    def run_load(self, env, end_at):
        """sh -c CMD beside the program, in a session of its own, without the library; $0 is the
        program's pid."""
        null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        words = ["/bin/sh", "-c", self.options.load, str(self.pid)]
        pid = spawn(words, dict(os.environ), (null, 2, 2), is_session=True)
        os.close(null)
        self.helpers.add(pid)
        while pid not in self.helper_status and not self.asked.signo \
                and time.monotonic() < end_at:
            yield time.monotonic() + self.sampler.budget.interval
        if pid not in self.helper_status:
            kill_group(pid, signal.SIGTERM)
        elif self.helper_status[pid]:
            self.remarks.append(f"the load ended with {in_words(self.helper_status[pid])}")

    # --- its end

    def reap(self):
        """Takes leave of every child that has ended. Its session is still told before that: what
        a helper left behind is not the program's."""
        while True:
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if not ended:
                return
            last = sampler.proc.stat(ended.si_pid)
            _, status, usage = os.wait4(ended.si_pid, 0)
            code = os.waitstatus_to_exitcode(status)
            if ended.si_pid in self.helpers:
                self.helper_status[ended.si_pid] = code
            elif not last or last.session not in self.helpers:
                self.note_end(ended.si_pid, code, usage)

    def note_end(self, pid, code, usage):
        self.usage.add(usage)
        self.sampler.reaped = [self.usage.minflt, self.usage.majflt]
        if pid == self.pid:
            self.status = code
            self.wall = time.monotonic() - self.began

    def others(self):
        """Pids of the program's that run, the first one aside."""
        return [p.pid for p in self.sampler.walk() if p.pid != self.pid]

    def is_alive(self):
        if self.status is None:
            return True
        left = self.others()
        if left and not self.is_left_told:
            self.is_left_told = True
            note(f"spangc rss: the program has ended, {len(left)} process(es) that it left behind "
                 "run on and are followed; Ctrl-C ends them")
        if left:
            self.wall = 0.0                     # the run is as long as its last process
        return bool(left)

    def signal_all(self, signo, pids):
        for pid in pids:
            try:
                os.kill(pid, signo)
            except (ProcessLookupError, PermissionError):
                pass

    def wait_ended(self, seconds, do_all=False):
        """Goes on sampling until the program ended (all of it: `do_all`); False after `seconds`.
        A second Ctrl-C is not waited for."""
        limit = time.monotonic() + seconds
        times = self.asked.times
        while True:
            self.reap()
            if self.status is not None and not (do_all and self.others()):
                return True
            if time.monotonic() >= limit or self.asked.times > max(times, 1):
                return False
            self.look()
            self.asked.sleep(min(self.sampler.budget.interval, limit - time.monotonic()))

    def end_all(self):
        """Nothing of the program is left when this returns."""
        if self.stopped:
            self.look(want_full=True)
        if self.status is None:
            if self.asked.signo == signal.SIGINT and self.wait_ended(INTERRUPT_SECONDS):
                pass
            else:
                self.signal_all(signal.SIGTERM, [self.pid])
                self.wait_ended(GRACE_SECONDS)
        if self.status is None:
            self.remarks.append(f"did not end by SIGTERM within {GRACE_SECONDS:g} s: killed")
            self.signal_all(signal.SIGKILL, [self.pid])
        elif not self.wait_ended(LEFTOVER_SECONDS if self.others() else 0, do_all=True):
            self.signal_all(signal.SIGTERM, self.others())
            self.wait_ended(GRACE_SECONDS, do_all=True)
        self.kill_rest()
        self.wall = self.wall or time.monotonic() - self.began

    def kill_rest(self):
        """The program's processes and the helpers', what the load left behind included."""
        for _ in range(200):
            self.reap()
            left = self.others() + self.sampler.of_helpers()
            if not left and self.status is not None:
                return
            self.signal_all(signal.SIGKILL, left)
            self.asked.sleep(0.02)

    # --- what became of it

    def is_signal_death(self):
        return not self.stopped and self.status is not None and self.status < 0

    def ended(self):
        """In words, None if it ended as it should."""
        if self.stopped or self.status == 0:
            return None
        return in_words(self.status)


def kill_group(pid, signo):
    try:
        os.killpg(pid, signo)
    except OSError as failure:
        if failure.errno != errno.ESRCH:
            raise


def in_words(code):
    if code is None:
        return "no status"
    if code >= 0:
        return f"status {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


def standard_input():
    """A function that gives each run the same standard input, as a descriptor: a file is opened
    again, what comes from a pipe is kept in a file first; a terminal is the program's own."""
    try:
        kind = os.fstat(0).st_mode
    except OSError:
        return lambda: os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    if stat.S_ISREG(kind):
        start = os.lseek(0, 0, os.SEEK_CUR)
        kept = 0
    elif stat.S_ISFIFO(kind) or stat.S_ISSOCK(kind):
        kept, start = keep_pipe(), 0
    else:
        return lambda: os.dup(0)

    def again():
        fd = os.open(f"/proc/self/fd/{kept}", os.O_RDONLY | os.O_CLOEXEC)
        os.lseek(fd, start, os.SEEK_SET)
        return fd
    return again


def keep_pipe():
    """All that stdin gives, in a file without a name."""
    ready, _, _ = select.select([0], [], [], 2.0)
    if not ready:
        note("spangc rss: reading standard input to its end, for every run "
             "(</dev/null if the program needs none)")
    with tempfile.TemporaryFile(prefix="spangc-rss-") as f:
        while True:
            data = os.read(0, 1 << 16)
            if not data:
                break
            f.write(data)
        f.flush()
        return os.dup(f.fileno())
