"""How the program shows what an encoding keeps of a teacher."""

from dataclasses import asdict
from typing import Any

from rich.table import Table

from kdrec.cli.terminal import percent, show_rows, stdout
from kdrec.client import ProofFidelity, Recording
from kdrec.store import Fidelity

_CLASSES_SHOWN = 5


def fidelity_as_json(measured: ProofFidelity) -> dict[str, Any]:
    """All of it for machines; divergences in nats."""
    found = asdict(measured.fidelity)
    worst = found.pop("worst")
    if measured.fidelity.calibration is not None:
        found["calibration"]["change"] = measured.fidelity.calibration.change
    return found | {
        "proof_records": measured.kept,
        "worst": {
            "view": measured.worst_view,
            "sample": measured.worst_sample,
            "temperature": worst["temperature"],
            "divergence": worst["divergence"],
        },
    }


def show_fidelity(measured: ProofFidelity, recording: Recording) -> None:
    """A table of divergences, overall and of the worst classes, and what else tells of fidelity."""
    fidelity = measured.fidelity
    worst = fidelity.worst
    rows = {
        "fidelity": f"on {fidelity.records} of {measured.kept} proof records; of a class the "
        "larger of both ways, worst first",
    }
    stdout.print()
    show_rows(rows)
    stdout.print(_divergence_table(fidelity, recording))
    rows = {
        "top-1 agreement": percent(fidelity.agreement * fidelity.records, fidelity.records),
        "calibration error": _describe_calibration(fidelity),
        "largest error": f"{fidelity.largest_error:.3g} of a logit",
        "worst record": f"view {measured.worst_view} of sample {measured.worst_sample}: KL "
        f"{worst.divergence:.2e} at T {worst.temperature:g}",
    }
    show_rows(rows)


def _divergence_table(fidelity: Fidelity, recording: Recording) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("mean KL, nats")
    table.add_column("records", justify="right")
    for divergence in fidelity.divergences:
        table.add_column(f"T {divergence.temperature:g}", justify="right")
    count = str(fidelity.records)
    table.add_row("teacher to stored", count, *(f"{d.forward:.1e}" for d in fidelity.divergences))
    table.add_row("stored to teacher", count, *(f"{d.reverse:.1e}" for d in fidelity.divergences))
    by_worst = sorted(fidelity.by_class, key=lambda each: -each.worst)
    for each in by_worst[:_CLASSES_SHOWN]:
        larger = (f"{divergence.larger:.1e}" for divergence in each.divergences)
        table.add_row(f"class {_name(each.column, recording)}", str(each.records), *larger)
    if len(by_worst) > _CLASSES_SHOWN:
        table.add_row(f"({len(by_worst) - _CLASSES_SHOWN} classes more in --json)")
    return table


def _name(column: int, recording: Recording) -> str:
    names = recording.manifest.classes.teacher
    if names is not None:
        return names[column]
    columns: list[int] = recording.class_columns.tolist()
    of_data = recording.manifest.classes.data
    if of_data is not None and column in columns:
        return of_data[columns.index(column)]
    return str(column)


def _describe_calibration(fidelity: Fidelity) -> str:
    found = fidelity.calibration
    if found is None:
        return "- (no labels)"
    return (
        f"{100 * found.teacher:.2f} % of the teacher, {100 * found.stored:.2f} % as stored "
        f"({100 * found.change:+.3f} points)"
    )
