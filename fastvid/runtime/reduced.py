"""Painting at a smaller size than the picture has, and enlarging along the picture's own edges."""

import copy
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from fastvid.runtime.contract import MIN_SIDE_PX, check_frames
from fastvid.runtime.engines.onnx_cpu import open_session
from fastvid.runtime.engines.protocol import Paint
from fastvid.runtime.finish import LUMA
from fastvid.runtime.graph.statistics import Moments
from fastvid.runtime.stylizer import EngineName, Stylizer

_OPSET = 18
_WINDOW = 5  # side of the window of the local regression, pixels of the small picture
_NOISE = 25.0  # variance of luma below which a window counts as flat, (5 of 255)^2
_MAX_GAIN = 2.0


class Reduced:
    """A stylizer that works on smaller frames; see `Stylizer`.

    The small painting P is enlarged bilinearly, and what the enlarged source lacks of the source
    is added in proportion to how the painting follows the source there:
    Q = up(P) + up(a) * (I - up(shrink(I))), I the luma of the source, a = cov(I, P) / (var(I) + e)
    in 5x5 windows. The regression is that of the guided filter (He, Sun and Tang 2013, eq. 5),
    computed small as in He and Sun 2015; unlike there its constant term is not smoothed, so that
    strokes which the source knows nothing of stay as they are.

    Args:
        stylizer: paints the small frames.
        height_px: rows of the small frames; lower pictures are painted as they are.
    """

    def __init__(self, stylizer: Stylizer, height_px: int) -> None:
        if height_px < MIN_SIDE_PX:
            raise ValueError(f"work height is {height_px} pixels, expected at least {MIN_SIDE_PX}")
        self._stylizer = stylizer
        self._height_px = height_px
        self._shrink = open_session(_shrinking(), lean=True)
        self._enlarge = open_session(_enlarging(), lean=True)

    @property
    def name(self) -> str:
        """See `Stylizer`."""
        return self._stylizer.name

    @property
    def engine(self) -> str:
        """See `Stylizer`."""
        return self._stylizer.engine

    @property
    def device(self) -> str:
        """See `Stylizer`."""
        return self._stylizer.device

    @property
    def chosen(self) -> EngineName:
        """See `Stylizer`."""
        return self._stylizer.chosen

    @property
    def metadata(self) -> Mapping[str, str]:
        """See `Stylizer`."""
        return self._stylizer.metadata

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """See `Stylizer`."""
        check_frames(frames)
        if frames.shape[1] <= self._height_px or len(frames) == 0:
            return self._stylizer(frames)
        return np.concatenate([self._paint(self._stylizer, frame[None]) for frame in frames])

    def adapt(self, frames: np.ndarray | None) -> None:
        """See `Stylizer`."""
        if frames is not None:
            frames = np.stack([self._as_painted(frame) for frame in frames])
        self._stylizer.adapt(frames)

    def at(self, seconds: float) -> None:
        """See `Stylizer`."""
        self._stylizer.at(seconds)

    def lanes(self, size: tuple[int, int]) -> int:
        """See `Stylizer`; the enlarging takes the memory of whole frames."""
        return self._stylizer.lanes(size)

    def frozen(self, frame: np.ndarray, lanes: int) -> Paint:
        """See `Stylizer`."""
        paint = self._stylizer.frozen(self._as_painted(frame), lanes)
        if len(frame) <= self._height_px:
            return paint
        return partial(self._paint, paint)

    def measure(self, frame: np.ndarray) -> Moments | None:
        """See `Stylizer`."""
        return self._stylizer.measure(self._as_painted(frame))

    def held_at(self, moments: Moments, frame: np.ndarray) -> "Reduced":
        """See `Stylizer`."""
        other = copy.copy(self)
        other._stylizer = self._stylizer.held_at(moments, self._as_painted(frame))
        return other

    def _as_painted(self, frame: np.ndarray) -> np.ndarray:
        """One frame (H, W, 3) at the size it is painted at."""
        return frame if len(frame) <= self._height_px else self._smaller(frame[None])[0]

    def _paint(self, paint: Paint, frame: np.ndarray) -> np.ndarray:
        small = self._smaller(frame)
        painted = paint(small)
        inputs = {"frames": frame, "small": small, "painted": painted}
        return self._enlarge.run(None, inputs)[0]

    def _smaller(self, frame: np.ndarray) -> np.ndarray:
        h, w = frame.shape[1:3]
        width = max(MIN_SIDE_PX, round(w * self._height_px / h))
        size = np.array([1, 3, self._height_px, width])
        return self._shrink.run(None, {"frames": np.ascontiguousarray(frame), "size": size})[0]


def _shrinking() -> bytes:
    """Frames (1, H, W, 3) and a size (1, 3, h, w) to the smaller picture, by weighted means."""
    nodes = [
        *_floats("frames", "x"),
        helper.make_node(
            "Resize", ["x", "", "", "size"], ["smaller"], mode="linear", antialias=1
        ),
        *_bytes("smaller", "shrunk"),
    ]  # fmt: skip
    inputs = [_picture("frames"), helper.make_tensor_value_info("size", TensorProto.INT64, [4])]
    return _model(nodes, inputs, "shrunk", {})


def _enlarging() -> bytes:
    """The formula of `Reduced`, from `frames`, `small` and `painted` to `enlarged`."""
    window: dict[str, Any] = {"kernel_shape": [_WINDOW] * 2, "pads": [_WINDOW // 2] * 4}

    def mean(source: str, target: str) -> onnx.NodeProto:
        return helper.make_node("AveragePool", [source], [target], **window)

    def node(op: str, inputs: str, output: str, **attributes: Any) -> onnx.NodeProto:
        return helper.make_node(op, inputs.split(), [output], **attributes)

    nodes = [
        *_floats("frames", "large"),
        *_floats("small", "x"),
        *_floats("painted", "p"),
        node("Conv", "large luma", "guide"),
        node("Conv", "x luma", "i"),
        node("Mul", "i i", "ii"),
        node("Mul", "i p", "ip"),
        *(mean(*pair) for pair in (("i", "mi"), ("p", "mp"), ("ii", "mii"), ("ip", "mip"))),
        node("Mul", "mi mi", "mi2"),
        node("Sub", "mii mi2", "variance"),
        node("Add", "variance noise", "spread"),
        node("Mul", "mi mp", "product"),
        node("Sub", "mip product", "covariance"),
        node("Div", "covariance spread", "slope"),
        node("Clip", "slope lowest highest", "a"),
        node("Concat", "p a i", "all", axis=1),  # 3 + 3 + 1 channels
        node("Shape", "large", "sides", start=2),
        node("Concat", "channels sides", "size", axis=0),
        helper.make_node("Resize", ["all", "", "", "size"], ["up"], mode="linear"),
        helper.make_node("Split", ["up", "parts"], ["up_p", "up_a", "up_i"], axis=1),
        node("Sub", "guide up_i", "detail"),
        node("Mul", "up_a detail", "added"),
        node("Add", "up_p added", "y"),
        *_bytes("y", "enlarged"),
    ]
    values: dict[str, np.ndarray | np.generic] = {
        "luma": LUMA.reshape(1, 3, 1, 1),
        "noise": np.float32(_NOISE),
        "lowest": np.float32(-_MAX_GAIN),
        "highest": np.float32(_MAX_GAIN),
        "channels": np.array([1, 7]),
        "parts": np.array([3, 3, 1]),
    }
    return _model(nodes, [_picture(n) for n in ("frames", "small", "painted")], "enlarged", values)


def _floats(source: str, target: str) -> list[onnx.NodeProto]:
    """Bytes (1, H, W, 3) to floats (1, 3, H, W), 0 to 255."""
    return [
        helper.make_node("Transpose", [source], [f"{source}_first"], perm=[0, 3, 1, 2]),
        helper.make_node("Cast", [f"{source}_first"], [target], to=TensorProto.FLOAT),
    ]


def _bytes(source: str, target: str) -> list[onnx.NodeProto]:
    """Floats (1, 3, H, W) to bytes (1, H, W, 3), rounded and clipped."""
    return [
        helper.make_node("QuantizeLinear", [source, "one", "zero"], [f"{target}_first"]),
        helper.make_node("Transpose", [f"{target}_first"], [target], perm=[0, 2, 3, 1]),
    ]


def _picture(name: str) -> onnx.ValueInfoProto:
    sides: list[int | str] = [1, f"{name}_h", f"{name}_w", 3]
    return helper.make_tensor_value_info(name, TensorProto.UINT8, sides)


def _model(
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    output: str,
    values: Mapping[str, np.ndarray | np.generic],
) -> bytes:
    constants = {"one": np.float32(1), "zero": np.uint8(0), **values}
    graph = helper.make_graph(
        nodes,
        output,
        inputs,
        [_picture(output)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)])
    model.ir_version = 10
    return model.SerializeToString()
