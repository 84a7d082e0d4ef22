"""Oracle's driver without an Oracle: a script of answers (server.py), and a database of recorded ones (stand_in.py)."""
