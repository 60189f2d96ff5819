"""The origin behind `tests/clients/protocols`: HTTP/1.1 over the standard library alone.

    python3 origin.py            prints its port

GET answers a page, PUT and POST answer with length and SHA-256 of what came, `/hints` sends a 103
first, `/events` sends three events, and an upgrade to
WebSocket is agreed to and every message sent back.
"""

import base64
import hashlib
import http.server
import struct
import sys


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def reply(self, body, **fields):
        self.send_response(200)
        for name, value in fields.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self):
        if self.headers.get("Upgrade", "").lower() == "websocket":
            return self.websocket()
        if self.path == "/hints":
            self.wfile.write(b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n")
            return self.reply(b"hello\n", Cache_Control="no-store")
        if self.path == "/events":
            return self.events()
        if self.path == "/large":
            return self.reply(b"0123456789abcdef" * (1 << 20), Cache_Control="max-age=60")
        self.reply(b"hello\n", Cache_Control="max-age=60")

    do_HEAD = do_GET

    def do_PUT(self):
        sum_, length = hashlib.sha256(), 0
        for piece in self.pieces():
            sum_.update(piece)
            length += len(piece)
        self.reply(f"{length} {sum_.hexdigest()}\n".encode())

    do_POST = do_PUT

    def pieces(self):
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            while size := int(self.rfile.readline().split(b";")[0], 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
            return
        left = int(self.headers.get("Content-Length", 0))
        while left:
            piece = self.rfile.read(min(left, 1 << 16))
            left -= len(piece)
            yield piece

    def events(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for number in range(3):
            event = f"data: {number}\n\n".encode()
            self.wfile.write(f"{len(event):x}\r\n".encode() + event + b"\r\n")
        self.wfile.write(b"0\r\n\r\n")

    def websocket(self):
        key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key.encode()).digest()).decode())
        self.end_headers()
        self.close_connection = True
        while len(head := self.rfile.read(2)) == 2:
            length = head[1] & 127
            if length >= 126:
                kind = ">H" if length == 126 else ">Q"
                length = struct.unpack(kind, self.rfile.read(struct.calcsize(kind)))[0]
            mask = self.rfile.read(4)
            data = self.rfile.read(length)
            whole = int.from_bytes(data, "big") ^ int.from_bytes((mask * (length // 4 + 1))[:length], "big")
            data = whole.to_bytes(length, "big")
            opcode = head[0] & 15
            answer = {9: 10}.get(opcode, opcode)
            size = bytes([length]) if length < 126 else (
                b"\x7e" + struct.pack(">H", length) if length < 1 << 16 else b"\x7f" + struct.pack(">Q", length))
            if opcode != 10:
                self.wfile.write(bytes([head[0] & 0xF0 | answer]) + size + data)
            if opcode == 8:
                return


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1])
sys.stdout.flush()
server.serve_forever()
