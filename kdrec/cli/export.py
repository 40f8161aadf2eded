"""`kdrec export`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kdrec.cli.options import Json
from kdrec.cli.terminal import say, show_json, show_rows, size
from kdrec.factories import parse_arguments

if TYPE_CHECKING:
    from torch import nn


def export(
    network: Annotated[str, typer.Argument(help="A name from `kdrec models`, or file.py:factory.")],
    out: Annotated[Path, typer.Argument(help="The file: NAME.onnx.")],
    weights: Annotated[
        Path | None,
        typer.Option(help=".safetensors, .npz, .pt, .pth, .t7; nothing in it is executed."),
    ] = None,
    weights_key: Annotated[
        str | None, typer.Option(help="Entry of the file that holds the tensors.")
    ] = None,
    arg: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="An argument of the network."),
    ] = None,
    num_points: Annotated[int, typer.Option(min=1, help="Points of a cloud, fixed.")] = 1024,
    num_channels: Annotated[
        int | None,
        typer.Option(min=1, help="Numbers of a point; by default what the network says, or 3."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a network with its weights to an ONNX file, for `kdrec record --teacher NAME.onnx`.

    The file takes batches of any size. It is run beside the network and kept only if both give the
    same logits.
    """
    from kdrec.models import export_onnx
    from kdrec.recorder import TeacherOptions, load_teacher

    options = TeacherOptions(
        factory=network,
        arguments=parse_arguments(arg or []),
        weights=weights,
        weights_key=weights_key,
    )
    module = load_teacher(options).module
    say(f"exporting {network}; this takes some seconds")
    channels = num_channels or _said_channels(module)
    difference = export_onnx(module, out, num_points=num_points, num_channels=channels)
    if as_json:
        show_json({"file": str(out), "bytes": out.stat().st_size, "difference": difference})
        return
    rows = {"file": str(out), "size": size(out.stat().st_size)}
    rows["logits"] = f"those of the network within {difference:.2g}"
    show_rows(rows)


def _said_channels(network: "nn.Module") -> int:
    """Numbers of a point, as every registered network says them; the coordinates alone if not."""
    said = getattr(network, "num_channels", None)
    return said if isinstance(said, int) else 3
