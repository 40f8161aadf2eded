"""`kdrec models`."""

from tests.programs import kdrec


def test_the_list_has_size_arithmetic_and_time_of_every_network() -> None:
    done = kdrec("models", "--num-points", "64", "--batch-size", "2")
    assert done.code == 0, done.err
    (line,) = [line for line in done.out.splitlines() if line.startswith("pointvig-s ")]
    assert "1,466,728" in line
    assert "PointViG with the published number of parameters" in line
    found = kdrec("models", "--num-points", "64", "--batch-size", "2", "--json").json
    assert {"dgcnn", "pointmlp-elite", "pointnet2-ssg", "pointvig-seg"} <= set(found)
    assert found["pointvig-seg"]["task"] == "segmentation"
    assert all(row["flops"] > 0 and row["seconds_per_1000"] > 0 for row in found.values())


def test_a_device_that_is_not_there_is_refused() -> None:
    done = kdrec("models", "--device", "tpu")
    assert done.code == 2
    assert "device must be cpu, cuda or cuda:N, got 'tpu'" in done.err
