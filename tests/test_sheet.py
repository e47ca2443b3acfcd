import numpy as np
import pytest
from onnx_nets import invert_net, write

from fastvid.__main__ import main
from fastvid.evaluation.picture import PAPER
from fastvid.evaluation.sheet import caption, draw_sheet
from fastvid.image import read_image


def test_cells_stand_in_rows():
    red, blue = (np.full((30, 60, 3), color, np.uint8) for color in ((255, 0, 0), (0, 0, 255)))
    cells = [([red, blue], "a", ""), ([blue, blue], "b", ""), ([red, red], "c", "")]
    sheet = draw_sheet(cells, columns=2)
    width = (1600 - 8) // 2
    assert sheet.shape[1] == 1600
    assert (sheet[:100, :width] == red[0, 0]).all()  # the first cell's first picture
    assert (sheet[width // 2 + 10 : width // 2 + 100, :width] == blue[0, 0]).all()
    assert (sheet[:100, width + 8 :] == blue[0, 0]).all()
    second = sheet[len(sheet) // 2 + 10 :]
    assert (second[:100, :width] == red[0, 0]).all()
    assert (second[:, width + 8 :] == PAPER[0]).all()  # there is no fourth cell


def test_caption_says_what_the_card_knows():
    card = {"title": "Udnie", "artist": "Francis Picabia (1879-1953)", "year": "1913"}
    assert caption("udnie", card) == ("udnie", "Francis Picabia, Udnie, 1913")
    assert caption("mine", {}) == ("mine", "")


def test_command_paints_every_style(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "styles"
    folder.mkdir()
    for name in ("a", "b", "a.small"):
        write(folder / f"{name}.onnx", invert_net())
    monkeypatch.setattr("fastvid.evaluation.sheet.STYLES_DIR", folder)
    target = tmp_path / "sheet.png"
    command = ["sheet", str(target), "scene:pan", "--columns", "2"]
    styles = ["--styles", *(str(folder / f"{name}.onnx") for name in "ab")]
    assert main([*command, *styles]) == 0
    assert capsys.readouterr().out.strip() == str(target)
    sheet = read_image(target)
    assert sheet.shape[0] > sheet.shape[1] / 2 * 9 / 16 * 2  # two rows of wide pictures
    assert main([*command, *styles]) == 1  # nothing is overwritten unasked
    assert "--overwrite" in capsys.readouterr().err


def test_without_styles_it_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("fastvid.evaluation.sheet.STYLES_DIR", tmp_path)
    assert main(["sheet", str(tmp_path / "x.png")]) == 1
    assert "no style is installed" in capsys.readouterr().err


@pytest.mark.parametrize("columns", ["0", "-1"])
def test_columns_are_checked(tmp_path, columns, capsys):
    assert main(["sheet", str(tmp_path / "x.png"), "--columns", columns]) == 1
    assert "expected at least 1" in capsys.readouterr().err
