"""One pass over a clip: each frame once, tied to those before it."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from fastvid.reference.flows import Lookahead, Motion
from fastvid.reference.methods import Method
from fastvid.reference.studio import Studio


class _Past:
    """What the method sees, on the device of the work."""

    def __init__(self, studio: Studio, flows: Lookahead) -> None:
        self.studio, self.flows = studio, flows

    def frame(self, index: int) -> Tensor:
        return self.studio.frame(index)

    def result(self, index: int) -> Tensor:
        return self.studio.result(1, index)

    def motion(self, current: int, other: int) -> Motion:
        motion = self.flows.take(current, other)
        device = self.studio.device
        return Motion(motion.flow.to(device), motion.certainty.to(device))


def flow_pairs(method: Method, num_frames: int) -> Iterator[tuple[int, int]]:
    """All (current, other) that a pass looks at."""
    for index in range(num_frames):
        yield from ((index, other) for other in method.needs(index))


def paint_single_pass(
    studio: Studio, method: Method, flows: Lookahead, num_iterations: tuple[int, int]
) -> None:
    """Optimise every frame that is not done, in order.

    Args:
        studio: network, recipe, frames, finished results.
        method: how frames are tied together.
        flows: motion.
        num_iterations: limits for the first and the later frames.
    """
    past = _Past(studio, flows)
    for index in range(studio.num_frames):
        if studio.is_done(1, index):
            continue
        plan = method.plan(past, index)
        if index + 1 < studio.num_frames:
            flows.order((index + 1, j) for j in method.needs(index + 1))
        studio.paint(1, index, plan, num_iterations[min(index, 1)])
