"""The recording on disk: plan, manifest, ledger, seal, encodings, writer, reader, verification."""

from kdrec.store.allocated import allocated_array
from kdrec.store.claims import Claim
from kdrec.store.contents import ProofRecords, SampleContents
from kdrec.store.continuation import check_not_converted, check_same_plan
from kdrec.store.decoded_groups import Scratch
from kdrec.store.encodings import (
    ENCODINGS,
    MOST_COMPACT_CLASSES,
    Encoding,
    beyond_bound,
    find_encoding,
    plan_encoding,
)
from kdrec.store.fidelity import (
    TEMPERATURES,
    CalibrationError,
    ClassFidelity,
    Divergence,
    Fidelity,
    WorstRecord,
    measure_fidelity,
)
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
    Origin,
    ParameterColumn,
    parameter_columns,
    parse_group,
)
from kdrec.store.memory import MemoryStorage
from kdrec.store.object_storage import OBJECT_SCHEMES, ObjectStorage, is_object_address
from kdrec.store.places import check_apart, open_place
from kdrec.store.plan import (
    Block,
    BlockGrid,
    DataPlan,
    EncodingPlan,
    Plan,
    TeacherPlan,
    default_block_samples,
)
from kdrec.store.process_lock import ProcessLock
from kdrec.store.proof_choice import choose_proof
from kdrec.store.reader import DEFAULT_MEMORY, RecordingReader
from kdrec.store.score import CorrectCounts, accuracy, count_correct
from kdrec.store.sparse import SparseLogits
from kdrec.store.storage import (
    LocalStorage,
    ReadableStorage,
    RecordingPlace,
    Storage,
    check_key,
    is_temporary,
)
from kdrec.store.stored_proof import (
    CONFIDENCE,
    StoredProof,
    count_draws,
    read_stored_proof,
    unnoticed_share,
)
from kdrec.store.stored_size import stored_size
from kdrec.store.verify import TEACHER_SLACK, VerifyReport, verify_bytes
from kdrec.store.writer import (
    BLOCK_ARRAYS,
    OWN_NAMES,
    ROOT_KEY,
    RecordingWriter,
    find_manifest,
)

__all__ = [
    "BLOCK_ARRAYS",
    "CONFIDENCE",
    "DEFAULT_MEMORY",
    "ENCODINGS",
    "FORMAT_VERSION",
    "HEADER_KEY",
    "MOST_COMPACT_CLASSES",
    "OBJECT_SCHEMES",
    "OWN_NAMES",
    "ROOT_KEY",
    "SEAL_KEY",
    "TEACHER_SLACK",
    "TEMPERATURES",
    "Block",
    "BlockGrid",
    "Bound",
    "CalibrationError",
    "Claim",
    "ClassFidelity",
    "Classes",
    "Correct",
    "CorrectCounts",
    "DataPlan",
    "Divergence",
    "Encoding",
    "EncodingPlan",
    "Fidelity",
    "FileDigest",
    "LeaseTimes",
    "LedgerEntry",
    "LocalStorage",
    "LockHolder",
    "Manifest",
    "MemoryStorage",
    "ObjectStorage",
    "Origin",
    "ParameterColumn",
    "Plan",
    "ProcessLock",
    "ProofRecords",
    "ReadableStorage",
    "RecordingPlace",
    "RecordingReader",
    "RecordingWriter",
    "SampleContents",
    "Scratch",
    "Seal",
    "SparseLogits",
    "Storage",
    "StoredProof",
    "TeacherPlan",
    "VerifyReport",
    "WorstRecord",
    "accuracy",
    "allocated_array",
    "beyond_bound",
    "block_of_entry",
    "block_of_shard",
    "check_apart",
    "check_key",
    "check_not_converted",
    "check_same_plan",
    "choose_proof",
    "count_correct",
    "count_draws",
    "default_block_samples",
    "find_encoding",
    "find_manifest",
    "is_object_address",
    "is_temporary",
    "measure_fidelity",
    "open_place",
    "parameter_columns",
    "parse_group",
    "plan_encoding",
    "read_stored_proof",
    "recording_lock",
    "stored_size",
    "unnoticed_share",
    "verify_bytes",
]
