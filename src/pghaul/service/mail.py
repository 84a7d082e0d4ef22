"""Mail by SMTP, as the environment says: `PGHAUL_SMTP=smtp[s]://user@host:port?from=address`.

A password goes over TLS only, with a certificate that is verified: by STARTTLS (smtp) or from the first byte (smtps).
"""

from __future__ import annotations

import base64
import smtplib
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.utils import formatdate, make_msgid, parseaddr
from urllib.parse import parse_qs, unquote, urlsplit

from pghaul.model.errors import OutletError
from pghaul.model.redaction import know, know_any
from pghaul.model.text import Text, say
from pghaul.service.delivery import Note, Undelivered

SERVER, PASSWORD = "PGHAUL_SMTP", "PGHAUL_SMTP_PASSWORD"
TIMEOUT = 10.0  # seconds for each step
PORTS = {"smtp": 25, "smtps": 465}
SUBMISSION = 587  # where somebody logs in
HOW = say("write PGHAUL_SMTP=smtp://user@host:587?from=pghaul@example.com, or smtps://…")


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Where mail is handed over."""

    host: str
    port: int
    tls: bool  # from the first byte
    user: str | None
    password: str | None = field(default=None, repr=False)
    sender: str


def server_of(environ: Mapping[str, str]) -> Server:
    """OutletError says what is missing, and never what was said: a password may be in it."""
    said = environ.get(SERVER)
    know_any(said or "", typed=True)  # it may have one all the same
    know(environ.get(PASSWORD))
    if not said:
        raise OutletError(say("PGHAUL_SMTP does not say which server takes mail"), where=SERVER, advice=HOW, code=6530)
    try:
        url = urlsplit(said)
        port, host, scheme = url.port, url.hostname, url.scheme
    except ValueError:
        port, host, scheme = None, None, ""
    if scheme not in PORTS or not host:
        raise OutletError(say("PGHAUL_SMTP is no address of a mail server"), where=SERVER, advice=HOW, code=6531)
    if url.password is not None:
        words = say("a password does not belong into PGHAUL_SMTP")
        raise OutletError(words, where=SERVER, advice=say("put it into PGHAUL_SMTP_PASSWORD"), code=6532)
    user = unquote(url.username) if url.username else None
    sender = next(iter(parse_qs(url.query).get("from", [])), None) or user or ""
    return Server(
        host=host,
        port=port or (SUBMISSION if user and scheme == "smtp" else PORTS[scheme]),
        tls=scheme == "smtps",
        user=user,
        password=environ.get(PASSWORD) or None,
        sender=sender if "@" in sender else f"pghaul@{socket.getfqdn()}",
    )


def addresses(said: str) -> list[str]:
    """Of a mailto: one or more, parted by commas. OutletError for anything else."""
    found = [unquote(part).strip() for part in said.split(",")]
    for address in found:
        plain = parseaddr(address)[1]
        if plain != address or "@" not in address or any(c.isspace() or ord(c) < 32 for c in address):
            words = say("this is no mail address: {address}", address=address)
            raise OutletError(words, advice=say("write mailto:ops@example.com"), code=6533)
    return found


class Mail:
    """Implements `Channel`."""

    def __init__(self, recipients: list[str], server: Server) -> None:
        self._to = recipients
        self._server = server

    @property
    def name(self) -> str:
        """Addresses are no secret."""
        return say("mail to {addresses}", addresses=", ".join(self._to))

    def deliver(self, note: Note) -> None:
        """The server has taken it: that is all that a sender can know."""
        try:
            with self._connect() as session:
                self._log_in(session)
                session.send_message(self._message(note))
        except smtplib.SMTPAuthenticationError as exc:
            raise _told(say("the mail server refuses the password"), exc.smtp_code) from None
        except smtplib.SMTPRecipientsRefused as exc:
            code = min(c for c, _ in exc.recipients.values())
            raise _told(say("the mail server refuses the recipient"), code) from None
        except smtplib.SMTPResponseException as exc:
            raise _told(say("the mail server refuses it"), exc.smtp_code) from None
        except smtplib.SMTPNotSupportedError:
            raise Undelivered(say("the mail server does not offer what is needed"), again=False) from None
        except ssl.SSLCertVerificationError as exc:
            words = say("the mail server's certificate is not trusted: {why}", why=exc.verify_message)
            raise Undelivered(words, again=False) from None
        except (OSError, smtplib.SMTPException) as exc:
            why = getattr(exc, "strerror", None) or type(exc).__name__
            raise Undelivered(say("the mail server cannot be reached: {why}", why=str(why)), again=True) from None

    def _connect(self) -> smtplib.SMTP:
        if self._server.tls:
            context = ssl.create_default_context()
            return smtplib.SMTP_SSL(self._server.host, self._server.port, timeout=TIMEOUT, context=context)
        return smtplib.SMTP(self._server.host, self._server.port, timeout=TIMEOUT)

    def _log_in(self, session: smtplib.SMTP) -> None:
        session.ehlo_or_helo_if_needed()
        secure = self._server.tls
        if not secure and session.has_extn("starttls"):
            session.starttls(context=ssl.create_default_context())
            session.ehlo()
            secure = True
        if self._server.user is None:
            return
        if not secure:
            raise Undelivered(say("the mail server offers no TLS, and gets no password without it"), again=False)
        password = self._server.password or ""
        if f"{self._server.user}{password}".isascii():
            session.login(self._server.user, password)
            return
        # smtplib knows ASCII only; PLAIN is UTF-8 (RFC 4616).
        told = base64.b64encode(f"\0{self._server.user}\0{password}".encode()).decode()
        code, reply = session.docmd("AUTH", f"PLAIN {told}")
        if code != 235:
            raise smtplib.SMTPAuthenticationError(code, reply)

    def _message(self, note: Note) -> EmailMessage:
        message = EmailMessage()
        message["Subject"] = f"pghaul: {note.title}"
        message["From"] = self._server.sender
        message["To"] = ", ".join(self._to)
        message["Date"] = formatdate(localtime=True)
        message["Message-ID"] = make_msgid(idstring=note.id, domain=self._server.sender.rpartition("@")[2])
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office answers
        message.set_content(f"{note.title}\n\n{note.message}\n")
        return message


def _told(words: Text, code: int) -> Undelivered:
    """4xx passes, 5xx stays (RFC 5321)."""
    return Undelivered(say("{words} ({code})", words=words, code=code), again=400 <= code < 500)
