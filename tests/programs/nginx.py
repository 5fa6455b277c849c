"""nginx.py: nginx, master and worker, on a Unix socket in its own directory; see realprograms.py.

The output is what a client reads: a file, plain and compressed, a page that is not there, before
and after a reload, which replaces the worker.
"""
import http.client
import os
import random
import signal
import socket
import time

import realprograms as rp

CONFIGURATION = """
worker_processes 1;
pid nginx.pid;
error_log error.log;
events { worker_connections 64; }
http {
  access_log off;
  client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3;
  uwsgi_temp_path t4; scgi_temp_path t5;
  gzip on; gzip_types text/plain;
  default_type text/plain;
  server { listen unix:nginx.sock; root www; }
}
"""
REQUESTS = 40


class Connection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=20)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(20)
        self.sock.connect(self.path)


class Nginx:
    name = "nginx"
    outputs = checks = ()
    in_bench = False
    leaky = ()

    def executable(self):
        return rp.which("nginx") or rp.which("/usr/sbin/nginx")

    def missing(self):
        return None if self.executable() else "nginx"

    def prepare(self, inputs, run_dir):
        os.mkdir(os.path.join(run_dir, "www"))
        with open(os.path.join(run_dir, "nginx.conf"), "w", encoding="ascii") as f:
            f.write(CONFIGURATION)
        with open(os.path.join(run_dir, "www", "text"), "w", encoding="ascii") as f:
            f.write(" ".join(str(random.Random(7).random()) for _ in range(5000)))

    def run(self, launcher, inputs, run_dir, extra_env=()):
        env = rp.clean_env(run_dir)
        env.update(extra_env)
        server = rp.start(launcher + [self.executable(), "-p", run_dir, "-c", "nginx.conf",
                                      "-g", "daemon off;" + (" user root;" if os.geteuid() == 0 else ""),
                                      "-e", "error.log"], run_dir, env)
        try:
            answers = self.ask(run_dir) + self.reload(server, run_dir) + self.ask(run_dir)
            server.send_signal(signal.SIGQUIT)
        except OSError as failure:
            rp.kill_group(server)
            status, _, err = rp.finish(server, run_dir, 30)
            return status, b"", err + str(failure).encode()
        except BaseException:
            rp.kill_group(server)
            rp.finish(server, run_dir, 30)
            raise
        status, out, err = rp.finish(server, run_dir, 30)
        return status, answers + out, err

    @staticmethod
    def get(run_dir, page, encoding):
        """One answer; nginx may still be starting."""
        for _ in range(1000):
            try:
                connection = Connection(os.path.join(run_dir, "nginx.sock"))
                connection.request("GET", page, headers={"Accept-Encoding": encoding})
                answer = connection.getresponse()
                return b"%d %s\n" % (answer.status, answer.read())
            except (FileNotFoundError, ConnectionRefusedError):
                time.sleep(0.05)
        raise OSError("nginx does not answer")

    def ask(self, run_dir):
        return b"".join(self.get(run_dir, page, encoding)
                        for i in range(REQUESTS)
                        for page, encoding in [(("/text", "identity"), ("/text", "gzip"),
                                                ("/none", "identity"))[i % 3]])

    @staticmethod
    def workers(server):
        """The worker processes; one that leaves says so in its name."""
        found = []
        with open(f"/proc/{server.pid}/task/{server.pid}/children", encoding="ascii") as f:
            for pid in f.read().split():
                try:
                    with open(f"/proc/{pid}/cmdline", "rb") as c:
                        if b"worker process\0" in c.read() + b"\0":
                            found.append(pid)
                except OSError:
                    continue
        return found

    def reload(self, server, run_dir):
        before = self.workers(server)
        server.send_signal(signal.SIGHUP)
        for _ in range(1000):
            now = self.workers(server)
            if now and not set(now) & set(before):
                return b"reloaded\n"
            time.sleep(0.05)
        raise OSError("nginx has no new worker")
