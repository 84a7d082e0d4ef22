"""Ports for servers, and the end of a family of processes."""

from __future__ import annotations

import random
import socket
import subprocess
import sys

import psutil
import pytest

from pghaul.service import embedded, postmaster
from pghaul.service.embedded import free_port


def test_a_port_is_one_that_no_outgoing_connection_is_given() -> None:
    ports = [free_port() for _ in range(50)]
    assert len(set(ports)) == 50
    assert all(1024 < port < 32768 for port in ports)


def test_processes_with_the_same_seed_do_not_choose_the_same_port() -> None:
    chosen = []
    for _ in range(2):
        random.seed(1)
        chosen.append([free_port() for _ in range(5)])
    assert chosen[0] != chosen[1]


def test_a_port_in_use_is_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        monkeypatch.setattr(embedded, "PORTS", range(port, port + 1))
        assert free_port() != port


PARENT = """
import subprocess, sys
children = [subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) for _ in range(2)]
print(*(c.pid for c in children), flush=True)
input()
"""


def test_a_family_is_killed_with_those_who_do_not_notice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postmaster, "NOTICING", 0.0)
    with subprocess.Popen([sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        children = [int(pid) for pid in parent.stdout.readline().split()]
        assert all(postmaster.is_running(pid) for pid in children)
        psutil.Process(children[0]).suspend()  # this one cannot notice anything
        postmaster.kill_family(parent.pid)
        assert parent.wait(60) != 0
    assert not any(postmaster.is_running(pid) for pid in (parent.pid, *children))


def test_a_family_that_is_gone_is_left_alone() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    postmaster.kill_family(process.pid)
    assert not postmaster.is_running(process.pid)
