"""program.py: which program is meant, whether a library can be preloaded into it, and which
library.

Reached from every sub-command that starts a program. Raises Refused with one line and the status
a shell would give: 127 for what is not there, 126 for what can't be run this way.
"""
import errno
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

from elf import Elf, NotElf

LIBRARY = "libspangc.so"
HERE = Path(__file__).resolve().parent
SCRIPT_DEPTH = 4                # as the kernel: a script's interpreter may be a script
PEERS = {                       # name: file names to look for, best first
    "jemalloc": ("libjemalloc.so.2",),
    "mimalloc": ("libmimalloc.so.2.0", "libmimalloc.so.2", "libmimalloc.so.3"),
    "tcmalloc": ("libtcmalloc_minimal.so.4", "libtcmalloc.so.4"),
}
LIBRARY_FOLDERS = ("/usr/local/lib", "/usr/lib64", "/usr/lib", "/lib")


class Refused(Exception):
    """One line for the user, and the exit status."""

    def __init__(self, status, text):
        super().__init__(text)
        self.status, self.text = status, text


def parse_command(parser, argv, usage):
    """(options, APP's words) of `[options] -- APP [ARG ...]`; the -- may be missing."""
    at = argv.index("--") if "--" in argv else len(argv)
    options = parser.parse_args(argv[:at])
    words = options.program + (argv[at + 1:] if not options.program else argv[at:])
    if not words:
        raise Refused(2, "no program given: " + usage)
    return options, words


def find_library(given=None):
    """Full path of libspangc.so: the given one, or the one beside scripts/: the repository's, or
    a link to where `make install` put it."""
    place = Path(given) if given else HERE.parent.parent / LIBRARY
    if not place.is_file():
        raise Refused(127, f"no library at {place}{'' if given else ' (make builds it)'}")
    try:
        Elf(place)
    except (NotElf, OSError):
        raise Refused(127, f"{place}: not a shared library") from None
    return str(place.resolve())


def find_peer(name):
    """Path of a library of another allocator by its name or path; None for glibc's own."""
    if name == "glibc":
        return None
    if "/" in name or name.endswith(".so"):
        if not os.path.isfile(name):
            raise Refused(127, f"{name}: no such library")
        return os.path.abspath(name)
    if name not in PEERS:
        raise Refused(2, f"--compare {name}: no such allocator: a path, or one of "
                         f"{', '.join(sorted(PEERS))}, glibc")
    folders = [os.path.join(f, *more) for f in LIBRARY_FOLDERS
               for more in ((), (os.uname().machine + "-linux-gnu",))]
    for file in PEERS[name]:
        for folder in folders:
            if os.path.exists(os.path.join(folder, file)):
                return os.path.join(folder, file)
        cached = loader_cache().get(file)
        if cached:
            return cached
    raise Refused(127, f"--compare {name}: no {PEERS[name][0]} here")


def loader_cache():
    """File name -> path, from ldconfig -p; empty where there is no ldconfig."""
    ldconfig = shutil.which("ldconfig", path=os.environ.get("PATH", "") + ":/sbin:/usr/sbin")
    if not ldconfig:
        return {}
    text = subprocess.run([ldconfig, "-p"], capture_output=True, text=True, check=False).stdout
    lines = (line.split() for line in text.splitlines() if " => " in line)
    return {words[0]: words[-1] for words in lines}


def resolve(name):
    """The path that execvp would take."""
    if "/" in name:
        if not os.path.exists(name):
            raise Refused(127, f"{name}: no such program")
        path = name
    else:
        path = shutil.which(name)
        if not path:
            raise Refused(127, f"{name}: no such program in PATH")
    if os.path.isdir(path):
        raise Refused(126, f"{path}: is a directory")
    if not os.access(path, os.X_OK):
        raise Refused(126, f"{path}: not executable")
    return path


def interpreter(path):
    """The words after #! of a script; none if it is not a script."""
    with open(path, "rb") as f:
        line = f.readline(4096)
    return os.fsdecode(line[2:]).split() if line[:2] == b"#!" else []


def gains_rights(path):
    """Why the loader would run `path` in secure mode for a user, or None."""
    mode = os.stat(path).st_mode
    if mode & stat.S_ISUID:
        return "is setuid"
    if mode & stat.S_ISGID and mode & stat.S_IXGRP:
        return "is setgid"
    try:
        os.getxattr(path, "security.capability")
        return "has file capabilities"
    except (OSError, AttributeError):
        return None


def check_preload(path, library, depth=0):
    """Refuses a program that `library` can't be preloaded into; scripts by what runs them."""
    if depth > SCRIPT_DEPTH:
        raise Refused(126, f"{path}: too many scripts that run scripts")
    rights = gains_rights(path)
    if rights:
        raise Refused(126, f"{path}: {rights}: the loader does not preload libraries into it")
    try:
        words = interpreter(path)
        if words:
            return check_script(path, words, library, depth)
        elf = Elf(path)
    except NotElf:
        raise Refused(126, f"{path}: neither an ELF program nor a script with #!") from None
    except OSError as failure:
        if failure.errno == errno.EACCES:               # execute-only
            raise Refused(126, f"{path}: may not be read, so it is not known whether a "
                               "library can be preloaded") from None
        raise Refused(126, f"{path}: {failure.strerror}") from None
    if elf.kind != Elf(library).kind:
        raise Refused(126, f"{path}: for another machine or word size than {library}")
    if elf.is_static():
        raise Refused(126, f"{path}: statically linked: nothing can be preloaded into it")
    return None


def check_script(path, words, library, depth):
    try:
        target = resolve(words[0])
    except Refused as refused:
        raise Refused(126, f"{path}: its interpreter: {refused.text}") from None
    check_preload(target, library, depth + 1)
    named = [w for w in words[1:] if not w.startswith("-") and "=" not in w]
    if os.path.basename(words[0]) == "env" and named and shutil.which(named[0]):
        check_preload(shutil.which(named[0]), library, depth + 1)


def preloadable_as_is(library):
    """False: the loader would split the path, at spaces and colons."""
    return not any(c in library for c in " :\t\n")


def preloadable(library, folder):
    """The path to put into LD_PRELOAD; if need be that of a link in `folder`."""
    if preloadable_as_is(library):
        return library
    link = os.path.join(folder, os.path.basename(library).replace(" ", "_").replace(":", "_"))
    if not os.path.islink(link):
        os.symlink(library, link)
    return link


def with_preload(env, library):
    """`env` with `library` in front of what was preloaded; another libspangc.so leaves."""
    others = [p for p in env.get("LD_PRELOAD", "").replace(":", " ").split()
              if os.path.basename(p) != LIBRARY]
    rest = {k: v for k, v in env.items() if k != "LD_PRELOAD"}
    words = ([library] if library else []) + others
    return {**rest, "LD_PRELOAD": ":".join(words)} if words else rest


def preloaded(words, given):
    """(path, environment) to run APP's words with the library, `given` or found."""
    library = find_library(given)
    path = resolve(words[0])
    check_preload(path, library)
    # A link for a library whose path the loader would split; it is needed as long as APP runs.
    folder = "" if preloadable_as_is(library) else tempfile.mkdtemp(prefix="spangc-")
    return path, with_preload(dict(os.environ), preloadable(library, folder))


def become(path, words, env):
    """APP takes this process's place."""
    try:
        os.execve(path, words, env)
    except OSError as failure:
        raise Refused(126, f"{path}: {failure.strerror}") from None


def note(text):
    print(text, file=sys.stderr, flush=True)
