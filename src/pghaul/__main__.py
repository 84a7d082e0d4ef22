"""Entry point. Stays light: a spawned worker imports the main module again, and must not load the faces."""

from __future__ import annotations

import atexit
import gc
import os
import sys

# Imports allocate a lot and leave no garbage: looking for it 300 times while they run costs a tenth of the start.
gc.set_threshold(50_000, 20, 50)


INTERRUPTED = 130  # as shells have it; cli/exit_codes.py is not loaded yet


def main() -> None:
    """Run the command line."""
    try:
        _leave(_run())
    except KeyboardInterrupt:  # while all of it was being loaded: nothing has begun
        os._exit(INTERRUPTED)


def _run() -> int:
    # pydantic would look through the metadata of every installed package for plugins; we use none.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    from pghaul.cli.streams import make_sound  # noqa: PLC0415

    make_sound()
    from pghaul.cli.app import run  # noqa: PLC0415
    from pghaul.model.redaction import guard  # noqa: PLC0415

    guard()
    return run()


def _leave(code: int) -> None:
    """End the process, but spare it the taking apart of a thousand modules (0.1 s, a third of a short command)."""
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:  # whoever read it has gone
            code = code or 1
    os._exit(code)


if __name__ == "__main__":
    main()
