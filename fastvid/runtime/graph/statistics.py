"""Hold a network's instance norms at the statistics of a shot, folded into its convolutions.

An instance norm takes the mean and the variance of each channel from the very picture it paints.
Held constant over a shot they make the network one fixed function of a pixel's neighbourhood, and
a norm with constant statistics is only a scale and a shift, which the convolution before it takes
in for nothing. Works on any ONNX graph; no training, no torch.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import onnx

from fastvid.runtime.graph.network import PREFIX, Network

_MEAN, _VARIANCE = f"{PREFIX}mean_", f"{PREFIX}variance_"
# ONNX's default of what a norm adds to a variance.
_EPSILON = 1e-5

Moments = Mapping[str, np.ndarray]


def add_statistics(model: bytes) -> bytes | None:
    """The network with the statistics of its instance norms as outputs, in place of the picture.

    For the i-th norm (in graph order) there are `fastvid_mean_i` and `fastvid_variance_i`, both
    float32 (N, C, 1, 1), the biased moments over H and W of what goes into that norm. Whatever
    comes after the last norm is left out. None for a network without an instance norm.

    Args:
        model: bytes of an ONNX file.
    """
    network = Network(model)
    norms = _norms(network)
    if not norms:
        return None
    names = []
    for i, norm in enumerate(norms):
        mean = network.add("GlobalAveragePool", [norm.input[0]], f"{_MEAN}{i}")
        # E[(x - m)^2], not E[x^2] - m^2: the latter cancels in float32
        centered = network.add("Sub", [norm.input[0], mean])
        squared = network.add("Mul", [centered, centered])
        variance = network.add("GlobalAveragePool", [squared], f"{_VARIANCE}{i}")
        names += [mean, variance]
        # The norm goes on from there. Left whole it would compute them again, and a runtime that
        # put the moments off would keep the inputs of all norms: 3.6 GB at 3840x2160.
        network.remove(norm)
        scale, bias, epsilon = _parameters(network, norm)
        root = network.add("Add", [variance, network.constant(np.float32(epsilon))])
        factor = network.add("Div", [_column(network, scale), network.add("Sqrt", [root])])
        scaled = network.add("Mul", [centered, factor])
        network.add("Add", [scaled, _column(network, bias)], norm.output[0])
    network.set_outputs(names)
    return network.to_bytes()


def fold_statistics(model: bytes, measured: Sequence[Moments]) -> bytes:
    """The network with every instance norm held at measured statistics.

    The moments of several frames are pooled as if the frames were one large picture. A norm that
    alone follows a convolution disappears into its weights; any other becomes one multiplication
    and one addition per channel.

    Args:
        model: bytes of an ONNX file.
        measured: the outputs of `add_statistics`'s network, one mapping a frame.
    """
    network = Network(model)
    for i, norm in enumerate(_norms(network)):
        mean, variance = _pool(
            [frame[f"{_MEAN}{i}"] for frame in measured],
            [frame[f"{_VARIANCE}{i}"] for frame in measured],
        )
        scale, bias, epsilon = _parameters(network, norm)
        factor = scale / np.sqrt(variance + epsilon)
        shift = bias - mean * factor
        before = network.producer(norm.input[0])
        alone = network.only_consumer(norm.input[0]) is not None
        network.remove(norm)
        if before is not None and alone and has_constant_weights(network, before):
            weight, old_bias = weights(network, before)
            replace_weights(
                network, before, weight * factor[:, None, None, None], old_bias * factor + shift
            )
            before.output[0] = norm.output[0]
        else:
            scaled = network.add("Mul", [norm.input[0], _column(network, factor)])
            network.add("Add", [scaled, _column(network, shift)], norm.output[0])
    return network.to_bytes()


def blend_moments(old: Moments, new: Moments, share: float) -> Moments:
    """The moments of a union of pictures of which `new` has this share and `old` the rest."""
    blended = {}
    for mean in (name for name in old if name.startswith(_MEAN)):
        variance = _VARIANCE + mean.removeprefix(_MEAN)
        step = new[mean] - old[mean]
        blended[mean] = old[mean] + share * step
        within = (1 - share) * old[variance] + share * new[variance]
        blended[variance] = within + share * (1 - share) * step**2
    return blended


def moments_distance(old: Moments, new: Moments) -> float:
    """How far the moments are apart, in standard deviations of `old`.

    Of each norm the root mean square over its channels, of what the mean and what the deviation
    moved; of all norms the largest.
    """
    worst = 0.0
    for mean in (name for name in old if name.startswith(_MEAN)):
        variance = _VARIANCE + mean.removeprefix(_MEAN)
        before, after = (np.sqrt(moments[variance] + _EPSILON) for moments in (old, new))
        moved = (new[mean] - old[mean]) / before
        widened = after / before - 1
        worst = max(worst, float(np.sqrt(np.mean(moved**2 + widened**2))))
    return worst


def has_constant_weights(network: Network, node: onnx.NodeProto) -> bool:
    """Whether a node is a convolution whose kernel and bias can be changed beforehand."""
    return node.op_type == "Conv" and all(
        name in network.constants for name in node.input[1:] if name
    )


def weights(network: Network, conv: onnx.NodeProto) -> tuple[np.ndarray, np.ndarray]:
    """Kernel (O, I, kh, kw) and bias (O,) of a convolution, zeros where it has none."""
    kernel = network.constants[conv.input[1]]
    has_bias = len(conv.input) > 2 and conv.input[2]
    return kernel, network.constants[conv.input[2]] if has_bias else np.zeros(len(kernel))


def replace_weights(
    network: Network, conv: onnx.NodeProto, kernel: np.ndarray, bias: np.ndarray
) -> None:
    """Give a convolution weights of its own; another one may share those it had."""
    names = [network.constant(value.astype(np.float32)) for value in (kernel, bias)]
    del conv.input[1:]
    conv.input.extend(names)


def _norms(network: Network) -> list[onnx.NodeProto]:
    """The instance norms in graph order; ValueError if one has no constant scale and bias."""
    norms = [node for node in network.nodes if node.op_type == "InstanceNormalization"]
    for norm in norms:
        if not all(name in network.constants for name in norm.input[1:3]):
            raise ValueError(
                f"instance norm {norm.name!r} computes its scale while running, expected "
                "constants; export the network again"
            )
    return norms


def _parameters(network: Network, norm: onnx.NodeProto) -> tuple[np.ndarray, np.ndarray, float]:
    """Scale (C,), bias (C,) and epsilon of a norm."""
    scale, bias = (network.constants[name] for name in norm.input[1:])
    return scale, bias, next((a.f for a in norm.attribute if a.name == "epsilon"), _EPSILON)


def _column(network: Network, values: np.ndarray) -> str:
    """One number a channel, stored so that it meets (N, C, H, W)."""
    return network.constant(values.astype(np.float32)[:, None, None])


def _pool(
    means: Sequence[np.ndarray], variances: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Moments (C,) of the union of equally large pictures from the moments (1, C, 1, 1) of each."""
    mean = np.stack(means).astype(np.float64).reshape(len(means), -1)
    variance = np.stack(variances).astype(np.float64).reshape(len(means), -1)
    return mean.mean(0), variance.mean(0) + mean.var(0)
