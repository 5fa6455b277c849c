"""counters.py: the library's own counters, of programs that run and of those that ended.

Reached from sampler.py. Two sources, both optional:
  at exit    the lines that SPANGC_STATS=1 writes into the file of SPANGC_REPORT, one a process
  meanwhile  an ELF note of the library says where its counters are (core/live.h); they are read
             from /proc/PID/mem. A program that ends by _exit or a signal leaves no file: then the
             last reading counts, and the run says so.
A fork child's counters begin at 0. What neither told is None.
"""
import os
import re
import struct

import proc
from elf import Elf, NotElf

NOTE_VERSION = 1
FIELDS = ("version", "heap_bytes", "free_bytes", "released_bytes", "lazy_bytes",
          "madvise_calls", "madvise_ns", "reused_released_bytes", "table_bytes")
# What a run reports. Sums over processes and over the programs that one process was.
# madvise_bytes is heap only: of the tables that go with it (1/16) few pages were resident.
NAMES = ("madvise_calls", "madvise_bytes", "table_bytes", "madvise_ns", "reused_bytes")
LINE = re.compile(r"^==(\d+)==STATS: spangc: (memory|event)\s+(\w+)\s+(\d+)(?:  (\d+) bytes )?",
                  re.M)
FILE = re.compile(r"(\d+)-(\d+)\.txt$")
CALLS = ("dontneed", "free", "tables")


def add(a, b):
    """Sum of two figures of which one may be unknown."""
    return a if b is None else b if a is None else a + b


def sum_of(dicts):
    total = dict.fromkeys(NAMES)
    for d in dicts:
        total = {name: add(total[name], d.get(name)) for name in NAMES}
    return total


def of_exit_file(path):
    """Counters of one process out of its file, or None: it holds no statistics."""
    try:
        with open(path, encoding="utf-8", errors="replace") as f:
            found = LINE.findall(f.read())
    except OSError:
        return None
    events = {name: (int(n), int(nbytes or 0)) for _, what, name, n, nbytes in found
              if what == "event"}
    if not events:
        return None
    tables = events.get("tables")
    calls = [events[name] for name in CALLS if name in events]
    return {
        "madvise_calls": sum(c[0] for c in calls) if calls else None,
        "madvise_bytes": sum(c[1] for c in calls if c is not tables) if calls else None,
        "table_bytes": tables and tables[1],
        "madvise_ns": events.get("madvise_ns", (None,))[0],
        "reused_bytes": events.get("reused", (None,))[0],
    }


def of_exit_files(folder):
    """{pid: counters} of all that ended and said so; the last report of each."""
    last = {}
    for name in os.listdir(folder):
        match = FILE.match(name)
        if match:
            pid, number = int(match.group(1)), int(match.group(2))
            last[pid] = max(last.get(pid, (-1, "")), (number, name))
    found = {pid: of_exit_file(os.path.join(folder, name)) for pid, (_, name) in last.items()}
    return {pid: counters for pid, counters in found.items() if counters}


class Library:
    """Where the counters stand in the library's file; address is None if it has no such note."""

    def __init__(self, path):
        self.path = path
        self.real = os.path.realpath(path)
        try:
            place = Elf(path).counters()
        except (NotElf, OSError):
            place = None
        self.address, nfields = place or (None, 0)
        self.nfields = min(nfields, len(FIELDS))

    def base_in(self, folder):
        """Its load address in a process, or None."""
        for line in proc.read(folder + "/maps").splitlines():
            words = line.split(None, 5)
            if len(words) == 6 and words[2] == b"00000000" and \
                    os.fsdecode(words[5]) in (self.real, self.path):
                return int(words[0].split(b"-")[0], 16)
        return None


class Live:
    """The counters of one process while it runs."""

    def __init__(self, library):
        self.library = library
        self.fd = self.base = None
        self.values = None              # at the last reading
        self.earlier = []               # of programs that it was before an exec
        self.is_loaded = self.is_denied = False
        self.tries = self.next_try = 0

    def close(self):
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None

    def attach(self, folder):
        """Looks for the library, ever more rarely where it is not. The descriptor shows the
        memory of the program of now: after an exec nothing can be read through it."""
        self.tries += 1
        if self.tries < self.next_try:
            return
        self.next_try = self.tries * 2
        self.base = self.library.base_in(folder)
        if self.base is None:
            return
        self.is_loaded = True
        if self.library.address is None:
            return
        try:
            self.fd = os.open(folder + "/mem", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self.is_denied = True
            return
        self.values = self.fields()

    def fields(self):
        try:
            data = os.pread(self.fd, 8 * self.library.nfields, self.base + self.library.address)
        except OSError:
            data = b""
        if len(data) < 8 * self.library.nfields or not data:
            return None
        values = struct.unpack(f"={self.library.nfields}Q", data)
        return values if values[0] == NOTE_VERSION else None

    def look(self, folder):
        if self.fd is None:
            self.attach(folder)
            return
        values = self.fields()
        if values:
            self.values = values
            return
        if self.values:
            self.earlier.append(self.figures())
        self.close()                            # an exec, or its end
        self.values = None
        self.tries = self.next_try = 0

    def field(self, name):
        at = FIELDS.index(name)
        if not self.values or at >= len(self.values):
            return None
        return self.values[at]

    def figures(self):
        """The last reading in the words of NAMES."""
        return {"madvise_calls": self.field("madvise_calls"),
                "madvise_bytes": add(self.field("released_bytes"), self.field("lazy_bytes")),
                "table_bytes": self.field("table_bytes"),
                "madvise_ns": self.field("madvise_ns"),
                "reused_bytes": self.field("reused_released_bytes")}
