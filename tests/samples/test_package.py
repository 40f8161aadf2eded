"""The face of the part."""

import subprocess
import sys

from kdrec import samples


def test_the_public_names_are_these() -> None:
    assert samples.__all__ == [
        "DIGEST_SIZE",
        "PRESETS",
        "SHAPE_CLASSES",
        "SKETCH_SIZE",
        "Arguments",
        "Contents",
        "PointChoice",
        "Preset",
        "SampleIdentity",
        "SampleSet",
        "Source",
        "Split",
        "align",
        "find_preset",
        "identify",
        "load_field",
        "load_samples",
        "make_shapes",
        "name_classes",
        "parse_split",
        "register_source",
        "select_points",
    ]
    assert all(hasattr(samples, name) for name in samples.__all__)


def test_the_import_loads_neither_torch_nor_h5py() -> None:
    code = "import sys, kdrec.samples; print(*{'torch', 'h5py'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []
