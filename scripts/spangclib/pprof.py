#!/usr/bin/python3 -IB
"""pprof.py: a report of the library in json becomes a profile for pprof.

usage: pprof.py <REPORT.json >PROFILE.pb.gz

The library starts this for SPANGC_REPORT_FORMAT=pprof; it imports nothing of its folder. The profile is
https://github.com/google/pprof/blob/main/proto/profile.proto, gzip'd: a sample for each entry of the
report, whose values are its objects and its bytes. The same report gives the same bytes.
"""
import gzip
import json
import os
import sys

# Field numbers of profile.proto.
PROFILE = {"sample_type": 1, "sample": 2, "mapping": 3, "location": 4, "function": 5,
           "string_table": 6, "time_nanos": 9, "duration_nanos": 10, "period_type": 11,
           "period": 12, "comment": 13, "default_sample_type": 14}
VALUE_TYPE = {"type": 1, "unit": 2}
SAMPLE = {"location_id": 1, "value": 2, "label": 3}
LABEL = {"key": 1, "str": 2, "num": 3, "num_unit": 4}
MAPPING = {"id": 1, "memory_start": 2, "memory_limit": 3, "file_offset": 4, "filename": 5,
           "build_id": 6, "has_functions": 7, "has_filenames": 8, "has_line_numbers": 9,
           "has_inline_frames": 10}
LOCATION = {"id": 1, "mapping_id": 2, "address": 3, "line": 4}
LINE = {"function_id": 1, "line": 2}
FUNCTION = {"id": 1, "name": 2, "system_name": 3, "filename": 4, "start_line": 5}

# report: (key of its entries, what the objects are called)
KINDS = {"leaks": ("leaks", "leaked"), "profile": ("reachable", "inuse"), "diff": ("grown", "grown")}
PAGE = 4096


# ---- Protocol buffers: a varint is groups of 7 bits, the lowest first

def varint(n):
    n &= (1 << 64) - 1                  # negative numbers have 64 bits
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    out.append(n)
    return bytes(out)


def number(field, n):
    return varint(field << 3) + varint(n) if n else b""


def piece(field, data):
    return varint(field << 3 | 2) + varint(len(data)) + data


def packed(field, numbers):
    return piece(field, b"".join(map(varint, numbers)))


# ---- Tables

class Table:
    """Things and their numbers, from `first` on, in the order they came up."""

    def __init__(self, first):
        self.first, self.ids = first, {}

    def id_of(self, thing):
        return self.ids.setdefault(thing, len(self.ids) + self.first)


class Profile:
    def __init__(self, report):
        self.report = report
        self.key, self.word = KINDS[report["report"]]
        self.strings, self.mappings = Table(0), Table(1)
        self.functions, self.locations = Table(1), Table(1)
        self.ranges = {}                # of a module: [start, limit]
        self.string("")                 # number 0 must be this one

    def string(self, text):
        return self.strings.id_of(text or "")

    def mapping(self, frame):
        """Of a module. The report does not tell where it ended: behind the last address, say."""
        module = frame["module"]
        if not module:
            return 0
        pc = int(frame["pc"], 16)
        start, limit = pc - int(frame["offset"], 16), pc // PAGE * PAGE + PAGE
        known = self.ranges.setdefault(module, [start, limit])
        known[:] = min(known[0], start), max(known[1], limit)
        return self.mappings.id_of(module)

    def function(self, frame):
        return self.functions.id_of((frame["function"], frame["file"] or "")) \
            if frame["function"] else 0

    def location(self, frames):
        """Of one address: the frames inlined there, innermost first, and the function itself."""
        lines = tuple((self.function(f), f["line"] or 0) for f in frames if f["function"])
        return self.locations.id_of((int(frames[0]["pc"], 16), self.mapping(frames[0]), lines))

    def stack(self, frames):
        at_once = []
        for frame in frames:
            if at_once and at_once[-1][0]["pc"] == frame["pc"]:
                at_once[-1].append(frame)
            else:
                at_once.append([frame])
        return [self.location(group) for group in at_once]

    def value_type(self, kind, unit):
        return number(VALUE_TYPE["type"], self.string(kind)) + \
            number(VALUE_TYPE["unit"], self.string(unit))

    def label(self, key, text):
        return piece(SAMPLE["label"], number(LABEL["key"], self.string(key)) +
                     number(LABEL["str"], self.string(text)))

    def sample(self, entry):
        out = packed(SAMPLE["location_id"], self.stack(entry["stack"])) + \
            packed(SAMPLE["value"], (entry["blocks"], entry["bytes"]))
        if "kind" in entry:
            out += self.label("kind", entry["kind"])
        for thread in dict.fromkeys(t["name"] for t in entry.get("threads", ()) if t["name"]):
            out += self.label("thread", thread)
        return out

    # ---- Messages of the tables: after all samples, which fill them

    def encoded_mapping(self, module, i):
        start, limit = self.ranges[module]
        return number(MAPPING["id"], i) + number(MAPPING["memory_start"], max(start, 0)) + \
            number(MAPPING["memory_limit"], limit) + number(MAPPING["filename"], self.string(module)) + \
            b"".join(number(MAPPING[name], 1) for name in (
                "has_functions", "has_filenames", "has_line_numbers", "has_inline_frames"))

    def encoded_location(self, what, i):
        address, mapping, lines = what
        return number(LOCATION["id"], i) + number(LOCATION["mapping_id"], mapping) + \
            number(LOCATION["address"], address) + \
            b"".join(piece(LOCATION["line"], number(LINE["function_id"], function) +
                           number(LINE["line"], line)) for function, line in lines)

    def encoded_function(self, what, i):
        name, file = what
        return number(FUNCTION["id"], i) + number(FUNCTION["name"], self.string(name)) + \
            number(FUNCTION["system_name"], self.string(name)) + \
            number(FUNCTION["filename"], self.string(file))

    def program_first(self):
        """The first mapping is the program's, for pprof."""
        name = os.path.basename(self.report["program"] or "")
        for frame in (f for e in self.report[self.key] for f in e["stack"]):
            if name and os.path.basename(frame["module"] or "") == name:
                self.mapping(frame)
                return

    def encode(self):
        self.program_first()
        objects, nbytes = self.word + "_objects", self.word + "_space"
        period = self.report.get("sample_bytes") or 0
        out = [piece(PROFILE["sample_type"], self.value_type(objects, "count")),
               piece(PROFILE["sample_type"], self.value_type(nbytes, "bytes"))]
        out += [piece(PROFILE["sample"], self.sample(e)) for e in self.report[self.key]]
        for name, table, encoded in (("mapping", self.mappings, self.encoded_mapping),
                                     ("location", self.locations, self.encoded_location),
                                     ("function", self.functions, self.encoded_function)):
            out += [piece(PROFILE[name], encoded(what, i)) for what, i in table.ids.items()]
        out += [piece(PROFILE["period_type"], self.value_type("space", "bytes")),
                number(PROFILE["period"], period or 1),
                number(PROFILE["duration_nanos"], int(self.report["seconds"] * 1000) * 1000000),
                number(PROFILE["default_sample_type"], self.string(nbytes))]
        # Last: everything else has put its strings there by now.
        out += [piece(PROFILE["string_table"], text.encode(errors="replace"))
                for text in self.strings.ids]
        return b"".join(out)


def main():
    report = json.loads(sys.stdin.buffer.read().decode(errors="replace"))
    # No time in the head of the file: the same report gives the same bytes.
    sys.stdout.buffer.write(gzip.compress(Profile(report).encode(), mtime=0))
    sys.stdout.buffer.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
