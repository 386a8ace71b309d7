"""HTTP/2 by hand: a library refuses to do what a hostile client does. Source: RFC 9113."""

import contextlib
import struct
import time

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, ACK, END_HEADERS = 1, 1, 4
CANCEL = struct.pack(">I", 8)
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
LARGEST_WINDOW = (1 << 31) - 1


def frame(kind, flags, stream, payload=b""):
    """A frame."""
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def request(stream, path):
    """A GET on a stream, as one HEADERS frame."""
    fields = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"x"), (b":path", path)]
    block = b"".join(bytes([0, len(name)]) + name + integer(len(value)) + value for name, value in fields)
    return frame(HEADERS, END_STREAM | END_HEADERS, stream, block)


def integer(value):
    """An integer with a prefix of seven bits. Source: HPACK, RFC 7541, section 5.1."""
    if value < 127:
        return bytes([value])
    out, value = bytearray([127]), value - 127
    while value >= 128:
        out.append(value % 128 + 128)
        value //= 128
    return bytes(out + bytes([value]))


def frames(data):
    """The whole frames at the start of some bytes as (kind, flags, stream, payload), and the other bytes."""
    found = []
    while len(data) >= 9 and len(data) >= 9 + (length := int.from_bytes(data[:3], "big")):
        found.append((data[3], data[4], int.from_bytes(data[5:9], "big"), data[9 : 9 + length]))
        data = data[9 + length :]
    return found, data


def drain(stream, seconds):
    """Answers pings as a client does. Returns how long the connection lived, at most `seconds`."""
    begun, data = time.monotonic(), b""
    stream.settimeout(0.5)
    while time.monotonic() - begun < seconds:
        try:
            piece = stream.recv(1 << 16)
        except TimeoutError:
            continue
        except OSError:
            return time.monotonic() - begun
        if not piece:
            return time.monotonic() - begun
        found, data = frames(data + piece)
        for kind, flags, _, payload in found:
            if kind == PING and not flags & ACK:
                with contextlib.suppress(OSError):
                    stream.sendall(frame(PING, ACK, 0, payload))
    return seconds
