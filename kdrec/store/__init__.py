"""The recording on disk: plan, manifest, ledger, seal, encodings, writer, reader, verification."""

from kdrec.store.contents import ProofRecords, SampleContents
from kdrec.store.encodings import (
    ENCODINGS,
    MOST_COMPACT_CLASSES,
    Encoding,
    beyond_bound,
    find_encoding,
    plan_encoding,
)
from kdrec.store.ledger import (
    HEADER_KEY,
    SEAL_KEY,
    Correct,
    FileDigest,
    LedgerEntry,
    Seal,
)
from kdrec.store.lock import recording_lock
from kdrec.store.manifest import (
    FORMAT_VERSION,
    Bound,
    Classes,
    Manifest,
    ParameterColumn,
    parameter_columns,
    parse_group,
)
from kdrec.store.plan import (
    Block,
    BlockGrid,
    DataPlan,
    EncodingPlan,
    Plan,
    TeacherPlan,
    default_block_samples,
)
from kdrec.store.reader import RecordingReader
from kdrec.store.sparse import SparseLogits
from kdrec.store.storage import LocalStorage, ReadableStorage, Storage, is_temporary
from kdrec.store.verify import TEACHER_SLACK, VerifyReport, verify_bytes
from kdrec.store.writer import OWN_NAMES, ROOT_KEY, RecordingWriter, check_same_plan, find_manifest

__all__ = [
    "ENCODINGS",
    "FORMAT_VERSION",
    "HEADER_KEY",
    "MOST_COMPACT_CLASSES",
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
    "EncodingPlan",
    "FileDigest",
    "LedgerEntry",
    "LocalStorage",
    "Manifest",
    "ParameterColumn",
    "Plan",
    "ProofRecords",
    "ReadableStorage",
    "RecordingReader",
    "RecordingWriter",
    "SampleContents",
    "Seal",
    "SparseLogits",
    "Storage",
    "TeacherPlan",
    "VerifyReport",
    "beyond_bound",
    "check_same_plan",
    "default_block_samples",
    "find_encoding",
    "find_manifest",
    "is_temporary",
    "parameter_columns",
    "parse_group",
    "plan_encoding",
    "recording_lock",
    "verify_bytes",
]
