"""Which of several recording processes this is: by torchrun, srun, or a part of a job array."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from kdrec.errors import InvalidInputError

_TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
_SRUN = ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID")


@dataclass(frozen=True, slots=True)
class Share:
    """The blocks a process begins with: every `count`-th; afterwards it helps with the rest.

    It decides nothing but the order, so that it may be wrong, or another than last time.

    Attributes:
        index: From 0.
        count: Of processes.
        local: Number of the process on its machine: its GPU.
    """

    index: int = 0
    count: int = 1
    local: int = 0

    def __str__(self) -> str:
        return f"{self.index + 1}/{self.count}"


def find_share(part: str | None, environment: Mapping[str, str]) -> Share:
    """The share that was asked for, else that of the launcher, else everything.

    Args:
        part: `3/16`, the third of sixteen; wins over the environment.
        environment: Of the process.

    Raises:
        InvalidInputError: The part has another form, or the launcher's numbers are none.
    """
    if part is not None:
        found = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", part)
        if found is None or not 1 <= int(found[1]) <= int(found[2]):
            raise InvalidInputError(
                f"part must be K/N with K from 1 to N, such as 3/16, got {part!r}"
            )
        return Share(index=int(found[1]) - 1, count=int(found[2]))
    for names in (_TORCHRUN, _SRUN):
        if all(name in environment for name in names[:2]):
            return _launched(names, environment)
    return Share()


def _launched(names: tuple[str, str, str], environment: Mapping[str, str]) -> Share:
    texts = [environment.get(name, "0") for name in names]
    if not all(re.fullmatch("[0-9]{1,9}", text) for text in texts) or int(texts[1]) < 1:
        said = ", ".join(f"{name}={text}" for name, text in zip(names, texts, strict=True))
        raise InvalidInputError(
            f"the launcher's variables must be whole numbers, got {said}; unset them, or say which "
            "part this is by --part K/N"
        )
    index, count, local = map(int, texts)
    return Share(index=index % count, count=count, local=local)


def device_of_share(device: str, share: Share, *, num_gpus: int) -> str:
    """The device of a process: `cuda` is the GPU of its number on the machine.

    Args:
        device: As asked for; one with a number stays.
        share: Of the process.
        num_gpus: That the process sees; a launcher may show each process only its own.
    """
    if device != "cuda" or num_gpus < 2:
        return device
    return f"cuda:{share.local % num_gpus}"
