"""An ONNX graph that can be asked who makes a value and who uses it, and be changed."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

FLOAT = onnx.TensorProto.FLOAT
# Of values by name; None for a side that is known only when the network runs.
Shapes = dict[str, tuple[int | None, ...]]
PREFIX = "fastvid_"  # of every name that is added, so that none meets one of the exporter's


class Network:
    """A graph under change.

    Nodes are added anywhere and replaced by giving their output's name to another node; `to_bytes`
    sorts the nodes and drops those that nothing needs any more.

    Attributes:
        constants: values known before the network runs, by name.
    """

    def __init__(self, model: bytes) -> None:
        self._proto = onnx.load_from_string(model)
        self._graph = self._proto.graph
        self.constants = {t.name: numpy_helper.to_array(t) for t in self._graph.initializer}
        for node in self._graph.node:
            if node.op_type == "Constant" and node.attribute[0].name == "value":
                self.constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
        self._taken = {n for node in self._graph.node for n in (*node.input, *node.output)}
        self._taken |= self.constants.keys()

    @property
    def nodes(self) -> list[onnx.NodeProto]:
        """The nodes at this moment, in the order of the file."""
        return list(self._graph.node)

    @property
    def outputs(self) -> list[str]:
        """Names of what the network gives."""
        return [output.name for output in self._graph.output]

    def producer(self, name: str) -> onnx.NodeProto | None:
        """The node that makes a value; None for inputs and constants."""
        return next((node for node in self._graph.node if name in node.output), None)

    def consumers(self, name: str) -> list[onnx.NodeProto]:
        """The nodes that use a value, each once."""
        return [node for node in self._graph.node if name in node.input]

    def only_consumer(self, name: str, op: str | None = None) -> onnx.NodeProto | None:
        """The one node that uses a value; None if there are others, or if it is no `op`."""
        users = self.consumers(name)
        if len(users) != 1 or name in self.outputs or op not in (None, users[0].op_type):
            return None
        return users[0]

    def scalar(self, name: str) -> float | None:
        """The number behind a name; None if it is no constant or holds several."""
        value = self.constants.get(name)
        return float(value.item()) if value is not None and value.size == 1 else None

    def constant(self, value: np.ndarray | np.generic) -> str:
        """Store a value under a new name and return the name."""
        value = np.asarray(value, order="C")
        name = self.new_name("constant")
        self._graph.initializer.append(numpy_helper.from_array(value, name))
        self.constants[name] = value
        return name

    def add(
        self, op: str, inputs: Sequence[str], output: str | None = None, **attributes: Any
    ) -> str:
        """Add a node with one output and return the output's name, a new one by default."""
        output = output or self.new_name(op.lower())
        self._graph.node.append(helper.make_node(op, list(inputs), [output], **attributes))
        return output

    def split(self, source: str, count: int, axis: int) -> list[str]:
        """Cut a value into equal parts and return their names."""
        names = [self.new_name("part") for _ in range(count)]
        node = helper.make_node("Split", [source], names, axis=axis, num_outputs=count)
        self._graph.node.append(node)
        return names

    def remove(self, node: onnx.NodeProto) -> None:
        """Take out a node; its output's name is free for another one."""
        self._graph.node.remove(node)

    def set_outputs(self, names: Sequence[str], kind: int = FLOAT) -> None:
        """Let the network give these values instead, floats or another ONNX type."""
        del self._graph.output[:]
        self.add_outputs(names, kind)

    def add_outputs(self, names: Sequence[str], kind: int = FLOAT) -> None:
        """Let the network give these values too, after its own."""
        for name in names:
            info = helper.make_tensor_value_info(name, kind, None)
            self._graph.output.append(info)

    @property
    def frame_size(self) -> tuple[int, int]:
        """(H, W) of the frames, 0 where `fix_size` has not promised any."""
        dims = self._graph.input[0].type.tensor_type.shape.dim
        return dims[1].dim_value, dims[2].dim_value

    def fix_size(self, size: tuple[int, int]) -> None:
        """Promise that every frame has this (H, W): all arithmetic on sizes becomes constant."""
        dims = self._graph.input[0].type.tensor_type.shape.dim
        for dim, side in zip(dims[1:3], size, strict=True):
            dim.dim_value = side

    def shapes(self) -> Shapes:
        """Shapes of the values, as far as they are known before anything runs; None for free sides.

        Values behind an operation that hides its shape are left out.
        """
        ordered = Network(self._proto.SerializeToString()).to_bytes()
        proto = onnx.load_from_string(ordered)
        graph = onnx.shape_inference.infer_shapes(proto).graph
        return {
            value.name: tuple(
                side.dim_value if side.HasField("dim_value") else None
                for side in value.type.tensor_type.shape.dim
            )
            for value in (*graph.input, *graph.value_info, *graph.output)
            if value.type.tensor_type.HasField("shape")
        }

    def fix_batch(self, count: int) -> None:
        """Promise that always so many frames come at once."""
        self._graph.input[0].type.tensor_type.shape.dim[0].dim_value = count

    def part(self, target: str, source: str | None = None, kind: int = FLOAT) -> bytes:
        """The part of the network that makes one value, as a network of its own.

        Args:
            target: becomes the only output.
            source: a float value of any shape that becomes the only input, if given.
            kind: ONNX type of the target.

        Raises:
            ValueError: if `target` needs more than that.
        """
        cut = Network(self._proto.SerializeToString())
        if source is not None:
            producer = cut.producer(source)
            if producer is not None:
                cut.remove(producer)
            del cut._graph.input[:]
            cut._graph.input.append(helper.make_tensor_value_info(source, FLOAT, None))
        cut.set_outputs([target], kind)
        return cut.to_bytes()

    def new_name(self, hint: str) -> str:
        """A name that no other value has."""
        name = next(n for i in itertools.count() if (n := f"{PREFIX}{hint}_{i}") not in self._taken)
        self._taken.add(name)
        return name

    def to_bytes(self) -> bytes:
        """The bytes of a file: nodes in an order in which they can run, nothing unused.

        Raises:
            ValueError: if a value is needed that nothing makes.
        """
        graph = self._graph
        makers = {name: node for node in graph.node for name in node.output}
        known = {value.name for value in graph.input} | {t.name for t in graph.initializer} | {""}
        ordered: list[onnx.NodeProto] = []
        # Depth first, and a node only after all that it needs; no recursion, graphs are deep.
        pending = [*reversed(self.outputs)]
        while pending:
            name = pending[-1]
            if name in known:
                pending.pop()
                continue
            if name not in makers:
                raise ValueError(f"graph: nothing makes the value {name!r}")
            missing = [need for need in makers[name].input if need not in known]
            if missing:
                pending.extend(missing)
                continue
            known.update(makers[name].output)
            ordered.append(makers[name])
        needed = {name for node in ordered for name in node.input} | set(self.outputs)
        kept = [tensor for tensor in graph.initializer if tensor.name in needed]
        del graph.node[:], graph.initializer[:], graph.value_info[:]
        graph.node.extend(ordered)
        graph.initializer.extend(kept)
        return self._proto.SerializeToString()


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """A node's attributes, those of a two-dimensional convolution with their defaults."""
    defaults = {"group": 1, "dilations": [1, 1], "strides": [1, 1], "pads": [0, 0, 0, 0]}
    return defaults | {a.name: helper.get_attribute_value(a) for a in node.attribute}
