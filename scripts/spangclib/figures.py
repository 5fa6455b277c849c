"""figures.py: from runs to figures, and from figures to sentences.

Reached from report.py and plot.py. A figure of a setting is the median over its rounds, with the
least and the most. Two settings differ in a figure only if their medians are further apart than
either one's spread (most less least); a smaller difference is called noise, and with one round
nothing can be said about noise.

The *basis* of totals: RSS where one process runs; where more than one ran at a time, PSS, because
the sum of RSS counts a shared page in each process.
"""
import statistics

MIB = 1 << 20
LAZY_TELLING = 1 * MIB          # LazyFree below this is not worth a sentence
PERCENT_TELLING = 1.0
SECONDS_TELLING = 0.05          # times below this are of the start, not of the program

# key, label, what it is divided by, decimals
ROWS = (
    ("peak_rss", "peak RSS, MiB", MIB, 2),
    ("final_rss", "final RSS, MiB", MIB, 2),
    ("peak_pss", "peak PSS, MiB", MIB, 2),
    ("final_pss", "final PSS, MiB", MIB, 2),
    ("final_less_lazy", "final {basis} less LazyFree, MiB", MIB, 2),
    ("mean", "mean {basis}, MiB", MIB, 2),
    ("mean_less_lazy", "mean {basis} less LazyFree, MiB", MIB, 2),
    ("peak_swap", "peak swap, MiB", MIB, 2),
    ("minor_faults", "minor faults", 1, 0),
    ("major_faults", "major faults", 1, 0),
    ("madvise_calls", "madvise calls", 1, 0),
    ("madvise_bytes", "madvise, MiB", MIB, 2),
    ("madvise_ns", "madvise, ms", 1e6, 2),
    ("reused_bytes", "given out again, MiB", MIB, 2),
    ("wall", "wall, s", 1, 2),
    ("user", "user, s", 1, 2),
    ("system", "sys, s", 1, 2),
    ("area", "area under {basis}, MiB·s", MIB, 2),
    ("area_less_lazy", "area less LazyFree, MiB·s", MIB, 2),
)



class Median:
    """median, least and most of what is known of one figure; all None if nothing is."""

    def __init__(self, values):
        known = [v for v in values if v is not None]
        self.n = len(known)
        self.median = statistics.median(known) if known else None
        self.least, self.most = (min(known), max(known)) if known else (None, None)

    def spread(self):
        return self.most - self.least

    def differs_from(self, other):
        """True or False; None: too few rounds to know."""
        if self.n < 2 or other.n < 2:
            return None
        return abs(self.median - other.median) > max(self.spread(), other.spread())


def area(points):
    """Under a curve of (seconds, bytes), by trapezoids, in byte seconds."""
    return sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in zip(points, points[1:]))


def to_the_end(run, points):
    """The last sample stands until the program's end."""
    return points + [(run.wall, points[-1][1])] if points and points[-1][0] < run.wall else points


def curve(run, basis):
    """[(seconds, bytes)]: every sample for RSS, full ones for PSS."""
    if basis == "PSS":
        points = [(s.at, s.pss) for s in run.sampler.samples if s.pss is not None]
    else:
        points = [(s.at, s.rss) for s in run.sampler.samples]
    return to_the_end(run, points)


def curve_less_lazy(run, basis):
    return to_the_end(run, [(s.at, max(0, (s.pss if basis == "PSS" else s.rss) - s.lazy))
                            for s in run.sampler.samples if s.lazy is not None])


def basis_of(runs):
    has_pss = any(s.pss is not None for run in runs for s in run.sampler.samples)
    return "PSS" if has_pss and any(r.sampler.most_processes > 1 for r in runs) else "RSS"


def last(values):
    return values[-1] if values else None


def peak_rss(run):
    """The highest sample; of a single process also what the kernel noted: VmHWM while it ran, and
    ru_maxrss unless that may be this process's, which it starts with."""
    peak = max([s.rss for s in run.sampler.samples] + [run.sampler.high_water], default=0)
    if run.sampler.most_processes == 1 and run.usage.maxrss > run.own_peak * 1.1:
        peak = max(peak, run.usage.maxrss)
    return peak or None


def seconds_since_full(run):
    """How old what is known of LazyFree and PSS was when the program ended."""
    samples = run.sampler.samples
    full = [s.at for s in samples if s.lazy is not None and not s.is_guess]
    return samples[-1].at - full[-1] if full else 0.0


def mean(points):
    return area(points) / (points[-1][0] - points[0][0]) if len(points) > 1 else None


def of_run(run, basis):
    """Every figure of one run; bytes and seconds."""
    samples = run.sampler.samples
    full = [s for s in samples if s.lazy is not None]
    total, real = curve(run, basis), curve_less_lazy(run, basis)
    figures = {
        "peak_rss": peak_rss(run),
        "final_rss": last([s.rss for s in samples]),
        "peak_pss": max((s.pss for s in full), default=None),
        "final_pss": last([s.pss for s in full]),
        "final_less_lazy": last([nbytes for _, nbytes in real]),
        "final_lazy": last([s.lazy for s in full]),
        "peak_lazy": max((s.lazy for s in full), default=None),
        "lowest_after_peak": lowest_after_peak(total),
        "peak_swap": max((s.swap for s in full), default=None),
        "minor_faults": run.usage.minflt, "major_faults": run.usage.majflt,
        "wall": run.wall, "user": run.usage.user, "system": run.usage.system,
        "cpu": run.usage.user + run.usage.system,
        "mean": mean(total), "mean_less_lazy": mean(real),
        "area": area(total) if total else None,
        "area_less_lazy": area(real) if real else None,
    }
    figures.update(run.counters)
    return figures


def lowest_after_peak(points):
    if not points:
        return None
    top = max(range(len(points)), key=lambda i: points[i][1])
    return min(nbytes for _, nbytes in points[top:])


def representative(runs, basis):
    """The run whose area is the median one."""
    by_area = sorted(runs, key=lambda r: area(curve(r, basis)))
    return by_area[len(by_area) // 2]


class Comparison:
    """All runs by setting, and the figures taken from those that count: a run that a signal ended
    counts only if no other run of its setting ended otherwise."""

    def __init__(self, runs_by_name):
        self.runs = {name: runs for name, runs in runs_by_name.items() if runs}
        everything = [r for runs in self.runs.values() for r in runs]
        self.basis = basis_of(everything)
        self.counted = {name: [r for r in runs if not r.is_signal_death()] or runs
                        for name, runs in self.runs.items()}
        self.figures = {}
        for name, runs in self.counted.items():
            rows = [of_run(r, self.basis) for r in runs]
            self.figures[name] = {key: Median([row[key] for row in rows]) for key in rows[0]}

    def names(self):
        return list(self.runs)

    def median(self, name, key):
        return self.figures[name][key].median

    def label(self, text):
        return text.format(basis=self.basis)

    def rounds(self):
        return min((len(runs) for runs in self.counted.values()), default=0)


# Sentences ------------------------------------------------------------------

def mib(nbytes):
    if nbytes is None:
        return "unknown"
    return f"{nbytes / MIB:.1f} MiB" if nbytes < 10 * MIB else f"{nbytes / MIB:,.0f} MiB"


def noise_words(verdict):
    return {True: "", False: ", within noise", None: ", one round: noise unknown"}[verdict]


def say_final(c, name):
    shown, real = c.median(name, "final_rss" if c.basis == "RSS" else "final_pss"), \
        c.median(name, "final_less_lazy")
    lazy, peak = c.median(name, "final_lazy"), c.median(name, f"peak_{c.basis.lower()}")
    if shown is None:
        return f"{name}: ended before anything could be sampled."
    if lazy and lazy >= LAZY_TELLING:
        return (f"{name}: final {c.basis} {mib(shown)} shown, {mib(real)} real (LazyFree "
                f"{mib(lazy)}), after a peak of {mib(peak)}.")
    return f"{name}: final {c.basis} {mib(shown)}, after a peak of {mib(peak)}."


def less_or_more(value, reference):
    percent = 100 * (value - reference) / reference
    return f"{abs(percent):.{0 if abs(percent) >= 10 else 1}f} % {'less' if percent < 0 else 'more'}"


def say_time(c, name, reference, key, word):
    mine, theirs = c.figures[name][key], c.figures[reference][key]
    if not theirs.median or mine.median is None:
        return None
    if max(mine.median, theirs.median) < SECONDS_TELLING:
        return f"{name} and {reference} used too little {word} to be compared."
    verdict = mine.differs_from(theirs)
    percent = 100 * abs(mine.median - theirs.median) / theirs.median
    if percent < PERCENT_TELLING and verdict is not True:
        return f"{name} and {reference} used the same {word} ({mine.median:.2f} s)."
    return (f"{name} used {less_or_more(mine.median, theirs.median)} {word} than {reference} "
            f"({mine.median:.2f} s, {theirs.median:.2f} s) in {c.rounds()} "
            f"round{'s' if c.rounds() > 1 else ''}{noise_words(verdict)}.")


def say_faults(c, name, reference):
    mine, theirs = (c.figures[n]["minor_faults"] for n in (name, reference))
    if mine.median is None or theirs.median is None:
        return None
    more = mine.median - theirs.median
    if abs(more) < 100 or abs(more) < 0.05 * theirs.median:
        return None
    return (f"{name} took {abs(more):,.0f} minor faults {'more' if more > 0 else 'less'} than "
            f"{reference}{noise_words(mine.differs_from(theirs))}.")


def say_areas(c, key, what):
    known = {n: c.median(n, key) for n in c.names() if c.median(n, key)}
    if len(known) < 2:
        return None
    order = sorted(known, key=known.get)
    first = order[0]
    parts = []
    for name in order[1:]:
        verdict = c.figures[name][key].differs_from(c.figures[first][key])
        parts.append(f"{name} {known[name] / known[first]:.2f} times that{noise_words(verdict)}")
    return (f"Smallest area under {what}: {first}, {known[first] / MIB:,.1f} MiB·s; "
            f"{'; '.join(parts)}.")


def say_madvise(c, name):
    calls, nbytes, ns, again = (c.median(name, k) for k in
                                ("madvise_calls", "madvise_bytes", "madvise_ns", "reused_bytes"))
    if not calls or nbytes is None:
        return None
    text = f"{name} gave {mib(nbytes)} back in {calls:,.0f} calls of madvise"
    text += f", which took {ns / 1e6:.1f} ms" if ns is not None else ""
    text += f"; {mib(again)} of it were given out again" if again is not None else ""
    return text + "."


def say_pressure(c, name):
    peak_lazy, lazy = c.median(name, "peak_lazy"), c.median(name, "final_lazy")
    if not peak_lazy or peak_lazy < LAZY_TELLING:
        return f"{name}: had no lazily freed pages for the kernel to take."
    return (f"{name}: under pressure LazyFree went from {mib(peak_lazy)} at its most to {mib(lazy)} "
            f"at the end; the least {c.basis} after the peak was "
            f"{mib(c.median(name, 'lowest_after_peak'))}, at {c.median(name, 'major_faults'):,.0f} "
            f"major and {c.median(name, 'minor_faults'):,.0f} minor faults.")


def sentences(c, has_pressure):
    names = c.names()
    said = [say_final(c, name) for name in names]
    if has_pressure:
        said += [say_pressure(c, name) for name in names]
    said += [say_madvise(c, name) for name in names]
    for name in names[1:]:
        said += [say_time(c, name, names[0], "cpu", "CPU time"),
                 say_faults(c, name, names[0])]
    said.append(say_areas(c, "area", f"{c.basis} over time"))
    lazies = [c.median(name, "peak_lazy") or 0 for name in names]
    if max(lazies, default=0) >= LAZY_TELLING:
        said.append(say_areas(c, "area_less_lazy", f"{c.basis} less LazyFree"))
    return [text for text in said if text]
