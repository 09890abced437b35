"""The RO-Crate of a hub: what it says, that it is the same twice, and that no edit goes unseen."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import socket
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from fly64_assets.hub.ro_crate import MEDIA_TYPES, describe
from fly64_assets.rules.ro_crate import crate_problems
from fly64_assets.study.hashing import sha256_of
from fly64_assets.study.products import PRODUCTS, product
from fly64_assets.study.specimen_origins import FOLDER, ORIGINS, origin_in, specimen_origin
from fly64_assets_tests.traced_store import STUDY, lay_out_hub, make_store

CRATE = "ro-crate-metadata.json"
VIEW = "data/phase_d/dose_1000/dense/train.npz"
DATASET = "data/phase_c/dose_1000/patched_train.npz"
SPDX = "https://spdx.org/licenses/BSD-3-Clause"
Document = dict[str, Any]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("described"))


@pytest.fixture(scope="module")
def hub_once(made, tmp_path_factory):
    hub = tmp_path_factory.mktemp("hubs") / "hub"
    with made.opened() as (context, instance):
        lay_out_hub(context, instance, hub)
    return hub


@pytest.fixture
def hub(hub_once, tmp_path):
    shutil.copytree(hub_once, tmp_path / "hub")
    return tmp_path / "hub"


def read(hub: Path) -> Document:
    return json.loads((hub / CRATE).read_text("utf-8"))


def by_id(document: Document) -> dict[str, Document]:
    return {entity["@id"]: entity for entity in document["@graph"]}


def write(hub: Path, document: Document, *, seal: bool = True) -> None:
    """Write a crate; ``seal`` gives it the right digest of itself, as a forger would."""
    root = next((e for e in document["@graph"] if e.get("@id") == "./"), None)
    if seal and root is not None:
        root.pop("identifier", None)
        text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        root["identifier"] = f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
    (hub / CRATE).write_text(json.dumps(document, ensure_ascii=False) + "\n", "utf-8")


def stated(entities: dict[str, Document], action: str) -> dict[str, Any]:
    properties = (entities[item["@id"]] for item in entities[action]["additionalProperty"])
    return {item["name"]: item["value"] for item in properties}


def test_a_crate_is_valid_against_the_bundled_context_and_describes_every_file(hub):
    assert [*crate_problems(hub)] == []
    document = read(hub)
    bundled = json.loads((resources.files("rocrate") / "data/ro-crate.jsonld").read_text("utf-8"))
    assert document["@context"] == bundled["@id"]
    files = {path.relative_to(hub).as_posix() for path in hub.rglob("*") if path.is_file()}
    described = {e["@id"] for e in document["@graph"] if e["@type"] == "File"}
    assert described == files - {CRATE} and len(described) == 6
    for name in described:
        entity = by_id(document)[name]
        assert entity["sha256"] == sha256_of(hub / name)
        assert entity["contentSize"] == str((hub / name).stat().st_size)


def test_the_library_reads_the_crate(hub):
    from rocrate.rocrate import ROCrate

    crate = ROCrate(hub)
    assert {entity.id for entity in crate.data_entities} == {
        e["@id"] for e in read(hub)["@graph"] if e["@type"] == "File"
    }
    assert crate.root_dataset["name"] == "tiny: 1000 photons per exposure, dense view"
    assert len(crate.get_by_type("CreateAction")) == 5


def test_twice_the_same_bytes_and_no_time_but_the_records(made, hub, tmp_path):
    with made.opened() as (context, instance):
        records = lay_out_hub(context, instance, tmp_path / "again")
    assert (tmp_path / "again" / CRATE).read_bytes() == (hub / CRATE).read_bytes()
    times = {record.provenance.generated_at for record in records.values()}
    text = (hub / CRATE).read_text("utf-8")
    assert set(re.findall(r"\d{4}-\d\d-\d\dT[\d:.+]+Z?", text)) == times
    assert by_id(read(hub))["./"]["datePublished"] == max(times)


def test_no_host_no_absolute_path(made, hub):
    text = (hub / CRATE).read_text("utf-8")
    for name in (socket.gethostname(), str(made.folder), str(hub), str(Path.home())):
        assert name not in text


def test_an_action_says_what_it_made_of_what_with_which_settings(made, hub):
    entities = by_id(read(hub))
    with made.opened() as (context, instance):
        ledger = context.ledger(instance)
        item = product("train", "dataset")
        record = next(
            r
            for r in lay_out_hub(context, instance, hub.with_name("other")).values()
            if r.product is item
        )
        assert ledger.store.altered(record.provenance.files) is None
    action = entities["#make/train/dataset"]
    assert action["endTime"] == record.provenance.generated_at
    assert action["object"] == [{"@id": "#specimen"}]
    assert action["result"] == [{"@id": DATASET}]
    tools = {entities[i["@id"]]["name"]: entities[i["@id"]] for i in action["instrument"]}
    assert {n: e["softwareVersion"] for n, e in tools.items()} == dict(record.provenance.versions)
    said = stated(entities, "#make/train/dataset")
    assert said["fingerprint"] == record.provenance.fingerprint
    assert said["data_version"] == record.provenance.data_version
    assert said["code_version"] == record.provenance.code_version
    assert said["study_sha256"] == record.provenance.study_sha256
    assert said["seed"] == 42
    assert json.loads(said["settings"]) == record.provenance.settings
    given = record.provenance.inputs["specimen"]
    assert said["specimen"] == given.data_version
    consumed = entities["#make/train/dataset/input/specimen/specimen.npz"]
    assert consumed["value"] == next(iter(given.files.values()))
    assert consumed["about"] == {"@id": "#specimen"}


def test_a_users_specimen_has_a_name_a_sha256_and_no_licence_claimed(made, hub):
    entities = by_id(read(hub))
    source = entities["#specimen-source"]
    assert source["name"] == "mine.npz"
    assert source["sha256"] == sha256_of(made.folder / "mine.npz")
    assert source["license"] == {"@id": "#licence-unknown"}
    assert entities["#licence-unknown"]["name"] == "unknown"
    assert entities["./"]["license"] == {"@id": "#licence-unknown"}
    assert entities["#make/specimen"]["object"] == [{"@id": "#specimen-source"}]


@pytest.mark.long
def test_a_shipped_specimen_brings_its_origin_and_its_notice(made, tmp_path):
    shipped = made.copy_to(tmp_path / "shipped")
    shipped.write_study(specimen="labyrinth")
    shipped.make("specimen", "datasets", "views")
    with shipped.opened() as (context, instance):
        lay_out_hub(context, instance, tmp_path / "hub")
    assert [*crate_problems(tmp_path / "hub")] == []
    entities = by_id(read(tmp_path / "hub"))
    source = entities["#specimen-source"]
    assert source["name"] == "labyrinth.npz"
    assert source["sha256"] == sha256_of(FOLDER / "labyrinth.npz")
    assert "CNM Hard X-ray Nanoprobe" in source["description"]
    assert source["license"] == entities["./"]["license"] == {"@id": SPDX}
    assert entities[SPDX]["text"] == (FOLDER / "LICENSE.BSD-3-Clause.txt").read_text("utf-8")


@pytest.mark.parametrize("name", ORIGINS)
def test_a_shipped_specimen_is_known_by_its_bytes(name):
    sha256 = sha256_of(FOLDER / name)
    for renamed in (name, "renamed.npz"):
        found = specimen_origin(renamed, sha256)
        assert (found["shipped_as"], found["licence"]) == (name, "BSD-3-Clause")
    assert specimen_origin(name, "0" * 64)["licence"] == "unknown"


def test_a_specimen_given_by_a_path_is_named_by_its_file():
    settings = {"specimen": "../scans/mine.npz", "specimen_sha256": "0" * 64}
    assert origin_in(settings)["source"] == "mine.npz"
    assert origin_in({"specimen": "labyrinth", "specimen_sha256": "0" * 64})["source"] == (
        "labyrinth.npz"
    )
    assert origin_in({"dose": 1000}) is None


@pytest.mark.long
def test_a_specimen_given_by_a_path_leaves_no_path_in_the_crate(made, tmp_path):
    moved = made.copy_to(tmp_path / "moved")
    (tmp_path / "scans").mkdir()
    shutil.move(moved.folder / "mine.npz", tmp_path / "scans" / "mine.npz")
    moved.write_study(specimen=str(tmp_path / "scans" / "mine.npz"))
    moved.make("specimen", "datasets", "views")
    with moved.opened() as (context, instance):
        lay_out_hub(context, instance, tmp_path / "hub")
    assert [*crate_problems(tmp_path / "hub")] == []
    assert str(tmp_path) not in (tmp_path / "hub" / CRATE).read_text("utf-8")


@pytest.mark.parametrize(
    "item", [item for item in PRODUCTS if item.per != "study"], ids=lambda item: item.name
)
def test_every_file_of_a_hub_has_a_description_and_a_media_type(item):
    for name in item.files:
        assert describe(name) != "Output"
        assert Path(name).suffix in MEDIA_TYPES


def test_the_study_is_there_with_every_setting(hub):
    entities = by_id(read(hub))
    settings = {
        entities[item["@id"]]["name"]: json.loads(entities[item["@id"]]["value"])
        for item in entities["#study"]["additionalProperty"]
    }
    assert settings["doses"] == STUDY["doses"]
    assert settings["simulation"]["positions"] == STUDY["simulation"]["positions"]
    assert settings["seeds"] == {"simulation": 42, "grouping": 123, "subsampling": 456}
    assert {"views", "ptychopinn", "baseline", "ptychi", "scoring", "threads"} <= set(settings)


def _set(identifier: str, key: str, value: Any) -> Callable[[Document], None]:
    return lambda document: by_id(document)[identifier].__setitem__(key, value)


def _drop(identifier: str, key: str) -> Callable[[Document], None]:
    return lambda document: by_id(document)[identifier].pop(key)


def _without(identifier: str) -> Callable[[Document], None]:
    return lambda document: document["@graph"].remove(by_id(document)[identifier])


def _without_part(document: Document) -> None:
    by_id(document)["./"]["hasPart"].remove({"@id": VIEW})


def _stale(document: Document) -> None:
    by_id(document)["#make/train/dataset/data_version"]["value"] = "1" * 64


def _twice(document: Document) -> None:
    document["@graph"].append(dict(by_id(document)[VIEW]))


def _orphan(document: Document) -> None:
    document["@graph"].append({"@id": "#orphan", "@type": "CreativeWork", "name": "x"})


def _forgotten_file(document: Document) -> None:
    _without_part(document)
    document["@graph"].remove(by_id(document)[VIEW])


MAKE = "#make/train/overlap_view"
MUTANTS: dict[str, tuple[Callable[[Document], None], str]] = {
    "no type": (_drop(VIEW, "@type"), f"{VIEW}: @type: is None"),
    "no id": (_drop(VIEW, "@id"), "@id: is None"),
    "more than a crate": (lambda d: d.update({"more": 1}), "@context and @graph are wanted"),
    "graph is no list": (lambda d: d.update({"@graph": {}}), "is no list of entities"),
    "id twice": (_twice, "given to two entities"),
    "dangling reference": (_set(VIEW, "about", {"@id": "#nothing"}), "refers to #nothing"),
    "orphan": (_orphan, "#orphan: @id: nothing refers to it"),
    "no root": (_without("./"), "./: is missing"),
    "no descriptor": (_without(CRATE), f"{CRATE}: is missing"),
    "root without a licence": (_drop("./", "license"), "./: license"),
    "licence that nobody describes": (
        _set("./", "license", {"@id": "https://example.org/l"}),
        "a described licence is wanted",
    ),
    "published another day": (
        _set("./", "datePublished", "2020-01-01T00:00:00Z"),
        "./: datePublished: is '2020-01-01T00:00:00Z', the latest",
    ),
    "local time": (_set(MAKE, "endTime", "2026-01-01T00:00:00+01:00"), f"{MAKE}: endTime"),
    "no such day": (_set(MAKE, "endTime", "2026-02-30T00:00:00Z"), f"{MAKE}: endTime"),
    "file of another time": (
        _set(VIEW, "dateModified", "2020-01-01T00:00:00Z"),
        "its action ended otherwise",
    ),
    "no size": (_drop(VIEW, "contentSize"), f"{VIEW}: contentSize: is None"),
    "other size": (_set(VIEW, "contentSize", "1"), f"{VIEW}: contentSize: is '1'"),
    "other sha256": (_set(VIEW, "sha256", "0" * 64), f"{VIEW}: sha256: is '{'0' * 64}'"),
    "short sha256": (_set(VIEW, "sha256", "0" * 63), "64 hexadecimal digits"),
    "other name": (_set(VIEW, "name", "test.npz"), f"{VIEW}: name: is 'test.npz'"),
    "absolute id": (_set(VIEW, "@id", "/etc/hostname"), "is no relative POSIX path"),
    "id outside": (_set(VIEW, "@id", f"../hub/{VIEW}"), "is no relative POSIX path"),
    "Windows id": (_set(VIEW, "@id", VIEW.replace("/", "\\")), "is no relative POSIX path"),
    "absolute path in a text": (
        _set("#study", "description", "read from /home/somebody/study.yaml"),
        "holds an absolute path",
    ),
    "absolute path in a setting": (
        _set("#study/specimen", "value", '"/data/mine.npz"'),
        "holds an absolute path",
    ),
    "file that is not there": (_set(VIEW, "@id", "data/none.npz"), "data/none.npz: @id: is not in"),
    "file left out": (_forgotten_file, f"{VIEW}: is in the hub and not in the crate"),
    "file that is no part": (_without_part, f"{VIEW}: @id: is no part of the root"),
    "part that is no file": (
        lambda d: by_id(d)["./"]["hasPart"].append({"@id": "#study"}),
        "hasPart: #study is no file",
    ),
    "part twice": (
        lambda d: by_id(d)["./"]["hasPart"].append({"@id": VIEW}),
        f"hasPart: {VIEW} stands twice",
    ),
    "made by nobody": (_set(MAKE, "result", [{"@id": VIEW}]), "is the result of 0 actions"),
    "made twice": (
        lambda d: by_id(d)["#make/train/dataset"]["result"].append({"@id": VIEW}),
        f"{VIEW}: @id: is the result of 2 actions",
    ),
    "action without result": (_drop(MAKE, "result"), f"{MAKE}: result: is missing"),
    "action without object": (_drop(MAKE, "object"), f"{MAKE}: object: is missing"),
    "action without instrument": (_drop(MAKE, "instrument"), f"{MAKE}: instrument: is missing"),
    "action without end": (_drop(MAKE, "endTime"), f"{MAKE}: endTime: is missing"),
    "action without properties": (
        _drop(MAKE, "additionalProperty"),
        f"{MAKE}: additionalProperty: is missing",
    ),
    "instrument that is no software": (
        _set(MAKE, "instrument", [{"@id": "#study"}]),
        "#study is no software",
    ),
    "action not mentioned": (
        lambda d: by_id(d)["./"]["mentions"].remove({"@id": MAKE}),
        f"{MAKE}: @id: is not mentioned",
    ),
    "no fingerprint": (
        lambda d: by_id(d)[MAKE]["additionalProperty"].remove({"@id": f"{MAKE}/fingerprint"}),
        f"{MAKE}: additionalProperty: states no fingerprint",
    ),
    "fingerprint cut short": (
        _set(f"{MAKE}/fingerprint", "value", "abc"),
        "fingerprint: is 'abc'",
    ),
    "no CPU time": (
        lambda d: by_id(d)[MAKE]["additionalProperty"].remove({"@id": f"{MAKE}/cpu_seconds"}),
        f"{MAKE}: additionalProperty: states no cpu_seconds",
    ),
    "CPU time of a text": (
        _set(f"{MAKE}/cpu_seconds", "value", "long"),
        "cpu_seconds: is 'long'",
    ),
    "stale input": (_stale, f"{MAKE}: object: {DATASET} was consumed with data version"),
    "object that was not consumed": (
        lambda d: by_id(d)[MAKE]["object"].append({"@id": "#specimen"}),
        f"{MAKE}: object: and the consumed files differ in #specimen",
    ),
    "consumed without sha256": (
        _set(f"{MAKE}/input/train/dataset/patched_train.npz", "value", "?"),
        "a sha256 is wanted",
    ),
}


@pytest.mark.long
@pytest.mark.parametrize("name", MUTANTS)
def test_a_forged_crate_is_caught_by_the_rule_that_it_breaks(hub, name):
    mutate, expected = MUTANTS[name]
    document = read(hub)
    mutate(document)
    write(hub, document)
    problems = [*crate_problems(hub)]
    assert any(expected in line for line in problems), problems
    assert not any("identifier" in line for line in problems), "the forger sealed it again"


def test_a_forged_crate_that_is_not_changed_is_valid(hub):
    write(hub, read(hub))
    assert [*crate_problems(hub)] == []


def _digits(text: str) -> list[int]:
    """Places of digits, spread over the whole text."""
    places = [match.start() for match in re.finditer(r"\d", text)]
    return places[:: max(1, len(places) // 60)]


def test_no_digit_of_the_crate_can_be_changed_unseen(hub):
    path = hub / CRATE
    text = path.read_text("utf-8")
    digests = {
        file.relative_to(hub).as_posix(): sha256_of(file)
        for file in hub.rglob("*")
        if file.is_file()
    }
    unseen = []
    for place in _digits(text):
        other = str((int(text[place]) + 1) % 10)
        path.write_text(text[:place] + other + text[place + 1 :], "utf-8")
        if not [*crate_problems(hub, digests)]:
            unseen.append(text[max(0, place - 40) : place + 10])
    assert unseen == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), f"{VIEW}: contentSize"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1] + b"\xff"), f"{VIEW}: sha256"),
        (Path.unlink, f"{VIEW}: @id: is not in the hub"),
        (lambda path: path.rename(path.with_name("t.npz")), "t.npz: is in the hub and not in the"),
        (
            lambda path: path.with_name("notes.txt").write_text("x"),
            "notes.txt: is in the hub and not in the crate",
        ),
        (lambda path: path.with_name("link").symlink_to(path), "link: is in the hub and not in"),
    ],
    ids=["truncated", "one byte", "missing", "renamed", "extra", "link"],
)
def test_a_changed_hub_is_caught(hub, change, expected):
    change(hub / VIEW)
    assert any(expected in line for line in [*crate_problems(hub)])


def test_what_is_written_after_the_crate_is_not_asked_for(hub):
    (hub / "analysis").mkdir()
    (hub / "analysis" / "verification_report.json").write_text("{}\n")
    assert [*crate_problems(hub)] == []


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "cannot be read"),
        (b"", "is no JSON"),
        (b"[]\n", "holds no JSON object"),
        (b"\xff\xfe", "is no JSON"),
        (b'{"@graph": [], "@graph": []}\n', "stands twice"),
        (b'{"@graph": [NaN]}\n', "NaN is no JSON number"),
        (b'{"@context": "",\r\n "@graph": []}\r\n', "line feed alone"),
        (b'{"@context": "", "@graph": []}\n', "./: is missing"),
    ],
)
def test_what_is_no_crate_is_one_line(hub, content, expected):
    (hub / CRATE).unlink()
    if content is not None:
        (hub / CRATE).write_bytes(content)
    problems = [*crate_problems(hub)]
    assert expected in problems[-1]
