"""The manifest: what stands in `zarr.json` under `attributes.kdrec`."""

import json
import re
from typing import Any, Literal

from pydantic import Field, ValidationError

from kdrec.augment import Augmentation
from kdrec.errors import ErrorKind, IntegrityError, InvalidInputError
from kdrec.store.plan import Frozen, Plan
from kdrec.version import __version__

FORMAT_VERSION = 1
READABLE_SINCE = "0.1.0"


class Classes(Frozen):
    """What the columns of the logits mean.

    Attributes:
        num_teacher: C, the columns recorded; all of them, whatever the class map.
        teacher: Their names, where the teacher or the user gave them.
        data: Names of the data's classes, where the data gave them.
    """

    num_teacher: int
    teacher: tuple[str, ...] | None = None
    data: tuple[str, ...] | None = None


class ParameterColumn(Frozen):
    """A column of `params`: values are integers from low to high times 2**-exponent."""

    name: str
    low: int
    high: int
    exponent: int
    unit: str


def parameter_columns(augmentation: Augmentation) -> tuple[ParameterColumn, ...]:
    """The columns of `params` for an augmentation."""
    return tuple(
        ParameterColumn(name=c.name, low=c.low, high=c.high, exponent=c.exponent, unit=c.unit)
        for c in augmentation.columns
    )


class Bound(Frozen):
    """By how much a decoded logit may differ from the teacher's.

    Attributes:
        relative: Times the magnitude of the logit; where there is a spread, of the depth if that
            is larger; the depth is how far the logit lies below the largest of its record.
        absolute: Added to it; where there is a spread, once more times exp(depth / spread), but
            not more than `widest` times.
        spread: In logits; None for a bound that is the same at every depth.
        widest: See `absolute`.
        mean_kl: What the mean Kullback-Leibler divergence of every block stays below, in nats, in
            both directions, at temperatures 1, 2, 4 and 8; None if nothing is said of it.
    """

    relative: float = 0.0
    absolute: float = 0.0
    spread: float | None = None
    widest: float = 1.0
    mean_kl: float | None = None

    def __str__(self) -> str:
        if self.relative == self.absolute == 0:
            return "none: bit for bit"
        magnitude = "|logit|" if self.spread is None else "max(|logit|, depth)"
        terms = [f"{self.relative:.3g} * {magnitude}"] if self.relative else []
        if self.spread is None:
            terms.append(f"{self.absolute:.3g}")
        else:
            growth = f"min(exp(depth / {self.spread:g}), {self.widest:g})"
            terms.append(f"{self.absolute:.3g} * (1 + {growth})")
        kept = "" if self.mean_kl is None else f"; mean KL <= {self.mean_kl:g} a block"
        return f"|error| <= {' + '.join(terms)}{kept}"


class Origin(Frozen):
    """From what a recording was converted; None in one that a teacher was recorded into.

    A record keeps the address by which its augmentation was drawn: its view there is `first_view`
    more than here, its sample there is the number in `samples/number`, where that array is.

    Attributes:
        identity: Of the recording that was converted.
        encoding: Its encoding.
        bounds: What its logits may differ from the teacher's, one conversion after another.
        first_view: The view, as drawn, that is view 0 here.
    """

    identity: str
    encoding: str
    bounds: tuple[Bound, ...]
    first_view: int = Field(ge=0)


class Manifest(Frozen):
    """See the module.

    Attributes:
        origin: Of a converted recording.
        readable_since: The least version of kdrec that can read this recording.
        bound: Of the encoding, for every logit that was written.
        num_proof: Number of proof records kept.
    """

    format: Literal["kdrec"] = "kdrec"
    format_version: int = FORMAT_VERSION
    readable_since: str = READABLE_SINCE
    plan: Plan
    classes: Classes
    parameters: tuple[ParameterColumn, ...]
    bound: Bound
    num_proof: int
    origin: Origin | None = None

    @property
    def bounds(self) -> tuple[Bound, ...]:
        """What a logit may differ from the teacher's: one bound on top of the other."""
        return (self.bound,) if self.origin is None else (*self.origin.bounds, self.bound)


def _check_readable(found: dict[str, Any], *, where: str) -> None:
    """Before anything else of a manifest is believed, that may mean what this kdrec cannot know."""
    version, since = found.get("format_version"), found.get("readable_since")
    if version != FORMAT_VERSION:
        raise InvalidInputError(
            f"{where} has format version {version}, this kdrec reads {FORMAT_VERSION}; it needs "
            f"kdrec {since or 'of a later version'} or newer",
            kind=ErrorKind.UNSUPPORTED_FORMAT,
        )
    if _numbers(since) > _numbers(__version__):
        raise InvalidInputError(
            f"{where} needs kdrec {since} or newer, this is {__version__}",
            kind=ErrorKind.UNSUPPORTED_FORMAT,
        )


def _numbers(version: Any) -> tuple[int, ...]:
    """Of a version, to compare by; none of what is no version."""
    found = re.match(r"[0-9]{1,6}(\.[0-9]{1,6}){0,3}", str(version))
    return tuple(map(int, found[0].split("."))) if found else ()


def parse_group(data: bytes, *, where: str) -> Manifest:
    """The manifest in the bytes of a recording's root `zarr.json`.

    Raises:
        IntegrityError: The bytes are no Zarr group.
        InvalidInputError: It is no recording, or one of a format this version cannot read.
    """
    try:
        attributes: Any = json.loads(data)["attributes"]
        found = attributes.get("kdrec")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise IntegrityError(f"{where}/zarr.json is damaged: {error}; fetch it again") from error
    if not isinstance(found, dict) or found.get("format") != "kdrec":
        raise InvalidInputError(f"{where} is a Zarr group, but no recording of kdrec")
    _check_readable(found, where=where)
    try:
        return Manifest.model_validate(found)
    except ValidationError as error:
        raise IntegrityError(f"{where}/zarr.json is damaged: {error}; fetch it again") from error
