"""What a canary looks like, in each form in which a client could receive it.

Every value of a masked column is made of one of a few marks (schema.sql). A mark is looked for as it is, in upper and
lower case, reversed, in hex and in base64; numbers by their digits and by the bytes of the binary format. Digests are
looked for by the whole values, which the superuser reads out before the test.
"""
import base64
import hashlib
import re
import struct

TEXT = b"kq7vZxWmTn"
# Numbers by their first digits, with what money, to_char and float8 put between.
DIGITS = (b"739146285", b"7,391,462,85", b"739,146,285", b"73,914,628,5", b"7.39146285", b"7.391463e", b"2091462", b"2,091,462", b"734821", b"248215-",
          b"/248215", b".248215")
MARKS = (b"57:46.2857", b"7391462 days", b"c0ffee5a-e1d7", b"c0ffee5ae1d7", b"fd5a:e1d7:c0fe", b"fd5ae1d7c0fe", b"de:c0:5a:e1:d7", b"dec05ae1d7")
WINDOW = 6  # of the text's ten characters, so that left(), right() and substr() show


def windows(mark):
    return [mark[i:i + WINDOW] for i in range(len(mark) - WINDOW + 1)]


def base64_forms(mark):
    """The characters that encode `mark`, wherever it begins in a longer text."""
    forms = []
    for offset in range(3):
        encoded = base64.b64encode(b"\0" * offset + mark + b"\0\0")
        forms.append(encoded[(offset * 8 + 5) // 6:(offset + len(mark)) * 8 // 6])
    return forms


def days(year, month, day):
    """Days from 2000-01-01 to a date in any year (Howard Hinnant's days_from_civil)."""
    year -= month <= 2
    of_era = year % 400
    of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return year // 400 * 146097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719468 - 10957


def binary_forms():
    """The bytes that all canaries of a column share in the binary format of its type."""
    return [struct.pack("!q", 7391462850000000000)[:5], struct.pack("!q", 739146285000000)[:5], struct.pack("!d", 739146285001.5)[:4],
            struct.pack("!f", 7391463e10), struct.pack("!i", 2091462000)[:3], struct.pack("!i", days(734821, 3, 1))[:3],
            struct.pack("!q", days(248215, 3, 2) * 86400000000)[:3], struct.pack("!hh", 9146, 2850),
            bytes.fromhex("c0ffee5ae1d7"), bytes.fromhex("fd5ae1d7c0fe"), bytes.fromhex("dec05ae1d7"), struct.pack("!i", 7391462),
            struct.pack("!q", 50266285700)[2:7]]


class Needles:
    """Searches bytes for canaries. `values`: the text of every masked value, for their digests."""

    def __init__(self, values=()):
        whole = (TEXT, TEXT.lower(), TEXT.upper(), TEXT.hex().encode()) + DIGITS + MARKS
        lower = {mark.lower() for mark in windows(TEXT)} | {mark.lower() for mark in whole}
        lower |= {mark.hex().encode() for mark in windows(TEXT) + windows(TEXT.lower()) + windows(TEXT.upper())} | {mark.hex().encode() for mark in whole}
        lower.add(b",".join(bytes((c,)) for c in TEXT.lower()))  # string_to_array(email, null)
        lower |= {form.hex().encode() for form in binary_forms() if len(form) >= 4}  # to_hex(), int8send()
        lower |= {mark[::-1] for mark in lower}
        exact = set(binary_forms())
        for mark in whole:
            exact |= {form for form in base64_forms(mark) if len(form) >= 7}
        self.lower, self.exact = sorted(lower), sorted(exact)
        self.digests = {digest(text.encode()).hexdigest().encode() for value in values
                        for text in {value, value.lower(), value.upper(), value[::-1]}
                        for digest in (hashlib.md5, hashlib.sha224, hashlib.sha256)}

    def find(self, data):
        """The first canary in `data`, as (form, at), or None."""
        lowered = data.lower()
        for needle in self.lower:
            if needle in lowered:
                return needle, lowered.index(needle)
        for needle in self.exact:
            if needle in data:
                return needle, data.index(needle)
        for match in HEX.finditer(lowered):
            if self._is_digest(match.group()):
                return match.group(), match.start()
        return None

    def _is_digest(self, text):
        return any(text[i:i + size] in self.digests for size in (32, 56, 64) for i in range(len(text) - size + 1))


HEX = re.compile(rb"[0-9a-f]{32,}")
