"""corpus.py: the programs of this folder whose leaks are known, and who reports what of them.

Reached from the tests here and from scripts/leaks-verdicts. Reads what each program's head
promises (corpus.h tells the lines), builds the programs, runs one under a tool, reads the tool's
report and says in words how it differs from the promise.
"""
import collections
import concurrent.futures
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
import xml.etree.ElementTree
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parent.parent
COMMON = ["-D_GNU_SOURCE", "-g", "-pthread", "-I" + str(ROOT), "-Wall", "-Wextra", "-Werror",
          "-fno-builtin", "-fno-optimize-sibling-calls"]       # the caller is in the stack
LANGUAGES = {".c": ("CC", "cc", ["-std=gnu11"]), ".cc": ("CXX", "c++", ["-std=gnu++17"])}
BUILDS = {"O0": ["-O0"], "O2": ["-O2"], "stripped": ["-O2", "-s"],
          "static": ["-O2", "-static-pie"]}
DYNAMIC = ("O0", "O2", "stripped")
KINDS = ("direct", "indirect")
TIMEOUT_SECONDS = 60

# An entry of a report, expected (function: one name) or seen (functions: the frames of its stack).
Expected = collections.namedtuple("Expected", "kind nbytes nblocks function")
Entry = collections.namedtuple("Entry", "kind nbytes nblocks functions")
# One run. status: exit status, minus a signal, None: timed out. reports: {is_child: [Report]}
Ended = collections.namedtuple("Ended", "status stdout stderr main children")


class Malformed(Exception):
    """A head or a report that is not as it should be, in one line."""


# ---- What the heads promise

def expected_of(text, where):
    if text == "none":
        return []
    found = []
    for part in text.split(";"):
        match = re.fullmatch(r"\s*(direct|indirect) (\d+)/(\d+) (\w+)\s*", part)
        if not match:
            raise Malformed(f"{where}: not KIND BYTES/BLOCKS FUNCTION: {part}")
        kind, nbytes, nblocks, function = match.groups()
        found.append(Expected(kind, int(nbytes), int(nblocks), function))
    return found


class Case:
    """One program."""

    def __init__(self, source):
        self.source, self.name = source, source.stem
        head = source.read_text(encoding="utf-8").split("*/", 1)[0]
        lines = re.findall(r"^ \* (\w+): +(.*?) *$", head, re.M)
        keys = dict(lines)
        unknown = set(keys) - {"leaks", "child", "status", "static"}
        if unknown or len(keys) != len(lines) or "leaks" not in keys:
            raise Malformed(f"{source.name}: its head must have `leaks:`, and each line once; "
                            f"unknown: {' '.join(sorted(unknown)) or 'none'}")
        self.expected = expected_of(keys["leaks"], source.name)
        self.child = expected_of(keys["child"], source.name) if "child" in keys else None
        status = keys.get("status", "0")
        self.status = -getattr(signal, status) if status.startswith("SIG") else int(status)
        self.is_static = keys.get("static") != "no"
        library = source.with_name(f"lib{source.stem}.c")
        self.library = library if library.exists() else None

    def builds(self):
        return [b for b in BUILDS if b != "static" or self.is_static]


def cases(patterns=()):
    found = [Case(path) for path in sorted(FOLDER.glob("*.c*"))
             if path.suffix in LANGUAGES and not path.name.startswith("lib")]
    return [c for c in found if not patterns or any(re.search(p, c.name) for p in patterns)]


# ---- Building

def binary(folder, case, build):
    return Path(folder) / build / case.name


def is_newer(target, sources):
    return target.exists() and all(target.stat().st_mtime > s.stat().st_mtime for s in sources)


def compile_one(target, source, flags):
    if is_newer(target, (source, FOLDER / "corpus.h", Path(__file__))):
        return ""
    target.parent.mkdir(parents=True, exist_ok=True)
    variable, otherwise, standard = LANGUAGES[source.suffix]
    argv = shlex.split(os.environ.get(variable) or otherwise) + standard + COMMON + flags
    done = subprocess.run(argv + [str(source), "-o", str(target), "-Wl,-rpath,$ORIGIN"],
                          capture_output=True, text=True, check=False)
    return done.stdout + done.stderr if done.returncode else ""


def build_one(folder, case, build):
    target = binary(folder, case, build)
    problem = compile_one(target, case.source, BUILDS[build])
    if case.library and build != "static":
        library = target.with_name(case.library.stem + ".so")
        problem += compile_one(library, case.library, BUILDS[build] + ["-fPIC", "-shared"])
    return problem


def build_all(folder, chosen, builds, jobs=2):
    """Builds them; {(name, build): what the compiler said} of those that failed."""
    wanted = [(c, b) for c in chosen for b in c.builds() if b in builds]
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        said = pool.map(lambda w: build_one(folder, *w), wanted)
        return {(c.name, b): text for (c, b), text in zip(wanted, said) if text}


# ---- Reports

class Report:
    """Entries, and their sums. possible: what Valgrind only thinks lost, (bytes, blocks)."""

    def __init__(self, entries, possible=(0, 0)):
        self.entries, self.possible = entries, possible

    def total(self, kind):
        mine = [e for e in self.entries if e.kind == kind]
        return sum(e.nbytes for e in mine), sum(e.nblocks for e in mine)


def totals(expected):
    return Report([Entry(e.kind, e.nbytes, e.nblocks, [e.function]) for e in expected])


SUMMARY_KEYS = ["direct_bytes", "direct_blocks", "indirect_bytes", "indirect_blocks",
                "suppressed_bytes", "suppressed_blocks", "reachable_bytes", "reachable_blocks"]
REPORT_KEYS = {"tool", "version", "pid", "program", "when", "seconds", "summary", "leaks"}
LEAK_KEYS = {"kind", "bytes", "blocks", "indirect_bytes", "stack"}
FRAME_KEYS = {"pc", "function", "file", "line", "module", "offset"}


def require(is_good, text):
    if not is_good:
        raise Malformed(text)


def require_order(entries):
    sizes = [e.nbytes for e in entries]
    require(sizes == sorted(sizes, reverse=True), f"entries do not go by bytes: {sizes}")


def read_json(text):
    """The library's json: every field of it is there, and its sums are the sums."""
    try:
        data = json.loads(text)
    except ValueError as failure:
        raise Malformed(f"not JSON: {failure}") from None
    require(isinstance(data, dict) and REPORT_KEYS <= set(data),
            f"json lacks {sorted(REPORT_KEYS - set(data))}")
    require(data["tool"] == "spangc" and data["when"] in ("exit", "signal", "demand", "period"),
            f"tool {data['tool']}, when {data['when']}")
    require(set(SUMMARY_KEYS) <= set(data["summary"])
            and all(isinstance(data["summary"][k], int) for k in SUMMARY_KEYS),
            f"summary is {data['summary']}")
    entries = []
    for leak in data["leaks"]:
        require(LEAK_KEYS <= set(leak) and leak["kind"] in KINDS, f"leak has {sorted(leak)}")
        for frame in leak["stack"]:
            require(FRAME_KEYS <= set(frame), f"frame has {sorted(frame)}")
        entries.append(Entry(leak["kind"], leak["bytes"], leak["blocks"],
                             [f["function"] or "" for f in leak["stack"]]))
    require_order(entries)
    report = Report(entries)
    for kind in KINDS:
        said = data["summary"][f"{kind}_bytes"], data["summary"][f"{kind}_blocks"]
        require(said == report.total(kind),
                f"summary: {kind} {said}, its entries: {report.total(kind)}")
    return report


ENTRY_LINE = re.compile(r"(Direct|Indirect) leak of (\d+) byte\(s\) in (\d+) object\(s\) "
                        r"allocated from:$")
FRAME_LINE = re.compile(r" +#\d+ 0x[0-9a-f]+ +(?:in (.*))?")
SUMMARY_LINE = re.compile(r"SUMMARY: \w+: (\d+) byte\(s\) leaked in (\d+) allocation\(s\)\.$")


def read_text(text):
    """LeakSanitizer's form, which is the library's as well. Nothing at all: no leak."""
    entries, summary = [], None
    for line in text.splitlines():
        match = ENTRY_LINE.match(line)
        if match:
            kind, nbytes, nblocks = match.groups()
            entries.append(Entry(kind.lower(), int(nbytes), int(nblocks), []))
        match = FRAME_LINE.match(line)
        if match and entries:
            entries[-1].functions.append(re.split(r" [/(]", match.group(1) or "")[0])
        match = SUMMARY_LINE.match(line)
        if match:
            summary = tuple(map(int, match.groups()))
    sums = sum(e.nbytes for e in entries), sum(e.nblocks for e in entries)
    require(not entries or summary is not None, "no SUMMARY line")
    require(summary is None or summary == sums, f"SUMMARY says {summary}, its entries {sums}")
    return Report(entries)


def read_valgrind(text):
    """--xml=yes. Cut short by a signal it lacks its end."""
    if "</valgrindoutput>" not in text:
        text += "</valgrindoutput>"
    try:
        root = xml.etree.ElementTree.fromstring(text)
    except xml.etree.ElementTree.ParseError as failure:
        raise Malformed(f"not XML: {failure}") from None
    entries, possible = [], [0, 0]
    for error in root.iter("error"):
        kind, what = error.findtext("kind"), error.find("xwhat")
        if what is None or not kind.startswith("Leak_"):
            continue
        # "4,800 (48 direct, 4,752 indirect) bytes": leakedbytes is the sum.
        direct = re.search(r"\(([\d,]+) direct, ", what.findtext("text"))
        nbytes = direct.group(1).replace(",", "") if direct else what.findtext("leakedbytes")
        figures = int(nbytes), int(what.findtext("leakedblocks"))
        names = [f.findtext("fn") or "" for f in error.iter("frame")]
        if kind == "Leak_PossiblyLost":
            possible = [a + b for a, b in zip(possible, figures)]
        elif kind in ("Leak_DefinitelyLost", "Leak_IndirectlyLost"):
            entries.append(Entry("direct" if "Definitely" in kind else "indirect", *figures, names))
    return Report(entries, tuple(possible))


# ---- Comparing

def figure(pair):
    return "%d/%d" % pair


def differences(expected, report, has_names):
    """What is not as the head says, a line each. has_names: the functions are known, and each
    entry belongs to the innermost of the expected ones in its stack."""
    found = []
    for kind in KINDS:
        wanted, got = totals(expected).total(kind), report.total(kind)
        if wanted != got:
            found.append(f"{kind}: {figure(got)}, expected {figure(wanted)}")
    if not has_names:
        return found
    sums = collections.Counter()
    names = {e.function for e in expected}
    for entry in report.entries:
        innermost = next((word for f in entry.functions
                          for word in re.findall(r"\w+", f) if word in names), None)
        if innermost is None:
            found.append(f"{entry.kind} {entry.nbytes}/{entry.nblocks} of none of the expected "
                         f"functions: {' < '.join(entry.functions[:8])}")
        sums[entry.kind, innermost, "bytes"] += entry.nbytes
        sums[entry.kind, innermost, "blocks"] += entry.nblocks
    for e in expected:
        got = sums[e.kind, e.function, "bytes"], sums[e.kind, e.function, "blocks"]
        if got != (e.nbytes, e.nblocks):
            found.append(f"{e.kind} of {e.function}: {figure(got)}, "
                         f"expected {e.nbytes}/{e.nblocks}")
    return found


def in_words(report):
    if report is None:
        return "no report"
    parts = [f"{kind} {figure(report.total(kind))}" for kind in KINDS if report.total(kind)[1]]
    if report.possible[1]:
        parts.append(f"possibly {figure(report.possible)}")
    return ", ".join(parts) or "nothing"


def end_in_words(status):
    if status is None:
        return "timed out"
    if status < 0:
        return signal.Signals(-status).name
    return f"status {status}"


def verdict_of_one(expected, report):
    """`exact`, or what is wrong."""
    if report is None:
        return "missed" if expected else "no report"
    if not differences(expected, report, False) and not report.possible[1]:
        return "exact"
    if not expected:
        return "false: " + in_words(report)
    if not report.entries and not report.possible[1]:
        return "missed"
    return in_words(report)


def verdict(case, ended):
    """In words, of one run: `exact`, or what was wrong about it."""
    if ended.status != case.status:
        return end_in_words(ended.status)
    found = verdict_of_one(case.expected, ended.main)
    if case.child is not None:
        children = [verdict_of_one(case.child, r) for r in ended.children] or \
            [verdict_of_one(case.child, None)]
        if set(children) != {"exact"}:
            found += "; child: " + "; ".join(sorted(set(children)))
    return found


# ---- Tools

class Tool:
    """argv and environment around a program, and how its reports are found and read. silence: what
    a run without a report means."""
    name = ""
    pattern = r"(\d+)-\d+"
    silence = None

    def missing(self):
        """What it needs and is not here, or None."""
        return None

    def argv(self, argv, folder):
        return argv

    def env(self, folder):
        return {}

    def read(self, text):
        raise NotImplementedError

    def status(self, status):
        """The program's own."""
        return status


class Spangc(Tool):
    name = "spangc"

    def __init__(self, library, form="json"):
        self.library, self.form = str(library), form
        self.read = {"json": read_json, "text": read_text}[form]
        self.silence = Report([]) if form == "text" else None

    def missing(self):
        return None if os.path.exists(self.library) else self.library

    def env(self, folder):
        return {"LD_PRELOAD": self.library, "SPANGC_MODE": "leaks",
                "SPANGC_REPORT_FORMAT": self.form,
                "SPANGC_REPORT": folder.replace("%", "%%") + "/%p-%n"}


class Valgrind(Tool):
    name = "Valgrind"
    pattern = r"(\d+)"

    def __init__(self):
        self.read = read_valgrind

    def missing(self):
        return None if shutil.which("valgrind") else "valgrind"

    def argv(self, argv, folder):
        return ["valgrind", "-q", "--leak-check=full", "--show-leak-kinds=all",
                "--leak-resolution=high", "--xml=yes", f"--xml-file={folder}/%p"] + argv


class LeakSanitizer(Tool):
    """Preloaded. It says nothing where it finds nothing."""
    name = "LeakSanitizer"
    pattern = r"log\.(\d+)"
    found_status = 23
    silence = Report([])

    def __init__(self):
        self.read = read_text
        self.library = self.find()

    @staticmethod
    def find():
        cc = shlex.split(os.environ.get("CC") or "cc")
        try:
            done = subprocess.run(cc + ["-print-file-name=liblsan.so"], capture_output=True,
                                  text=True, check=False)
        except OSError:
            return None
        path = os.path.realpath(done.stdout.strip())
        return path if os.path.isabs(path) and os.path.exists(path) else None

    def missing(self):
        return None if self.library else "liblsan.so (a part of gcc)"

    def env(self, folder):
        return {"LD_PRELOAD": self.library,
                "LSAN_OPTIONS": f"log_path={folder}/log:exitcode={self.found_status}"}

    def status(self, status):
        return 0 if status == self.found_status else status


def wait(child, timeout):
    """Its status, or None after the time-out; nothing of its session is left."""
    try:
        child.wait(timeout)
        in_time = True
    except subprocess.TimeoutExpired:
        in_time = False
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    child.wait()
    return child.returncode if in_time else None


def read_reports(tool, folder, pid):
    """([reports of the program], [of its children])"""
    mine, others = [], []
    for name in sorted(os.listdir(folder)):
        match = re.fullmatch(tool.pattern, name)
        if match:
            text = (Path(folder) / name).read_text(encoding="utf-8", errors="replace")
            (mine if int(match.group(1)) == pid else others).append(tool.read(text))
    return mine, others


def run(tool, argv, has_child=False, timeout=TIMEOUT_SECONDS):
    """Runs argv under the tool. Malformed: a report that can't be read."""
    with tempfile.TemporaryDirectory(prefix="spangc-corpus-") as folder:
        env = {k: v for k, v in os.environ.items()
               if not k.startswith("SPANGC_") and k not in ("LD_PRELOAD", "LSAN_OPTIONS")}
        files = [os.path.join(folder, "out"), os.path.join(folder, "err")]
        with open(files[0], "wb") as out, open(files[1], "wb") as err:
            child = subprocess.Popen(tool.argv(argv, folder), env={**env, **tool.env(folder)},
                                     cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                                     start_new_session=True)
            status = wait(child, timeout)
        texts = [Path(f).read_text(errors="replace") for f in files]
        for f in files:
            os.unlink(f)
        mine, others = read_reports(tool, folder, child.pid)
    if len(mine) > 1:
        raise Malformed(f"{len(mine)} reports of one process")
    if has_child and not others and tool.silence:
        others = [tool.silence]
    return Ended(tool.status(status) if status is not None else None, *texts,
                 mine[0] if mine else tool.silence, others)
