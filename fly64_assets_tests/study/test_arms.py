"""Arms: registered once, switched on in the study file, and then everywhere; else nowhere."""

from __future__ import annotations

import inspect
import json
from importlib import import_module

import pytest
from dagster import AssetKey, DagsterInstance

from fly64_assets.cli.display import show_status
from fly64_assets.definitions import build_definitions
from fly64_assets.errors import InputError
from fly64_assets.pipeline.check_states import rows_of_conditions
from fly64_assets.pipeline.context import StudyContext
from fly64_assets.pipeline.freshness import State
from fly64_assets.pipeline.instance import instance_folder
from fly64_assets.pipeline.store import RESULTS_VARIABLE
from fly64_assets.pipeline.targets import next_request
from fly64_assets.rules.store import checks_of
from fly64_assets.runs.outcomes import standing
from fly64_assets.solvers.interface import IterativeModule, NetworkModule
from fly64_assets.study import arms
from fly64_assets.study.conditions import Condition
from fly64_assets.study.model import MODELS, load_study
from fly64_assets.study.products import LEVELS, PRODUCTS, files_in, inputs_in, product, products_in
from fly64_assets_tests.conftest import fly64

AT = Condition(1000, "dense")
MORE = [*MODELS, "PtychoPINN-gs1", "ePIE"]
OWN = {
    "pinn_gs1_model",
    "pinn_gs1_replicates",
    *(f"{split}/epie_reconstruction" for split in ("train", "test")),
}
"""Products of the two that are not published."""


# The registry.


def test_the_published_arms_come_first_and_names_are_used_once():
    assert arms.NAMES[:3] == MODELS
    for values in (arms.NAMES, [arm.asset for arm in arms.ARMS]):
        assert len(set(values)) == len(values)
    assert {*arms.NETWORKS, *arms.ITERATIVE} == set(arms.ARMS)
    assert [arm.name for arm in arms.networks(MODELS)] == ["PtychoPINN", "Baseline"]
    assert [arm.name for arm in arms.iterative(["ePIE", "PtyChi"])] == ["PtyChi", "ePIE"]


@pytest.mark.parametrize("arm", arms.ARMS, ids=lambda arm: arm.name)
def test_a_module_has_what_the_table_promises(arm, write_study):
    """With the names of the arguments by which it is called, and a section in the study."""
    promised = NetworkModule if isinstance(arm, arms.Network) else IterativeModule
    functions = {name: f for name, f in vars(promised).items() if inspect.isfunction(f)}
    functions = {name: f for name, f in functions.items() if not name.startswith("_")}
    assert functions
    for name, wanted in functions.items():
        found = inspect.signature(getattr(import_module(arm.module_name), name)).parameters
        expected = [p for p in inspect.signature(wanted).parameters.values() if p.name != "self"]
        assert [(p.name, p.kind) for p in found.values()] == [(p.name, p.kind) for p in expected]
    assert getattr(load_study(write_study()), arm.section).model_dump()


@pytest.mark.parametrize("item", [item for item in PRODUCTS if item.arm], ids=lambda i: i.name)
def test_an_arm_is_judged_as_the_published_ones_of_its_kind(item):
    kind = item.key[-1].rpartition("_")[2]
    alike = {"model": "pinn_model", "replicates": "pinn_replicates"}
    published = (
        product(alike[kind]) if kind in alike else product(str(item.split), "ptychi_reconstruction")
    )
    for name in ("blocking_checks", "advisory_checks", "libraries", "group", "inputs", "stage"):
        assert getattr(item, name) == getattr(published, name)
    assert [check.name for check in checks_of(item)] == list(item.checks)


# The study file.


@pytest.mark.parametrize(
    ("chosen", "problem"),
    [
        ([*MODELS, "DM"], "'DM' is none of PtychoPINN, Baseline, PtyChi, PtychoPINN-gs1, ePIE"),
        ([*MODELS, "epie"], "'epie' is none of"),
        (["PtychoPINN", "Baseline"], "does not begin with PtychoPINN, Baseline, PtyChi"),
        (["PtychoPINN", "PtyChi", "Baseline"], "does not begin with"),
        (["ePIE", *MODELS], "does not begin with"),
        ([*MODELS, "ePIE", "ePIE"], "name each further arm once"),
        ([], "does not begin with"),
        ("ePIE", "got 'ePIE'"),
        ([*MODELS, 3], "got 3"),
    ],
)
def test_a_choice_that_cannot_be_is_refused(write_study, chosen, problem):
    with pytest.raises(InputError) as refused:
        load_study(write_study(arms=chosen))
    text = str(refused.value)
    assert "arms" in text and problem in text and "\n" not in text


def test_one_pattern_at_a_time_is_no_arm_of_its_own_where_the_study_has_gridsize_1(write_study):
    with pytest.raises(InputError, match="PtychoPINN-gs1 is PtychoPINN with gridsize 1"):
        load_study(write_study(arms=[*MODELS, "PtychoPINN-gs1"], gridsize=1))
    assert load_study(write_study(arms=[*MODELS, "ePIE"], gridsize=1)).arms[-1] == "ePIE"


@pytest.mark.parametrize("section", ["ptychi", "epie"])
def test_a_section_takes_its_own_engine_alone(write_study, section):
    with pytest.raises(InputError, match=rf"{section}\.engine"):
        load_study(write_study(**{section: {"engine": "RPIE"}}))


# What a study has.


def test_the_two_are_off_unless_they_are_named(write_study):
    published, more = load_study(write_study()), load_study(write_study("more.yaml", arms=MORE))
    assert published.arms == MODELS
    assert {item.name for item in products_in(more)} == {item.name for item in PRODUCTS}
    assert {item.name for item in PRODUCTS} - {item.name for item in products_in(published)} == OWN
    for level in LEVELS:
        assert level.products_in(more) == level.products
    for item in products_in(published):
        assert set(inputs_in(item, published)) == {
            key for key in item.inputs if "/".join(key) not in OWN
        }
        assert inputs_in(item, more) == item.inputs and files_in(item, more) == item.files
    off = set(product("test", "comparison").files) - set(
        files_in(product("test", "comparison"), published)
    )
    assert off == {"PtychoPINN-gs1_frc_curve.csv", "ePIE_frc_curve.csv"}
    logs = product("phase_logs")
    assert len(set(logs.files) - set(files_in(logs, published))) == len(OWN)


def test_an_arm_that_is_on_is_in_the_graph_as_the_others_are(write_study):
    study = write_study(arms=[*MODELS, "ePIE"])
    graph = build_definitions(StudyContext.load(study)).resolve_asset_graph()
    keys = {"/".join(key.path) for key in graph.materializable_asset_keys}
    assert keys & OWN == {"train/epie_reconstruction", "test/epie_reconstruction"}
    one, other = (
        graph.get(AssetKey(["test", f"{name}_reconstruction"])) for name in ("epie", "ptychi")
    )
    assert one.partitions_def == other.partitions_def and one.pools == other.pools
    assert (
        AssetKey(["test", "epie_reconstruction"])
        in graph.get(AssetKey(["test", "comparison"])).parent_keys
    )


def test_gridsize_1_reads_the_same_section_with_its_own_gridsize(write_study):
    study = load_study(write_study(arms=MORE))
    pair, alone = (product(name).settings(study, AT) for name in ("pinn_model", "pinn_gs1_model"))
    assert (pair["gridsize"], alone["gridsize"]) == (2, 1)
    assert {k: v for k, v in pair.items() if k != "gridsize"} == {
        k: v for k, v in alone.items() if k != "gridsize"
    }


@pytest.mark.long
def test_plan_of_both_is_a_plan_of_every_product(write_study, tmp_path):
    study = write_study(arms=MORE)
    done = fly64("plan", "--study", study, "--json", results=tmp_path / "results")
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert {row["product"] for row in plan["products"]} == {item.name for item in PRODUCTS}
    groups = {row["product"]: (row["images"], row["groups"]) for row in plan["products"]}
    assert groups["pinn_gs1_model"] == groups["baseline_model"] and groups["pinn_model"][1]


def test_what_an_arm_left_that_is_off_is_orphaned_and_kept(write_study, capsys):
    context = StudyContext.load(write_study())
    path = context.store.path(product("test", "epie_reconstruction"), AT, "epie_reconstruction.npz")
    published = context.store.path(
        product("test", "ptychi_reconstruction"), AT, "ptychi_reconstruction.npz"
    )
    path.parent.mkdir(parents=True)
    for each in (path, published):
        each.write_bytes(b"left")
    named = context.store.relative(path)
    with DagsterInstance.ephemeral() as instance:
        show_status(context, standing(context, context.planner(instance), [AT]))
        assert f"orphaned {named}" in capsys.readouterr().out
        more = StudyContext.load(write_study("more.yaml", arms=MORE))
        show_status(more, standing(more, more.planner(instance), [AT]))
    assert "orphaned" not in capsys.readouterr().out and path.is_file()


# What switching one on changes of what was made.


@pytest.fixture
def finished_planners(finished, tmp_path, monkeypatch, write_study):
    """Planners of the finished study by the arms that it would have, over one store."""
    monkeypatch.setenv(RESULTS_VARIABLE, str(finished.results))

    def planner_of(instance, chosen):
        context = StudyContext.load(write_study(arms=chosen))
        return context, context.planner(instance)

    folder = instance_folder(load_study(write_study()))
    with DagsterInstance.from_config(str(folder)) as instance:
        yield lambda chosen: planner_of(instance, chosen)


def test_switching_on_costs_the_new_arms_and_what_compares(finished_planners):
    _, before = finished_planners(list(MODELS))
    assert {v.state for v in before.survey([AT])} == {State.FRESH}
    context, planner = finished_planners(MORE)
    found = {v.product.name: v.state for v in planner.survey([AT])}
    assert {name for name, state in found.items() if state is State.MISSING} == OWN
    fresh = {name for name, state in found.items() if state is State.FRESH}
    solved = {item.name for item in PRODUCTS if item.group in ("e_models", "f_reconstructions")}
    earlier = {item.name for item in PRODUCTS if item.group[0] in "bcd"}
    assert fresh == earlier | (solved - OWN)
    assert {name for name, state in found.items() if state is State.STALE} == {
        item.name for item in PRODUCTS if item.group[0] == "g"
    }
    request = next_request(planner, AT, LEVELS[2])
    scored = {item.name for item in PRODUCTS if item.group == "g_comparison"}
    assert {item.name for item in request.make} == OWN | scored
    rows = rows_of_conditions(planner, [AT])
    assert {row.asset for row in rows if row.status == "not run"} == {
        item.name for item in PRODUCTS if item.checks and item.name not in fresh
    }
