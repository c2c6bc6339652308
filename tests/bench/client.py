"""Clients that cost little themselves: libpq by ctypes, and bytes read straight from its socket."""
import ctypes
import ctypes.util
import os
import re
import socket
import subprocess
import tempfile

from systems import PG_BIN, process_cpu

_pq = ctypes.CDLL(ctypes.util.find_library("pq") or "libpq.so.5")
_pq.PQconnectdb.restype = ctypes.c_void_p
_pq.PQexec.restype = ctypes.c_void_p
_pq.PQerrorMessage.restype = ctypes.c_char_p
_pq.PQgetResult.restype = ctypes.c_void_p
_pq.PQcmdTuples.restype = ctypes.c_char_p
for _name in ("PQstatus", "PQerrorMessage", "PQsocket", "PQfinish", "PQgetResult", "PQflush"):
    getattr(_pq, _name).argtypes = [ctypes.c_void_p]
for _name in ("PQexec", "PQsendQuery"):
    getattr(_pq, _name).argtypes = [ctypes.c_void_p, ctypes.c_char_p]
for _name in ("PQresultStatus", "PQclear", "PQcmdTuples"):
    getattr(_pq, _name).argtypes = [ctypes.c_void_p]
_pq.PQputCopyData.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int]
_pq.PQputCopyEnd.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
COMMAND_OK, TUPLES_OK, COPY_IN = 1, 2, 4


class Connection:
    def __init__(self, endpoint):
        self.handle = _pq.PQconnectdb(endpoint.conninfo().encode())
        if _pq.PQstatus(self.handle) != 0:
            raise RuntimeError(f"{endpoint.name}: {self.error()}")

    def error(self):
        return _pq.PQerrorMessage(self.handle).decode(errors="replace").strip()

    def close(self):
        _pq.PQfinish(self.handle)

    def execute(self, sql, expected=(COMMAND_OK, TUPLES_OK)):
        result = _pq.PQexec(self.handle, sql.encode())
        status = _pq.PQresultStatus(result)
        _pq.PQclear(result)
        if status not in expected:
            raise RuntimeError(f"{sql[:60]}: {self.error()}")

    def drain(self, sql):
        """Runs a query and reads its answer off the socket without looking at it; returns the bytes. Plaintext only."""
        if _pq.PQsendQuery(self.handle, sql.encode()) != 1 or _pq.PQflush(self.handle) != 0:
            raise RuntimeError(f"{sql[:60]}: {self.error()}")
        wire = socket.socket(fileno=os.dup(_pq.PQsocket(self.handle)))
        wire.setblocking(True)
        buffer, tail, total = bytearray(1 << 18), b"", 0
        with wire:
            while not tail.endswith(b"Z\0\0\0\5I"):
                n = wire.recv_into(buffer)
                if n == 0:
                    raise RuntimeError(f"{sql[:60]}: the connection was closed after {total} bytes")
                total += n
                tail = (tail + bytes(buffer[max(0, n - 6):n]))[-6:]
        return total

    def copy_in(self, sql, chunk, chunks):
        self.execute(sql, (COPY_IN,))
        for _ in range(chunks):
            if _pq.PQputCopyData(self.handle, chunk, len(chunk)) != 1:
                raise RuntimeError(f"{sql[:60]}: {self.error()}")
        _pq.PQputCopyEnd(self.handle, None)
        result = _pq.PQgetResult(self.handle)
        if _pq.PQresultStatus(result) != COMMAND_OK:
            raise RuntimeError(f"{sql[:60]}: {self.error()}")
        _pq.PQclear(result)
        while _pq.PQgetResult(self.handle):
            pass


def pgbench(endpoint, clients, seconds, mode="prepared", script=None, reconnect=False, log=False):
    """Runs pgbench; returns transactions, tps, CPU seconds of the proxy, and with `log` every latency in µs."""
    with tempfile.TemporaryDirectory() as scratch:
        words = [f"{PG_BIN}/pgbench", "-n", "-M", mode, "-c", str(clients), "-j", str(min(clients, 2)), "-T", str(seconds)]
        if script:
            path = os.path.join(scratch, "script.sql")
            with open(path, "w", encoding="utf-8") as out:
                out.write(script)
            words += ["-f", path]
        else:
            words += ["-S"]
        words += (["-C"] if reconnect else []) + (["-l"] if log else [])
        before, also = endpoint.cpu(), process_cpu(endpoint.also) if endpoint.also else 0.0
        done = subprocess.run(words, env=endpoint.env(), cwd=scratch, capture_output=True, text=True, check=False)
        cpu, beside = endpoint.cpu() - before, (process_cpu(endpoint.also) - also) if endpoint.also else 0.0
        if done.returncode != 0:
            raise RuntimeError(f"pgbench through {endpoint.name} failed: {done.stderr[-500:]}")
        count = int(re.search(r"transactions actually processed: (\d+)", done.stdout).group(1))
        tps = float(re.search(r"tps = ([\d.]+)", done.stdout).group(1))
        found = {"transactions": count, "tps": tps, "cpu": cpu, "cpu_us": 1e6 * cpu / max(count, 1), "beside_us": 1e6 * beside / max(count, 1)}
        if log:
            found["latencies"] = []
            for name in os.listdir(scratch):
                if name.startswith("pgbench_log"):
                    with open(os.path.join(scratch, name), encoding="utf-8") as lines:
                        found["latencies"] += [int(line.split()[2]) for line in lines]
        return found
