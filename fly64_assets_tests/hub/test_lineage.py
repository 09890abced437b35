"""``fly64 lineage``: the chain down to the specimen, and every way in which it can be broken."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from dagster import AssetKey

from fly64_assets.cli.lineage_command import lineage
from fly64_assets.hub.lineage import Match, seeds_of, trace
from fly64_assets.hub.lineage_homes import home_of
from fly64_assets.hub.lineage_store import owner_of
from fly64_assets.pipeline.process import utc_now
from fly64_assets.ptychography.data001.dataset import read_dataset
from fly64_assets.ptychography.data001.metadata import is_extension_of
from fly64_assets.ptychography.data001.npz import read_npz, write_npz
from fly64_assets.study.conditions import Condition
from fly64_assets.study.hashing import sha256_of
from fly64_assets.study.model import SPLITS
from fly64_assets.study.products import PRODUCTS, product
from fly64_assets_tests.traced_store import AT, lay_out_hub, make_store, write_own_specimen

VIEW = "data/phase_d/dose_1000/dense/train.npz"
METRICS = "data/phase_d/dose_1000/dense/train_metrics.json"
DATASET = "data/phase_c/dose_1000/patched_train.npz"
SPECIMEN = "data/specimen/specimen.npz"


@pytest.fixture(scope="module")
def made_once(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("traced"))


@pytest.fixture
def made(made_once, tmp_path):
    """A copy that the test may change."""
    return made_once.copy_to(tmp_path / "traced")


def chain_of(path: Path):
    with home_of(path) as found:
        return trace(*found)


def states(chain) -> dict[str, Match]:
    return {file.path: file.state for step in chain.steps for file in step.files}


def call(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(lineage, [str(a) for a in arguments])
    return done.exit_code, done.output


def test_a_store_file_is_traced_to_the_specimen_with_all_that_decided_it(made_once):
    code, text = call(made_once.path(VIEW), "--json")
    content = json.loads(text)
    assert code == 0 and content["holds"] is True
    assert (content["file"], content["kind"]) == (VIEW, "store")
    view, dataset, specimen = content["steps"]
    assert [step["asset"] for step in content["steps"]] == [
        "train/overlap_view",
        "train/dataset",
        "specimen",
    ]
    assert [step["partition"] for step in content["steps"]] == ["1000|dense", "1000", None]
    assert [step["inputs"] for step in content["steps"]] == [[1], [2], []]
    for step in content["steps"]:
        for file in step["files"]:
            assert file["state"] == "matches"
            assert file["sha256"] == sha256_of(made_once.path(file["path"]))
        assert len(step["data_version"]) == len(step["study_sha256"]) == 64
        assert step["versions"]["numpy"] and step["code_version"] and step["exact"]
        assert step["generated_at"].endswith("Z")
    assert [file["path"] for file in view["files"]] == [VIEW]
    assert view["seeds"] == {
        "seeds.grouping": 123,
        "seeds.simulation": 42,
        "seeds.subsampling": 456,
    }
    assert dataset["seeds"] == {"seed": 42}
    assert specimen["source"]["source"] == "mine.npz"
    assert specimen["source"]["sha256"] == sha256_of(made_once.folder / "mine.npz")
    assert specimen["source"]["licence"] == "unknown"


def test_the_tree_shows_each_step_below_its_consumer(made_once):
    code, text = call(made_once.path(VIEW))
    lines = text.splitlines()
    assert code == 0
    assert lines[0] == VIEW
    depths = [
        (len(line) - len(line.lstrip()), line.split()[0]) for line in lines if " made " in line
    ]
    assert depths == [(2, "train/overlap_view"), (4, "train/dataset"), (6, "specimen")]
    assert lines[-1] == "3 steps; files: 3 matches"
    assert any("seeds: seed 42" in line for line in lines)
    assert any("read from mine.npz" in line and "licence unknown" in line for line in lines)


def _rewrite(path: Path, **changes: np.ndarray) -> None:
    write_npz(path, {**read_npz(path), **changes})


def test_a_record_that_the_one_beside_its_files_contradicts_is_named(made):
    (beside,) = made.store.glob(".records/train/dataset/*.json")
    record = json.loads(beside.read_text())
    record["provenance"]["data_version"] = "0" * 64
    beside.write_text(json.dumps(record))
    code, text = call(made.path(VIEW))
    assert code == 1
    assert "train/dataset: its record and the one beside its files say different data" in text


@pytest.mark.parametrize("path", [VIEW, DATASET, SPECIMEN])
def test_an_altered_file_anywhere_in_the_chain_is_named(made, path):
    with made.path(path).open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\xff")
    assert states(chain_of(made.path(VIEW))) == {
        name: Match.ALTERED if name == path else Match.MATCHES for name in (VIEW, DATASET, SPECIMEN)
    }
    code, text = call(made.path(VIEW))
    assert code == 1
    assert f"ALTERED  {path}" in text
    assert text.splitlines()[-1] == "3 steps; files: 2 matches, 1 ALTERED"


def test_a_link_to_the_same_bytes_is_altered_and_a_pipe_is_never_opened(made, tmp_path):
    made.path(VIEW).rename(tmp_path / "outside")
    made.path(VIEW).symlink_to(tmp_path / "outside")
    made.path(DATASET).unlink()
    os.mkfifo(made.path(DATASET))
    found = states(chain_of(made.path(VIEW)))
    assert found == {VIEW: Match.ALTERED, DATASET: Match.ALTERED, SPECIMEN: Match.MATCHES}


@pytest.mark.parametrize("path", [VIEW, DATASET, SPECIMEN])
def test_a_file_that_is_gone_is_named_and_still_has_a_lineage(made, path):
    made.path(path).unlink()
    assert states(chain_of(made.path(VIEW)))[path] is Match.GONE
    assert call(made.path(VIEW))[0] == 1


def test_only_the_file_that_was_asked_for_counts_of_its_own_asset(made):
    made.path(METRICS).unlink()
    assert call(made.path(VIEW))[0] == 0
    assert call(made.path(METRICS))[0] == 1


def _wait_for_another_second() -> None:
    now = utc_now()
    while utc_now() == now:
        time.sleep(0.05)


@pytest.mark.long
def test_an_input_made_again_with_the_same_data_still_holds(made):
    consumed = sha256_of(made.path(DATASET))
    _wait_for_another_second()
    made.make("specimen", "datasets")
    chain = chain_of(made.path(VIEW))
    found = states(chain)
    assert found == {VIEW: Match.MATCHES, DATASET: Match.SAME_DATA, SPECIMEN: Match.SAME_DATA}
    (file,) = chain.steps[1].files
    assert file.sha256 == consumed != file.sha256_on_disk == sha256_of(made.path(DATASET))
    assert call(made.path(VIEW))[0] == 0
    made.make("views")
    assert set(states(chain_of(made.path(VIEW))).values()) == {Match.MATCHES}


@pytest.mark.long
def test_an_input_made_again_with_other_data_is_stale_and_shown_as_it_was_consumed(made):
    before = chain_of(made.path(VIEW)).steps[1].made
    made.write_study(seeds={"simulation": 43, "grouping": 123, "subsampling": 456})
    made.make("datasets")
    chain = chain_of(made.path(VIEW))
    assert states(chain) == {
        VIEW: Match.MATCHES,
        DATASET: Match.OTHER_DATA,
        SPECIMEN: Match.MATCHES,
    }
    consumed = chain.steps[1].made
    assert consumed == before, "the making that was consumed, not the latest"
    assert seeds_of(consumed.settings) == {"seed": 42}
    code, text = call(made.path(VIEW))
    assert code == 1 and f"made again: other data  {DATASET}" in text


@pytest.mark.long
def test_a_later_edit_of_what_was_made_again_is_an_alteration(made):
    _wait_for_another_second()
    made.make("datasets")
    coordinates = read_npz(made.path(DATASET), ["xcoords"])["xcoords"]
    _rewrite(made.path(DATASET), xcoords=coordinates + 1e-9)
    assert states(chain_of(made.path(VIEW)))[DATASET] is Match.ALTERED


@pytest.mark.long
def test_a_making_that_the_event_log_has_lost_is_shown_by_a_later_one_and_said_so(made):
    consumed = chain_of(made.path(VIEW)).steps[1]
    with made.opened() as (_, instance):
        instance.wipe_assets([AssetKey(["train", "dataset"])])
    code, output = call(made.path(VIEW))
    assert code == 2 and "train/dataset: (1000) has no record in the event log" in output
    _wait_for_another_second()
    made.make("datasets")
    step = chain_of(made.path(VIEW)).steps[1]
    assert not step.made.exact and consumed.made.exact
    assert step.made.files == consumed.made.files, "as the view's record says that it consumed"
    assert step.files[0].state is Match.SAME_DATA
    code, output = call(made.path(VIEW))
    assert code == 0 and "that making has no record of its own any more" in output


@pytest.mark.parametrize("item", PRODUCTS, ids=lambda item: item.name)
def test_every_file_of_the_catalogue_is_found_by_its_path(item):
    at = AT.restricted_to(item.per)
    for name in item.files:
        assert owner_of(f"{item.folder_of(at)}/{name}") == (item, at)
    assert owner_of(f"{item.folder_of(at)}/other.bin") is None
    assert owner_of(f"x/{item.folder_of(at)}/{item.files[0]}") is None


def test_a_file_that_belongs_to_nothing_is_bad_input(made, tmp_path):
    plain, text = tmp_path / "plain.npz", tmp_path / "notes.txt"
    write_npz(plain, {"a": np.zeros(3)})
    text.write_text("notes\n")
    odd = made.path("data/phase_c/dose_1000/other.npz")
    shutil.copyfile(plain, odd)
    unmade = made.path("data/phase_e/dose_1000/dense/Baseline/model.keras")
    unmade.parent.mkdir(parents=True)
    unmade.write_bytes(b"x")
    for path, reason in (
        (plain, "belongs to no store and no hub"),
        (text, "belongs to no store and no hub"),
        (tmp_path / "none.npz", "does not exist"),
        (tmp_path, "is a folder"),
        (odd, "no asset of the store owns a file of that name"),
        (odd.with_name("none.npz"), "does not exist, and no asset of the store owns"),
        (odd.parent, "is a folder"),
        (unmade, "no materialization of baseline_model (1000|dense) names it"),
        (unmade.with_name("history.csv"), "does not exist, and no materialization of baseline"),
        (made.results / "dagster" / "dagster.yaml", "belongs to no store and no hub"),
    ):
        code, output = call(path)
        assert code == 2, path
        (line,) = output.splitlines()
        assert line.startswith(f"error: {path}: ") and reason in line


def test_what_is_no_regular_file_is_said_to_be_none(made, tmp_path):
    for path in (tmp_path / "pipe.npz", made.path("data/pipe.npz")):
        os.mkfifo(path)
        code, output = call(path)
        problem = f"error: {path}: is no regular file; only files have a lineage; next: "
        assert code == 2 and output.startswith(problem) and output.count("\n") == 1
    assert "/dev/null: is no regular file" in call("/dev/null")[1]


def test_a_store_without_its_event_log_is_bad_input(made):
    (made.results / "dagster" / "dagster.yaml").unlink()
    code, output = call(made.path(VIEW))
    assert code == 2 and "there is no event log to read" in output


def test_a_foreign_file_shows_the_transformations_that_it_carries(made_once, tmp_path):
    shutil.copyfile(made_once.path(VIEW), tmp_path / "lent.npz")
    code, text = call(tmp_path / "lent.npz")
    lines = text.splitlines()
    assert code == 0
    assert lines[0] == "lent.npz"
    assert lines[1].startswith("  overlap_view ")
    assert f"from train/dataset/patched_train.npz {sha256_of(made_once.path(DATASET))[:12]}" in text
    assert any(line.startswith("    simulate ") for line in lines)
    assert f"from specimen/specimen.npz {sha256_of(made_once.path(SPECIMEN))[:12]}" in text
    content = json.loads(call(tmp_path / "lent.npz", "--json")[1])
    assert (
        content["transformations"] == read_dataset(made_once.path(VIEW)).metadata["transformations"]
    )


def _metadata(path: Path) -> dict:
    return json.loads(str(read_npz(path, ["_metadata"])["_metadata"][()]))


@pytest.mark.long
def test_a_users_specimen_keeps_its_own_records_and_every_dataset_says_where_it_came_from(
    made_once, tmp_path
):
    own = {
        "tool": "import",
        "version": "1",
        "time": "2026-01-01T00:00:00Z",
        "parameters": {"padded": 1},
        "inputs": {"scan.h5": "a" * 64},
    }
    study = made_once.copy_to(tmp_path / "own")
    carried = np.array(json.dumps({"transformations": [own]}))
    write_own_specimen(study.folder / "mine.npz", _metadata=carried)
    study.make("specimen", "datasets")
    described = _metadata(study.path(SPECIMEN))
    assert [record["tool"] for record in described["transformations"]] == ["import", "specimen"]
    assert is_extension_of([own], described["transformations"])
    sha256 = sha256_of(study.folder / "mine.npz")
    assert described["transformations"][-1]["inputs"] == {"mine.npz": sha256}
    metadata = read_dataset(study.path(DATASET)).metadata
    assert metadata["specimen"] == described["specimen"]
    assert metadata["specimen"]["sha256"] == sha256
    record = metadata["transformations"][0]
    assert record["tool"] == "simulate"
    assert record["inputs"]["specimen/specimen.npz"] == sha256_of(study.path(SPECIMEN))
    # The bytes of the source are others, the arrays are not: nothing downstream becomes stale.
    assert states(chain_of(study.path(VIEW)))[DATASET] is Match.SAME_DATA


@pytest.mark.long
@pytest.mark.parametrize("carried", ["no JSON", "[]", '{"transformations": [NaN]}', "{}"])
def test_metadata_of_a_specimen_that_is_no_provenance_is_left_alone(made, carried):
    write_own_specimen(made.folder / "mine.npz", _metadata=np.array(carried))
    made.make("specimen")
    records = _metadata(made.path(SPECIMEN))["transformations"]
    assert [record["tool"] for record in records] == ["specimen"]


@pytest.fixture
def hub(made_once, tmp_path):
    with made_once.opened() as (context, instance):
        lay_out_hub(context, instance, tmp_path / "hub")
    return tmp_path / "hub"


def test_a_hub_file_is_traced_without_any_store(hub):
    content = json.loads(call(hub / VIEW, "--json")[1])
    assert (content["file"], content["kind"], content["holds"]) == (VIEW, "hub", True)
    assert [step["asset"] for step in content["steps"]] == [
        "train/overlap_view",
        "train/dataset",
        "specimen",
    ]
    assert content["files"] == {"matches": 2, "not kept here": 1}
    assert content["steps"][1]["seeds"] == {"seed": 42}
    assert content["steps"][2]["source"]["source"] == "mine.npz"


def test_hub_and_store_say_the_same_of_every_step(hub, made_once):
    told = ("asset", "partition", "generated_at", "data_version", "code_version", "fingerprint")
    more = ("study", "study_sha256", "git_commit", "seeds", "versions", "exact", "inputs")
    there, here = (
        json.loads(call(folder / METRICS, "--json")[1])["steps"]
        for folder in (made_once.store, hub)
    )
    assert [[step[key] for key in told + more] for step in there] == [
        [step[key] for key in told + more] for step in here
    ]


def test_an_altered_or_missing_file_of_a_hub_is_named(hub):
    with (hub / DATASET).open("ab") as file:
        file.write(b"\0")
    assert states(chain_of(hub / VIEW))[DATASET] is Match.ALTERED
    assert call(hub / VIEW)[0] == 1
    (hub / DATASET).unlink()
    assert states(chain_of(hub / VIEW))[DATASET] is Match.GONE
    assert call(hub / VIEW)[0] == 1


@pytest.mark.long
def test_a_hub_may_hold_a_later_making_of_the_same_data(made, tmp_path):
    _wait_for_another_second()
    made.make("datasets")
    hub = tmp_path / "later"
    with made.opened() as (context, instance):
        lay_out_hub(context, instance, hub)
    chain = chain_of(hub / VIEW)
    assert states(chain)[DATASET] is Match.SAME_DATA
    assert not chain.steps[1].made.exact, "the crate describes the making that the hub holds"
    assert call(hub / VIEW)[0] == 0


def test_the_files_of_a_hub_that_no_asset_made_say_who_writes_them(hub):
    code, output = call(hub / "ro-crate-metadata.json")
    (line,) = output.splitlines()
    assert code == 2 and "fly64 export writes it" in line
    assert "names the sources of every other file of the hub" in line
    report = hub / "analysis" / "verification_report.json"
    report.parent.mkdir(exist_ok=True)
    for there in (False, True):
        if there:
            report.write_text("{}\n")
        code, output = call(report)
        (line,) = output.splitlines()
        assert code == 2 and "fly64 verify writes it" in line
        assert "ro-crate-metadata.json names the sources" in line
        assert ("does not exist" in line) is not there
    code, output = call(hub / "none.csv")
    assert code == 2 and "does not exist, and no action of the hub's ro-crate" in output


@pytest.mark.parametrize("spoilt", ["nested", "settings", "sha256", "result", "long"])
def test_a_hostile_crate_is_one_line_of_error(hub, spoilt):
    crate = hub / "ro-crate-metadata.json"
    document = json.loads(crate.read_text("utf-8"))
    graph = {entity["@id"]: entity for entity in document["@graph"]}
    view = graph["#make/train/overlap_view"]
    if spoilt == "settings":
        for entity in document["@graph"]:
            if entity.get("propertyID") == "settings":
                entity["value"] = "[]"
    elif spoilt == "sha256":
        graph[VIEW]["sha256"] = 5
    elif spoilt == "result":
        view["result"] = [{"@id": 5}]
    elif spoilt == "long":
        _lengthen(document, graph)
    text = json.dumps(document) + "\n"
    crate.write_text("[" * 200_000 if spoilt == "nested" else text, "utf-8")
    code, output = call(hub / VIEW)
    (line,) = output.splitlines()
    problem = "more than 100 steps" if spoilt == "long" else "cannot be followed"
    assert code == 2 and line.startswith("error: ") and problem in line


def _lengthen(document: dict, graph: dict) -> None:
    """The view is said to be made by 1000 steps in a row, each of its own name."""
    action = "#make/train/overlap_view"
    (given,) = (
        reference["@id"]
        for reference in graph[action]["additionalProperty"]
        if graph[reference["@id"]]["propertyID"] == "input_data_version"
    )
    for number in range(1000):
        changed = [r for r in graph[action]["additionalProperty"] if r["@id"] != given]
        own = {"@id": f"{given}/{number}", "name": f"step{number + 1}"}
        document["@graph"] += [
            {**graph[action], "@id": f"#make/step{number}"}
            | {"additionalProperty": [*changed, {"@id": own["@id"]}]},
            {**graph[given], **own},
        ]
    graph[given]["name"] = "step0"


def test_a_broken_crate_and_an_unlisted_file_are_bad_input(hub):
    (hub / "more.csv").write_text("a\n")
    assert call(hub / "more.csv")[0] == 2
    crate = hub / "ro-crate-metadata.json"
    document = json.loads(crate.read_text("utf-8"))
    for entity in document["@graph"]:
        if entity["@type"] == "CreateAction":
            del entity["result"]
    for text in (json.dumps(document) + "\n", "{", '{"@graph": [1]}\n'):
        crate.write_text(text, "utf-8")
        code, output = call(hub / VIEW)
        assert code == 2 and len(output.splitlines()) == 1


def test_provenance_grows_from_the_specimen_to_the_comparison(finished, monkeypatch):
    """One real run: each phase's list continues its input's and names it by sha256."""
    context = finished.context(monkeypatch)

    def path(*key: str, file: str) -> Path:
        item = product(*key)
        return context.store.path(item, AT.restricted_to(item.per), file)

    for split in SPLITS:
        simulated = _metadata(path(split, "dataset", file=f"patched_{split}.npz"))
        view = _metadata(path(split, "overlap_view", file=f"{split}.npz"))
        solved = _metadata(path(split, "ptychi_reconstruction", file="ptychi_reconstruction.npz"))
        scored = json.loads(path(split, "comparison", file="scoring.json").read_text("utf-8"))
        lists = [content["transformations"] for content in (simulated, view)]
        ends = [solved["transformations"], scored["transformations"]]
        if split == "train":
            for key in ("pinn_model", "baseline_model"):
                bundle = json.loads(path(key, file="bundle.json").read_text("utf-8"))
                ends.append(bundle["transformations"])
        assert is_extension_of(lists[0], lists[1])
        assert all(is_extension_of(lists[1], end) and len(end) == 3 for end in ends)
        assert {end[-1]["tool"] for end in ends} <= {"reconstruct", "compare", "train"}
        named = scored["transformations"][-1]["inputs"]
        assert named["pinn_model/bundle.json"] == sha256_of(path("pinn_model", file="bundle.json"))
        assert named[f"{split}/overlap_view/{split}.npz"] == sha256_of(
            path(split, "overlap_view", file=f"{split}.npz")
        )
        assert {name.rpartition("/")[0] for name in named} == {
            "pinn_model",
            "baseline_model",
            f"{split}/overlap_view",
            f"{split}/ptychi_reconstruction",
        }
    chain = chain_of(path("metrics_delta_summary", file="metrics_delta_summary.json"))
    assert chain.holds and set(states(chain).values()) == {Match.MATCHES}
    assert {step.made.asset for step in chain.steps} >= {
        "specimen",
        "train/dataset",
        "test/overlap_view",
        "pinn_model",
        "test/comparison",
    }
    assert chain.steps[-1].made.asset != chain.steps[0].made.asset == "metrics_delta_summary"


def test_conditions_of_other_doses_and_views_are_told_apart():
    found = owner_of("data/phase_d/dose_500/sparse/test_metrics.json")
    assert found == (product("test", "overlap_view"), Condition(500, "sparse"))
    assert owner_of("data/phase_d/dose_x/sparse/test_metrics.json") is None
