"""`fastvid download`: paintings and VGG weights into the data root.

Weights come from where torchvision publishes them, under their published names; the digits in the
name are the beginning of the file's SHA-256, which is checked. An interrupted download goes on
where it stopped.

Paintings are photographs of works in the public domain on Wikimedia Commons, fetched through
Special:FilePath, which knows a file by its name alone. `PAINTINGS` lists the works whose name there
is known with certainty (each agrees with the directory that Commons derives from the MD5 of a name
in the addresses that others publish). What arrives is a picture that Commons scaled and encoded for
the occasion, so it has no fixed checksum: it must decode as an image of at least 512 px a side.
1280 px is one of the widths that Commons serves; it refuses widths of one's own choice since 2026.

Not run yet: the two hosts themselves. The code is tested against a server on this machine only.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import logging
import os
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from tqdm import tqdm

from fastvid.runtime.console import FAILURE, log_error

log = logging.getLogger(__name__)

COMMONS_URL = "https://commons.wikimedia.org/wiki/Special:FilePath/"
COMMONS_WIDTH_PX = 1280
MIN_SIDE_PX = 512
# Style (as in configs/style): file on Wikimedia Commons.
PAINTINGS = {
    "composition_vii": "Vassily_Kandinsky,_1913_-_Composition_7.jpg",
    "impression_sunrise": "Monet_-_Impression,_Sunrise.jpg",
    "poppy_field": "Claude_Monet_037.jpg",
    "portrait_of_jean_metzinger": "Robert_Delaunay,_1906,_Portrait_de_Metzinger,_oil_on_canvas,"
    "_55_x_43_cm,_DSC08255.jpg",
    "starry_night": "Van_Gogh_-_Starry_Night_-_Google_Art_Project.jpg",
    "the_great_wave": "Tsunami_by_hokusai_19th_century.jpg",
    "the_night_cafe": "Vincent_Willem_van_Gogh_076.jpg",
    "the_scream": "Edvard_Munch,_1893,_The_Scream,_oil,_tempera_and_pastel_on_cardboard,"
    "_91_x_73_cm,_National_Gallery_of_Norway.jpg",
    "wheat_field_with_cypresses": "Wheat-Field-with-Cypresses-(1889)-Vincent-van-Gogh-Met.jpg",
    "woman_with_a_hat": "Matisse-Woman-with-a-Hat.jpg",
}
WEIGHTS = ("vgg19", "vgg16")
TIMEOUT_S = 30
CHUNK_BYTES = 1 << 16


@dataclass(frozen=True)
class Item:
    """One file to fetch.

    Attributes:
        url: where from.
        target: where to.
        sha256_prefix: first digits of its SHA-256, empty where none is known.
        remedy: what else can be done, for the error.
    """

    url: str
    target: Path
    sha256_prefix: str
    remedy: str


def painting_item(style: str, root: Path) -> Item:
    """The painting of a style in `PAINTINGS`, to `<root>/styles/<style>.jpg`."""
    name = urllib.parse.quote(PAINTINGS[style])
    target = root / "styles" / f"{style}.jpg"
    remedy = f"put a picture of it at {target}, or name one with style.image=PATH"
    return Item(f"{COMMONS_URL}{name}?width={COMMONS_WIDTH_PX}", target, "", remedy)


def weights_item(arch: str, root: Path) -> Item:
    """Torchvision's weights of `vgg19` or `vgg16`, to `<root>/weights`."""
    from fastvid.perceptual import vgg  # takes torch along, which paintings do without

    name = vgg.TORCHVISION_FILES[arch]
    target = root / "weights" / name
    remedy = (
        f"fetch it elsewhere and put it at {target}, or set FASTVID_DATA to a folder that "
        "has weights/"
    )
    prefix = name.removesuffix(".pth").split("-")[1]
    return Item(vgg.TORCHVISION_URL + name, target, prefix, remedy)


def download(item: Item) -> bool:
    """Fetch one file unless it is there; returns whether it was fetched.

    The file appears under its name when it is complete and has passed its check. A part of a file
    with a known checksum stays as a hidden file when the connection breaks, and is gone on with.

    Raises:
        RuntimeError: no connection, no such file, a broken connection, a full disk, or not what
            was expected; one line that ends with the remedy.
    """
    target = item.target
    if target.exists():
        return False
    draft = target.with_name(f".{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _receive(item.url, draft, resume=bool(item.sha256_prefix))
    except (OSError, http.client.HTTPException) as error:
        kept = item.sha256_prefix and draft.exists() and draft.stat().st_size
        if not kept:
            draft.unlink(missing_ok=True)
        again = "; the same command goes on from here" if kept else ""
        raise RuntimeError(
            f"{target.name}: {item.url} cannot be fetched ({_reason(error)}){again}; {item.remedy}"
        ) from None
    except BaseException:  # Ctrl-C
        if not item.sha256_prefix:
            draft.unlink(missing_ok=True)
        raise
    fault = _fault(draft, item.sha256_prefix)
    if fault:
        draft.unlink()
        raise RuntimeError(f"{target.name}: {item.url} gave {fault}; {item.remedy}")
    os.replace(draft, target)
    return True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `fastvid download`."""
    parser.add_argument(
        "what",
        nargs="*",
        metavar="style=NAME|weights=NAME",
        help=f"paintings: style=all, or any of {', '.join(PAINTINGS)}; "
        f"VGG: weights=all, or any of {', '.join(WEIGHTS)} (each about half a GB)",
    )
    parser.add_argument(
        "--root",
        type=Path,
        metavar="DIR",
        default=Path(os.environ.get("FASTVID_DATA", "data")),
        help="data root that gets styles/ and weights/; default: FASTVID_DATA, else data",
    )
    parser.set_defaults(usage_error=parser.error)


def run(args: argparse.Namespace) -> int:
    """`fastvid download`: paths of the files, new or there already, on stdout; the exit code.

    What cannot be fetched is said in one line each, and the rest still comes.
    """
    items = _items(args.what, args.root, args.usage_error)
    failures = 0
    for item in items:
        try:
            fetched = download(item)
        except RuntimeError as error:
            log_error(error)
            failures += 1
            continue
        if fetched:
            log.info("%s: %.1f MiB", item.target, item.target.stat().st_size / 2**20)
        else:
            log.info("%s: there already, kept", item.target)
        sys.stdout.write(f"{item.target}\n")
        sys.stdout.flush()
    return FAILURE if failures else 0


def _items(words: Sequence[str], root: Path, usage_error: Callable[[str], object]) -> list[Item]:
    """What the words of the command ask for, each file once."""
    choices = {"style": tuple(PAINTINGS), "weights": WEIGHTS}
    makers = {"style": painting_item, "weights": weights_item}
    wanted: dict[tuple[str, str], None] = {}
    for word in words:
        kind, _, name = word.partition("=")
        if kind not in choices:
            usage_error(f"expected style=NAME or weights=NAME, found {word!r}")
        if name != "all" and name not in choices[kind]:
            by_hand = f"; put any picture into {root / 'styles'} by hand, or train with "
            by_hand += "style.image=PATH"
            usage_error(
                f"{word}: cannot be downloaded; choices: {', '.join(choices[kind])}, all"
                f"{by_hand if kind == 'style' else ''}"
            )
        for choice in choices[kind] if name == "all" else (name,):
            wanted[kind, choice] = None
    if not wanted:
        usage_error("say what: style=NAME, style=all, weights=vgg19, weights=vgg16, weights=all")
    return [makers[kind](name, root) for kind, name in wanted]


def _receive(url: str, draft: Path, resume: bool) -> None:
    """The body of `url` into `draft`, behind what is there already if `resume`.

    Raises:
        OSError, http.client.HTTPException: if not all of it came.
    """
    have = draft.stat().st_size if resume and draft.exists() else 0
    # Wikimedia turns away programs that do not say what they are.
    headers = {"User-Agent": f"fastvid/{version('fastvid')} (neural style transfer; urllib)"}
    if have:
        headers["Range"] = f"bytes={have}-"
    try:
        response = urllib.request.urlopen(
            urllib.request.Request(url, headers=headers), timeout=TIMEOUT_S
        )
    except urllib.error.HTTPError as error:
        error.close()
        if have and error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return  # all of it is here; the checksum has the last word
        raise
    with response:
        if response.status != http.HTTPStatus.PARTIAL_CONTENT:
            have = 0
        length = response.headers.get("Content-Length")
        total = have + int(length) if length else None
        with (
            draft.open("ab" if have else "wb") as file,
            tqdm(
                total=total, initial=have, desc=draft.name[1:-5], unit="B", unit_scale=True,
                file=sys.stderr, disable=None, leave=False,
            ) as bar,
        ):  # fmt: skip
            while chunk := response.read(CHUNK_BYTES):
                file.write(chunk)
                have += len(chunk)
                bar.update(len(chunk))
    if total is not None and have != total:
        raise ConnectionError(f"the connection broke after {have} of {total} bytes")


def _fault(path: Path, sha256_prefix: str) -> str:
    """What is wrong with a complete file, empty if nothing."""
    if sha256_prefix:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest.startswith(sha256_prefix):
            return ""
        return f"a file whose SHA-256 begins with {digest[:8]}, expected {sha256_prefix}"
    from fastvid.image import read_image

    try:
        rows, columns = read_image(path).shape[:2]
    except RuntimeError:
        return "something that is no image"
    if min(rows, columns) < MIN_SIDE_PX:
        return f"an image of {columns}x{rows}, expected at least {MIN_SIDE_PX} px a side"
    return ""


def _reason(error: Exception) -> str:
    """Why a request failed, in a few words."""
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP {error.code} {error.reason}"
    if isinstance(error, urllib.error.URLError):
        cause = error.reason
        return str(getattr(cause, "strerror", None) or cause).lower()
    return str(error) or type(error).__name__
