"""driver.py: what the tests of `spangc rss` share: programs to watch, the command, TAP.

The library is $LIBSPANGC, or libspangc.so of the repository.
"""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
COMMAND = os.path.join(ROOT, "scripts", "spangc")
LIBRARY = os.path.abspath(os.environ.get("LIBSPANGC") or os.path.join(ROOT, "libspangc.so"))
MIB = 1 << 20
KIB = 1 << 10


class Tap:
    """Numbers the lines, and remembers whether all was well."""

    def __init__(self):
        self.count, self.is_good = 0, True

    def check(self, is_good, text, why=""):
        self.count += 1
        self.is_good &= bool(is_good)
        print("%sok %d - %s" % ("" if is_good else "not ", self.count, text))
        if not is_good:
            print("\n".join("# " + line for line in str(why).splitlines()[:60]))
        sys.stdout.flush()

    def near(self, value, wanted, share, text, floor=0):
        """|value - wanted| is at most `share` of wanted, or `floor`."""
        is_near = value is not None and abs(value - wanted) <= max(share * abs(wanted), floor)
        self.check(is_near, text, "%s, wanted %s within %g" % (value, wanted, share))

    def skip(self, text, why):
        self.count += 1
        print("ok %d - %s # SKIP %s" % (self.count, text, why), flush=True)

    def end(self):
        print("1..%d" % self.count)
        return 0 if self.is_good else 1


def compile_c(folder, name, source=None, flags=()):
    """A program of tests/bench or of a text; the compiler may not take malloc for pure."""
    path = os.path.join(ROOT, "tests", "bench", name + ".c")
    if source:
        path = os.path.join(folder, name + ".c")
        with open(path, "w", encoding="ascii") as f:
            f.write(source)
    binary = os.path.join(folder, name)
    subprocess.run(os.environ.get("CC", "cc").split() +
                   ["-std=gnu11", "-O2", "-pthread", "-fno-builtin", *flags, path, "-o", binary],
                   check=True)
    return binary


class Outcome:
    def __init__(self, status, out, err):
        self.status, self.out, self.err = status, out, err

    def lines(self):
        return self.err.splitlines()

    def words(self):
        return "status %s\n%s\n%s" % (self.status, self.out, self.err)


def command(words, env=None, library=True):
    """The argument list of `spangc WORDS`, and its environment."""
    argv = [COMMAND] + list(words[:1]) + (["--library", LIBRARY] if library else []) \
        + list(words[1:])
    return argv, {**os.environ, **(env or {})}


def spangc(*words, env=None, library=True, timeout=100):
    argv, env = command(words, env, library)
    done = subprocess.run(argv, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=timeout, check=False)
    return Outcome(done.returncode, done.stdout, done.stderr)


def rss_json(*words, **options):
    """(parsed JSON or None, outcome) of `spangc rss --json WORDS`."""
    outcome = spangc("rss", "--json", *words, **options)
    try:
        return json.loads(outcome.out), outcome
    except ValueError:
        return None, outcome


def told(outcome):
    """[{field: number, phase: name}] of the lines of tests/bench/phases.c, from stderr."""
    found = []
    for line in outcome.lines():
        if line.startswith("phase="):
            fields = dict(word.split("=") for word in line.split())
            found.append({k: v if k == "phase" else int(v) for k, v in fields.items()})
    return found


def figure(data, setting, name):
    return data["settings"][setting]["summary"][name]["median"]


def samples(data, setting, run=0):
    """Samples as dictionaries."""
    rows = data["settings"][setting]["runs"][run]["samples"]
    return [dict(zip(data["sample_fields"], row)) for row in rows]


def has(program):
    return shutil.which(program) is not None


def pids_naming(text):
    """Processes whose command line has `text`."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            try:
                with open("/proc/%s/cmdline" % name, "rb") as f:
                    words = f.read().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if re.search(text, words):
                found.append(int(name))
    return found


def run_tests(tests):
    """Each test gets the Tap and a folder."""
    tap = Tap()
    with tempfile.TemporaryDirectory(prefix="spangc-test-") as folder:
        for test in tests:
            test(tap, folder)
    return tap.end()
