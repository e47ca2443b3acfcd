"""What `infer.py` does with its arguments: jobs, messages, exit codes."""

import argparse
import logging
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from fastvid.runtime.arguments import CAMERA, check_usage, make_parser
from fastvid.runtime.console import (
    FAILURE,
    INTERRUPTED,
    Console,
    Progress,
    duration,
    log_error,
    one_line,
    run_command,
)
from fastvid.runtime.film import Interrupted, Source
from fastvid.runtime.finish import Finish
from fastvid.runtime.gallery import find_models, name_of, sisters
from fastvid.runtime.jobs import Job, plan
from fastvid.runtime.loading import load_for_film
from fastvid.runtime.pipeline import Encoding, check, paint
from fastvid.runtime.reduced import Reduced
from fastvid.runtime.report import Report, write_json
from fastvid.runtime.stylizer import Stylizer
from fastvid.video import MediaError, VideoReader

log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Run `infer.py`; returns the exit code.

    0: all was painted; 1: something was not, said in one line each; 2: wrong usage; 130: Ctrl-C.
    Paths of the results are the last lines of standard output, all else goes to standard error.
    """
    parser = make_parser()
    args = parser.parse_args(argv)
    check_usage(parser, args)
    return run_command(lambda console: _Run(args, console).run(), args.verbose)


class _Run:
    """One call of the command: the network is loaded once, then every job is painted."""

    def __init__(self, args: argparse.Namespace, console: Console) -> None:
        self.args = args
        self.console = console
        self.name = (
            name_of(find_models(args.style))
            if args.model is None
            else args.model.name.removesuffix(".onnx")
        )
        self.reports: list[Report] = []
        self.failures: list[dict[str, str]] = []
        self.hopeless = False  # the network cannot be loaded, so no further job need be tried

    def run(self) -> int:
        args = self.args
        if args.report is not None:
            if args.report.exists() and not args.overwrite:
                raise MediaError(f"{args.report}: exists already; --overwrite replaces it")
            if not args.report.parent.is_dir():
                raise MediaError(f"{args.report}: there is no folder {args.report.parent}")
        live = [text for text in args.inputs if args.realtime or CAMERA.fullmatch(text)]
        jobs = [] if args.demo or live else plan(args.inputs, args.output, self.name)
        try:
            if args.demo:
                self._attempt("demo", self._paint_demo)
            for text in live:
                self._attempt(text, partial(self._paint_live, text))
            if args.num_workers or args.ray:
                jobs = self._paint_bulk(jobs)
            for job in jobs:
                if not self.hopeless:
                    self._attempt(str(job.source), partial(self._paint, job))
        except Interrupted as interrupt:
            kept = f"; the painted part is {interrupt.kept}" if interrupt.kept else ""
            self.console.say(f"interrupted after {interrupt.num_frames} frames{kept}")
            return INTERRUPTED
        finally:
            if args.report is not None:
                write_json(args.report, self._as_dict())
        return FAILURE if self.failures else 0

    def _attempt(self, label: str, paint: Callable[[], Report | None]) -> None:
        """Paint one job; what goes wrong with it is said and the next one still gets its turn."""
        try:
            report = paint()
        except Exception as error:
            self.console.finish()
            self.failures.append({"source": label, "error": one_line(error)})
            log_error(error)
            return
        self.console.finish()
        if report is None:
            return
        self.reports.append(report)
        log.info(
            "%s: %d frames at %.1f fps in %s; slowest stage: %s; %s",
            report.target or label,
            report.frames,
            report.fps,
            duration(report.wall_s),
            report.bottleneck,
            report.engine,  # that really ran: a single image, for one, is never painted in int8
        )
        if not report.complete:
            text = f"{label}: {report.damage}; what can be read is painted"
            self.failures.append({"source": label, "error": text})
            log.error("%s", text)
        elif report.damage:
            log.warning("%s: %s", label, report.damage)
        if report.target:
            print(report.target, flush=True)

    @cached_property
    def stylizer(self) -> Stylizer:
        """The network, loaded when the first source and target are known to be sound."""
        self.hopeless = True
        stylizer = self._load(self.args.model or self.args.style)
        self.hopeless = False
        log.info("style %s, engine %s", stylizer.name, stylizer.engine)
        return stylizer

    def _load(self, style: str | Path) -> Stylizer:
        args = self.args
        stylizer: Stylizer = load_for_film(style, args.device, args.engine, args.tile_px)
        if args.work_height_px is not None:
            stylizer = Reduced(stylizer, args.work_height_px)
        return stylizer

    def _paint(self, job: Job) -> Report | None:
        args = self.args
        if job.in_folder and job.target.exists() and not args.overwrite:
            log.info("%s: painted already, skipped (--overwrite paints it again)", job.target)
            return None
        excerpt_s = (args.start_s, args.end_s)
        reader = VideoReader(job.source, *excerpt_s, args.height_px, hardware=args.hardware)
        if job.makes_folder:
            job.target.parent.mkdir(parents=True, exist_ok=True)
        return self._paint_source(reader, job.target, job.source.name)

    def _paint_bulk(self, jobs: list[Job]) -> list[Job]:
        """Paint the films among these jobs in pieces; the others are given back."""
        from fastvid.runtime.bulk.piece import Network
        from fastvid.runtime.bulk.run import is_film, paint_films

        args = self.args
        films = [job for job in jobs if is_film(job)]
        style = args.model.absolute() if args.model else args.style
        painted = paint_films(
            films,
            Network(style, args.device, args.engine, args.tile_px, args.work_height_px),
            lambda: self.stylizer,
            *self._settings(),
            (args.start_s, args.end_s),
            args.height_px,
            args.statistics,
            args.num_workers,
            args.ray,
            Progress(self.console, films[0].source.name if len(films) == 1 else "films"),
        )
        try:
            with closing(painted):
                for film in painted:
                    self._attempt(str(film.job.source), film.result)
                    if self.hopeless:
                        break
        except KeyboardInterrupt:
            log.info("the finished pieces are kept; the same command goes on with them")
            raise
        return [job for job in jobs if job not in films]

    def _paint_demo(self) -> Report:
        from fastvid.runtime.demo import DemoClip

        args = self.args
        clip = DemoClip(args.start_s, args.end_s, args.height_px)
        return self._paint_source(clip, Path(args.output or f"demo.{self.name}.mp4"), "demo")

    def _paint_source(self, source: Source, target: Path, label: str) -> Report:
        args = self.args
        check(source, target, args.overwrite)
        excerpt_s = (args.start_s, args.end_s)
        progress = Progress(self.console, label)
        finish, encoding = self._settings()
        return paint(
            *(source, target, self.stylizer, finish, encoding, excerpt_s, progress),
            args.statistics,
            args.steady,
        )

    def _paint_live(self, text: str) -> Report:
        from fastvid.runtime.live.camera import Camera
        from fastvid.runtime.live.loop import paint_live
        from fastvid.runtime.live.realtime import RealtimeFile

        args = self.args
        excerpt_s = (args.start_s, args.end_s)
        source: Source
        if args.realtime:
            source = RealtimeFile(text, *excerpt_s, args.height_px, args.hardware)
        else:
            source = Camera(int(text.removeprefix("camera:")), args.height_px, args.end_s)
        target = Path(args.output) if args.output else None
        if target is not None:
            check(source, target, args.overwrite)
        progress = Progress(self.console, text)
        names = [self.name, *sisters(self.name)]
        return paint_live(
            *(source, target, self.stylizer, *self._settings(), excerpt_s, progress),
            args.statistics,
            args.steady,
            names,
            self._load_style,
            args.virtual_camera,
        )

    def _load_style(self, name: str) -> Stylizer:
        """The style of a key; the first one is there already, it may be no shipped one."""
        return self.stylizer if name == self.name else self._load(name)

    def _settings(self) -> tuple[Finish, Encoding]:
        args = self.args
        finish = Finish(args.strength, args.keep_colors, args.side_by_side)
        encoding = Encoding(
            *(args.codec, args.crf, args.preset, args.audio, args.overwrite),
            hardware=args.hardware,
        )
        return finish, encoding

    def _as_dict(self) -> dict[str, Any]:
        """The report file: one job's own keys, or sums and a list for several."""
        if len(self.reports) == 1 and not self.failures:
            return self.reports[0].as_dict()
        frames = sum(report.frames for report in self.reports)
        wall_s = sum(report.wall_s for report in self.reports)
        return {
            "frames": frames,
            "wall_s": round(wall_s, 3),
            "fps": round(frames / wall_s, 2) if wall_s else 0.0,
            "files": [report.as_dict() for report in self.reports],
            "failures": self.failures,
        }
