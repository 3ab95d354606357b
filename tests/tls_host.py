"""TLSHost: a real server in threads of its own, each of whose connections follows a script."""

from __future__ import annotations

import gc
import socket
import ssl
import struct
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial

TASK = b'{"code": 0, "data": {"task_id": "7", "task_status": "submitted"}}'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
ANSWER = HEAD % len(TASK) + b"\r\n" + TASK
LAST_ANSWER = HEAD % len(TASK) + b"Connection: close\r\n\r\n" + TASK
_PATIENCE = 10.0
_FAMILIES = (socket.AF_INET, socket.AF_INET6)


class Conversation:
    """One connection, as its script sees it."""

    def __init__(self, host: TLSHost, sock: socket.socket) -> None:
        self._host = host
        self.sock = sock

    def shake_hands(self) -> None:
        self.sock = self._host.context.wrap_socket(self.sock, server_side=True)

    def read(self) -> bool:
        """Read one request to its end; False if none comes any more."""
        held = b""
        while b"\r\n\r\n" not in held:
            held += (piece := self.sock.recv(65536))
            if not piece:
                return False
        head, _, body = held.partition(b"\r\n\r\n")
        size = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0] or b"0")
        self._host.requests.append(head.split(b"\r\n")[0].decode())
        self._host.heads.append(head.decode())
        while len(body) < size and (piece := self.sock.recv(65536)):
            body += piece
        return len(body) == size

    def say(self, what: bytes = ANSWER) -> None:
        self.sock.sendall(what)

    def say_at_once(self, *records: bytes) -> None:
        """Each encrypted by itself, and all on their way together, where the system has a cork."""
        cork = getattr(socket, "TCP_CORK", None)
        for corked in (1, 0):
            if cork is not None:
                self.sock.setsockopt(socket.IPPROTO_TCP, cork, corked)
            for record in records if corked else ():
                self.say(record)

    def serve(self) -> None:
        """Answer whatever comes."""
        while self.read():
            self.say()

    def reset(self) -> None:
        """End it so that the other side is told of an error."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def part(self) -> None:
        """End the encryption first, as is polite."""
        assert isinstance(self.sock, ssl.SSLSocket)
        self.sock.settimeout(0.05)
        with suppress(OSError, ValueError):
            self.sock.unwrap()

    def wait(self) -> None:
        self._host.go.wait(_PATIENCE)

    def end(self) -> None:
        """The rest is silence, for which the test waits."""
        self._host.closed.set()
        self._host.over.wait(_PATIENCE)

    def pause(self) -> None:
        """Say that this place is reached, and do nothing until the test is over."""
        self._host.reached.set()
        self._host.over.wait(_PATIENCE)


Script = Callable[[Conversation], None]


def serve(conversation: Conversation) -> None:
    """The script of a server without faults."""
    conversation.shake_hands()
    conversation.serve()


def _sockets() -> list[socket.socket]:
    # By their types: a proxy, say of Temporal's sandbox, may refuse to be asked what it is.
    found = (each for each in gc.get_objects() if issubclass(type(each), socket.socket))
    return [each for each in found if each.fileno() != -1 and each.family in _FAMILIES]


def _port(sock: socket.socket) -> int | None:
    """Its own; None if somebody has closed it in the meantime."""
    try:
        return int(sock.getsockname()[1])
    except OSError:
        return None


class TLSHost:
    """Counts connections and requests; what is in `scripts` comes before `serve`."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.context = context
        self.scripts: list[Script] = []
        self.requests: list[str] = []
        self.heads: list[str] = []
        self.connections = 0
        self.reached = threading.Event()
        self.closed = threading.Event()
        """A connection has ended, by its script's will."""
        self.over = threading.Event()
        self.go = threading.Event()
        """Set by the test, for scripts that wait for it."""
        self._threads: list[threading.Thread] = []
        self._others = weakref.WeakSet(_sockets())
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=200)
        self.port: int = self._listener.getsockname()[1]

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def creates(self) -> int:
        return sum(request.startswith("POST") for request in self.requests)

    @contextmanager
    def running(self) -> Iterator[TLSHost]:
        self._start(self._accept)
        try:
            yield self
        finally:
            self.over.set()
            self._listener.shutdown(socket.SHUT_RDWR)
            for thread in self._threads:
                thread.join(_PATIENCE)
            self._listener.close()

    def open_sockets(self) -> list[socket.socket]:
        """Those of the client, wherever they are kept."""
        gc.collect()
        return [
            each
            for each in _sockets()
            if each not in self._others and _port(each) not in (None, self.port)
        ]

    def _start(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            script = self.scripts.pop(0) if self.scripts else serve
            self._start(partial(self._follow, script, sock))

    def _follow(self, script: Script, sock: socket.socket) -> None:
        sock.settimeout(_PATIENCE)
        conversation = Conversation(self, sock)
        with suppress(OSError):
            script(conversation)
        conversation.sock.close()
        self.closed.set()
