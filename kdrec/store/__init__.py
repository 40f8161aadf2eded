"""The recording on disk: plan, manifest, ledger, seal, encodings, writer, reader, verification."""

from kdrec.store.contents import ProofRecords, SampleContents
from kdrec.store.encodings import ENCODINGS, Encoding, beyond_bound, find_encoding
from kdrec.store.keys import block_of_entry, block_of_shard
from kdrec.store.lease import LeaseTimes
from kdrec.store.ledger import (
    HEADER_KEY,
    SEAL_KEY,
    Correct,
    FileDigest,
    LedgerEntry,
    Seal,
)
from kdrec.store.lock import LockHolder, recording_lock
from kdrec.store.manifest import (
    FORMAT_VERSION,
    Bound,
    Classes,
    Manifest,
    ParameterColumn,
    parameter_columns,
    parse_group,
)
from kdrec.store.object_storage import OBJECT_SCHEMES, ObjectStorage, is_object_address
from kdrec.store.places import open_place
from kdrec.store.plan import (
    Block,
    BlockGrid,
    DataPlan,
    Plan,
    TeacherPlan,
    default_block_samples,
)
from kdrec.store.reader import RecordingReader
from kdrec.store.storage import (
    LocalStorage,
    ReadableStorage,
    RecordingPlace,
    Storage,
    check_key,
    is_temporary,
)
from kdrec.store.verify import TEACHER_SLACK, VerifyReport, verify_bytes
from kdrec.store.writer import OWN_NAMES, ROOT_KEY, RecordingWriter, check_same_plan, find_manifest

__all__ = [
    "ENCODINGS",
    "FORMAT_VERSION",
    "HEADER_KEY",
    "OBJECT_SCHEMES",
    "OWN_NAMES",
    "ROOT_KEY",
    "SEAL_KEY",
    "TEACHER_SLACK",
    "Block",
    "BlockGrid",
    "Bound",
    "Classes",
    "Correct",
    "DataPlan",
    "Encoding",
    "FileDigest",
    "LeaseTimes",
    "LedgerEntry",
    "LocalStorage",
    "LockHolder",
    "Manifest",
    "ObjectStorage",
    "ParameterColumn",
    "Plan",
    "ProofRecords",
    "ReadableStorage",
    "RecordingPlace",
    "RecordingReader",
    "RecordingWriter",
    "SampleContents",
    "Seal",
    "Storage",
    "TeacherPlan",
    "VerifyReport",
    "beyond_bound",
    "block_of_entry",
    "block_of_shard",
    "check_key",
    "check_same_plan",
    "default_block_samples",
    "find_encoding",
    "find_manifest",
    "is_object_address",
    "is_temporary",
    "open_place",
    "parameter_columns",
    "parse_group",
    "recording_lock",
    "verify_bytes",
]
