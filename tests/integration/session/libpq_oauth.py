"""A client of libpq 18 that authenticates by OAUTHBEARER: prints what SELECT 1 answers.

LIBPQ names the library, TOKEN is what its authorization hook hands over; the rest is libpq's own environment.
"""
import ctypes
import os
import sys

OAUTH_BEARER_TOKEN = 1  # PQAUTHDATA_OAUTH_BEARER_TOKEN


class BearerRequest(ctypes.Structure):
    """PGoauthBearerRequest of libpq-fe.h."""
    _fields_ = [("openid_configuration", ctypes.c_char_p), ("scope", ctypes.c_char_p), ("async_", ctypes.c_void_p),
                ("cleanup", ctypes.c_void_p), ("token", ctypes.c_char_p), ("user", ctypes.c_void_p)]


pq = ctypes.CDLL(os.environ["LIBPQ"])
HOOK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
TOKEN = os.environ["TOKEN"].encode()


@HOOK
def hand_over(kind, _connection, data):
    if kind != OAUTH_BEARER_TOKEN:
        return 0
    ctypes.cast(data, ctypes.POINTER(BearerRequest)).contents.token = TOKEN
    return 1


pq.PQconnectdb.restype = ctypes.c_void_p
pq.PQexec.restype = ctypes.c_void_p
pq.PQerrorMessage.restype = pq.PQgetvalue.restype = ctypes.c_char_p
pq.PQerrorMessage.argtypes = pq.PQstatus.argtypes = pq.PQfinish.argtypes = [ctypes.c_void_p]
pq.PQexec.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
pq.PQgetvalue.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_int]
pq.PQsetAuthDataHook.argtypes = [HOOK]

pq.PQsetAuthDataHook(hand_over)
connection = pq.PQconnectdb(b"user=me require_auth=oauth oauth_client_id=test options='-c postern.auth=oauthbearer' "
                            b"oauth_issuer=https://idp.example.com/.well-known/openid-configuration")
if pq.PQstatus(connection) != 0:
    sys.exit(pq.PQerrorMessage(connection).decode())
print(pq.PQgetvalue(pq.PQexec(connection, b"SELECT 1"), 0, 0).decode())
pq.PQfinish(connection)
