"""What the fork server of `tests.programs` imports once; never to be imported by a test.

A third of the suite's time went into importing torch, for commands that take a second or two.
"""

import os

# Before the imports: libraries read these while they are imported.
os.environ |= {"OMP_NUM_THREADS": "1", "COLUMNS": "300", "NO_COLOR": "1", "TERM": "dumb"}


import kdrec.api
import kdrec.cli.app
import kdrec.client
import kdrec.models
import kdrec.recorder
import kdrec.student
import kdrec.testing  # noqa: F401

os.fsync = lambda fd: None  # as in tests.conftest
