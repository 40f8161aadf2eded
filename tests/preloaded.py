"""What the fork server of `tests.programs` imports once; never to be imported by a test.

A third of the suite's time went into importing torch, for commands that take a second or two. The
rest is what commands import when they come to it: an optimizer torch's compiler, a picture
matplotlib, a service the web framework.
"""

# ruff: noqa: F401
import os

# Before the imports: libraries read these while they are imported.
os.environ |= {"OMP_NUM_THREADS": "1", "TORCHINDUCTOR_COMPILE_THREADS": "1"}
os.environ |= {"COLUMNS": "300", "NO_COLOR": "1", "TERM": "dumb"}


import array_api_compat.numpy
import array_api_compat.torch
import httpcore
import matplotlib.figure
import numpy.ma
import numpy.random
import torch._dynamo

import kdrec.api.server
import kdrec.cli.app
import kdrec.client
import kdrec.models
import kdrec.recorder
import kdrec.student.pictures
import kdrec.student.training
import kdrec.testing

os.fsync = lambda fd: None  # as in tests.conftest
