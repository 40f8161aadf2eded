"""Clouds a second and peak memory of PointViG against PointNet++, DGCNN and PointMLP-elite.

Inference (evaluation, no gradients) and training (forward, backward, AdamW), eager and compiled,
all in one run: in each round every network runs once, so that all see the same machine. For
PointViG the share of time in sampling and neighbour search is printed, with one sampling for all
stages and neighbours shared within a stage (as it is) and with a search for every stage and block
(as it would be without sharing). Peak memory is that of the GPU; or, on Linux, by how much a step
raises the peak of a process of its own.

As `kdrec train` and `kdrec record` do, it keeps the memory it frees; KDREC_KEEP_MEMORY=0 shows what
it would be without.

    python -m bench.networks [--batch 32] [--points 1024] [--runs 3] [--device cpu] [--compile]
"""

import argparse
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from kdrec.cli.allocator import keep_freed_memory
from kdrec.models import build_model, farthest_points, nearest

_NETWORKS = ("pointvig-s", "pointnet2-ssg", "dgcnn", "pointmlp-elite")
_CLASSES = 40


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--points", type=int, default=1024)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--networks", nargs="+", default=_NETWORKS)
    parser.add_argument("--compile", action="store_true", help="compiled too; needs a C++ compiler")
    parser.add_argument("--memory-of", choices=("training", "inference"), help=argparse.SUPPRESS)
    return parser


def _points(options: argparse.Namespace) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    points_BN3 = torch.rand(options.batch, options.points, 3, generator=generator) * 2 - 1
    return points_BN3.to(options.device)


def _inference(network: nn.Module, points_BN3: Tensor) -> Callable[[], None]:
    network.eval()

    def step() -> None:
        with torch.no_grad():
            network(points_BN3)

    return step


def _training(network: nn.Module, points_BN3: Tensor) -> Callable[[], None]:
    network.train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)
    labels_B = torch.arange(len(points_BN3), device=points_BN3.device) % _CLASSES

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(functional.cross_entropy(network(points_BN3), labels_B))
        optimizer.step()

    return step


_STEPS = {"inference": _inference, "training": _training}


def _seconds(step: Callable[[], object], device: str) -> float:
    started = time.perf_counter()
    step()
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    return time.perf_counter() - started


def _compare(kind: str, options: argparse.Namespace, *, compiled: bool) -> None:
    points_BN3, steps = _points(options), {}
    for name in options.networks:
        network = build_model(name, num_classes=_CLASSES).to(options.device)
        if compiled:
            network.compile()
        steps[name] = _STEPS[kind](network, points_BN3)
        steps[name]()  # warms up and compiles
    rounds = [
        {name: _seconds(step, options.device) for name, step in steps.items()}
        for _ in range(options.runs)
    ]
    first = options.networks[0]
    print(f"\n{kind}, {'compiled' if compiled else 'eager'}: clouds/s; times slower than {first}")
    print(f"{'':24}{'min':>10}{'median':>10}{'max':>10}{'min':>10}{'median':>10}{'max':>10}")
    for name in options.networks:
        rates = [options.batch / seconds[name] for seconds in rounds]
        ratios = [seconds[name] / seconds[first] for seconds in rounds]
        print(f"{name:24}{_shown(rates)}{_shown(ratios)}")


def _shown(values: Sequence[float]) -> str:
    triple = (min(values), statistics.median(values), max(values))
    return "".join(f"{value:10.3g}" for value in triple)


def _print_memory(options: argparse.Namespace) -> None:
    print(f"\npeak memory of a batch, MiB\n{'':24}{'inference':>12}{'training':>12}")
    for name in options.networks:
        cells = [f"{_memory(name, kind, options):12,.0f}" for kind in _STEPS]
        print(f"{name:24}{''.join(cells)}")


def _memory(name: str, kind: str, options: argparse.Namespace) -> float:
    command = [sys.executable, "-m", "bench.networks", "--memory-of", kind, "--networks", name]
    for option in ("batch", "points", "device"):
        command += [f"--{option}", str(getattr(options, option))]
    if options.threads:
        command += ["--threads", str(options.threads)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _measure_memory(options: argparse.Namespace) -> None:
    """Print MiB that one step adds; the process does nothing else."""
    points_BN3 = _points(options)
    network = build_model(options.networks[0], num_classes=_CLASSES).to(options.device)
    step = _STEPS[options.memory_of](network, points_BN3)
    if options.device.startswith("cuda"):
        step()
        print(torch.cuda.max_memory_allocated(options.device) / 2**20)
        return
    before = _peak_mib()
    step()
    print(_peak_mib() - before)


def _peak_mib() -> float:
    # Not getrusage: its maximum is inherited from the parent, which has run all networks.
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


def _print_search_share(options: argparse.Namespace) -> None:
    """Sampling and search of PointViG's four stages (five blocks), shared and not."""
    network = build_model("pointvig-s", num_classes=_CLASSES).to(options.device)
    points_BN3 = _points(options)
    whole = _inference(network, points_BN3)
    rounds = []
    for run in range(-1, options.runs):
        timed = [
            _seconds(step, options.device)
            for step in (whole, lambda: _search(points_BN3), lambda: _search_unshared(points_BN3))
        ]
        if run >= 0:
            rounds.append(timed)
    shared = [100 * search / total for total, search, _ in rounds]
    unshared = [100 * more / (total - search + more) for total, search, more in rounds]
    print("\nshare of PointViG's inference in sampling and neighbour search, %")
    print(f"{'':24}{'min':>10}{'median':>10}{'max':>10}")
    print(f"{'not shared':24}{_shown(unshared)}")
    print(f"{'shared':24}{_shown(shared)}")


@torch.no_grad()
def _search(points_BN3: Tensor) -> None:
    chosen_BM = farthest_points(points_BN3, points_BN3.shape[1] // 2)
    rows_B1 = torch.arange(len(points_BN3), device=points_BN3.device).unsqueeze(1)
    halves = points_BN3[rows_B1, chosen_BM]
    for xyz_BN3 in (points_BN3, halves, halves[:, : halves.shape[1] // 2],
                    halves[:, : halves.shape[1] // 4]):  # fmt: skip
        nearest(xyz_BN3, xyz_BN3, 16)


@torch.no_grad()
def _search_unshared(points_BN3: Tensor) -> None:
    rows_B1 = torch.arange(len(points_BN3), device=points_BN3.device).unsqueeze(1)
    xyz_BN3 = points_BN3
    for stage, num_blocks in enumerate((1, 1, 2, 1)):
        if stage:
            before_BN3 = xyz_BN3
            chosen_BM = farthest_points(xyz_BN3, xyz_BN3.shape[1] // 2)
            xyz_BN3 = xyz_BN3[rows_B1, chosen_BM]
            nearest(xyz_BN3, before_BN3, 16)  # of the transition
        for _ in range(num_blocks):
            nearest(xyz_BN3, xyz_BN3, 16)


def main() -> None:
    """Run and print."""
    options = _parser().parse_args()
    torch.manual_seed(0)
    if options.threads:
        torch.set_num_threads(options.threads)
    keep_freed_memory()
    if options.memory_of:
        _measure_memory(options)
        return
    where = f"{torch.get_num_threads()} threads"
    if options.device.startswith("cuda"):
        where = torch.cuda.get_device_name(options.device)
    print(f"batch {options.batch} x {options.points} points, {options.runs} rounds, {where}, "
          f"torch {torch.__version__}")  # fmt: skip
    for compiled in (False, True) if options.compile else (False,):
        for kind in _STEPS:
            _compare(kind, options, compiled=compiled)
    _print_search_share(options)
    _print_memory(options)


if __name__ == "__main__":
    main()
