"""Who is told of a run in the tests: a webhook's receiver and a mail server on loopback, as bad as wanted."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import socket
import socketserver
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(kw_only=True)
class Post:
    """What came."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found

    def is_signed_with(self, secret: str, *, within: float = 300) -> bool:
        """As docs/monitoring.md tells a receiver to check."""
        stamp, given = self.headers.get("X-Pghaul-Timestamp", "0"), self.headers.get("X-Pghaul-Signature", "")
        made = hmac.new(secret.encode(), stamp.encode() + b"." + self.body, hashlib.sha256).hexdigest()
        return abs(time.time() - int(stamp)) <= within and hmac.compare_digest(f"sha256={made}", given)


Answer = Callable[["_Hook"], None]


def status(code: int, **headers: str) -> Answer:
    """Answer with a status."""

    def answer(hook: _Hook) -> None:
        hook.send_response(code)
        for name, value in headers.items():
            hook.send_header(name, value)
        hook.send_header("Content-Length", "0")
        hook.end_headers()

    return answer


def hang(hook: _Hook) -> None:
    """Say nothing until the test is over."""
    hook.server.receiver.over.wait(120)


def reset(hook: _Hook) -> None:
    """Break the connection off, as a dying server does."""
    hook.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    hook.connection.close()


class _Hook(BaseHTTPRequestHandler):
    server: _HookServer

    def do_POST(self) -> None:
        receiver = self.server.receiver
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with receiver.lock:
            receiver.posts.append(Post(path=self.path, headers=dict(self.headers), body=body))
            answer = receiver.answers.pop(0) if len(receiver.answers) > 1 else receiver.answers[0]
        receiver.came.release()
        answer(self)

    def do_GET(self) -> None:
        self.do_POST()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the base class's name
        pass


class _HookServer(ThreadingHTTPServer):
    daemon_threads = True
    receiver: Receiver

    def handle_error(self, request: object, client_address: object) -> None:
        pass


@dataclass(kw_only=True)
class Receiver:
    """`answers` in their order; the last one is that of all later posts."""

    answers: list[Answer]
    port: int = 0
    scheme: str = "http"
    posts: list[Post] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    came: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    over: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}/services/T0KEN"


@contextmanager
def webhook(*answers: Answer, tls: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    """A receiver that answers 200, or as it is told."""
    receiver = Receiver(answers=list(answers) or [status(200)])
    server = _HookServer(("127.0.0.1", 0), _Hook)
    if tls is not None:
        server.socket, receiver.scheme = tls.wrap_socket(server.socket, server_side=True), "https"
    server.receiver, receiver.port = receiver, server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield receiver
    finally:
        receiver.over.set()
        server.shutdown()
        server.server_close()
        thread.join()


# --- mail ---------------------------------------------------------------------------------------------------------


@dataclass(kw_only=True)
class MailServer:
    """Speaks as much SMTP as is needed. `tls`: the certificate for STARTTLS; `refusals`: answers to RCPT, in order."""

    tls: ssl.SSLContext | None = None
    login: tuple[str, str] | None = None
    refusals: list[str] = field(default_factory=list)
    port: int = 0
    said: list[str] = field(default_factory=list)  # what came before TLS, as anybody on the way could read it
    mails: list[EmailMessage] = field(default_factory=list)


class _Smtp(socketserver.StreamRequestHandler):
    server: _SmtpServer

    def handle(self) -> None:
        self.secure = False
        self.answer("220 here")
        try:
            while line := self.rfile.readline():
                words = line.decode().strip()
                if not self.secure:
                    self.server.mail.said.append(words)
                if not self.heed(words):
                    return
        finally:
            self.connection.close()

    def answer(self, words: str) -> None:
        self.wfile.write(words.encode() + b"\r\n")

    def heed(self, words: str) -> bool:
        mail, verb = self.server.mail, words.upper().partition(" ")[0]
        if verb == "EHLO":
            offers = ["STARTTLS"] if mail.tls and not self.secure else []
            offers += ["AUTH PLAIN"] if mail.login else []
            lines = ["here", *offers]
            self.answer("\r\n".join(f"250{' ' if i == len(lines) - 1 else '-'}{w}" for i, w in enumerate(lines)))
        elif verb == "STARTTLS" and mail.tls:
            self.answer("220 go on")
            self.connection = mail.tls.wrap_socket(self.connection, server_side=True)
            self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb", 0)
            self.secure = True
        elif verb == "AUTH":
            _, user, password = base64.b64decode(words.split()[2]).decode().split("\0")
            self.answer("235 welcome" if (user, password) == mail.login else "535 no")
        elif verb == "RCPT" and mail.refusals:
            self.answer(mail.refusals.pop(0))
        elif verb == "DATA":
            self.answer("354 go on")
            lines = iter(self.rfile.readline, b".\r\n")
            mail.mails.append(message_from_bytes(b"".join(lines), policy=policy.default))
            self.answer("250 taken")
        else:
            self.answer("221 bye" if verb == "QUIT" else "250 well")
        return verb != "QUIT"


class _SmtpServer(socketserver.ThreadingTCPServer):
    daemon_threads = True
    mail: MailServer

    def handle_error(self, request: object, client_address: object) -> None:
        pass


@contextmanager
def mail_server(**wanted: Any) -> Iterator[MailServer]:
    """A mail server that keeps what it gets."""
    mail = MailServer(**wanted)
    server = _SmtpServer(("127.0.0.1", 0), _Smtp)
    server.mail, mail.port = mail, server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield mail
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
