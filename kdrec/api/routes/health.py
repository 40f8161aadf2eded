"""Whether the service lives, and can reach its recordings."""

from fastapi import APIRouter

from kdrec.api.answers import Health
from kdrec.api.routes.dependencies import SharedState

router = APIRouter(tags=["service"])


@router.get("/healthz")
async def is_alive() -> Health:
    """The process answers."""
    return Health()


@router.get("/readyz")
def is_ready(state: SharedState) -> Health:
    """The folder of recordings can be read; 503 if not."""
    state.catalog.check_readable()
    return Health()
