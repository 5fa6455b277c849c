"""rss.py: `spangc rss`: one program under each way of giving memory back, side by side."""
import argparse
import json
import os
import re
import signal
import sys
import tempfile

import figures
import knobs
import plot
import pressure
import proc
import program
import report
import runner
from program import Refused, note, parse_command

DESCRIPTION = """\
Runs APP under each policy in turn, watches its memory, and says in a table and in words what each
policy did: resident memory (RSS), what of it the kernel may take at any time (LazyFree), faults,
time. Rounds are interleaved, so that a slow spell of the machine falls on all policies. All
processes that APP starts are followed and summed; with several, totals are of PSS, in which a
shared page counts once.

  dontneed  MADV_DONTNEED: pages go at once; using them again costs a fault each
  free      MADV_FREE: pages stay in RSS as LazyFree until the kernel is short of memory
  none      nothing is given back
"""
MORE = """\
a policy may have a delay, as in dontneed:100ms (SPANGC_RELEASE_DELAY); other SPANGC_ variables of
the environment hold for all. Sizes take K M G, times ms s m h.

streams: the report goes to standard output, then what APP writes there goes to standard error;
with --output FILE the report goes to FILE, and APP has standard output. APP's output is shown in
the first run only, for all runs with --show all (or none). Each run reads the same standard input.

sampling: RSS at each interval; PSS, LazyFree and swap (smaps_rollup: 1.4 ms for 400 MiB, 10 ms for
4 GiB) as often as less than 1 % of a core allows. "final" is the last sample before the end.

noise: two figures differ only if their medians are further apart than the rounds of either.

exit status: APP's own if all runs agree (128 + N for signal N; 0 if it was stopped by --duration
or after --load), else 1; 2 usage, or what an option needs is not there; 126 APP can't be run with
a library (static, setuid), 127 no such program, or no library; 130 Ctrl-C, 143 SIGTERM: the run is
ended politely (SIGTERM, SIGKILL after 5 s) and what was seen is reported.
"""
UNITS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
SIZES = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


class Setting:
    """One column: a policy of ours, or another library."""

    def __init__(self, name, library, changes=None):
        self.name, self.library = name, library
        self.is_ours = changes is not None
        self.changes = changes or {}
        self.preload = None                     # set once there is a folder for a link

    def environment(self, env, folder):
        env = program.with_preload(env, self.preload)
        if self.is_ours:
            env = {**env, **self.changes, "SPANGC_STATS": "1",
                   "SPANGC_REPORT": folder.replace("%", "%%") + "/%p-%n.txt"}
        return env


class Program:
    def __init__(self, argv):
        self.argv, self.path = argv, program.resolve(argv[0])


# Command line ---------------------------------------------------------------

def seconds(text):
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h|)", text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text}: not a time, such as 500ms, 10s or 5m")
    return float(match.group(1)) * UNITS[match.group(2)]


def size(text):
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([kmg]?)(?:i?b)?", text.lower())
    if not match or not float(match.group(1)):
        raise argparse.ArgumentTypeError(f"{text}: not a size, such as 300M or 2G")
    return int(float(match.group(1)) * SIZES[match.group(2)])


def rounds(text):
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text}: not a number of rounds")
    return int(text)


class Parser(argparse.ArgumentParser):
    def error(self, message):
        raise Refused(2, f"{message} (spangc rss --help)")


def parser():
    p = Parser(prog="spangc rss", usage="spangc rss [options] -- APP [ARG ...]",
               description=DESCRIPTION, epilog=MORE, allow_abbrev=False,
               formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--policies", metavar="LIST",
                   help=f"of {','.join(knobs.words('SPANGC_MADVISE'))} (default: all of them)")
    p.add_argument("--runs", type=rounds, default=3, metavar="N", help="rounds (default 3)")
    p.add_argument("--compare", metavar="LIST", default="",
                   help="also under these libraries: a path, jemalloc, mimalloc, tcmalloc, glibc")
    p.add_argument("--interval", type=seconds, default=0.05, metavar="T",
                   help="between samples (default 50ms)")
    p.add_argument("--duration", type=seconds, metavar="T",
                   help="end each run politely after this time; counts as success")
    p.add_argument("--load", metavar="CMD", help="APP is a server: run `sh -c CMD` against it "
                   "($0 is its pid), wait for --idle, then end it politely")
    p.add_argument("--load-delay", type=seconds, default=1.0, metavar="T",
                   help="from APP's start to the load (default 1s)")
    p.add_argument("--idle", type=seconds, default=3.0, metavar="T",
                   help="from the load's end to APP's, so that the release shows (default 3s)")
    p.add_argument("--pressure", type=size, metavar="SIZE",
                   help="while APP holds more than this, the kernel is made to take what pages it "
                   "can: by a memory cgroup where one can be made, else by a ballast process")
    p.add_argument("--pressure-by", choices=("auto", "cgroup", "ballast"), default="auto",
                   help="only this way")
    p.add_argument("--json", action="store_true", help="JSON instead of the table, samples and all")
    p.add_argument("--output", metavar="FILE", help="the report goes there")
    p.add_argument("--plot", metavar="FILE", action="append", default=[],
                   help="memory over time, .svg or .png (gnuplot); may be repeated")
    p.add_argument("--show", choices=("first", "all", "none"), default="first",
                   help="APP's standard output: of the first run, of all, of none")
    p.add_argument("--library", metavar="PATH", help="another libspangc.so")
    p.add_argument("program", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return p


def parse(argv):
    """(options, APP's words)."""
    options, words = parse_command(parser(), argv, "spangc rss [options] -- APP [ARG ...]")
    if options.interval < 0.001:
        raise Refused(2, "--interval: at least 1ms")
    options.pressure_way = None
    return options, words


def policy_settings(text, library):
    known = knobs.words("SPANGC_MADVISE")
    for word in text.split(",") if text is not None else known:
        policy, colon, delay = word.partition(":")
        if policy not in known:
            raise Refused(2, f"--policies: no policy {policy!r} (there are: {', '.join(known)})")
        changes = {"SPANGC_MADVISE": policy}
        if colon:
            if delay != "never" and not re.fullmatch(r"0|\d+(ms|s|m)", delay):
                raise Refused(2, f"--policies {word}: {delay!r} is no delay, such as 100ms")
            changes["SPANGC_RELEASE_DELAY"] = delay
        yield Setting(word, library, changes)


def compared_settings(text):
    for name in text.split(",") if text else ():
        path = program.find_peer(name)
        label = os.path.basename(path) if path and "/" in name else name
        yield Setting(label, path)


def make_settings(options, library):
    """Ours, then the others; two of one name get numbers."""
    settings = []
    if options.policies != "":
        settings += policy_settings(options.policies, library)
    settings += compared_settings(options.compare)
    if not settings:
        raise Refused(2, "nothing to run: no policy and no library to compare")
    seen = {}
    for s in settings:
        seen[s.name] = seen.get(s.name, 0) + 1
        if seen[s.name] > 1:
            s.name = f"{s.name}#{seen[s.name]}"
    return settings


def check_writable(option, path):
    """Before the runs: can this file be written? Leaves nothing behind."""
    is_new = not os.path.exists(path)
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644))
    except OSError as failure:
        raise Refused(2, f"{option} {path}: {failure.strerror}") from None
    if is_new:
        os.unlink(path)


def check(options, words):
    """Everything that can be refused, before the first run: (program, settings)."""
    problem = proc.problem()
    if problem and not proc.read("/proc/self/statm"):
        raise Refused(2, problem)
    if problem:
        note("spangc rss: " + problem)
    library = program.find_library(options.library)
    app = Program(words)
    program.check_preload(app.path, library)
    settings = make_settings(options, library)
    for path in options.plot:
        plot.check(path)
        check_writable("--plot", path)
    if options.output:
        check_writable("--output", options.output)
    return app, settings


# Rounds ---------------------------------------------------------------------

def progress(options, round_number, run, name, comparison):
    figure = figures.of_run(run, comparison.basis if comparison else figures.basis_of([run]))
    text = f"peak {figures.mib(figure['peak_rss'])}, final {figures.mib(figure['final_rss'])}, " \
           f"{run.wall:.2f} s"
    if run.ended():
        text += f"; the program ended with {run.ended()}"
    note(f"spangc rss: round {round_number} of {options.runs}: {name}: {text}")


def streams_of(options, is_first, stdin):
    """Descriptors for one run; those above 2 are to be closed."""
    stdout = 1 if options.output else 2
    if options.show == "none" or (options.show == "first" and not is_first):
        stdout = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    return stdin(), stdout, 2


def one_run(options, setting, asked, app, streams):
    run = runner.Run(options, setting, asked)
    group = pressure.make(options.pressure, options.pressure_by) if options.pressure else None
    options.pressure_way = group.way if group else None
    try:
        run.go(app, dict(os.environ), streams, group)
    except OSError as failure:
        raise Refused(126, f"{app.path}: {failure.strerror}") from None
    finally:
        for fd in streams:
            if fd > 2:
                os.close(fd)
        if group:
            group.close()
    return run


def run_rounds(options, app, settings, asked):
    """{name: [Run]}, rounds interleaved, the order rotated; what there is after a signal."""
    stdin = runner.standard_input()
    runs = {s.name: [] for s in settings}
    for r in range(options.runs):
        turn = r % len(settings)
        for setting in settings[turn:] + settings[:turn]:
            is_first = not any(runs.values())
            run = one_run(options, setting, asked, app, streams_of(options, is_first, stdin))
            runs[setting.name].append(run)
            progress(options, r + 1, run, setting.name, None)
            if asked.signo:
                return runs
    return runs


def exit_status(runs, asked):
    if asked.signo:
        return 128 + asked.signo
    codes = [0 if run.stopped else run.status for of_one in runs.values() for run in of_one]
    codes = {128 - code if code < 0 else code for code in codes}
    if len(codes) > 1:
        note(f"spangc rss: the runs ended differently: {', '.join(map(str, sorted(codes)))}")
        return 1
    return codes.pop() if codes else 1


def write_report(options, comparison, words, is_interrupted):
    if options.json:
        data = report.json_data(comparison, options, words, is_interrupted)
        text = json.dumps(data, indent=1) + "\n"
    else:
        text = report.text(comparison, options, words)
        text += "Interrupted: of what was seen until then.\n" if is_interrupted else ""
    if options.output:
        with open(options.output, "w", encoding="utf-8") as f:
            f.write(text)
    else:
        sys.stdout.write(text)
        sys.stdout.flush()


def main(argv):
    options, words = parse(argv)
    app, settings = check(options, words)
    asked = runner.Asked()
    asked.install()
    runner.become_reaper()
    with tempfile.TemporaryDirectory(prefix="spangc-rss-") as folder:
        for setting in settings:
            setting.preload = setting.library and program.preloadable(setting.library, folder)
        runs = run_rounds(options, app, settings, asked)
    comparison = figures.Comparison(runs)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    write_report(options, comparison, words, bool(asked.signo))
    status = exit_status(runs, asked)
    for path in options.plot:
        problem = plot.draw(comparison, path, words)
        if problem:
            note("spangc rss: " + problem)
            status = status or 1
    return status
