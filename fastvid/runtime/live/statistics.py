"""Which network paints a live frame: the one held at a slow average of what was seen.

Statistics of a shot make a network steady, but of a camera there is nothing to look ahead at. So
they are averaged on the way, by a thread of its own that measures a frame now and then, folds the
average into a network and hands it over when it is ready; no frame waits for it.
"""

import logging
from concurrent.futures import Executor, Future
from dataclasses import dataclass

import numpy as np

from fastvid.runtime.engines.protocol import first_line
from fastvid.runtime.graph.statistics import Moments, blend_moments, moments_distance
from fastvid.runtime.shots import FLASH_FRAMES, KEY_FRAMES, differ, look
from fastvid.runtime.stylizer import Stylizer
from fastvid.video import Frame

log = logging.getLogger(__name__)

GATHER_EVERY_S = 0.5  # at the beginning of a shot, until `KEY_FRAMES` frames are measured
FOLLOW_EVERY_S = 2.0
MEMORY_S = 10.0  # time constant of the average
# In deviations of a channel. Below it a new network looks the same and is not worth its making.
LEAST_MOVE = 0.02


@dataclass(frozen=True)
class _Average:
    """What is known of a shot.

    Attributes:
        moments: the average.
        num_frames: frames measured for it.
        folded: the average that the network is held at.
        held: that network.
    """

    moments: Moments
    num_frames: int
    folded: Moments
    held: Stylizer


class SlowStatistics:
    """Chooses the network for each frame; to be called with all frames that are painted, in order.

    A new shot, or a jump of the exposure, is painted with every frame's own statistics until a
    network held at its own is ready. From then on the statistics follow what is seen: the average
    of the first frames, later an exponential one in small steps. A flash changes nothing.

    Args:
        stylizer: the network that takes every frame's own statistics.
        executor: runs the measuring and folding, one job at a time.

    Attributes:
        num_shots: how often statistics were taken anew.
    """

    def __init__(self, stylizer: Stylizer, executor: Executor) -> None:
        self.num_shots = 0
        self._stylizer = stylizer
        self._executor = executor
        self._average: _Average | None = None
        self._job: Future[_Average | None] | None = None
        self._due_s: float | None = None  # None: at the next frame
        self._reference: np.ndarray | None = None  # histogram of the frame before
        self._num_strange = 0  # frames in a row that look different from it
        self._useless = False

    def __call__(self, frame: Frame) -> Stylizer:
        """The network for this frame; never waits for one."""
        if self._useless:
            return self._stylizer
        self._collect()
        seen = look(frame)
        if self._reference is not None and differ(self._reference, seen.histogram):
            self._num_strange += 1
            if self._num_strange <= FLASH_FRAMES:
                return self._stylizer
            self._forget()
        self._reference, self._num_strange = seen.histogram, 0
        is_due = self._due_s is None or frame.time_s >= self._due_s
        if is_due and self._job is None and not seen.blank:
            self._job = self._executor.submit(self._gather, frame.image, self._average)
            num_frames = 0 if self._average is None else self._average.num_frames
            pause_s = GATHER_EVERY_S if num_frames < KEY_FRAMES else FOLLOW_EVERY_S
            self._due_s = frame.time_s + pause_s
        return self._stylizer if self._average is None else self._average.held

    def _collect(self) -> None:
        """Take over what the other thread has ready."""
        if self._job is None or not self._job.done():
            return
        job, self._job = self._job, None
        try:
            average = job.result()
        except Exception as error:  # ONNX Runtime's own errors share no narrower base
            text = first_line(error)
            log.warning("statistics cannot be gathered, every frame has its own: %s", text)
            average = None
        self._useless = average is None
        self.num_shots += self._average is None and average is not None
        self._average = average

    def _forget(self) -> None:
        """A new shot: nothing of the one before counts any more, nor what is in the making."""
        if self._job is not None:
            self._job.cancel()
        self._average = self._job = self._due_s = None

    def _gather(self, image: np.ndarray, before: _Average | None) -> _Average | None:
        """The average with one more frame; None for a network without statistics."""
        moments = self._stylizer.measure(image)
        if moments is None:
            return None
        if before is None:
            return _Average(moments, 1, moments, self._stylizer.held_at(moments, image))
        share = max(1 / (before.num_frames + 1), FOLLOW_EVERY_S / MEMORY_S)
        average = blend_moments(before.moments, moments, share)
        folded, held = before.folded, before.held
        if moments_distance(folded, average) > LEAST_MOVE:
            folded, held = average, self._stylizer.held_at(average, image)
        return _Average(average, before.num_frames + 1, folded, held)
