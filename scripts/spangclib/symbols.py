#!/usr/bin/python3 -IB
"""symbols.py: function, file and line of addresses, looked up outside the program they are of.

usage: symbols.py <QUESTIONS >ANSWERS

The library starts this when it writes a report; it imports nothing of its folder, so that it also
runs as `python3 -I symbols.py`.

question  MODULE OFFSET [BUILD-ID] [data|tls]
                                one a line: path of an ELF file, and an address in its own
                                numbering (pc less load bias; 0x and digits), looked up as it is: of
                                a call, not of the instruction after it. With another BUILD-ID the
                                file is not the one that was loaded, and not looked into.
                                data: of a variable, tls: of a thread's, with its offset in the
                                module's TLS; the answer's FUNCTION is then NAME or NAME+0x..
answer    QUESTION<TAB>FUNCTION<TAB>FILE<TAB>LINE
                                one a frame, innermost first: inlined functions have their own;
                                then an empty line. What is not known is empty. Answers come in
                                the order of the questions, one for each, whatever it was
exit status 3: neither of the two programs below is there

One process a module does the work: elfutils' eu-addr2line, else binutils' addr2line. Both find
debug information that is compressed, or stands elsewhere (.gnu_debuglink, build-id, dwz), and it is
looked for on this machine only; of -gsplit-dwarf they know the function, and elfutils the line, but
not what was inlined: llvm-symbolizer does, and is asked there if it is installed. Without any, and for
what they do not know, symbol tables tell the function. C++ and Rust names are demangled by c++filt,
else by libstdc++.
"""
import bisect
import mmap
import os
import re
import shutil
import struct
import subprocess
import sys
import threading

AT_ONCE = 2                             # processes; each may need much memory
ADDRESS_LINE = re.compile(r"0x[0-9a-f]+$")
PLACE = re.compile(r"(.*?):(\d+|\?)(?::\d+)?(?: \(discriminator \d+\))?$")
MANGLED = re.compile(r"_Z|_R[A-Z]|__Z")
RUST_HASH = re.compile(r"::h[0-9a-f]{16}$")
RUST_CRATE = re.compile(r"(?<=\w)\[[0-9a-f]+\](?=::|$|>)")       # a crate's number: of _R names
RUST_ESCAPE = re.compile(r"\$(LT|GT|RF|BP|C|LP|RP|SP|u[0-9a-f]+)\$")
RUST_ESCAPED = {"LT": "<", "GT": ">", "RF": "&", "BP": "*", "C": ",", "LP": "(", "RP": ")", "SP": "@"}
QUESTION = re.compile(r"(.*) (0x[0-9a-f]+)(?: ([0-9a-f]{2,64}))?(?: (data|tls))?")
UNKNOWN = [("", "", "")]
NO_TOOL = 3                             # exit status: answered, but without files and lines
DEBUG_FOLDERS = ("/usr/lib/debug",)

SHT_SYMTAB, SHT_NOTE, SHT_DYNSYM = 2, 7, 11
NT_GNU_BUILD_ID = 3
STT_OBJECT, STT_FUNC, STT_TLS, STT_GNU_IFUNC = 1, 2, 6, 10
TYPES = {"": (STT_FUNC, STT_GNU_IFUNC), "data": (STT_OBJECT,), "tls": (STT_TLS,)}
NEAR = 16                               # symbols that begin before an address and may still have it


# ---- Symbol tables

def sections(data):
    """(type, offset, bytes, link) of each section of a 64-bit file of this machine's byte order."""
    at, = struct.unpack_from("=Q", data, 40)
    size, count = struct.unpack_from("=HH", data, 58)
    for i in range(count):
        _, kind, _, _, offset, nbytes, link = struct.unpack_from("=IIQQQQI", data, at + i * size)
        yield kind, offset, nbytes, link


def text_at(data, at):
    return data[at:data.find(b"\0", at)].decode(errors="replace")


class Elf:
    """A 64-bit file of this machine's byte order; .data is empty if it is none."""

    def __init__(self, path):
        self.data = b""
        try:
            with open(path, "rb") as f:
                data = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
            if data[:4] == b"\x7fELF" and data[4] == 2 and \
                    data[5] == (1 if sys.byteorder == "little" else 2):
                self.data = data
        except (OSError, ValueError, IndexError):
            pass

    def has_section(self, wanted):
        try:
            at, = struct.unpack_from("=Q", self.data, 40)
            size, count, names = struct.unpack_from("=HHH", self.data, 58)
            strings, = struct.unpack_from("=Q", self.data, at + names * size + 24)
            return any(text_at(self.data, strings + name) == wanted for name, in (
                struct.unpack_from("=I", self.data, at + i * size) for i in range(count)))
        except struct.error:
            return False

    def build_id(self):
        """In hexadecimal; "": it has none."""
        try:
            for kind, offset, nbytes, _ in sections(self.data):
                end = offset + nbytes
                while kind == SHT_NOTE and offset + 12 <= end:
                    nname, ntext, note = struct.unpack_from("=III", self.data, offset)
                    text = offset + 12 + (nname + 3 & ~3)
                    if note == NT_GNU_BUILD_ID and self.data[offset + 12:text] == b"GNU\0":
                        return self.data[text:text + ntext].hex()
                    offset = text + (ntext + 3 & ~3)
        except struct.error:
            pass
        return ""


class SymbolTable(Elf):
    """Functions of .symtab and .dynsym, or variables ("data", "tls"): [(first address, end, offset of
    the name)], sorted."""

    def __init__(self, path, kind=""):
        super().__init__(path)
        self.types, self.functions = TYPES[kind], []
        try:
            if self.data:
                self.read_all()
        except (struct.error, ValueError, IndexError):
            pass
        self.functions.sort()

    def read_all(self):
        found = list(sections(self.data))
        for kind, offset, nbytes, link in found:
            if kind in (SHT_SYMTAB, SHT_DYNSYM):
                strings = found[link][1]
                for name, info, _, index, value, size in struct.iter_unpack(
                        "=IBBHQQ", self.data[offset:offset + nbytes]):
                    if info & 15 in self.types and index and size:
                        self.functions.append((value, value + size, strings + name))

    def name_of(self, address):
        """The name whose bytes have `address`; the shortest of several, '' if there is none."""
        at = bisect.bisect_right(self.functions, (address, 1 << 64, 0))
        near = self.functions[max(0, at - NEAR):at]
        names = [text_at(self.data, name) for first, end, name in near if first <= address < end]
        return min(names, key=lambda name: (len(name), name), default="")

    def variable_at(self, address):
        """The name, and how far behind its beginning the address is."""
        name = self.name_of(address)
        if not name:
            return ""
        first = max(first for first, end, at in self.functions
                    if first <= address < end and text_at(self.data, at) == name)
        return clean(name) + (f"+{address - first:#x}" if address > first else "")


# ---- addr2line

def clean(name):
    """Without the marks that libc and the linker put around a name."""
    name = name.split("@", 1)[0].removeprefix("__GI_")
    return "" if name == "??" else name


def place_of(text):
    """(file, line) of FILE:LINE:COLUMN."""
    match = PLACE.match(text)
    if not match or match.group(1) in ("", "??"):
        return "", ""
    line = match.group(2)
    path = re.sub(r"(^|/)(?:\./)+", r"\1", match.group(1))
    return path, "" if line in ("0", "?") else line


def frames_of(lines):
    """[(function, file, line)] of pairs of lines; eu-addr2line adds a remark to inlined functions."""
    return [(clean(name.split(" inlined at ", 1)[0]), *place_of(place))
            for name, place in zip(lines[::2], lines[1::2])] or UNKNOWN


def command_for(tool, path):
    """addr2line, or for -gsplit-dwarf what knows inlined functions there."""
    llvm = shutil.which("llvm-symbolizer")
    if llvm and Elf(path).has_section(".debug_addr"):
        return [llvm, "--output-style=GNU", "--no-demangle"]
    return [tool] if tool else []


def ask(command, module, offsets):
    """{offset: frames}. Every address is repeated before its answer; what is not answered, because
    the tool fails or dies, is absent."""
    questions = "".join(f"{offset:#x}\n" for offset in offsets)
    env = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}   # and no DEBUGINFOD_URLS
    try:
        done = subprocess.run(command + ["-a", "-f", "-i", "-e", module], input=questions, env=env,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False,
                              encoding="utf-8", errors="surrogateescape")
    except OSError:
        return {}
    answers, lines = [], []
    for line in done.stdout.split("\n")[:-1]:
        if ADDRESS_LINE.match(line):
            lines = []
            answers.append((int(line, 16), lines))
        else:
            lines.append(line)
    return {offset: frames_of(lines) for offset, lines in answers if len(lines) > 1}


def file_of(module, build_id):
    """Where to look: the module, or, if that is another one by now or not there any more, its debug
    information by build-id. None: nowhere."""
    if os.path.isfile(module) and build_id in ("", Elf(module).build_id()):
        return module
    for folder in DEBUG_FOLDERS:
        path = f"{folder}/.build-id/{build_id[:2]}/{build_id[2:]}.debug"
        if build_id and os.path.isfile(path):
            return path
    return None


def look_up(tool, module, build_id, kind, offsets):
    """{offset: frames} of one module."""
    path = file_of(module, build_id)
    if not path:
        return {}
    if kind:
        table = SymbolTable(path, kind)
        return {offset: [(table.variable_at(offset), "", "")] for offset in offsets}
    command = command_for(tool, path)
    found = ask(command, path, offsets) if command else {}
    table = None
    for offset in offsets:
        frames = found.get(offset, UNKNOWN)
        if not frames[-1][0]:
            table = table or SymbolTable(path)
            frames = frames[:-1] + [(clean(table.name_of(offset)), *frames[-1][1:])]
        found[offset] = frames
    return found


def find_tool():
    return shutil.which("eu-addr2line") or shutil.which("addr2line")


def look_up_all(modules):
    """{(module, build-id, kind): {offset: frames}}"""
    tool = find_tool()
    found, rest = {}, sorted(modules.items())

    def work():
        while True:
            try:
                module, offsets = rest.pop()
            except IndexError:
                return
            found[module] = look_up(tool, *module, sorted(offsets))
    threads = [threading.Thread(target=work) for _ in range(min(AT_ONCE, len(rest)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


# ---- Names

def demangled_by_libstdcxx(names):
    import ctypes
    try:
        demangle = ctypes.CDLL("libstdc++.so.6").__cxa_demangle
    except (OSError, AttributeError):
        return {}
    free = ctypes.CDLL(None).free
    demangle.restype, free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    found = {}
    for name in names:
        status = ctypes.c_int()
        text = demangle(name.encode(errors="surrogateescape"), None, None, ctypes.byref(status))
        if text:
            found[name] = ctypes.string_at(text).decode(errors="surrogateescape")
            free(text)
    return found


def demangled_by_cxxfilt(tool, names):
    done = subprocess.run([tool], input="\n".join(names) + "\n", stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, check=False, env={"LC_ALL": "C"},
                          encoding="utf-8", errors="surrogateescape")
    lines = done.stdout.split("\n")[:-1]
    return dict(zip(names, lines)) if len(lines) == len(names) else {}


def of_rust(name, text):
    """Without hashes and numbers of crates; what C++ has no words for, if it is still there."""
    if name.startswith("_R"):
        return RUST_CRATE.sub("", text)
    short = RUST_HASH.sub("", text)
    if short != text and "$" in short:
        short = RUST_ESCAPE.sub(lambda m: RUST_ESCAPED.get(m.group(1)) or chr(int(m.group(1)[1:], 16)),
                                short).replace("..", "::").replace("::_<", "::<")
        short = re.sub(r"(^|::)_<", r"\1<", short)
    return short


def demangled(names):
    """{mangled: readable} of those that are mangled."""
    names = sorted(name for name in names if MANGLED.match(name))
    if not names:
        return {}
    tool = shutil.which("c++filt")
    found = (demangled_by_cxxfilt(tool, names) if tool else {}) or demangled_by_libstdcxx(names)
    return {name: of_rust(name, text) for name, text in found.items()}


# ---- Questions and answers

def question(line):
    """((module, build-id, kind), offset); offset is None if it is no question."""
    match = QUESTION.fullmatch(line)
    if not match:
        return (line, "", ""), None
    return (match.group(1), match.group(3) or "", match.group(4) or ""), int(match.group(2), 16)


def main():
    for stream in (sys.stdin, sys.stdout):
        stream.reconfigure(encoding="utf-8", errors="surrogateescape", newline="\n")
    text = sys.stdin.read()
    lines = text.removesuffix("\n").split("\n") if text else []
    modules = {}
    for module, offset in map(question, lines):
        if offset is not None:
            modules.setdefault(module, set()).add(offset)
    found = look_up_all(modules)
    readable = demangled({frame[0] for of_module in found.values()
                          for frames in of_module.values() for frame in frames})
    answers = []
    for line in lines:
        module, offset = question(line)
        for function, file, number in found.get(module, {}).get(offset, UNKNOWN):
            answers.append("\t".join((line, readable.get(function, function), file, number)))
        answers.append("")
    sys.stdout.write("".join(answer + "\n" for answer in answers))
    return 0 if find_tool() else NO_TOOL


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BrokenPipeError:                     # the asker has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(1)
