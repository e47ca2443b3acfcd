"""Several styles in one: mixtures, and transitions over time.

Styles trained from one base network differ little enough that a network halfway between their
weights paints in a style halfway between theirs (as interpolated rows of conditional instance norm
do, Dumoulin et al. 2017): one picture, not two on top of each other.
"""

import itertools
import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import numpy_helper

Mixture = Mapping[str, float]


@dataclass(frozen=True)
class Transition:
    """Mixtures at moments of a film; between two of them they change evenly.

    Attributes:
        moments: seconds and mixtures (shares that sum to 1), in order of time. A single one is a
            constant style.
    """

    moments: tuple[tuple[float, Mixture], ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Every style that takes part, each once."""
        return tuple(dict.fromkeys(name for _, mixture in self.moments for name in mixture))

    def at(self, seconds: float) -> dict[str, float]:
        """The shares at a moment, without those that are 0."""
        after = bisect_right([moment for moment, _ in self.moments], seconds)
        if after in (0, len(self.moments)):
            return dict(self.moments[max(0, after - 1)][1])
        (start, first), (end, second) = self.moments[after - 1 : after + 1]
        share = (seconds - start) / (end - start)
        mixed = {
            name: (1 - share) * first.get(name, 0.0) + share * second.get(name, 0.0)
            for name in self.names
        }
        return {name: value for name, value in mixed.items() if value > 0}


def parse_style(text: str) -> Transition:
    """What `--style` says.

    `starry_night` is one style, `starry_night:0.7,the_scream:0.3` a mixture (shares are scaled to a
    sum of 1), `starry_night@0,the_scream@4` a transition between second 0 and second 4.

    Raises:
        ValueError: for anything else; the text says what is wrong.
    """
    parts = [part.strip() for part in text.split(",")]
    timed = [part for part in parts if "@" in part]
    if timed and len(timed) != len(parts):
        raise ValueError(f"style {text!r}: give every style a time (NAME@SECONDS), or none")
    if timed:
        moments = [_pair(part, "@", text) for part in parts]
        times = [seconds for _, seconds in moments]
        if any(later <= earlier for earlier, later in itertools.pairwise(times)):
            raise ValueError(f"style {text!r}: times must rise from one style to the next")
        return Transition(tuple((seconds, {name: 1.0}) for name, seconds in moments))
    if len(parts) == 1 and ":" not in text:
        return Transition(((0.0, {parts[0]: 1.0}),))
    shares: dict[str, float] = {}
    for part in parts:
        name, share = _pair(part, ":", text)
        shares[name] = shares.get(name, 0.0) + share
    total = sum(shares.values())
    if not total:
        raise ValueError(f"style {text!r}: at least one share must be above 0")
    return Transition(((0.0, {k: v / total for k, v in shares.items() if v}),))


def mix_networks(models: Sequence[bytes], shares: Sequence[float]) -> bytes:
    """The network between several: every weight is the weighted mean of theirs.

    Args:
        models: bytes of ONNX files with one graph and different weights.
        shares: one for each, summing to 1.

    Raises:
        ValueError: if the graphs differ.
    """
    protos = [onnx.load_from_string(model) for model in models]
    first = protos[0]
    plans = [[(node.op_type, *node.input, *node.output) for node in p.graph.node] for p in protos]
    weights = [
        {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
        for proto in protos
    ]
    shapes = [{name: value.shape for name, value in values.items()} for values in weights]
    if any(plan != plans[0] for plan in plans) or any(s != shapes[0] for s in shapes):
        raise ValueError(
            "these styles are networks of different shape and cannot be mixed; "
            "choose styles of one net, trained from one base (init=base)"
        )
    for tensor in first.graph.initializer:
        value = weights[0][tensor.name]
        if np.issubdtype(value.dtype, np.floating):
            mixed = sum(
                share * values[tensor.name].astype(np.float64)
                for share, values in zip(shares, weights, strict=True)
            )
            array = np.asarray(mixed, dtype=value.dtype)
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    return first.SerializeToString()


def _pair(part: str, sign: str, text: str) -> tuple[str, float]:
    name, found, number = part.rpartition(sign)
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not (found and name and 0 <= value < math.inf):
        wanted = "SECONDS" if sign == "@" else "SHARE"
        raise ValueError(f"style {text!r}: expected NAME{sign}{wanted}, found {part!r}")
    return name, value
