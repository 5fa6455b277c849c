"""run.py: `spangc run`: APP with the library preloaded, in this very process."""
import argparse
import os
import tempfile

import program
from program import Refused, parse_command

DESCRIPTION = """\
Runs APP with libspangc.so preloaded, and with nothing else changed: the same as
LD_PRELOAD=/path/to/libspangc.so APP, but it says so if APP is one that nothing can be preloaded
into. APP takes this process's place: its streams, signals and exit status are its own.

exit status: APP's; 126 it can't be run with a library (static, setuid), 127 no such program, or no
library; 2 usage."""


class Parser(argparse.ArgumentParser):
    def error(self, message):
        raise Refused(2, f"{message} (spangc run --help)")


def main(argv):
    p = Parser(prog="spangc run", usage="spangc run [--stats] -- APP [ARG ...]", allow_abbrev=False,
               description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--stats", action="store_true", help="counters on standard error at exit")
    p.add_argument("--library", metavar="PATH", help="another libspangc.so")
    p.add_argument("program", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    options, words = parse_command(p, argv, "spangc run [--stats] -- APP [ARG ...]")
    library = program.find_library(options.library)
    path = program.resolve(words[0])
    program.check_preload(path, library)
    # A link for a library whose path the loader would split; it is needed as long as APP runs.
    if program.preloadable_as_is(library):
        preload = library
    else:
        preload = program.preloadable(library, tempfile.mkdtemp(prefix="spangc-"))
    env = program.with_preload(dict(os.environ), preload)
    if options.stats:
        env["SPANGC_STATS"] = "1"
    try:
        os.execve(path, words, env)
    except OSError as failure:
        raise Refused(126, f"{path}: {failure.strerror}") from None
