"""A table as a picture: a dot for each student, a bar for the mean of each row."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure


def draw_table(found: Mapping[str, Sequence[float]], path: Path, *, title: str) -> None:
    """Draw test accuracies, row by row.

    Args:
        found: Accuracies in percent, by the name of the row.
        path: The SVG file.
        title: Above the picture.
    """
    figure = Figure(figsize=(7.5, 1.2 + 0.4 * len(found)), layout="constrained")
    axes = figure.add_subplot()
    for place, accuracies in enumerate(found.values()):
        axes.plot(accuracies, [place] * len(accuracies), "o", color="tab:blue", alpha=0.5)
        axes.plot(statistics.mean(accuracies), place, "|", color="black", markersize=18)
    axes.set_yticks(range(len(found)), list(found))
    axes.invert_yaxis()
    axes.set_xlabel("test accuracy %, a dot for each seed, a bar for the mean")
    axes.set_title(title, fontsize=10)
    axes.grid(axis="x", alpha=0.3)
    # The same picture gives the same bytes: no date, no random names.
    with matplotlib.rc_context({"svg.hashsalt": "kdrec"}):
        figure.savefig(path, format="svg", metadata={"Date": None})
