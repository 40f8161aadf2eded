"""Block after block through the teacher, while the blocks before are encoded and written.

Shape letters: G views of the block, S samples of the block, C classes.
"""

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import torch

from kdrec.errors import ErrorKind, InvalidInputError
from kdrec.recorder.block_queue import BlockQueue, ClaimedBlock, count_records
from kdrec.recorder.journal import BlockReport, Journal
from kdrec.recorder.passes import AskedBlock, TeacherPass
from kdrec.recorder.proof import check_proof
from kdrec.recorder.score import score_block
from kdrec.store import LedgerEntry, Plan, ProofRecords, RecordingWriter, find_encoding

_PENDING_BLOCKS = 2  # written or waiting to be, while the teacher is at the next
# A GPU leaves the host's cores free; on a CPU the teacher has them.
_WRITERS = {"cpu": 1, "cuda": 2}


@dataclass(frozen=True, slots=True, eq=False)
class AnsweredBlock:
    """A block that the teacher was asked, and what it took.

    Attributes:
        claimed: The block.
        asked: What the teacher says; on a GPU it may still be at it.
        batch_size: If it is not the plan's.
        began: By the clock.
        seconds: That the host took to ask; of a teacher on the CPU, what it took.
    """

    claimed: ClaimedBlock
    asked: AskedBlock
    batch_size: int | None
    began: float
    seconds: float


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
        insist: Calls again for a while what a storage refuses.
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
        insist: Callable[[Callable[[], LedgerEntry]], LedgerEntry],
    ) -> None:
        self._plan = plan
        self._pass = teacher_pass
        self._writer = writer
        self._proof = proof
        self._journal = journal
        self._clock = clock
        self._stop = stop
        self._insist = insist
        self._stay = find_encoding(plan.encoding.name).reduces

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
        workers = _WRITERS[self._pass.teacher.device.type]
        with ThreadPoolExecutor(workers, thread_name_prefix="kdrec-writer") as pool:
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
                asked = smaller.ask(claimed.block, stay=self._stay, on_records=count)
                break
            except InvalidInputError as error:
                if not self._may_halve(error, batch_size):
                    raise
            if torch.cuda.is_available():
                torch.cuda.empty_cache()  # what the failed batch left in pieces
            on_records(-sum(counted))  # they are asked again
            batch_size = -(-batch_size // 2)
        return AnsweredBlock(
            claimed,
            asked,
            batch_size=None if batch_size == self._plan.batch_size else batch_size,
            began=began,
            seconds=self._clock() - began,
        )

    def _may_halve(self, error: InvalidInputError, batch_size: int) -> bool:
        return self._plan.fast and error.kind is ErrorKind.OUT_OF_MEMORY and batch_size > 1

    def _commit(self, answered: AnsweredBlock) -> None:
        with answered.asked.answers.beside():
            self._commit_here(answered)

    def _commit_here(self, answered: AnsweredBlock) -> None:
        claim, block = answered.claimed.claim, answered.claimed.block
        try:
            logits_GSC = answered.asked.wait()
            check_proof(self._plan, self._proof, block, logits_GSC)
            began = self._clock()
            # Under --fast the bytes of whoever took it over may be others: his stay.
            if not claim.is_mine() or self._writer.is_committed(block):
                self._journal.on_lost(block)
                return
            commit = partial(
                self._writer.commit,
                block,
                answered.asked.parameters_GSP,
                logits_GSC,
                correct=score_block(self._plan, self._pass.samples, block, logits_GSC),
                batch_size=answered.batch_size,
            )
            entry = self._insist(commit)  # also where the whole disk is gone for a while
        finally:
            claim.release()
        ended = self._clock()
        device_seconds = answered.asked.answers.device_seconds()
        report = BlockReport(
            block=block,
            records=count_records(block),
            num_bytes=sum(file.size for file in entry.files.values()),
            began=answered.began,
            ended=ended,
            teacher_seconds=answered.seconds if device_seconds is None else device_seconds,
            write_seconds=ended - began,
            took_over=claim.took_over,
            batch_size=answered.batch_size,
            device_bytes=_device_bytes(self._pass.teacher.device),
        )
        self._journal.on_block(report)


def _device_bytes(device: torch.device) -> int | None:
    return int(torch.cuda.max_memory_allocated(device)) if device.type == "cuda" else None
