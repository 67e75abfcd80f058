"""The occlusion maps that `classify` writes: contents, paths, and what they do not overwrite."""

import io

import numpy as np
import pytest
from PIL import Image

from lesion_lens.web.heat_maps import COLOUR, MapFolder, draw_map
from lesion_lens.web.occlusion_map import STRONGEST
from lesion_lens.web.outputs import UnwritableFile
from tests.support.drawings import draw_lesion, encode


def test_patches_are_drawn_over_the_image_as_strong_as_the_page_shows_them():
    preview = encode(Image.new("RGB", (140, 70), "white"), "JPEG")
    occlusion = np.zeros((7, 7), np.float32)
    occlusion[0, 6], occlusion[3, 3], occlusion[6, 0] = 0.4, 0.2, 0.01
    with Image.open(io.BytesIO(draw_map(preview, occlusion))) as drawn:
        assert (drawn.format, drawn.size) == ("PNG", (140, 70))
        pixels = np.asarray(drawn.convert("RGB"))
    strong = 255 + STRONGEST * (np.array(COLOUR) - 255)
    half = 255 + STRONGEST / 2 * (np.array(COLOUR) - 255)
    assert np.abs(pixels[0:10, 120:140] - strong).max() < 1
    assert np.abs(pixels[30:40, 60:80] - half).max() < 1
    assert (pixels[60:70, 0:20] == 255).all()  # not noticeable
    assert (pixels != 255).any(axis=2).sum() == 2 * 10 * 20


def test_every_classified_image_has_its_map(run, folder, tmp_path):
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert run(folder, "--heat-maps", tmp_path / "maps").exit_code == 0
    made = tmp_path / "maps"
    maps = {path.relative_to(made).as_posix() for path in made.rglob("*.*")}
    assert maps == {"b.PNG.png", "inner/c.jpg.png"}
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_images_of_one_name_in_two_folders_have_two_maps(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    maps = MapFolder(tmp_path / "maps", [tmp_path / "a", tmp_path / "b"])
    assert maps.path_of(f"{tmp_path}/a/x.png") == tmp_path / "maps" / "a" / "x.png.png"
    assert maps.path_of(f"{tmp_path}/b/x.png") == tmp_path / "maps" / "b" / "x.png.png"
    assert maps.path_of(f"{tmp_path}/b/../b/x.jpg") == tmp_path / "maps" / "b" / "x.jpg.png"


@pytest.mark.parametrize("place", ["images", "images/maps", "link"])
def test_a_folder_among_the_images_is_refused(run, folder, tmp_path, place):
    (tmp_path / "link").symlink_to(folder)
    done = run(folder, "--heat-maps", tmp_path / place)
    assert done.exit_code == 2
    assert "--heat-maps names a folder among the images." in done.stderr
    assert not (folder / "maps").exists()


def test_a_file_is_no_folder(run, folder, tmp_path):
    (tmp_path / "maps").touch()
    done = run(folder, "--heat-maps", tmp_path / "maps")
    assert done.exit_code == 2
    assert "--heat-maps names a file. Choose a folder." in done.stderr


def test_only_maps_are_overwritten(run, tmp_path):
    picture = encode(draw_lesion())
    for name in ("x.png", "x.png.png"):
        (tmp_path / name).write_bytes(picture)
    done = run(tmp_path / "x.png", tmp_path / "x.png.png", "--heat-maps", tmp_path)
    assert done.exit_code == 2
    assert "x.png.png already exists and is not a heat map." in done.stderr
    assert (tmp_path / "x.png.png").read_bytes() == picture

    maps = MapFolder(tmp_path / "maps", [tmp_path / "x.png"])
    heat_map = draw_map(encode(draw_lesion(), "JPEG"), np.zeros((7, 7), np.float32))
    for _ in range(2):
        maps.write(str(tmp_path / "x.png"), heat_map)
    (tmp_path / "maps" / "x.png.png").write_bytes(b"mine")
    with pytest.raises(UnwritableFile, match="is not a heat map"):
        maps.write(str(tmp_path / "x.png"), heat_map)
