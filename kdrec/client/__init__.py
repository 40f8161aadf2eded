"""Recordings from anywhere: open, read, replay, check, fetch."""

from kdrec.client.addresses import is_address, reach
from kdrec.client.files import FilesTransport, HttpFiles
from kdrec.client.opening import FetchProgress, fetch, open_recording
from kdrec.client.recording import Recording
from kdrec.client.remote import RecordingSummary, RemoteStorage, fetch_summary
from kdrec.client.transport import HttpTransport, Transport

__all__ = [
    "FetchProgress",
    "FilesTransport",
    "HttpFiles",
    "HttpTransport",
    "Recording",
    "RecordingSummary",
    "RemoteStorage",
    "Transport",
    "fetch",
    "fetch_summary",
    "is_address",
    "open_recording",
    "reach",
]
