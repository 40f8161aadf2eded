"""Recordings in a plain encoding are read by any implementation of Zarr, without kdrec."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from kdrec.samples import make_shapes
from kdrec.store import LocalStorage, RecordingReader, plan_encoding
from kdrec.testing import make_plan, make_recording

_ZARR = """
import sys
sys.modules["kdrec"] = None  # importing it fails
import numpy as np, zarr
group = zarr.open_group(sys.argv[1], mode="r")
np.save(sys.argv[2], group["logits"][...])
np.save(sys.argv[3], group["params"][...])
"""
_TENSORSTORE = """
import sys
sys.modules["kdrec"] = None
import numpy as np, tensorstore
for name, out in (("logits", sys.argv[2]), ("params", sys.argv[3])):
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{sys.argv[1]}/{name}"}}
    np.save(out, tensorstore.open(spec).result().read().result())
"""


@pytest.mark.parametrize("encoding", ["portable", "exact", "half"])
@pytest.mark.parametrize("script", [_ZARR, _TENSORSTORE], ids=["zarr-python", "tensorstore"])
def test_a_plain_recording_is_read_without_kdrec(
    tmp_path: Path, encoding: str, script: str
) -> None:
    samples = make_shapes(10, seed=0, num_points=8)
    plan = make_plan(samples, encoding=encoding)
    make_recording(tmp_path / "r.zarr", samples, plan=plan)
    out = tmp_path / "logits.npy", tmp_path / "params.npy"
    subprocess.run(
        [sys.executable, "-c", script, tmp_path / "r.zarr", *out],
        check=True,
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
    )
    reader = RecordingReader(LocalStorage(tmp_path / "r.zarr"), where="r.zarr")
    read = [reader.read(view) for view in range(plan.views)]
    np.testing.assert_array_equal(np.load(out[0]), np.stack([logits for _, logits in read]))
    np.testing.assert_array_equal(np.load(out[1]), np.stack([p.values_BP for p, _ in read]))


def test_zarr_decodes_compact_logits_where_kdrec_is_installed(tmp_path: Path) -> None:
    """By the codecs' entry points alone: the program that opens the array never imports kdrec."""
    if not _is_installed():
        pytest.skip("kdrec is not installed here, only on the path: no entry points")
    samples = make_shapes(10, seed=0, num_points=8)
    plan = make_plan(samples, encoding=plan_encoding("compact"))
    make_recording(tmp_path / "r.zarr", samples, plan=plan)
    script = "import sys, numpy, zarr; g = zarr.open_group(sys.argv[1], mode='r'); "
    script += "numpy.save(sys.argv[2], g['logits'][...]); numpy.save(sys.argv[3], g['params'][...])"
    out = tmp_path / "logits.npy", tmp_path / "params.npy"
    subprocess.run([sys.executable, "-c", script, tmp_path / "r.zarr", *out], check=True)
    reader = RecordingReader(LocalStorage(tmp_path / "r.zarr"), where="r.zarr")
    read = [reader.read(view) for view in range(plan.views)]
    np.testing.assert_array_equal(np.load(out[0]), np.stack([logits for _, logits in read]))
    np.testing.assert_array_equal(np.load(out[1]), np.stack([p.values_BP for p, _ in read]))


def _is_installed() -> bool:
    from importlib.metadata import entry_points

    return "kdrec.compact" in {point.name for point in entry_points(group="zarr.codecs")}
