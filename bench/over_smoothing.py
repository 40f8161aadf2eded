"""Over-smoothing: do the points of a cloud become alike with depth?

Stacks of 4, 8 and 16 graph-convolution blocks of PointViG, with and without their FC layers and
feed-forward networks, are trained for some steps to classify the built-in shapes. Drawn is the mean
cosine between the features of two points of a cloud after each block: 1 means that all points say
the same. Dashed: before training.

    python -m bench.over_smoothing [--out docs/pictures/over-smoothing.svg] [--steps 15]
"""

import argparse
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from kdrec.models import GraphConvBlock, GraphSettings, nearest
from kdrec.samples import make_shapes

_WIDTH = 32
_DEPTHS = (4, 8, 16)
_VARIANTS = {
    "FC and FFN": (True, True),
    "FC alone": (True, False),
    "FFN alone": (False, True),
    "neither": (False, False),
}
Curves = Mapping[tuple[int, str], tuple[list[float], list[float]]]


class _Stack(nn.Module):
    """Blocks of one width on all points, maximum, linear layer."""

    def __init__(self, depth: int, num_classes: int, *, use_fc: bool, use_ffn: bool) -> None:
        super().__init__()
        settings = GraphSettings(use_fc=use_fc, use_ffn=use_ffn)
        self.stem = nn.Linear(3, _WIDTH)
        self.blocks = nn.ModuleList(GraphConvBlock(_WIDTH, settings) for _ in range(depth))
        self.head = nn.Linear(_WIDTH, num_classes)

    def features(self, points_BN3: Tensor) -> list[Tensor]:
        """Of all points after the stem and after each block."""
        index_BNK = nearest(points_BN3, points_BN3, 16).index_BMK
        found = [self.stem(points_BN3)]
        for block in self.blocks:
            found.append(block(found[-1], index_BNK))
        return found

    def forward(self, points_BN3: Tensor) -> Tensor:
        logits_BC: Tensor = self.head(self.features(points_BN3)[-1].amax(dim=1))
        return logits_BC


def mean_cosine(features_BNF: Tensor) -> float:
    """Mean over the pairs of different points of a cloud, and over clouds."""
    num_points = features_BNF.shape[1]
    direction_BNF = functional.normalize(features_BNF.double(), dim=-1)
    of_all_B = direction_BNF.sum(dim=1).square().sum(dim=-1)
    return float(((of_all_B - num_points) / (num_points * (num_points - 1))).mean())


@torch.no_grad()
def _curve(stack: _Stack, points_BN3: Tensor) -> list[float]:
    # With the statistics of this batch: those of a new network are not those of any data.
    return [mean_cosine(features_BNF) for features_BNF in stack.train().features(points_BN3)]


def _train(stack: _Stack, points_SN3: Tensor, labels_S: Tensor, *, steps: int) -> float:
    """Train and give the accuracy of the last ten batches."""
    optimizer = torch.optim.AdamW(stack.train().parameters(), lr=2e-3)
    generator, correct = np.random.Generator(np.random.PCG64(0)), []
    for _ in range(steps):
        rows_B = torch.from_numpy(generator.choice(len(points_SN3), 16, replace=False))
        logits_BC = stack(points_SN3[rows_B])
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(functional.cross_entropy(logits_BC, labels_S[rows_B]))
        optimizer.step()
        correct.append(float((logits_BC.argmax(dim=1) == labels_S[rows_B]).float().mean()))
    return float(np.mean(correct[-10:])) if correct else float("nan")


def _measure(steps: int) -> Curves:
    samples = make_shapes(320, seed=0, num_points=128)
    assert samples.labels_S is not None
    points_SN3, labels_S = torch.from_numpy(samples.points_SND), torch.from_numpy(samples.labels_S)
    num_classes, probe_BN3 = int(labels_S.max()) + 1, points_SN3[:64]
    curves = {}
    print(f"{'blocks':>6}  {'with':12}{'untrained':>12}{'trained':>10}{'accuracy':>10}")
    for depth in _DEPTHS:
        for name, (use_fc, use_ffn) in _VARIANTS.items():
            torch.manual_seed(0)
            stack = _Stack(depth, num_classes, use_fc=use_fc, use_ffn=use_ffn)
            before = _curve(stack, probe_BN3)
            accuracy = _train(stack, points_SN3, labels_S, steps=steps)
            curves[depth, name] = before, _curve(stack, probe_BN3)
            after = curves[depth, name][1]
            print(f"{depth:6}  {name:12}{before[-1]:12.3f}{after[-1]:10.3f}{accuracy:10.2f}")
    return curves


def _draw(curves: Curves, out: Path) -> None:
    import matplotlib as mpl
    from matplotlib import pyplot as plt

    mpl.use("svg")
    mpl.rcParams["svg.fonttype"] = "none"
    mpl.rcParams["svg.hashsalt"] = "kdrec"  # the same picture for the same numbers
    figure, axes = plt.subplots(1, len(_DEPTHS), figsize=(11, 3.6), sharey=True)
    for axis, depth in zip(axes, _DEPTHS, strict=True):
        for number, name in enumerate(_VARIANTS):
            before, after = curves[depth, name]
            axis.plot(before, "--", color=f"C{number}", alpha=0.6)
            axis.plot(after, color=f"C{number}", label=name)
        axis.set(title=f"{depth} blocks", xlabel="after block", ylim=(-0.1, 1.05))
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("mean cosine of two points")
    axes[0].legend(loc="lower right", fontsize=8)
    figure.tight_layout()
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, metadata={"Date": None})


def main() -> None:
    """Measure, print and draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("docs/pictures/over-smoothing.svg"))
    parser.add_argument("--steps", type=int, default=15)
    options = parser.parse_args()
    _draw(_measure(options.steps), options.out)


if __name__ == "__main__":
    main()
