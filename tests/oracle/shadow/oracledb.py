"""In a process that a test has started: the real driver, whose connections lead to a stand-in.

Its folder stands first in PYTHONPATH; the environment's ORACLE_STAND_IN names the function that makes the database.
"""

import os
import sys
from importlib import import_module
from pathlib import Path

sys.path[:] = [p for p in sys.path if Path(p) != Path(__file__).parent]
del sys.modules["oracledb"]
driver = import_module("oracledb")  # from now on it is the one that `import oracledb` gives
module, _, made = os.environ["ORACLE_STAND_IN"].partition(":")
driver.connect = getattr(import_module(module), made)().connect  # type: ignore[attr-defined]
