"""Entry point. Stays light: a spawned worker imports the main module again, and must not load the faces."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line."""
    from pghaul.cli.app import run  # noqa: PLC0415

    sys.exit(run())


if __name__ == "__main__":
    main()
