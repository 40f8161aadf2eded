"""The body of an answer, of which the part that came stays when the connection breaks."""

import re

import httpx

from kdrec.errors import ServiceError

_MOST_OF_AN_ERROR = 2**16
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


class ResumableBody:
    """Collects a body over several requests: each asks for what the one before lacked.

    Only under a strong entity tag, because without one nobody knows whether the rest is of the same
    file.
    """

    def __init__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        self._chunks: list[bytes] = []
        self._tag = ""
        self.size = 0

    def headers(self) -> dict[str, str]:
        """Of the next request: what is missing, or everything if the file has changed meanwhile."""
        if self._tag and self.size:
            return {"Range": f"bytes={self.size}-", "If-Range": self._tag}
        return {}

    def collect(self, response: httpx.Response) -> httpx.Response:
        """Read an answer to its end.

        Args:
            response: Not read yet.

        Returns:
            The answer, read; one that brought the rest of a body as if it had brought all of it.

        Raises:
            httpx.HTTPError: It broke off; what came of it is kept.
            ServiceError: It is compressed, though that was not asked for.
        """
        resumed = response.status_code == httpx.codes.PARTIAL_CONTENT and self.size > 0
        if not resumed and response.status_code != httpx.codes.OK:
            if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                self._forget()
                raise httpx.RemoteProtocolError("the server does not have the rest of the file")
            return _error_answer(response)
        _check_not_compressed(response)
        if not resumed:
            self._forget()
            self._tag = _strong_tag(response)
        elif not self._continues(response):
            self._forget()
            raise httpx.RemoteProtocolError("the server gives another part than was asked for")
        for chunk in response.iter_raw():
            self._chunks.append(chunk)
            self.size += len(chunk)
        return self._whole(response)

    def _continues(self, response: httpx.Response) -> bool:
        found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        return (
            found is not None and int(found[1]) == self.size and _strong_tag(response) == self._tag
        )

    def _whole(self, response: httpx.Response) -> httpx.Response:
        tag = response.headers.get("ETag")
        kept = {} if tag is None else {"ETag": tag}
        kept["Content-Type"] = response.headers.get("Content-Type", "")
        return httpx.Response(httpx.codes.OK, headers=kept, content=b"".join(self._chunks))


def _error_answer(response: httpx.Response) -> httpx.Response:
    """An answer that is no file, as far as its words go; compressed ones are not unpacked."""
    begun = next(response.iter_raw(_MOST_OF_AN_ERROR), b"")
    kept = {k: v for k, v in response.headers.items() if k in ("content-type", "retry-after")}
    text = b"" if "Content-Encoding" in response.headers else begun
    return httpx.Response(response.status_code, headers=kept, content=text)


def _check_not_compressed(response: httpx.Response) -> None:
    """A few bytes may unpack to more than any memory holds."""
    coding = response.headers.get("Content-Encoding", "identity")
    if coding != "identity":
        raise ServiceError(
            f"{response.url} comes compressed ({coding}), though it was asked for as it is; "
            "switch that off on the server",
            status=response.status_code,
            request=f"GET {response.url}",
        )


def _strong_tag(response: httpx.Response) -> str:
    """Empty where there is none."""
    tag: str = response.headers.get("ETag", "")
    return "" if tag.startswith("W/") else tag
