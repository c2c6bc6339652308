"""Plays generated turns to a server and searches everything that comes back."""
import collections
import dataclasses
import random
import re

import wire
from statements import Statements, simple

TURNS_PER_SESSION = 400
KEPT = 12  # turns that a finding shows
TAG_ROWS = re.compile(rb" ([0-9]+)\0$")


@dataclasses.dataclass
class Finding:
    """A canary that came out."""
    seed: int
    needle: bytes
    around: bytes
    turns: list

    def __str__(self):
        shown = "\n".join("    " + " ;; ".join(texts) for texts in self.turns)
        return f"canary {self.needle!r} in {self.around!r}; session of seed {self.seed} ended with\n{shown}"


class Driver:
    """`connect()` opens a session. Counts are kept in `counts`, findings in `findings`."""

    def __init__(self, connect, needles, relations, share_devious=0.2):
        self.connect, self.needles, self.relations, self.share = connect, needles, relations, share_devious
        self.counts, self.findings, self.errors = collections.Counter(), [], collections.Counter()
        self.examples = {}

    def run(self, seed, statements, stop_at_first=False):
        """Plays `statements` statements in sessions of seeds seed, seed + 1, …"""
        while self.counts["statements"] < statements and not (stop_at_first and self.findings):
            self.session(seed, min(TURNS_PER_SESSION, statements - self.counts["statements"]), stop_at_first)
            seed += 1

    def session(self, seed, statements, stop_at_first):
        generator = Statements(random.Random(seed), self.relations, self.share)
        client = self.connect()
        self.look(client, seed, [["start-up"]])
        played, end = [], self.counts["statements"] + statements
        try:
            while self.counts["statements"] < end and not (stop_at_first and self.findings):
                for turn in generator.turns():
                    played.append(turn.texts)
                    self.play(client, turn)
                    self.look(client, seed, played[-KEPT:])
                if client.status != b"I":
                    played.append(["ROLLBACK"])
                    self.play(client, simple("ROLLBACK", frame=True))
        except (wire.Ended, ConnectionError) as error:
            self.counts["sessions ended by the server"] += 1
            self.examples.setdefault("ended", f"{error}: {played[-3:]}")
            self.look(client, seed, played[-KEPT:])
        client.close()

    def play(self, client, turn):
        client.send(turn.data)
        messages = []
        for _ in range(turn.syncs):
            messages += client.until_ready(turn.copy)
        if not turn.frame:
            self.count(messages, turn)

    def look(self, client, seed, played):
        data = client.take()
        self.counts["bytes"] += len(data)
        found = self.needles.find(data)
        if found is not None:
            needle, at = found
            self.findings.append(Finding(seed, needle, data[max(0, at - 60):at + 60], [list(texts) for texts in played]))

    def count(self, messages, turn):
        """Each text counts once, however many executions the protocol made of it."""
        rows, ran, with_rows = False, 0, 0
        for kind, body in messages:
            if kind in b"Dd":
                rows = True
            elif kind in b"CsI":
                tag = TAG_ROWS.search(body) if kind == b"C" else None
                ran += 1
                with_rows += rows or (tag is not None and tag.group(1) != b"0")
                rows = False
            elif kind == b"E":
                self.count_error(wire.fields(body), turn)
        self.counts["statements"] += len(turn.texts)
        self.counts["ran"] += min(ran, len(turn.texts))
        self.counts["with rows"] += min(with_rows, len(turn.texts))

    def count_error(self, error, turn):
        if error.get("M", "").startswith("postern:"):
            self.counts["refused"] += 1
            key = "postern " + error.get("D", "")[:60]
        else:
            self.counts["failed at the server"] += 1
            key = f"{error.get('C')} {error.get('M', '')[:60]}"
        self.errors[key] += 1
        self.examples.setdefault(key, turn.texts)
