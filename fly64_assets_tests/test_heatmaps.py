"""Pictures of local scores: the same bytes for the same data, small, and on one scale."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from scipy import ndimage

from fly64_assets.pictures import LocalMap, MapStyle, heatmap_plot
from fly64_assets.study import MODELS

STYLE = MapStyle("local MS-SSIM", (0.0, 1.0), "cividis")


def _truth() -> dict[str, np.ndarray]:
    noise = np.random.default_rng(3).normal(size=(2, 64, 164))
    smooth = ndimage.gaussian_filter(noise, (0, 2, 2))
    return {"phase": smooth[0], "amplitude": smooth[1]}


def _maps(shift: float = 0.0) -> dict[tuple[str, str], LocalMap]:
    ramp = np.linspace(0, 1 - shift, 64 * 164).reshape(64, 164) + shift
    return {
        (model, component): LocalMap(ramp, "MS-SSIM 0.900")
        for model in MODELS
        for component in ("phase", "amplitude")
    }


def _chunks(png: bytes) -> list[bytes]:
    names, at = [], 8
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        names.append(png[at + 4 : at + 8])
        at += 12 + length
    return names


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "first.png"
    preview = heatmap_plot(path, _truth(), _maps(), STYLE, title="1000 photons, dense, test")
    return path, preview


def test_equal_data_gives_equal_bytes_without_time_or_program(picture, tmp_path):
    path, preview = picture
    again = tmp_path / "second.png"
    heatmap_plot(again, _truth(), _maps(), STYLE, title="1000 photons, dense, test")
    assert path.read_bytes() == again.read_bytes()
    assert not {b"tEXt", b"iTXt", b"zTXt", b"tIME"} & set(_chunks(path.read_bytes()))
    other = tmp_path / "other.png"
    heatmap_plot(other, _truth(), _maps(0.2), STYLE, title="1000 photons, dense, test")
    assert other.read_bytes() != path.read_bytes()


def test_a_picture_is_small_and_its_preview_fits_the_event_log(picture):
    path, preview = picture
    assert path.stat().st_size < 300_000
    assert preview.startswith(b"\xff\xd8\xff") and len(preview) < 75_000


def test_the_scale_is_the_style_s_and_not_the_data_s(tmp_path, picture):
    """A value has one colour whatever else the picture holds."""
    import matplotlib.image

    flat = {key: LocalMap(np.full((64, 164), 0.5), "x") for key in _maps()}
    pixels = []
    for name, extra in (("low", 0.0), ("high", 1.0)):
        maps = dict(flat)
        maps["PtyChi", "amplitude"] = LocalMap(np.full((64, 164), extra), "x")
        path = tmp_path / f"{name}.png"
        heatmap_plot(path, _truth(), maps, STYLE, title="t")
        pixels.append(matplotlib.image.imread(path))
    expected = np.array(matplotlib.colormaps["cividis"](0.5))[:3]
    for image in pixels:
        close = np.abs(image[..., :3] - expected).max(axis=-1) < 0.01
        assert close.mean() > 0.15
