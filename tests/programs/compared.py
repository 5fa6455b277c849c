"""Real programs compared with themselves: shared by same-output and same-collected.

The library is $LIBSPANGC, or build/release/libspangc.so. What may be compared of a run is its exit
status, stdout, stderr, the files it leaves and what checks say of them.
"""
import argparse
import concurrent.futures
import hashlib
import os
import re
import signal
import sys
import tempfile

import nginx
import realprograms

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LIBRARY = os.path.abspath(os.environ.get("LIBSPANGC")
                          or os.path.join(ROOT, "build", "release", "libspangc.so"))
AT_ONCE = 2


class Tap:
    """Numbers the lines, and remembers whether all was well."""

    def __init__(self):
        self.count = 0
        self.is_good = True

    def line(self, is_good, text, why=""):
        self.count += 1
        self.is_good &= is_good
        print("%sok %d - %s" % ("" if is_good else "not ", self.count, text))
        for detail in () if is_good else why.splitlines():
            print("# " + detail)
        sys.stdout.flush()

    def skip(self, text, why):
        self.count += 1
        print("ok %d - %s # SKIP %s" % (self.count, text, why), flush=True)


def outcome(program, inputs, scratch, extra_env):
    """All that may be compared of one run: name of the part -> bytes."""
    run_dir = tempfile.mkdtemp(dir=scratch)
    program.prepare(inputs, run_dir)
    status, out, err = program.run([], inputs, run_dir, extra_env)
    parts = {"exit status": b"%d" % status, "stdout": out, "stderr": err}
    for name in program.outputs:
        path = os.path.join(run_dir, name)
        parts[name] = b"absent"
        if os.path.exists(path):
            with open(path, "rb") as f:
                parts[name] = hashlib.sha256(f.read()).hexdigest().encode()
    for argv in program.checks:
        parts[" ".join(argv)] = b"%d %s%s" % realprograms.run_command(
            argv, run_dir, realprograms.clean_env(run_dir))
    return parts


def difference(name, expected, got):
    """The first line that differs, with its number."""
    expected, got = expected.splitlines(), got.splitlines()
    at = next((i for i, (a, b) in enumerate(zip(expected, got)) if a != b),
              min(len(expected), len(got)))

    def line(lines):
        return lines[at][:200].decode(errors="replace") if at < len(lines) else "(no such line)"
    return "%s, line %d\n  without: %s\n  with:    %s" % (name, at + 1, line(expected), line(got))


def differences(expected, got):
    return "\n".join(difference(name, expected[name], got[name])
                     for name in expected if expected[name] != got[name])


def chosen(wanted):
    """All programs whose name matches."""
    return [p for p in realprograms.PROGRAMS + [nginx.Nginx()] + realprograms.programs_on(ROOT)
            if re.search(wanted, p.name)]


def main(doc, compare):
    """Runs a script: `compare(tap, pool, programs, inputs, scratch)` with those that are installed."""
    parser = argparse.ArgumentParser(usage=doc.split("\n", 1)[0][7:], description=doc,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="REGEX", help="programs whose name matches")
    programs = chosen(parser.parse_args().only)
    for signo in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signo, signal.default_int_handler)
    tap = Tap()
    with tempfile.TemporaryDirectory(prefix="same-") as scratch:
        inputs = os.path.join(scratch, "inputs")
        os.mkdir(inputs)
        realprograms.make_inputs(inputs)
        for program in programs:
            if program.missing():
                tap.skip(program.name, "no " + program.missing())
        programs = [p for p in programs if not p.missing()]
        pool = concurrent.futures.ThreadPoolExecutor(AT_ONCE)
        try:
            compare(tap, pool, programs, inputs, scratch)
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            realprograms.kill_all()
            pool.shutdown()
            return 130
    print("1..%d" % tap.count)
    return 0 if tap.is_good else 1
