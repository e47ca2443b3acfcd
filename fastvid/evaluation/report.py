"""Measured figures for people and for machines: tables, and what they were measured with."""

import datetime
import importlib.metadata
import os
import platform
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fastvid.evaluation.table import Table, format_table, number, write_markdown
from fastvid.runtime.report import versions, write_json

# What is compared between networks, and averaged over clips.
SPANS = ("gap1", "gap4", "gap10", "first")
HEADLINES = (
    *(f"stability_ratio_{span}" for span in SPANS),
    "e_warp_gap1",
    "style_distance",
    "style_distance_source",
    "content_distance",
)
PACKAGES = ("opencv-python", "opencv-python-headless", "torch")


def provenance() -> dict[str, Any]:
    """Package versions and the machine, for a report that has to be made again."""
    found = versions()
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {"versions": found, "machine": machine()}


def machine() -> dict[str, str | int | float | None]:
    """Processor, cores this process may use, memory and system; no host name, no user."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory_gib = None
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        memory_gib = round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1)
    return {
        "cpu": _cpu_name(),
        "cores": cores,
        "memory_gib": memory_gib,
        "system": f"{platform.system()} {platform.machine()}",
    }


def machine_line() -> str:
    """The machine in one line, for the head of a page of tables."""
    found = machine()
    return f"{found['cpu']}, {found['cores']} cores, {found['memory_gib']} GiB, {found['system']}"


class Run:
    """When a report was made and what that took: all in it that a second run has different."""

    def __init__(self) -> None:
        self._began = datetime.datetime.now(datetime.UTC)
        self._clock = time.monotonic()

    def as_dict(self) -> dict[str, Any]:
        """`began_utc` and `wall_s` so far."""
        return {
            "began_utc": self._began.isoformat(timespec="seconds"),
            "wall_s": round(time.monotonic() - self._clock, 1),
        }


def write_report(
    report: Mapping[str, Any],
    tables: Sequence[Table],
    run: Run,
    json_path: Path | None,
    markdown_path: Path | None,
) -> None:
    """The figures with their provenance as JSON, the tables as Markdown, where asked for.

    Only the key `run` differs between two runs that measure the same.
    """
    if markdown_path is not None:
        write_markdown(markdown_path, machine_line(), tables)
    if json_path is not None:
        write_json(json_path, {**report, **provenance(), "run": run.as_dict()})


def clip_table(scores: Mapping[str, Any]) -> str:
    """The scores of one clip as `metrics.clip_scores` names them, gaps side by side."""
    spans = [name.removeprefix("e_warp_") for name in scores
             if name.startswith(("e_warp_gap", "e_warp_first"))]  # fmt: skip
    labels = [f"gap {s.removeprefix('gap')}" if s != "first" else "first frame" for s in spans]
    rows = [
        [title, *[number(scores[f"{key}_{span}"], digits) for span in spans]]
        for title, key, digits in (
            ("stability_ratio", "stability_ratio", 2),
            ("e_warp", "e_warp", 4),
            ("e_warp of the source", "e_warp_source", 4),
            ("e_warp_luma", "e_warp_luma", 4),
            ("trusted share", "mask_coverage", 2),
            ("pairs", "pairs", 0),
        )
    ]
    lines = [format_table(["", *labels], rows), ""]
    if scores.get("style_distance") is not None:
        share = scores["style_distance"] / scores["style_distance_source"]
        lines.append(
            f"style_distance    {number(scores['style_distance'])}  "
            f"({share:.0%} of the source's {number(scores['style_distance_source'])})"
        )
    for key in ("content_distance", "content_distance_relu4_2"):
        if scores.get(key) is not None:
            lines.append(f"{key:<17} {number(scores[key])}")
    lines.append(
        f"e_stab            {number(scores['e_stab_reconet'], 4)} (ReCoNet)  "
        f"{number(scores['e_stab_huang'], 4)} (Huang)"
    )
    skipped = sum(int(scores[f"pairs_skipped_{span}"]) for span in spans)
    if skipped:
        lines.append(f"{skipped} pairs left out: less than 1 % of the frame could be followed")
    if scores["not_stylized"]:
        lines.append(f"NOT STYLISED: {scores['not_stylized']}")
    return "\n".join(lines)


def mean_scores(clips: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Means over the clips of the `HEADLINES` that all of them have."""
    names = [name for name in HEADLINES if all(clip.get(name) is not None for clip in clips)]
    return {name: sum(clip[name] for clip in clips) / len(clips) for name in names}


def headline_table(title: str, rows: Mapping[str, Mapping[str, Any]]) -> Table:
    """Headline figures, one row each: of a clip, or means."""
    header = ["", "style_distance (source)", "content_distance", "e_warp",
              "stability_ratio, gap 1 / 4 / 10 / first frame"]  # fmt: skip
    body = []
    for name, scores in rows.items():
        style = number(scores.get("style_distance"))
        if scores.get("style_distance_source") is not None:
            style += f" ({number(scores['style_distance_source'])})"
        ratios = " / ".join(number(scores.get(f"stability_ratio_{span}"), 2) for span in SPANS)
        error = number(scores.get("e_warp_gap1"), 4)
        body.append([name, style, number(scores.get("content_distance")), error, ratios])
    return Table(title, header, body)


def probe_table(title: str, columns: Mapping[str, Mapping[str, float]]) -> Table:
    """Probe scores, one column for each network and way of running it."""
    names = list(next(iter(columns.values())))
    rows = [[name, *[number(column[name]) for column in columns.values()]] for name in names]
    return Table(title, ["probe", *columns], rows)


def _cpu_name() -> str:
    """What the processor calls itself; the architecture where it does not say."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
