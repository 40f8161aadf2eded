"""Teachers in a file of their own, outside the package, as a user has them."""

from pathlib import Path

import pytest

TEACHERS = '''
import time
import torch
from torch import nn


class ChannelsFirst(nn.Module):
    """(B, 3, N) in, (log_probs, features) out."""

    def __init__(self, width=16, pause=0.0):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.lift = nn.Conv1d(3, width, 1)
        self.head = nn.Linear(width, 12)
        self.pause = pause
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator)

    def forward(self, points):
        assert points.shape[1] == 3
        time.sleep(self.pause)
        features = torch.relu(self.lift(points)).amax(dim=-1)
        return torch.log_softmax(self.head(features), dim=-1), features


class Random(ChannelsFirst):
    def forward(self, points):
        log_probs, features = super().forward(points)
        return log_probs + torch.rand_like(log_probs), features


class PointsLast(ChannelsFirst):
    def forward(self, points):
        return super().forward(points.transpose(1, 2))[0]
'''


@pytest.fixture
def teachers(tmp_path: Path) -> Path:
    """The file; name a teacher as `{teachers}:PointsLast`."""
    path = tmp_path / "my_teachers.py"
    path.write_text(TEACHERS)
    return path
