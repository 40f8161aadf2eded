"""Shape-level augmentation whose parameters are stored, and which replays exactly from them."""

from kdrec.augment.arrays import Array, like, namespace, to_host
from kdrec.augment.channels import NORMAL, XYZ, check_channels, default_channels
from kdrec.augment.columns import Column
from kdrec.augment.fingerprint import fingerprint, fingerprint_tolerance
from kdrec.augment.parsing import NAMES, format_augmentation, parse_augmentation
from kdrec.augment.pipeline import Augmentation, ViewParameters

__all__ = [
    "NAMES",
    "NORMAL",
    "XYZ",
    "Array",
    "Augmentation",
    "Column",
    "ViewParameters",
    "check_channels",
    "default_channels",
    "fingerprint",
    "fingerprint_tolerance",
    "format_augmentation",
    "like",
    "namespace",
    "parse_augmentation",
    "to_host",
]
