"""Two ways of doing the same, run in turn: speeds and ratios with minimum, median, maximum."""

import statistics
from collections.abc import Sequence


def print_pairs(
    ours: str,
    theirs: str,
    pairs: Sequence[tuple[float, float]],
    *,
    amount: float,
    unit: str,
) -> None:
    """Print the speed of both and the ratio ours / theirs, pair by pair.

    Args:
        ours: What kdrec does.
        theirs: The alternative.
        pairs: Seconds of (theirs, ours), one pair a run.
        amount: Done in each run.
        unit: Of the speed.
    """
    rows = {
        f"{theirs} ({unit})": [amount / seconds for seconds, _ in pairs],
        f"{ours} ({unit})": [amount / seconds for _, seconds in pairs],
        "ratio of speeds": [theirs_s / ours_s for theirs_s, ours_s in pairs],
    }
    print(f"{'':48}{'min':>14}{'median':>14}{'max':>14}   ({len(pairs)} pairs)")
    for name, values in rows.items():
        shown = (min(values), statistics.median(values), max(values))
        print(f"{name:48}" + "".join(f"{value:14,.3g}" if value < 100 else f"{value:14,.0f}"
                                     for value in shown))  # fmt: skip
