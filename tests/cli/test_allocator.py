import os
import platform
import resource
import subprocess
import sys

import pytest

_TAKE_TWICE = """
import resource
from kdrec.cli.allocator import keep_freed_memory

def faults_of_another():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    b"x" * 2**27
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

keep_freed_memory()
faults_of_another()
print(faults_of_another())
"""


def _faults(keep: str) -> int:
    env = os.environ | {"KDREC_KEEP_MEMORY": keep}
    command = [sys.executable, "-c", _TAKE_TWICE]
    return int(subprocess.run(command, check=True, capture_output=True, text=True, env=env).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc gives memory back so")
def test_memory_that_was_freed_is_not_brought_in_again() -> None:
    assert _faults("0") > 2**27 // resource.getpagesize() // 2
    assert _faults("") < 100
