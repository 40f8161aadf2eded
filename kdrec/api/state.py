"""What all requests of a service share."""

from dataclasses import dataclass

from anyio import CapacityLimiter
from fastapi import Request
from prometheus_client import CollectorRegistry

from kdrec.api.byte_budget import ByteBudget
from kdrec.api.caching import cache_control
from kdrec.api.catalog import Catalog
from kdrec.api.hot_files import HotFiles
from kdrec.api.record_readers import RecordReaders
from kdrec.api.recording import Document
from kdrec.api.settings import ServiceSettings
from kdrec.api.token_file import TokenFile
from kdrec.api.tokens import ANYONE, Grant, authorize
from kdrec.api.waiting import SharedLooks

_LEDGER_SECONDS = 0.5
_PATIENCE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class ServiceState:
    """See the module.

    Attributes:
        tokens: None where nobody is asked for one.
        ledger_looks: For those who wait for a ledger to change.
        record_readers: For decoded records.
        budget: For the bytes of answers.
        registry: Of the metrics of this process.
        probe: Lets one look at the storage happen at a time.
    """

    settings: ServiceSettings
    catalog: Catalog
    tokens: TokenFile | None
    ledger_looks: SharedLooks[Document]
    hot_files: HotFiles
    record_readers: RecordReaders
    budget: ByteBudget
    registry: CollectorRegistry
    probe: CapacityLimiter

    @classmethod
    def of(cls, settings: ServiceSettings) -> "ServiceState":
        """For a service with these settings."""
        return cls(
            settings=settings,
            catalog=Catalog(settings.root),
            tokens=None if settings.tokens is None else TokenFile(settings.tokens),
            ledger_looks=SharedLooks(_LEDGER_SECONDS),
            hot_files=HotFiles(),
            record_readers=RecordReaders(),
            budget=ByteBudget(settings.max_bytes, patience=_PATIENCE_SECONDS),
            registry=CollectorRegistry(),
            probe=CapacityLimiter(1),
        )

    def grant(self, authorization: str | None) -> Grant:
        """What the one who asks may read.

        Args:
            authorization: The header of this name.

        Raises:
            ServiceError: A token is asked for, and this is none.
        """
        if self.tokens is None:
            return ANYONE
        return authorize(authorization, self.tokens.current())

    def caching(self, *, immutable: bool = False) -> str:
        """The `Cache-Control` of an answer; see `cache_control`."""
        return cache_control(immutable=immutable, private=self.tokens is not None)


def state_of(request: Request) -> ServiceState:
    """The state of the service that is asked."""
    state = request.app.state.service
    assert isinstance(state, ServiceState)
    return state
