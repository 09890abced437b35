"""Statistics of scores: they are the table's scores, paired, honest about what they cover."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from scipy.ndimage import gaussian_filter

from fly64_assets.errors import InputError
from fly64_assets.ptychography.scoring.comparison import score
from fly64_assets.ptychography.scoring.statistics import (
    COLUMNS,
    NAMES,
    Statistic,
    judge,
    read_statistics,
    to_csv,
    with_mean,
)
from fly64_assets.study.model import StatisticsSettings
from fly64_assets_tests.ptychography.test_scoring import AREA, SETTINGS, TRUTH, noisy

CHOSEN = StatisticsSettings(block_px=20, resamples=200, confidence=0.95)
BLURRED = gaussian_filter(TRUTH.real, 2) + 1j * gaussian_filter(TRUTH.imag, 2)
PAIRS = [("PtychoPINN", "Baseline"), ("PtychoPINN", "PtyChi")]


def made(reconstructions, pairs=(), seed=456, settings=CHOSEN) -> dict[tuple, Statistic]:
    judged = judge(reconstructions, TRUTH, AREA, SETTINGS, settings, seed=seed)
    return by_key(judged.statistics(pairs))


def by_key(found) -> dict[tuple, Statistic]:
    return {(row.model, row.reference, row.metric, row.component): row for row in found}


@pytest.fixture(scope="module")
def rows() -> dict[tuple, Statistic]:
    once = {"PtychoPINN": [noisy(0.1)], "Baseline": [BLURRED], "PtyChi": [noisy(0.1, 1)]}
    return made(once, PAIRS)


def test_values_are_those_of_the_score_table(rows):
    objects = {"PtychoPINN": noisy(0.1), "Baseline": BLURRED, "PtyChi": noisy(0.1, 1)}
    table = score(objects, TRUTH, AREA, SETTINGS, dict.fromkeys(objects, 1.0))
    by_name = {(row.model, row.metric): row for row in table.rows}
    for (model, reference, metric, component), row in rows.items():
        value = getattr(by_name[model, metric], component)
        if reference:
            value -= getattr(by_name[reference, metric], component)
        assert row.value == pytest.approx(value, abs=1e-9), (model, reference, metric)
    assert len(rows) == len(NAMES) * 2 * (3 + 2)


def test_one_training_has_its_value_as_mean_inside_its_interval(rows):
    for row in rows.values():
        assert row.mean == row.value and row.replicates == 1, row
        if row.metric == "frc50":
            assert (row.low, row.high, row.covers) == (None, None, "nothing")
        else:
            assert row.low < row.value < row.high and row.covers == "space"


def test_a_large_difference_is_settled_and_a_chance_one_is_not(rows):
    far = rows["PtychoPINN", "Baseline", "ms_ssim", "phase"]
    near = rows["PtychoPINN", "PtyChi", "ms_ssim", "phase"]
    assert far.settled and abs(far.value) > 0.02
    assert near.settled is False and abs(near.value) < 0.01
    assert rows["PtychoPINN", "", "ms_ssim", "phase"].settled is None


def test_pairing_makes_a_difference_surer_than_its_parts():
    """Two arms that err in the same places."""
    common = noisy(0.15)
    worse = TRUTH + 1.1 * (common - TRUTH)
    found = made({"PtychoPINN": [common], "Baseline": [worse]}, [("PtychoPINN", "Baseline")])
    difference = found["PtychoPINN", "Baseline", "mae", "phase"]
    alone = found["PtychoPINN", "", "mae", "phase"]
    assert difference.settled
    assert difference.high - difference.low < 0.4 * (alone.high - alone.low)


def test_several_trainings_widen_the_interval_and_move_the_mean():
    trainings = [noisy(0.1), noisy(0.2, 1), noisy(0.15, 2)]
    once = made({"PtychoPINN": trainings[:1]})["PtychoPINN", "", "ms_ssim", "phase"]
    thrice = made({"PtychoPINN": trainings})["PtychoPINN", "", "ms_ssim", "phase"]
    alone = [made({"PtychoPINN": [t]})["PtychoPINN", "", "ms_ssim", "phase"] for t in trainings]
    assert thrice.value == once.value
    assert thrice.mean == pytest.approx(np.mean([row.value for row in alone]))
    assert thrice.high - thrice.low > 1.5 * (once.high - once.low)
    assert (thrice.covers, thrice.replicates) == ("space and training seed", 3)


def test_global_numbers_have_students_interval_over_trainings_alone():
    trainings = [noisy(0.3), noisy(0.5, 1), noisy(0.4, 2)]
    found = made({"PtychoPINN": trainings, "PtyChi": [noisy(0.3, 5)]}, [("PtychoPINN", "PtyChi")])
    row = found["PtychoPINN", "", "frc50", "phase"]
    values = [
        made({"PtychoPINN": [t]})["PtychoPINN", "", "frc50", "phase"].value for t in trainings
    ]
    expected = stats.t.interval(0.95, 2, loc=np.mean(values), scale=stats.sem(values))
    assert (row.low, row.high) == pytest.approx(expected)
    assert row.covers == "training seed"
    difference = found["PtychoPINN", "PtyChi", "frc50", "phase"]
    other = found["PtyChi", "", "frc50", "phase"]
    assert difference.high - difference.low == pytest.approx(row.high - row.low)
    assert difference.mean == pytest.approx(row.mean - other.value)
    assert other.covers == "nothing"


def test_two_trained_arms_are_compared_as_welch_does():
    first, second = [noisy(0.3), noisy(0.5, 1), noisy(0.4, 2)], [noisy(0.6, 3), noisy(0.9, 4)]
    found = made({"PtychoPINN": first, "Baseline": second}, [("PtychoPINN", "Baseline")])

    def values(images):
        return [made({"PtyChi": [i]})["PtyChi", "", "frc50", "phase"].value for i in images]

    expected = stats.ttest_ind(values(first), values(second), equal_var=False)
    ends = expected.confidence_interval(0.95)
    row = found["PtychoPINN", "Baseline", "frc50", "phase"]
    assert (row.low, row.high) == pytest.approx((ends.low, ends.high))


def halves(trainings, seed=456, settings=CHOSEN):
    """Judged twice, as two halves of a scan whose blocks are drawn independently."""
    return {
        split: judge(images, TRUTH, AREA, SETTINGS, settings, seed=seed + number)
        for number, (split, images) in enumerate(trainings.items())
    }


def test_the_mean_over_the_halves_is_surer_than_each_of_them():
    """Halves that err alike and independently: an interval narrower by the root of two."""
    once = {"PtychoPINN": [noisy(0.1)], "Baseline": [noisy(0.15, 1)]}
    again = {"PtychoPINN": [noisy(0.1, 2)], "Baseline": [noisy(0.15, 3)]}
    settings = StatisticsSettings(block_px=20, resamples=1000, confidence=0.95)
    found = with_mean(halves({"train": once, "test": again}, settings=settings), PAIRS[:1])
    assert list(found) == ["train", "test", "both"]
    train, test, both = (by_key(rows) for rows in found.values())
    for key, row in both.items():
        parts = train[key], test[key]
        assert row.value == pytest.approx(sum(part.value for part in parts) / 2)
        assert row.mean == pytest.approx(sum(part.mean for part in parts) / 2)
        if row.metric in ("ms_ssim", "mae"):
            width = np.hypot(*(part.high - part.low for part in parts)) / 2
            assert row.high - row.low == pytest.approx(width, rel=0.15), key
            assert row.covers == "space"
    assert both["PtychoPINN", "", "frc50", "phase"].low is None


def test_a_half_by_itself_is_not_changed_by_the_mean():
    judged = halves({"train": {"PtychoPINN": [noisy(0.1)]}, "test": {"PtychoPINN": [BLURRED]}})
    found = with_mean(judged, [])
    assert found["train"] == judged["train"].statistics([])
    assert by_key(found["test"]) == made({"PtychoPINN": [BLURRED]}, seed=457)


def test_what_a_training_does_to_both_halves_does_not_cancel_in_their_mean():
    """One network reconstructs both: its seed is drawn once, and the mean is no surer for it."""
    trainings = {"PtychoPINN": [noisy(0.1), noisy(0.3, 1), noisy(0.2, 2)]}
    found = with_mean(halves({"train": trainings, "test": trainings}), [])
    train, test, both = (by_key(rows)["PtychoPINN", "", "mae", "phase"] for rows in found.values())
    assert both.mean == pytest.approx(train.mean) == pytest.approx(test.mean)
    assert both.high - both.low > 0.9 * (train.high - train.low)
    assert both.covers == "space and training seed"


def test_the_same_seed_gives_the_same_and_the_order_of_arms_matters_not():
    one = made({"PtychoPINN": [noisy(0.1)], "PtyChi": [BLURRED]})
    again = made({"PtychoPINN": [noisy(0.1)], "PtyChi": [BLURRED]})
    alone = made({"PtyChi": [BLURRED]})
    assert one == again
    assert {key: row for key, row in one.items() if key[0] == "PtyChi"} == alone
    assert made({"PtyChi": [BLURRED]}, seed=457) != alone


def test_images_equal_to_the_truth_have_statistics_too():
    found = made(
        {"PtychoPINN": [TRUTH.copy()], "PtyChi": [TRUTH.copy()]}, [("PtychoPINN", "PtyChi")]
    )
    both = found["PtychoPINN", "PtyChi", "psnr_strict", "amplitude"]
    assert (both.low, both.value, both.high, both.settled) == (0, 0, 0, False)
    row = found["PtychoPINN", "", "ms_ssim", "phase"]
    assert (row.low, row.mean, row.high) == pytest.approx((1.0, 1.0, 1.0), abs=1e-6)


def test_the_csv_is_read_back_and_refuses_what_it_is_not(rows, tmp_path: Path):
    path = tmp_path / "comparison_statistics.csv"
    path.write_text(to_csv({"test": rows.values()}), "utf-8")
    ((split, back),) = read_statistics(path).items()
    assert split == "test" and len(back) == len(rows)
    for one, other in zip(rows.values(), back, strict=True):
        assert (one.settled, one.covers, one.replicates) == (
            other.settled,
            other.covers,
            other.replicates,
        )
        assert other.value == pytest.approx(one.value, abs=5e-7)
    text = path.read_text("utf-8")
    for broken, key in (
        (text.replace("settled", "sure"), "header"),
        (text.replace(",space,", ",space,,", 1), "line 2"),
        (
            text.replace("test,PtychoPINN,,mae,amplitude,0", "test,PtychoPINN,,mae,amplitude,x"),
            "line 2",
        ),
    ):
        path.write_text(broken, "utf-8")
        with pytest.raises(InputError, match=key):
            read_statistics(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_statistics(tmp_path / "none.csv")
    assert text.splitlines()[0] == ",".join(COLUMNS)


def test_without_contrast_in_one_half_that_half_and_the_mean_are_blank(tmp_path: Path):
    flat = np.exp(1j * np.angle(TRUTH)).astype(np.complex64)
    of_halves = {
        split: judge(
            {"PtychoPINN": [noisy(0.1), noisy(0.1, 1)], "PtyChi": [noisy(0.1, 2)]},
            *(truth, AREA, SETTINGS, CHOSEN),
            seed=1,
        )
        for split, truth in (("train", flat), ("test", TRUTH))
    }
    path = tmp_path / "statistics.csv"
    path.write_text(to_csv(with_mean(of_halves, [("PtychoPINN", "PtyChi")])), "utf-8")
    for split, rows in read_statistics(path).items():
        for row in rows:
            metric = row.metric.removesuffix("_strict")
            defined = split == "test" or row.component == "phase" or metric in ("mae", "mse")
            assert (row.value is not None) == (row.mean is not None) == defined, row
            if not defined:
                assert (row.low, row.high, row.settled, row.covers) == (None, None, None, "nothing")
                assert row.replicates == (2 if row.model == "PtychoPINN" else 1)
