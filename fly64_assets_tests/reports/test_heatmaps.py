"""Pictures of local scores: the same bytes for the same data, small, and on one scale."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest
from scipy import ndimage

from fly64_assets.errors import InputError
from fly64_assets.pipeline.assets.heatmaps import _maps as maps_of_comparison
from fly64_assets.pipeline.io_manager import StoredInput
from fly64_assets.pipeline.records import Record
from fly64_assets.pipeline.store import Store
from fly64_assets.ptychography.data001.npz import read_npz, write_npz
from fly64_assets.ptychography.scoring.comparison import Area, read_csv, score, write_csv
from fly64_assets.reports.figures.comparison import LocalMap, MapStyle, heatmap_plot
from fly64_assets.study.conditions import Condition
from fly64_assets.study.model import MODELS, ScoringSettings
from fly64_assets.study.products import product

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
    heatmap_plot(path, _truth(), _maps(), STYLE, title="1000 photons, dense, test")
    return path


def test_equal_data_gives_equal_bytes_without_time_or_program(picture, tmp_path):
    path, again = picture, tmp_path / "second.png"
    heatmap_plot(again, _truth(), _maps(), STYLE, title="1000 photons, dense, test")
    assert path.read_bytes() == again.read_bytes()
    assert not {b"tEXt", b"iTXt", b"zTXt", b"tIME"} & set(_chunks(path.read_bytes()))
    other = tmp_path / "other.png"
    heatmap_plot(other, _truth(), _maps(0.2), STYLE, title="1000 photons, dense, test")
    assert other.read_bytes() != path.read_bytes()


def test_a_picture_is_small(picture):
    assert picture.stat().st_size < 300_000


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


@pytest.fixture
def comparison(tmp_path) -> StoredInput:
    """A comparison's files in a store: three noisy models, scored as the real ones are."""
    item, condition = product("test", "comparison"), Condition(1000, "dense")
    given = StoredInput(Record(item, condition, 1, "", "", None), Store(tmp_path))
    given.path("scoring.json").parent.mkdir(parents=True)
    given.path("scoring.json").write_text(json.dumps({"status": "success"}), "utf-8")
    noise = np.random.default_rng(5).normal(size=(2, 96, 200))
    phase, amplitude = ndimage.gaussian_filter(noise, (0, 3, 3)) * 3
    truth = (1 + 0.3 * amplitude) * np.exp(1j * phase)
    rng = np.random.default_rng(6)
    models = {
        model: truth + 0.05 * (m + 1) * (rng.normal(size=truth.shape) + 0j)
        for m, model in enumerate(MODELS)
    }
    settings = ScoringSettings(
        ms_ssim_sigma_px=1.0,
        frc_threshold=0.5,
        stitch_crop_px=20,
        max_shift_px=4.0,
        reference_ms_ssim=False,
    )
    table = score(models, truth, Area(16, 80, 20, 180), settings, dict.fromkeys(MODELS, 1.0))
    write_csv(given.path("comparison_metrics.csv"), table.rows)
    aligned = {model: detail.aligned.object for model, detail in table.models.items()}
    stored = {**aligned, "truth": table.truth, "area": table.area.as_array()}
    write_npz(given.path("reconstructions_aligned.npz"), stored)
    return given


def test_maps_are_of_the_arrays_that_were_scored(comparison):
    truth, ms_ssim, correlations = maps_of_comparison(comparison, MODELS, 1.0)
    arrays = read_npz(comparison.path("reconstructions_aligned.npz"))
    np.testing.assert_allclose(truth["amplitude"], np.abs(arrays["truth"]), rtol=1e-6)
    means = [ms_ssim[model, "amplitude"].values.mean() for model in MODELS]
    assert means == sorted(means, reverse=True) and means[0] > 0.8
    for model in MODELS:
        for component in ("phase", "amplitude"):
            assert ms_ssim[model, component].values.shape == (64, 160)
            assert correlations[model, component].values.max() <= 1
    rows = read_csv(comparison.path("comparison_metrics.csv"))
    shown = {row.model: f"MS-SSIM {row.phase:.3f}" for row in rows if row.metric == "ms_ssim"}
    assert {model: ms_ssim[model, "phase"].score for model in MODELS} == shown
    expected = np.corrcoef(np.abs(arrays["Baseline"]).ravel(), np.abs(arrays["truth"]).ravel())
    assert correlations["Baseline", "amplitude"].score == f"correlation {expected[0, 1]:.3f}"


def test_a_failed_comparison_has_no_picture_and_says_why(comparison):
    failed = {"status": "failed", "error": "ValueError: constant"}
    comparison.path("scoring.json").write_text(json.dumps(failed), "utf-8")
    with pytest.raises(InputError, match="scoring.json: status: .*ValueError: constant"):
        maps_of_comparison(comparison, MODELS, 1.0)
