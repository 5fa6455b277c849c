"""gc_command.py: `spangc gc`: APP with the library in mode gc, in this very process.

Not gc.py: that is a module of Python's own. The options are the library's settings; a value is
looked at here, before the program runs, by the table that the library has its settings from.
"""
import argparse
import re

import knobs
import program
from program import Refused, parse_command

USAGE = "spangc gc [options] -- APP [ARG ...]"
DESCRIPTION = """\
Runs APP with libspangc.so in mode gc: what nothing points to any more is reclaimed while it runs, and
free() is honoured as before. Nothing need be compiled for that. APP takes this process's place: its
streams, signals and exit status are its own.
"""
MORE = """\
when it is safe: a block is kept as long as some word of memory or a register holds an address within
it, or one past its end. Programs that hide pointers (XORed, compressed, in files or other processes,
at addresses that are no multiple of SPANGC_SCAN_ALIGN) lose blocks. Try `spangc leaks -- APP` first:
what it calls lost is what this reclaims.

a line of --trace, as Go's gctrace:
    gc 7 @1.204s 3%: 0.05+12+0.31 ms clock, 0.1+3/9/0+0.6 ms cpu, 96->101->48 MB, 97 MB goal, 2 P, uffd
  the 7th cycle, 1.204 s after the start; collection took 3 % of the processors so far; first stop +
  marking beside the program + last stop; the same as processor time (of marking: helping threads /
  the collector's / 0); heap in use at the start -> at the last stop -> after the sweep; at which the
  cycle was to be over; processors; how writes were seen during marking

other SPANGC_ variables of the environment hold (spangc help knobs).

exit status: APP's own; 126 APP can't be run with a library (static, setuid), 127 no such program, or no
library; 2 usage.

examples: spangc gc --trace -- ./app ARGS
          spangc gc --percent 50 --control -- ./server
          spangc gc --free ignore -- ./program-that-frees-wrongly
"""
TIME = re.compile(r"0|\d+(ms|s|m)")
SIZE = re.compile(r"\d+[KMG]?")


class Parser(argparse.ArgumentParser):
    def error(self, message):
        raise Refused(2, f"{message} (spangc gc --help)")


def word_of(option, variable, text):
    words = knobs.words(variable)
    if text not in words:
        raise Refused(2, f"{option}: {text!r} is none of {', '.join(words)}")
    return text


def percent_of(option, variable, text):
    _, off, bounds = knobs.words(variable)
    lowest, highest = map(int, bounds.split("-"))
    if text != off and not (re.fullmatch(r"\d{1,9}", text) and lowest <= int(text) <= highest):
        raise Refused(2, f"{option}: {text!r} is neither {off} nor a number in {bounds}")
    return text


def size_of(option, _variable, text):
    if text != "off" and not (SIZE.fullmatch(text) and int(text.rstrip("KMG"))):
        raise Refused(2, f"{option}: {text!r} is no size, such as 512M")
    return text


def time_of(option, _variable, text):
    if not TIME.fullmatch(text):
        raise Refused(2, f"{option}: {text!r} is no time, such as 500ms, 10s or 5m, nor 0")
    return text


def flag_of(_option, _variable, _text):
    return "1"


def switch_of(_option, _variable, _text):
    return "on"


OPTIONS = (             # option, variable, its value from the text, what --help shows
    ("--trace", "SPANGC_GC_TRACE", flag_of, None, "a line for each collection"),
    ("--percent", "SPANGC_GC_PERCENT", percent_of, "N|off",
     "collect when the heap has grown by N percent over what lived (default 100)"),
    ("--limit", "SPANGC_MEMORY_LIMIT", size_of, "SIZE", "collect earlier near this size"),
    ("--period", "SPANGC_GC_PERIOD", time_of, "T", "collect at least this often (default 2m); 0: never"),
    ("--dirty", "SPANGC_GC_DIRTY", word_of, "WAY",
     "how writes during marking are seen: auto (default), uffd, mprotect, snapshot, stw"),
    ("--free", "SPANGC_GC_FREE", word_of, "honor|ignore",
     "ignore: free() does nothing, the collector alone reclaims"),
    ("--stats", "SPANGC_STATS", flag_of, None, "counters on standard error at exit"),
    ("--control", "SPANGC_CONTROL", switch_of, None,
     "let `spangc ctl PID collect`, `trace on` and `stats` ask APP"),
)


def parser():
    p = Parser(prog="spangc gc", usage=USAGE, description=DESCRIPTION, epilog=MORE, allow_abbrev=False,
               formatter_class=argparse.RawDescriptionHelpFormatter)
    for option, _, _, shown, meaning in OPTIONS:
        if shown:
            p.add_argument(option, metavar=shown, help=meaning)
        else:
            p.add_argument(option, action="store_const", const="1", help=meaning)
    p.add_argument("--library", metavar="PATH", help="another libspangc.so")
    p.add_argument("program", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return p


def settings(options):
    changes = {"SPANGC_MODE": "gc"}
    for option, variable, value_of, _, _ in OPTIONS:
        text = getattr(options, option.lstrip("-"))
        if text is not None:
            changes[variable] = value_of(option, variable, text)
    return changes


def main(argv):
    options, words = parse_command(parser(), argv, USAGE)
    changes = settings(options)
    path, env = program.preloaded(words, options.library)
    program.become(path, words, {**env, **changes})
