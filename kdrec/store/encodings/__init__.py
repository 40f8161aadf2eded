"""How logits are stored: what encodings there are, and how one is chosen."""

from collections.abc import Mapping

from kdrec.errors import InvalidInputError
from kdrec.store.encodings.compact import Compact
from kdrec.store.encodings.encoding import (
    Encoding,
    FittedEncoding,
    Logits,
    beyond_bound,
    plain_compressors,
)
from kdrec.store.encodings.plain import Exact, Half, Portable
from kdrec.store.plan import EncodingPlan

ENCODINGS: Mapping[str, Encoding] = {
    encoding.name: encoding for encoding in (Compact(), Portable(), Exact(), Half())
}


def find_encoding(name: str) -> Encoding:
    """The encoding of this name.

    Raises:
        InvalidInputError: There is none; lists those there are.
    """
    if name not in ENCODINGS:
        raise InvalidInputError(f"no encoding {name!r}; allowed are: {', '.join(ENCODINGS)}")
    return ENCODINGS[name]


def plan_encoding(
    name: str, *, max_kl: float | None = None, max_error: float | None = None
) -> EncodingPlan:
    """What a plan says of an encoding, with its defaults.

    Raises:
        InvalidInputError: There is no such encoding, or it has no such dial.
    """
    dials = find_encoding(name).dials
    asked = {"max_kl": max_kl, "max_error": max_error}
    given = {dial: value for dial, value in asked.items() if value is not None}
    for dial in given.keys() - dials.keys():
        raise InvalidInputError(
            f"encoding {name} has no {dial}, got {given[dial]:g}; "
            f"allowed are: {', '.join(dials) or 'none'}"
        )
    if len(given) > 1:
        raise InvalidInputError(f"give either max_kl or max_error, got {max_kl} and {max_error}")
    return EncodingPlan(name=name, **(given or {k: v for k, v in dials.items() if v is not None}))


__all__ = [
    "ENCODINGS",
    "Encoding",
    "FittedEncoding",
    "Logits",
    "beyond_bound",
    "find_encoding",
    "plain_compressors",
    "plan_encoding",
]
