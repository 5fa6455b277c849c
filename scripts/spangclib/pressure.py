"""pressure.py: the kernel short of memory, for --pressure SIZE.

Reached from runner.py at every sample. Whenever the program holds more than SIZE and has pages
freed lazily, the kernel is made to take what it can; the program is never killed for it. Ways,
the first that works here:

  cgroup v2   the program runs in a group of its own; memory.reclaim asks for bytes
  cgroup v1   the same; the limit is lowered for a moment to what the program really holds
  ballast     a process that allocates until the whole machine is short of free memory. It is the
              kernel's first victim (oom_score_adj 1000), stops while FLOOR is still available,
              and is refused where there is swap: other programs would be swapped out.
"""
import mmap
import os
import signal
import time

import proc
from program import Refused

MARGIN_BYTES = 4 << 20
FLOOR_BYTES = 512 << 20
FLOOR_SHARE = 0.03
BALLAST_STEP = 32 << 20
BALLAST_MAX = 32 << 30


def mounts(wanted):
    """(mount point, options) of each mounted file system of that type."""
    for line in proc.read("/proc/self/mounts").decode(errors="replace").splitlines():
        words = line.split()
        if len(words) > 3 and words[2] == wanted:
            yield words[1], words[3].split(",")


def own_path(controller):
    """This process's group in a hierarchy: "" for v2, else the controller's name."""
    for line in proc.read("/proc/self/cgroup").decode().splitlines():
        _, names, path = line.split(":", 2)
        if controller in names.split(","):
            return path.lstrip("/")
    return None


def write(path, text):
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, str(text).encode())
    finally:
        os.close(fd)


class Group:
    """What each way has: enter() and leave() around the program's start, squeeze() at a sample,
    close() at the end."""

    def __init__(self, size):
        self.size, self.helper = size, None

    def enter(self):
        pass

    def leave(self):
        pass

    def squeeze(self, run, sample):
        """One helper at a time asks the kernel: its CPU time is neither ours nor the program's."""
        if self.helper in run.helper_status:
            self.helper = None
        lazy = run.sampler.lazy_of(sample)
        if self.helper or lazy < MARGIN_BYTES or sample.rss <= self.size + 2 * MARGIN_BYTES:
            return
        pid = os.fork()
        if pid == 0:
            try:
                os.setsid()
                signal.set_wakeup_fd(-1)
                for signo in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                    signal.signal(signo, signal.SIG_DFL)
                self.take(min(lazy, sample.rss - self.size), run.sampler.living)
            except OSError:
                pass
            finally:
                os._exit(0)
        self.helper = pid
        run.helpers.add(pid)

    def take(self, nbytes, processes):
        raise NotImplementedError

    def close(self):
        pass


class Cgroup(Group):
    def __init__(self, size, mount, folder):
        super().__init__(size)
        self.home = os.path.join(mount, own_path(self.controller) or "")
        self.folder = os.path.join(folder, f"spangc-rss-{os.getpid()}")
        os.mkdir(self.folder)
        try:
            self.prepare()
        except OSError:
            self.close()
            raise

    def enter(self):
        write(self.file("cgroup.procs"), os.getpid())

    def leave(self):
        write(os.path.join(self.home, "cgroup.procs"), os.getpid())

    def close(self):
        for _ in range(50):
            try:
                os.rmdir(self.folder)
                return
            except OSError:
                time.sleep(0.02)

    def file(self, name):
        return os.path.join(self.folder, name)


class CgroupV2(Cgroup):
    controller = ""
    way = "a memory cgroup (v2): memory.reclaim"

    def prepare(self):
        os.stat(self.file("memory.reclaim"))
        if os.path.exists(self.file("memory.swap.max")):
            write(self.file("memory.swap.max"), 0)

    def take(self, nbytes, processes):
        write(self.file("memory.reclaim"), nbytes)


class CgroupV1(Cgroup):
    controller = "memory"
    way = "a memory cgroup (v1): its limit lowered to what is really held"

    def prepare(self):
        write(self.file("memory.swappiness"), 0)
        os.stat(self.file("memory.limit_in_bytes"))

    def take(self, nbytes, processes):
        used = int(proc.read(self.file("memory.usage_in_bytes")))
        try:
            write(self.file("memory.limit_in_bytes"), max(used - nbytes, 0) + MARGIN_BYTES)
        finally:
            write(self.file("memory.limit_in_bytes"), -1)


class Ballast(Group):
    way = "a ballast process on the whole machine"

    def __init__(self, size):
        super().__init__(size)
        info = proc.meminfo()
        self.floor = max(FLOOR_BYTES, int(info["MemTotal"] * FLOOR_SHARE))
        if info.get("SwapTotal"):
            raise Refused(2, "--pressure: no memory cgroup can be made here, and a ballast process "
                             "would make this machine swap: needs root, or a delegated cgroup")
        if info["MemAvailable"] < self.floor + size:
            raise Refused(2, f"--pressure {size >> 20}M: {info['MemAvailable'] >> 20} MiB are "
                             f"available and {self.floor >> 20} must stay so: no ballast possible")
        if info["MemFree"] > BALLAST_MAX:
            raise Refused(2, f"--pressure: a ballast of {info['MemFree'] >> 30} GiB would be "
                             "needed: needs root, or a delegated memory cgroup")

    def take(self, nbytes, processes):
        """Grows until the program has no lazily freed page left, or little is available."""
        write("/proc/self/oom_score_adj", 1000)
        kept, touched = [], bytes(BALLAST_STEP)
        while proc.meminfo()["MemAvailable"] > self.floor + BALLAST_STEP:
            block = mmap.mmap(-1, BALLAST_STEP, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            block.write(touched)
            kept.append(block)
            if not any(proc.smaps(f"/proc/{pid}").get("LazyFree") for pid in processes):
                break


def memory_groups():
    """(class, mount point, folder) to try: below our own group, then at the top."""
    for mount, _ in mounts("cgroup2"):
        for folder in (own_path("") or "", os.path.dirname(own_path("") or ""), ""):
            yield CgroupV2, mount, os.path.join(mount, folder)
    for mount, options in mounts("cgroup"):
        if "memory" in options:
            for folder in (own_path("memory") or "", ""):
                yield CgroupV1, mount, os.path.join(mount, folder)


def make(size, way="auto"):
    """The Group for this machine; `way` (auto cgroup ballast) is for tests and doubters."""
    if way in ("auto", "cgroup"):
        for kind, mount, folder in memory_groups():
            try:
                return kind(size, mount, folder)
            except OSError:
                continue
        if way == "cgroup":
            raise Refused(2, "--pressure: no memory cgroup can be made here")
    return Ballast(size)

