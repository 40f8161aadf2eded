"""What a training step costs with each loss, against one with plain cross-entropy.

The same student, points and labels; forward, backward and optimiser. Both run in turn, step by
step, so that whatever else the machine does hits both; on a CPU its own seconds are counted, not
those on the wall. Printed is the median step and the ratio of costs, round by round (above 1: the
loss costs more).

    python -m bench.losses [--student pointnet-s] [--points 1024] [--batch 32] [--rounds 7]

References to each loss: docs/losses.md. A loss that looks at a second view (MLKD, or another view
as "self") runs the student twice; its cost is that of the second pass, and it is printed apart.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from kdrec.models import build_model
from kdrec.student import RecordedBatch, TrainSettings
from kdrec.student.objective import DistillationObjective
from kdrec.student.optimization import Optimization
from kdrec.student.step import LossState, TrainingStep

_CLASSES, _SAMPLES = 40, 4096
_ONE_VIEW: dict[str, dict[str, Any]] = {
    "KD": {},
    "Balance Divergence": {"reverse_weight": 0.5},
    "DKD": {"loss": "dkd"},
    "DKD, reverse, standardised": {"loss": "dkd", "reverse_weight": 0.5, "standardize": True},
    "standardised KD": {"standardize": True},
    "logit MSE": {"loss": "mse"},
    "CTKD": {"learn_temperature": True},
    "MLKD, one view": {"loss": "mlkd"},
    "self: an epoch ago": {"self_weight": -0.1},
    "self: running average": {"self_weight": -0.1, "self_source": "average"},
    "self: auxiliary head": {
        "self_weight": -0.1, "self_source": "head", "self_layer": "feature_model",
    },
}  # fmt: skip
_TWO_VIEWS: dict[str, dict[str, Any]] = {
    "MLKD, two views": {"loss": "mlkd"},
    "self: another view": {"self_weight": -0.1, "self_source": "view"},
}


def _make_step(options: argparse.Namespace, changed: dict[str, Any]) -> Callable[[bool], float]:
    """A function that makes one step, of one view or two, and gives its seconds."""
    device = torch.device(options.device)
    settings = TrainSettings(epochs=1000, student=options.student, **changed)
    torch.manual_seed(0)
    model = build_model(options.student, num_classes=_CLASSES).to(device)
    batch = _make_batch(options).to(device)
    state = LossState(
        settings.losses, model, example=lambda: batch.points[:1], num_samples=_SAMPLES,
        num_classes=_CLASSES, device=device,
    )  # fmt: skip
    step = TrainingStep(
        model, DistillationObjective(settings.losses), state, num_classes=_CLASSES
    ).train()
    optimization = Optimization(step, settings, num_steps=1000, device=device)

    clock = time.perf_counter if device.type == "cuda" else time.process_time
    both = (batch, batch._replace(points=batch.points * 1.1))

    def run(two_views: bool) -> float:
        started = clock()
        outcome = step(both if two_views else both[:1], 10)
        optimization.apply(outcome.terms.total, number=0)
        step.remember(batch.index, outcome.logits_BC)
        if device.type == "cuda":
            torch.cuda.synchronize()
        return clock() - started

    return run


def _make_batch(options: argparse.Namespace) -> RecordedBatch:
    generator = torch.Generator().manual_seed(0)
    return RecordedBatch(
        points=torch.randn(options.batch, options.points, 3, generator=generator),
        teacher_logits=4 * torch.randn(options.batch, _CLASSES, generator=generator),
        label=torch.randint(0, _CLASSES, (options.batch,), generator=generator),
        index=torch.randperm(_SAMPLES, generator=generator)[: options.batch],
    )


def _compare(
    options: argparse.Namespace, name: str, two_views: bool, changed: dict[str, Any]
) -> None:
    plain, ours = _make_step(options, {"labels_only": True}), _make_step(options, changed)
    rounds = []
    for _ in range(options.rounds + 1):
        pairs = [(plain(False), ours(two_views)) for _ in range(options.steps)]
        rounds.append(tuple(statistics.median(column) for column in zip(*pairs, strict=True)))
    kept = rounds[1:]  # the first round warms up
    ratios = [theirs / base for base, theirs in kept]
    milliseconds = 1000 * statistics.median(theirs for _, theirs in kept)
    shown = f"{min(ratios):8.3f}{statistics.median(ratios):8.3f}{max(ratios):8.3f}"
    print(f"{name:32}{milliseconds:10.2f} ms{shown}", flush=True)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--student", default="pointnet-s")
    parser.add_argument("--points", type=int, default=1024)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    size = f"batch {options.batch} x {options.points} points, {_CLASSES} classes"
    machine = f"{options.device}, {torch.get_num_threads()} threads"
    print(f"{options.student}, {size}, {machine}, {options.rounds} rounds of {options.steps} steps")
    print(f"{'loss':32}{'step':>13}{'min':>8}{'median':>8}{'max':>8}  of plain cross-entropy")
    for name, changed in _ONE_VIEW.items():
        _compare(options, name, False, changed)
    for name, changed in _TWO_VIEWS.items():
        _compare(options, name, True, changed)


if __name__ == "__main__":
    main()
