"""The blocks that a process records: its own share first, then what others left.

No process talks to another. Each claims a block, records it, commits it; what is claimed by a
living process is left alone, what is committed is done, what a dead one claimed is free again.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from kdrec.recorder.share import Share
from kdrec.store import Block, BlockGrid, Claim, RecordingPlace


@dataclass(frozen=True, slots=True)
class ClaimedBlock:
    """A block that this process has to record.

    Attributes:
        block: Of the plan.
        claim: To be given back when it is committed, or given up.
    """

    block: Block
    claim: Claim


class BlockQueue:
    """Claimed blocks one after the other, until every block of the plan is committed.

    Args:
        grid: Of the plan.
        share: Of this process.
        place: Where blocks are claimed.
        committed: Names of the blocks that are there by now.
        wait: Called when all that is missing is in the hands of others; returns after a while.
    """

    def __init__(
        self,
        grid: BlockGrid,
        share: Share,
        *,
        place: RecordingPlace,
        committed: Callable[[], frozenset[str]],
        wait: Callable[[], None],
    ) -> None:
        self._grid = grid
        self._share = share
        self._place = place
        self._committed = committed
        self._wait = wait
        self._done: frozenset[str] = frozenset()
        self._mine: set[str] = set()
        self._records_of_others = 0

    @property
    def records_of_others(self) -> int:
        """Records that were committed before, or by others, as far as known."""
        return self._records_of_others

    def __iter__(self) -> Iterator[ClaimedBlock]:
        self._look()
        left = [block for block in self.order() if block.name not in self._done]
        while left:
            busy = []
            for block in left:
                claimed = self._claim(block)
                if claimed is not None:
                    self._mine.add(block.name)
                    yield claimed
                elif block.name not in self._done:
                    busy.append(block)
            if len(busy) == len(left):
                self._wait()
                self._look()
            left = [block for block in busy if block.name not in self._done]

    def _look(self) -> None:
        self._done = self._committed()
        others = self._done - self._mine
        self._records_of_others = sum(count_records(b) for b in self._grid if b.name in others)

    def order(self) -> list[Block]:
        """This process's share in the order of the plan; then the rest from the end.

        Who helps begins where the owner of a share comes last.
        """
        blocks = list(self._grid)
        own = blocks[self._share.index :: self._share.count]
        theirs = set(blocks) - set(own)
        return own + [block for block in reversed(blocks) if block in theirs]

    def _claim(self, block: Block) -> ClaimedBlock | None:
        if block.name in self._done:
            return None
        claim = self._place.claim(block.name)
        if claim is None:
            return None
        # Only now: whoever had it before may have committed it just before giving it back.
        self._look()
        if block.name in self._done:
            claim.release()
            return None
        return ClaimedBlock(block, claim)


def count_records(block: Block) -> int:
    """Records of a block."""
    return len(block.views) * len(block.samples)
