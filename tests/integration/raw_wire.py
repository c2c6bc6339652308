"""The wire protocol by hand, for what no driver would send."""
import socket
import struct

SSL_REQUEST = struct.pack("!ii", 8, 80877103)
GSS_REQUEST = struct.pack("!ii", 8, 80877104)


def startup(minor=0, **parameters):
    body = b"".join(k.encode() + b"\0" + v.encode() + b"\0" for k, v in parameters.items()) + b"\0"
    return struct.pack("!ihh", len(body) + 8, 3, minor) + body


def message(kind, body=b""):
    return kind + struct.pack("!i", len(body) + 4) + body


class Wire:
    """A connection of bytes."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def exactly(self, size):
        data = b""
        while len(data) < size:
            more = self.socket.recv(size - len(data))
            if not more:
                raise EOFError(data)
            data += more
        return data

    def next(self):
        kind, size = struct.unpack("!ci", self.exactly(5))
        return kind, self.exactly(size - 4)

    def until(self, wanted):
        """Messages up to the first of that kind, as (kind, body)."""
        seen = []
        while not seen or seen[-1][0] != wanted:
            seen.append(self.next())
        return seen

    def rest(self):
        data = b""
        try:
            while more := self.socket.recv(4096):
                data += more
        except ConnectionResetError:
            pass
        return data

    def query(self, sql):
        """A simple query's messages, up to ReadyForQuery."""
        self.send(message(b"Q", sql.encode() + b"\0"))
        return self.until(b"Z")

    def tls(self, context, **more):
        self.socket = context.wrap_socket(self.socket, server_hostname="localhost", **more)

    def log_in(self, token, minor=0, **parameters):
        self.send(startup(minor, user="me", database="postern_demo", **parameters))
        before = self.until(b"R")
        self.send(message(b"p", token.encode() + b"\0"))
        return before + self.until(b"Z")
