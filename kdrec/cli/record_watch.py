"""What `kdrec record` shows and logs while it works."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kdrec.cli.record_log import RecordLog
from kdrec.cli.terminal import Bar, describe_score, say, say_warning, size

if TYPE_CHECKING:
    from kdrec.recorder import (
        BlockReport,
        Failure,
        FoundRecording,
        ProbeReport,
        RecordProgress,
        Share,
        TeacherScore,
    )
    from kdrec.store import Block

_MILLION, _HOUR = 1e6, 3600.0


@dataclass(slots=True)
class Spent:
    """What the blocks of this process took.

    Attributes:
        records: Committed by it.
        num_bytes: Of their shards.
        teacher_seconds: At the teacher.
        write_seconds: Encoding and writing, mostly while the teacher went on.
        device_bytes: Most GPU memory, None on a CPU.
    """

    records: int = 0
    num_bytes: int = 0
    teacher_seconds: float = 0.0
    write_seconds: float = 0.0
    device_bytes: int | None = None

    def add(self, report: "BlockReport") -> None:
        """Count a block."""
        self.records += report.records
        self.num_bytes += report.num_bytes
        self.teacher_seconds += report.teacher_seconds
        self.write_seconds += report.write_seconds
        self.device_bytes = report.device_bytes

    def summary(self, seconds: float, *, price_per_hour: float | None) -> dict[str, Any]:
        """Speed, shares and cost of this process.

        Args:
            seconds: It ran, probes and waiting included.
            price_per_hour: Of the machine, or its part, that this process holds.
        """
        cost = None
        if price_per_hour is not None and self.records:
            cost = price_per_hour * seconds / _HOUR / self.records * _MILLION
        return {
            "seconds": seconds,
            "new_records": self.records,
            "records_per_second": self.records / seconds if seconds else None,
            "teacher_share": self.teacher_seconds / seconds if seconds else None,
            "write_seconds": self.write_seconds,
            "cost_per_million_records": cost,
        }


class RecordWatch:
    """Shows what the recorder tells, and writes it to the log.

    Args:
        bar: Of progress.
        log: Beside the recording.
        share: Of this process, said before each line where there are several.
        views: Of the plan.
        clock: Monotonic seconds, that of the recorder.
    """

    def __init__(
        self, bar: Bar, log: RecordLog, share: "Share", *, views: int, clock: Callable[[], float]
    ) -> None:
        self.spent = Spent()
        self._bar = bar
        self._log = log
        self._prefix = f"[{share}] " if share.count > 1 else ""
        self._views = views
        self._clock = clock
        self._began = clock()
        self._waited = False

    def on_probe(self, report: "ProbeReport", score: "TeacherScore | None") -> None:
        self._say(f"teacher probed: answers repeat within {report.repeatability:.2g}")
        self._log.write("probe", repeatability=report.repeatability)
        if score is None:
            return
        clean = f"teacher on {score.clean.records} clean clouds: {describe_score(score.clean)}"
        self._say(clean)
        self._say(f"teacher on the same under the plan: {describe_score(score.planned)}")
        if score.is_large_loss:
            say_warning(
                f"the augmentation costs this teacher {100 * score.loss:.1f} points of accuracy; "
                "a teacher trained on centred and scaled clouds wants normalize as the last entry "
                "of --augment, or smaller ranges"
            )

    def on_wait(self) -> None:
        if not self._waited:
            self._say("another process has what is missing; waiting for it to finish or stop")
            self._log.write("wait")
        self._waited = True

    def on_found(self, found: "FoundRecording") -> None:
        if found.took_over:
            self._say("took over from a recorder that stopped without giving its lock back")
        if found.unfinished:
            count = len(found.unfinished)
            self._say(f"removed {count} half-written files of a recorder that was killed")
        if found.shared:
            self._say("other processes record this too; sharing its blocks")
        self._say(f"continuing: {found.blocks} of {found.total} blocks are there")
        self._log.write("found", blocks=found.blocks, total=found.total, shared=found.shared)

    def on_progress(self, progress: "RecordProgress") -> None:
        self._waited = False
        views = self._views * progress.records / progress.total
        note = f"{views:.1f} of {self._views} views{self._note()}"
        self._bar.update(progress.records, progress.total, note)

    def on_block(self, report: "BlockReport") -> None:
        self.spent.add(report)
        block, seconds = report.block, report.ended - report.began
        self._log.write(
            "block",
            block=block.name,
            views=[block.views.start, block.views.stop],
            samples=[block.samples.start, block.samples.stop],
            records=report.records,
            bytes=report.num_bytes,
            seconds=seconds,
            records_per_second=report.records / seconds if seconds else None,
            teacher_seconds=report.teacher_seconds,
            write_seconds=report.write_seconds,
            took_over=report.took_over,
            batch_size=report.batch_size,
            device_bytes=report.device_bytes,
        )
        if report.took_over:
            self._say(f"took over {block.name} from a process that died or fell silent")
        if report.batch_size is not None:
            say_warning(
                f"{block.name} was recorded in batches of {report.batch_size}: the device had not "
                "the memory for the plan's"
            )

    def on_failure(self, failure: "Failure") -> None:
        say_warning(f"{failure.message}; trying again in {failure.wait:.1f} s")
        self._log.write("failure", message=failure.message, attempt=failure.attempt)

    def on_lost(self, block: "Block") -> None:
        self._say(f"{block.name} was taken over by another process; leaving it to that one")
        self._log.write("lost", block=block.name)

    def _say(self, message: str) -> None:
        say(f"{self._prefix}{message}")

    def _note(self) -> str:
        """Shares and sizes of what is committed, in brief."""
        seconds = self._clock() - self._began
        if not self.spent.records or not seconds:
            return ""
        parts = [
            f"teacher {100 * min(1.0, self.spent.teacher_seconds / seconds):.0f} %",
            size(self.spent.num_bytes),
        ]
        if self.spent.device_bytes is not None:
            parts.append(f"GPU {size(self.spent.device_bytes)}")
        return "".join(f", {part}" for part in parts)
