"""Whether every byte of a recording is what was recorded, and the bound holds on the proof."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from kdrec.errors import IncompleteError, KdrecError, NotFoundError
from kdrec.store.ledger import HEADER_KEY, SEAL_KEY, FileDigest
from kdrec.store.plan import Block
from kdrec.store.reader import RecordingReader
from kdrec.store.storage import ReadableStorage
from kdrec.store.stored_proof import read_stored_proof
from kdrec.store.writer import BLOCK_ARRAYS

TEACHER_SLACK = {"float32": 1e-4, "tf32": 1e-2, "bf16": 5e-2, "fp16": 1e-2}
"""By how much a teacher's logits vary with the batch they are computed in, relative to the largest
logit: proof records are computed in batches of their own. Our choice, by precision."""


@dataclass(slots=True)
class VerifyReport:
    """What was found.

    Attributes:
        files: Number of files checked.
        num_bytes: Their size.
        damaged: A line for each thing that is wrong.
        absent: Blocks that are not (yet) here.
        unlisted: Files that no ledger knows; harmless, and not read by anyone.
        sealed: Whether there is a seal; without one it has no identity, however complete it is.
        proof_records: Number of proof records kept.
        proof_checked: Number of proof records compared with what is stored.
    """

    files: int = 0
    num_bytes: int = 0
    damaged: list[str] = field(default_factory=list)
    absent: list[Block] = field(default_factory=list)
    unlisted: list[str] = field(default_factory=list)
    sealed: bool = False
    proof_records: int = 0
    proof_checked: int = 0


def verify_bytes(reader: RecordingReader, storage: ReadableStorage) -> Iterator[VerifyReport]:
    """Check file by file; yields the same report, further filled, after each block.

    Args:
        reader: Of the recording, freshly opened.
        storage: Where its files are.
    """
    report = VerifyReport(sealed=reader.seal is not None)
    listed = dict(reader.header.files)
    _check_files(report, storage, reader, reader.header.files, "the header")
    if reader.seal is not None:
        sealed = {HEADER_KEY: reader.seal.files[HEADER_KEY]}
        _check_files(report, storage, reader, sealed, "the header")
    yield report
    for block in reader.grid:
        listed |= _check_block(report, storage, reader, block)
        yield report
    _check_seal(report, reader, listed)
    _check_proof(report, reader)
    known = listed.keys() | {SEAL_KEY, HEADER_KEY} | {b.ledger_key for b in reader.grid}
    # The shards of a block whose entry is damaged are its own: nobody shall clear them away.
    present = [block for block in reader.grid if block not in report.absent]
    known |= {block.shard_key(name) for block in present for name in BLOCK_ARRAYS}
    report.unlisted = sorted(set(storage.keys()) - known)
    yield report


def _check_block(
    report: VerifyReport, storage: ReadableStorage, reader: RecordingReader, block: Block
) -> dict[str, FileDigest]:
    try:
        storage.read(block.ledger_key)
    except (NotFoundError, IncompleteError):
        report.absent.append(block)
        return {}
    try:
        entry = reader.entry(block)
        report.files += 1
        if _check_files(report, storage, reader, entry.files, str(block)):
            reader.read(block.views[0], np.asarray(block.samples))  # every chunk's own checksum
    except KdrecError as error:
        if str(error) not in report.damaged:  # a damaged header is said once, not by every block
            report.damaged.append(str(error))
        return {}
    return entry.files


def _check_files(
    report: VerifyReport,
    storage: ReadableStorage,
    reader: RecordingReader,
    files: dict[str, FileDigest],
    part: str,
) -> bool:
    before = len(report.damaged)
    for key, digest in files.items():
        where = f"{part} of {reader.where}: {key}"
        try:
            data = storage.read(key)
            digest.check(data, where=where, remedy=reader.remedy)
        except NotFoundError:
            report.damaged.append(f"{where} is missing; {reader.remedy}")
        except KdrecError as error:
            report.damaged.append(str(error))
        else:
            report.files += 1
            report.num_bytes += len(data)
    return len(report.damaged) == before


def _check_seal(
    report: VerifyReport, reader: RecordingReader, listed: dict[str, FileDigest]
) -> None:
    if reader.seal is None:
        return
    for key, digest in listed.items():
        if reader.seal.files.get(key) != digest:
            report.damaged.append(
                f"{reader.where}: ledger and seal disagree on {key}; {reader.remedy}"
            )


def _check_proof(report: VerifyReport, reader: RecordingReader) -> None:
    """Compare the proof records that are here with what is stored of the same records."""
    if report.damaged:
        return
    stored = read_stored_proof(reader, blocks=set(reader.grid) - set(report.absent))
    proof, views, samples = stored.proof, stored.proof.views_M, stored.proof.samples_M
    report.proof_records, report.proof_checked = stored.kept, len(stored)
    if not len(stored):
        return
    drawn = reader.draw(views, samples)
    differs = stored.parameters.values_BP != drawn.values_BP
    for record in np.flatnonzero(differs.any(axis=1))[:1]:
        report.damaged.append(
            f"{reader.where}: the parameters of view {views[record]} of sample {samples[record]} "
            "are not those that its seed gives; record it again"
        )
    bounds, slack = reader.manifest.bounds, TEACHER_SLACK[reader.manifest.plan.precision]
    wrong = reader.beyond_bound(views, samples, proof.logits_MC, bounds, slack=slack)
    for record in np.flatnonzero(wrong)[:1]:
        report.damaged.append(
            f"{reader.where}: view {views[record]} of sample {samples[record]} is beyond the bound "
            f"of its encoding ({', then '.join(map(str, bounds))}); record it again"
        )
