"""Record a teacher once; train every student from the record.

```python
recording = kdrec.open_recording("https://gpu-box/v1/recordings/mn40")
params, logits = recording.read(view, indices)
points = recording.replay(points, params)
```

Names are loaded when they are used: `import kdrec` loads neither torch nor the web framework.
"""

import importlib
from typing import TYPE_CHECKING, Any

from kdrec.version import __version__

if TYPE_CHECKING:
    from kdrec.augment import Augmentation, ViewParameters, parse_augmentation
    from kdrec.client import Recording, open_recording
    from kdrec.errors import KdrecError
    from kdrec.samples import SampleSet, load_samples
    from kdrec.student import RecordedLoader, RecordedViews

_HOMES = {
    "Augmentation": "kdrec.augment",
    "KdrecError": "kdrec.errors",
    "RecordedLoader": "kdrec.student",
    "RecordedViews": "kdrec.student",
    "Recording": "kdrec.client",
    "SampleSet": "kdrec.samples",
    "ViewParameters": "kdrec.augment",
    "load_samples": "kdrec.samples",
    "open_recording": "kdrec.client",
    "parse_augmentation": "kdrec.augment",
}

__all__ = [
    "Augmentation",
    "KdrecError",
    "RecordedLoader",
    "RecordedViews",
    "Recording",
    "SampleSet",
    "ViewParameters",
    "__version__",
    "load_samples",
    "open_recording",
    "parse_augmentation",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'kdrec' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
