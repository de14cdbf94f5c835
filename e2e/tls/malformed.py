"""Records that no honest client sends, by tlslite-ng, and the alert that each must end in.

A case breaks one rule after a good handshake. RFC 8446 and, for TLS 1.2, RFC 5246 say which alert
answers it; the server must send that alert and end the connection.
"""

import socket

from tlslite.api import HandshakeSettings, TLSConnection, TLSRemoteAlert
from tlslite.errors import TLSAbruptCloseError
from tlslite.messages import Message

DEADLINE_S = 30
# RFC 8446 §5.1 and §6
ALERT, HANDSHAKE, DATA = 21, 22, 23
UNEXPECTED, BAD_MAC, OVERFLOW, ILLEGAL, DECODE, NO_RENEGOTIATION = 10, 20, 22, 47, 50, 100
TLS12, TLS13 = (3, 3), (3, 4)
CLIENT_HELLO = bytes([1, 0, 0, 40, 3, 3]) + bytes(32) + bytes([0, 0, 2, 0x13, 1, 1, 0])


class AlteringSocket:
    """A socket whose records can be changed on their way."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S)
        self.alter = lambda record: record

    def send(self, record):
        self.sendall(record)
        return len(record)

    def sendall(self, record):
        self.socket.sendall(self.alter(bytes(record)))

    def recv(self, count):
        return self.socket.recv(count)

    def close(self):
        self.socket.close()


def sealed(content_type, *contents):
    """Sends records with these contents, encrypted as they should be."""

    def send(connection):
        for content in contents:
            for _ in connection._recordLayer.sendRecord(Message(content_type, bytearray(content))):
                pass

    return send


def altered(alter):
    """Sends a record of data that is altered behind its encryption."""

    def send(connection):
        connection.altering.alter = alter
        sealed(DATA, b"data")(connection)

    return send


def in_the_clear(record):
    def send(connection):
        connection.altering.socket.sendall(bytes(record))

    return send


def padded(count):
    """Sends a record of nothing but zeros: no content type at all (RFC 8446 §5.4)."""

    def send(connection):
        sealed(0, bytes(count))(connection)

    return send


CASES = [
    # name, versions, what is sent, alert
    ("a tag with one bit changed", (TLS12, TLS13), altered(lambda record: record[:-1] + bytes([record[-1] ^ 1])), BAD_MAC),
    ("data with one bit changed", (TLS12, TLS13), altered(lambda record: record[:-20] + bytes([record[-20] ^ 0x80]) + record[-19:]), BAD_MAC),
    ("a record sent twice", (TLS12, TLS13), altered(lambda record: record + record), BAD_MAC),
    ("a record shorter than its tag", (TLS12, TLS13), in_the_clear([DATA, 3, 3, 0, 5, 1, 2, 3, 4, 5]), BAD_MAC),
    ("an empty record in the clear", (TLS12, TLS13), in_the_clear([DATA, 3, 3, 0, 0]), BAD_MAC),
    ("more data than a record may have", (TLS12, TLS13), sealed(DATA, bytes(16385)), OVERFLOW),
    ("a record announced too long", (TLS12, TLS13), in_the_clear([DATA, 3, 3, 0xFF, 0xFF]), OVERFLOW),
    ("an unknown content type", (TLS12, TLS13), sealed(99, b"what?"), UNEXPECTED),
    ("no content type", (TLS13,), padded(50), UNEXPECTED),
    # In TLS 1.2 everything behind the handshake is encrypted, so it is taken for a record with a broken tag.
    ("change_cipher_spec", (TLS12,), in_the_clear([20, 3, 3, 0, 1, 1]), BAD_MAC),
    ("change_cipher_spec", (TLS13,), in_the_clear([20, 3, 3, 0, 1, 1]), UNEXPECTED),
    ("an alert in the clear", (TLS13,), in_the_clear([ALERT, 3, 3, 0, 2, 2, 80]), UNEXPECTED),
    ("data in the clear with a handshake's type", (TLS13,), in_the_clear([HANDSHAKE, 3, 3, 0, 4, 1, 0, 0, 0]), UNEXPECTED),
    ("an empty handshake record", (TLS13,), sealed(HANDSHAKE, b""), UNEXPECTED),
    ("an empty alert record", (TLS12, TLS13), sealed(ALERT, b""), UNEXPECTED),
    ("an alert of one byte", (TLS12, TLS13), sealed(ALERT, b"\2"), DECODE),
    ("a KeyUpdate that asks for neither", (TLS13,), sealed(HANDSHAKE, [24, 0, 0, 1, 2]), ILLEGAL),
    ("a KeyUpdate without its byte", (TLS13,), sealed(HANDSHAKE, [24, 0, 0, 0]), DECODE),
    ("a KeyUpdate of 16 MB", (TLS13,), sealed(HANDSHAKE, [24, 0xFF, 0xFF, 0xFF]), DECODE),
    ("a KeyUpdate with something behind it", (TLS13,), sealed(HANDSHAKE, [24, 0, 0, 1, 0, 24]), UNEXPECTED),
    ("data between the pieces of a KeyUpdate", (TLS13,), lambda connection: (sealed(HANDSHAKE, [24, 0])(connection), sealed(DATA, b"x")(connection)), UNEXPECTED),
    ("a ClientHello: a second handshake", (TLS13,), sealed(HANDSHAKE, CLIENT_HELLO), UNEXPECTED),
    ("a ClientHello: renegotiation", (TLS12,), sealed(HANDSHAKE, CLIENT_HELLO), NO_RENEGOTIATION),
    ("a Finished once more", (TLS13,), sealed(HANDSHAKE, bytes([20, 0, 0, 32]) + bytes(32)), UNEXPECTED),
    ("empty records without end", (TLS12, TLS13), sealed(DATA, *[b""] * 200), UNEXPECTED),
    ("warnings without end", (TLS12,), sealed(ALERT, *[b"\1\x5a"] * 200), UNEXPECTED),
]


def ask_all(port):
    """Asks all cases of the server at this port; AssertionError with all that went otherwise."""
    wrong, asked = [], 0
    for name, versions, send, alert in CASES:
        for version in versions:
            asked += 1
            got = ask(port, version, send)
            if got != alert:
                wrong.append(f"{name}, TLS 1.{version[1] - 1}: {got} instead of alert {alert}")
    assert not wrong, "\n".join(wrong)
    print(f"  {asked} malformed connections ended in the right alert")


def ask(port, version, send):
    """The alert that the connection ends in, or another end in words."""
    settings = HandshakeSettings()
    settings.minVersion = settings.maxVersion = version
    altering = AlteringSocket(port)
    connection = TLSConnection(altering)
    connection.altering = altering
    connection.handshakeClientCert(settings=settings, serverName="localhost")
    try:
        try:
            send(connection)
        except OSError:
            pass  # it may be gone before all is sent
        altering.alter = lambda record: record
        data = connection.read(max=1, min=1)
        return f"data {bytes(data)}" if data else "close_notify"
    except TLSRemoteAlert as alert:
        return alert.description
    except TLSAbruptCloseError:
        return "FIN without an alert"
    except OSError as error:
        return repr(error)
    finally:
        altering.close()
