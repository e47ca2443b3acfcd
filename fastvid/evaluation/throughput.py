"""The whole program against its stages: how much of the slowest one's frame rate is left."""

import logging
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from fastvid.evaluation.table import Table, number
from fastvid.evaluation.timing import span, spread, take_turns
from fastvid.runtime.demo import FRAME_RATE, DemoClip
from fastvid.runtime.engines.onnx_cpu import cores
from fastvid.runtime.film import Outcome, Painter
from fastvid.runtime.finish import Finish
from fastvid.runtime.pipeline import Encoding, open_target, stylize
from fastvid.runtime.report import Report
from fastvid.runtime.shots import in_shots
from fastvid.runtime.stages import overlap
from fastvid.runtime.stylizer import Stylizer
from fastvid.video import Frame, VideoReader, VideoWriter

log = logging.getLogger(__name__)

FRAMES_MEMORY_BYTES = 2**29  # frames held for the stages' own runs; larger films give fewer
STAGES = ("decode", "net", "encode")


def write_demo_clip(path: Path, num_frames: int, height_px: int | None = None) -> None:
    """The clip of `infer.py --demo` as a film, for benchmarks without one."""
    clip = DemoClip(end_s=num_frames / FRAME_RATE, height_px=height_px)
    with VideoWriter(path, clip.info, clip.size) as writer:
        for frame in clip:
            writer.write(frame)


def measure_program(
    video: Path, stylizer: Stylizer, num_frames: int, rounds: int
) -> dict[str, Any]:
    """Frame rates of `fastvid.stylize` and of each stage alone, in turns.

    A stage alone does what it does in the program, with the machine to itself: decoding finds the
    shots and throws the frames away; the network takes the statistics of the shots, and paints
    frames held in memory, as many at once as in the program; encoding writes painted ones. All of
    it without sound.

    On a processor all stages share the cores, so together they cannot reach the rate of the slowest
    one alone: `share_of_cores` says how much of what the cores could do, had they no pause, is
    reached.

    Args:
        video: the film; its first `num_frames` frames are used.
        stylizer: the loaded network.
        num_frames: how many, fewer where they would not fit into half a GiB.
        rounds: turns; each is one run of the program and one of every stage.

    Returns:
        `program_fps`, `decode_alone_fps`, `net_alone_fps`, `encode_alone_fps` (medians),
        `slowest_stage`, `share_of_slowest` with `_min` and `_max`; the processor's time of each
        alone, `decode_cpu_ms_per_frame` and so on, and `share_of_cores`, their sum over the cores
        and the time taken, likewise; `bottleneck_busy`, for what part of the program its slowest
        stage is at work, likewise; the stages' times inside the program (`decode_ms_p50`, ...), its
        first frame and its peak memory.

    Raises:
        MediaError: if the film cannot be read.
    """
    probe = VideoReader(video)
    h, w = probe.size
    count = max(2, min(num_frames, FRAMES_MEMORY_BYTES // (2 * h * w * 3)))
    with probe:
        frames = list(islice(probe, count))
    count = len(frames)
    end_s = frames[-1].time_s - frames[0].time_s + 0.5 / float(probe.info.frame_rate)
    items = list(in_shots(frames))
    lanes = stylizer.lanes((h, w))
    painted: list[Frame] = []
    reports: list[Report] = []
    cpu_s: dict[str, list[float]] = {}

    with tempfile.TemporaryDirectory(prefix="fastvid-benchmark-") as folder:
        target = Path(folder) / "painted.mp4"

        def program() -> None:
            report = stylize(
                video, target, stylizer=stylizer, audio="none", overwrite=True, end_s=end_s
            )
            reports.append(report)

        def decode() -> None:
            with VideoReader(video, end_s=end_s) as reader:
                for _ in in_shots(reader):
                    pass

        def net() -> None:
            painter = Painter(stylizer, lanes)

            def collect(outcomes: Iterable[Outcome]) -> None:
                pairs = map(painter.settle, outcomes)
                painted[:] = [replace(frame, image=image) for frame, image in pairs]

            overlap(lambda: items, painter.begin, collect, lanes=lanes)

        def encode() -> None:
            encoding = Encoding(audio="none", overwrite=True)
            with open_target(probe, target, Finish(), encoding) as writer:
                for frame in painted:
                    writer.write(frame)

        def timed(call: Callable[[], None], turn: int) -> None:
            begin = time.process_time()
            call()
            if turn >= 0:
                cpu_s.setdefault(call.__name__, []).append(time.process_time() - begin)

        calls = {call.__name__: partial(timed, call) for call in (net, decode, encode, program)}
        seconds = take_turns(calls, rounds, warm_up=1)
    return _figures(seconds, cpu_s, reports[-rounds:], count)


def measure_lengths(
    video: Path, stylizer: Stylizer, lengths: Sequence[int], rounds: int
) -> list[dict[str, Any]]:
    """What the whole program takes for films of several lengths, in turns, without sound.

    Args:
        video: the film; it is cut to each length, and has to have the largest.
        stylizer: the loaded network.
        lengths: numbers of frames.
        rounds: runs of each that count.

    Returns:
        One row a length: `frames`, `program_s` with `_min` and `_max`, `s_per_frame`.

    Raises:
        MediaError: if the film cannot be read.
    """
    with VideoReader(video) as reader:
        times = [frame.time_s for frame in islice(reader, max(lengths))]
        half_s = 0.5 / float(reader.info.frame_rate)
    counts = sorted({min(length, len(times)) for length in lengths})
    with tempfile.TemporaryDirectory(prefix="fastvid-benchmark-") as folder:
        target = Path(folder) / "painted.mp4"

        def paint(count: int) -> None:
            end_s = times[count - 1] - times[0] + half_s
            stylize(video, target, stylizer=stylizer, audio="none", overwrite=True, end_s=end_s)

        calls = {str(count): lambda _turn, n=count: paint(n) for count in counts}
        seconds = take_turns(calls, rounds, warm_up=1)
    rows = []
    for count in counts:
        found = spread(seconds[str(count)])
        per_frame = round(found.median / count, 5)
        rows.append({"frames": count, **found.as_dict("program_s"), "s_per_frame": per_frame})
    return rows


def _figures(
    seconds: dict[str, list[float]],
    cpu_s: dict[str, list[float]],
    reports: list[Report],
    num_frames: int,
) -> dict[str, Any]:
    """Medians over the rounds, the shares within each round."""
    fps = {name: num_frames / float(np.median(values)) for name, values in seconds.items()}
    slowest = min(STAGES, key=fps.__getitem__)
    rounds = range(len(reports))
    shares = spread(
        max(seconds[stage][turn] for stage in STAGES) / seconds["program"][turn] for turn in rounds
    )
    loads = spread(
        sum(cpu_s[stage][turn] for stage in STAGES) / cores() / seconds["program"][turn]
        for turn in rounds
    )
    busy = spread(report.stages[report.bottleneck]["busy_fraction"] for report in reports)
    cpu_ms = {name: float(np.median(cpu_s[name])) / num_frames * 1e3 for name in cpu_s}
    last = reports[-1].as_dict()
    inside = {key: last[key] for stage in STAGES for key in (f"{stage}_ms_p50", f"{stage}_ms_p95")}
    return {
        "frames": num_frames,
        "width_px": last["width_px"],
        "height_px": last["height_px"],
        "program_fps": round(fps["program"], 2),
        **{f"{stage}_alone_fps": round(fps[stage], 2) for stage in STAGES},
        "slowest_stage": slowest,
        **shares.as_dict("share_of_slowest"),
        **{f"{name}_cpu_ms_per_frame": round(value, 2) for name, value in cpu_ms.items()},
        **loads.as_dict("share_of_cores"),
        **busy.as_dict("bottleneck_busy"),
        "frames_at_once": last["frames_at_once"],
        **inside,
        "first_frame_ms": round(last["first_frame_s"] * 1e3, 1),
        "peak_memory_mib": last["peak_memory_mib"],
        "engine": last["engine"],
    }


def program_table(program: Mapping[str, Any]) -> Table:
    """What `measure_program` found, with the name of the `net`."""
    title = (
        f"Whole program, {program['net']}, {program['width_px']}x{program['height_px']}, "
        f"{program['frames']} frames: {program['program_fps']:.1f} frames/s, "
        f"{span(program, 'share_of_slowest')} of {program['slowest_stage']} alone, "
        f"{span(program, 'share_of_cores')} of what the cores can do, the slowest stage at work "
        f"{span(program, 'bottleneck_busy')} of the time; "
        f"{program['frames_at_once']} frames at once, {program['engine']}; first frame after "
        f"{program['first_frame_ms']:.0f} ms, peak memory "
        f"{number(program['peak_memory_mib'], 0)} MiB"
    )
    body = [
        [
            stage,
            number(program[f"{stage}_ms_p50"], 1),
            number(program[f"{stage}_ms_p95"], 1),
            number(program[f"{stage}_alone_fps"], 1),
            number(program[f"{stage}_cpu_ms_per_frame"], 1),
        ]
        for stage in STAGES
    ]
    header = ["stage", "ms p50", "p95", "alone, frames/s", "processor ms a frame"]
    return Table(title, header, body)


def length_table(net: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    """What `measure_lengths` found: seconds, and those of each frame more than in the row above."""
    body = []
    for before, row in zip([None, *rows], rows, strict=False):
        more = None
        if before is not None:
            more = (row["program_s"] - before["program_s"]) / (row["frames"] - before["frames"])
        cells = [number(row["s_per_frame"], 4), number(more, 4)]
        body.append([str(row["frames"]), span(row, "program_s"), *cells])
    header = ["frames", "s", "s a frame", "s a further frame"]
    return Table(f"Whole program by length, {net}", header, body)
