"""The files of a recording as its teacher gives them again: what damage is repaired from.

Nothing here decides what is right: whoever asks compares the digest with the one that was recorded.
On the kind of machine it was recorded on, every file comes out the same to the byte.
"""

from kdrec.errors import ConflictError, IntegrityError, NotFoundError
from kdrec.recorder.passes import TeacherPass
from kdrec.recorder.planning import sample_contents
from kdrec.recorder.proof import run_proof
from kdrec.recorder.score import score_block
from kdrec.recorder.teacher import Teacher
from kdrec.recorder.threads import cpu_threads
from kdrec.samples import SampleSet, identify
from kdrec.store import (
    BLOCK_ARRAYS,
    SEAL_KEY,
    Block,
    BlockGrid,
    LedgerEntry,
    Manifest,
    MemoryStorage,
    Plan,
    ReadableStorage,
    RecordingWriter,
    check_not_converted,
    find_manifest,
)


class RecomputedFiles:
    """Files by key, made when they are asked for; a source for `kdrec.client.repair`.

    Args:
        storage: The recording under repair; its `zarr.json` must be intact, for it holds the plan.
        teacher: Loaded as the plan says; see `recorded_options`.
        samples: Those it was recorded from.
        where: Name of the recording, for errors.

    Raises:
        NotFoundError: The recording has lost its `zarr.json`.
        ConflictError: The teacher's tensors or the samples are others than the plan's.
    """

    def __init__(
        self,
        storage: ReadableStorage,
        teacher: Teacher,
        samples: SampleSet,
        *,
        where: str,
    ) -> None:
        manifest = find_manifest(storage, where=where)
        if manifest is None:
            raise NotFoundError(
                f"{where} has lost its zarr.json, and with it the plan to record again; repair it "
                "from another copy"
            )
        check_not_converted(manifest, where=where)
        _check_same(manifest.plan, teacher, samples, where=where)
        self._storage, self._where = storage, where
        self._manifest: Manifest = manifest
        self._samples = samples
        self._pass = TeacherPass.under(manifest.plan, teacher, samples)
        self._header: MemoryStorage | None = None
        self._block: tuple[Block, MemoryStorage] | None = None
        self._blocks = {
            key: block
            for block in BlockGrid.of(manifest.plan)
            for key in (block.ledger_key, *map(block.shard_key, BLOCK_ARRAYS))
        }

    def read(self, key: str) -> bytes:
        """The file of a key; the seal is none of the teacher's."""
        if key in self._blocks:
            return self._files_of(self._blocks[key]).read(key)
        return self._header_files().read(key)

    def _files_of(self, block: Block) -> MemoryStorage:
        """The files of one block at a time: repair asks for them block by block."""
        if self._block is None or self._block[0] != block:
            plan, batch_size = self._manifest.plan, self._batch_size(block)
            teacher_pass = self._pass.with_batch_size(batch_size or plan.batch_size)
            with cpu_threads(plan.threads):
                parameters_GSP, logits_GSC = teacher_pass.block(block)
            files = _Beside(self._storage)
            writer = RecordingWriter(files, where=self._where)
            writer.resume(self._manifest)
            correct = score_block(plan, self._samples, block, logits_GSC)
            writer.commit(block, parameters_GSP, logits_GSC, correct=correct, batch_size=batch_size)
            self._block = block, files
        return self._block[1]

    def _batch_size(self, block: Block) -> int | None:
        """In which it was recorded, as its entry says; None for the plan's, or if that is lost."""
        try:
            data = self._storage.read(block.ledger_key)
            entry = LedgerEntry.from_bytes(data, where=block.ledger_key, remedy="")
        except (NotFoundError, IntegrityError):
            return None
        return entry.batch_size

    def _header_files(self) -> MemoryStorage:
        if self._header is None:
            plan = self._manifest.plan
            with cpu_threads(plan.threads):
                proof = run_proof(plan, self._pass)
            self._header = MemoryStorage()
            writer = RecordingWriter(self._header, where=self._where)
            contents = sample_contents(plan, self._samples, identify(self._samples))
            writer.begin(plan, self._manifest.classes, contents, proof)
        return self._header


class _Beside(MemoryStorage):
    """What is written stays in memory; everything else is the recording's, but for its seal."""

    def __init__(self, recording: ReadableStorage) -> None:
        super().__init__()
        self._recording = recording

    def read(self, key: str) -> bytes:
        try:
            return super().read(key)
        except NotFoundError:
            if key == SEAL_KEY:  # its digests are compared by whoever asks
                raise
            return self._recording.read(key)


def _check_same(plan: Plan, teacher: Teacher, samples: SampleSet, *, where: str) -> None:
    if teacher.digest != plan.teacher.tensors:
        raise ConflictError(
            f"the teacher's tensors (digest {teacher.digest[:12]}..) are not those that {where} "
            f"was recorded from ({plan.teacher.tensors[:12]}..); give its weights"
        )
    if identify(samples).digest != plan.data.digest:
        raise ConflictError(
            f"the data are not those that {where} was recorded from; "
            f"`kdrec verify {where} --replay DATA` says what differs"
        )
