"""Aligned or refused: whether these samples are those of a recording, and if not, why not.

Shape letters: S samples.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kdrec.errors import ConflictError, ErrorKind, InvalidInputError
from kdrec.samples.diagnosis import are_close, explain
from kdrec.samples.identity import Digests, SampleIdentity, identify
from kdrec.samples.sample_set import Labels, SampleSet, describe_sample


def align(
    recorded: SampleIdentity, samples: SampleSet, *, tolerance: float = 0.0, permute: bool = False
) -> Labels | None:
    """Check that the samples are those of a recording, or find how to order them so.

    Labels and class names are compared where both sides have them.

    Args:
        recorded: Identity of the recording's samples.
        samples: What a student, or another recorder, has.
        tolerance: Samples of another digest are accepted where no number of their sketches differs
            by more than this. A sketch sees the centroid, the radius and four points, and nothing
            of the columns after x, y, z: keep it to the size of a rounding error.
        permute: Find the order instead of refusing another one. Needs equal digests.

    Returns:
        None if the samples are in order, else (with `permute`) the index for which
        `samples.rows(index)` is. Samples of equal digests are matched in their order.

    Raises:
        ConflictError: Of kind MISALIGNED: names the first sample that differs, and why.
        InvalidInputError: The tolerance is negative or not finite.
    """
    if not 0 <= tolerance < np.inf:
        raise InvalidInputError(f"tolerance must be 0 or more and finite, got {tolerance}")
    _check_kind(recorded, samples)
    comparison = _Comparison(recorded, samples, identify(samples))
    _check_class_names(recorded, samples)
    order_S = comparison.find_order()
    if permute and order_S is not None and np.any(order_S != np.arange(len(order_S))):
        comparison.check_labels(order_S)
        return order_S
    if len(recorded) != len(samples):
        raise _misaligned(comparison.explain_count())
    if np.any(comparison.find_differing(tolerance)):
        raise _misaligned(comparison.explain_difference(tolerance, order_S))
    comparison.check_labels(np.arange(len(samples)))
    return None


@dataclass(frozen=True, slots=True, eq=False)
class _Comparison:
    """The recording's samples against those here."""

    recorded: SampleIdentity
    samples: SampleSet
    here: SampleIdentity

    def find_order(self) -> Labels | None:
        """Where each recorded sample is here, None if these are not the same samples.

        Samples of one digest are told apart by label, then matched in their order.
        """
        if len(self.recorded) != len(self.here):
            return None
        both = self.recorded.labels_S is not None and self.here.labels_S is not None
        recorded_S = _sorted_order(self.recorded, by_label=both)
        here_S = _sorted_order(self.here, by_label=both)
        if not np.array_equal(self.recorded.digests[recorded_S], self.here.digests[here_S]):
            return None
        order_S = np.empty_like(here_S)
        order_S[recorded_S] = here_S
        return order_S

    def sketch_differences(self) -> npt.NDArray[np.float64]:
        """Greatest difference between the sketches of each sample."""
        difference = np.subtract(self.here.sketches, self.recorded.sketches, dtype=np.float64)
        greatest_S: npt.NDArray[np.float64] = np.abs(difference).max(axis=1)
        return greatest_S

    def find_differing(self, tolerance: float) -> npt.NDArray[np.bool_]:
        """Which samples are not those recorded, as far as the tolerance goes."""
        differing_S: npt.NDArray[np.bool_] = np.any(
            self.recorded.digests != self.here.digests, axis=1
        )
        if tolerance > 0 and differing_S.any():
            differing_S &= ~(self.sketch_differences() <= tolerance)
        return differing_S

    def check_labels(self, order_S: Labels) -> None:
        """Refuse labels that contradict the recording's."""
        if self.recorded.labels_S is None or self.here.labels_S is None:
            return
        differing = np.flatnonzero(self.here.labels_S[order_S] != self.recorded.labels_S)
        if len(differing) == 0:
            return
        place = int(differing[0])
        sample = int(order_S[place])
        raise _misaligned(
            f"label of {describe_sample(sample, self.samples.names)} is "
            f"{self._label(int(self.here.labels_S[sample]))} here, "
            f"{self._label(int(self.recorded.labels_S[place]))} in the recording "
            f"({len(differing)} of {len(order_S)} labels differ, all points agree); "
            "use the labels the recording was made with"
        )

    def explain_count(self) -> str:
        """A message for another number of samples."""
        common = np.intersect1d(_keys(self.recorded.digests), _keys(self.here.digests))
        found_S = np.isin(_keys(self.here.digests), common)
        message = (
            f"the recording has {len(self.recorded)} samples, here are {len(self.here)}, "
            f"{found_S.sum()} of them recorded ones"
        )
        if not found_S.all():
            message += f"; {self._name(int(np.argmin(found_S)))} is the first that is not"
        else:
            missing_S = ~np.isin(_keys(self.recorded.digests), common)
            if missing_S.any():
                message += f"; recorded sample {np.argmax(missing_S)} is the first missing here"
        return f"{message}; load the same data and split as the recording"

    def explain_difference(self, tolerance: float, order_S: Labels | None) -> str:
        """A message for other samples, as many as recorded."""
        if order_S is not None:
            return self._explain_order(order_S)
        differing_S = self.find_differing(tolerance)
        far = (i for i in np.flatnonzero(differing_S) if not self._is_close(int(i)))
        first_far = next(far, None)
        if first_far is None:
            return self._explain_near(differing_S)
        first = int(first_far)
        elsewhere = np.flatnonzero((self.recorded.digests == self.here.digests[first]).all(axis=1))
        if len(elsewhere):
            reason = (
                f"it is recorded sample {elsewhere[0]}, but not all samples here are recorded "
                "ones; load the data the recording was made from"
            )
        else:
            points_N3 = self.samples.points_SND[first, :, :3].astype(np.float64)
            reason = explain(self.recorded.sketches[first], self.here.sketches[first], points_N3)
        count = f"{differing_S.sum()} of {len(differing_S)} samples differ"
        return f"{self._name(first)} is not the recorded one ({count}): {reason}"

    def _explain_order(self, order_S: Labels) -> str:
        displaced_S = np.any(self.recorded.digests != self.here.digests, axis=1)
        first = int(np.argmax(displaced_S))
        place = int(np.flatnonzero(order_S == first)[0])
        return (
            f"{self._name(first)} is recorded sample {place}: the samples are the recorded ones in "
            f"another order, {displaced_S.sum()} of {len(displaced_S)} displaced; load them in the "
            'recorded order, or in Python have the order found: align="digest" of RecordedViews, '
            "permute=True of Recording.check"
        )

    def _explain_near(self, differing_S: npt.NDArray[np.bool_]) -> str:
        first = int(np.argmax(differing_S))
        largest = float(self.sketch_differences()[differing_S].max())
        count = f"{differing_S.sum()} of {len(differing_S)} samples"
        if largest == 0:
            points_N3 = self.samples.points_SND[first, :, :3].astype(np.float64)
            sketch = self.here.sketches[first]
            reason = explain(self.recorded.sketches[first], sketch, points_N3)
            return f"{self._name(first)} is not the recorded one ({count} differ): {reason}"
        return (
            f"{self._name(first)} equals the recorded one only within a tolerance ({count} differ, "
            f"by at most {largest:.2g}); load the data the recording was made from, or allow it in "
            f"Python: tolerance={_round_up(largest)} of RecordedViews or Recording.check"
        )

    def _is_close(self, sample: int) -> bool:
        return are_close(self.recorded.sketches[sample], self.here.sketches[sample])

    def _name(self, sample: int) -> str:
        return describe_sample(sample, self.samples.names)

    def _label(self, label: int) -> str:
        names = self.samples.class_names or self.recorded.class_names or ()
        return f"{label} ({names[label]})" if 0 <= label < len(names) else f"{label}"


def _check_kind(recorded: SampleIdentity, samples: SampleSet) -> None:
    """What concerns every sample: the columns and the number of points."""
    first = describe_sample(0, samples.names)
    if recorded.channels != samples.channels:
        raise _misaligned(
            f"{first} and all others have the channels {', '.join(samples.channels)}, the "
            f"recording has {', '.join(recorded.channels)}; choose the same channels"
        )
    if recorded.num_points != samples.num_points:
        remedy = f"use --num-points {recorded.num_points}"
        if samples.num_points < recorded.num_points:
            remedy = f"load data with at least {recorded.num_points} points a sample"
        raise _misaligned(
            f"{first} and all others have another number of points: recorded "
            f"{recorded.num_points}, here {samples.num_points}; {remedy}"
        )


def _check_class_names(recorded: SampleIdentity, samples: SampleSet) -> None:
    if recorded.class_names is None or samples.class_names is None:
        return
    if recorded.class_names == samples.class_names:
        return
    if len(recorded.class_names) != len(samples.class_names):
        raise _misaligned(
            f"there are {len(samples.class_names)} class names here, "
            f"{len(recorded.class_names)} in the recording; use the recording's class names"
        )
    pairs = enumerate(zip(samples.class_names, recorded.class_names, strict=True))
    label, (name, recorded_name) = next(pair for pair in pairs if pair[1][0] != pair[1][1])
    raise _misaligned(
        f"class {label} is {name!r} here, {recorded_name!r} in the recording; "
        "use the recording's class names in their order"
    )


def _keys(digests: Digests) -> npt.NDArray[np.void]:
    """One sortable value a digest."""
    return np.ascontiguousarray(digests).view(np.dtype((np.void, digests.shape[1]))).reshape(-1)


def _sorted_order(identity: SampleIdentity, *, by_label: bool) -> Labels:
    """The order by digest, then label, then place."""
    # The halves of a digest as two integers: sorts alike on both sides, and faster than bytes.
    high, low = np.ascontiguousarray(identity.digests).view("<u8").T
    keys = (low, high)
    if by_label and identity.labels_S is not None:
        return np.lexsort((identity.labels_S, *keys))
    return np.lexsort(keys)


def _round_up(value: float) -> str:
    """Two significant digits, not below the value."""
    exponent = int(np.floor(np.log10(value))) - 1
    return f"{(np.floor(value / 10.0**exponent) + 1) * 10.0**exponent:.2g}"


def _misaligned(message: str) -> ConflictError:
    return ConflictError(message, kind=ErrorKind.MISALIGNED)
