"""Convolutions with fewer products, against the plain ones through ONNX Runtime."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from fastvid.runtime.graph import winograd
from fastvid.runtime.graph.network import Network, attributes
from fastvid.runtime.graph.winograd import save_products
from fastvid.runtime.stylizer import OnnxStylizer

CHANNELS = 8


@pytest.fixture(autouse=True)
def _narrow_networks_too(monkeypatch):
    monkeypatch.setattr(winograd, "_LEAST_CHANNELS", CHANNELS)


def run(model, frames):
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(None, {"frames": frames})


class Body:
    """A graph of float values under construction: a strided convolution, and what is added."""

    def __init__(self, size, stride=2, left=1):
        self.rng = np.random.default_rng(0)
        self.nodes, self.values = [], []
        self.size = size
        first = self.conv("frames", stride=stride, pads=[1, left, 1, 1], inputs=3)
        self.last = self.op("Relu", first)

    def op(self, kind, *inputs, **shape):
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], **shape))
        return name

    def conv(self, source, dilation=1, stride=1, pads=None, inputs=CHANNELS):
        name = f"w{len(self.values)}"
        kernel = self.rng.normal(0, 0.2, (CHANNELS, inputs, 3, 3)).astype(np.float32)
        bias = self.rng.normal(0, 0.2, CHANNELS).astype(np.float32)
        self.values += [
            numpy_helper.from_array(kernel, name),
            numpy_helper.from_array(bias, f"{name}b"),
        ]
        shape = {"pads": pads or [dilation] * 4, "dilations": [dilation] * 2}
        return self.op("Conv", source, name, f"{name}b", strides=[stride] * 2, **shape)

    def block(self, dilation=1):
        inner = self.op("Relu", self.conv(self.last, dilation))
        self.last = self.op("Add", self.last, self.conv(inner))

    def model(self, *outputs):
        graph = helper.make_graph(
            self.nodes,
            "body",
            [helper.make_tensor_value_info("frames", TensorProto.FLOAT, [1, 3, *self.size])],
            [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in outputs],
            self.values,
        )
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
        made.ir_version = 10
        return made.SerializeToString()


def products(model):
    """Multiplications of all convolutions for one output each, by the number of outputs."""
    network, total = Network(model), 0
    shapes = network.shapes()
    for node in network.nodes:
        if node.op_type == "Conv":
            kernel = network.constants[node.input[1]]
            total += np.prod(shapes[node.output[0]]) * kernel[0].size
    return total


def assert_equal(model, size):
    """The same values with fewer products; returns the network that gives them."""
    frames = np.random.default_rng(1).normal(0, 1, (1, 3, *size)).astype(np.float32)
    cheaper = save_products(model)
    assert cheaper != model
    for one, other in zip(run(model, frames), run(cheaper, frames), strict=True):
        assert one.std() > 0.1
        np.testing.assert_allclose(other, one, rtol=1e-4, atol=1e-4 * one.std())
    return cheaper


# Even and odd widths of the body, down to two columns, with all dilations that the networks have.
@pytest.mark.parametrize("width", [3, 4, 17, 18, 19, 20, 21, 22, 23])
@pytest.mark.parametrize("stride", [1, 2])
def test_columns_come_out_as_from_plain_convolutions(width, stride):
    body = Body((12, width), stride)
    for dilation in (1, 2, 4, 2, 1):
        body.block(dilation)
    assert_equal(body.model(body.op("Neg", body.last)), (12, width))


def test_there_are_fewer_products():
    body = Body((12, 64))
    for dilation in (1, 2, 4, 2, 1):
        body.block(dilation)
    model = body.model(body.op("Neg", body.last))
    # 7 of 10 convolutions by a third, less what the stem and sums of 8 channels take more
    assert 0.75 < products(assert_equal(model, (12, 64))) / products(model) < 0.9


@pytest.mark.parametrize("width", [20, 22])
def test_values_that_others_use_are_whole_again(width):
    body = Body((8, width))
    body.block()
    between = body.last
    pooled = body.op("GlobalAveragePool", between)
    body.block()
    scaled = body.op("Mul", body.last, pooled)
    both = body.op("Add", between, scaled)
    model = body.model(body.op("Neg", between), both, body.op("Neg", body.last))
    assert_equal(model, (8, width))


def test_a_network_with_few_such_convolutions_is_left_alone():
    body = Body((8, 20))
    body.block(2)
    model = body.model(body.op("Neg", body.last))
    assert save_products(model) == model


@pytest.mark.parametrize(
    ("stride", "left", "start"), [(1, 2, "Relu"), (2, 1, "Tanh"), (2, 3, "Relu")]
)
def test_a_beginning_that_cannot_be_halved_is_left_alone(stride, left, start):
    body = Body((8, 20), stride, left)
    body.nodes[-1].op_type = start
    for _ in range(2):
        body.block()
    model = body.model(body.op("Neg", body.last))
    assert save_products(model) == model


@pytest.mark.parametrize("width", [60, 64])  # 17 and 18 columns in the body
def test_a_real_network_paints_the_same(exported, width):
    frames = np.random.default_rng(0).integers(0, 256, (2, 40, width, 3), dtype=np.uint8)
    stylizer = OnnxStylizer(exported("base"), "net", "cpu", "onnxruntime")
    stylizer.adapt(frames)
    plain = stylizer.graph((40, width))
    (expected,) = run(plain, frames)
    painted = stylizer(frames)
    assert abs(painted.astype(int) - expected).max() <= 1
    assert (painted != expected).mean() < 0.001
    kernels = [
        attributes(node).get("kernel_shape")
        for node in onnx.load_from_string(save_products(plain)).graph.node
        if node.op_type == "Conv"
    ]
    assert kernels.count([3, 1]) == 4 * 3
    # the stem's even columns, two halves of the dilated one, the tail
    assert kernels.count([3, 3]) == 1 + 2 + 1


@pytest.mark.parametrize("size", [(97, 150), (160, 64), (48, 163), (61, 100)])
def test_tiles_take_columns_in_the_same_pairs(exported, size):
    frame = np.random.default_rng(0).integers(0, 256, (1, *size, 3), dtype=np.uint8)
    whole = OnnxStylizer(exported("base"), "net", "cpu", "onnxruntime")
    tiled = OnnxStylizer(exported("base"), "net", "cpu", "onnxruntime", tile_px=20)
    for stylizer in (whole, tiled):
        stylizer.adapt(frame)
    np.testing.assert_array_equal(tiled(frame), whole(frame))
