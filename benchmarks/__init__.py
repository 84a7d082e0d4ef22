"""Reproducible measurements against real peers; never part of the tests, which must not depend on a clock."""
