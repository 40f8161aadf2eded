"""The service as an ASGI application; `kdrec.api.server` runs it."""

from typing import Any

from fastapi import Depends, FastAPI
from fastapi.security import HTTPBearer
from starlette.types import Receive, Scope, Send

from kdrec.api.admission import Admission
from kdrec.api.hot_path import HotPath
from kdrec.api.metrics import RequestMetrics
from kdrec.api.observation import Observation, RequestIds
from kdrec.api.permissions import Permissions
from kdrec.api.problems import PROBLEM_TYPE, Problem, install_problem_handlers
from kdrec.api.routes import files, health, recordings, records
from kdrec.api.settings import ServiceSettings
from kdrec.api.state import ServiceState
from kdrec.version import __version__

_PROBLEM: dict[str, Any] = {
    "model": Problem,
    "description": "What was wrong",
    "content": {PROBLEM_TYPE: {}},
}


class _Service(FastAPI):
    """The framework behind what every request passes first: files are sent without asking it.

    As the framework's own middleware these would come after its telemetry, which looks for its
    providers with every request.
    """

    def __init__(self, state: ServiceState, **described: Any) -> None:
        super().__init__(**described)
        self.state.service = state
        hot_path = HotPath(super().__call__, state=state)
        admission = Admission(hot_path, max_requests=state.settings.max_requests)
        metrics, ids = RequestMetrics(state.registry), RequestIds()
        self._first = Observation(admission, metrics=metrics, ids=ids)
        self.permissions = Permissions(state, metrics=metrics, ids=ids)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._first(scope, receive, send)


def create_app(settings: ServiceSettings) -> FastAPI:
    """Build the service.

    Args:
        settings: Host, port and workers are for `serve`; the rest counts here.
    """
    app = _Service(
        ServiceState.of(settings),
        title="kdrec",
        summary="Recordings of teachers, for their students",
        version=__version__,
        responses={"4XX": _PROBLEM, "5XX": _PROBLEM},
        redirect_slashes=False,  # one address a thing, and none made from a Host header
        redoc_url=None,
    )
    install_problem_handlers(app)
    app.include_router(health.router)
    # For the description only: who may read is decided where a recording is looked up.
    described = [] if settings.tokens is None else [Depends(HTTPBearer(auto_error=False))]
    for router in (recordings.router, records.router, files.router):
        app.include_router(router, dependencies=described)
    return app
