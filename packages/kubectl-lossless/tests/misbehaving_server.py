"""A server that can misbehave: the load's meter is tested against real sockets of a real process.

`python misbehaving_server.py BEHAVIOUR` prints its port and behaves well until it reads the line
"misbehave", then as BEHAVIOUR, and well again from the line "recover" on; it prints each line when that is
done. It ends with its standard input.
"""

import json
import socket
import struct
import sys
import threading
from collections.abc import Callable

IDLE_BEFORE_CLOSE = 0.05  # seconds


def respond(sock: socket.socket, status: str = "200 OK", headers: str = "", **fields: object) -> None:
    body = json.dumps({"version": "v1", "pod": "here", **fields}).encode()
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
    )
    sock.sendall(head.encode() + body)


# Each behaviour handles one request that was read; it returns whether the connection stays open.


def well(sock: socket.socket) -> bool:
    respond(sock)
    return True


def reset(sock: socket.socket) -> bool:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return False


def close(sock: socket.socket) -> bool:
    return False


def cut(sock: socket.socket) -> bool:
    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{")
    return False


def unavailable(sock: socket.socket) -> bool:
    respond(sock, "503 Service Unavailable")
    return True


def missing(sock: socket.socket) -> bool:
    respond(sock, "404 Not Found")
    return True


def foreign(sock: socket.socket) -> bool:
    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
    return True


def garbage(sock: socket.socket) -> bool:
    sock.sendall(b"SSH-2.0-nothing for you\r\n\r\n")
    return False


def stall(sock: socket.socket) -> bool:
    return sock.recv(1) != b""  # until the client gives up


def announce(sock: socket.socket) -> bool:
    respond(sock, headers="Connection: close\r\n")
    return False


def unannounced(sock: socket.socket) -> bool:
    respond(sock)
    threading.Event().wait(IDLE_BEFORE_CLOSE)
    return False


BEHAVIOURS: dict[str, Callable[[socket.socket], bool]] = {
    "well": well,
    "reset": reset,
    "close": close,
    "cut": cut,
    "unavailable": unavailable,
    "missing": missing,
    "foreign": foreign,
    "garbage": garbage,
    "stall": stall,
    "announce": announce,
    "unannounced": unannounced,
    "refuse": well,  # on kept connections, but the listener is closed, below
}


class Server:
    def __init__(self, behaviour: str) -> None:
        self.behaviour = behaviour
        self.behave: Callable[[socket.socket], bool] = well
        # Bound, never listening: the port stays this server's while it refuses (tests/ports.py says more).
        self.reservation = socket.socket()
        self.reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.reservation.bind(("127.0.0.1", 0))
        self.port: int = self.reservation.getsockname()[1]
        self.listener = self.listen(self.port)

    def listen(self, port: int) -> socket.socket:
        listener = socket.create_server(("127.0.0.1", port), backlog=128)
        threading.Thread(target=self.accept, args=(listener,), daemon=True).start()
        return listener

    def accept(self, listener: socket.socket) -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(sock,), daemon=True).start()

    def serve(self, sock: socket.socket) -> None:
        with sock:
            data = b""
            stay = True
            while stay:
                try:
                    while b"\r\n\r\n" not in data:
                        part = sock.recv(65536)
                        if not part:
                            return
                        data += part
                    _, _, data = data.partition(b"\r\n\r\n")
                    stay = self.behave(sock)
                except OSError:
                    return

    def misbehave(self) -> None:
        self.behave = BEHAVIOURS[self.behaviour]
        if self.behaviour == "refuse":
            self.listener.shutdown(socket.SHUT_RDWR)  # wakes the thread in accept
            self.listener.close()

    def recover(self) -> None:
        self.behave = well
        if self.behaviour == "refuse":
            self.listener = self.listen(self.port)


if __name__ == "__main__":
    server = Server(sys.argv[1])
    print(server.port, flush=True)
    for line in sys.stdin:
        {"misbehave\n": server.misbehave, "recover\n": server.recover}[line]()
        print(line, end="", flush=True)
