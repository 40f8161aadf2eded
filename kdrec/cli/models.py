"""`kdrec models`."""

from rich.table import Table

from kdrec.cli.options import Json
from kdrec.cli.terminal import show_json, stdout

_CLASSES = 40


def models(as_json: Json = False) -> None:
    """List the networks that can be named as student or teacher."""
    from kdrec.models import build_model, count_parameters, list_models

    rows = [
        (
            info.name,
            count_parameters(build_model(info.name, num_classes=_CLASSES)),
            info.description,
        )
        for info in list_models()
    ]
    if as_json:
        show_json({name: {"parameters": count, "description": text} for name, count, text in rows})
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("name", style="bold")
    table.add_column(f"parameters ({_CLASSES} classes)", justify="right")
    table.add_column("what it is", overflow="fold")
    for name, count, text in rows:
        table.add_row(name, f"{count:,}", text)
    stdout.print(table)
