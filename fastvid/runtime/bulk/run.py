"""From jobs and options to painted films: what `infer.py --workers` and `--ray` call."""

from collections.abc import Callable, Generator, Sequence

from fastvid.runtime.bulk.crew import Alone, Crew
from fastvid.runtime.bulk.film import BulkFilm
from fastvid.runtime.bulk.piece import Network
from fastvid.runtime.bulk.processes import Processes
from fastvid.runtime.bulk.schedule import OnProgress, Schedule
from fastvid.runtime.film import Statistics
from fastvid.runtime.finish import Finish
from fastvid.runtime.jobs import Job
from fastvid.runtime.pipeline import Encoding
from fastvid.runtime.stylizer import Stylizer
from fastvid.video import OUTPUT_FILM_SUFFIXES
from fastvid.video.stills import is_image, is_sequence


def is_film(job: Job) -> bool:
    """Whether a job makes a film of a film: images are painted without pieces."""
    is_images = is_sequence(job.source) or is_image(job.source)
    return not is_images and job.target.suffix.lower() in OUTPUT_FILM_SUFFIXES


def paint_films(
    jobs: Sequence[Job],
    network: Network,
    load: Callable[[], Stylizer],
    finish: Finish,
    encoding: Encoding,
    excerpt_s: tuple[float | None, float | None] = (None, None),
    height_px: int | None = None,
    statistics: Statistics = "shot",
    num_workers: int | None = None,
    ray: str | None = None,
    on_progress: OnProgress | None = None,
) -> Generator[BulkFilm, None, None]:
    """Paint films in pieces; yields each one when its `result` can be taken.

    The frames of a film do not depend on the workers, nor on how often it was begun. Close the
    iterator to stop early; pieces that are there are kept for the next run.

    Args:
        jobs: films, see `is_film`.
        network: what paints, as asked for.
        load: gives it, loaded here.
        finish: what happens to a painted frame.
        encoding: how the films are written.
        excerpt_s: start and end of what is painted, seconds.
        height_px: rows to paint and to write, None for the sources'.
        statistics: see `stylize`.
        num_workers: pieces at a time; 1 paints in this process. None: as many as Ray has
            processors.
        ray: address of a Ray cluster or `local`; None is this machine without Ray.
        on_progress: called with (frames painted, frames expected or None, a remark).

    Raises:
        RuntimeError: Ray is asked for and not installed, or does not answer.
        KeyboardInterrupt: Ctrl-C.
    """
    crew: Crew
    if ray is not None:
        from fastvid.runtime.bulk.on_ray import OnRay

        crew = OnRay(ray, num_workers, on_gpu=network.device != "cpu")
    else:
        crew = Alone() if num_workers in (None, 1) else Processes(num_workers)
    films = [
        BulkFilm(job, network, load, finish, encoding, excerpt_s, height_px, statistics)
        for job in jobs
    ]
    yield from Schedule(films, crew, on_progress).run()
