"""A whole Postern for one test file: deploy/quickstart's own deployment, in a temporary folder, from built binaries.

    class Masks(rig.GateTest):
        def test_alias(self):
            rows = self.agent_psql("select phone as code from app.customers where id = 7")

The stack starts once per class and stops with it. POSTERN_BIN_DIR names the folder of the binaries.
"""
import json
import os
import shutil
import subprocess
import tempfile
import threading
import time
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def await_end(pid, timeout=20):
    """Waits until the process has ended; one that waits to be reaped has."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            with open(f"/proc/{pid}/status", encoding="utf-8") as status:
                if "State:\tZ" in status.read():
                    return
        except FileNotFoundError:
            return
        if time.monotonic() > deadline:
            raise AssertionError(f"process {pid} did not end")
        time.sleep(0.05)


def await_value(get, what, timeout=20):
    """Asks until get() returns something, and returns it."""
    deadline = time.monotonic() + timeout
    while True:
        value = get()
        if value is not None:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"in vain: {what}")
        time.sleep(0.05)


def cancel_when_running(connection, sql):
    """Executes `sql` on a psycopg connection and cancels it; the cancellation is repeated until it has hit."""
    done = threading.Event()

    def cancel():
        while not done.wait(0.1):
            connection.cancel()
    thread = threading.Thread(target=cancel)
    thread.start()
    try:
        connection.execute(sql)
    finally:
        done.set()
        thread.join()


class Stack:
    """What `deploy/quickstart up` starts."""

    def __init__(self, *options):
        self.dir = tempfile.mkdtemp(prefix="postern-test-")
        self._run("up", *options)
        self.env = self._read_env()

    def _run(self, command, *options):
        done = subprocess.run([os.path.join(ROOT, "deploy/quickstart"), command, "--dir", self.dir, *options],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=240, check=False)
        if done.returncode != 0:
            logs = ""
            for name in sorted(os.listdir(os.path.join(self.dir, "log"))):
                with open(os.path.join(self.dir, "log", name), encoding="utf-8", errors="replace") as log:
                    logs += f"--- {name}\n" + "".join(log.readlines()[-15:])
            raise RuntimeError(f"quickstart {command} failed:\n{done.stdout}\n{done.stderr}\n{logs}")

    def _read_env(self):
        dump = subprocess.run(["sh", "-c", f". '{self.dir}/env' && env -0"], capture_output=True, check=True).stdout
        env = dict(item.split("=", 1) for item in dump.decode().split("\0") if "=" in item)
        env.pop("NODE_EXTRA_CA_CERTS", None)  # ours must be the one that node sees
        return env

    def up(self):
        """Starts again what was stopped; the environment may have new pids."""
        self._run("up")
        self.env = self._read_env()

    def down(self):
        self._run("down")

    def close(self):
        try:
            self.down()
        finally:
            state = os.path.join(self.dir, "state")
            with open(state, encoding="utf-8") as text:
                home = [line.split("=", 1)[1].strip().strip("'") for line in text if line.startswith("PG_HOME=")]
            shutil.rmtree(self.dir, ignore_errors=True)
            if home and home[0].startswith("/var/lib/postgresql/postern-"):
                shutil.rmtree(home[0], ignore_errors=True)

    @property
    def port(self):
        return int(self.env["POSTERN_SIDECAR_PORT"])

    def cli(self, profile, *args, check=True, timeout=60, input_text=None):
        """Runs `postern --profile PROFILE ARGS…`; returns the finished process."""
        done = subprocess.run([os.path.join(self.env["POSTERN_BIN"], "postern"), "--profile", profile, *args],
                              env=self.env, capture_output=True, text=True, timeout=timeout, check=False,
                              input=input_text, stdin=None if input_text is not None else subprocess.DEVNULL)
        if check and done.returncode != 0:
            raise AssertionError(f"postern {' '.join(args)} ended with {done.returncode}: {done.stderr}")
        return done

    def json(self, profile, *args):
        return json.loads(self.cli(profile, "-o", "json", *args).stdout)

    def start_cli(self, profile, *args):
        return subprocess.Popen([os.path.join(self.env["POSTERN_BIN"], "postern"), "--profile", profile, *args],
                                env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def token(self, verbs="all", profile="agent", *more):
        return self.cli(profile, "token", "request", "--target", "demo", "--do", verbs, "--reason", "a test", *more).stdout.strip()

    def dsn(self, token, **more):
        """libpq keywords of a session through the gate."""
        words = {"host": "127.0.0.1", "port": self.port, "dbname": "postern_demo", "user": "support-bot", "password": token,
                 "sslmode": "verify-full", "sslrootcert": os.path.join(self.dir, "sidecar/tls/ca.pem"), **more}
        return " ".join(f"{key}='{value}'" for key, value in words.items())

    def behind(self, sql):
        """Past the gate, as the superuser: rows of text."""
        done = subprocess.run(["psql", "-X", "-At", "-F", "\t", "-v", "ON_ERROR_STOP=1", self.env["POSTERN_UPSTREAM_URI"], "-c", sql],
                              env=self.env, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode != 0:
            raise AssertionError(done.stderr)
        return [line.split("\t") for line in done.stdout.splitlines()]

    def psql(self, *commands, verbs="all", profile="agent", options=()):
        """psql through `postern run`; each command is a -c of its own."""
        words = [word for command in commands for word in ("-c", command)]
        return self.cli(profile, "run", "--target", "demo", "--do", verbs, "--reason", "a test", "--",
                        "psql", "-X", "-At", *options, *words, check=False)

    def wait_approval(self, profile="approver", timeout=30):
        """The id of the next pending approval, from the watch stream."""
        watch = self.start_cli(profile, "-o", "json", "approval", "watch")
        timer = threading.Timer(timeout, watch.kill)
        timer.start()
        try:
            for line in watch.stdout:
                approval = json.loads(line)
                if approval["state"] == "APPROVAL_PENDING":
                    return approval
            raise AssertionError("no approval came: " + watch.stderr.read())
        finally:
            timer.cancel()
            watch.kill()
            watch.communicate()

    def audit(self, *filters):
        """Matching audit records, oldest first, once everything written so far has arrived."""
        lines = self.cli("admin", "-o", "json", "audit", "query", "--oldest-first", "--limit", "1000", *filters).stdout
        return [json.loads(line) for line in lines.splitlines()]

    def await_audit(self, wanted, *filters, timeout=20):
        """Waits until a record for which wanted(record) holds has reached the control plane, and returns it."""
        deadline = time.monotonic() + timeout
        while True:
            found = [record for record in self.audit(*filters) if wanted(record)]
            if found:
                return found[-1]
            if time.monotonic() > deadline:
                raise AssertionError("the record did not reach the control plane")
            time.sleep(0.1)


class GateTest(unittest.TestCase):
    """A test class with a stack of its own: self.stack."""
    options = ()

    @classmethod
    def setUpClass(cls):
        cls.stack = Stack(*cls.options)
        cls.addClassCleanup(cls.stack.close)
