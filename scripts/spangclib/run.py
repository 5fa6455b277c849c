"""run.py: `spangc run`: APP with the library preloaded, in this very process."""
import argparse

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
    path, env = program.preloaded(words, options.library)
    if options.stats:
        env["SPANGC_STATS"] = "1"
    program.become(path, words, env)
