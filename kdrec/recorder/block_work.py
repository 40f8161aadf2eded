"""Block after block through the teacher, while the blocks before are encoded and written.

Shape letters: G views of the block, S samples of the block, P parameters, C classes.
"""

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from kdrec.errors import ErrorKind, InvalidInputError
from kdrec.recorder.block_queue import BlockQueue, ClaimedBlock, count_records
from kdrec.recorder.journal import BlockReport, Journal
from kdrec.recorder.passes import TeacherPass
from kdrec.recorder.proof import check_proof
from kdrec.recorder.score import score_block
from kdrec.store import Plan, ProofRecords, RecordingWriter

_PENDING_BLOCKS = 2  # written or waiting to be, while the teacher is at the next


@dataclass(frozen=True, slots=True, eq=False)
class AnsweredBlock:
    """What the teacher said about a block, and what it took.

    Attributes:
        claimed: The block.
        parameters_GSP: Of its records.
        logits_GSC: Likewise.
        batch_size: If it is not the plan's.
        began: By the clock.
        ended: By the clock.
    """

    claimed: ClaimedBlock
    parameters_GSP: npt.NDArray[np.float32]
    logits_GSC: npt.NDArray[np.float32]
    batch_size: int | None
    began: float
    ended: float


class BlockWork:
    """See the module.

    Args:
        plan: Of the recording.
        teacher_pass: Under this plan.
        writer: Begun or resumed.
        proof: Of the recording; what the teacher says in a block must agree.
        journal: Hears of each block.
        clock: Seconds from any beginning.
        stop: Set when the work ends early, so that nobody waits for a storage to recover.
    """

    def __init__(
        self,
        plan: Plan,
        teacher_pass: TeacherPass,
        writer: RecordingWriter,
        proof: ProofRecords,
        *,
        journal: Journal,
        clock: Callable[[], float],
        stop: threading.Event,
    ) -> None:
        self._plan = plan
        self._pass = teacher_pass
        self._writer = writer
        self._proof = proof
        self._journal = journal
        self._clock = clock
        self._stop = stop

    def record(self, queue: BlockQueue, *, on_records: Callable[[int], None]) -> None:
        """Record every block that the queue gives.

        Whatever ends this early, the blocks at hand are given back, and the one being written is
        finished.

        Args:
            queue: Of claimed blocks.
            on_records: Called after each batch with its number of records.
        """
        pending: deque[Future[None]] = deque()
        at_hand: list[ClaimedBlock] = []
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="kdrec-writer") as pool:
            try:
                for claimed in queue:
                    at_hand = [c for c in at_hand if c.claim.is_mine()] + [claimed]
                    answered = self._ask(claimed, on_records)
                    while pending and (pending[0].done() or len(pending) >= _PENDING_BLOCKS):
                        pending.popleft().result()
                    pending.append(pool.submit(self._commit, answered))
                for future in pending:
                    future.result()
            except BaseException:
                self._stop.set()
                raise
            finally:
                pool.shutdown(cancel_futures=True)
                for claimed in at_hand:
                    claimed.claim.release()

    def _ask(self, claimed: ClaimedBlock, on_records: Callable[[int], None]) -> AnsweredBlock:
        began, batch_size = self._clock(), self._plan.batch_size
        while True:
            counted: list[int] = []

            def count(records: int, counted: list[int] = counted) -> None:
                counted.append(records)
                on_records(records)

            smaller = self._pass.with_batch_size(batch_size)
            try:
                parameters_GSP, logits_GSC = smaller.block(claimed.block, on_records=count)
                break
            except InvalidInputError as error:
                if not self._may_halve(error, batch_size):
                    raise
            if torch.cuda.is_available():
                torch.cuda.empty_cache()  # what the failed batch left in pieces
            on_records(-sum(counted))  # they are asked again
            batch_size = -(-batch_size // 2)
        check_proof(self._plan, self._proof, claimed.block, logits_GSC)
        return AnsweredBlock(
            claimed,
            parameters_GSP,
            logits_GSC,
            batch_size=None if batch_size == self._plan.batch_size else batch_size,
            began=began,
            ended=self._clock(),
        )

    def _may_halve(self, error: InvalidInputError, batch_size: int) -> bool:
        return self._plan.fast and error.kind is ErrorKind.OUT_OF_MEMORY and batch_size > 1

    def _commit(self, answered: AnsweredBlock) -> None:
        claim, block = answered.claimed.claim, answered.claimed.block
        try:
            if not claim.is_mine():
                self._journal.on_lost(block)
                return
            began = self._clock()
            entry = self._writer.commit(
                block,
                answered.parameters_GSP,
                answered.logits_GSC,
                correct=score_block(self._plan, self._pass.samples, block, answered.logits_GSC),
                batch_size=answered.batch_size,
            )
        finally:
            claim.release()
        ended = self._clock()
        report = BlockReport(
            block=block,
            records=count_records(block),
            num_bytes=sum(file.size for file in entry.files.values()),
            began=answered.began,
            ended=ended,
            teacher_seconds=answered.ended - answered.began,
            write_seconds=ended - began,
            took_over=claim.took_over,
            batch_size=answered.batch_size,
            device_bytes=_device_bytes(self._pass.teacher.device),
        )
        self._journal.on_block(report)


def _device_bytes(device: torch.device) -> int | None:
    return int(torch.cuda.max_memory_allocated(device)) if device.type == "cuda" else None
