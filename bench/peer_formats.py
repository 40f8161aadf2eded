"""How others keep a teacher's answers, re-made from their descriptions, in memory.

Each is given every advantage that its description leaves open: no file headers, no file names, the
narrowest index, and, unlike the originals, all records at once in vectorised code. What is kept of
the augmentation is left out, as in kdrec's figure.

Shape letters: R records, C classes, K classes kept.
"""

import gzip
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from numcodecs import Blosc

Logits = npt.NDArray[np.float32]
LEAST_PROBABILITY = 2.0**-24
"""Least half-precision number above zero: what a probability that was lost is taken for."""


class PeerFormat(Protocol):
    """Logits to bytes and back; what comes back are logits or log-probabilities."""

    @property
    def name(self) -> str:
        """For the table."""

    def encode(self, logits_RC: Logits) -> list[bytes]:
        """The bytes, in as many pieces as the format has."""

    def decode(self, pieces: list[bytes], num_classes: int) -> Logits:
        """What a student gets, (R, C)."""


def classes_kept(logits_RC: Logits, count: int) -> npt.NDArray[np.intp]:
    """The largest of each record, the largest first, (R, K)."""
    found = np.argpartition(-logits_RC, count - 1, axis=1)[:, :count]
    order = np.argsort(-np.take_along_axis(logits_RC, found, axis=1), axis=1)
    return np.take_along_axis(found, order, axis=1)


def log_probabilities(logits_RC: Logits) -> Logits:
    """Log-softmax at temperature 1."""
    shifted = logits_RC - logits_RC.max(axis=1, keepdims=True)
    normalised: Logits = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return normalised


class HalfBlosc:
    """float16 logits, byte-shuffled, zstd."""

    name = "float16, Blosc-zstd"

    def __init__(self) -> None:
        self._codec = Blosc(cname="zstd", clevel=5, shuffle=Blosc.SHUFFLE)

    def encode(self, logits_RC: Logits) -> list[bytes]:
        return [bytes(self._codec.encode(logits_RC.astype(np.float16)))]

    def decode(self, pieces: list[bytes], num_classes: int) -> Logits:
        half = np.frombuffer(self._codec.decode(pieces[0]), dtype=np.float16)
        return half.reshape(-1, num_classes).astype(np.float32)


class ByteAffine:
    """One byte a class between the least and the greatest logit of the record, float16 both."""

    name = "int8, affine per record"

    def encode(self, logits_RC: Logits) -> list[bytes]:
        ends = np.stack([logits_RC.min(axis=1), logits_RC.max(axis=1)], axis=1).astype(np.float16)
        least, width = _ends(ends)
        numbers = np.clip(np.rint((logits_RC - least) * (255 / width)), 0, 255).astype(np.uint8)
        return [ends.tobytes(), numbers.tobytes()]

    def decode(self, pieces: list[bytes], num_classes: int) -> Logits:
        least, width = _ends(np.frombuffer(pieces[0], dtype=np.float16).reshape(-1, 2))
        numbers = np.frombuffer(pieces[1], dtype=np.uint8).reshape(-1, num_classes)
        restored = least + numbers.astype(np.float32) * (width / 255)
        return np.asarray(restored, dtype=np.float32)


def _ends(ends_R2: npt.NDArray[np.float16]) -> tuple[Logits, Logits]:
    wide = ends_R2.astype(np.float32)
    return wide[:, :1], np.maximum(wide[:, 1:] - wide[:, :1], np.float32(1e-6))


@dataclass(frozen=True)
class TopProbabilities:
    """The largest probabilities and their classes; the missing mass spread evenly over the rest.

    Attributes:
        name: For the table.
        kept: K.
        value: Type of a probability.
        index: Type of a class.
        gzipped: Every record compressed on its own.
    """

    name: str
    kept: int
    value: str
    index: str
    gzipped: bool = False

    def encode(self, logits_RC: Logits) -> list[bytes]:
        classes = classes_kept(logits_RC, self.kept)
        values = np.exp(np.take_along_axis(log_probabilities(logits_RC), classes, axis=1))
        values, classes = values.astype(self.value), classes.astype(self.index)
        if not self.gzipped:
            return [values.tobytes(), classes.tobytes()]
        rows = zip(values, classes, strict=True)
        return [gzip.compress(v.tobytes() + c.tobytes(), mtime=0) for v, c in rows]

    def decode(self, pieces: list[bytes], num_classes: int) -> Logits:
        if self.gzipped:
            rows = [gzip.decompress(piece) for piece in pieces]
            split = self.kept * np.dtype(self.value).itemsize
            pieces = [b"".join(row[:split] for row in rows), b"".join(row[split:] for row in rows)]
        values = np.frombuffer(pieces[0], dtype=self.value).reshape(-1, self.kept)
        values = values.astype(np.float32)
        classes = np.frombuffer(pieces[1], dtype=self.index).reshape(-1, self.kept).astype(np.intp)
        missing = (1 - values.sum(axis=1, keepdims=True)) / (num_classes - self.kept)
        whole = np.broadcast_to(missing, (len(values), num_classes)).copy()
        np.put_along_axis(whole, classes, values, axis=1)
        found: Logits = np.log(np.maximum(whole, np.float32(LEAST_PROBABILITY)))
        return found


@dataclass(frozen=True)
class Curve:
    """Sorted log-probabilities: the first ones kept, a curve through the others (DistillKit).

    Attributes:
        name: For the table.
        kept: K, or all classes if there are fewer.
        exact: Kept in bfloat16.
        powers: Terms of the curve over 0..1, coefficients in float32.
    """

    name: str
    kept: int
    exact: int
    powers: tuple[float, ...]

    def encode(self, logits_RC: Logits) -> list[bytes]:
        classes = classes_kept(logits_RC, min(self.kept, logits_RC.shape[1]))
        values = np.take_along_axis(log_probabilities(logits_RC), classes, axis=1)
        terms = self._terms(classes.shape[1]).astype(np.float64)
        fitted = values[:, self.exact :] @ np.linalg.pinv(terms)
        bits = np.unpackbits(
            classes.astype(">u4").view(np.uint8).reshape(*classes.shape, 4), axis=2
        )
        width = _index_bits(logits_RC.shape[1])
        rounded = (values[:, : self.exact].view(np.uint32) + 0x8000) >> 16
        return [
            rounded.astype(np.uint16).tobytes(),
            fitted.astype(np.float32).tobytes(),
            np.packbits(bits[:, :, -width:].reshape(len(classes), -1), axis=1).tobytes(),
        ]

    def decode(self, pieces: list[bytes], num_classes: int) -> Logits:
        kept, width = min(self.kept, num_classes), _index_bits(num_classes)
        exact = np.frombuffer(pieces[0], dtype=np.uint16).reshape(-1, self.exact)
        fitted = np.frombuffer(pieces[1], dtype=np.float32).reshape(-1, len(self.powers))
        packed = np.frombuffer(pieces[2], dtype=np.uint8).reshape(len(exact), -1)
        bits = np.unpackbits(packed, axis=1, count=kept * width).reshape(-1, kept, width)
        classes = bits.astype(np.intp) @ (1 << np.arange(width - 1, -1, -1))
        restored = np.empty((len(exact), kept), dtype=np.float32)
        restored[:, : self.exact] = (exact.astype(np.uint32) << 16).view(np.float32)
        restored[:, self.exact :] = fitted @ self._terms(kept)
        whole = np.full((len(exact), num_classes), np.log(LEAST_PROBABILITY), dtype=np.float32)
        np.put_along_axis(whole, classes, restored, axis=1)
        return whole

    def _terms(self, kept: int) -> Logits:
        places = np.linspace(0, 1, kept - self.exact, dtype=np.float32)
        return np.stack([places**power for power in self.powers])


def _index_bits(num_classes: int) -> int:
    return int(num_classes - 1).bit_length()


def peer_formats() -> list[PeerFormat]:
    """All of them."""
    return [
        HalfBlosc(),
        ByteAffine(),
        TopProbabilities("TinyViT, top 10, float16", kept=10, value="<f2", index="<i2"),
        TopProbabilities("FKD, top 5, float32", kept=5, value="<f4", index="<i4"),
        TopProbabilities("FKD, top 5, float16", kept=5, value="<f2", index="<i2"),
        TopProbabilities("ml-dr, top 10, gzip", kept=10, value="<f4", index="<i2", gzipped=True),
        Curve("DistillKit, recommended", kept=128, exact=16, powers=(0, 1, 2, 3, 4, 0.5)),
        Curve("DistillKit, budget", kept=50, exact=1, powers=(0, 1, 0.5)),
    ]
