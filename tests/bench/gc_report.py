"""gc_report.py: tables in Markdown and plots of what scripts/gc-bench measured.

Reached from scripts/gc-bench alone. `data` is {section: {row: {column: figures}}}, and for the server
{curve: [(seconds, resident KiB, live KiB, lost KiB, longest answer in us)]}.
"""
import os
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "scripts", "spangclib"))
import plot                                                     # noqa: E402

COLUMNS = ("glibc", "uffd", "mprotect", "snapshot", "stw", "bdwgc", "bdwgc incr.", "Go")


def number(value):
    if value is None:
        return "-"
    return "%.0f" % value if value >= 100 else "%.1f" % value if value >= 10 else "%.2f" % value


def table(title, heads, lines):
    rows = [heads, ["---"] + ["--:"] * (len(heads) - 1)] + lines
    return "\n".join([title, ""] + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


def columns_of(rows):
    there = {name for cells in rows.values() for name in cells}
    return [c for c in COLUMNS if c in there]


def cell(cells, column, form):
    of = cells.get(column)
    if of is None:
        return "-"
    return "failed" if of.get("failed") else form(of)


def grid(title, rows, names, form):
    """A line a row, a column a collector."""
    shown = columns_of(rows)
    lines = [[names(row)] + [cell(cells, c, form) for c in shown] for row, cells in rows.items()]
    return table(title, [""] + shown, lines)


# Sections -------------------------------------------------------------------

def heap_and_share(row):
    mib, share = row.split()
    return f"{mib} MiB, {share} %"


def speeds(of):
    parts = [number(100 * of[key]) for key in ("speed_cpu", "speed_beside") if key in of]
    return number(100 * of["speed"]) + (f" ({'; '.join(parts)})" if parts else "")


def stalls(rows):
    def longest(of):
        return f"{number(of['stall_us'] / 1000)} ({number(of['stall_median_us'] / 1000)})"
    parts = [grid("Longest stall that the thread saw in any cycle, ms (median of each cycle's longest)",
                  rows, heap_and_share, longest),
             grid("Speed of the thread during cycles, % of its speed without (by its own processor time; "
                  "instead of cycles beside a thread that only computes)", rows, heap_and_share, speeds),
             grid("A forced full cycle, ms elapsed (processor time of all but the thread)", rows,
                  heap_and_share,
                  lambda of: f"{number(of['cycle_ms'])} ({number(of['cycle_cpu_ms'])})"),
             grid("Longest stall without a cycle: the machine's own, ms", rows, heap_and_share,
                  lambda of: number(of["base_us"] / 1000))]
    wrong = [f"{row}, {c}: {of['how']}" for row, cells in rows.items() for c, of in cells.items()
             if of.get("how") and of["how"].split()[-1] != c]
    if wrong:
        parts.append("Fell back: " + "; ".join(wrong) + "\n")
    return "\n".join(parts)


def turned(title, cells, figures):
    """A line a collector, a column a figure: (heading, function)."""
    lines = [[c] + [form(cells[c]) for _, form in figures] for c in COLUMNS if c in cells]
    return table(title, [""] + [heading for heading, _ in figures], lines)


def syscalls(rows):
    return turned("A system call, ns: no cycle running, and during cycles", rows["figures"], [
        (name, lambda of, key=key: number(of[key]) if of[key] else "-")
        for name, key in (("getppid", "getppid_ns"), ("in a cycle", "getppid_cycle_ns"),
                          ("read 1 byte", "read_ns"), ("in a cycle", "read_cycle_ns"))])


def trees(rows):
    return turned("Binary trees, depth 18, best of the rounds; freed under glibc, else never",
                  rows["figures"], [
                      ("elapsed s", lambda of: number(of["elapsed_s"])),
                      ("CPU s", lambda of: number(of["cpu_s"])),
                      ("peak MiB", lambda of: number(of["peak_mib"])),
                      ("cycles", lambda of: "%d" % of["ncycles"] if of["ncycles"] else "-")])


def nodes(rows):
    return grid("A forced full cycle, ns a node elapsed (processor time); 5.2 million nodes", rows,
                lambda row: {"random": "in random order", "order": "in order"}[row],
                lambda of: f"{number(of['cycle_ms'] * 1e6 / of['nodes'])} "
                           f"({number(of['cycle_cpu_ms'] * 1e6 / of['nodes'])})")


def cycles_by_itself(of):
    if not of["trace"]:
        return "none"
    minor = [t for t in of["trace"] if "minor" in t["how"]]
    full = [t for t in of["trace"] if "minor" not in t["how"]]
    parts = [f"{len(some)} {name}, {number(sum(t['cpu_ms'] for t in some) / len(some))} ms CPU each"
             for name, some in (("minor", minor), ("full", full)) if some]
    return "; ".join(parts)


def cache(rows):
    parts = []
    for row, cells in rows.items():
        percent, how = row.split(" ", 1)
        figures = [("cycle ms", lambda of: number(of["full_ms"]) if of["nfull"] else "-"),
                   ("its CPU ms", lambda of: number(of["full_cpu_ms"]) if of["nfull"] else "-")]
        title = f"Cache, 5 million entries, {percent} % replaced a second, a full cycle forced each second"
        if how != "full":
            figures = [("cycles", cycles_by_itself)]
            title = f"The same, {percent} % replaced, cycles by SPANGC_GC_PERIOD=1s"
        figures += [("CPU s in all", lambda of: number(of["cpu_s"])),
                    ("latest slice ms", lambda of: number(of["late_us"] / 1000)),
                    ("RSS MiB", lambda of: number(of["rss_mib"])),
                    ("live MiB", lambda of: number(of["live_mib"]))]
        parts.append(turned(title, cells, figures))
    return "\n".join(parts)


def server(curves):
    """What the server needs is what it has resident at the start, before it has lost anything."""
    lines = []
    for name, points in curves.items():
        lines.append([name, "%.0f" % points[-1][0], number(points[-1][3] / 1024),
                      number(points[-1][2] / 1024), number(points[0][1] / 1024),
                      number(max(p[1] for p in points) / 1024), number(points[-1][1] / 1024),
                      number(max(p[1] for p in points) / points[0][1]),
                      number(max(p[4] for p in points[2:]) / 1000)])
    return table("A server under load", [
        "", "seconds", "lost MiB", "live MiB", "RSS at start", "most RSS", "RSS at end",
        "most / start", "longest answer ms"], lines)


FORMS = {"stalls": stalls, "syscalls": syscalls, "trees": trees, "nodes": nodes, "cache": cache,
         "server": server}


def section(name, data):
    return FORMS[name](data[name])


# Plots ----------------------------------------------------------------------

def draw(output, title, x, y, settings, curves):
    """curves: (name, [(x, y)])."""
    lines = [f"set terminal svg background '#ffffff' size {plot.WIDTH},{plot.HEIGHT} font 'sans,12'",
             f"set output {plot.quoted(output)}", f"set title {plot.quoted(title)} noenhanced",
             f"set xlabel {plot.quoted(x)}", f"set ylabel {plot.quoted(y)}",
             "set grid lt 1 lc rgb '#e4e4e4'", "set border 3", "set tics nomirror",
             "set key outside bottom center horizontal noenhanced"] + settings
    parts = []
    for i, (name, points, style) in enumerate(curves):
        rows = "\n".join(f"{a:g} {b:g}" for a, b in points)
        lines.append(f"$d{i} << EOD\n{rows}\nEOD")
        colour = plot.COLOURS[i % len(plot.COLOURS)]
        parts.append(f"$d{i} with {style} lw 2 lc rgb '{colour}' title {plot.quoted(name)}")
    if parts:
        subprocess.run(["gnuplot"], input="\n".join(lines + ["plot " + ", ".join(parts)]) + "\n",
                       text=True, check=False)


def stall_curves(rows, index, fixed):
    """Longest stall in ms against size (index 0) or share (1), where the other is `fixed`."""
    curves = []
    for column in columns_of(rows):
        points = []
        for row, cells in rows.items():
            words = row.split()
            of = cells.get(column)
            if words[1 - index] == fixed and of and not of.get("failed"):
                points.append((float(words[index]), of["stall_us"] / 1000))
        if len(points) > 1:
            curves.append((column, sorted(points), "linespoints pt 7"))
    return curves


def plots(data, folder):
    if not shutil.which("gnuplot"):
        return
    logarithmic = ["set logscale xy"]
    if "stalls" in data:
        rows = data["stalls"]
        draw(os.path.join(folder, "stalls.svg"), "Longest stall of a running thread, 1 % of pages hot",
             "live MiB", "ms", logarithmic, stall_curves(rows, 0, "1"))
        draw(os.path.join(folder, "hot.svg"), "Longest stall of a running thread, 512 MiB live",
             "% of pages that it writes to", "ms", logarithmic, stall_curves(rows, 1, "512"))
    if "server" in data:
        curves = [(name, [(p[0], p[1] / 1024) for p in points], "lines")
                  for name, points in data["server"].items()]
        for points in list(data["server"].values())[1:2]:
            twice = 2 * points[0][1] / 1024
            curves.append(("twice what gc mode starts with", [(p[0], twice) for p in points],
                           "lines dt 2"))
        draw(os.path.join(folder, "server.svg"), "A server that loses 1 MiB/s under load",
             "seconds", "RSS, MiB", ["set yrange [0:*]"], curves)
