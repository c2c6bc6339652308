"""A Postgres client that keeps every byte it receives."""
import base64
import hashlib
import hmac
import os
import socket
import struct

CHUNK = 1 << 18


def message(kind, body=b""):
    return kind + struct.pack("!i", len(body) + 4) + body


def text(value):
    return value.encode() + b"\0"


def query(sql):
    return message(b"Q", text(sql))


def parse(sql, name=""):
    return message(b"P", text(name) + text(sql) + b"\0\0")


def bind(values=(), portal="", statement="", binary=False):
    body = text(portal) + text(statement) + struct.pack("!hh", 0, len(values))
    for value in values:
        body += struct.pack("!i", -1) if value is None else struct.pack("!i", len(value.encode())) + value.encode()
    return message(b"B", body + struct.pack("!hh", 1, int(binary)))


def describe(kind, name=""):
    return message(b"D", kind + text(name))


def execute(portal="", rows=0):
    return message(b"E", text(portal) + struct.pack("!i", rows))


def close(kind, name=""):
    return message(b"C", kind + text(name))


SYNC, FLUSH = message(b"S"), message(b"H")


class Ended(Exception):
    """The server closed the connection."""


class Client:
    """One session. `take()` gives all bytes that came since the last time."""

    def __init__(self, address, user, password, database, **parameters):
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self.socket.settimeout(60)
        self.socket.connect(address)
        self.data, self.at, self.status = bytearray(), 0, b"I"
        words = {"user": user, "database": database, **parameters}
        body = b"".join(text(key) + text(value) for key, value in words.items()) + b"\0"
        self.socket.sendall(struct.pack("!ii", len(body) + 8, 196608) + body)
        self._log_in(password)

    def _log_in(self, password):
        kind, body = self.next()
        while (kind, body[:4]) != (b"R", b"\0\0\0\0"):
            if kind == b"E":
                raise Ended(fields(body))
            wanted = struct.unpack("!i", body[:4])[0]
            if wanted == 3:
                self.send(message(b"p", text(password)))
            elif wanted == 10:
                self.scram = Scram(password)
                first = self.scram.first()
                self.send(message(b"p", b"SCRAM-SHA-256\0" + struct.pack("!i", len(first)) + first))
            elif wanted == 11:
                self.send(message(b"p", self.scram.proof(body[4:])))
            kind, body = self.next()
        self.until_ready()

    def send(self, data):
        self.socket.sendall(data)

    def next(self):
        """The next message, as (kind, body)."""
        while True:
            left = len(self.data) - self.at
            if left >= 5:
                kind, size = struct.unpack_from("!ci", self.data, self.at)
                if left > size:
                    begin, self.at = self.at + 5, self.at + size + 1
                    if kind == b"Z":
                        self.status = bytes(self.data[begin:self.at])
                    return kind, bytes(self.data[begin:self.at])
            more = self.socket.recv(CHUNK)
            if not more:
                raise Ended("the connection was closed")
            self.data += more

    def until_ready(self, copy=None):
        """Messages up to and with ReadyForQuery. `copy`: what to send when the server wants COPY data."""
        seen = []
        while not seen or seen[-1][0] != b"Z":
            seen.append(self.next())
            if seen[-1][0] == b"G":
                self.send(copy or message(b"f", text("no data")))
        return seen

    def take(self):
        data, self.data, self.at = bytes(self.data), self.data[self.at:], 0
        return data

    def close(self):
        try:
            self.send(message(b"X"))
        except OSError:
            pass
        self.socket.close()


class Scram:
    """RFC 5802 as a client, for sessions straight to Postgres."""

    def __init__(self, password):
        self.password, self.nonce = password.encode(), base64.b64encode(os.urandom(18)).decode()

    def first(self):
        return f"n,,n=,r={self.nonce}".encode()

    def proof(self, challenge):
        words = dict(part.split("=", 1) for part in challenge.decode().split(","))
        salted = hashlib.pbkdf2_hmac("sha256", self.password, base64.b64decode(words["s"]), int(words["i"]))
        key = hmac.digest(salted, b"Client Key", "sha256")
        last = f"c=biws,r={words['r']}"
        signed = f"n=,r={self.nonce},{challenge.decode()},{last}".encode()
        signature = hmac.digest(hashlib.sha256(key).digest(), signed, "sha256")
        return f"{last},p={base64.b64encode(bytes(a ^ b for a, b in zip(key, signature))).decode()}".encode()


def fields(body):
    """An ErrorResponse or NoticeResponse as a dictionary."""
    return {part[:1].decode(): part[1:].decode(errors="replace") for part in body.split(b"\0") if part}
