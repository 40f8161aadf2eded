"""Publishes the logits of a recording by xpublish; `bench.arrays` runs it where xpublish is.

python bench/xpublish_server.py RECORDING.zarr PORT
"""

import sys

import xarray
import xpublish
import zarr


def main() -> None:
    """Serve until killed."""
    folder, port = sys.argv[1:]
    logits = zarr.open_group(folder, mode="r")["logits"]
    assert isinstance(logits, zarr.Array)
    data = xarray.Dataset({"logits": (("view", "sample", "class"), logits[:])})
    data = data.assign_attrs({"xpublish_id": "recording"})
    xpublish.Rest({"recording": data}).serve(host="127.0.0.1", port=int(port), log_level="warning")


if __name__ == "__main__":
    main()
