"""Names, notes, labels and priorities over HTTP; lists by label and in an order; deletions by a filter."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, urlparse

import httpx
import pytest

from models.spec import SGD
from service.store.engine import writing
from service.store.jobs import JobState
from service.store.tables import jobs
from tests.service.conftest import SMALL, Bench, problem

BODY = SMALL.model_dump(mode="json")
DESCRIBED = {"name": "He, first try", "note": "Two lines:\n the second.", "labels": {"course": "a", "week": "3"}}


def submitted(api: httpx.Client, **fields: Any) -> dict[str, Any]:
    job: dict[str, Any] = api.post("/jobs", json=BODY | fields).raise_for_status().json()
    return job


def ids(api: httpx.Client, path: str = "/jobs", **query: Any) -> list[str]:
    """Return the ids of all pages of a list, each of which has two entries at most."""
    params: list[tuple[str, Any]] = [
        ("limit", 2),
        *((name, one) for name, value in query.items() for one in (value if isinstance(value, list) else [value])),
    ]
    found: list[str] = []
    while True:
        answer = api.get(path, params=params).raise_for_status()
        found += [entry["id"] for entry in answer.json()["data"]]
        if "next" not in answer.links:
            return found
        params = parse_qsl(urlparse(answer.links["next"]["url"]).query)


# -- descriptions ----------------------------------------------------------------------------------------


def test_a_job_has_the_description_that_it_was_submitted_with(api: httpx.Client) -> None:
    job = submitted(api, **DESCRIBED)
    assert {name: job[name] for name in DESCRIBED} == DESCRIBED
    assert job["version"] == 1
    found = api.get(f"/jobs/{job['id']}")
    assert found.headers["etag"] == '"1"'
    assert found.json()["spec"] == BODY
    plain = api.post("/jobs", json={"preset": "mnist_nn_xavier", "name": "x"}).json()
    assert (plain["name"], plain["note"], plain["labels"], plain["preset"]) == ("x", None, {}, "mnist_nn_xavier")


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": "two\nlines"},
        {"name": "x" * 101},
        {"name": 1},
        {"name": "   "},
        {"name": "a\u0085b"},
        {"note": "\u202eright to left"},
        {"labels": {"course": "\u009b31m"}},
        {"note": "a\x00b"},
        {"note": "x" * 2001},
        {"labels": {"Course": "a"}},
        {"labels": {"course": ""}},
        {"labels": {"course": 1}},
        {"labels": {f"key{number}": "x" for number in range(17)}},
        {"labels": ["course"]},
    ],
    ids=lambda wrong: str(wrong)[:30],
)
def test_a_description_beyond_its_limits_is_refused_by_name(wrong: dict[str, Any], api: httpx.Client) -> None:
    (field,) = wrong
    for path, body in (("/jobs", BODY), ("/experiments", {"base": BODY | {"seed": 1}, "seeds": [1]})):
        answer = problem(api.post(path, json=body | wrong), 422, "invalid-request")
        assert any(error["pointer"].startswith(f"#/{field}") for error in answer["errors"]), answer
    job = submitted(api)
    assert api.patch(f"/jobs/{job['id']}", json=wrong).status_code == 422
    assert api.get(f"/jobs/{job['id']}").json()["version"] == 1


def test_an_edit_changes_what_it_names_and_nothing_else(api: httpx.Client) -> None:
    job = submitted(api, **DESCRIBED)
    path = f"/jobs/{job['id']}"
    edited = api.patch(path, json={"name": None, "labels": {"week": None, "draft": "yes"}})
    assert edited.headers["etag"] == '"2"'
    assert edited.json() == job | {"name": None, "labels": {"course": "a", "draft": "yes"}, "version": 2}
    assert {name: api.get(path).json()[name] for name in job} == edited.json()
    assert api.patch(path, json={}).json()["labels"] == {"course": "a", "draft": "yes"}


def test_an_edit_is_refused_if_another_one_came_before_it(api: httpx.Client) -> None:
    for path in (f"/jobs/{submitted(api)['id']}", f"/experiments/{experiment(api)['id']}"):
        etag = api.get(path).headers["etag"]
        first = api.patch(path, json={"name": "first"}, headers={"If-Match": etag})
        assert (first.status_code, first.headers["etag"]) == (200, '"2"')
        late = api.patch(path, json={"name": "second"}, headers={"If-Match": etag})
        assert "is at version 2" in problem(late, 412, "precondition-failed")["detail"]
        assert api.get(path).json()["name"] == "first"
        assert api.patch(path, json={"name": "third"}, headers={"If-Match": "*"}).json()["version"] == 3


@pytest.mark.parametrize("etags", ['"7", "1"', 'W/"1"', "1", '"1",,', ', "1"'])
def test_an_edit_may_name_several_versions(etags: str, api: httpx.Client) -> None:
    path = f"/jobs/{submitted(api)['id']}"
    assert api.patch(path, json={"name": "x"}, headers={"If-Match": etags}).json()["version"] == 2


def test_lines_of_versions_are_one_list_and_a_star_in_quotes_is_no_wildcard(api: httpx.Client) -> None:
    path = f"/jobs/{submitted(api)['id']}"
    lines = [("If-Match", '"7"'), ("If-Match", '"1"')]
    assert api.patch(path, json={"name": "x"}, headers=lines).json()["version"] == 2
    problem(api.patch(path, json={"name": "y"}, headers={"If-Match": '"*"'}), 412, "precondition-failed")


@pytest.mark.parametrize("etags", ["", ",", '"1', '"1" "2"', '""', "a b"])
def test_what_is_no_list_of_versions_is_refused_by_name(etags: str, bench: Bench, api: httpx.Client) -> None:
    path = f"/jobs/{submitted(api)['id']}"
    refused = api.patch(path, json={"name": "x"}, headers={"If-Match": etags})
    assert "is not a list of ETags" in problem(refused, 412, "precondition-failed")["detail"]
    assert api.get(path).json()["name"] is None
    api.put("/aliases/champion", json={"model": bench.trained()})
    problem(api.delete("/aliases/champion", headers={"If-Match": etags}), 412, "precondition-failed")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"name": "two\nlines"}, "a character that is not printable, such as a line break"),
        ({"note": "a\x00b"}, "line breaks and tabs are allowed"),
        ({"labels": {"Course": "a"}}, "only lower-case letters"),
        ({"priority": "high"}, "POST /jobs takes ?priority=high"),
        ({"validate_only": True}, "POST /jobs?validate_only=true"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_an_error_says_in_words_what_is_wrong(wrong: dict[str, Any], said: str, api: httpx.Client) -> None:
    answer = problem(api.post("/jobs", json=BODY | wrong), 422, "invalid-request")
    assert said in answer["detail"]
    assert "pattern" not in answer["detail"]


def test_labels_that_are_too_many_together_are_refused(api: httpx.Client) -> None:
    job = submitted(api, labels={f"key{number}": "x" for number in range(16)})
    path = f"/jobs/{job['id']}"
    assert "17 labels" in problem(api.patch(path, json={"labels": {"more": "x"}}), 422, "invalid-labels")["detail"]
    assert api.get(path).json()["version"] == 1
    assert len(api.patch(path, json={"labels": {"more": "x", "key0": None}}).json()["labels"]) == 16


def test_an_edit_of_nothing_that_exists_is_refused(api: httpx.Client) -> None:
    for path in ("/jobs/job_none", "/experiments/exp_none"):
        problem(api.patch(path, json={"name": "x"}), 404, "not-found")
    assert api.patch(f"/jobs/{submitted(api)['id']}", json={"state": "succeeded"}).status_code == 422


def test_an_idempotency_key_is_for_one_description(api: httpx.Client) -> None:
    headers = {"Idempotency-Key": "key"}
    first, again = (api.post("/jobs", json=BODY | {"name": "a"}, headers=headers) for _ in range(2))
    assert (first.json(), again.headers["idempotency-replayed"]) == (again.json(), "true")
    problem(api.post("/jobs", json=BODY | {"name": "b"}, headers=headers), 422, "key-reused")
    labels = {"a": "1", "b": "2"}
    headers = {"Idempotency-Key": "another"}
    first = api.post("/jobs", json=BODY | {"labels": labels}, headers=headers)
    again = api.post("/jobs", json=BODY | {"labels": dict(reversed(labels.items()))}, headers=headers)
    assert again.json() == first.json(), "the order of labels makes no other request"


# -- experiments -----------------------------------------------------------------------------------------


def experiment(api: httpx.Client, **fields: Any) -> dict[str, Any]:
    base = {name: value for name, value in BODY.items() if name != "seed"}
    body = {"base": base, "schemes": ["zeros", "he_normal"], "seeds": [1, 2], **fields}
    found: dict[str, Any] = api.post("/experiments", json=body).raise_for_status().json()
    return found


def test_an_experiment_has_a_description_whose_labels_its_members_have_too(api: httpx.Client) -> None:
    found = experiment(api, **DESCRIBED)
    assert {name: found[name] for name in DESCRIBED} == DESCRIBED
    assert not found["request"].keys() & DESCRIBED.keys()
    members = [api.get(f"/jobs/{member['job_id']}").json() for member in found["members"]]
    assert [(job["labels"], job["name"]) for job in members] == [(DESCRIBED["labels"], None)] * 4
    edited = api.patch(f"/experiments/{found['id']}", json={"labels": {"course": "b"}, "name": None}).json()
    assert (edited["labels"]["course"], edited["name"]) == ("b", "zeros, he_normal; 2 seeds")
    assert ids(api, "/experiments", label="course:b") == [found["id"]]
    assert ids(api, "/experiments", label="course:a") == []


def test_a_recipe_may_be_described_too(api: httpx.Client) -> None:
    found = api.post("/experiments", json={"recipe": "R7", "name": "Do zeros learn?"}).json()
    assert found["name"] == "Do zeros learn?"
    assert found["recipe"] == "R7"


# -- priority --------------------------------------------------------------------------------------------


def test_a_queued_job_moves_in_the_queue_with_its_priority(api: httpx.Client) -> None:
    first, second, third = (submitted(api)["id"] for _ in range(3))
    moved = api.patch(f"/jobs/{third}", json={"priority": "high"}).json()
    assert (moved["priority"], moved["queue_position"], moved["version"]) == ("high", 1, 2)
    api.patch(f"/jobs/{first}", json={"priority": "low"})
    positions = [api.get(f"/jobs/{job_id}").json()["queue_position"] for job_id in (third, second, first)]
    assert positions == [1, 2, 3]
    same = api.patch(f"/jobs/{second}", json={"priority": "normal"}).json()
    assert same["queue_position"] == 2


def test_a_paused_job_keeps_its_new_priority_for_its_resumption(api: httpx.Client) -> None:
    paused = submitted(api)["id"]
    found = experiment(api)
    member = found["members"][0]["job_id"]
    for job_id in (paused, member):
        api.post(f"/jobs/{job_id}/pause").raise_for_status()
    assert api.patch(f"/jobs/{paused}", json={"priority": "high"}).json()["priority"] == "high"
    api.patch(f"/experiments/{found['id']}", json={"priority": "low"}).raise_for_status()
    resumed = [api.post(f"/jobs/{job_id}/resume").json() for job_id in (paused, member)]
    assert [(job["priority"], job["queue_position"]) for job in resumed] == [("high", 1), ("low", 5)]


@pytest.mark.parametrize("state", ["running", "pausing", "succeeded"])
def test_only_a_queued_job_gets_another_priority(state: JobState, bench: Bench, api: httpx.Client) -> None:
    job_id, _ = bench.submit()
    with writing(bench.engine) as connection:
        connection.execute(jobs.update().values(state=state))
    answer = problem(api.patch(f"/jobs/{job_id}", json={"priority": "high", "name": "x"}), 409, "illegal-transition")
    assert f"is {state}" in answer["detail"]
    assert api.get(f"/jobs/{job_id}").json()["name"] is None
    assert api.patch(f"/jobs/{job_id}", json={"priority": "normal", "name": "x"}).json()["name"] == "x"


def test_a_job_of_another_priority_is_trained_once(bench: Bench, api: httpx.Client) -> None:
    job_id, old_run = bench.submit()
    api.patch(f"/jobs/{job_id}", json={"priority": "high"})
    with bench.engine.connect() as connection:
        new_run = str(connection.execute(jobs.select()).one().run_id)
    assert new_run != old_run
    bench.attempt(old_run)  # its entry is still in the queue
    assert api.get(f"/jobs/{job_id}").json()["state"] == "queued"
    bench.attempt(new_run)
    assert (api.get(f"/jobs/{job_id}").json()["state"], api.get(f"/jobs/{job_id}").json()["attempt"]) == (
        "succeeded",
        1,
    )


def test_all_queued_members_of_an_experiment_move_together(bench: Bench, api: httpx.Client) -> None:
    waiting = submitted(api)["id"]
    found = experiment(api)
    begun, *queued = [member["job_id"] for member in found["members"]]
    with writing(bench.engine) as connection:
        connection.execute(jobs.update().where(jobs.c.id == begun).values(state="running"))
    edited = api.patch(f"/experiments/{found['id']}", json={"priority": "high"})
    assert edited.status_code == 200
    views = [api.get(f"/jobs/{job_id}").json() for job_id in queued]
    assert [(view["priority"], view["queue_position"]) for view in views] == [("high", 1), ("high", 2), ("high", 3)]
    assert api.get(f"/jobs/{begun}").json()["priority"] == "normal"
    assert api.get(f"/jobs/{waiting}").json()["queue_position"] == 4


# -- lists -----------------------------------------------------------------------------------------------


def test_lists_are_by_label(api: httpx.Client) -> None:
    first, second, third = (
        submitted(api, labels=labels)["id"]
        for labels in ({"course": "a"}, {"course": "b", "week": "1"}, {"course": "a", "week": "1"})
    )
    assert ids(api, label="course:a") == [third, first]
    assert ids(api, label="course") == [third, second, first]
    assert ids(api, label=["course:a", "week:1"]) == [third]
    assert ids(api, label="course:a", state="succeeded") == []
    assert ids(api, label="course:a", scheme="xavier_uniform", sort="created_at") == [first, third]
    assert ids(api, label="none") == []
    assert api.get("/jobs", params={"label": "a\x00b"}).status_code == 422


def test_a_common_label_finds_the_same_jobs_by_another_query(
    bench: Bench, api: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [submitted(api, labels={"course": "a"} | ({"week": "1"} if odd else {}))["id"] for odd in (0, 1, 0, 1)]
    other = submitted(api, labels={"course": "b"})["id"]
    with writing(bench.engine) as connection:
        for place, job_id in enumerate([*made, other]):
            connection.execute(jobs.update().where(jobs.c.id == job_id).values(accuracy=place / 10))
    filters: list[dict[str, Any]] = [
        {"label": "course:a", "state": "queued"},
        {"label": "course:a", "sort": "-accuracy"},
        {"label": ["course", "week:1"]},
    ]
    rare = [ids(api, **wanted) for wanted in filters]
    assert rare == [made[::-1], made[::-1], [made[3], made[1]]]
    monkeypatch.setattr("service.store.descriptions.COMMON", 1)
    assert [ids(api, **wanted) for wanted in filters] == rare


def test_jobs_are_sorted_by_accuracy_and_loss_over_pages(bench: Bench, api: httpx.Client) -> None:
    trained = [bench.trained(SMALL.model_copy(update={"optimizer": SGD(lr=lr)})) for lr in (1e-4, 0.1, 1e-2)]
    waiting = [submitted(api)["id"] for _ in range(2)]
    views = {job_id: api.get(f"/jobs/{job_id}").json() for job_id in trained}
    for job_id, view in views.items():
        assert view["loss"] == view["metrics"][-1]["train_loss_mean"]
        assert view["accuracy"] == api.get(f"/models/{job_id}/evaluation").json()["accuracy"]
    for field in ("accuracy", "loss"):
        ascending = sorted(trained, key=lambda job_id: views[job_id][field])
        assert ids(api, sort=field) == [*ascending, *reversed(waiting)]
        assert ids(api, sort=f"-{field}") == [*reversed(ascending), *reversed(waiting)]
        assert ids(api, sort=field, state="succeeded") == ascending
    assert ids(api, sort="created_at") == [*trained, *waiting]


def test_jobs_of_equal_accuracy_are_each_listed_once(bench: Bench, api: httpx.Client) -> None:
    made = [submitted(api)["id"] for _ in range(5)]
    with writing(bench.engine) as connection:
        connection.execute(jobs.update().values(accuracy=0.5))
    assert ids(api, sort="-accuracy") == made[::-1]
    assert ids(api, sort="accuracy") == made


@pytest.mark.parametrize(
    ("sort", "after"),
    [
        *(("accuracy", after) for after in ("job_x", "x@job_x", "loss.0x1p0@job_x", "accuracy.none@", "@")),
        *(("accuracy", f"accuracy.{value}@job_x") for value in ("0xfp99999", "nan", "inf", "")),
        *(("-created_at", after) for after in ("accuracy.0x1p0@job_x", "@@@", "foo", "exp_1")),
    ],
)
def test_a_cursor_of_another_order_is_refused(sort: str, after: str, api: httpx.Client) -> None:
    problem(api.get("/jobs", params={"sort": sort, "after": after}), 422, "invalid-cursor")


@pytest.mark.parametrize("after", ["foo", "job_1"])
def test_a_cursor_of_another_list_is_refused(after: str, api: httpx.Client) -> None:
    problem(api.get("/experiments", params={"after": after}), 422, "invalid-cursor")


def test_a_retrained_epoch_gives_back_its_loss(bench: Bench, api: httpx.Client) -> None:
    from service.store.epoch_records import forget_epochs_of_job_after

    job_id = bench.trained()
    with writing(bench.engine) as connection:
        forget_epochs_of_job_after(connection, job_id, 1)
    job = api.get(f"/jobs/{job_id}").json()
    assert (job["epoch"], job["loss"]) == (1, job["metrics"][0]["train_loss_mean"])
    with writing(bench.engine) as connection:
        forget_epochs_of_job_after(connection, job_id, 0)
    assert api.get(f"/jobs/{job_id}").json()["loss"] is None


# -- deletion by a filter --------------------------------------------------------------------------------


def test_a_dry_run_names_what_the_deletion_then_deletes(bench: Bench, api: httpx.Client) -> None:
    cancelled, kept = submitted(api, labels={"course": "a"})["id"], submitted(api)["id"]
    api.post(f"/jobs/{cancelled}/cancel")
    trained = bench.trained()
    api.patch(f"/jobs/{trained}", json={"labels": {"course": "a"}})
    files = bench.artifacts.list_below(f"jobs/{trained}")
    assert files
    asked = {"label": "course:a"}
    dry = api.delete("/jobs", params=asked | {"dry_run": True}).json()
    assert sorted(dry["jobs"]) == sorted([cancelled, trained])
    assert (dry["dry_run"], dry["kept"], dry["has_more"]) == (True, [], False)
    assert bench.artifacts.list_below(f"jobs/{trained}") == files
    assert sorted(ids(api)) == sorted([cancelled, kept, trained])
    real = api.delete("/jobs", params=asked | {"dry_run": False}).json()
    assert real == dry | {"dry_run": False}
    assert ids(api) == [kept]
    assert bench.artifacts.list_below(f"jobs/{trained}") == []
    assert ids(api, label="course") == []


def test_jobs_that_cannot_be_deleted_are_kept_with_the_reason(bench: Bench, api: httpx.Client) -> None:
    named, running, free = bench.trained(), bench.submit()[0], bench.submit()[0]
    api.put("/aliases/champion", json={"model": named})
    with writing(bench.engine) as connection:
        connection.execute(jobs.update().where(jobs.c.id == running).values(state="running"))
    deletion = api.delete("/jobs", params={"scheme": "xavier_uniform", "dry_run": False}).json()
    assert deletion["jobs"] == [free]
    reasons = {job["id"]: job["reason"] for job in deletion["kept"]}
    assert reasons.keys() == {named, running}
    assert "champion" in reasons[named]
    assert "running" in reasons[running]


def test_a_deletion_needs_a_filter_and_the_word_whether_it_is_dry(api: httpx.Client) -> None:
    job_id = submitted(api)["id"]
    answer = problem(api.delete("/jobs", params={"dry_run": False}), 422, "invalid-request")
    assert "every job would be deleted" in answer["detail"]
    problem(api.delete("/jobs", params={"state": "queued"}), 422, "invalid-request")
    twice = problem(api.delete("/jobs?state=queued&dry_run=true&dry_run=false"), 422, "invalid-request")
    assert "it is there twice; send it once" in twice["detail"]
    problem(api.delete("/jobs", params={"dry_run": False, "sate": "queued"}), 422, "invalid-request")
    problem(api.delete("/jobs", params={"dry_run": False, "scheme": "none"}), 404, "not-found")
    assert ids(api) == [job_id]
