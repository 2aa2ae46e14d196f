#!/usr/bin/env python3
"""A local web server for an agent in forward mode: files down, counted uploads, a WebSocket echo, an event stream.

    origin.py FOLDER            serves FOLDER on 127.0.0.1 and prints the port it got

GET /NAME          the file, with ranges left to the standard library's server
PUT /count         reads the body and answers {"bytes": …, "sha256": …}
GET /echo          WebSocket (RFC 6455): every text or binary message comes back
GET /events?n=100  server-sent events; each message but the first waits until the one before it was acknowledged by GET /seen
"""

import base64
import hashlib
import http.server
import json
import os
import sys
import threading
import urllib.parse

WEBSOCKET_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
seen = threading.Semaphore(0)


def websocket_length(size):
    if size < 126:
        return bytes([size])
    return b"\x7e" + size.to_bytes(2, "big") if size < 65536 else b"\x7f" + size.to_bytes(8, "big")


class Origin(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        if url.path == "/echo":
            return self.echo()
        if url.path == "/events":
            return self.events(int(urllib.parse.parse_qs(url.query).get("n", ["100"])[0]))
        if url.path == "/seen":
            seen.release()
            return self.answer({"seen": True})
        return super().do_GET()

    def do_PUT(self):
        digest, count = hashlib.sha256(), 0
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            while size := int(self.rfile.readline().split(b";")[0], 16):
                count += size
                self.take(size, digest)
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
        else:
            count = int(self.headers["Content-Length"])
            self.take(count, digest)
        self.answer({"bytes": count, "sha256": digest.hexdigest()})

    def take(self, size, digest):
        while size:
            piece = self.rfile.read(min(size, 1 << 16))
            if not piece:
                raise ConnectionError("the body broke off")
            size -= len(piece)
            digest.update(piece)

    def answer(self, value):
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def events(self, count):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        for number in range(count):
            self.wfile.write(f"id: {number}\ndata: message {number}\n\n".encode())
            self.wfile.flush()
            # The next one leaves only when this one has arrived: a relay that gathers them stands still.
            if not seen.acquire(timeout=10):
                return

    def echo(self):
        key = self.headers["Sec-WebSocket-Key"].encode()
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        accept = base64.b64encode(hashlib.sha1(key + WEBSOCKET_GUID).digest()).decode()
        self.send_header("Sec-WebSocket-Accept", accept)
        self.end_headers()
        self.close_connection = True
        while True:
            head = self.rfile.read(2)
            if len(head) < 2:
                return
            size = head[1] & 0x7F
            if size == 126:
                size = int.from_bytes(self.rfile.read(2), "big")
            elif size == 127:
                size = int.from_bytes(self.rfile.read(8), "big")
            mask = self.rfile.read(4)
            body = self.rfile.read(size)
            plain = bytes(byte ^ mask[index % 4] for index, byte in enumerate(body))
            length = websocket_length(size)
            self.wfile.write(head[:1] + length + plain)
            self.wfile.flush()
            if head[0] & 0x0F == 8:
                return

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        """A peer that went away is everyday; anything else is told."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


if __name__ == "__main__":
    os.chdir(sys.argv[1])
    server = Server(("127.0.0.1", 0), Origin)
    server.daemon_threads = True
    print(server.server_address[1], flush=True)
    server.serve_forever()
