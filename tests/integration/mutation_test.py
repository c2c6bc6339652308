#!/usr/bin/env python3
"""Whole conversations of a client, broken at random and sent to the gate.

However broken, a conversation may end its own session and nothing else: the sidecar lives, a neighbour's session does
not notice, and no byte of a masked value comes back. POSTERN_MUTATIONS says how many (default 400), POSTERN_SEED which.
"""
import os
import random
import select
import socket
import ssl
import struct
import unittest

import psycopg

import rig
from raw_wire import SSL_REQUEST, Wire, message, startup

CANARY = b"zqx7"


def text(value):
    return value.encode() + b"\0"


def parse(sql, name="", types=()):
    return message(b"P", text(name) + text(sql) + struct.pack(f"!h{len(types)}i", len(types), *types))


def bind(values=(), portal="", name="", results=0):
    body = text(portal) + text(name) + struct.pack("!hh", 0, len(values))
    for value in values:
        body += struct.pack("!i", len(value)) + value
    return message(b"B", body + struct.pack("!hh", 1, results))


def describe(kind=b"P", name=""):
    return message(b"D", kind + text(name))


def execute(portal="", rows=0):
    return message(b"E", text(portal) + struct.pack("!i", rows))


def query(sql):
    return message(b"Q", text(sql))


SYNC, FLUSH, END = message(b"S"), message(b"H"), message(b"X")
CUSTOMERS = "select * from app.customers order by id limit 20"
# Each is a list of messages, so that a mutation can break one, or their order.
CONVERSATIONS = [
    [query("select id, name, email, phone from app.customers limit 5"), query("select 1; " + CUSTOMERS), END],
    [parse(CUSTOMERS), bind(), describe(), execute(), SYNC, END],
    [parse("select email, national_id from app.customers where id = $1", "s", (23,)), describe(b"S", "s"), SYNC,
     bind((b"7",), "p", "s"), execute("p"), SYNC, bind((b"8",), "", "s", 1), describe(), execute(), SYNC, END],
    [query("begin"), parse(CUSTOMERS, "c"), bind((), "c", "c"), describe(b"P", "c"), execute("c", 3), FLUSH, execute("c", 3), FLUSH,
     message(b"C", b"P" + text("c")), SYNC, query("commit"), END],
    [query("begin"), query("declare k cursor for " + CUSTOMERS), query("fetch 3 from k"), query("move 2 in k"), query("close k"),
     query("rollback"), END],
    [query("copy (select id, email, phone from app.customers) to stdout"), query("copy app.customers (id, email) to stdout (format csv)"),
     query("copy app.customers to stdout (format binary)"), END],
    [parse("copy app.payments to stdout"), bind(), describe(), execute(), SYNC, END],
    [query("begin"), query("select no_such_column from app.orders"), query("select 1"), query("rollback"),
     parse("select 1/0"), bind(), execute(), parse(CUSTOMERS), bind(), execute(), SYNC, END],
    [query("insert into app.support_tickets (customer_id, subject, body) values (7, 'a', 'b') returning *"),
     query("update app.support_tickets set status = 'closed' where id = 1"), END],
    [query("prepare a as select email from app.customers where id = $1"), query("execute a (3)"), query("deallocate a"), END],
    [query("set search_path to app"), query("select * from customers limit 3"), query("reset all"), query("discard all"),
     query(CUSTOMERS), END],
    [query("explain (analyze, verbose) " + CUSTOMERS), query("select email::int from app.customers"),
     query("select max(email) from app.customers"), message(b"F", struct.pack("!ihhh", 1598, 0, 0, 0)), END],
]


class Mutator:
    """Breaks conversations. The same seed breaks them in the same way."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def conversation(self):
        messages = list(self.random.choice(CONVERSATIONS))
        for _ in range(self.random.choice((1, 1, 1, 2, 3, 5))):
            self.random.choice((self.flip, self.length, self.cut, self.insert, self.kind, self.shuffle, self.drop, self.repeat,
                                self.splice, self.zero))(messages)
            if not messages:
                messages = [SYNC]
        return messages

    def at(self, messages):
        return self.random.randrange(len(messages))

    def flip(self, messages):
        i = self.at(messages)
        data = bytearray(messages[i])
        for _ in range(self.random.choice((1, 1, 2, 8))):
            data[self.random.randrange(len(data))] ^= 1 << self.random.randrange(8)
        messages[i] = bytes(data)

    def length(self, messages):
        i = self.at(messages)
        size = self.random.choice((0, 3, 4, 5, len(messages[i]) - 2, len(messages[i]), 1 << 16, 1 << 30, -1, -(1 << 31)))
        messages[i] = messages[i][:1] + struct.pack("!i", size) + messages[i][5:]

    def cut(self, messages):
        i = self.at(messages)
        messages[i] = messages[i][:self.random.randrange(len(messages[i]) + 1)]

    def insert(self, messages):
        i = self.at(messages)
        at = self.random.randrange(len(messages[i]) + 1)
        messages[i] = messages[i][:at] + self.random.randbytes(self.random.choice((1, 2, 4, 40))) + messages[i][at:]

    def kind(self, messages):
        i = self.at(messages)
        messages[i] = bytes([self.random.choice(b"QPBDECSHXFdcfp\0zZ1T")]) + messages[i][1:]

    def shuffle(self, messages):
        self.random.shuffle(messages)

    def drop(self, messages):
        del messages[self.at(messages)]

    def repeat(self, messages):
        i = self.at(messages)
        messages[i:i] = [messages[i]] * self.random.choice((1, 2, 50))

    def splice(self, messages):
        i = self.at(messages)
        messages[i:] = self.random.choice(CONVERSATIONS)

    def zero(self, messages):
        i = self.at(messages)
        data = bytearray(messages[i])
        at = self.random.randrange(len(data))
        data[at:at + self.random.choice((1, 4, 20))] = b"\0" * self.random.choice((1, 4, 20))
        messages[i] = bytes(data)


class Mutations(rig.GateTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        canary = CANARY.decode()
        cls.stack.behind(f"update app.customers set email = '{canary}' || id || '@example.com', national_id = '{canary}' || id,"
                         f" phone = '{canary}' || lpad(id::text, 6, '0')")
        cls.stack.behind(f"update app.payments set card_number = '{canary}' || lpad(id::text, 12, '0')")
        cls.token = cls.stack.token()
        cls.seed = int(os.environ.get("POSTERN_SEED", random.randrange(1 << 32)))
        cls.count = int(os.environ.get("POSTERN_MUTATIONS", "400"))

    def alive(self, neighbour, what):
        try:
            os.kill(int(self.stack.env["POSTERN_SIDECAR_PID"]), 0)
            self.assertEqual(neighbour.execute("select count(*) from app.customers where id < 4").fetchone(), (3,))
        except (OSError, psycopg.Error) as error:
            self.fail(f"{what}: the sidecar or the neighbour's session is gone: {error}")

    def answers(self, wire, wait):
        """What comes until the gate closes, or has nothing more to say."""
        data = b""
        try:
            while select.select([wire.socket], [], [], wait)[0]:
                more = wire.socket.recv(65536)
                if not more:
                    break
                data += more
        except OSError:
            pass
        return data

    def neighbour(self):
        return psycopg.connect(self.stack.dsn(self.token), autocommit=True)

    def test_whole_conversations_work(self):
        # What is mutated below must be worth mutating.
        for messages in CONVERSATIONS:
            with Wire(self.stack.port) as wire:
                wire.log_in(self.token)
                wire.send(b"".join(messages))
                data = self.answers(wire, 10)
                self.assertNotIn(CANARY, data)
                self.assertNotIn(b"SFATAL\0", data)

    def test_broken_conversations_end_alone(self):
        mutator = Mutator(self.seed)
        print(f"seed {self.seed}, {self.count} mutations", flush=True)
        with self.neighbour() as neighbour:
            ended, bytes_back = 0, 0
            for number in range(self.count):
                messages = mutator.conversation()
                what = f"seed {self.seed}, mutation {number}"
                with Wire(self.stack.port) as wire:
                    wire.log_in(self.token)
                    try:
                        wire.send(b"".join(messages))
                        wire.socket.shutdown(socket.SHUT_WR)
                    except OSError:
                        pass  # the gate has closed already
                    data = self.answers(wire, 10)
                bytes_back += len(data)
                ended += b"SFATAL\0" in data
                self.assertNotIn(CANARY, data, f"{what}: a masked value came back")
                self.alive(neighbour, what)
            print(f"{ended} sessions were ended for it, {bytes_back} bytes came back", flush=True)
            # If every one is refused at its first byte, or none is, nothing was tested.
            self.assertGreater(ended, self.count // 20)
            self.assertGreater(bytes_back, self.count * 100)

    def test_broken_openings_end_alone(self):
        mutator = Mutator(self.seed + 1)
        whole = [startup(user="me", database="postern_demo", application_name="x", options="-c statement_timeout=1s"),
                 message(b"p", text(self.token)), query("select 1"), END]
        with self.neighbour() as neighbour:
            for number in range(self.count // 2):
                messages = list(whole)
                for _ in range(mutator.random.choice((1, 2, 3))):
                    mutator.random.choice((mutator.flip, mutator.length, mutator.cut, mutator.insert, mutator.zero))(messages)
                    messages = [part for part in messages if part] or [b"\0"]
                with Wire(self.stack.port) as wire:
                    try:
                        wire.send(b"".join(messages))
                        wire.socket.shutdown(socket.SHUT_WR)
                    except OSError:
                        pass
                    data = self.answers(wire, 15)
                self.assertNotIn(CANARY, data)
                self.assertNotIn(self.token.encode(), data)
                if number % 10 == 0:
                    self.alive(neighbour, f"seed {self.seed}, opening {number}")

    def test_noise_instead_of_tls_ends_alone(self):
        mutator = Mutator(self.seed + 2)
        context = ssl.create_default_context(cafile=os.path.join(self.stack.dir, "sidecar/tls/ca.pem"))
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        hello = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
        with self.assertRaises(ssl.SSLWantReadError):
            hello.do_handshake()
        greeting = outgoing.read()
        with self.neighbour() as neighbour:
            for number in range(self.count // 8):
                messages = [greeting]
                mutator.flip(messages)
                with Wire(self.stack.port) as wire:
                    try:
                        if number % 2 == 0:
                            wire.send(SSL_REQUEST)
                            wire.exactly(1)
                        wire.send(messages[0] + mutator.random.randbytes(200))
                        wire.socket.shutdown(socket.SHUT_WR)
                    except (OSError, EOFError):
                        pass
                    self.answers(wire, 15)
                if number % 10 == 0:
                    self.alive(neighbour, f"seed {self.seed}, greeting {number}")


if __name__ == "__main__":
    unittest.main()
