#!/usr/bin/env python3
"""Debian's sqlsmith through the gate, over the schema full of canaries; a relay between them searches what comes back.

    POSTERN_BIN_DIR=build/dev/bin tests/canary/sqlsmith_test.py

sqlsmith commits what it writes, so that here policy keeps it from writing over the canaries; canary_test.py writes.
"""
import os
import re
import socket
import subprocess
import threading
import time
import unittest

import stack

QUERIES = int(os.environ.get("POSTERN_SQLSMITH_QUERIES", "800"))
SEED = int(os.environ.get("POSTERN_CANARY_SEED", str(time.time_ns() % 1000000000)))
OVERLAP = 256  # longer than any form of a canary
ONLY_READ = "\n  - {id: canaries-stay, effect: deny, do: [write, lock, create, comment, maintain], objects: [crm.*]}\n"
PROGRESS = re.compile(r"[.eStC]+")  # one sign a query, "." for one that ran


class Relay:
    """One listening port in front of the gate."""

    def __init__(self, port, needles):
        self.port_behind, self.needles = port, needles
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.found, self.bytes, self.threads, self.sockets = [], 0, [], [self.listener]
        self.accepting = threading.Thread(target=self.accept)
        self.accepting.start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self.port_behind))
            self.sockets += [client, server]
            for source, sink, look in ((client, server, False), (server, client, True)):
                self.threads.append(threading.Thread(target=self.pump, args=(source, sink, look)))
                self.threads[-1].start()

    def pump(self, source, sink, look):
        tail = b""
        try:
            while data := source.recv(1 << 16):
                if look:
                    self.bytes += len(data)
                    found = self.needles.find(tail + data)
                    if found:
                        self.found.append((found[0], (tail + data)[max(0, found[1] - 80):found[1] + 80]))
                    tail = (tail + data)[-OVERLAP:]
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.accepting.join()
        for thread in self.threads:
            thread.join()
        for one in self.sockets:
            one.close()


class Sqlsmith(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = stack.CanaryStack()
        cls.addClassCleanup(cls.stack.close)
        path = os.path.join(cls.stack.dir, "read.yaml")
        with open(stack.POLICY, encoding="utf-8") as file, open(path, "w", encoding="utf-8") as out:
            out.write(file.read() + ONLY_READ)
        cls.stack.cli("admin", "policy", "apply", path, "--comment", "a test")

    def smith(self, relay):
        """Runs it; returns what it said."""
        uri = f"postgresql://support-bot:{self.stack.token()}@127.0.0.1:{relay.port}/{stack.DATABASE}?sslmode=disable"
        done = subprocess.run(["sqlsmith", f"--target={uri}", "--exclude-catalog", f"--max-queries={QUERIES}", f"--seed={SEED}", "--verbose"],
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=240, check=False)
        said = done.stderr.decode(errors="replace")
        self.assertEqual(done.returncode, 0, said[-2000:])
        return said

    def test_no_canary_comes_out(self):
        print(f"seed {SEED} (POSTERN_CANARY_SEED)", flush=True)
        there = self.stack.count_canaries()
        relay = Relay(self.stack.port, self.stack.needles)
        try:
            said = self.smith(relay)
        finally:
            relay.close()
        ran = sum(len(line) - len(line.replace(".", "")) for line in said.splitlines() if PROGRESS.fullmatch(line))
        print(f"{ran} of {QUERIES} ran, {relay.bytes} bytes came back", flush=True)
        if os.environ.get("POSTERN_SQLSMITH_SAID"):
            print(said)
        self.assertEqual(relay.found, [])
        self.assertGreater(relay.bytes, 1 << 17)  # as much as its luck gives; nothing at all would prove nothing
        self.assertGreater(ran, QUERIES // 25)
        self.assertEqual(self.stack.count_canaries(), there)


if __name__ == "__main__":
    unittest.main(verbosity=2)
