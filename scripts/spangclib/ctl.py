"""ctl.py: `spangc ctl`: asks a running process for reports or to collect, through SPANGC_CONTROL's socket.

An answer ends with a zero byte and a line that says how it went (preload/control.c): what comes
without it is a part of one, and is not shown. The socket is looked for in the process's own view of
the file system, so that a process in a container or with a /tmp of its own is found, and its
owner is checked to be that very process: names of dead ones are used again.
"""
import argparse
import errno
import os
import re
import socket
import struct
import sys
import tempfile
import time
from pathlib import Path

import knobs
from program import LIBRARY, Refused, note

USAGE = "spangc ctl [options] PID REQUEST [ARGUMENT]"
DESCRIPTION = """\
Asks a process for a report while it runs, or to collect. It was started with libspangc.so in mode leaks
or gc and with SPANGC_CONTROL=on (or the path of a socket), for example:
    spangc leaks --control -- APP
    spangc gc --control -- APP
For a report it stands still for about a millisecond per 64 MiB; a copy of it does the work.
"""
MORE = """\
requests in mode leaks:
  leaks             what nothing points to any more, as at the end of the process
  diff              which stacks' memory grew since the last diff
  profile           what is reachable, by stack
  why ADDRESS|STACK what points to a block: a path from a root to it
requests in mode gc:
  collect           a full collection; answers when it is over, with what was reclaimed
  trace on|off      a line for each collection, on the standard error of the process
in both:
  stats             the allocator's counters, and the collector's

exit status: 0 answered; 1 the process can't be asked: it is not there, another user's, runs without
the library or without SPANGC_CONTROL; 2 usage; 3 it refused, or could not write the report; 4 no
answer in time, or only a part of one.
"""
REQUESTS = {"leaks": 0, "diff": 0, "profile": 0, "why": 1, "stats": 0, "collect": 0, "trace": 1}
WITH_FORMAT = ("leaks", "diff", "profile", "why")
CANT_ASK, USAGE_ERROR, REFUSED, NO_ANSWER = 1, 2, 3, 4
PATH_MAX = 107                          # of an address of a socket
REQUEST_MAX = 255
LINE_MAX = 300                          # the answer's last one


class Parser(argparse.ArgumentParser):
    def error(self, message):
        raise Refused(USAGE_ERROR, f"{message} (spangc ctl --help)")


def seconds(text):
    if not re.fullmatch(r"\d+(\.\d+)?", text) or not float(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")
    return float(text)


def parse(argv):
    p = Parser(prog="spangc ctl", usage=USAGE, description=DESCRIPTION, epilog=MORE,
               allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--format", metavar="F", help="of a report: text, json, folded, pprof; default: as "
                                                 "SPANGC_REPORT_FORMAT of the process says")
    p.add_argument("--output", metavar="FILE", help="the answer goes there; all of it, or nothing")
    p.add_argument("--socket", metavar="PATH", help="where the process listens, if it is not found")
    p.add_argument("--timeout", metavar="SECONDS", type=seconds, default=120,
                   help="of silence, after which we give up (default 120)")
    p.add_argument("pid", metavar="PID", help=argparse.SUPPRESS)
    p.add_argument("request", metavar="REQUEST", help=argparse.SUPPRESS)
    p.add_argument("argument", metavar="ARGUMENT", nargs="*", default=[],
                   help=argparse.SUPPRESS)
    return check(p.parse_args(argv))


def check(options):
    if not re.fullmatch(r"[1-9]\d{0,9}", options.pid):
        raise Refused(USAGE_ERROR, f"{options.pid!r} is no process id")
    options.pid = int(options.pid)
    if options.request not in REQUESTS:
        raise Refused(USAGE_ERROR, f"no request {options.request!r} "
                                   f"(there are: {', '.join(REQUESTS)})")
    if bool(options.argument) != bool(REQUESTS[options.request]):
        raise Refused(USAGE_ERROR, f"{options.request} takes "
                      + ("an argument" if REQUESTS[options.request] else "no argument"))
    if options.request == "trace" and options.argument not in (["on"], ["off"]):
        raise Refused(USAGE_ERROR, "trace on, or trace off")
    if options.format and options.request not in WITH_FORMAT:
        raise Refused(USAGE_ERROR, f"--format is for {', '.join(WITH_FORMAT)}")
    formats = ("text", "json") if options.request == "why" else knobs.words("SPANGC_REPORT_FORMAT")
    if options.format and options.format not in formats:
        raise Refused(USAGE_ERROR, f"no format {options.format!r} (there are: {', '.join(formats)})")
    if options.request == "why" and re.fullmatch("[0-9a-f]{6,}", options.argument[0]):
        note(f"{options.argument[0]} is looked for in names of functions; an address begins with 0x")
    return options


# ---- Where the process listens

def process_file(pid, name):
    """Its bytes; the process must be there and ours."""
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        raise Refused(CANT_ASK, f"no process {pid}") from None
    except PermissionError:
        if os.geteuid():
            raise Refused(CANT_ASK, f"process {pid} is another user's") from None
        raise Refused(CANT_ASK, f"process {pid}: /proc/{pid}/{name} can't be read") from None


def field(status, name):
    found = re.search(rf"^{name}:\s*(.*)$", status, re.M)
    return found.group(1).split() if found else []


def names(pid):
    """Paths at which it may listen, in its own view; and whether a variable asks it to."""
    status = process_file(pid, "status").decode(errors="replace")
    own_pid = (field(status, "NSpid") or [str(pid)])[-1]
    uids = field(status, "Uid") or ["0"]
    variables = [v for v in process_file(pid, "environ").split(b"\0")
                 if v.startswith(b"SPANGC_CONTROL=")]
    value = os.fsdecode(variables[0].split(b"=", 1)[1]) if variables else ""
    paths = []
    if value.startswith("/"):
        program = os.path.basename(os.readlink(f"/proc/{pid}/exe")).removesuffix(" (deleted)")
        fields = {"%p": own_pid, "%e": program, "%%": "%"}
        paths.append(re.sub("%[pe%]", lambda m: fields[m.group()], value))
        paths.append(paths[0] + "." + own_pid)          # of a forked child
    paths += [f"/tmp/spangc-{uid}/{own_pid}" for uid in dict.fromkeys([uids[1], *uids])]
    return paths, bool(value) and value != "off"


def connect(path, timeout):
    """A socket; OSError."""
    s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    folder = None
    try:
        s.settimeout(timeout)
        if len(os.fsencode(path)) > PATH_MAX:
            folder = os.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY)
            path = f"/proc/self/fd/{folder}/{os.path.basename(path)}"
        s.connect(path)
    except OSError:
        s.close()
        raise
    finally:
        if folder is not None:
            os.close(folder)
    return s


def peer_pid(s):
    return struct.unpack("3i", s.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]


def has_library(pid):
    return os.fsencode(LIBRARY) in process_file(pid, "maps")


def why_not(pid, is_asked, failures):
    if b"\nState:\tZ" in process_file(pid, "status"):
        return f"process {pid} has ended"
    if not has_library(pid):
        return f"process {pid} runs without {LIBRARY}"
    if not is_asked:
        return f"process {pid} was started without SPANGC_CONTROL=on"
    # Refused: the file was left by a process that was killed.
    for path, failure in failures:
        if failure.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ECONNREFUSED):
            return f"process {pid}: {path}: {failure.strerror}"
    return f"process {pid} does not listen at {failures[0][0]} (is it in mode leaks or gc?)"


def find(pid, given, timeout):
    """A connection to that very process."""
    process_file(pid, "status")
    paths, is_asked = ([given], True) if given else names(pid)
    failures = []
    for path in paths:
        for view in ([path] if given else [f"/proc/{pid}/root{path}", path]):
            try:
                s = connect(view, timeout)
            except TimeoutError:
                raise Refused(NO_ANSWER, f"process {pid} is busy: {path}: no answer in "
                                         f"{timeout:g} s") from None
            except OSError as failure:
                failures.append((path, failure))
                continue
            if peer_pid(s) == pid:
                return s
            s.close()
            failures.append((path, OSError(errno.EBUSY, "belongs to another process")))
    raise Refused(CANT_ASK, why_not(pid, is_asked, failures))


# ---- Question and answer

def question(options):
    words = [options.request, *options.argument]
    if options.format and options.request == "why":
        words[0] += ":" + options.format
    elif options.format:
        words.append(options.format)
    line = " ".join(words).encode(errors="surrogateescape")
    if len(line) > REQUEST_MAX - 1 or b"\n" in line:
        raise Refused(USAGE_ERROR, "the request is too long, or has several lines")
    return line + b"\n"


def ask(s, line, timeout, pid):
    """The answer's body and its last line. None: the connection was cut before anything came."""
    got = bytearray()
    try:
        s.sendall(line)
        while True:
            more = s.recv(1 << 16)
            if not more:
                break
            got += more
    except TimeoutError:
        raise Refused(NO_ANSWER, f"process {pid}: no answer in {timeout:g} s") from None
    except OSError as failure:
        if not got and failure.errno in (errno.EPIPE, errno.ECONNRESET):
            return None
        raise Refused(NO_ANSWER, f"process {pid}: {failure.strerror}") from None
    at = got.rfind(b"\0")
    last = got[at + 1:]
    if at < 0 or not last.endswith(b"\n") or len(last) > LINE_MAX:
        raise Refused(NO_ANSWER, f"process {pid}: the answer is not whole")
    return bytes(got[:at]), last.decode(errors="replace").rstrip("\n")


def write_file(path, body):
    """Whole, or not at all; never through a link. A device is written as it is."""
    full = os.path.abspath(path)
    try:
        if os.path.lexists(full) and not os.path.islink(full) and not os.path.isfile(full):
            Path(full).write_bytes(body)
            return
        fd, new = tempfile.mkstemp(prefix=".spangc-", dir=os.path.dirname(full))
        try:
            with os.fdopen(fd, "wb") as f:
                f.write(body)
            os.replace(new, full)
        except BaseException:
            os.unlink(new)
            raise
    except OSError as failure:
        raise Refused(USAGE_ERROR, f"--output {path}: {failure.strerror}") from None


def main(argv):
    options = parse(argv)
    line = question(options)
    # A program that closed all descriptors closed the socket, too: the process makes another one.
    for pause in (0.3, 1.5, None):
        with find(options.pid, options.socket, options.timeout) as s:
            answer = ask(s, line, options.timeout, options.pid)
        if answer:
            break
        if pause is None:
            raise Refused(NO_ANSWER, f"process {options.pid} closed the connection")
        time.sleep(pause)
    body, end = answer
    if end != "ok":
        raise Refused(REFUSED, f"process {options.pid}: {end}")
    if options.output:
        write_file(options.output, body)
        return 0
    if body.startswith(b"\x1f\x8b") and sys.stdout.isatty():
        raise Refused(USAGE_ERROR, "the answer is not for a terminal: --output FILE")
    try:
        sys.stdout.buffer.write(body)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as failure:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)    # what is left in the buffer goes there
        raise Refused(USAGE_ERROR, f"standard output: {failure.strerror}") from None
    return 0
