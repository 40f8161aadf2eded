"""What a recording begins with: samples and proof records, as arrays.

Shape letters: S samples, M proof records, C classes, F sums of a fingerprint.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kdrec.store.arrays import AnyArray, ArraySpec, fixed_width_text, static_array


@dataclass(frozen=True, slots=True)
class SampleContents:
    """What is kept of every sample.

    Attributes:
        digests: Content digests, (S, 16) bytes.
        sketches: (S, 16) float32.
        labels_S: None without labels.
        names: None without names.
        points_SND: None when the points are not kept.
        numbers_S: By which number each was drawn, ascending; None where that is its place.
    """

    digests: npt.NDArray[np.uint8]
    sketches: npt.NDArray[np.float32]
    labels_S: npt.NDArray[np.int64] | None = None
    names: tuple[str, ...] | None = None
    points_SND: npt.NDArray[np.float32] | None = None
    numbers_S: npt.NDArray[np.int64] | None = None


@dataclass(frozen=True, slots=True)
class ProofRecords:
    """Records whose exact logits and inputs are known.

    Attributes:
        views_M: View of each.
        samples_M: Sample of each.
        logits_MC: As the teacher gave them, before any encoding.
        fingerprints_MF: Of the teacher's input.
    """

    views_M: npt.NDArray[np.int64]
    samples_M: npt.NDArray[np.int64]
    logits_MC: npt.NDArray[np.float32]
    fingerprints_MF: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.views_M)

    def rows(self, index: npt.NDArray[Any]) -> "ProofRecords":
        """Some of the records, in the order of the index."""
        return ProofRecords(
            views_M=self.views_M[index],
            samples_M=self.samples_M[index],
            logits_MC=self.logits_MC[index],
            fingerprints_MF=self.fingerprints_MF[index],
        )


def static_contents(
    samples: SampleContents, proof: ProofRecords
) -> tuple[list[ArraySpec], Mapping[str, AnyArray]]:
    """Specifications and values of the static arrays."""
    arrays: dict[str, tuple[AnyArray | None, tuple[str, ...]]] = {
        "samples/digest": (samples.digests, ("sample", "byte")),
        "samples/sketch": (samples.sketches, ("sample", "number")),
        "samples/label": (samples.labels_S, ("sample",)),
        "samples/name": (
            None if samples.names is None else fixed_width_text(samples.names),
            ("sample", "byte"),
        ),
        "samples/points": (samples.points_SND, ("sample", "point", "channel")),
        "samples/number": (samples.numbers_S, ("sample",)),
        "proof/view": (proof.views_M, ("record",)),
        "proof/sample": (proof.samples_M, ("record",)),
        "proof/logits": (proof.logits_MC, ("record", "class")),
        "proof/fingerprint": (proof.fingerprints_MF, ("record", "sum")),
    }
    present = {name: (v, axes) for name, (v, axes) in arrays.items() if v is not None}
    specs = [static_array(name, values, *axes) for name, (values, axes) in present.items()]
    return specs, {name: values for name, (values, _) in present.items()}
