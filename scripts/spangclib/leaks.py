"""leaks.py: `spangc leaks`: APP with the leak finder, in this very process.

Everything is refused here, in one line, that the library could only complain of later, in the
middle of APP's own output. What this version of the library has no setting for is refused too
(core/knobs.def tells), so that no option is without effect.
"""
import argparse
import errno
import os
import re
import signal
import stat

import knobs
import program
from program import Refused, parse_command

USAGE = "spangc leaks [options] -- APP [ARG ...]"
DESCRIPTION = """\
Runs APP with libspangc.so in mode leaks: when it ends, by itself or by a deadly signal that it does
not handle, every block that nothing points to any more is reported, with the stack that allocated
it. Nothing need be compiled for that. APP takes this process's place: its streams and signals are
its own.
"""
MORE = """\
the report: a block is direct if no lost block points to it, or if it is the head of a lost cycle;
indirect, if only lost blocks lead to it. Blocks of one stack are one entry, the largest first. If
nothing is lost, text says nothing. Processes that APP starts report as well, each its own.

FILE of --output may contain %p (pid), %e (program) and %n (number of the report: each gets a new
file). Without any of these it is made anew, and all reports of the run stand in it, one after the
other: with programs that start others say %p. It has mode 0600 and may not be a symbolic link.

suppressions: lines `leak:PATTERN`, as LeakSanitizer's: PATTERN is looked for in function, file and
module of each frame; * stands for anything, ^ and $ for the ends. # begins a comment.

other SPANGC_ variables of the environment hold (spangc help knobs).

exit status: APP's own; with --error-exitcode N it is N if there are leaks and APP's is 0, and so is
that of each process APP starts (sort and gcc, for two, do lose memory). 126 APP can't be run with a
library (static, setuid), 127 no such program, or no library; 2 usage.

examples: spangc leaks -- ./app ARGS
          spangc leaks --error-exitcode 9 --suppressions known.txt -- ./tests
          spangc leaks --every 1m --output /tmp/leaks.%p.%n --format json -- ./server
"""
REPORT_PATH_LETTERS = "pen%"
TIME = re.compile(r"0|\d+(ms|s|m)")
SIZE = re.compile(r"\d+[KMG]?")
BINARY_FORMATS = ("pprof",)
DEADLY_SIGNALS = (signal.SIGKILL, signal.SIGSTOP, signal.SIGSEGV, signal.SIGBUS, signal.SIGILL,
                  signal.SIGFPE, signal.SIGTRAP, signal.SIGSYS, signal.SIGABRT)


class Parser(argparse.ArgumentParser):
    def error(self, message):
        raise Refused(2, f"{message} (spangc leaks --help)")


def format_words():
    """For the help text, which must come whatever the library knows."""
    try:
        first, *others = knobs.words("SPANGC_REPORT_FORMAT")
    except StopIteration:
        return "text"
    return ", ".join([first + " (default)"] + others)


def parser():
    p = Parser(prog="spangc leaks", usage=USAGE, description=DESCRIPTION, epilog=MORE,
               allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--format", metavar="F", help="of the report: " + format_words())
    p.add_argument("--output", metavar="FILE", help="the report goes there, not to standard error")
    p.add_argument("--suppressions", metavar="FILE", help="leaks not to be reported, only counted")
    p.add_argument("--stacks", metavar="all|SIZE",
                   help="allocation stacks: of every block (default), or a sample every SIZE bytes")
    p.add_argument("--depth", metavar="N", help="frames kept of a stack")
    p.add_argument("--every", metavar="T", help="also a report this often, such as 10s")
    p.add_argument("--signal", metavar="SIG", help="also a report when APP gets this signal")
    p.add_argument("--control", action="store_const", const="on",
                   help="let `spangc ctl PID` ask APP for reports")
    p.add_argument("--error-exitcode", metavar="N", help="exit status if there are leaks")
    p.add_argument("--library", metavar="PATH", help="another libspangc.so")
    p.add_argument("program", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return p


# ---- Options to settings: each returns the variable's value, or refuses

def known_words(option, variable):
    """The words that the library's setting takes."""
    try:
        return knobs.words(variable)
    except StopIteration:
        raise Refused(2, f"{option}: this version has no {variable}") from None


def format_value(text):
    words = known_words("--format", "SPANGC_REPORT_FORMAT")
    if text not in words:
        raise Refused(2, f"--format: no format {text!r} (there are: {', '.join(words)})")
    return text


def stacks_value(text):
    words = known_words("--stacks", "SPANGC_STACKS")
    if text in words:
        return text
    if not SIZE.fullmatch(text) or not int(text.rstrip("KMG")):
        raise Refused(2, f"--stacks: {text!r} is neither of {', '.join(words)} nor a size, "
                         "such as 512K")
    if not re.search(r"^SPANGC_STACKS .*or a size", knobs.as_text(), re.M):
        raise Refused(2, f"--stacks {text}: this version takes no samples "
                         f"(there are: {', '.join(words)})")
    return text


def every_value(text):
    known_words("--every", "SPANGC_REPORT_EVERY")
    if not TIME.fullmatch(text) or not int(text.rstrip("ms")):
        raise Refused(2, f"--every: {text!r} is no time, such as 500ms, 10s or 5m")
    return text


def exitcode_value(text):
    if not re.fullmatch(r"\d{1,3}", text) or int(text) > 255:
        raise Refused(2, f"--error-exitcode: {text!r} is no exit status: 0 to 255")
    return str(int(text))


def depth_value(text):
    lowest, highest = map(int, knobs.words("SPANGC_STACK_DEPTH")[1].split("-"))
    if not re.fullmatch(r"\d{1,6}", text) or not lowest <= int(text) <= highest:
        raise Refused(2, f"--depth: {text!r} is no number of frames: {lowest} to {highest}")
    return str(int(text))


def signal_value(text):
    """A name with or without SIG, or a number, of a signal that APP could live with."""
    known_words("--signal", "SPANGC_REPORT_SIGNAL")
    name = text.upper() if text.upper().startswith("SIG") else "SIG" + text.upper()
    try:
        number = int(text) if text.isdecimal() else signal.Signals[name].value
    except KeyError:
        raise Refused(2, f"--signal: no signal {text!r}, such as USR2") from None
    if number in DEADLY_SIGNALS or number not in signal.valid_signals():
        raise Refused(2, f"--signal: {text!r} can't ask for a report, as USR2 could")
    return str(number)


def control_value(text):
    known_words("--control", "SPANGC_CONTROL")
    return text


def suppressions_value(path):
    """An absolute path: APP may change its folder before the report."""
    try:
        with open(path, encoding="utf-8", errors="replace") as f:
            lines = f.read().splitlines()
    except OSError as failure:
        raise Refused(2, f"--suppressions {path}: {failure.strerror}") from None
    for number, line in enumerate(map(str.strip, lines), 1):
        if line and not line.startswith("#") and not re.fullmatch(r"leak:.+", line):
            raise Refused(2, f"--suppressions {path}: line {number} is not leak:PATTERN: {line}")
    return os.path.abspath(path)


def output_value(path):
    """The library's own rules (core/report_file.h), told before the program has run for an hour."""
    if not path:
        raise Refused(2, "--output: no file is named")
    for match in re.finditer(r"%(.?)", path):
        if not match.group(1) or match.group(1) not in REPORT_PATH_LETTERS:
            raise Refused(2, f"--output {path}: {match.group(0)} is none of %p %e %n %%")
    full = os.path.abspath(path)
    if re.search("%[pen]", path):
        check_folder(path, os.path.dirname(full))
    else:
        make_empty(path, full.replace("%%", "%"))
    return full


def check_folder(path, folder):
    if not os.path.isdir(folder):
        raise Refused(2, f"--output {path}: no folder {folder}")
    if "%" not in folder and not os.access(folder, os.W_OK | os.X_OK):
        raise Refused(2, f"--output {path}: the folder is not writable")


def make_empty(path, full):
    """A device or FIFO is taken as it is."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        fd = os.open(full, flags, 0o600)
    except OSError as failure:
        why = {errno.ELOOP: "is a symbolic link",
               errno.ENXIO: "a FIFO that nobody reads"}.get(failure.errno, failure.strerror)
        raise Refused(2, f"--output {path}: {why}") from None
    try:
        found = os.fstat(fd)
        if stat.S_ISREG(found.st_mode):
            if found.st_uid != os.geteuid():
                raise Refused(2, f"--output {path}: is another user's file")
            os.ftruncate(fd, 0)
            os.fchmod(fd, 0o600)
    finally:
        os.close(fd)


VALUES = {                              # option: (variable, from its text to the variable's value)
    "format": ("SPANGC_REPORT_FORMAT", format_value),
    "suppressions": ("SPANGC_SUPPRESSIONS", suppressions_value),
    "stacks": ("SPANGC_STACKS", stacks_value),
    "depth": ("SPANGC_STACK_DEPTH", depth_value),
    "every": ("SPANGC_REPORT_EVERY", every_value),
    "signal": ("SPANGC_REPORT_SIGNAL", signal_value),
    "control": ("SPANGC_CONTROL", control_value),
    "error_exitcode": ("SPANGC_EXITCODE", exitcode_value),
    "output": ("SPANGC_REPORT", output_value),          # last: it makes a file
}


def settings(options):
    known_words("spangc leaks", "SPANGC_REPORT_FORMAT")
    if options.format in BINARY_FORMATS and not options.output:
        raise Refused(2, f"--format {options.format} is not for a terminal: --output FILE is wanted")
    changes = {"SPANGC_MODE": "leaks"}
    for option, (variable, value_of) in VALUES.items():
        text = getattr(options, option)
        if text is not None:
            known_words("--" + option.replace("_", "-"), variable)
            changes[variable] = value_of(text)
    return changes


def main(argv):
    options, words = parse_command(parser(), argv, USAGE)
    path, env = program.preloaded(words, options.library)
    program.become(path, words, {**env, **settings(options)})
