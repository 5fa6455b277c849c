"""elf.py: what a program's or library's ELF file says, as far as preloading needs it.

Reached from program.py (can the loader preload into this file?) and counters.py (where the
library keeps its counters). Reads headers and notes only; files of the other byte order are told
apart, not read.
"""
import struct
import sys

PT_LOAD, PT_INTERP, PT_NOTE = 1, 3, 4
SHT_NOTE = 7
NOTE_NAME = b"spangc\0"
NOTE_COUNTERS = 1
NOTE_BYTES_MAX = 1 << 20


class NotElf(Exception):
    """The file does not begin as an ELF file does."""


class Elf:
    """kind: (class, byte order, machine); programs are loaded together only if it is the same."""

    def __init__(self, path):
        with open(path, "rb") as f:
            self.head = f.read(64)
            if self.head[:4] != b"\x7fELF" or len(self.head) < 52:
                raise NotElf(path)
            self.kind = (self.head[4], self.head[5], self.head[18:20])
            self.is_64 = self.head[4] == 2
            self.is_native = self.head[5] == (1 if sys.byteorder == "little" else 2)
            self.segments = list(self._segments(f)) if self.is_native else []
            self.notes = list(self._notes(f)) if self.is_native else []

    def has(self, segment_type):
        return any(s[0] == segment_type for s in self.segments)

    def is_static(self):
        """No loader is asked for: nothing can be preloaded. Unknown for a foreign byte order."""
        return self.is_native and not self.has(PT_INTERP)

    def _segments(self, f):
        """(type, offset, address, bytes in the file) of each program header."""
        if self.is_64:
            at, (size, count) = struct.unpack_from("=Q", self.head, 32)[0], \
                struct.unpack_from("=HH", self.head, 54)
        else:
            at, (size, count) = struct.unpack_from("=I", self.head, 28)[0], \
                struct.unpack_from("=HH", self.head, 42)
        f.seek(at)
        table = f.read(size * count)
        for i in range(len(table) // size if size else 0):
            if self.is_64:
                kind, _, offset, address, _, nbytes = struct.unpack_from("=IIQQQQ", table, i * size)
            else:
                kind, offset, address, _, nbytes = struct.unpack_from("=IIIII", table, i * size)
            yield kind, offset, address, nbytes

    def _notes(self, f):
        """(name, type, address of the descriptor, descriptor) of each note."""
        for kind, offset, address, nbytes in self.segments:
            if kind != PT_NOTE:
                continue
            f.seek(offset)
            data = f.read(min(nbytes, NOTE_BYTES_MAX))
            at = 0
            while at + 12 <= len(data):
                name_bytes, desc_bytes, note_type = struct.unpack_from("=III", data, at)
                name_at = at + 12
                desc_at = name_at + (name_bytes + 3 & ~3)
                yield (data[name_at:name_at + name_bytes], note_type, address + desc_at,
                       data[desc_at:desc_at + desc_bytes])
                at = desc_at + (desc_bytes + 3 & ~3)

    def counters(self):
        """(address relative to the load address, number of fields) of the library's counters,
        or None: a note of ours gives the way from itself to them."""
        loads = [s[2] for s in self.segments if s[0] == PT_LOAD]
        for name, note_type, address, desc in self.notes:
            if name == NOTE_NAME and note_type == NOTE_COUNTERS and len(desc) >= 8 and loads:
                way, nfields = struct.unpack_from("=iI", desc)
                return address + way - (min(loads) & ~4095), nfields
        return None
