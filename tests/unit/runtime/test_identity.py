"""Processes of this machine that have ended, and what cannot be known."""

import os
import subprocess
import sys

import pytest

from queue_connector.runtime.identity import has_ended, process_identity

ANSWER = "from queue_connector.runtime.identity import *; print(process_identity(), flush=True)"


def test_this_process_has_not_ended():
    assert str(os.getpid()) in process_identity()
    assert not has_ended(process_identity())


def test_one_that_has_ended_is_known_to_have_whether_or_not_somebody_has_asked():
    command = [sys.executable, "-c", f"{ANSWER}; input()"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        identity = process.stdout.readline().strip()
        assert not has_ended(identity)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert has_ended(identity), "it is a zombie"
    assert has_ended(identity)


def test_another_process_that_got_the_number_is_not_taken_for_it():
    place, number, _ = process_identity().rsplit(" ", 2)
    assert has_ended(f"{place} {number} 1")


@pytest.mark.parametrize("identity", ["", "elsewhere 1 1", "a", "a b c d", "a pid:[1] x y", "\0"])
def test_of_other_machines_and_of_nonsense_nothing_is_known(identity):
    assert not has_ended(identity)
