"""Told to stop, a process ends in seconds, also when something in it does not answer."""

import os
import signal
import subprocess
import sys

import pytest

HANGS = """
import os, sys, time
from kdrec.cli.termination import terminated_like_interrupted

with terminated_like_interrupted(abandon=lambda: print("abandoned", flush=True), seconds=0.1):
    first = True
    while True:
        try:
            if first:
                first = False
                print("begun", flush=True)
            time.sleep(60)
        except KeyboardInterrupt:
            pass  # as a call that is no Python would not hear of it
"""
ENDS = HANGS.replace("pass  # as", "break  # not as")


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(("code", "ended", "said"), [(HANGS, 1, "abandoned\n"), (ENDS, 0, "")])
def test_what_hangs_is_abandoned_and_says_so(
    sent: signal.Signals, code: str, ended: int, said: str
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        os.kill(process.pid, sent)
        assert process.wait(timeout=60) == ended
        assert process.stdout.read() == said


def test_signals_are_as_before_afterwards() -> None:
    from kdrec.cli.termination import terminated_like_interrupted

    before = signal.getsignal(signal.SIGTERM)
    with terminated_like_interrupted(abandon=lambda: None):
        assert signal.getsignal(signal.SIGTERM) is signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) is before
