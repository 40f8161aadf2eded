"""The program behind `kdrec.store.object_relay`: reads an object store for who asks."""

import json
import sys
from multiprocessing.connection import Connection

from kdrec.errors import KdrecError
from kdrec.store.object_relay import OK
from kdrec.store.object_storage import ObjectStorage


def serve_reads(storage: ObjectStorage, connection: Connection) -> None:
    """Answer until the asking process is gone."""
    while True:
        try:
            call, key = json.loads(connection.recv_bytes())
        except EOFError:
            return
        try:
            verdict, answer = OK, _answer(storage, call, key)
        except KdrecError as error:
            verdict, answer = str(error.kind), str(error).encode()
        connection.send_bytes(verdict.encode())
        connection.send_bytes(answer)


def _answer(storage: ObjectStorage, call: str, key: str) -> bytes:
    if call == "read":
        return storage.read(key)
    return json.dumps(list(storage.keys(key))).encode()


if __name__ == "__main__":
    serve_reads(ObjectStorage(sys.argv[1]), Connection(int(sys.argv[2])))
