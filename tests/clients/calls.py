"""gRPC through the node, by a client and a server that are not ours.

    calls.py BINARY

Starts a gRPC server and the node in front of it, both on free loopback ports, and makes one call of
each kind: a single answer with trailing metadata, a conversation whose answers must come while the
client is still talking, an error that is trailers only, and one larger than any window. Prints a
line per check; exit code 1 if one failed. Needs the package grpcio.
"""

import queue
import re
import subprocess
import sys
import tempfile
from concurrent import futures

import grpc

CONFIG = """
data = "{directory}/data"
[listen]
http = ["127.0.0.1:0"]
[log]
access = "off"
[origins.calls]
servers = ["http://127.0.0.1:{port}"]
protocol = "http2"
[[site]]
hosts = ["*"]
origin = "calls"
"""

failed = False


def check(what, holds):
    global failed
    failed = failed or not holds
    print(("ok      " if holds else "FAILED  ") + "grpc: " + what)


def single(message, context):
    context.set_trailing_metadata((("x-last", "1"),))
    return b"got " + message


def conversation(messages, _context):
    for message in messages:
        yield b"heard " + message


def refusal(_message, context):
    context.abort(grpc.StatusCode.NOT_FOUND, "not here")


class Methods(grpc.GenericRpcHandler):
    def service(self, details):
        return {
            "/t/Single": grpc.unary_unary_rpc_method_handler(single),
            "/t/Conversation": grpc.stream_stream_rpc_method_handler(conversation),
            "/t/Refusal": grpc.unary_unary_rpc_method_handler(refusal),
        }.get(details.method)


def start_node(binary, directory, port):
    path = directory + "/edge.toml"
    with open(path, "w", encoding="utf-8") as file:
        file.write(CONFIG.format(directory=directory, port=port))
    node = subprocess.Popen(
        [binary, "run", "--config", path], stderr=subprocess.PIPE, text=True
    )
    address = None
    for line in node.stderr:
        found = re.search(r"listening http (\S+)", line)
        address = found.group(1) if found else address
        if line.startswith("edge: ready"):
            return node, address
    sys.exit("the node did not start")


def calls(channel):
    answer, call = channel.unary_unary("/t/Single").with_call(b"hi", timeout=10)
    check("a single answer", answer == b"got hi")
    check("its trailing metadata", ("x-last", "1") in [tuple(pair) for pair in call.trailing_metadata()])

    said = queue.Queue()
    heard = channel.stream_stream("/t/Conversation")(iter(said.get, None), timeout=20)
    answers = []
    for number in range(5):
        said.put(str(number).encode())
        answers.append(next(heard))
    said.put(None)
    check("a conversation, turn by turn", answers == [b"heard %d" % n for n in range(5)])
    check("and its clean end", list(heard) == [] and heard.code() == grpc.StatusCode.OK)

    try:
        channel.unary_unary("/t/Refusal")(b"", timeout=10)
        check("an error of trailers only", False)
    except grpc.RpcError as error:
        check(
            "an error of trailers only",
            (error.code(), error.details()) == (grpc.StatusCode.NOT_FOUND, "not here"),
        )

    large = b"x" * 3_000_000
    check("three megabytes each way", channel.unary_unary("/t/Single")(large, timeout=30) == b"got " + large)


def main():
    server = grpc.server(futures.ThreadPoolExecutor(8))
    server.add_generic_rpc_handlers((Methods(),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with tempfile.TemporaryDirectory() as directory:
        node, address = start_node(sys.argv[1], directory, port)
        try:
            calls(grpc.insecure_channel(address))
        finally:
            node.terminate()
            check("the node stops cleanly", node.wait(40) == 0)
            server.stop(0)
    sys.exit(failed)


main()
