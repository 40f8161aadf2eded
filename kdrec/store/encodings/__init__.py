"""How logits are stored: what encodings there are, and how one is chosen."""

from collections.abc import Mapping

from pydantic import ValidationError

from kdrec.errors import InvalidInputError, describe_invalid
from kdrec.store.compact import Dial
from kdrec.store.encodings.compact import Compact
from kdrec.store.encodings.encoding import (
    Encoding,
    FittedEncoding,
    Logits,
    Stored,
    StoredArray,
    beyond_bound,
    plain_compressors,
)
from kdrec.store.encodings.plain import Exact, Half, Portable
from kdrec.store.encodings.topk import TopK
from kdrec.store.plan import EncodingPlan

MOST_COMPACT_CLASSES = 2048
"""Above it, `topk` is chosen where none is asked for: our choice."""
ENCODINGS: Mapping[str, Encoding] = {
    encoding.name: encoding for encoding in (Compact(), Portable(), Exact(), Half(), TopK())
}
RECORD_ARRAYS = frozenset(name for encoding in ENCODINGS.values() for name in encoding.arrays)
"""Names of all arrays that any encoding stores."""


def find_encoding(name: str) -> Encoding:
    """The encoding of this name.

    Raises:
        InvalidInputError: There is none; lists those there are.
    """
    if name not in ENCODINGS:
        raise InvalidInputError(f"no encoding {name!r}; allowed are: {', '.join(ENCODINGS)}")
    return ENCODINGS[name]


def plan_encoding(
    name: str | None = None,
    *,
    num_classes: int | None = None,
    max_kl: float | None = None,
    max_error: float | None = None,
    kept: int | None = None,
) -> EncodingPlan:
    """What a plan says of an encoding, with its defaults.

    Args:
        name: None to choose: compact up to `MOST_COMPACT_CLASSES` classes, topk above.
        num_classes: C, to choose by.
        max_kl: Mean divergence to keep, in nats.
        max_error: Or the error of every logit.
        kept: Classes to keep of each record.

    Raises:
        InvalidInputError: There is no such encoding, or it has no such dial.
    """
    if name is None:
        name = "topk" if (num_classes or 0) > MOST_COMPACT_CLASSES else "compact"
    dials = find_encoding(name).dials
    asked = {"max_kl": max_kl, "max_error": max_error, "kept": kept}
    given = {dial: value for dial, value in asked.items() if value is not None}
    for dial in given.keys() - dials.keys():
        raise InvalidInputError(
            f"encoding {name} has no {dial}, got {given[dial]:g}; "
            f"allowed are: {', '.join(dials) or 'none'}"
        )
    if max_kl is not None and max_error is not None:
        raise InvalidInputError(f"give either max_kl or max_error, got {max_kl} and {max_error}")
    defaults = {dial: value for dial, value in dials.items() if value is not None}
    if max_error is not None:
        defaults.pop("max_kl", None)
    rule = {"missing_mass": "even"} if "kept" in dials else {}
    try:
        planned = EncodingPlan.model_validate({"name": name} | defaults | given | rule)
    except ValidationError as error:
        raise InvalidInputError(describe_invalid(error)) from error
    if dials:  # refused before a teacher has been asked anything
        Dial(max_kl=planned.max_kl, max_error=planned.max_error)
    return planned


__all__ = [
    "ENCODINGS",
    "MOST_COMPACT_CLASSES",
    "RECORD_ARRAYS",
    "Encoding",
    "FittedEncoding",
    "Logits",
    "Stored",
    "StoredArray",
    "TopK",
    "beyond_bound",
    "find_encoding",
    "plain_compressors",
    "plan_encoding",
]
