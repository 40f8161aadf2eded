"""Recipes for the data sets of the field: augmentation, points and class names by one word.

The ranges are usual in the field (those of arXiv 2409.02020 are not public): our choice.
"""

from dataclasses import dataclass, replace

from kdrec.errors import InvalidInputError
from kdrec.samples.sample_set import SampleSet


@dataclass(frozen=True, slots=True)
class Preset:
    """What a recording of a data set begins with.

    Attributes:
        augment: As `--augment` takes it.
        num_points: Of a cloud.
        class_names: In the order of the labels.
    """

    augment: str
    num_points: int
    class_names: tuple[str, ...]


_MODELNET40 = (
    "airplane bathtub bed bench bookshelf bottle bowl car chair cone cup curtain desk door dresser "
    "flower_pot glass_box guitar keyboard lamp laptop mantel monitor night_stand person piano "
    "plant radio range_hood sink sofa stairs stool table tent toilet tv_stand vase wardrobe xbox"
)
_SCANOBJECTNN = (
    "bag bin box cabinet chair desk display door shelf table bed pillow sink sofa toilet"
)

PRESETS = {
    "modelnet40": Preset("scale=0.67:1.5,translate=0.2", 1024, tuple(_MODELNET40.split())),
    "scanobjectnn": Preset("scale=0.9:1.1,rotate_y=180", 1024, tuple(_SCANOBJECTNN.split())),
}


def find_preset(name: str) -> Preset:
    """The preset of this name.

    Raises:
        InvalidInputError: There is none; lists those there are.
    """
    if name not in PRESETS:
        raise InvalidInputError(f"no preset {name!r}; there are: {', '.join(PRESETS)}")
    return PRESETS[name]


def name_classes(samples: SampleSet, preset: Preset) -> SampleSet:
    """The samples with the preset's class names, where they have labels and no names of their own.

    Raises:
        InvalidInputError: A label is beyond them: it is another data set.
    """
    if samples.class_names is not None or samples.labels_S is None:
        return samples
    return replace(samples, class_names=preset.class_names)
