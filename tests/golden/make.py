"""Write the golden recordings of this format version: `python -m tests.golden.make`.

They are what every later kdrec must read. Run this only when a new format version begins, and keep
the folders of the versions before.
"""

import json
import shutil
from hashlib import sha256
from pathlib import Path

import numpy as np

from kdrec.samples import make_shapes
from kdrec.store import ENCODINGS, FORMAT_VERSION, LocalStorage, RecordingReader
from kdrec.testing import make_plan, make_recording

FOLDER = Path(__file__).parent / f"version{FORMAT_VERSION}"


def described(path: Path) -> dict[str, str | int]:
    """Identity of a recording, and digests of all that it decodes to."""
    reader = RecordingReader(LocalStorage(path), where=path.name)
    assert reader.seal is not None
    read = [reader.read(view) for view in range(reader.manifest.plan.views)]
    return {
        "identity": reader.seal.digest,
        "records": sum(len(logits) for _, logits in read),
        "parameters": sha256(np.stack([p.values_BP for p, _ in read]).tobytes()).hexdigest(),
        "logits": sha256(np.stack([logits for _, logits in read]).tobytes()).hexdigest(),
        "points": sha256(reader.array("samples/points").tobytes()).hexdigest(),
    }


def main() -> None:
    """Write them all anew."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    samples = make_shapes(12, seed=0, num_points=16)
    found = {}
    for encoding in ENCODINGS:
        path = FOLDER / f"{encoding}.zarr"
        plan = make_plan(samples, views=5, group=3, block_samples=8, encoding=encoding)
        make_recording(path, samples, plan=plan)
        found[encoding] = described(path)
    (FOLDER / "described.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
