"""A process of its own that reads for connectorx, and is a small MySQL server to it.

connectorx decodes fast, and can do nothing else that is needed here: it opens connections of its own (no snapshot, no
settings, its own idea of TLS, the password in its messages), takes rows as fast as they come (all of a table is in
memory where the target is slower), and panics at a server's error. So it gets a server that has none of these troubles:
this process logs in by PyMySQL, sends the query, and offers the result piece by piece, each as the whole result of any
query, to whoever knows a password made for one run. Errors go to the reader by another way. It cannot be a thread:
connectorx connects while it holds the interpreter's lock.

    reader → here    {"open": …}, {"close": true}, {"run": […]}, {"read": sql, "rows": most, "bytes": most};
                     then {"more": batches} or {"end": true}
    here → reader    {"ok": …} or {"error": [number, message]}; after each batch
                     {"rows": …, "over": …, "last": …, "error": …}

A batch that is short of rows, because its bytes are enough, ends a client's result (`over`): it makes a batch of what
it has, and the next client gets what follows. More is sent only when the reader has asked for it.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import select
import socket
import struct
import sys
from typing import Any

from pghaul.sources import _mysql_packets as packets
from pghaul.sources._mysql_cutting import Piece, Rows
from pghaul.sources._mysql_packets import Frames, Refusal
from pghaul.sources._mysql_session import LOST, connect, number_and_words, wire

IDLE = 30.0  # seconds without a session until it leaves
GREETING = 3.0  # seconds that a client gets to say who it is; another one may be waiting behind it
SECONDS = 60  # until a client that says nothing is let go


class RefusedError(Exception):
    """The server's own words instead of a result."""

    def __init__(self, said: Refusal) -> None:
        super().__init__(said.number, said.message)


class StopAskedError(Exception):
    """The reader has asked for something else, or has gone."""


class Relay:
    """One session with the server, one reader, one client at a time."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._heard = b""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._password = secrets.token_hex(16)
        self._session: Any = None
        self._server: Any = None
        self._reading = False  # a result is being read: the reader may say that it wants more, or no more
        self._credit = 0  # batches that it wants

    def serve(self) -> None:
        """Until the reader has gone."""
        while True:
            asked = self._asked()
            if "more" in asked:  # said before it was known that there is none
                continue
            try:
                self._say({"ok": self._do(asked)})
                if "read" in asked:
                    self._offer(asked["rows"], asked["bytes"])
            except Exception as exc:  # noqa: BLE001 -- the reader translates it; here nobody could
                self._say({"error": list(number_and_words(exc))})

    def _do(self, asked: dict[str, Any]) -> Any:
        if ("open" in asked or "close" in asked) and self._session is not None:
            self._session.close()
            self._session = self._server = None
        if "open" in asked:
            self._session = connect(asked["open"], asked["password"])
            self._server = wire(self._session)
            port = self._listener.getsockname()[1]
            return {"id": self._session.thread_id(), "port": port, "password": self._password}
        if "run" in asked:
            with self._session.cursor() as cursor:
                for statement in asked["run"]:
                    cursor.execute(statement)
        if "read" in asked:
            self._begin(asked["read"])
        return None

    # --- the reader's words -------------------------------------------------------------------------------------------

    def _asked(self) -> dict[str, Any]:
        """The next word; the process ends when nobody can say one any more, or nobody has needed it for long."""
        while b"\n" not in self._heard:
            if self._session is None and not select.select([self._control], [], [], IDLE)[0]:
                os._exit(0)
            more = self._control.recv(1 << 16)
            if not more:
                os._exit(0)
            self._heard += more
        line, _, self._heard = self._heard.partition(b"\n")
        asked: dict[str, Any] = json.loads(line)
        return asked

    def _say(self, words: dict[str, Any]) -> None:
        self._control.sendall(json.dumps(words).encode() + b"\n")

    def _listen(self) -> None:
        """One word while a result is being read: more of it, or no more. StopAskedError."""
        asked = self._asked()
        if "more" not in asked:
            raise StopAskedError
        self._credit += asked["more"]

    def _wait(self, awaited: socket.socket) -> None:
        """Until there is something to be read; StopAskedError if the reader wants no more meanwhile."""
        while self._reading:
            if self._heard:
                self._listen()
            ready, _, _ = select.select([awaited, self._control], [], [])
            if self._control in ready:
                self._listen()
            if awaited in ready:
                return

    # --- the server ---------------------------------------------------------------------------------------------------

    def _begin(self, sql: str) -> None:
        """Prepare and execute; what comes before the rows is kept, to be said to each client."""
        frames = Frames(self._some)
        self._send(bytes([packets.PREPARE]) + sql.encode())
        head = _taken(frames)
        self._statement, columns = struct.unpack("<IH", head[1][1:7])
        self._prepared = _raw(head) + b"".join(_raw(_taken(frames)) for _ in range(columns + 1))
        self._send(struct.pack("<BIBI", packets.EXECUTE, self._statement, 0, 1))
        said = [_taken(frames) for _ in range(columns + 2)]
        self._executed = b"".join(_raw(s) for s in said)
        self._rows = Rows(self._receive, frames.left, (said[-1][0] + 1) & 0xFF)

    def _send(self, payload: bytes) -> None:
        self._server.sendall(packets.packet(payload, 0))

    def _receive(self, view: memoryview) -> int:
        pending = getattr(self._server, "pending", None)  # what TLS has decrypted already, no selector sees
        if pending is None or not pending():
            self._wait(self._server)
        received: int = self._server.recv_into(view)
        return received

    def _some(self, most: int) -> bytes:
        """Of the server, which may think for long: who asked it may be no more meanwhile."""
        watched = [self._server, self._control]
        while self._server not in (ready := select.select(watched, [], [])[0]):
            if not self._control.recv(1, socket.MSG_PEEK):
                os._exit(0)
            watched = [w for w in watched if w not in ready]
        received: bytes = self._server.recv(most)
        return received

    def _drain(self) -> None:
        """The reader wants no more, and has had the query ended: what is under way comes to nothing."""
        made = Piece()
        while not made.last:
            made = Piece()
            for _ in self._rows.piece(1 << 30, 1 << 50, made):
                pass
        with self._session.cursor() as cursor, contextlib.suppress(Exception):
            cursor.execute("DO 0")  # an order to end a query that came too late ends the next one

    # --- the client ---------------------------------------------------------------------------------------------------

    def _offer(self, most_rows: int, most_bytes: int) -> None:
        """All of the result, to one client after the other. The session is at rest afterwards."""
        self._most, self._credit, self._reading, made = (most_rows, most_bytes), 0, True, Piece()
        try:
            while not made.last:
                made = self._accept()
        except StopAskedError:
            self._reading = False
            self._drain()
            self._say({"ok": None})
        finally:
            self._reading = False
        if made.last and made.refused is None:
            self._send(struct.pack("<BI", packets.CLOSE_STATEMENT, self._statement))

    def _accept(self) -> Piece:
        """Serve one client; the last batch that it got."""
        self._wait(self._listener)
        client, _ = self._listener.accept()
        with client:
            client.settimeout(GREETING)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            frames = Frames(client.recv)
            return self._answer(client, frames) if self._greet(client, frames) else Piece()

    def _greet(self, client: socket.socket, frames: Frames) -> bool:
        salt = secrets.token_hex(10).encode()
        try:
            client.sendall(packets.greeting(salt))
            sequence, response = frames.take()
        except (OSError, EOFError):  # whoever looks for open ports
            return False
        if not packets.is_welcome(response, self._password.encode(), salt):
            return False
        client.sendall(packets.ok(sequence + 1))
        client.settimeout(SECONDS)
        return True

    def _answer(self, client: socket.socket, frames: Frames) -> Piece:
        """One client's commands, until it leaves."""
        made = Piece()
        while True:
            try:
                command = frames.take()[1][0]
            except (EOFError, OSError):
                return made
            if command == packets.QUIT:
                return made
            if command == packets.EXECUTE:
                client.sendall(self._executed)
                made = self._result(client)
            elif command == packets.PREPARE:
                client.sendall(self._prepared)
            elif command == packets.QUERY:
                client.sendall(packets.one_value(b"@@max_allowed_packet", b"1073741824"))
            elif command != packets.CLOSE_STATEMENT:
                client.sendall(packets.ok(1))

    def _result(self, client: socket.socket) -> Piece:
        """Batches, and an end that is well for the client however it has come: connectorx panics at anything else."""
        self._rows.restart()
        made = Piece(full=True)
        try:
            while made.full and not made.last:
                made = self._batch(client)
        finally:
            client.sendall(packets.eof(self._rows.following))
        return made

    def _batch(self, client: socket.socket) -> Piece:
        """One of them, as soon as it is wanted."""
        while not self._credit:
            self._listen()
        self._credit -= 1
        made = Piece()
        try:
            for view in self._rows.piece(*self._most, made):
                client.sendall(view)
        except EOFError:
            made.last, made.refused = True, Refusal(number=LOST, message="")
        refused = made.refused and [made.refused.number, made.refused.message]
        over = made.last or not made.full
        self._say({"rows": made.rows, "bytes": made.size, "over": over, "last": made.last, "error": refused})
        return made


def _taken(frames: Frames) -> tuple[int, bytes]:
    sequence, payload = frames.take()
    if payload[0] == packets.ERROR:
        raise RefusedError(packets.refusal(payload))
    return sequence, payload


def _raw(taken: tuple[int, bytes]) -> bytes:
    return packets.packet(taken[1], taken[0])


def main() -> None:
    """The port and the word by which the reader knows us come by stdin, as nobody else may see them."""
    port, word = sys.stdin.readline().split()
    with socket.create_connection(("127.0.0.1", int(port))) as control:
        control.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        control.sendall(word.encode() + b"\n")
        with contextlib.suppress(OSError, KeyboardInterrupt):
            Relay(control).serve()


if __name__ == "__main__":
    main()
