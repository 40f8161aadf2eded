"""Recordings as one who asks may see them: what a token does not cover cannot be reached by it."""

from kdrec.api.catalog import Catalog
from kdrec.api.names import RecordingAddress
from kdrec.api.recording import ServedRecording
from kdrec.api.tokens import Grant
from kdrec.errors import ErrorKind, ServiceError


class VisibleCatalog:
    """The part of a catalog that a grant covers.

    Args:
        catalog: All recordings.
        grant: What may be read.
    """

    def __init__(self, catalog: Catalog, grant: Grant) -> None:
        self._catalog = catalog
        self._grant = grant

    def names(self) -> list[str]:
        """Names of the recordings that may be read; raises as `Catalog.names` does."""
        return [name for name in self._catalog.names() if self._grant.may_read(name)]

    def find(self, address: RecordingAddress) -> ServedRecording:
        """The recording of an address, as it is now.

        Raises:
            ServiceError: The token does not cover it, whether it exists or not.
            KdrecError: As `Catalog.find` does.
        """
        self._check(address)
        return self._catalog.find(address)

    def recall(self, address: RecordingAddress) -> ServedRecording:
        """See `Catalog.recall`; raises as `find` does."""
        self._check(address)
        return self._catalog.recall(address)

    def _check(self, address: RecordingAddress) -> None:
        if not self._grant.may_read(address.name):
            raise ServiceError(
                f"the token {self._grant.name} may read {' '.join(self._grant.patterns)}, not "
                f"{address.name}; ask whoever runs this service for one that may",
                kind=ErrorKind.FORBIDDEN,
            )
