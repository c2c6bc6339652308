"""Approvals end to end: what agents, approvers and receivers of webhooks see. Policy: approvals.yaml."""
import hashlib
import hmac
import http.server
import json
import os
import signal
import pty
import random
import re
import select
import socket
import struct
import subprocess
import sys
import termios
import threading
import time
import unittest
import fcntl

import psycopg

import rig

POLICY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "approvals.yaml")


class Held(threading.Thread):
    """Executes one statement on a connection of its own, in the background."""

    def __init__(self, stack, token, sql, values=None, transaction=False):
        super().__init__()
        self.connection = psycopg.connect(stack.dsn(token), autocommit=not transaction)
        self.sql, self.values, self.error, self.rowcount, self.took = sql, values, None, None, None
        self.start()

    def run(self):
        try:
            self.rowcount = self.connection.execute(self.sql, self.values).rowcount
        except psycopg.Error as error:
            self.error = error
        self.done = time.time()

    def end(self, timeout=30):
        self.join(timeout)
        self.connection.close()
        return self


class ApprovalsCase(rig.GateTest):
    options = ("--policy", POLICY)

    def pending(self, wanted, timeout=20):
        """The first pending approval for which wanted(approval) holds."""
        def look():
            for approval in self.stack.json("approver", "approval", "list")["approvals"]:
                if wanted(approval):
                    return approval
            return None
        return rig.await_value(look, "an approval", timeout)

    def show(self, approval_id, profile="approver"):
        return self.stack.json(profile, "approval", "show", approval_id)

    def approve(self, approval_id, *more, profile="approver", check=True):
        return self.stack.cli(profile, "approval", "approve", approval_id, *more, check=check)


class Returns(ApprovalsCase):
    def attempt(self, connection, sql, values=None):
        """None when it ran, else the error."""
        try:
            connection.execute(sql, values)
            return None
        except psycopg.Error as error:
            return error

    def test_the_statement_that_is_sent_again_finds_its_approval(self):
        token = self.stack.token("select,update")
        sql = "update app.products set stock = stock where id = %s"
        with psycopg.connect(self.stack.dsn(token), autocommit=True) as connection:
            first = self.attempt(connection, sql, (1,))
            self.assertEqual(first.sqlstate, "55000")
            approval_id = re.search(r"apr_\w+", str(first)).group(0)
            self.assertIn(approval_id, str(self.attempt(connection, sql, (1,))), "a repeat joins it")
            self.assertEqual(connection.execute("select 1").fetchone(), (1,), "the session goes on")
        self.approve(approval_id)
        with psycopg.connect(self.stack.dsn(token), autocommit=True) as connection:
            other = self.attempt(connection, sql, (2,))
            self.assertEqual(other.sqlstate, "55000", "another value is another statement")
            self.assertNotIn(approval_id, str(other))
            self.assertIsNone(self.attempt(connection, sql, (1,)))
            again = self.attempt(connection, sql, (1,))
            self.assertEqual(again.sqlstate, "55000", "once")
            denied_id = re.search(r"apr_\w+", str(again)).group(0)
            self.stack.cli("approver", "approval", "deny", denied_id, "--comment", "not twice")
            denied = self.attempt(connection, sql, (1,))
            self.assertEqual(denied.sqlstate, "42501")
            self.assertIn("not twice", denied.diag.message_detail)
        self.assertEqual(self.show(approval_id)["state"], "APPROVAL_USED")

    def test_of_many_mutations_on_the_wire_none_runs(self):
        """One statement is approved; what differs in a byte, a value, a type or the search_path is another one."""
        token = self.stack.token("select,update")
        self.stack.behind("update app.products set stock = 1000 where id = 3")
        good = "update app.products set stock = stock - 1 where id = 3"
        with psycopg.connect(self.stack.dsn(token), autocommit=True) as connection:
            approval_id = re.search(r"apr_\w+", str(self.attempt(connection, good))).group(0)
            self.approve(approval_id)
            rng = random.Random(5)
            for i in range(200):
                bad = list(good)
                at = rng.randrange(len(bad))
                choice = rng.randrange(3)
                if choice == 0:
                    bad[at] = rng.choice("abcdefgh0123456789 .-=")
                elif choice == 1:
                    bad.insert(at, rng.choice(" \n\t1234567890;"))
                else:
                    del bad[at]
                if "".join(bad) == good:
                    continue
                self.assertIsNotNone(self.attempt(connection, "".join(bad)), "".join(bad))
            with psycopg.connect(self.stack.dsn(token), autocommit=True) as other:
                other.execute("set search_path to pg_catalog, app")
                self.assertIsNotNone(self.attempt(other, good), "another search_path")
            self.assertEqual(self.stack.behind("select stock from app.products where id = 3"), [["1000"]])
            self.assertIsNone(self.attempt(connection, good))
        self.assertEqual(self.stack.behind("select stock from app.products where id = 3"), [["999"]])


class Sight(ApprovalsCase):
    def test_what_an_approver_sees(self):
        self.stack.behind("create table app.notes (id int primary key, customer_id bigint references app.customers on delete cascade, note text)")
        self.stack.behind("insert into app.notes values (1, 1, 'x'), (2, 1, 'y')")
        held = Held(self.stack, self.stack.token("select,delete"), "delete from app.customers where id = %s", (1,))
        asked = self.pending(lambda a: "app.customers" in a["statement"])
        seen = rig.await_value(lambda: (lambda a: a if "preview" in a else None)(self.show(asked["id"])), "a preview")
        preview = seen["preview"]
        self.assertEqual(preview["exactRows"], "1", preview)
        self.assertEqual(preview["relations"][0]["name"], "app.customers")
        self.assertEqual(preview["relations"][0]["lock"], "ROW EXCLUSIVE")
        self.assertTrue(any("CASCADE" in line for line in preview["relations"][0]["cascades"]), preview)
        row = dict(zip(preview["columns"], preview["rows"][0]["cells"]))
        self.assertEqual(row["id"]["value"], "1")
        self.assertTrue(row["email"]["masked"], "masked for the agent")
        self.assertTrue(row["name"]["masked"], "redacted by the rule")
        self.assertEqual(seen["risk"], "low")
        text = self.stack.cli("approver", "approval", "show", asked["id"]).stdout
        self.assertIn("meets 1 rows, counted", text)
        self.assertIn("$1 = ", text)
        email = self.stack.behind("select email from app.customers where id = 1")[0][0]
        self.assertNotIn(email, text)
        self.assertNotIn("preview", self.stack.json("agent", "approval", "show", asked["id"]), "not for the agent")
        self.stack.cli("approver", "approval", "deny", asked["id"], "--comment", "orders refer to it")
        self.assertIn("orders refer to it", held.end().error.diag.message_detail)
        audit = self.stack.audit()
        self.assertNotIn(email, json.dumps([r for r in audit if r.get("action") == "preview"]))
        again = Held(self.stack, self.stack.token("select,delete"), "delete from app.customers where id = %s", (1,))
        later = self.pending(lambda a: "app.customers" in a["statement"])
        self.assertEqual(self.show(later["id"])["earlier"][0]["id"], asked["id"])
        self.stack.cli("approver", "approval", "deny", later["id"])
        again.end()

    def test_a_shape_lets_its_kind_through(self):
        self.stack.behind("create table app.litter (id int primary key, kind int)")
        self.stack.behind("insert into app.litter select i, i / 10 from generate_series(1, 100) i")
        token = self.stack.token("select,delete")
        sql = "delete from app.litter where id = %s"
        first = Held(self.stack, token, sql, (1,))
        asked = self.pending(lambda a: "app.litter" in a["statement"])
        self.approve(asked["id"], "--template", "--rows", "2", "--for", "5m")
        self.assertEqual(first.end().rowcount, 1)
        second = Held(self.stack, token, sql, (2,)).end()
        self.assertEqual((second.rowcount, second.error), (1, None), "nobody is asked")
        kind = Held(self.stack, token, "delete from app.litter where kind = %s", (3,))
        other = self.pending(lambda a: "kind" in a["statement"])
        self.approve(other["id"], "--template", "--rows", "2")
        self.assertEqual(kind.end().error.sqlstate, "42501", "ten rows are more than two")
        self.assertEqual(self.stack.behind("select count(*) from app.litter"), [["98"]])
        shapes = self.stack.json("approver", "approval", "template", "list")["templates"]
        self.assertEqual(len(shapes), 2)
        for shape in shapes:
            self.stack.cli("approver", "approval", "template", "revoke", shape["id"])
        third = Held(self.stack, token, sql, (3,))
        asked = self.pending(lambda a: "app.litter" in a["statement"])
        self.stack.cli("approver", "approval", "deny", asked["id"])
        third.end()

    def test_what_runs_too_long_is_cancelled(self):
        token = self.stack.token("select,insert")
        sql = "insert into app.support_tickets (customer_id, subject) select 1, 'slow' from generate_series(1, 100000000) g"
        held = Held(self.stack, token, sql)
        asked = self.pending(lambda a: "slow" in a["statement"])
        self.approve(asked["id"])
        held.end()
        self.assertEqual(held.error.sqlstate, "57014")
        self.assertIn("longer than its approval allows", str(held.error))
        used = self.show(asked["id"])
        self.assertIn("runExpireTime", used)
        self.assertEqual(self.stack.behind("select count(*) from app.support_tickets where subject = 'slow'"), [["0"]])

    def test_in_a_transaction_it_waits_for_a_minute_at_most(self):
        held = Held(self.stack, self.stack.token("select,delete"), "delete from app.order_items where order_id = 1", transaction=True)
        asked = self.pending(lambda a: "order_items" in a["statement"])
        self.assertTrue(asked["inTransaction"])
        seconds = lambda name: time.mktime(time.strptime(asked[name][:19], "%Y-%m-%dT%H:%M:%S"))
        self.assertLessEqual(seconds("requestExpireTime") - seconds("createTime"), 61)
        self.stack.cli("approver", "approval", "deny", asked["id"])
        held.end()


class Glass(ApprovalsCase):
    def test_one_person_alone_and_the_review(self):
        self.stack.behind("create table app.broken (id int)")
        held = Held(self.stack, self.stack.token("drop"), "drop table app.broken")
        asked = self.pending(lambda a: "app.broken" in a["statement"])
        self.assertEqual(asked["risk"], "high")
        self.approve(asked["id"])
        self.assertEqual(self.show(asked["id"])["state"], "APPROVAL_PENDING", "two are needed")
        refused = self.stack.cli("agent", "approval", "break-glass", asked["id"], "--comment", "now", check=False)
        self.assertNotEqual(refused.returncode, 0)
        self.stack.cli("approver2", "approval", "break-glass", asked["id"], "--comment", "the shop is down")
        self.assertIsNone(held.end().error)
        self.stack.await_audit(lambda r: r["kind"] == "ALARM" and r["action"] == "GLASS_BROKEN")
        owed = self.stack.json("approver", "approval", "list", "--review")["approvals"]
        self.assertIn(asked["id"], [a["id"] for a in owed])
        own = self.stack.cli("approver2", "approval", "review", asked["id"], "--verdict", "ok", "--comment", "me", check=False)
        self.assertEqual(own.returncode, 1)
        self.stack.cli("approver", "approval", "review", asked["id"], "--verdict", "ok", "--comment", "read INC-1")
        self.assertNotIn(asked["id"], [a["id"] for a in self.stack.json("approver", "approval", "list", "--review")["approvals"]])

    def test_nothing_is_approved_in_a_freeze(self):
        with open(POLICY, encoding="utf-8") as text:
            policy = text.read()
        now = time.time()
        moment = lambda t: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(t))
        frozen = os.path.join(self.stack.dir, "frozen.yaml")
        with open(frozen, "w", encoding="utf-8") as out:
            out.write(policy + f"---\napiVersion: postern/v1\nkind: Policy\nmetadata: {{name: calendar}}\nsubjects: [{{agent: '*'}}]\n"
                      f"targets: {{env: [demo]}}\nfreezes:\n  - {{name: year-end, from: '{moment(now - 60)}', until: '{moment(now + 3600)}', message: ask ops}}\n")
        self.stack.cli("admin", "policy", "apply", frozen)
        self.addCleanup(self.stack.cli, "admin", "policy", "apply", POLICY)
        self.stack.behind("create table app.frozen (id int)")
        held = Held(self.stack, self.stack.token("drop"), "drop table app.frozen")
        asked = self.pending(lambda a: "app.frozen" in a["statement"])
        refused = self.approve(asked["id"], check=False)
        self.assertEqual(refused.returncode, 1)
        self.assertIn("year-end", refused.stderr)
        self.assertIn("FREEZE", self.stack.cli("approver", "approval", "show", asked["id"]).stdout)
        self.stack.cli("approver", "approval", "break-glass", asked["id"], "--comment", "it cannot wait")
        self.assertIsNone(held.end().error)

    def test_standing_in(self):
        made = self.stack.json("approver", "approval", "delegation", "add", "--to", "nobody@example.com", "--until", "8h")
        self.assertEqual([d["id"] for d in self.stack.json("approver2", "approval", "delegation", "list")["delegations"]], [made["id"]])
        self.assertNotEqual(self.stack.cli("approver2", "approval", "delegation", "end", made["id"], check=False).returncode, 0)
        self.stack.cli("approver", "approval", "delegation", "end", made["id"])
        self.assertNotIn("delegations", {k for k, v in self.stack.json("approver", "approval", "delegation", "list").items() if v})


class Revoked(ApprovalsCase):
    def test_a_revoked_grant_ends_what_waits(self):
        self.stack.behind("create table if not exists app.outlived (id int)")
        held = Held(self.stack, self.stack.token("select,delete"), "delete from app.outlived where id = 2")
        asked = self.pending(lambda a: "outlived" in a["statement"])
        self.stack.cli("agent", "token", "revoke", asked["grantId"])
        self.assertIsNotNone(held.end().error)
        late = self.approve(asked["id"], check=False)
        self.assertEqual(late.returncode, 1)
        self.assertEqual(self.show(asked["id"])["state"], "APPROVAL_CANCELLED")


class Restart(ApprovalsCase):
    def test_a_held_statement_outlives_the_control_planes_restart(self):
        self.stack.behind("create table if not exists app.outlived (id int); insert into app.outlived values (1), (2)")
        held = Held(self.stack, self.stack.token("select,delete"), "delete from app.outlived where id = 2")
        asked = self.pending(lambda a: "outlived" in a["statement"])
        control_plane = int(self.stack.env["POSTERN_CONTROLPLANE_PID"])
        os.kill(control_plane, signal.SIGKILL)
        rig.await_end(control_plane)
        self.stack.up()
        self.assertIsNone(held.error)
        self.assertEqual(self.show(asked["id"])["state"], "APPROVAL_PENDING")
        self.approve(asked["id"])
        held.end(60)
        self.assertIsNone(held.error)
        self.assertEqual(held.rowcount, 1)
        self.assertEqual(self.stack.behind("select id from app.outlived"), [["1"]])


class CountingProxy:
    """Passes bytes between the sidecar and the server, and counts those towards the server by connection."""

    def __init__(self, port):
        self.upstream = ("127.0.0.1", port)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.lock = threading.Lock()
        self.counts = {}  # connection → bytes towards the server
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        number = 0
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            number += 1
            threading.Thread(target=self._serve, args=(client, number), daemon=True).start()

    def _serve(self, client, number):
        server = socket.create_connection(self.upstream)
        with self.lock:
            self.counts[number] = 0
        while True:
            for ready in select.select([client, server], [], [])[0]:
                try:
                    data = ready.recv(65536)
                    if not data:
                        raise OSError
                    if ready is client:
                        with self.lock:
                            self.counts[number] += len(data)
                    (server if ready is client else client).sendall(data)
                except OSError:
                    client.close()
                    server.close()
                    return

    def snapshot(self):
        with self.lock:
            return dict(self.counts)

    def close(self):
        self.listener.close()


class Silence(ApprovalsCase):
    """While a statement waits, not a byte of its session's connection reaches the server."""

    def through(self, proxy):
        target = self.stack.json("admin", "target", "show", "demo")
        self.stack.cli("admin", "target", "update", "demo", "--port", str(proxy.port))
        return target["port"]

    def test_zero_bytes_during_a_hold(self):
        port = int(re.search(r":(\d+)/", self.stack.env["POSTERN_UPSTREAM_URI"]).group(1))
        proxy = CountingProxy(port)
        self.addCleanup(proxy.close)
        before = self.through(proxy)
        self.addCleanup(self.stack.cli, "admin", "target", "update", "demo", "--port", str(before))
        self.stack.behind("create table if not exists app.quiet (id int)")
        token = self.stack.token("select,drop,insert")
        for name, sql, values in (("simple", "drop table app.quiet", None),
                                  ("extended", "insert into app.support_tickets (customer_id, subject) values (%s, 'quiet')", (1,))):
            with self.subTest(name):
                others = set(proxy.snapshot())
                held = Held(self.stack, token, sql, values)
                asked = self.pending(lambda a: "quiet" in a["statement"])
                start = proxy.snapshot()
                # The catalog is read by connections of the sidecar's own: those that move without a session.
                mine = [n for n in start if n not in others]
                self.assertTrue(mine)
                time.sleep(3)  # the time over which silence is measured, not a wait for an event
                during = proxy.snapshot()
                silent = [n for n in mine if during[n] == start[n]]
                self.assertTrue(silent, "one of the connections made for the session was silent: the session's")
                self.stack.cli("approver", "approval", "approve", asked["id"])
                if name == "simple":
                    self.stack.cli("approver2", "approval", "approve", asked["id"])
                held.end()
                after = proxy.snapshot()
                self.assertTrue(any(after[n] > during[n] for n in silent), "and it was the session's: then it spoke")


class Release(ApprovalsCase):
    def test_time_from_decision_to_release(self):
        """Reports how long it takes from the decision to the claim, and to the client's answer. No bound is tested here."""
        token = self.stack.token("select,insert")
        connection = psycopg.connect(self.stack.dsn(token), autocommit=True)
        stub_times, answer_times = [], []
        for i in range(int(os.environ.get("POSTERN_RELEASES", "40"))):
            done = {}

            def run(n=i):
                connection.execute("insert into app.support_tickets (customer_id, subject) values (1, %s)", (f"release {n}",))
                done["at"] = time.time()
            worker = threading.Thread(target=run)
            worker.start()
            asked = self.pending(lambda a: True)
            self.approve(asked["id"])
            worker.join(20)
            used = self.show(asked["id"])
            at = lambda name, used=used: rfc3339(used[name])
            stub_times.append(at("useTime") - at("decideTime"))
            answer_times.append(done["at"] - at("decideTime"))
        connection.close()
        for name, times in (("claimed", sorted(stub_times)), ("answered", sorted(answer_times))):
            p = lambda q, times=times: times[min(len(times) - 1, int(len(times) * q))] * 1000
            print(f"from decision to {name}: p50 {p(0.5):.1f} ms, p99 {p(0.99):.1f} ms, max {times[-1] * 1000:.1f} ms over {len(times)}", file=sys.stderr)


def rfc3339(text):
    whole, _, fraction = text.rstrip("Z").partition(".")
    import calendar
    return calendar.timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S")) + (float("0." + fraction) if fraction else 0.0)


class Screen:
    """A pseudo-terminal of 80×24 with `postern approval watch` on it. Keeps what is visible, as far as these tests need."""

    def __init__(self, stack, profile, rows=24, columns=80, term="xterm-256color"):
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        env = dict(stack.env, TERM=term, LC_ALL="C.UTF-8")
        self.process = subprocess.Popen([os.path.join(env["POSTERN_BIN"], "postern"), "--profile", profile, "approval", "watch"],
                                        env=env, stdin=slave, stdout=slave, stderr=slave, close_fds=True, start_new_session=True)
        os.close(slave)
        self.raw = ""

    def read(self, timeout=0.2):
        while select.select([self.master], [], [], timeout)[0]:
            try:
                data = os.read(self.master, 65536)
            except OSError:
                return
            if not data:
                return
            self.raw += data.decode(errors="replace")

    def expect(self, text, timeout=15):
        deadline = time.monotonic() + timeout
        while True:
            self.read()
            plain = re.sub(r"\x1b(\[[0-9;?]*[a-zA-Z@]|\([AB0]|[=>78M])", "", self.raw)
            if text in plain:
                return plain
            if time.monotonic() > deadline:
                raise AssertionError(f"{text!r} is not on the screen:\n{plain[-3000:]}")

    def forget(self):
        self.read(0.3)
        self.raw = ""

    def type(self, keys):
        os.write(self.master, keys.encode())

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.master)


class Watch(ApprovalsCase):
    def test_list_detail_and_decision_by_keyboard(self):
        for term in ("xterm-256color", "screen", "vt100"):
            with self.subTest(term):
                held = Held(self.stack, self.stack.token("select,delete"), "delete from app.support_tickets where id = -1")
                asked = self.pending(lambda a: "support_tickets" in a["statement"])
                screen = Screen(self.stack, "approver", term=term)
                self.addCleanup(screen.close)
                screen.expect("postern approvals")
                screen.expect("support-bot")
                screen.type("\r")
                screen.expect("on behalf" if asked.get("onBehalfOf") else "support-bot")
                screen.expect("statement")
                screen.type("a")
                screen.expect("comment?")
                screen.type("from the screen\r")
                screen.expect("approved")
                self.assertEqual(held.end().rowcount, 0)
                shown = self.show(asked["id"])
                self.assertEqual(shown["votes"][0]["comment"], "from the screen")
                screen.type("q")
                self.assertEqual(screen.process.wait(10), 0)

    def test_escape_decides_nothing_and_small_windows_work(self):
        held = Held(self.stack, self.stack.token("select,delete"), "delete from app.support_tickets where id = -2")
        asked = self.pending(lambda a: "support_tickets" in a["statement"])
        screen = Screen(self.stack, "approver", rows=8, columns=40)
        self.addCleanup(screen.close)
        screen.expect("support-bot")
        screen.type("d")
        screen.expect("comment?")
        screen.type("no\x1b")
        screen.expect("b break")
        self.assertEqual(self.show(asked["id"])["state"], "APPROVAL_PENDING")
        fcntl.ioctl(screen.master, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        screen.process.send_signal(28)  # SIGWINCH
        screen.type("d")
        screen.expect("comment?")
        screen.type("wrong table\r")
        self.assertIn("wrong table", held.end().error.diag.message_detail)
        screen.type("qq")
        self.assertEqual(screen.process.wait(10), 0)

    def test_in_a_pipe_each_change_is_a_line(self):
        watch = self.stack.start_cli("approver", "approval", "watch")
        held = Held(self.stack, self.stack.token("select,delete"), "delete from app.support_tickets where id = -3")
        line = watch.stdout.readline()
        self.assertRegex(line, r"^apr_\w+  pending")
        self.stack.cli("approver", "approval", "deny", line.split()[0])
        held.end()
        watch.kill()
        watch.communicate()


class Receiver:
    """Takes webhooks on a loopback port, and answers as told."""

    def __init__(self):
        outer = self
        self.got, self.status = [], 200

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.got.append((dict(self.headers), body))
                self.send_response(outer.status)
                self.end_headers()

            def log_message(self, *_):
                pass
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server.server_address[1]}/"

    def event(self, name):
        return rig.await_value(lambda: next((m for m in self.got if m[0].get("Postern-Event") == name), None), name)


def genuine(headers, body, secret, seen):
    """docs/webhooks.md's check."""
    fields = dict(part.split("=", 1) for part in headers["Postern-Signature"].split(","))
    delivery = headers["Postern-Delivery"]
    wanted = hmac.new(secret, b".".join([fields["t"].encode(), delivery.encode(), body]), hashlib.sha256).hexdigest()
    fresh = abs(time.time() - int(fields["t"])) < 300 and delivery not in seen
    return fresh and hmac.compare_digest(wanted, fields["v1"]) and not seen.add(delivery)


class Hooks(ApprovalsCase):
    def test_signed_retried_and_never_deciding(self):
        receiver = Receiver()
        secret = os.path.join(self.stack.dir, "hook.secret")
        with open(secret, "w", encoding="utf-8") as out:
            out.write("k" * 40)
        self.stack.down()
        with open(os.path.join(self.stack.dir, "controlplane.yaml"), "a", encoding="utf-8") as config:
            config.write(f"webhooks:\n  - {{name: ops, url: '{receiver.url}', secret_file: {secret}, allow_loopback_http: true}}\n"
                         f"  - {{name: chat, shape: slack, url: '{receiver.url}', allow_loopback_http: true, events: [approval.denied]}}\n")
        self.stack.up()
        receiver.status = 503
        held = Held(self.stack, self.stack.token("select,delete"), "delete from app.support_tickets where id = -4")
        asked = self.pending(lambda a: "support_tickets" in a["statement"])
        headers, body = receiver.event("approval.pending")
        seen = set()
        self.assertTrue(genuine(headers, body, b"k" * 40, seen))
        self.assertFalse(genuine(headers, body, b"k" * 40, seen), "played again")
        self.assertFalse(genuine(headers, body + b" ", b"k" * 40, set()), "altered")
        self.assertNotIn(b"id = -4", body, "the statement is looked at behind a login")
        self.assertEqual(json.loads(body)["approval"], asked["id"])
        waiting = self.stack.json("admin", "approval", "webhook", "list", "--state", "waiting")["deliveries"]
        self.assertEqual(waiting[0]["webhook"], "ops")
        receiver.status = 200
        rig.await_value(lambda: self.stack.json("admin", "approval", "webhook", "list", "--state", "delivered")["deliveries"] or None,
                        "a delivery after a retry", 30)
        self.assertEqual(self.show(asked["id"])["state"], "APPROVAL_PENDING", "an answer of 200 decides nothing")
        self.stack.cli("approver", "approval", "deny", asked["id"])
        held.end()
        rig.await_value(lambda: next((m for m in receiver.got if b"blocks" in m[1]), None), "the message in Slack's shape")


if __name__ == "__main__":
    unittest.main()
