"""`fastvid download` against a server on this machine."""

import hashlib
import http.server
import threading
from pathlib import Path

import numpy as np
import pytest

from fastvid import download
from fastvid.__main__ import main
from fastvid.image import read_image, write_image
from fastvid.perceptual import vgg

CONFIGS = Path(__file__).parent.parent / "configs" / "style"
WEIGHTS = bytes(range(256)) * 1000


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves `server.files`; of a file in `server.cut`, only so many bytes once."""

    def do_GET(self):
        name = self.path.rpartition("/")[2]
        self.server.asked.append((name, self.headers["Range"], self.headers["User-Agent"]))
        data = self.server.files.get(name)
        if data is None:
            self.send_error(404)
            return
        start = 0
        if self.headers["Range"]:
            start = int(self.headers["Range"].removeprefix("bytes=").rstrip("-"))
        if start >= len(data):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        self.wfile.write(data[start : self.server.cut.pop(name, None)])

    def log_message(self, *_words):
        """Nothing to the terminal."""


@pytest.fixture
def server(monkeypatch):
    """A server that answers for both hosts."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.files, server.cut, server.asked = {}, {}, []
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/"
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        monkeypatch.setattr(download, "COMMONS_URL", url)
        monkeypatch.setattr(vgg, "TORCHVISION_URL", url)
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def weights(server, monkeypatch):
    """Name of a VGG file that the server has, published with its checksum."""
    name = f"vgg19-{hashlib.sha256(WEIGHTS).hexdigest()[:8]}.pth"
    monkeypatch.setitem(vgg.TORCHVISION_FILES, "vgg19", name)
    server.files[name] = WEIGHTS
    return name


def picture(folder, size=(520, 600)):
    """Bytes of a JPEG file."""
    path = folder / "picture.jpg"
    image = np.zeros((*size, 3), np.uint8)
    image[:, ::2] = (20, 90, 200)
    write_image(path, image)
    data = path.read_bytes()
    path.unlink()
    return data


def commons_name(style):
    return download.painting_item(style, Path()).url.rpartition("/")[2]


def get(root, *words):
    return main(["download", *words, "--root", str(root)])


def test_every_painting_is_saved_where_its_style_looks_for_it():
    for style in download.PAINTINGS:
        assert f"image: {style}.jpg\n" in (CONFIGS / f"{style}.yaml").read_text()


def test_names_are_quoted_and_the_width_is_asked_for():
    url = download.painting_item("wheat_field_with_cypresses", Path("data")).url
    assert url.startswith("https://commons.wikimedia.org/wiki/Special:FilePath/Wheat-Field-")
    assert url.endswith("%281889%29-Vincent-van-Gogh-Met.jpg?width=1280")


def test_the_published_weights_are_found_where_they_are_saved(tmp_path):
    for arch in download.WEIGHTS:
        item = download.weights_item(arch, tmp_path)
        item.target.parent.mkdir(exist_ok=True)
        item.target.touch()
        assert item.target in vgg.candidate_files(arch, tmp_path)
        assert item.sha256_prefix in item.url


def test_a_painting_and_weights_arrive_and_their_paths_are_printed(
    tmp_path, server, weights, capsys
):
    server.files[commons_name("starry_night")] = picture(tmp_path)
    assert get(tmp_path, "style=starry_night", "weights=vgg19") == 0
    painting, file = tmp_path / "styles" / "starry_night.jpg", tmp_path / "weights" / weights
    assert capsys.readouterr().out.split() == [str(painting), str(file)]
    assert read_image(painting).shape == (520, 600, 3)
    assert file.read_bytes() == WEIGHTS
    assert all("fastvid/" in agent for _, _, agent in server.asked)


def test_what_is_there_is_kept_and_not_asked_for(tmp_path, server, weights, capsys):
    file = tmp_path / "weights" / weights
    file.parent.mkdir()
    file.write_bytes(b"mine")
    assert get(tmp_path, "weights=vgg19") == 0
    found = capsys.readouterr()
    assert "there already, kept" in found.err
    assert found.out.strip() == str(file)
    assert file.read_bytes() == b"mine"
    assert not server.asked


def test_weights_with_a_wrong_checksum_leave_nothing_behind(tmp_path, server, weights, capsys):
    server.files[weights] = WEIGHTS[::-1]
    assert get(tmp_path, "weights=vgg19") == 1
    error = capsys.readouterr().err
    assert "SHA-256 begins with" in error
    assert error.count("\n") == 1
    assert not list((tmp_path / "weights").iterdir())


def test_weights_go_on_after_a_broken_connection(tmp_path, server, weights, capsys):
    server.cut[weights] = 100_000
    assert get(tmp_path, "weights=vgg19") == 1
    error = capsys.readouterr().err
    assert "broke after 100000 of 256000 bytes" in error
    assert "goes on from here" in error
    assert not (tmp_path / "weights" / weights).exists()
    assert get(tmp_path, "weights=vgg19") == 0
    assert server.asked[-1][1] == "bytes=100000-"
    assert [p.name for p in (tmp_path / "weights").iterdir()] == [weights]
    assert (tmp_path / "weights" / weights).read_bytes() == WEIGHTS


def test_a_part_that_is_complete_already_is_taken(tmp_path, weights):
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / f".{weights}.part").write_bytes(WEIGHTS)
    assert get(tmp_path, "weights=vgg19") == 0
    assert (tmp_path / "weights" / weights).read_bytes() == WEIGHTS


def test_a_painting_on_a_broken_connection_leaves_nothing_behind(tmp_path, server, capsys):
    name = commons_name("the_scream")
    server.files[name], server.cut[name] = picture(tmp_path), 1000
    assert get(tmp_path, "style=the_scream") == 1
    error = capsys.readouterr().err
    assert "broke after 1000 of" in error
    assert "style.image=PATH" in error
    assert not list((tmp_path / "styles").iterdir())


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"<html>an error page</html>", "no image"), ((300, 600), "600x300, expected at least 512")],
)
def test_what_is_no_large_picture_is_refused(tmp_path, server, capsys, data, message):
    content = data if isinstance(data, bytes) else picture(tmp_path, data)
    server.files[commons_name("the_scream")] = content
    assert get(tmp_path, "style=the_scream") == 1
    assert message in capsys.readouterr().err
    assert not list((tmp_path / "styles").iterdir())


def test_a_missing_file_is_said_and_the_rest_still_comes(tmp_path, server, capsys):
    server.files[commons_name("the_great_wave")] = picture(tmp_path)
    assert get(tmp_path, "style=the_scream", "style=the_great_wave") == 1
    assert "HTTP 404 Not Found" in capsys.readouterr().err
    assert [p.name for p in (tmp_path / "styles").iterdir()] == ["the_great_wave.jpg"]


def test_offline_is_one_line_with_the_remedy(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(vgg, "TORCHVISION_URL", "http://127.0.0.1:9/")  # nobody listens
    assert get(tmp_path, "weights=vgg16") == 1
    error = capsys.readouterr().err
    assert "connection refused" in error
    assert "or set FASTVID_DATA" in error
    assert error.count("\n") == 1
    assert not list((tmp_path / "weights").iterdir())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "style=all"),
        (["starry_night"], "expected style=NAME"),
        (["style=udnie"], "by hand"),
        (["weights=resnet"], "choices: vgg19, vgg16, all"),
    ],
)
def test_wrong_words_exit_with_two_before_anything_is_fetched(
    tmp_path, server, capsys, words, message
):
    with pytest.raises(SystemExit, match="2"):
        get(tmp_path, *words)
    assert message in capsys.readouterr().err
    assert not server.asked
    assert not list(tmp_path.iterdir())


def test_all_stands_for_every_file_once(tmp_path):
    words = ["style=starry_night", "style=all", "weights=all"]
    items = download._items(words, tmp_path, pytest.fail)
    assert len(items) == len(download.PAINTINGS) + len(download.WEIGHTS)
    assert items[0].target == tmp_path / "styles" / "starry_night.jpg"
