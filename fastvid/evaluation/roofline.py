"""Operations and bytes of a network beside the peaks of the machine (Williams et al. 2009).

The peaks are measured, not looked up: ONNX Runtime multiplies two large matrices, and adds two
arrays that no cache holds, with the threads that the networks have. Only for the processor.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper

from fastvid.evaluation.table import Table, number
from fastvid.evaluation.timing import span, spread, take_turns
from fastvid.runtime.engines.onnx_cpu import NAME, open_session
from fastvid.runtime.graph.network import Network
from fastvid.runtime.graph.winograd import save_products
from fastvid.runtime.loading import load
from fastvid.runtime.stylizer import EngineName, OnnxStylizer

MATRIX_SIDE = 1536
ARRAY_BYTES = 256 << 20
_COMPUTE, _MOVE = "peak compute", "peak bandwidth"
_COUNTED = ("Conv", "ConvTranspose", "MatMul", "Gemm")
Row = dict[str, Any]


def count_work(model: bytes, frames: np.ndarray) -> tuple[int, int]:
    """Operations and bytes of a graph for these frames.

    A multiplication and an addition are two operations. Counted are convolutions and matrix
    products, without what elementwise nodes calculate; and the bytes that these would move if each
    read its input and weights from memory and wrote its output there once. An engine that keeps
    values in its caches moves less.

    Args:
        model: ONNX file of the contract, as the engine runs it.
        frames: uint8 (N, H, W, 3).

    Returns:
        (operations, bytes)
    """
    network = Network(model)
    layers = [node for node in network.nodes if node.op_type in _COUNTED]
    values = {n for node in layers for n in (*node.input[:2], node.output[0])}
    asked = sorted(values - network.constants.keys())
    network.set_outputs(asked)
    found = open_session(network.to_bytes()).run(asked, {"frames": frames})
    known = network.constants | dict(zip(asked, found, strict=True))
    operations = moved = 0
    for node in layers:
        source, weights, result = (known[n] for n in (*node.input[:2], node.output[0]))
        moved += source.nbytes + weights.nbytes + result.nbytes
        if node.op_type == "Conv":  # weights (out, in / groups, kh, kw)
            operations += 2 * result.size * (weights.size // weights.shape[0])
        elif node.op_type == "ConvTranspose":  # weights (in, out / groups, kh, kw)
            operations += 2 * source.size * (weights.size // weights.shape[0])
        else:
            operations += 2 * result.size * source.shape[-1]
    return operations, moved


def measure_roofline(
    models: Mapping[str, Path], frames: np.ndarray, *, rounds: int, engine: EngineName = "auto"
) -> list[Row]:
    """How near each net comes to the machine's peaks, all in turns.

    Args:
        models: ONNX files by name.
        frames: uint8 (N, H, W, 3); painted one at a time, their statistics held.
        rounds: calls of each net, and of each peak, that count.
        engine: see `fastvid.runtime.loading.load`.

    Returns:
        One row a net: `gflop`, `mib_moved` and `flop_per_byte` of a frame (`count_work`), the
        medians `gflop_per_s`, `peak_gflop_per_s` and `peak_gib_per_s`; `share_of_peak`, operations
        a second over the peak in the same round, and `share_of_roofline`, the time that the peaks
        allow (the larger of operations and bytes over theirs) over the time taken, both with
        `_min` and `_max`; `engine`.
    """
    calls: dict[str, Callable[[int], object]] = {_COMPUTE: _multiplier(), _MOVE: _adder()}
    rows: list[Row] = []
    for name, path in models.items():
        stylizer = load(path, "cpu", engine)
        stylizer.adapt(frames)
        model = stylizer.graph(frames.shape[1:3])
        if stylizer.engine == NAME:
            model = save_products(model)
        operations, moved = count_work(model, frames[:1])
        calls[name] = partial(_paint, stylizer, frames)
        rows.append(
            {
                "net": name,
                "width_px": frames.shape[2],
                "height_px": frames.shape[1],
                "engine": stylizer.engine,
                "gflop": float(f"{operations / 1e9:.5g}"),
                "mib_moved": float(f"{moved / 2**20:.5g}"),
                "flop_per_byte": round(operations / max(moved, 1), 1),
            }
        )
    seconds = {name: np.asarray(values) for name, values in take_turns(calls, rounds).items()}
    flops = 2 * MATRIX_SIDE**3 / seconds[_COMPUTE]
    bandwidth = 3 * ARRAY_BYTES / seconds[_MOVE]  # two arrays read, one written
    for row in rows:
        own = seconds[row["net"]]
        operations, moved = row["gflop"] * 1e9, row["mib_moved"] * 2**20
        row["gflop_per_s"] = round(float(np.median(operations / own)) / 1e9, 1)
        row["peak_gflop_per_s"] = round(float(np.median(flops)) / 1e9, 1)
        row["peak_gib_per_s"] = round(float(np.median(bandwidth)) / 2**30, 2)
        row |= spread(operations / own / flops).as_dict("share_of_peak")
        allowed = np.maximum(operations / flops, moved / bandwidth)
        row |= spread(allowed / own).as_dict("share_of_roofline")
    return rows


def roofline_table(rows: Sequence[Row]) -> Table:
    """What `measure_roofline` found."""
    first = rows[0]
    title = (
        f"{first['width_px']}x{first['height_px']}, {first['engine']}; peaks of this machine: "
        f"{first['peak_gflop_per_s']:.0f} GFLOP/s, {first['peak_gib_per_s']:.1f} GiB/s"
    )
    header = ["net", "GFLOP a frame", "MiB moved", "FLOP/byte", "GFLOP/s", "of the peak",
              "of the roofline"]  # fmt: skip
    body = [
        [
            row["net"],
            number(row["gflop"], 2),
            number(row["mib_moved"], 0),
            number(row["flop_per_byte"], 0),
            number(row["gflop_per_s"], 0),
            span(row, "share_of_peak"),
            span(row, "share_of_roofline"),
        ]
        for row in rows
    ]
    return Table(title, header, body)


def _paint(stylizer: OnnxStylizer, frames: np.ndarray, turn: int) -> np.ndarray:
    return stylizer(frames[turn % len(frames)][None])


def _multiplier() -> Callable[[int], object]:
    """Multiplies two square matrices."""
    matrix = np.random.default_rng(0).random((MATRIX_SIDE, MATRIX_SIDE), np.float32)
    return _runner("MatMul", matrix)


def _adder() -> Callable[[int], object]:
    """Adds two arrays."""
    return _runner("Add", np.ones(ARRAY_BYTES // 4, np.float32))


def _runner(op: str, operand: np.ndarray) -> Callable[[int], object]:
    kind, shape = TensorProto.FLOAT, list(operand.shape)
    # Both operands are inputs: what ONNX Runtime knows in advance it would pack or fold.
    values = [helper.make_tensor_value_info(name, kind, shape) for name in ("a", "b", "c")]
    graph = helper.make_graph([helper.make_node(op, ["a", "b"], ["c"])], op, values[:2], values[2:])
    opset = [helper.make_opsetid("", 18)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=9)
    session = open_session(model.SerializeToString())
    binding = session.io_binding()  # the result's memory is kept: no fresh pages in each call
    for name, value in (("a", operand), ("b", operand.copy())):
        binding.bind_cpu_input(name, value)
    result = np.empty_like(operand)
    binding.bind_output("c", "cpu", 0, np.float32, shape, result.ctypes.data)

    def run(turn: int) -> np.ndarray:
        session.run_with_iobinding(binding)
        return result

    return run
