"""Found by Python's start through PYTHONPATH: merges of little give their work to processes, as those of much do."""

from __future__ import annotations

import sys

if {"run", "resume"} & set(sys.orig_argv):
    from pghaul.engine.merge import staging

    staging.LARGE = -1
