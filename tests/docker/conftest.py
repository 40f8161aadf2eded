"""Recordings behind a real kdrec behind a real nginx."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from kdrec.samples import make_shapes
from kdrec.testing import make_plan, make_recording
from tests.docker.nginx import Nginx, find_nginx, running_nginx
from tests.programs import serving

StartNginx = Callable[..., AbstractContextManager[Nginx]]
Serve = Callable[..., AbstractContextManager[str]]


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a sealed recording, `mn`, whose points are one shard of 11 MB."""
    folder = tmp_path_factory.mktemp("root")
    shapes = make_shapes(1000, seed=0, num_points=1024)
    noise = np.random.default_rng(0).normal(size=shapes.points_SND.shape).astype(np.float32)
    samples = replace(shapes, points_SND=noise)
    make_recording(folder / "mn.zarr", samples, plan=make_plan(samples, block_samples=500))
    return folder


@pytest.fixture
def serve() -> Serve:
    """`kdrec serve` on a free port while a with statement lasts; gives its address."""
    return serving


@pytest.fixture(scope="session")
def service(root: Path) -> Iterator[str]:
    """The address of a service over `root` that asks for no tokens."""
    with serving(root) as url:
        yield url


@pytest.fixture
def start_nginx(tmp_path: Path, root: Path) -> StartNginx:
    """nginx while a with statement lasts; see `running_nginx`."""
    if find_nginx() is None:
        pytest.skip("nginx is not installed: apt-get install nginx-light")
    numbers = count()

    def once(main: str = "nginx.conf", **options: object) -> AbstractContextManager[Nginx]:
        folder = tmp_path / f"nginx{next(numbers)}"
        folder.mkdir()
        return running_nginx(folder, main, **({"recordings": root} | options))  # type: ignore[arg-type]

    return once
