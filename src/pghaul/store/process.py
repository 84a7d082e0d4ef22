"""Whether the process that recorded a run still lives. A pid is given out again, so its birth is kept too."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path


def token(pid: int) -> str:
    """Machine and birth of a process, as far as this system tells."""
    return f"{socket.gethostname()}/{_birth(pid)}"


def is_gone(pid: int, recorded: str) -> bool:
    """True only when it is certain: on another machine nobody can say."""
    host, _, birth = recorded.partition("/")
    if pid <= 0 or host != socket.gethostname():
        return False
    return not _exists(pid) or _birth(pid) != birth


def _exists(pid: int) -> bool:
    if sys.platform == "win32":
        return _exists_on_windows(pid)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # somebody else's: it exists
    return _linux_status(pid)[:1] != ["Z"]


def _exists_on_windows(pid: int) -> bool:
    """os.kill would end it there: signal 0 is CTRL_C_EVENT."""
    import ctypes  # noqa: PLC0415

    kernel = ctypes.windll.kernel32  # type: ignore[attr-defined,unused-ignore]
    handle = kernel.OpenProcess(0x1000, False, pid)  # PROCESS_QUERY_LIMITED_INFORMATION
    if not handle:
        return False
    code = ctypes.c_ulong()
    kernel.GetExitCodeProcess(handle, ctypes.byref(code))
    kernel.CloseHandle(handle)
    return code.value == 259  # STILL_ACTIVE


def _birth(pid: int) -> str:
    """Start time in clock ticks since boot, on Linux; empty where the system has no cheap answer."""
    fields = _linux_status(pid)
    return fields[19] if len(fields) > 19 else ""


def _linux_status(pid: int) -> list[str]:
    """Fields of /proc/<pid>/stat from the state on; the command before it may hold spaces and parentheses."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


def is_here(pid: int, recorded: str) -> bool:
    """True when another process of this machine, alive now, recorded it."""
    return pid != os.getpid() and is_alive(pid, recorded)


def is_alive(pid: int, recorded: str) -> bool:
    """True when a process of this machine, alive now, recorded it."""
    host = recorded.partition("/")[0]
    return pid != 0 and host == socket.gethostname() and not is_gone(pid, recorded)
