from __future__ import annotations

from types import SimpleNamespace

import pytest

from models.training.threads import MAX_TAKEN_S, STEPS_BETWEEN_TRIALS, STEPS_OF_A_TRIAL, FreeCores, Team

A_ROUND = STEPS_BETWEEN_TRIALS + STEPS_OF_A_TRIAL


def taken(team: Team, seconds: dict[int, float], steps: int) -> list[int]:
    """Take steps that last as long as `seconds` says for each number of threads; return the numbers used."""
    used = []
    for _ in range(steps):
        used.append(team.threads)
        team.took(seconds[team.threads])
    return used


def test_it_begins_with_all_threads_and_tries_one_now_and_then() -> None:
    used = taken(Team(2), {1: 5e-4, 2: 3e-4}, 10 * A_ROUND)
    assert used[:STEPS_BETWEEN_TRIALS] == [2] * STEPS_BETWEEN_TRIALS
    assert used.count(1) == 10 * STEPS_OF_A_TRIAL


@pytest.mark.parametrize("most", [2, 4])
def test_it_stays_with_one_thread_as_long_as_that_is_quicker(most: int) -> None:
    team = Team(most)
    assert taken(team, {1: 5e-4, most: 8e-4}, A_ROUND)[-1] == 1
    assert team.threads == 1
    assert taken(team, {1: 5e-4, most: 8e-4}, A_ROUND).count(most) == STEPS_OF_A_TRIAL
    assert team.threads == 1
    taken(team, {1: 5e-4, most: 3e-4}, A_ROUND)
    assert team.threads == most


def test_a_few_disturbed_steps_do_not_change_it() -> None:
    team = Team(2)
    taken(team, {1: 5e-4, 2: 3e-4}, STEPS_BETWEEN_TRIALS - 2)
    taken(team, {1: 5e-4, 2: 9.0}, 2)
    taken(team, {1: 5e-4}, STEPS_OF_A_TRIAL)
    assert team.threads == 2


def test_what_makes_little_difference_is_left_as_it_is() -> None:
    team = Team(2)
    taken(team, {1: 2.9e-4, 2: 3e-4}, A_ROUND)
    assert team.threads == 2


def test_steps_that_are_told_together_do_not_make_a_trial_longer() -> None:
    team, used = Team(2), {1: 0, 2: 0}
    for _ in range(10):
        for _ in range(A_ROUND):
            threads, few = team.threads, min(team.steps_at_once, 40)
            team.took(few * {1: 5e-4, 2: 3e-4}[threads], few)
            used[threads] += few
    assert 0 < used[1] <= 1.01 * sum(used.values()) * STEPS_OF_A_TRIAL / A_ROUND


def test_it_goes_on_trying_if_it_is_told_later_than_it_asked() -> None:
    team = Team(2)
    for _ in range(3):
        team.took(40 * 3e-4, STEPS_BETWEEN_TRIALS + 40)
        assert team.threads == 1
        team.took(40 * 5e-4, 40)
        assert team.threads == 2


def test_what_is_on_trial_is_not_the_usual_number() -> None:
    team = Team(2)
    seen = []
    for steps in (STEPS_BETWEEN_TRIALS, STEPS_OF_A_TRIAL):
        seen.append((team.threads, team.usual))
        team.took(steps * 3e-4, steps)
    seen.append((team.threads, team.usual))
    assert seen == [(2, 2), (1, 2), (2, 2)]


def test_work_beside_takes_a_core_each_until_it_gives_it_back_and_leaves_one() -> None:
    cores, counts = FreeCores(2), []
    for change in (cores.take, cores.take, cores.take, cores.give_back, cores.give_back, cores.give_back):
        change()
        counts.append(cores.count.value)
    assert counts == [1, 1, 1, 1, 1, 2]


def test_cores_are_taken_until_all_are_given_back() -> None:
    cores, taken = FreeCores(1), []
    for change in (cores.take, cores.take, cores.give_back, cores.give_back):
        change()
        taken.append(cores.are_taken())
    assert taken == [True, True, True, False]


def test_work_that_takes_long_has_its_core_no_longer_and_may_still_give_it_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = [0.0]
    monkeypatch.setattr("models.training.threads.time", SimpleNamespace(monotonic=lambda: clock[0]))
    cores, found = FreeCores(2), []
    cores.take()
    for seconds in (0.9 * MAX_TAKEN_S, 1.1 * MAX_TAKEN_S):
        clock[0] = seconds
        found.append((cores.are_taken(), cores.count.value))
    cores.give_back()
    cores.take()
    found.append((cores.are_taken(), cores.count.value))
    assert found == [(True, 1), (False, 2), (True, 1)]


def test_a_single_thread_has_nothing_to_try() -> None:
    assert set(taken(Team(1), {1: 1.0}, 3 * A_ROUND)) == {1}
