"""Draws docs/pictures/pointvig.svg from the network itself.

python docs/pictures/pointvig.py
"""

from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

from kdrec.models import PointViG, PointViGSegmentation, count_parameters

_OUT = Path(__file__).with_suffix(".svg")
_BLUE, _GREEN, _GREY = "#dbe8f6", "#dff0dc", "#eeeeee"


def _box(axes: Axes, x: float, y: float, text: str, color: str, *, width: float = 1.7) -> None:
    shape = FancyBboxPatch(
        (x - width / 2, y - 0.3), width, 0.6, boxstyle="round,pad=0.04", fc=color, ec="#555555"
    )
    axes.add_patch(shape)
    axes.text(x, y, text, ha="center", va="center", fontsize=7.5)


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], **style: str) -> None:
    axes.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": "#555555", **style})


def _row(axes: Axes, y: float, texts: list[str], color: str, *, first: float = 1.0) -> None:
    for place, text in enumerate(texts):
        _box(axes, first + 2.1 * place, y, text, color)
        if place:
            _arrow(axes, (first + 2.1 * place - 1.2, y), (first + 2.1 * place - 0.95, y))


def _draw_networks(axes: Axes) -> None:
    classifier, segmenter = PointViG(40), PointViGSegmentation(13)
    stages = list(classifier.encoder.stages)
    points, widths = 1024, [stage.blocks[0].conv.layer.linear.out_features // 2 for stage in stages]
    texts = [f"stem\n{points} x {widths[0]}"]
    for place, (stage, width) in enumerate(zip(stages, widths, strict=True)):
        number = f"{len(stage.blocks)} block{'s' if len(stage.blocks) > 1 else ''}"
        down = "transition down\n" if place else ""
        texts.append(f"{down}{number}\n{points >> place} x {width}")
    count = f"{count_parameters(classifier) / 1e6:.2f} M"
    axes.text(0.1, 4.75, f"Classification ({count}, 40 classes)", fontsize=9, weight="bold")
    _row(axes, 4.1, [*texts, "maximum\n512, 256, classes"], _BLUE)
    count = f"{count_parameters(segmenter) / 1e6:.2f} M"
    axes.text(0.1, 3.2, f"Segmentation ({count}, 13 classes): the same encoder, twice as wide, and",
              fontsize=9, weight="bold")  # fmt: skip
    texts = ["interpolate 3\nskip, layer"] * 3
    _row(axes, 2.55, ["last stage", *texts, "layer\nclasses per point"], _GREEN, first=3.1)


def _draw_block(axes: Axes) -> None:
    axes.text(0.1, 1.65, "One block", fontsize=9, weight="bold")
    texts = [
        "FC", "choose k of d·k\nnearest in space", "max-relative\n[x ; max (x_j - x)]", "FC",
        "widen x 2", "narrow",
    ]  # fmt: skip
    _row(axes, 0.9, texts, _GREY)
    for left, right, name in ((0.05, 8.35, "residual"), (8.4, 12.5, "residual, FFN")):
        _arrow(axes, (left, 0.5), (right, 0.5), connectionstyle="arc3,rad=0.06")
        axes.text((left + right) / 2, 0.02, name, ha="center", fontsize=7.5)


def main() -> None:
    """Draw."""
    mpl.rcParams["svg.fonttype"] = "none"
    mpl.rcParams["svg.hashsalt"] = "kdrec"
    figure, axes = plt.subplots(figsize=(10.5, 4.2))
    axes.set(xlim=(0, 12.8), ylim=(-0.15, 5.05))
    axes.axis("off")
    _draw_networks(axes)
    _draw_block(axes)
    figure.tight_layout()
    figure.savefig(_OUT, metadata={"Date": None})


if __name__ == "__main__":
    main()
