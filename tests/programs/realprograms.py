"""Real programs, with their inputs made on the fly: shared by same-output (do they say
the same with and without the library?) and scripts/bench (how long, how big?).

Every input is generated from fixed seeds, so two runs of a program must agree to
the last byte. A program runs in an empty directory of its own, with a small, fixed
environment, and is started through a launcher: the list of words in front of its
command line that puts the library in place.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import time

TIMEOUT_SECONDS = 180
SYSTEM_PATH = "/usr/bin:/bin"


def which(name):
    """The full path of a program; the system's own before a wrapper in PATH."""
    return shutil.which(name, path=SYSTEM_PATH + ":" + os.environ.get("PATH", ""))


def clean_env(run_dir, extra=()):
    env = {
        "PATH": SYSTEM_PATH + ":" + os.environ.get("PATH", ""),
        "HOME": run_dir, "TMPDIR": run_dir, "LC_ALL": "C", "TZ": "UTC",
        "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1",
        "GIT_CONFIG_NOSYSTEM": "1", "GIT_PAGER": "cat",
    }
    env.update(extra)
    return env


class Program:
    """One command. In `argv` and `stdin`, {inputs} is the folder of generated files.

    clock     "cpu" or "elapsed": what a benchmark of it compares
    outputs   files it leaves in its directory, compared byte for byte
    checks    commands run in its directory afterwards, without the library: what they
              print is compared too
    setup     called with (inputs, run_dir) before each run, not measured
    leaky     executables among its processes that do lose memory (tests/programs/judged)
    """

    def __init__(self, name, argv, stdin=None, env=(), clock="cpu", outputs=(), checks=(),
                 setup=None, in_bench=True, leaky=()):
        self.name = name
        self.argv = argv
        self.stdin = stdin
        self.env = dict(env)
        self.clock = clock
        self.outputs = outputs
        self.checks = checks
        self.setup = setup
        self.in_bench = in_bench
        self.leaky = leaky

    def missing(self):
        """The first program that is not installed here, or None."""
        return None if which(self.argv[0]) else self.argv[0]

    def executable(self):
        return which(self.argv[0])

    def prepare(self, inputs, run_dir):
        if self.setup:
            self.setup(inputs, run_dir)

    def run(self, launcher, inputs, run_dir, extra_env=()):
        """Runs it in `run_dir`; returns (status, stdout, stderr)."""
        words = [word.replace("{inputs}", inputs) for word in self.argv]
        words[0] = which(words[0])
        env = clean_env(run_dir, self.env)
        env.update(extra_env)
        with open((self.stdin or "/dev/null").replace("{inputs}", inputs), "rb") as stdin:
            return run_command(launcher + words, run_dir, env, stdin)


living = set()                  # process groups of ours that have not ended


def kill_group(child):
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def kill_all():
    """Ends what other threads of ours are waiting for."""
    for child in list(living):
        kill_group(child)


def start(argv, cwd, env, stdin=subprocess.DEVNULL):
    child = subprocess.Popen(argv, cwd=cwd, env=env, stdin=stdin, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, start_new_session=True)
    living.add(child)
    return child


def finish(child, cwd, timeout):
    """(status, stdout, stderr), with `cwd` written as RUN: each run has another one.
    Whatever happens, nothing of its process group is left."""
    try:
        out, err = child.communicate(timeout=timeout)
        status = child.returncode
    except subprocess.TimeoutExpired:
        kill_group(child)
        out, err = child.communicate()
        status, err = -signal.SIGKILL, err + b"\ntimed out\n"
    finally:
        kill_group(child)
        child.wait()
        living.discard(child)
    folder = cwd.encode()
    return status, out.replace(folder, b"RUN"), err.replace(folder, b"RUN")


def run_command(argv, cwd, env, stdin=subprocess.DEVNULL, timeout=TIMEOUT_SECONDS):
    return finish(start(argv, cwd, env, stdin), cwd, timeout)


class Redis:
    """redis-server under the launcher; its clients run without it.

    The output is what the clients read back, so it does not depend on timing."""

    name = "redis"
    clock = "cpu"
    env = {}
    outputs = checks = leaky = ()
    in_bench = True
    requests = 30000

    def missing(self):
        for name in ("redis-server", "redis-benchmark", "redis-cli"):
            if not which(name):
                return name
        return None

    def executable(self):
        return which("redis-server")

    def prepare(self, inputs, run_dir):
        pass

    def run(self, launcher, inputs, run_dir, extra_env=()):
        env = clean_env(run_dir)
        server_env = dict(env)
        server_env.update(extra_env)
        server = start(
            launcher + [which("redis-server"), "--port", "0", "--unixsocket", "redis.sock",
                        "--save", "", "--appendonly", "no", "--daemonize", "no",
                        "--loglevel", "warning", "--logfile", "redis.log"],
            run_dir, server_env)
        try:
            answers = self.use(run_dir, env, server)
        except OSError as failure:
            kill_group(server)
            status, _, err = finish(server, run_dir, 30)
            return status, b"", err + str(failure).encode()
        except BaseException:
            kill_group(server)
            finish(server, run_dir, 30)
            raise
        status, out, err = finish(server, run_dir, 30)
        return status, answers + out, err

    def use(self, run_dir, env, server):
        self.wait_for(run_dir, env, server)
        bench = [which("redis-benchmark"), "-s", "redis.sock", "-n", str(self.requests),
                 "-c", "20", "-P", "16", "-q"]
        # Load whose outcome depends on the order in which clients come: only its
        # speed matters, so it is flushed before the data is checked.
        for words in (["-r", "20000", "-d", "100", "-t", "set,get,hset,sadd,zadd"],
                      ["-d", "600", "-t", "lpush,lrange_100"]):
            status, out, err = run_command(bench + words, run_dir, env)
            if status != 0:
                raise OSError("redis-benchmark: %s" % (out + err).decode(errors="replace"))
        status, answers, err = run_command(self.cli() + ["flushall"], run_dir, env)
        for script in self.scripts():
            status, out, err = run_command(self.cli() + ["eval", script, "0"], run_dir, env)
            if status != 0 or out.startswith(b"ERR"):
                raise OSError("redis-cli: %s" % (out + err).decode(errors="replace"))
            answers += out
        run_command(self.cli() + ["shutdown", "nosave"], run_dir, env)
        return answers

    def wait_for(self, run_dir, env, server):
        for _ in range(200):
            if server.poll() is not None:
                raise OSError("redis-server ended at start")
            if os.path.exists(os.path.join(run_dir, "redis.sock")):
                status, out, _ = run_command(self.cli() + ["ping"], run_dir, env)
                if out.strip() == b"PONG":
                    return
            time.sleep(0.05)
        raise OSError("redis-server does not answer")

    @staticmethod
    def cli():
        return [which("redis-cli"), "-s", "redis.sock"]

    @staticmethod
    def scripts():
        """Lua for the server: fill each type of value, then read sums back."""
        return (
            "for i = 1, 20000 do redis.call('set', 'k' .. i, string.rep('v' .. i, i % 40)) end "
            "for i = 1, 20000, 3 do redis.call('append', 'k' .. i, 'tail') end "
            "for i = 1, 20000, 5 do redis.call('del', 'k' .. i) end "
            "local n = 0 for i = 1, 20000 do n = n + redis.call('strlen', 'k' .. i) end return n",
            "for i = 1, 5000 do redis.call('hset', 'h' .. i % 50, 'f' .. i, i * i) end "
            "for i = 1, 5000 do redis.call('zadd', 'z', (i * 7919) % 5003, 'm' .. i) end "
            "for i = 1, 5000 do redis.call('rpush', 'l', i) end "
            "redis.call('sort', 'l', 'desc', 'store', 'l2') "
            "return { redis.call('zrange', 'z', 100, 110), redis.call('hget', 'h7', 'f57'), "
            "redis.call('lrange', 'l2', 0, 5), redis.call('dbsize') }",
        )


# Inputs. Each writer gets an open file; sizes are chosen for about a second of work.

PYTHON_SCRIPT = r'''
import collections, json, re
words = ["w%d" % (i * 7919 % 10007) for i in range(60000)]
count = collections.Counter(words)
index = collections.defaultdict(list)
for at, word in enumerate(words):
    index[word[:3]].append((at, word))
class Node:
    def __init__(self, key, left, right):
        self.key, self.left, self.right, self.tags = key, left, right, {"k": str(key)}
def tree(low, high):
    if low >= high:
        return None
    mid = (low + high) // 2
    return Node(mid, tree(low, mid), tree(mid + 1, high))
def walk(node):
    return 0 if node is None else walk(node.left) + len(node.tags["k"]) + walk(node.right)
print(walk(tree(0, 150000)))
records = [{"id": i, "name": words[i % 60000], "tags": words[i % 500:i % 500 + 5],
            "score": i / 7, "text": "x" * (i % 300)} for i in range(20000)]
text = json.dumps(records)
again = json.loads(text)
print(len(text), again == records, sum(len(r["text"]) for r in again))
print(len(re.findall(r"w(\d)(\d+)", " ".join(words))), count.most_common(3))
print(sorted((len(v), k) for k, v in index.items())[-3:])
lines = []
for i in range(80000):
    lines.append("%d:%s" % (i, words[i % 60000]))
    if len(lines) > 20000:
        lines = lines[10000:]
print(len("\n".join(sorted(lines))), hash(tuple(lines[:5])) == hash(tuple(lines[:5])))
'''

MODULES_SCRIPT = r'''
import asyncio, bz2, ctypes, decimal, hashlib, lzma, os, sqlite3, ssl, subprocess, threading, zlib
import concurrent.futures as futures, xml.etree.ElementTree as tree
print(subprocess.check_output(["echo", "from a child"]))
with futures.ThreadPoolExecutor(4) as pool:
    print(sum(pool.map(lambda x: x * x, range(1000))))
base = sqlite3.connect(":memory:")
base.execute("create table t(a)")
base.executemany("insert into t values(?)", [(i,) for i in range(3000)])
print(base.execute("select sum(a), count(distinct a % 7) from t").fetchone())
ssl.create_default_context()
async def wait():
    return await asyncio.gather(*[asyncio.sleep(0.001, i) for i in range(50)])
print(sum(asyncio.run(wait())))
text = b"text" * 30000
print([len(m.decompress(m.compress(text))) for m in (bz2, lzma, zlib)])
print(hashlib.sha256(text).hexdigest(), tree.fromstring("<a><b/></a>")[0].tag, decimal.Decimal(2).sqrt())
print(ctypes.CDLL(None).strlen(b"four"), threading.active_count())
'''

PERL_SCRIPT = r'''
use strict; use warnings;
my (%count, %by, @lines);
my $x = 12345;
for my $i (1 .. 300000) {
    $x = ($x * 1103515245 + 12345) % 2147483648;
    my $word = "w" . ($x % 20011);
    $count{$word}++;
    push @{ $by{ substr $word, 0, 3 } }, $word;
    push @lines, "$i $word " . ("=" x ($x % 60)) if $i % 3 == 0;
}
print scalar(keys %count), " ", scalar(keys %by), "\n";
my $hits = 0;
for (@lines) { $hits++ if /^(\d+) w(\d+?)7 =*$/; s/=+/-/; }
print "$hits ", length(join "\n", @lines), "\n";
my @top = (sort { $count{$b} <=> $count{$a} || $a cmp $b } keys %count)[0 .. 4];
print "@top\n";
my %copy = map { $_ => [ sort @{ $by{$_} } ] } keys %by;
print join(",", map { scalar @{ $copy{$_} } } (sort keys %copy)[0 .. 4]), "\n";
'''

SQL_SCRIPT = """
PRAGMA journal_mode = memory;
CREATE TABLE item(id INTEGER PRIMARY KEY, kind TEXT, price INTEGER, note TEXT);
CREATE TABLE sale(id INTEGER PRIMARY KEY, item INTEGER, amount INTEGER, day TEXT);
BEGIN;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60000)
INSERT INTO item SELECT i, 'kind' || (i * 7919 % 97), i * 31 % 1000,
  substr('abcdefghijklmnopqrstuvwxyz', i % 20, i % 26) FROM n;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 150000)
INSERT INTO sale SELECT i, i * 104729 % 60000 + 1, i % 17, date('2020-01-01', (i % 700) || ' days')
  FROM n;
COMMIT;
CREATE INDEX sale_item ON sale(item);
CREATE INDEX item_kind ON item(kind, price);
SELECT kind, count(*), sum(amount * price) FROM item JOIN sale ON sale.item = item.id
  GROUP BY kind ORDER BY 3 DESC LIMIT 5;
SELECT day, group_concat(DISTINCT kind) FROM sale JOIN item ON item.id = sale.item
  WHERE amount = 3 AND price > 900 GROUP BY day ORDER BY day LIMIT 3;
UPDATE item SET note = note || kind WHERE price < 300;
SELECT sum(length(note)), max(upper(note)) FROM item;
DELETE FROM sale WHERE item % 3 = 0;
SELECT count(*), total(amount) FROM sale;
"""

CXX_SOURCE = r'''
#include <algorithm>
#include <functional>
#include <iostream>
#include <map>
#include <regex>
#include <sstream>
#include <string>
#include <unordered_map>
#include <variant>
#include <vector>
template <int N> struct Fib {
	static constexpr long value = Fib<N - 1>::value + Fib<N - 2>::value;
};
template <> struct Fib<0> { static constexpr long value = 0; };
template <> struct Fib<1> { static constexpr long value = 1; };
template <typename... T> struct Table {
	std::map<std::string, std::variant<T...>> cells;
	template <typename U> void put(const std::string &k, U v) { cells[k] = v; }
};
int main()
{
	std::regex words("([a-z]+)=([0-9]+)");
	std::unordered_map<std::string, std::vector<long>> seen;
	std::string line;
	while (std::getline(std::cin, line)) {
		std::smatch m;
		if (std::regex_search(line, m, words))
			seen[m[1]].push_back(std::stol(m[2]));
	}
	Table<int, double, std::string> t;
	t.put("a", 1); t.put("b", 2.5); t.put("c", std::string("x"));
	std::vector<std::function<long(long)>> steps{ [](long x) { return x + 1; } };
	std::map<std::string, std::map<int, std::vector<std::string>>> deep;
	deep["x"][1].push_back("y");
	std::ostringstream out;
	for (auto &s : seen) { std::sort(s.second.begin(), s.second.end()); out << s.first; }
	std::cout << out.str() << Fib<40>::value << steps[0](1) << t.cells.size() << "\n";
}
'''

NODE_SCRIPT = r'''
const words = [];
for (let i = 0; i < 60000; i++) words.push("w" + (i * 7919 % 10007));
const count = new Map();
for (const w of words) count.set(w, (count.get(w) || 0) + 1);
const records = words.slice(0, 20000).map((w, i) => ({ id: i, name: w, tags: [w, i], x: i / 3 }));
const text = JSON.stringify(records);
const again = JSON.parse(text);
console.log(count.size, text.length, again.length);
const buffers = [];
for (let i = 0; i < 3000; i++) {
	buffers.push(Buffer.alloc(1000 + i * 13 % 9000, i & 255));
	if (buffers.length > 500) buffers.splice(0, 250);
}
console.log(buffers.reduce((n, b) => n + b.length, 0));
const zlib = require("zlib");
const packed = zlib.gzipSync(text);
console.log(zlib.gunzipSync(packed).toString() === text);
console.log(require("crypto").createHash("sha256").update(text).digest("hex"));
console.log(words.filter((w) => /^w(\d)\1/.test(w)).length);
'''

BASH_SCRIPT = r'''
declare -A seen
list=()
for ((i = 0; i < 12000; i++)); do
	key="k$((i * 7919 % 1009))"
	seen[$key]=$(( ${seen[$key]:-0} + i ))
	list+=("$key:${key//k/_}")
done
echo "${#seen[@]} ${#list[@]} ${seen[k7]}"
text="${list[*]}"
echo "${#text} ${text:100:40}"
for ((i = 0; i < 30; i++)); do out=$(echo "$i" | tr 0-9 a-j); printf '%s ' "$out"; done
echo
while read -r a b; do sum=$((sum + a)); done < <(for ((i = 0; i < 2000; i++)); do echo "$i x"; done)
echo "$sum"
cat <<END | sort | uniq -c
$(for ((i = 0; i < 300; i++)); do echo "line $((i % 7))"; done)
END
exit 3
'''

GAWK_SCRIPT = r'''
{ for (i = 2; i <= NF; i++) { n[$i]++; if (length(at[$i]) < 500) at[$i] = at[$i] " " NR } }
/w[0-9]*7 / { hits++ }
END {
	for (w in n) { total++; if (length(at[w]) > best) best = length(at[w]) }
	gsub(/[0-9]+/, "<&>"); print total, hits, best, length($0)
	for (i = 0; i < 60000; i++) s[i % 5000] = s[i % 5000] sprintf("%d,", i * i)
	print length(s[4999]), asort(n)
}
'''


def write_c_source(f):
    """A C file the size of a middling module: tables, structs, switches, loops."""
    rng = random.Random(4)
    f.write("#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n")
    for k in range(50):
        a, b, c = (rng.randrange(3, 60) for _ in range(3))
        f.write(
            "struct s%d { int a[%d]; double d; struct s%d *next; char name[%d]; };\n"
            "static const unsigned table%d[] = { %s };\n"
            "int f%d(struct s%d *s, int n)\n{\n\tint sum = 0;\n"
            "\tfor (int i = 0; i < n; i++) {\n\t\tswitch ((i * %d) %% 7) {\n"
            % (k, a, k, b, k, ",".join(str(rng.randrange(1 << 32)) for _ in range(40)), k, k, c))
        for case in range(6):
            f.write("\t\tcase %d: sum += s->a[i %% %d] * %d; s->d += sum / (i + 1.5); break;\n"
                    % (case, a, rng.randrange(1000)))
        f.write("\t\tdefault: sum ^= (int)table%d[i %% 40]; s = s->next ? s->next : s;\n"
                "\t\t}\n\t}\n\tmemset(s->name, sum, sizeof s->name);\n\treturn sum + (int)strlen(s->name);\n}\n"
                % k)


def write_text(f):
    rng = random.Random(5)
    for i in range(200000):
        f.write("%08x %s\n" % (rng.getrandbits(32),
                               " ".join("w%d" % int(rng.paretovariate(0.7) % 20000)
                                        for _ in range(rng.randrange(3, 12)))))


def write_git_stream(f):
    """A history of 250 commits on two branches, for git fast-import."""
    rng = random.Random(6)
    files = {"file%d.txt" % k: [str(rng.random()) for _ in range(80)] for k in range(60)}
    for commit in range(250):
        branch = "refs/heads/main" if commit % 5 else "refs/heads/side"
        message = "change %d\n\n%s\n" % (commit, "why " * (commit % 30))
        f.write("commit %s\ncommitter A U Thor <author@example.org> %d +0000\ndata %d\n%s\n"
                % (branch, 1500000000 + commit * 1000, len(message), message))
        for name in rng.sample(sorted(files), 5):
            lines = files[name]
            lines[rng.randrange(len(lines))] = str(rng.random())
            lines.insert(rng.randrange(len(lines)), "line %d" % commit)
            text = "\n".join(lines) + "\n"
            f.write("M 100644 inline %s\ndata %d\n%s\n" % (name, len(text), text))
        f.write("\n")


WRITERS = {
    "script.py": lambda f: f.write(PYTHON_SCRIPT),
    "modules.py": lambda f: f.write(MODULES_SCRIPT),
    "data.json": lambda f: json.dump([{"id": i, "tags": ["t%d" % (i % 7)]} for i in range(8000)], f),
    "script.pl": lambda f: f.write(PERL_SCRIPT),
    "script.sql": lambda f: f.write(SQL_SCRIPT),
    "script.js": lambda f: f.write(NODE_SCRIPT),
    "script.sh": lambda f: f.write(BASH_SCRIPT),
    "script.awk": lambda f: f.write(GAWK_SCRIPT),
    "templates.cc": lambda f: f.write(CXX_SOURCE),
    "module.c": write_c_source,
    "text.txt": write_text,
    "history.git-stream": write_git_stream,
}


def make_inputs(folder):
    """Writes every input; the git repository only where git is installed."""
    for name, write in WRITERS.items():
        with open(os.path.join(folder, name), "w", encoding="ascii") as f:
            write(f)
    if not which("git"):
        return
    env = clean_env(folder)
    repository = os.path.join(folder, "repository")
    subprocess.run([which("git"), "init", "-q", "-b", "main", repository], check=True, env=env)
    with open(os.path.join(folder, "history.git-stream"), "rb") as stream:
        subprocess.run([which("git"), "-C", repository, "fast-import", "--quiet"], check=True,
                       env=env, stdin=stream)
    subprocess.run([which("git"), "-C", repository, "reset", "-q", "--hard", "main"],
                   check=True, env=env)


def copy_repository(inputs, run_dir):
    shutil.copytree(os.path.join(inputs, "repository"), os.path.join(run_dir, "repository"))


def git_checks(repository):
    return [["git", "-C", repository, "fsck", "--strict"],
            ["git", "-C", repository, "rev-list", "--all", "--objects"]]


PROGRAMS = [
    Program("python3", ["/usr/bin/python3", "-S", "{inputs}/script.py"]),
    Program("python3-malloc", ["/usr/bin/python3", "-S", "{inputs}/script.py"],
            env={"PYTHONMALLOC": "malloc"}),
    Program("gcc", ["gcc", "-O2", "-c", "{inputs}/module.c", "-o", "module.o"],
            outputs=["module.o"], leaky=("gcc", "as")),
    Program("g++", ["g++", "-std=c++17", "-O0", "-c", "{inputs}/templates.cc", "-o", "templates.o"],
            outputs=["templates.o"], leaky=("g++", "cc1plus", "as")),
    Program("perl", ["perl", "{inputs}/script.pl"], leaky=("perl",)),
    Program("git-log", ["git", "-C", "{inputs}/repository", "log", "--all", "--stat", "-p"]),
    # What several threads pack depends on who comes first: one thread.
    Program("git-gc", ["git", "-C", "repository", "-c", "pack.threads=1", "gc", "-q",
                       "--aggressive", "--prune=now"],
            setup=copy_repository, checks=git_checks("repository"), leaky=("git",)),
    Program("git-clone", ["git", "clone", "-q", "--no-local", "{inputs}/repository", "copy"],
            checks=git_checks("copy"), in_bench=False, leaky=("git",)),
    Program("sqlite3", ["sqlite3", "-batch", "database"], stdin="{inputs}/script.sql",
            outputs=["database"]),
    Redis(),
    Program("node", ["node", "{inputs}/script.js"]),
    Program("xz", ["xz", "-T2", "-2", "--block-size=1MiB", "-c", "{inputs}/text.txt"],
            clock="elapsed"),
    Program("sort", ["sort", "--parallel=2", "-k2", "{inputs}/text.txt"], clock="elapsed",
            leaky=("sort",)),
    Program("gawk", ["gawk", "-f", "{inputs}/script.awk", "{inputs}/text.txt"]),
    Program("bash", ["bash", "{inputs}/script.sh"], leaky=("sort", "tr")),
    Program("jq", ["jq", "-c", "[.[] | select(.id % 3 == 0) | .tags | add] | add", "{inputs}/data.json"],
            in_bench=False),
    Program("tar", ["tar", "--sort=name", "-c", "-I", "xz -0", "-f", "x.tar.xz", "-C", "{inputs}",
                    "repository", "script.pl"], checks=[["tar", "-tf", "x.tar.xz"]], in_bench=False),
    Program("python3-modules", ["/usr/bin/python3", "{inputs}/modules.py"], in_bench=False),
]


def programs_on(repository):
    """git at work on a repository from outside, at a commit that stays the same while
    others commit; nothing where git finds no commit there."""
    if not which("git"):
        return []
    env = clean_env(repository)
    found = subprocess.run([which("git"), "-C", repository, "rev-parse", "--verify", "HEAD"],
                           env=env, capture_output=True, text=True, check=False)
    if found.returncode != 0:
        return []
    commit = found.stdout.strip()
    return [
        Program("git-log-here", ["git", "-C", repository, "log", "--stat", "-p", commit]),
        Program("git-clone-here", ["git", "clone", "-q", "--no-local", repository, "copy"],
                leaky=("git",),
                checks=[["git", "-C", "copy", "fsck", "--strict"],
                        ["git", "-C", "copy", "rev-list", "--objects", commit]]),
    ]
