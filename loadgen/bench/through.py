#!/usr/bin/env python3
"""A caller that checks what a relay must not touch: a WebSocket echo and an event stream, each through the gateway.

    through.py INGRESS HOST websocket|events     INGRESS is host:port, HOST the Host field that names the handset
"""

import base64
import hashlib
import os
import socket
import sys

WEBSOCKET_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
PATIENCE_S = 20


def request(ingress, host, path, fields=()):
    where, port = ingress.rsplit(":", 1)
    caller = socket.create_connection((where, int(port)), PATIENCE_S)
    rows = [f"GET {path} HTTP/1.1", f"Host: {host}", *fields, "", ""]
    caller.sendall("\r\n".join(rows).encode())
    stream = caller.makefile("rb")
    head = []
    while row := stream.readline().strip():
        head.append(row.decode("latin-1"))
    return caller, stream, head


def websocket(ingress, host):
    key = base64.b64encode(os.urandom(16))
    fields = [
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {key.decode()}",
    ]
    caller, stream, head = request(ingress, host, "/echo", fields)
    assert head[0].startswith("HTTP/1.1 101"), head
    accept = base64.b64encode(hashlib.sha1(key + WEBSOCKET_GUID).digest()).decode()
    assert any(row.lower() == f"sec-websocket-accept: {accept}".lower() for row in head), head
    for size in (0, 1, 125, 126, 65535, 65536, 200_000):
        body, mask = os.urandom(size), os.urandom(4)
        masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(body))
        if size < 126:
            length = bytes([0x80 | size])
        elif size < 65536:
            length = b"\xfe" + size.to_bytes(2, "big")
        else:
            length = b"\xff" + size.to_bytes(8, "big")
        caller.sendall(b"\x82" + length + mask + masked)
        back = stream.read(2)
        count = back[1] & 0x7F
        if count >= 126:
            count = int.from_bytes(stream.read(2 if count == 126 else 8), "big")
        echoed = stream.read(count)
        assert echoed == body[:count] and count == size, (size, count)
    caller.sendall(b"\x88\x80\0\0\0\0")
    assert stream.read(2) == b"\x88\x00"
    print("websocket: 7 messages of 0 to 200,000 bytes came back as they were sent")


def events(ingress, host, count=100):
    caller, stream, head = request(ingress, host, f"/events?n={count}")
    assert any(row.lower() == "content-type: text/event-stream" for row in head), head
    chunked = any(row.lower() == "transfer-encoding: chunked" for row in head)
    for number in range(count):
        if chunked:
            size = int(stream.readline(), 16)
            message = stream.read(size)
            stream.readline()
        else:
            message = b"".join(stream.readline() for _ in range(3))
        assert message == f"id: {number}\ndata: message {number}\n\n".encode(), message
        # Only now may the origin send the next one.
        other, answer, seen = request(ingress, host, "/seen", ["Connection: close"])
        assert seen[0].startswith("HTTP/1.1 200"), seen
        other.close()
    print(f"events: {count} messages arrived one by one, each before the next was sent")
    caller.close()


if __name__ == "__main__":
    {"websocket": websocket, "events": events}[sys.argv[3]](sys.argv[1], sys.argv[2])
