"""How good students become, on the real clouds: one table a command.

Train on split 0 of the 908 ModelNet10 test clouds (610), test on split 1 (298), clean and
normalised; the teacher is the PointNet trained on ModelNet40, the student `pointnet-s`. Printed are
mean and standard deviation over the seeds, and a paired test (exact sign flips, two-sided).
Students that were trained before are taken from WORK/trials.jsonl. `teachers` takes the 12 given
views of `bench.distillation.given_views`, which are of 1,024 points: --points 1024 --epochs 12.

    python -m bench.distillation views|losses|self|savings|teachers --data FOLDER --work FOLDER

A row is printed as soon as its students are trained; `--rows` trains some of the rows alone.
"""

import argparse
from pathlib import Path

from bench.distillation.clouds import AUGMENTATION, Clouds, teacher_accuracy
from bench.distillation.picture import draw_table
from bench.distillation.trials import Arm, Laboratory, print_table
from kdrec.augment import format_augmentation

_SMALLER = (
    "compact:2.5e-5",
    "compact",
    "compact:2.5e-3",
    "compact:2.5e-2",
    "half",
    "portable",
    "topk:10",
    "topk:3",
)
_LABELS, _KD = "labels only", "KD, T 4"


def _views(epochs: int) -> list[Arm]:
    """Labels, live, recorded with few views and with as many as epochs."""
    counts = [count for count in (1, 5, 10) if count < epochs]
    return [
        Arm(_LABELS, settings={"labels_only": True}),
        Arm("live teacher", source="live"),
        *(Arm(f"recorded, V = {count}", views=count) for count in counts),
        Arm(f"recorded, V = {epochs} = epochs", views=epochs),
    ]


def _losses() -> list[Arm]:
    """KD and Balance Divergence over temperatures and weights, then the others."""
    reverse = [
        Arm(
            f"KD, T 4, and reverse {weight:g} at T {temperature:g}",
            settings={"reverse_weight": weight, "reverse_temperature": temperature},
        )
        for temperature in (1.0, 4.0)
        for weight in (0.1, 0.5, 0.9)
    ]
    even = {"label_weight": 0.5, "teacher_weight": 0.5}
    standard = {"standardize": True, "temperature": 2.0, "teacher_weight": 9.0}
    decoupled = {"loss": "dkd", "label_weight": 1.0, "teacher_weight": 1.0, "dkd_warmup": 3}
    reversed_ = {"reverse_weight": 0.5, "reverse_temperature": 4.0}
    return [
        Arm(_LABELS, settings={"labels_only": True}),
        Arm(_KD),
        *(Arm(f"KD, T {t:g}", settings={"temperature": t}) for t in (1.0, 2.0, 8.0)),
        *reverse,
        Arm("labels and KD .5 each", settings=even),
        Arm("the same and reverse .5", settings={**even, **reversed_}),
        Arm("DKD, beta 8", settings=decoupled),
        Arm("DKD, beta 2", settings={**decoupled, "dkd_beta": 2.0}),
        Arm("DKD, beta 2, and reverse .5", settings={**decoupled, **reversed_, "dkd_beta": 2.0}),
        Arm("standardised KD, T 2, weight 9", settings=standard),
        Arm("standardised KD and reverse .5", settings={**standard, **reversed_}),
        Arm("logit MSE", settings={"loss": "mse"}),
        Arm("CTKD", settings={"learn_temperature": True}),
        Arm("MLKD (two views a step)", settings={"loss": "mlkd"}),
    ]


def _self() -> list[Arm]:
    """Pushed away from itself, by weight and by source; drawn to itself as the control."""
    sources = {
        "an epoch ago": {"self_source": "previous"},
        "running average": {"self_source": "average"},
        "another view": {"self_source": "view"},
        "auxiliary head": {"self_source": "head", "self_layer": "feature_model"},
    }
    weights = (-0.05, -0.1, -0.2, -0.3, -0.5, 0.3)
    few = (-0.3, 0.3)
    return [
        Arm("weight 0"),
        *(
            Arm(
                f"{name}, weight {weight:+g}",
                settings={**source, "self_weight": weight, "self_warmup": 2},
            )
            for name, source in sources.items()
            for weight in (weights if name == "an epoch ago" else few)
        ),
    ]


def _teachers() -> list[Arm]:
    """One teacher, another, and both mixed, over the same views."""
    both = "densepoint+pointnet"
    return [
        Arm(_LABELS, source="pointnet", settings={"labels_only": True}),
        Arm("PointNet", source="pointnet"),
        Arm("DensePoint", source="densepoint"),
        Arm("both, mean of logits", source=both),
        Arm("both, one drawn for each sample", source=both, settings={"mix": "draw"}),
    ]


def _savings(epochs: int) -> list[Arm]:
    """What a user saves by keeping fewer views, or a smaller encoding."""
    counts = [count for count in (1, 2, 5) if count < epochs]
    return [
        *(Arm(f"exact, V = {count}", views=count) for count in [*counts, epochs]),
        *(Arm(f"{source}, V = {epochs}", source=source, views=epochs) for source in _SMALLER),
    ]


def main() -> None:
    """Train what is missing and print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", choices=["views", "losses", "self", "savings", "teachers"])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--points", type=int, default=256)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--views", type=int, default=20, help="of the recordings")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--per-class", type=int, help="train on so many clouds of each class")
    parser.add_argument("--rows", nargs="*", default=[], help="only those whose name has one of it")
    parser.add_argument("--picture", type=Path, help="draw the table as an SVG file")
    options = parser.parse_args()
    clouds = Clouds(
        options.data,
        options.work,
        points=options.points,
        views=options.views,
        per_class=options.per_class,
    )
    laboratory = Laboratory(clouds, epochs=options.epochs, seeds=options.seeds)
    scope = f"{options.points} points, {options.epochs} epochs, {options.seeds} seeds"
    views = format_augmentation(AUGMENTATION)
    teacher = 100 * teacher_accuracy(clouds, AUGMENTATION)
    print(f"{len(clouds.train)} clouds of {scope}, views {views}")
    print(f"teacher on the test clouds {teacher:.1f} %")
    arms, against = {
        "views": (_views(options.epochs), "live teacher"),
        "losses": (_losses(), _KD),
        "self": (_self(), "weight 0"),
        "savings": (_savings(options.epochs), f"exact, V = {options.epochs}"),
        "teachers": (_teachers(), "PointNet"),
    }[options.table]
    wanted = [
        arm for arm in arms if not options.rows or any(row in arm.name for row in options.rows)
    ]
    found = print_table(laboratory, wanted, arms=arms, against=against)
    if options.picture:
        title = (
            f"pointnet-s on {len(clouds.train)} ModelNet10 clouds, {options.epochs} epochs, "
            f"{options.seeds} seeds"
        )
        draw_table(found, options.picture, title=title)


if __name__ == "__main__":
    main()
