"""Whether the service lives, and can reach its recordings."""

from anyio import move_on_after, to_thread
from fastapi import APIRouter

from kdrec.api.answers import Health
from kdrec.api.routes.dependencies import SharedState
from kdrec.errors import StorageError

router = APIRouter(tags=["service"])


@router.get("/healthz")
async def is_alive() -> Health:
    """The process answers."""
    return Health()


@router.get("/readyz")
async def is_ready(state: SharedState) -> Health:
    """The folder of recordings can be read, within a few seconds; 503 if not.

    On a mount that is away a look never ends: one thread at most hangs on it, and who asks
    meanwhile waits for that one.
    """
    with move_on_after(state.settings.probe_seconds):
        await to_thread.run_sync(
            state.catalog.check_readable, abandon_on_cancel=True, limiter=state.probe
        )
        return Health()
    raise StorageError(
        "the folder of recordings does not answer; look at the server's disk or mount"
    )
