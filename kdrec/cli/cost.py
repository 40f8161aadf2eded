"""How the program shows what a recording would cost."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from kdrec.cli.terminal import show_rows, size, stdout

if TYPE_CHECKING:
    from kdrec.recorder import Estimate

Trial = Annotated[
    int | None,
    typer.Option(
        "--trial",
        min=1,
        metavar="RECORDS",
        help="Write nothing: try this many records, and say what the recording would cost.",
    ),
]


def cost_as_json(found: "Estimate") -> dict[str, Any]:
    """All figures for machines."""
    trial = found.trial
    return {
        "records": found.records,
        "bytes": round(found.num_bytes),
        "seconds": found.seconds,
        "break_even_epochs": found.break_even_epochs,
        "proof_records": found.proof_records,
        "trial": asdict(trial),
        "bytes_per_record": {
            "with_parameters": {
                "float32": found.raw_bytes,
                "stored": trial.logit_bytes + trial.parameter_bytes,
            },
            "with_jitter": {
                "float32": found.raw_bytes + found.raw_jitter_bytes,
                "stored": trial.logit_bytes + trial.parameter_bytes + trial.jitter_bytes,
            },
        },
    }


def show_cost(found: "Estimate") -> None:
    """What it would cost, and what storing a displacement of every point would."""
    trial, plan = found.trial, found.plan
    teacher_rate = 1 / trial.teacher_seconds
    show_rows(
        {
            "records": f"{found.records:,}: {plan.views} views x {plan.data.num_samples:,} samples",
            "size": f"{size(found.num_bytes)}; a record {trial.logit_bytes:.1f} B of logits in "
            f"{plan.encoding} and {trial.parameter_bytes:.1f} B of parameters",
            "time": f"{_duration(found.seconds)} in one process; the teacher answers "
            f"{teacher_rate:,.0f} records/s in {plan.precision} on {plan.device}",
            "break-even": _describe_break_even(found),
            "tried": f"{trial.records} records in memory on this machine; disks and networks come "
            "on top",
        }
    )
    stdout.print()
    stdout.print(_jitter_table(found))


def _describe_break_even(found: "Estimate") -> str:
    epochs = found.break_even_epochs
    if epochs is None:
        return "never: reading is no faster than this teacher; a recording only makes runs equal"
    trainings = epochs / found.plan.views
    return (
        f"after {epochs:,.1f} student epochs ({trainings:.2f} trainings of {found.plan.views}) it "
        "has cost less than a live teacher"
    )


def _jitter_table(found: "Estimate") -> Table:
    """The argument for shape-level augmentation, in this plan's figures."""
    stored = found.trial.logit_bytes + found.trial.parameter_bytes
    rows = (
        ("float32", found.raw_bytes, found.raw_bytes + found.raw_jitter_bytes),
        ("as stored", stored, stored + found.trial.jitter_bytes),
    )
    table = Table(box=None, pad_edge=False)
    for heading in ("a record, and all of them", "with parameters", "with jitter of every point"):
        table.add_column(heading, justify="left" if heading.startswith("a") else "right")
    table.add_column("times", justify="right")
    for name, plain, jittered in rows:
        table.add_row(
            name,
            f"{plain:,.1f} B, {size(found.records * plain)}",
            f"{jittered:,.1f} B, {size(found.records * jittered)}",
            f"{jittered / plain:.1f}",
        )
    return table


def _duration(seconds: float) -> str:
    """`2.3 h`, `4.1 min` or `12.0 s`."""
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.1f} s"
