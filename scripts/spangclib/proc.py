"""proc.py: processes as /proc shows them, cheaply.

Reached from sampler.py. Cost of one reading in a loop (Linux 6.18): statm 3 us, stat 4 us,
children 3 us, status 6 us, a third of that through a descriptor that stays open; ten times that
with cold caches, every 50 ms. smaps_rollup walks the page tables: 1.4 ms at 400 MiB, 9.7 ms at
4 GiB of 4 KiB pages, with the mapping lock held for reading. Hence the first three are read at
every sample, and smaps_rollup only as often as the sampler's budget allows.
"""
import os
import re

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
TICKS = os.sysconf("SC_CLK_TCK")
SMAPS_FIELD = re.compile(rb"^(Rss|Pss|LazyFree|Swap): +(\d+) kB", re.M)
READ_BYTES = 1 << 16
KEPT_MAX = 400                  # descriptors, of the 1,024 that are usual


def read(path, is_long=True):
    """The file, or b"": it is gone, or not ours to read."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        text = more = os.read(fd, READ_BYTES)
        while is_long and more:                 # maps and smaps come a page at a time
            more = os.read(fd, READ_BYTES)
            text += more
        return text
    except OSError:
        return b""
    finally:
        os.close(fd)


class Stat:
    """/proc/PID/stat. Faults and times are of the process and of its children it waited for."""

    __slots__ = ("ppid", "session", "state", "minflt", "majflt", "user", "system", "nthreads",
                 "started")

    def __init__(self, text):
        f = text[text.rindex(b")") + 2:].split()
        self.state, self.ppid, self.session = f[0], int(f[1]), int(f[3])
        self.minflt, self.majflt = int(f[7]) + int(f[8]), int(f[9]) + int(f[10])
        self.user = (int(f[11]) + int(f[13])) / TICKS
        self.system = (int(f[12]) + int(f[14])) / TICKS
        self.nthreads, self.started = int(f[17]), int(f[19])


def stat(pid):
    text = read(f"/proc/{pid}/stat", False)
    return Stat(text) if b")" in text else None


def memory_folder(pid, st):
    """Where its memory is told: of a process whose first thread has ended, in another thread."""
    if st.state not in (b"Z", b"X"):
        return f"/proc/{pid}"
    if st.nthreads > 1:
        try:
            tids = sorted(map(int, os.listdir(f"/proc/{pid}/task")))
        except OSError:
            return None
        return f"/proc/{pid}/task/{tids[-1]}" if tids else None
    return None


def statm_rss(folder):
    """Bytes; 0 once the memory is gone."""
    fields = read(folder + "/statm", False).split()
    return int(fields[1]) * PAGE_BYTES if len(fields) > 1 else 0


def smaps(folder):
    """{Rss, Pss, LazyFree, Swap} in bytes, or {}: gone or hidden."""
    text = read(folder + "/smaps_rollup", False)
    if not text and not os.path.exists("/proc/self/smaps_rollup"):
        text = read(folder + "/smaps")                  # before Linux 4.14
    sums = {}
    for name, kib in SMAPS_FIELD.findall(text):
        sums[name.decode()] = sums.get(name.decode(), 0) + int(kib) * 1024
    return sums


def high_water(folder):
    """VmHWM in bytes: the most that was ever resident since exec."""
    match = re.search(rb"^VmHWM:\s+(\d+) kB", read(folder + "/status", False), re.M)
    return int(match.group(1)) * 1024 if match else 0


class Files:
    """The files of one process that are read at every sample, kept open: they stay with the
    process, across exec, and fail once it is gone. Where descriptors are short, each reading
    opens again."""

    SMALL_BYTES = 4096
    open_now = 0

    def __init__(self, pid):
        self.folder = f"/proc/{pid}"
        self.fds = {}

    def text(self, name):
        fd = self.fds.get(name)
        if fd is None:
            if Files.open_now >= KEPT_MAX:
                return read(f"{self.folder}/{name}")
            try:
                fd = os.open(f"{self.folder}/{name}", os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                return b""
            self.fds[name] = fd
            Files.open_now += 1
        try:
            text = os.pread(fd, self.SMALL_BYTES, 0)
        except OSError:
            return b""
        return text if len(text) < self.SMALL_BYTES else read(f"{self.folder}/{name}")

    def close(self):
        Files.open_now -= len(self.fds)
        for fd in self.fds.values():
            os.close(fd)
        self.fds = {}

    def stat(self):
        text = self.text("stat")
        return Stat(text) if b")" in text else None

    def rss(self):
        """Bytes; 0 once the memory is gone."""
        fields = self.text("statm").split()
        return int(fields[1]) * PAGE_BYTES if len(fields) > 1 else 0


class Children:
    """Who is whose child: by the kernel's lists, or by a walk over all processes."""

    def __init__(self):
        self.has_lists = os.path.exists(f"/proc/self/task/{os.getpid()}/children")
        self.by_parent = {}

    def refresh(self):
        """Call before each round of of(). Free where the kernel keeps lists."""
        if self.has_lists:
            return
        self.by_parent = {}
        for name in os.listdir("/proc"):
            st = stat(name) if name.isdigit() else None
            if st:
                self.by_parent.setdefault(st.ppid, []).append(int(name))

    def of(self, pid, files):
        """The lists are by thread: this is what the first one started."""
        if not self.has_lists:
            return self.by_parent.get(pid, [])
        return list(map(int, files.text(f"task/{pid}/children").split()))

    def of_other_threads(self, pid):
        """Costs a listing of all threads, and a reading of each."""
        if not self.has_lists:
            return []
        try:
            tids = os.listdir(f"/proc/{pid}/task")
        except OSError:
            return []
        return [int(child) for tid in tids if tid != str(pid)
                for child in read(f"/proc/{pid}/task/{tid}/children").split()]


def problem():
    """Why nothing can be measured here, or None."""
    if not read("/proc/self/statm"):
        return "/proc is hidden or not mounted: nothing can be measured"
    if not read("/proc/self/smaps_rollup") and not read("/proc/self/smaps"):
        return "/proc/PID/smaps can't be read: LazyFree and PSS will be unknown"
    return None


def meminfo():
    """{field: bytes} of /proc/meminfo."""
    return {name.decode(): int(kib) * 1024
            for name, kib in re.findall(rb"^(\w+): +(\d+) kB", read("/proc/meminfo"), re.M)}
