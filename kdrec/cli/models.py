"""`kdrec models`."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from kdrec.cli.allocator import keep_freed_memory
from kdrec.cli.options import Json
from kdrec.cli.terminal import progress_bar, say, show_json, stdout

if TYPE_CHECKING:
    from kdrec.models import ModelInfo, NetworkCost

_CLASSES = 40


def models(
    num_points: Annotated[int, typer.Option(min=1, help="Points of a cloud.")] = 1024,
    batch_size: Annotated[int, typer.Option(min=1, help="Clouds at once.")] = 4,
    device: Annotated[str, typer.Option(help="Where to time: cpu, cuda or cuda:1.")] = "cpu",
    as_json: Json = False,
) -> None:
    """List the networks that can be named as student or teacher, and what they cost here.

    FLOPs are of one cloud, two for each multiplication with addition, in matrix products alone;
    the time is that of evaluation, with sampling and neighbour search.
    """
    from kdrec.models import build_model, list_models, measure_cost
    from kdrec.recorder import check_device

    keep_freed_memory()
    check_device(device)
    infos, costs = list_models(), {}
    with progress_bar("timing", "networks") as bar:
        for done, info in enumerate(infos):
            bar.update(done, len(infos), info.name)
            network = build_model(info.name, num_classes=_CLASSES)
            costs[info] = measure_cost(
                network, num_points=num_points, batch_size=batch_size, device=device
            )
        bar.update(len(infos), len(infos))
    if as_json:
        show_json({info.name: _as_json(info, cost) for info, cost in costs.items()})
    else:
        say(f"{_CLASSES} classes, clouds of {num_points} points, on {device}")
        stdout.print(_table(costs))


def _as_json(info: "ModelInfo", cost: "NetworkCost") -> dict[str, object]:
    return asdict(cost) | {"task": info.task, "description": info.description}


def _table(costs: Mapping["ModelInfo", "NetworkCost"]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("name", style="bold", no_wrap=True)
    table.add_column("parameters", justify="right")
    table.add_column("GFLOPs", justify="right")
    table.add_column("s/1,000 clouds", justify="right")
    table.add_column("what it is", overflow="fold")
    for info, cost in costs.items():
        table.add_row(
            info.name,
            f"{cost.parameters:,}",
            f"{cost.flops / 1e9:.2f}",
            f"{cost.seconds_per_1000:.1f}",
            info.description,
        )
    return table
