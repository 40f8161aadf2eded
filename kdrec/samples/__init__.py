"""Samples of a data set: where they come from, what identifies them, whether two sets are one."""

from kdrec.samples.alignment import align
from kdrec.samples.contents import Arguments, Contents, Source
from kdrec.samples.identity import DIGEST_SIZE, SKETCH_SIZE, SampleIdentity, identify
from kdrec.samples.loading import load_field, load_samples
from kdrec.samples.points import PointChoice, select_points
from kdrec.samples.presets import PRESETS, Preset, find_preset, name_classes
from kdrec.samples.sample_set import SampleSet
from kdrec.samples.shapes import SHAPE_CLASSES, make_shapes
from kdrec.samples.sources import register_source
from kdrec.samples.split import Split, parse_split

__all__ = [
    "DIGEST_SIZE",
    "PRESETS",
    "SHAPE_CLASSES",
    "SKETCH_SIZE",
    "Arguments",
    "Contents",
    "PointChoice",
    "Preset",
    "SampleIdentity",
    "SampleSet",
    "Source",
    "Split",
    "align",
    "find_preset",
    "identify",
    "load_field",
    "load_samples",
    "make_shapes",
    "name_classes",
    "parse_split",
    "register_source",
    "select_points",
]
