"""The proof records beside what is stored of the same records.

Shape letters: M proof records, C classes.
"""

from collections import Counter
from collections.abc import Container
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kdrec.augment import ViewParameters
from kdrec.store.contents import ProofRecords
from kdrec.store.manifest import Manifest
from kdrec.store.plan import Block
from kdrec.store.reader import RecordingReader

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class StoredProof:
    """Proof records, and the same records as a student reads them.

    Attributes:
        proof: Those that are compared; maybe none.
        kept: How many proof records the recording keeps.
        parameters: As stored.
        logits_MC: As stored, decoded.
    """

    proof: ProofRecords
    kept: int
    parameters: ViewParameters
    logits_MC: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.proof)


def read_stored_proof(
    reader: RecordingReader, *, blocks: Container[Block], most_records: int | None = None
) -> StoredProof:
    """Read the proof records that are in some blocks.

    Args:
        reader: Of the recording.
        blocks: Those that are here.
        most_records: Stop taking blocks once so many records had to be decoded, None for all. A
            block is decoded whole, so that a few hundred proof records may need millions.

    Raises:
        IntegrityError: A file is damaged.
    """
    proof = reader.proof()
    places = [
        reader.grid.block(int(view) // reader.grid.group, int(sample) // reader.grid.block_samples)
        for view, sample in zip(proof.views_M, proof.samples_M, strict=True)
    ]
    fullest = [block for block, _ in Counter(places).most_common() if block in blocks]
    chosen = _within(most_records, fullest)
    here = proof.rows(np.array([block in chosen for block in places], dtype=bool))
    parameters, logits_MC = reader.read(here.views_M, here.samples_M)
    return StoredProof(here, len(proof), parameters, logits_MC)


def _within(most_records: int | None, blocks: list[Block]) -> set[Block]:
    if most_records is None:
        return set(blocks)
    chosen: set[Block] = set()
    for block in blocks:
        if sum(len(b.views) * len(b.samples) for b in chosen) >= most_records:
            break
        chosen.add(block)
    return chosen


def count_draws(proof: ProofRecords, manifest: Manifest) -> int:
    """How many of these records were drawn each by itself.

    Of a converted recording only the samples are certain to be draws of their own.
    """
    drawn = manifest.origin is None
    views_M = proof.views_M if drawn else np.zeros_like(proof.views_M)
    return len(set(zip(views_M.tolist(), proof.samples_M.tolist(), strict=True)))


def unnoticed_share(draws: int, *, confidence: float = CONFIDENCE) -> float:
    """The largest share of wrong records that so many clean draws leave possible.

    With a share f of the records wrong, `draws` of them are all clean with probability
    (1 - f)^draws; a larger f than the one returned would have been noticed with at least this
    confidence. The draws follow from the seed: this is a guard against accident, not against
    somebody who knows where it looks.

    Args:
        draws: See `count_draws`.
        confidence: Above 0 and below 1.
    """
    return 1.0 if draws == 0 else float(1 - (1 - confidence) ** (1 / draws))
