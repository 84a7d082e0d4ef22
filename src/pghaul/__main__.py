"""Entry point. Stays light: a spawned worker imports the main module again, and must not load the faces."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the command line."""
    # pydantic would look through the metadata of every installed package for plugins; we use none.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    from pghaul.cli.app import run  # noqa: PLC0415

    sys.exit(run())


if __name__ == "__main__":
    main()
