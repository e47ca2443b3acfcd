"""The machine's video hardware: tried on the film itself, with software where it does not work.

What a machine says that it has proves nothing: a build of FFmpeg names devices whose driver is
missing, and a driver takes some films and refuses others. So nothing is asked, all is tried.
"""

import logging
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path

import numpy as np
from av.codec.hwaccel import HWAccel, hwdevices_available
from av.video.frame import VideoFrame

from fastvid.video import color
from fastvid.video.source import reason

log = logging.getLogger(__name__)

SOFTWARE = "software"
# Kinds of devices that FFmpeg's decoders can work on. qsv and amf are not among them: they come
# with decoders of their own, which PyAV does not open a film with.
DEVICES = ("cuda", "videotoolbox", "d3d11va", "vaapi")
# Levels of 255 on average by which a device's picture may differ from software's. Those of H.264
# and later standards do not; the older MPEGs leave the rounding of their transform open.
_TOLERANCE = 1.0
_THUMBNAIL = (64, 64)


def decode_on_hardware(
    decode: Callable[[HWAccel | None], Generator[VideoFrame, None, None]],
    tell: Callable[[str], None],
    source: Path,
    devices: Sequence[str] | None = None,
) -> Iterator[VideoFrame]:
    """The frames of a film, by the first device whose first frame is right, else by software.

    A device that fails later, or gives a damaged frame, is left: software decodes the film again
    up to there and goes on, so that what is handed out is what software alone would give.

    Args:
        decode: gives the frames by a device, whose errors it raises, or by software for None; each
            call begins at the same frame.
        tell: called with the name of what decodes, before its first frame.
        source: the film, for messages.
        devices: kinds to try, in order; None tries those of `DEVICES` that FFmpeg was built with.
    """
    if devices is None:
        devices = [kind for kind in DEVICES if kind in hwdevices_available()]
    failures = []
    num_frames = 0
    for kind in devices:
        try:
            # the fall-back of FFmpeg's own would leave unsaid what decodes
            with closing(decode(HWAccel(kind, allow_software_fallback=False))) as frames:
                for frame in frames:
                    if frame.is_corrupt:  # software hides such damage better
                        raise RuntimeError("damaged frame")
                    if num_frames == 0:
                        _check(frame, decode)
                        tell(kind)
                        log.info("%s: decoded by %s", source, kind)
                    yield frame
                    num_frames += 1
            if num_frames:
                return
            raise RuntimeError("no frame")
        except Exception as error:  # whatever a driver comes up with, the film can still be read
            failures.append(f"{kind}: {reason(error)}")
        if num_frames:
            text = "%s: decoded in software from frame %d on (%s)"
            log.warning(text, source, num_frames, failures[-1])
            tell(f"{kind}, then {SOFTWARE}")
            break
    else:
        tell(SOFTWARE)
        tried = "; ".join(failures) or "no device is known to this build of FFmpeg"
        log.info("%s: decoded in software (%s)", source, tried)
    yield from islice(decode(None), num_frames, None)


def _check(
    frame: VideoFrame, decode: Callable[[HWAccel | None], Generator[VideoFrame, None, None]]
) -> None:
    """Compare a device's first frame with software's: a driver's mistakes raise no error.

    Raises:
        RuntimeError: they differ in size, time, colours or content.
    """
    with closing(decode(None)) as frames:
        right = next(frames, None)
    if right is None or (frame.width, frame.height) != (right.width, right.height):
        raise RuntimeError("a picture of another size than in software")
    if frame.pts != right.pts or frame.rotation != right.rotation:
        raise RuntimeError("another time or rotation than in software")
    found, wanted = (color.to_rgb(each, _THUMBNAIL).astype(int) for each in (frame, right))
    if np.abs(found - wanted).mean() > _TOLERANCE:
        raise RuntimeError("another picture than in software")
