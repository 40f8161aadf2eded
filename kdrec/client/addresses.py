"""What an address leads to: the service, or the files of a recording on any host or in a bucket."""

import re

from kdrec.client.files import FilesTransport, HttpFiles
from kdrec.client.remote import RecordingSummary, fetch_summary
from kdrec.client.transport import HttpTransport, Transport, is_away
from kdrec.errors import ConflictError, InvalidInputError, KdrecError, NotFoundError, ServiceError
from kdrec.store import OBJECT_SCHEMES, ObjectStorage, is_object_address

_SCHEMES = ("http", "https", *OBJECT_SCHEMES)
_IDENTITY = re.compile(r"[0-9a-f]{64}")


def is_address(uri: str) -> bool:
    """Whether it is an address rather than a path.

    Raises:
        InvalidInputError: It is one of a kind that cannot be opened.
    """
    scheme, separator, _ = uri.partition("://")
    if not separator:
        return False
    if scheme not in _SCHEMES:
        allowed = ", ".join(f"{name}://" for name in _SCHEMES)
        raise InvalidInputError(f"{uri}: addresses begin with {allowed}; or give a path")
    return True


def reach(uri: str, *, token: str | None) -> tuple[Transport, RecordingSummary]:
    """A transport for an address, and which recording is there.

    Args:
        uri: See `kdrec.open_recording`.
        token: Bearer token, for the service or a static host.

    Raises:
        NotFoundError: No recording is there.
        IntegrityError: Its metadata are damaged.
        StorageError: It cannot be reached.
        ConflictError: The address names an identity, and what is there has another.
    """
    transport, summary = _reach(uri, token)
    asked = uri.rstrip("/").rpartition("@")[2]
    if _IDENTITY.fullmatch(asked) and summary.identity != asked:
        raise ConflictError(
            f"{uri} gives another recording, {summary.identity or 'which is not finished'}; ask "
            "whoever runs the server for the one that you mean"
        )
    return transport, summary


def _reach(uri: str, token: str | None) -> tuple[Transport, RecordingSummary]:
    if is_object_address(uri):
        files: Transport = FilesTransport(ObjectStorage(uri), where=uri)
        return files, fetch_summary(files)
    service = HttpTransport(uri, token=token)
    try:
        return service, fetch_summary(service)
    except (NotFoundError, ServiceError) as error:
        if is_away(error):
            raise
        return _reach_static(service, uri, otherwise=error)


def _reach_static(
    transport: HttpTransport, uri: str, *, otherwise: KdrecError
) -> tuple[Transport, RecordingSummary]:
    """Whether a host that is no service has the files; the service's own words if not."""
    try:
        files = FilesTransport(HttpFiles(transport), where=uri)
    except (NotFoundError, ServiceError):
        raise otherwise from None
    return files, fetch_summary(files)
