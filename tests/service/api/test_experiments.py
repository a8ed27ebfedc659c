"""Experiments over HTTP: submitted whole, compared, followed, cancelled; recipes with their verdicts."""

from __future__ import annotations

import csv
import io
from typing import Any

import httpx
import pytest

from models.recipes import RECIPES
from models.spec import TrainSpec
from service.settings import Settings
from service.store.experiments import list_members
from service.store.jobs import get_job
from tests.service.conftest import SMALL, Api, Bench, problem

BASE = SMALL.model_dump(mode="json", exclude={"init", "seed"})
GRID: dict[str, Any] = {
    "base": BASE,
    "schemes": ["he_normal", {"scheme": "xavier_uniform", "gain": 2}],
    "seeds": [0, 1],
}


def submitted(api: httpx.Client, **body: Any) -> dict[str, Any]:
    response = api.post("/experiments", json=GRID | body)
    assert response.status_code == 201, response.text
    assert response.headers["location"] == response.json()["links"]["self"]
    found: dict[str, Any] = response.json()
    return found


def train_all(bench: Bench, experiment: dict[str, Any]) -> None:
    for member in experiment["members"]:
        bench.attempt(get_job(bench.engine, member["job_id"]).run_id)


def test_members_are_every_scheme_with_every_seed(api: httpx.Client) -> None:
    found = submitted(api)
    assert [(one["label"]["init.scheme"], one["label"].get("init.gain"), one["seed"]) for one in found["members"]] == [
        ("he_normal", None, 0),
        ("he_normal", None, 1),
        ("xavier_uniform", 2.0, 0),
        ("xavier_uniform", 2.0, 1),
    ]
    assert found["states"] == {"queued": 4}
    assert not found["has_ended"]
    assert found["verdict"] is None
    job = api.get(f"/jobs/{found['members'][0]['job_id']}").json()
    assert job["experiment_id"] == found["id"]
    assert api.get("/experiments").json()["data"][0]["id"] == found["id"]


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ({}, "he_normal, xavier_uniform; 2 seeds"),
        ({"schemes": [], "depths": [1, 2], "seeds": [0]}, "xavier_uniform; 1 seed"),
        (
            {"schemes": ["zeros", "constant", "he_normal", "he_uniform", "identity", "lsuv"], "seeds": [0, 1, 2]},
            "zeros, constant, he_normal, he_uniform and 2 more; 3 seeds",
        ),
    ],
)
def test_an_experiment_is_named_by_its_schemes_and_seeds(api: httpx.Client, body: dict[str, Any], name: str) -> None:
    assert submitted(api, **body)["name"] == name
    assert api.get("/experiments").json()["data"][0]["name"] == name


def test_a_member_is_named_by_what_tells_it_from_others(api: httpx.Client) -> None:
    names = [
        one["name"] for one in submitted(api, schemes=["zeros", {"scheme": "xavier_uniform", "gain": 2}])["members"]
    ]
    assert names == ["zeros", "zeros", "xavier_uniform", "xavier_uniform"]
    gains = [{"scheme": "xavier_uniform", "gain": gain} for gain in (1, 2)]
    names = [one["name"] for one in submitted(api, schemes=gains, seeds=[0])["members"]]
    assert names == ["xavier_uniform, gain 1", "xavier_uniform, gain 2"]


def test_depths_and_variants_multiply(api: httpx.Client) -> None:
    found = submitted(api, schemes=[], depths=[1, 3], variants=[{"batch_size": 20}, {"batch_size": 40}], seeds=[0])
    labels = [(one["label"]["architecture.hidden"], one["label"]["batch_size"]) for one in found["members"]]
    assert labels == [([8], 20), ([8], 40), ([8, 8, 8], 20), ([8, 8, 8], 40)]


def test_a_comparison_has_groups_pairs_and_a_table(bench: Bench, api: httpx.Client) -> None:
    experiment = submitted(api)
    assert api.get(experiment["links"]["comparison"]).json()["groups"] == []
    train_all(bench, experiment)
    found = api.get(experiment["links"]["comparison"]).json()
    assert [group["n"] for group in found["groups"]] == [2, 2]
    assert found["differing_fields"][0] == "init.scheme"
    (pair,) = found["pairs"]
    assert pair["seeds"] == [0, 1]
    assert len(pair["mcnemar"]) == 2
    by_group = [group["accuracy"]["mean"] for group in found["groups"]]
    assert pair["accuracy_difference"]["mean"] == pytest.approx(by_group[0] - by_group[1])
    for one in pair["mcnemar"]:
        assert 0 < one["p_value"] <= 1
    table = api.get(experiment["links"]["comparison"], headers={"Accept": "text/csv"})
    assert table.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(table.text)))
    assert [row["init.scheme"] for row in rows] == ["he_normal"] * 2 + ["xavier_uniform"] * 2
    assert float(rows[0]["accuracy"]) == api.get(f"/models/{rows[0]['job_id']}/evaluation").json()["accuracy"]
    assert api.get(f"/experiments/{experiment['id']}").json()["has_ended"]


def test_the_events_of_all_members_are_one_stream(bench: Bench, api: httpx.Client) -> None:
    experiment = submitted(api, seeds=[0])
    train_all(bench, experiment)
    with api.stream("GET", experiment["links"]["events"], headers={"Accept": "text/event-stream"}) as stream:
        kinds = [line.removeprefix("event: ") for line in stream.iter_lines() if line.startswith("event: ")]
    assert kinds.count("job.succeeded") == 2
    listed = api.get(experiment["links"]["events"], params={"limit": 100}).json()["data"]
    assert {event["job_id"] for event in listed} == {one["job_id"] for one in experiment["members"]}


def test_cancelling_stops_all_members_that_have_not_ended(bench: Bench, api: httpx.Client) -> None:
    for slot in range(4):  # each worker gets a run
        bench.beat(f"test:cpu-{slot}")
    experiment = submitted(api)
    bench.attempt(get_job(bench.engine, experiment["members"][0]["job_id"]).run_id)
    for _ in range(2):
        found = api.post(experiment["links"]["cancel"]).json()
        assert found["states"] == {"succeeded": 1, "cancelled": 3}


def test_an_experiment_is_queued_whole_or_not_at_all(settings: Settings) -> None:
    with Api(settings.model_copy(update={"max_queued": 3})) as api:
        assert problem(api.post("/experiments", json=GRID), 503, "queue-full")
        assert api.get("/jobs").json()["data"] == []
        assert api.get("/experiments").json()["data"] == []


def test_a_key_repeats_the_first_answer(api: httpx.Client) -> None:
    headers = {"Idempotency-Key": "once"}
    first, second = (api.post("/experiments", json=GRID, headers=headers) for _ in range(2))
    assert first.json() == second.json()
    assert second.headers["idempotency-replayed"] == "true"
    assert len(api.get("/experiments").json()["data"]) == 1
    problem(api.post("/experiments", json=GRID | {"seeds": [5]}, headers=headers), 422, "key-reused")
    problem(api.post("/jobs", json=BASE, headers=headers), 422, "key-reused")


@pytest.mark.parametrize(
    ("body", "pointer", "says"),
    [
        ({"schemes": ["he_normal", "hinton"]}, "#/schemes/1", "he_uniform"),
        ({"schemes": [{"scheme": "xavier_uniform", "gain": 0}]}, "#/schemes/0", "greater than 0"),
        ({"schemes": ["dbn"]}, "#/schemes/0", "use sigmoid"),
        ({"schemes": [], "variants": [{"epochs": -1}]}, "#/variants/0", "epochs"),
        ({"schemes": [], "variants": [{"seed": 1}]}, "#/variants/0", "into"),
        ({"schemes": [], "base": {"epoch": 1}}, "#/base", "epoch"),
        ({"seeds": []}, "#/seeds", "at least 1"),
        ({"seeds": list(range(501))}, "#/seeds", "more than 1000 members"),
        ({"base": BASE | {"seed": 1}}, "#/base", "into"),
        ({"schemes": ["he_normal", "he_normal"]}, "#/schemes", "two members are the same"),
        ({"depths": [0]}, "#/depths/0", "greater than or equal to 1"),
        ({"unknown": 1}, "#/unknown", "no such field"),
        ({"rates": [0.1]}, "#/rates", "validation_images"),
        ({"rates": [0.0]}, "#/rates", "auto"),
        ({"rates": "best"}, "#/rates", "auto"),
        ({"rates": [True]}, "#/rates", "auto"),
        ({"rates": [0.1], "base": BASE | {"validation_images": 40, "epochs": 0}}, "#/rates", "at least one epoch"),
        ({"seeds": [True]}, "#/seeds/0", "valid integer"),
    ],
)
def test_what_cannot_be_tried_is_refused_with_its_place(
    body: dict[str, Any], pointer: str, says: str, api: httpx.Client
) -> None:
    document = problem(api.post("/experiments", json=GRID | body), 422, "invalid-request")
    assert document["errors"][0]["pointer"] == pointer
    assert says in document["errors"][0]["detail"]
    assert api.get("/jobs").json()["data"] == []


def test_rates_are_members_and_each_scheme_is_compared_at_its_best(bench: Bench, api: httpx.Client) -> None:
    body = {
        "base": BASE | {"optimizer": {"name": "sgd"}, "validation_images": 40},
        "schemes": ["he_normal", "zeros"],
        "rates": [0.001, 0.1],
        "seeds": [0, 1],
    }
    made = api.post("/experiments", json=body).raise_for_status().json()
    assert len(made["members"]) == 8
    train_all(bench, made)
    best = api.get(f"/experiments/{made['id']}/comparison").raise_for_status().json()
    assert (best["rates"], len(best["groups"]), len(best["sweep"])) == ("best", 2, 4)
    assert sum(one["chosen"] for one in best["sweep"]) == 2
    everything = api.get(f"/experiments/{made['id']}/comparison?rates=all").json()
    assert (everything["rates"], len(everything["groups"]), everything["sweep"]) == ("all", 4, [])
    auto = api.post("/experiments", json=body | {"rates": "auto", "schemes": ["he_normal"], "seeds": [0]}).json()
    assert [one["label"]["optimizer.lr"] for one in auto["members"]] == [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0]


def test_unknown_experiments_and_recipes_are_not_found(api: httpx.Client) -> None:
    for path in ("/experiments/exp_0", "/experiments/exp_0/comparison", "/experiments/exp_0/events"):
        problem(api.get(path), 404, "not-found")
    problem(api.post("/experiments/exp_0/cancel"), 404, "not-found")
    assert "R7" in problem(api.post("/experiments", json={"recipe": "R99"}), 404, "not-found")["detail"]


def test_a_recipe_of_too_many_seeds_is_refused(api: httpx.Client) -> None:
    response = api.post("/experiments", json={"recipe": "R13", "seeds": list(range(84))})
    assert "more than 1000 members" in problem(response, 422, "invalid-request")["detail"]
    problem(api.post("/experiments", json={"recipe": "R2", "seeds": list(range(1001))}), 400, "malformed-body")


def test_a_recipe_that_judges_a_spread_needs_two_seeds(api: httpx.Client) -> None:
    response = api.post("/experiments", json={"recipe": "R6", "seeds": [3, 3]})
    assert "at least 2 seeds" in problem(response, 422, "invalid-request")["detail"]


def test_the_recipes_are_listed_with_claim_source_and_what_counts(api: httpx.Client) -> None:
    found = api.get("/recipes").json()["data"]
    assert [one["name"] for one in found] == list(RECIPES)
    assert all(one["claim"] and one["source"] and one["expected"] for one in found)


def test_a_recipe_has_a_verdict_when_all_its_members_have_ended(bench: Bench, api: httpx.Client) -> None:
    experiment = api.post("/experiments", json={"recipe": "R3", "seeds": [3]}).json()
    assert experiment["recipe"] == "R3"
    assert experiment["verdict"] == {
        "measured": None,
        "holds": None,
        "reason": "Not all members have ended.",
        "table": [],
    }
    train_all(bench, experiment)  # on 400 digits, of which an epoch teaches nothing like .90
    verdict = api.get(experiment["links"]["self"]).json()["verdict"]
    assert verdict["holds"] is False
    assert verdict["measured"].startswith("accuracy 0.")


def test_a_recipe_whose_member_was_cancelled_has_no_verdict(api: httpx.Client) -> None:
    experiment = api.post("/experiments", json={"recipe": "R2"}).json()
    verdict = api.post(experiment["links"]["cancel"]).json()["verdict"]
    assert verdict["holds"] is None
    assert "1 members have no result" in verdict["reason"]


def test_a_recipe_whose_member_was_deleted_has_no_verdict(bench: Bench, api: httpx.Client) -> None:
    experiment = api.post("/experiments", json={"recipe": "R3", "seeds": [3, 4]}).json()
    train_all(bench, experiment)
    for left in (1, 2):
        api.delete(f"/jobs/{experiment['members'][left - 1]['job_id']}").raise_for_status()
        verdict = api.get(experiment["links"]["self"]).json()["verdict"]
        assert verdict["holds"] is None
        assert f"{left} members have no result" in verdict["reason"]


def test_members_keep_the_specs_of_the_recipe(api: httpx.Client) -> None:
    experiment = api.post("/experiments", json={"recipe": "R9", "seeds": [4]}).json()
    specs = [api.get(f"/jobs/{one['job_id']}").json()["spec"] for one in experiment["members"]]
    assert [TrainSpec.model_validate(spec) for spec in specs] == RECIPES["R9"].members([4])


def test_rates_are_refined_around_the_best_one_of_each_scheme(bench: Bench, api: httpx.Client) -> None:
    body = {
        "base": BASE | {"validation_images": 100, "optimizer": {"name": "sgd"}},
        "rates": [0.001, 0.1, 10],
        "schemes": ["zeros", "he_normal"],
        "seeds": [0, 1],
    }
    made = api.post("/experiments", json=body).raise_for_status().json()
    path = f"/experiments/{made['id']}"
    problem(api.post(f"{path}/refine"), 409, "illegal-transition")
    train_queued(bench, made["id"])
    best = {one["group"]: one["rate"] for one in sweep_of(api, path) if one["chosen"]}
    finer = api.post(f"{path}/refine").raise_for_status().json()
    new = finer["members"][12:]
    assert len(new) == 2 * 2 * 2
    assert {one["seed"] for one in new} == {0, 1}
    near = {0.1: {0.01, 1.0}, 10: {1.0}, 0.001: {0.01, 1e-05}}
    for scheme, rate in best.items():
        rates = {one["label"]["optimizer.lr"] for one in new if one["label"]["init.scheme"] == scheme}
        assert rates == near[rate]
    assert finer["has_ended"] is False
    problem(api.post(f"{path}/refine"), 409, "illegal-transition")
    train_queued(bench, made["id"])
    chosen = [one for one in sweep_of(api, path) if one["chosen"]]
    assert {one["group"] for one in chosen} == {"zeros", "he_normal"}
    assert len(sweep_of(api, path)) == 6 + 4


def test_rates_that_leave_none_between_them_are_not_refined(bench: Bench, api: httpx.Client) -> None:
    body = {"base": BASE | {"validation_images": 100}, "rates": [0.001, 0.00105], "schemes": ["he_normal"]}
    made = api.post("/experiments", json=body).raise_for_status().json()
    train_queued(bench, made["id"])
    refused = problem(api.post(f"/experiments/{made['id']}/refine"), 422, "no-finer-rates")
    assert "nearer than a factor of 1.21" in refused["detail"]


def test_only_rates_are_refined(bench: Bench, api: httpx.Client) -> None:
    made = api.post("/experiments", json={"base": BASE, "schemes": ["zeros"]}).raise_for_status().json()
    train_queued(bench, made["id"])
    refused = problem(api.post(f"/experiments/{made['id']}/refine"), 422, "invalid-spec")
    assert "tries no learning rates" in refused["detail"]
    problem(api.post("/experiments/exp_x/refine"), 404, "not-found")


def train_queued(bench: Bench, experiment_id: str) -> None:
    for member in list_members(bench.engine, experiment_id):
        if member.state == "queued":
            bench.attempt(get_job(bench.engine, member.job_id).run_id)


def sweep_of(api: httpx.Client, path: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = api.get(f"{path}/comparison").raise_for_status().json()["sweep"]
    return found
