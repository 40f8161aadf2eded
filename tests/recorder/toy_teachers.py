"""Teachers in a file of their own, and recordings of them, for tests that ask one again."""

from pathlib import Path

from kdrec.augment import parse_augmentation
from kdrec.recorder import (
    ProbeReport,
    RecordProgress,
    RecordRequest,
    TeacherOptions,
    TeacherScore,
    load_teacher,
    record,
)
from kdrec.samples import SampleSet, make_shapes

SOURCE = '''
import torch
from torch import nn


class Toy(nn.Module):
    """Every argument makes it another teacher, or the same one in other arithmetic."""

    def __init__(self, seed=0, nudge=0.0, sharpen=1.0, order="forward", unused=False, classes=12):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.lift = nn.Linear(3, 64)
        self.head = nn.Linear(64, classes)
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator) + nudge
        if unused:
            self.register_buffer("seen", torch.tensor(7))
        self.sharpen, self.order = sharpen, order

    def forward(self, points):
        features = torch.relu(self.lift(points)).amax(dim=1)
        if self.order == "forward":
            return self.sharpen * self.head(features)
        products = features[:, None, :] * self.head.weight  # the same sums in another order
        return self.sharpen * (products.flip(-1).sum(-1) + self.head.bias)
'''


class Silent:
    """Hears of a recording and says nothing."""

    def on_probe(self, report: ProbeReport, score: TeacherScore | None) -> None: ...

    def on_wait(self) -> None: ...

    def on_found(self, found: object) -> None: ...

    def on_progress(self, progress: RecordProgress) -> None: ...


def write_toys(folder: Path) -> Path:
    """The file of the teachers; name one as `{path}:Toy`."""
    path = folder / "toys.py"
    path.write_text(SOURCE)
    return path


def toy(path: Path, **arguments: float | bool | str) -> TeacherOptions:
    """A toy teacher with these arguments."""
    return TeacherOptions(factory=f"{path}:Toy", arguments=arguments)


def toy_samples() -> SampleSet:
    """A few clouds."""
    return make_shapes(24, seed=0, num_points=32)


def record_toy(
    out: Path,
    teacher: TeacherOptions,
    *,
    encoding: str = "exact",
    views: int = 5,
    augment: str = "scale=0.9:1.1,rotate_y=15,subset=24",
    with_samples: bool = True,
    class_map: tuple[int, ...] | None = None,
) -> None:
    """Record a toy in several blocks, with the real recorder."""
    request = RecordRequest(
        out=out,
        teacher=teacher,
        augmentation=parse_augmentation(augment),
        views=views,
        encoding=encoding,
        group=2,
        batch_size=4,
        block_samples=8,
        threads=1,
        with_samples=with_samples,
        class_map=class_map,
    )
    record(request, load_teacher(teacher), toy_samples(), Silent())
