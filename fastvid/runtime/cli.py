"""The command line of `infer.py`: arguments, messages, exit codes; the work is in `pipeline`."""

import argparse
import inspect
import logging
import math
import re
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from fastvid.runtime.console import (
    FAILURE,
    INTERRUPTED,
    Console,
    Parser,
    Progress,
    duration,
    log_error,
    one_line,
    run_command,
)
from fastvid.runtime.film import STATISTICS, Interrupted, Source
from fastvid.runtime.finish import Finish
from fastvid.runtime.gallery import DEFAULT_STYLE, find_models, list_styles, name_of
from fastvid.runtime.jobs import Job, plan
from fastvid.runtime.loading import load_for_film
from fastvid.runtime.pipeline import Encoding, check, paint, stylize
from fastvid.runtime.reduced import Reduced
from fastvid.runtime.report import Report, write_json
from fastvid.runtime.stylizer import DEVICES, ENGINES, MIN_SIDE_PX, Stylizer
from fastvid.video import MediaError, VideoReader
from fastvid.video.stills import is_image, is_sequence

log = logging.getLogger(__name__)

_CAMERA = re.compile(r"camera:(\d+)")

# Options of the command that are arguments of `stylize`, with its own defaults.
_OPTIONS = (
    "strength keep_colors height_px start_s end_s side_by_side steady statistics crf preset codec "
    "audio overwrite"
).split()


def main(argv: Sequence[str] | None = None) -> int:
    """Run `infer.py`; returns the exit code.

    0: all was painted; 1: something was not, said in one line each; 2: wrong usage; 130: Ctrl-C.
    Paths of the results are the last lines of standard output, all else goes to standard error.
    """
    parser = make_parser()
    args = parser.parse_args(argv)
    _check(parser, args)
    return run_command(lambda console: _Run(args, console).run(), args.verbose)


def make_parser() -> Parser:
    """The parser of `infer.py`; defaults are those of `pipeline.stylize`."""
    parser = Parser(
        prog="infer.py",
        description="Paint films and images in the style of a painting.",
        epilog="Exit code: 0 all was painted, 1 something was not, 2 wrong usage, 130 Ctrl-C (what "
        "was painted so far is kept as NAME.partial.EXT). A damaged source is painted as far as "
        "it can be read, and counts as a failure.",
    )
    parser.add_argument(
        "inputs",
        nargs="*",
        metavar="INPUT",
        help="a video, an image, a folder, a printf or glob pattern of images, camera:0",
    )
    parser.add_argument(
        "-o", "--output", metavar="OUT", help="file, or folder for several inputs; default: "
        "INPUT's name with the style's, beside INPUT",
    )  # fmt: skip
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--style",
        default=DEFAULT_STYLE,
        help="a shipped style, or several with shares: "
        "starry_night:0.7,the_scream:0.3, or one after the other by the second of the film, "
        "starry_night@0,the_scream@4; default: %(default)s",
    )
    which.add_argument("--model", metavar="FILE.onnx", type=Path, help="a network of your own")
    look = parser.add_argument_group("look")
    look.add_argument(
        "--strength", type=float, metavar="0..1", help="blend with the source: 0 source, 1 painting"
    )
    look.add_argument(
        "--keep-colors", action="store_true", help="the painting's luma, the source's colours"
    )
    look.add_argument(
        "--height", dest="height_px", type=int, metavar="PX",
        help="rows to paint and to write; default: the source's",
    )  # fmt: skip
    look.add_argument(
        "--work-height", dest="work_height_px", type=int, metavar="PX",
        help="rows to paint only: the painting is enlarged along the source's edges",
    )  # fmt: skip
    look.add_argument(
        "--side-by-side", action="store_true", help="source and painting in one picture"
    )
    look.add_argument(
        "--steady", action="store_true",
        help="smooth the painting over time along the source's motion; takes time and OpenCV",
    )  # fmt: skip
    look.add_argument(
        "--statistics", choices=STATISTICS,
        help="what the normalisation is held at: a few frames of each shot, or every frame's own, "
        "as for images; default: %(default)s",
    )  # fmt: skip
    parser.add_argument(
        "--realtime", action="store_true",
        help="play one film at its own pace as a camera would, dropping frames where the machine "
        "is too slow: into a window, or with -o into a file",
    )  # fmt: skip
    parser.add_argument(
        "--virtual-camera", action="store_true",
        help="show a camera's or a --realtime film's painting to other programs as a camera; "
        "needs the extra live",
    )  # fmt: skip
    parser.add_argument("--start", dest="start_s", type=float, metavar="S", help="from this second")
    parser.add_argument("--end", dest="end_s", type=float, metavar="S", help="up to this second")
    parser.add_argument("--device", choices=DEVICES, default="auto", help="default: %(default)s")
    parser.add_argument(
        "--engine", choices=ENGINES, default="auto",
        help="default: the fastest that works here; openvino is an extra",
    )  # fmt: skip
    parser.add_argument(
        "--tile", dest="tile_px", type=int, metavar="PX",
        help="paint larger pictures in tiles of this side: less memory, more time, equal pixels",
    )  # fmt: skip
    out = parser.add_argument_group("output")
    out.add_argument("--crf", type=float, metavar="N", help="quality, lower is better")
    out.add_argument(
        "--preset", metavar="P", help="ultrafast to veryslow; default: veryfast for H.264"
    )
    out.add_argument("--codec", metavar="C", help="FFmpeg's name of the encoder; default: H.264")
    out.add_argument("--audio", choices=("copy", "aac", "none"), help="default: %(default)s")
    out.add_argument("--overwrite", action="store_true", help="replace existing outputs")
    out.add_argument("--report", type=Path, metavar="FILE.json", help="figures of the run")
    bulk = parser.add_argument_group("bulk: films in pieces, kept when the run is stopped")
    bulk.add_argument(
        "--workers", dest="num_workers", type=int, metavar="N", help="paint N pieces at a time"
    )
    bulk.add_argument(
        "--ray", metavar="ADDRESS",
        help="paint on this Ray cluster, or one that is started here: local; needs the extra ray",
    )  # fmt: skip
    parser.add_argument("--demo", action="store_true", help="paint a clip made here; needs no file")
    parser.add_argument("--verbose", action="store_true", help="more messages, tracebacks")
    parameters = inspect.signature(stylize).parameters
    parser.set_defaults(**{name: parameters[name].default for name in _OPTIONS})
    return parser


def _check(parser: Parser, args: argparse.Namespace) -> None:
    """Refuse what is wrong with the call itself, before anything is opened."""
    if bool(args.inputs) == args.demo:
        parser.error(
            "give at least one INPUT, or --demo" if not args.demo else "--demo has no INPUT"
        )
    if not 0 <= args.strength <= 1:
        parser.error(f"--strength is {args.strength}, expected 0 to 1")
    for name, pixels in (
        ("--height", args.height_px),
        ("--work-height", args.work_height_px),
        ("--tile", args.tile_px),
    ):
        if pixels is not None and pixels < MIN_SIDE_PX:
            parser.error(f"{name} is {pixels}, expected at least {MIN_SIDE_PX}")
    for name, value in (("--start", args.start_s), ("--end", args.end_s)):
        if value is not None and not 0 <= value < math.inf:
            parser.error(f"{name} is {value}, expected seconds from the beginning")
    if args.end_s is not None and args.end_s <= (args.start_s or 0):
        parser.error(f"--end {args.end_s} is not after --start {args.start_s or 0}")
    cameras = [text for text in args.inputs if _CAMERA.fullmatch(text)]
    if cameras and len(args.inputs) > 1:
        parser.error(f"{cameras[0]} cannot be mixed with other inputs")
    if cameras and args.start_s:
        parser.error("--start has no meaning for a camera; --end says how long to record")
    if args.virtual_camera and not (args.realtime or cameras):
        parser.error("--virtual-camera goes with camera:0 or --realtime")
    if args.realtime:
        films = [text for text in args.inputs if not _CAMERA.fullmatch(text)]
        if len(args.inputs) != 1 or not films:
            found = ", ".join(args.inputs) or "--demo"
            parser.error(f"--realtime plays exactly one film, not {found}")
        if Path(films[0]).is_dir() or is_sequence(Path(films[0])) or is_image(Path(films[0])):
            parser.error(f"--realtime plays a film; {films[0]} is none")
    if args.num_workers is not None and args.num_workers < 1:
        parser.error(f"--workers is {args.num_workers}, expected at least 1")
    if (args.num_workers or args.ray) and (args.demo or args.realtime or cameras):
        parser.error("--workers and --ray paint films from files, not --demo or live")
    if (args.num_workers or args.ray) and args.steady:
        parser.error("--steady looks back at the frame before; it goes without --workers and --ray")
    if args.model is None:
        try:
            moments = find_models(args.style)
        except ValueError as error:
            parser.error(str(error))
        if len(moments) > 1 and (cameras or args.realtime):
            parser.error(f"--style {args.style} follows the clock of a film; live there is none")


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
        live = [text for text in args.inputs if args.realtime or _CAMERA.fullmatch(text)]
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
            "%s: %d frames at %.1f fps in %s; slowest stage: %s",
            report.target or label,
            report.frames,
            report.fps,
            duration(report.wall_s),
            report.bottleneck,
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
        reader = VideoReader(job.source, args.start_s, args.end_s, args.height_px)
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
            source = RealtimeFile(text, *excerpt_s, args.height_px)
        else:
            source = Camera(int(text.removeprefix("camera:")), args.height_px, args.end_s)
        target = Path(args.output) if args.output else None
        if target is not None:
            check(source, target, args.overwrite)
        progress = Progress(self.console, text)
        names = [self.name, *(name for name in list_styles() if name != self.name)]
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
        return finish, Encoding(args.codec, args.crf, args.preset, args.audio, args.overwrite)

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
