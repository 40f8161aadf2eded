"""Whether what lies there may be continued by a recorder, and under this plan."""

from kdrec.errors import ConflictError
from kdrec.store.manifest import Manifest
from kdrec.store.plan import Plan


def check_same_plan(recorded: Plan, wanted: Plan, *, where: str) -> None:
    """Whether a recording may be continued.

    Raises:
        ConflictError: It has another plan; shows what differs.
    """
    if recorded != wanted:
        differences = "; ".join(recorded.differences(wanted))
        raise ConflictError(
            f"{where} was recorded under another plan ({differences}); "
            "give the same arguments to continue it, or another name to record anew"
        )


def check_not_converted(manifest: Manifest, *, where: str) -> None:
    """Whether a teacher may write into a recording.

    Raises:
        ConflictError: It was converted from another one; its blocks are no teacher's batches.
    """
    if manifest.origin is not None:
        raise ConflictError(
            f"{where} was converted from recording {manifest.origin.identity[:12]}..; run the same "
            "kdrec convert to continue it, or give another name to record anew"
        )
