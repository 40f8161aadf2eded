"""Recordings from anywhere: open, read, replay, check, fetch."""

from kdrec.client.addresses import is_address, reach
from kdrec.client.conversion import ConvertProgress, ConvertRequest, convert
from kdrec.client.files import FilesTransport, HttpFiles
from kdrec.client.opening import FetchProgress, fetch, open_recording
from kdrec.client.recording import ProofFidelity, Recording
from kdrec.client.remote import RecordingSummary, RemoteStorage, fetch_summary
from kdrec.client.repair import FileSource, RepairReport, open_copy, repair
from kdrec.client.transport import HttpTransport, Transport

__all__ = [
    "ConvertProgress",
    "ConvertRequest",
    "FetchProgress",
    "FileSource",
    "FilesTransport",
    "HttpFiles",
    "HttpTransport",
    "ProofFidelity",
    "Recording",
    "RecordingSummary",
    "RemoteStorage",
    "RepairReport",
    "Transport",
    "convert",
    "fetch",
    "fetch_summary",
    "is_address",
    "open_copy",
    "open_recording",
    "reach",
    "repair",
]
