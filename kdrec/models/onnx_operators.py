"""What kdrec's own operators are in ONNX.

Read by `onnxscript`, which turns the source of these functions into graphs: the loop becomes one
Loop node instead of thousands.

Shape letters: B batch, N points, M points chosen.
"""

# onnxscript reads lists and numbers as constants, which the types of its operators do not know.
# mypy: disable-error-code="arg-type, type-var, misc, no-any-return, type-arg"

from onnxscript import FLOAT, INT64, script
from onnxscript import opset18 as op


@script()
def farthest_points(xyz: FLOAT[...], start: INT64[...], count: int) -> INT64[...]:
    """`kdrec.models.sampling`, step by step the same arithmetic: (B, N, 3) and (B,) to (B, M)."""
    x = op.Squeeze(op.Slice(xyz, [0], [1], [2]), [2])
    y = op.Squeeze(op.Slice(xyz, [1], [2], [2]), [2])
    z = op.Squeeze(op.Slice(xyz, [2], [3], [2]), [2])
    last = op.Unsqueeze(start, [1])
    never = op.Sub(op.CastLike(op.Mul(last, 0), x), op.CastLike(1, x))
    nearest = op.Add(op.Mul(x, 0.0), 3.0e38)
    chosen = last
    for _ in range(count - 1):
        from_x = op.Sub(x, op.GatherElements(x, last, axis=1))
        from_y = op.Sub(y, op.GatherElements(y, last, axis=1))
        from_z = op.Sub(z, op.GatherElements(z, last, axis=1))
        squared = op.Add(
            op.Add(op.Mul(from_x, from_x), op.Mul(from_y, from_y)), op.Mul(from_z, from_z)
        )
        nearest = op.ScatterElements(op.Min(nearest, squared), last, never, axis=1)
        last = op.ArgMax(nearest, axis=1, keepdims=1)
        chosen = op.Concat(chosen, last, axis=1)
    return chosen
