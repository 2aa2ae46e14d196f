#!/usr/bin/env python3
"""A handset written by a stranger, from PROTOCOL.md alone: standard library only, no code of Everline's.

`stranger.rs` runs one scenario of it at a time against a live gateway:

    stranger.py SCENARIO '{"signaling": "127.0.0.1:7000", "data": …, "ingress": …, "domain": …, "tokens": {"346…": "eyJ…"}}'

Exit status 0 and a last line `ok` mean that the gateway did what the page says; anything else is a defect of one of them.
"""

import json
import socket
import sys
import threading

PATIENCE_S = 15


class Line:
    """One connection that speaks lines."""

    def __init__(self, address):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), PATIENCE_S)
        self.buffer = b""

    def say(self, text):
        self.socket.sendall(text.encode("ascii") + b"\r\n")

    def hear(self):
        """The next line as (verb, keys); None at the end of the stream."""
        while b"\n" not in self.buffer:
            try:
                piece = self.socket.recv(4096)
            except ConnectionResetError:
                piece = b""
            if not piece:
                assert not self.buffer, f"half a line at the end: {self.buffer!r}"
                return None
            self.buffer += piece
            assert len(self.buffer) <= 65536
        line, self.buffer = self.buffer.split(b"\n", 1)
        assert line.endswith(b"\r"), f"not CRLF: {line!r}"
        assert len(line) + 1 <= 2048, "longer than a line may be"
        verb, *words = line[:-1].decode("ascii").split(" ")
        keys = dict(word.split("=", 1) for word in words)
        assert len(keys) == len(words), f"a key twice: {line!r}"
        return verb, keys

    def expect(self, verb, **keys):
        heard = self.hear()
        assert heard is not None and heard[0] == verb, f"expected {verb}, heard {heard}"
        for key, value in keys.items():
            assert heard[1].get(key) == value, f"expected {key}={value}, heard {heard}"
        return heard[1]

    def expect_end(self):
        heard = self.hear()
        assert heard is None, f"expected the end of the connection, heard {heard}"


class Lab:
    def __init__(self, addresses):
        self.__dict__.update(addresses)

    def connect(self, msisdn, timeout=300, token=None, extra=""):
        line = Line(self.signaling)
        token = self.tokens[msisdn] if token is None else token
        line.say(f"CONNECT version=1 msisdn={msisdn} timeout={timeout} token={token}{extra}")
        return line

    def register(self, msisdn, timeout=300, extra=""):
        line = self.connect(msisdn, timeout, extra=extra)
        keys = line.expect("CONNREGISTERED")
        assert len(keys["session"]) == 16 and int(keys["session"], 16) >= 0, keys
        line.say("WAITING")
        return line, keys

    def call(self, msisdn, path="/contacts"):
        """A caller in the background; `result()` gives the raw response."""
        return Caller(self.ingress, f"{msisdn}.{self.domain}", path)

    def serve(self, pending, body=b"from a stranger"):
        """Opens the data channel that REQUESTPENDING asks for, and answers; returns the request's head."""
        channel = Line(pending.get("data", self.data))
        channel.say(f"DATA id={pending['id']}")
        head = b""
        while b"\r\n\r\n" not in head:
            piece = channel.socket.recv(4096)
            assert piece, f"the gateway closed the data channel after {head!r}"
            head += piece
        channel.socket.sendall(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
        )
        assert channel.socket.recv(1) == b"", "with linger 0 the gateway closes the data channel after the response"
        return head.decode("latin-1")


class Caller(threading.Thread):
    def __init__(self, ingress, host, path):
        super().__init__(daemon=True)
        self.ingress, self.host, self.path, self.raw = ingress, host, path, b""
        self.start()

    def run(self):
        host, port = self.ingress.rsplit(":", 1)
        with socket.create_connection((host, int(port)), PATIENCE_S) as caller:
            caller.sendall(
                f"GET {self.path} HTTP/1.1\r\nHost: {self.host}\r\nConnection: close\r\n\r\n".encode("ascii")
            )
            while piece := caller.recv(4096):
                self.raw += piece

    def result(self):
        self.join(PATIENCE_S)
        assert not self.is_alive(), "the caller got no answer"
        return self.raw.decode("latin-1")


def lives(lab):
    """Registers, waits, keeps alive twice, serves a request, leaves. The gateway's lowest timeout is 1 s here."""
    msisdn = next(iter(lab.tokens))
    line, keys = lab.register(msisdn, timeout=1)
    assert keys["timeout"] == "1", keys
    for _ in range(2):
        line.expect("KEEPALIVE")
        line.say("WAITING")
    caller = lab.call(msisdn, "/contacts?store=sim")
    heard = line.hear()
    while heard and heard[0] == "KEEPALIVE":  # one may have crossed the request
        line.say("WAITING")
        heard = line.hear()
    assert heard and heard[0] == "REQUESTPENDING", heard
    assert len(heard[1]["id"]) == 32, heard
    head = lab.serve(heard[1])
    assert head.startswith("GET /contacts?store=sim HTTP/1.1\r\n"), head
    fields = {name.lower(): value for name, value in (row.split(": ", 1) for row in head.split("\r\n")[1:] if row)}
    assert fields["host"] == f"{msisdn}.{lab.domain}", head
    assert fields["connection"].lower() == "close", head
    assert "for=" in fields["forwarded"] and fields["x-request-id"], head
    answer = caller.result()
    assert answer.startswith("HTTP/1.1 200 OK\r\n") and answer.endswith("from a stranger"), answer
    again = Line(heard[1].get("data", lab.data))
    again.say(f"DATA id={heard[1]['id']}")
    again.expect("ERROR", code="unknown-request")
    again.expect_end()
    line.say("BYE")
    line.expect_end()
    gone = lab.call(msisdn).result()
    assert gone.startswith("HTTP/1.1 503 ") and "urn:everline:handset-offline" in gone, gone


def replaced(lab):
    """A second registration ends the first; a request that waited is signalled again on the new one."""
    msisdn = next(iter(lab.tokens))
    old, first = lab.register(msisdn)
    caller = lab.call(msisdn)
    pending = old.expect("REQUESTPENDING")
    new, second = lab.register(msisdn)
    assert first["session"] != second["session"]
    old.expect("ERROR", code="replaced")
    old.expect_end()
    new.expect("REQUESTPENDING", id=pending["id"])
    lab.serve(pending)
    assert caller.result().startswith("HTTP/1.1 200 OK\r\n")


def refused(lab):
    """Every refusal that a CONNECT can earn by itself, in the order in which the page says they are checked."""
    msisdn, other = list(lab.tokens)[:2]
    good = lab.tokens[msisdn]
    for connect, code in [
        (f"CONNECT version=2 msisdn=0 timeout=0 token={good}", "bad-version"),
        (f"CONNECT msisdn={msisdn} timeout=300 token={good}", "bad-version"),
        (f"CONNECT version=1 msisdn=0346 timeout=0 token={good}", "bad-msisdn"),
        (f"CONNECT version=1 timeout=300 token={good}", "bad-msisdn"),
        (f"CONNECT version=1 msisdn={msisdn} timeout=0 token=x", "bad-timeout"),
        (f"CONNECT version=1 msisdn={msisdn} timeout=86401 token={good}", "bad-timeout"),
        (f"CONNECT version=1 msisdn={msisdn} token={good}", "bad-timeout"),
        (f"CONNECT version=1 msisdn={msisdn} timeout=300 token=x", "bad-token"),
        (f"CONNECT version=1 msisdn={msisdn} timeout=300", "bad-token"),
        (f"CONNECT version=1 msisdn={msisdn} timeout=300 token={lab.tokens[other]}", "bad-token"),
        (f"CONNECT version=1 msisdn={msisdn} timeout=300 token={good[:-6]}AAAAAA", "bad-token"),
    ]:
        line = Line(lab.signaling)
        line.say(connect)
        keys = line.expect("CONNREFUSED", code=code)
        assert "token" not in keys.get("reason", ""), "the reason of a bad token is never told"
        line.expect_end()


def broken(lab):
    """Protocol errors, each with its code."""
    msisdn = next(iter(lab.tokens))
    connect = f"CONNECT version=1 msisdn={msisdn} timeout=300 token={lab.tokens[msisdn]}"
    for sent, code in [
        (b"WAITING\r\n", "unexpected-verb"),
        (b"HELLO a=b\r\n", "unknown-verb"),
        (b"connect version=1\r\n", "bad-line"),
        (b"CONNECT version=1 version=1\r\n", "bad-line"),
        (b"CONNECT  version=1\r\n", "bad-line"),
        (b"CONNECT version=1 text=caf\xc3\xa9\r\n", "bad-line"),
        (b"C" * 2049, "line-too-long"),
    ]:
        line = Line(lab.signaling)
        line.socket.sendall(sent)
        line.expect("ERROR", code=code)
        line.expect_end()
    line = Line(lab.signaling)
    for byte in (connect + " unknown-key=x=y\n").encode("ascii"):  # byte by byte, a bare LF, a key nobody knows
        line.socket.sendall(bytes([byte]))
    line.expect("CONNREGISTERED")
    for _ in range(12):
        line.say("WAITING")
    line.expect("ERROR", code="flooding")
    line.expect_end()


def slow(lab):
    """Half a CONNECT, and a registration without WAITING: both end in time. The limit is 1 s here."""
    msisdn = next(iter(lab.tokens))
    line = Line(lab.signaling)
    line.socket.sendall(b"CONNECT version=1 msis")
    line.expect("ERROR", code="connect-timeout")
    line.expect_end()
    line = lab.connect(msisdn)
    line.expect("CONNREGISTERED")
    line.expect("ERROR", code="connect-timeout")
    line.expect_end()


def full(lab):
    """One session is all that this gateway may hold; its own handset may replace it."""
    first, second = list(lab.tokens)[:2]
    line, _ = lab.register(first)
    refused_line = lab.connect(second)
    refused_line.expect("CONNREFUSED", code="full")
    refused_line.expect_end()
    lab.register(first)
    line.expect("ERROR", code="replaced")


def overloaded(lab):
    """One registration a second is all that this gateway takes; the excess is told when to come back."""
    for _ in range(50):
        line = lab.connect(next(iter(lab.tokens)))
        heard = line.hear()
        if heard and heard[0] == "CONNREFUSED":
            assert heard[1]["code"] == "overloaded" and int(heard[1]["retry-after"]) >= 1, heard
            return line.expect_end()
    raise AssertionError("never told to come back later")


def draining(lab):
    """The session hears RECONNECT and still serves; a newcomer is refused. `stranger.rs` starts the drain at `ready`."""
    first, second = list(lab.tokens)[:2]
    line, _ = lab.register(first)
    print("ready", flush=True)
    keys = line.expect("RECONNECT")
    assert int(keys["after"]) >= 0, keys
    newcomer = lab.connect(second)
    keys = newcomer.expect("CONNREFUSED", code="draining")
    assert int(keys["retry-after"]) >= 1, keys
    newcomer.expect_end()
    caller = lab.call(first)
    lab.serve(line.expect("REQUESTPENDING"))
    assert caller.result().startswith("HTTP/1.1 200 OK\r\n")
    line.say("BYE")
    line.expect_end()


SCENARIOS = {f.__name__: f for f in (lives, replaced, refused, broken, slow, full, overloaded, draining)}

if __name__ == "__main__":
    SCENARIOS[sys.argv[1]](Lab(json.loads(sys.argv[2])))
    print("ok")
