"""Any Zarr client opens `.../zarr`, members included, without listing."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from zarr.abc.store import Store
from zarr.storage import FsspecStore, ObjectStore

from kdrec.client import open_recording


def over_fsspec(url: str) -> Store:
    return FsspecStore.from_url(url, read_only=True)


def over_obstore(url: str) -> Store:
    from obstore.store import HTTPStore

    return ObjectStore(HTTPStore.from_url(url, client_options={"allow_http": True}), read_only=True)


@pytest.mark.parametrize("make_store", [over_fsspec, over_obstore])
def test_records_and_samples_read_as_kdrec_reads_them(
    finished: Path, finished_url: str, make_store: Any
) -> None:
    recording = open_recording(finished / "mn.zarr")
    group = zarr.open_group(make_store(f"{finished_url}/v1/recordings/mn/zarr"), mode="r")
    for view in range(recording.num_views):
        logits = np.asarray(group["logits"])[view]
        np.testing.assert_array_equal(logits, recording.read(view)[1])
    points = np.asarray(group["samples/points"])
    np.testing.assert_array_equal(points, recording.samples().points_SND)


@pytest.mark.parametrize("make_store", [over_fsspec, over_obstore])
def test_such_a_client_takes_what_is_missing_for_nan_and_only_kdrec_refuses(
    root: Path, serve_folder: Any, tmp_path: Path, make_store: Any
) -> None:
    """Of a block that is not recorded yet; docs/serving.md warns of it."""
    (root / "mn.zarr" / "seal.json").unlink()
    (root / "mn.zarr" / "ledger" / "g00000-p00000.json").unlink()
    url = f"{serve_folder(root)}/v1/recordings/mn"
    logits = zarr.open_group(make_store(f"{url}/zarr"), mode="r")["logits"]
    assert np.isnan(np.asarray(logits)[0, 0]).all()
    with pytest.raises(Exception, match="g00000-p00000"):
        open_recording(url, cache=tmp_path / "cache").read(0)
