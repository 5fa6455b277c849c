"""report.py: what the user reads of a comparison: a table and sentences, or JSON.

Reached from rss.py.
"""
import os
import shlex

import figures
from sampler import ROW_FIELDS

COLUMNS_A_BLOCK = 4
STALE_SECONDS = 0.2
SHORT_SECONDS = 0.5             # for a shorter run a share of it would say nothing


def machine():
    model = ""
    with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as f:
        for line in f:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20
    return f"Linux {os.uname().release}, {os.cpu_count()} processors{', ' + model if model else ''}" \
           f", {memory:,} MiB"


def number(value, decimals):
    """At most `decimals`, and about three digits."""
    if decimals:
        decimals = 0 if abs(value) >= 100 else min(decimals, 1) if abs(value) >= 10 else decimals
    return f"{value:,.{decimals}f}"


def cell(figure, divisor, decimals):
    """Median, then (least..most) where the rounds differ."""
    if figure.median is None:
        return "-"
    least, most = (number(v / divisor, decimals) for v in (figure.least, figure.most))
    spread = "" if least == most else f" ({least}..{most})"
    return number(figure.median / divisor, decimals) + spread


def table(c):
    """Settings side by side, at most four a block."""
    names = c.names()
    rows = [row for row in figures.ROWS if row[0] != "peak_swap"
            or any(c.median(n, "peak_swap") for n in names)]
    labels = [c.label(row[1]) for row in rows]
    first = max(map(len, labels))
    lines = []
    for start in range(0, len(names), COLUMNS_A_BLOCK):
        block = names[start:start + COLUMNS_A_BLOCK]
        cells = [[cell(c.figures[n][key], divisor, decimals) for n in block]
                 for key, _, divisor, decimals in rows]
        widths = [max(len(n), *(len(line[i]) for line in cells)) for i, n in enumerate(block)]
        lines += [""] if lines else []
        lines.append("  ".join([" " * first] + [n.rjust(w) for n, w in zip(block, widths)]))
        for label, line in zip(labels, cells):
            lines.append("  ".join([label.ljust(first)]
                                   + [text.rjust(w) for text, w in zip(line, widths)]))
    return "\n".join(lines)


def sampling_words(c):
    runs = [r for runs in c.runs.values() for r in runs]
    samples = sum(len(r.sampler.samples) for r in runs)
    full = sum(s.is_read for r in runs for s in r.sampler.samples)
    spent = sum(r.sampler_cpu for r in runs)
    seconds = sum(r.wall for r in runs) or 1
    longest = max(r.sampler.budget.interval for r in runs)
    asked = runs[0].options.interval
    cost = f"{100 * spent / seconds:.2f} % of a core" if seconds > len(runs) * SHORT_SECONDS \
        else f"{1000 * spent / len(runs):.1f} ms of processor time a run"
    text = f"{samples} samples, {full} of them with smaps_rollup; sampling took {cost}."
    if longest > asked * 1.01:
        text += (f" The interval was lengthened from {asked * 1000:.0f} to {longest * 1000:.0f} ms: "
                 "there are many processes, or the machine is busy.")
    return text


def remarks(c, options):
    """What happened to runs, each sentence once, with how often."""
    said = []
    if c.basis == "PSS":
        said.append("More than one process ran: areas and RSS less LazyFree are of PSS, in which "
                    "a shared page counts once; peak and final RSS are sums that count it in each.")
    for name, runs in c.runs.items():
        found = {}
        for run in runs:
            for text in run_remarks(run):
                found[text] = found.get(text, 0) + 1
        said += [f"{name}: {text} ({count} of {len(runs)} runs)." for text, count in found.items()]
    if options.pressure:
        said.append(f"Pressure at {options.pressure >> 20} MiB by {options.pressure_way}.")
    return said


def run_remarks(run):
    ended = run.ended()
    if ended:
        yield f"the program ended with {ended}"
    if run.stopped:
        yield {"duration": "stopped after --duration", "load": "stopped after the load",
               "interrupt": "interrupted"}[run.stopped]
    if run.setting.is_ours and run.sampler.samples and not run.is_loaded:
        yield "libspangc.so was not loaded, or the program has its own malloc: no counters"
    if run.last_seen:
        yield "counters as last seen: a process ended by _exit or a signal, and wrote none"
    stale = figures.seconds_since_full(run)
    if stale > STALE_SECONDS:
        yield f"LazyFree and PSS of the end were read up to {stale:.1f} s before it"
    if run.sampler.is_hidden:
        yield "smaps of a process is hidden: its LazyFree and PSS are unknown"
    yield from run.remarks


def text(c, options, argv):
    if not c.runs:
        return "Nothing was measured.\n"
    rounds = [len(runs) for runs in c.runs.values()]
    count = f"{max(rounds)}" if min(rounds) == max(rounds) else f"{min(rounds)} to {max(rounds)}"
    head = (f"{shlex.join(argv)}\n{machine()}\nMedian (least..most) of {count} "
            f"round{'s' if max(rounds) > 1 else ''}, in turn.\n")
    said = figures.sentences(c, bool(options.pressure)) + [""] + remarks(c, options)
    return "\n".join([head, table(c), ""] + said + [sampling_words(c)]) + "\n"


def json_data(c, options, argv, is_interrupted):
    settings = {}
    for name, runs in c.runs.items():
        settings[name] = {
            "library": runs[0].setting.library,
            "environment": runs[0].setting.changes,
            "summary": {key: {"median": m.median, "least": m.least, "most": m.most}
                        for key, m in c.figures[name].items()},
            "runs": [{"status": r.status, "stopped": r.stopped, "counted": r in c.counted[name],
                      "remarks": list(run_remarks(r)), "last_seen_pids": r.last_seen,
                      "most_processes": r.sampler.most_processes,
                      "sampler_cpu_seconds": round(r.sampler_cpu, 6),
                      "interval_seconds": round(r.sampler.budget.interval, 4),
                      "figures": figures.of_run(r, c.basis),
                      "samples": [s.row() for s in r.sampler.samples]} for r in runs],
        }
    return {
        "tool": "spangc", "command": "rss", "program": argv, "machine": machine(),
        "basis": c.basis.lower(), "interrupted": is_interrupted,
        "pressure": {"bytes": options.pressure, "way": options.pressure_way}
        if options.pressure else None,
        "sample_fields": ROW_FIELDS, "settings": settings,
        "sentences": figures.sentences(c, bool(options.pressure)),
        "remarks": remarks(c, options) + ([sampling_words(c)] if c.runs else []),
    }
