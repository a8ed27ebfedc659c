"""The command `fanin`, against a real service: what it prints, and its exit status."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from fanin.cli.main import main, server_commands
from fanin.terminal import drawn_digit, printable, table

from service.commands.listing import COMMANDS
from tests.client.conftest import SMALL_DATA
from tests.e2e.conftest import Service

pytestmark = pytest.mark.e2e

FANIN = shutil.which("fanin", path=str(Path(sys.executable).parent)) or "fanin"
QUICK = ["--set", "data=mnist_5k", "--set", "epochs=2", "--set", "architecture.hidden=[16]"]


class Ran(NamedTuple):
    """What a command has printed, and its status."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Ran]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("command-line")
    with Service(folder, SMALL_DATA) as service:
        yield service


@pytest.fixture
def run(lab: Service, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command in this process."""
    monkeypatch.setenv("FANIN_URL", lab.base_url)

    def call(*arguments: str) -> Ran:
        try:
            status = main(list(arguments))
        except SystemExit as ended:
            status = int(ended.code or 0)
        printed = capsys.readouterr()
        return Ran(status, printed.out, printed.err)

    return call


@pytest.fixture(scope="module")
def trained(lab: Service) -> str:
    """A job that has succeeded."""
    arguments = [FANIN, "submit", *QUICK, "--init", "he_normal", "--name", "first", "--label", "course=a", "--wait"]
    environment = os.environ | {"FANIN_URL": lab.base_url}
    done = subprocess.run(
        [*arguments, "--json"], env=environment, capture_output=True, text=True, timeout=120, check=True
    )
    job = json.loads(done.stdout)
    assert (job["state"], job["name"], job["labels"]) == ("succeeded", "first", {"course": "a"})
    found: str = job["id"]
    return found


def test_a_log_is_followed_until_the_job_has_ended(run: Run) -> None:
    job_id = run("submit", *QUICK, "--json").json["id"]
    followed = run("logs", "--follow", job_id)
    assert followed.status == 0, followed.err
    assert followed.out == run("logs", job_id).out
    assert "committed epoch 2" in followed.out
    last = run("logs", "--tail", "2", job_id).out
    assert last.splitlines() == followed.out.splitlines()[-2:]
    lines = [json.loads(line) for line in run("logs", "-f", "--tail", "2", "--json", job_id).out.splitlines()]
    assert [line["line"] for line in lines] == last.splitlines()


def test_a_submission_that_is_waited_for_has_the_status_of_its_job(run: Run) -> None:
    done = run("submit", *QUICK, "--init", "he_normal", "--wait")
    assert done.status == 0, done.err
    assert re.fullmatch(r"job_\w+ succeeded: accuracy \d+\.\d+%\. \w[\w ]+: .*\n", done.out)
    assert "succeeded, epoch 2/2  100%" in done.err
    linear = 'architecture={"hidden": [64, 64, 64, 64], "activation": "identity"}'
    diverging = run("submit", *QUICK, "--set", linear, "--set", 'optimizer={"name": "sgd", "lr": 10}', "--wait")
    assert diverging.status == 1
    assert " failed: " in diverging.out
    queued = run("submit", *QUICK)
    assert queued.status == 0
    job_id = queued.out.split()[0]
    assert f"Watch it: fanin watch {job_id}" in queued.out
    assert run("watch", job_id).status == 0
    slow = run(
        "submit", *QUICK, "--set", "optimizer.lr=0.01", "--init", "xavier_uniform", "--set", "init.gain=2", "--json"
    )
    assert slow.json["spec"]["optimizer"] == {"name": "adam", "lr": 0.01, "weight_decay": 0.0}
    assert (slow.json["spec"]["init"]["scheme"], slow.json["spec"]["init"]["gain"]) == ("xavier_uniform", 2.0)
    late = run("submit", *QUICK, "--set", "epochs=500")
    assert run("watch", late.out.split()[0], "--timeout", "0").status == 1
    assert run("cancel", late.out.split()[0]).out.splitlines()[1].split()[1] in ("cancelled", "cancelling")
    assert run("watch", late.out.split()[0]).status == 1


def test_lists_are_tables_or_json(run: Run, trained: str) -> None:
    listed = run("jobs", "--label", "course:a", "--state", "succeeded", "--sort=-accuracy")
    heads, row = (re.split(r"\s{2,}", line) for line in listed.out.splitlines())
    assert heads == ["id", "state", "scheme", "epoch", "loss", "accuracy", "name"]
    assert (row[0], row[1], row[2], row[3], row[6]) == (trained, "succeeded", "he_normal", "2/2", "first")
    assert [job["id"] for job in run("jobs", "--label", "course", "--json").json] == [trained]
    assert [job["id"] for job in run("jobs", "--label", "course=a", "--json").json] == [trained]
    assert run("jobs", "--label", "none").out == "There are no such jobs.\n"
    assert trained in run("models").out
    assert trained in [model["id"] for model in run("models", "--json").json]


def test_a_picture_is_drawn_beside_its_probabilities(run: Run, lab: Service, trained: str, tmp_path: Path) -> None:
    file = tmp_path / "digit.png"
    file.write_bytes(lab.client.get("/datasets/mnist_5k/test/0", headers={"Accept": "image/png"}).content)
    for options in ([], ["--fit"]):
        drawn = run("predict", str(file), "--model", trained, *options)
        label = run("predict", str(file), "--model", trained, *options, "--json").json[0]["label"]
        assert drawn.out.startswith(f"{file}: {label}, ")
        assert len(re.findall(r"^.* \d  █* *\d+\.\d\d%", drawn.out, re.MULTILINE)) == 10
        assert re.search(rf"{label}  █+ +\d+\.\d\d%  <", drawn.out)
        assert "@" in drawn.out or "%%" in drawn.out
    missing = run("predict", str(tmp_path / "none.png"))
    assert (missing.status, missing.out) == (2, "")
    assert "No such file" in missing.err


def test_schemes_are_trained_and_compared_in_words(run: Run) -> None:
    done = run("compare", "zeros", "he_normal", "--seeds", "0-2", *QUICK)
    assert done.status == 0, done.err
    assert "zeros: 10.00%" in done.out
    assert "he_normal is better than zeros: by " in done.out
    experiment = run("experiments", "--json", "--limit", "1").json[0]
    assert f"{experiment['id']}: 6 trainings. Later: fanin compare {experiment['id']}" in done.err
    assert run("compare", experiment["id"]).out == done.out
    assert experiment["id"] in run("experiments").out
    assert run("watch", experiment["id"]).out.startswith(f"{experiment['id']}: 6 succeeded.")
    against = run("compare", experiment["id"], "--baseline", "zeros", "--json").json
    assert against["baseline"] == "zeros"


def test_each_scheme_is_compared_at_its_own_best_rate(run: Run) -> None:
    options = ["--seeds", "0", "--rates", "0.03,0.3", "--refine", "1"]
    done = run("compare", "he_normal", "xavier_uniform", *options, *QUICK, "--set", 'optimizer={"name": "sgd"}')
    assert done.status == 0, done.err
    assert ": 4 trainings, and at most 4 more to refine the rates. Later: fanin compare exp_" in done.err
    chosen = r"^he_normal: chosen on validation images at learning rate ([0-9.]+)"
    (rate,) = re.findall(chosen, done.out, re.MULTILINE)
    experiment = run("experiments", "--json", "--limit", "1").json[0]["id"]
    assert rate in {"0.03", "0.3", "0.0949", "0.949", "3"}
    compared = run("compare", experiment, "--json").json
    assert len(compared["sweep"]) == 8
    assert {one["rate"] for one in compared["sweep"]} > {0.03, 0.3}
    again = run("compare", experiment, "--refine", "1", "--json").json
    assert len(again["sweep"]) > 8


def test_a_field_of_a_part_leaves_the_rest_of_the_preset(run: Run) -> None:
    deep = ["submit", "--preset", "mnist_nn_deep", "--set", "data=mnist_5k", "--set", "epochs=0", "--json"]
    spec = run(*deep, "--set", "architecture.inputs=standardized", "--set", "optimizer.lr=0.01").json["spec"]
    assert spec["architecture"] == {"hidden": [512] * 4, "activation": "relu", "inputs": "standardized"}
    assert spec["optimizer"] == {"name": "adam", "lr": 0.01, "weight_decay": 0}
    assert spec["init"]["bias"] == "torch_default"
    assert run(*deep, "--set", "init.gain=2").json["spec"]["init"]["bias"] == "torch_default"
    assert run(*deep, "--init", "he_normal").json["spec"]["init"]["bias"] == "zeros", "another scheme's defaults"
    assert run(*deep, "--set", "optimizer.name=sgd").json["spec"]["optimizer"]["lr"] == 0.1
    assert "mnist_nn_xavier" in run("submit", "--preset", "none", "--set", "architecture.inputs=standardized").err
    compared = run("compare", "zeros", "--seeds", "0", *QUICK, "--set", "optimizer.lr=0.01", "--json").json
    assert compared["groups"][0]["n"] == 1


def test_schemes_are_listed_with_their_formulas(run: Run) -> None:
    (line,) = [line for line in run("schemes").out.splitlines() if line.startswith("he_normal")]
    assert "N(0, s^2)" in line
    assert "Delving deep into rectifiers" in line
    assert {"zeros", "dbn"} < {one["name"] for one in run("schemes", "--json").json}


def test_weights_are_downloaded(run: Run, lab: Service, trained: str, tmp_path: Path) -> None:
    done = run("download", trained, "-o", str(tmp_path / "model.onnx"))
    assert done.status == 0
    assert run("download", trained, "-o", str(tmp_path / "model.pt")).err.startswith("fanin: 'model.pt' says no format")
    assert "There is no folder" in run("download", trained, "-o", str(tmp_path / "none" / "model.npz")).err
    assert (tmp_path / "model.onnx").read_bytes() == lab.client.get(f"/models/{trained}/weights?format=onnx").content


def test_what_is_wrong_is_said_on_one_line_with_a_status_of_its_own(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for arguments, status, said in (
        (["watch", "job_1"], 2, "There is no job 'job_1'"),
        (["submit", "--init", "nope"], 2, "'nope' is not one of"),
        (["submit", "--set", "epochs"], 2, "'epochs' is not FIELD=VALUE"),
        (["submit", "--label", "course"], 2, "'course' is not KEY=VALUE"),
        (["submit", "--set", "init=1", "--set", "init.gain=2"], 2, "set as a whole already"),
        (["submit", "--spec", "none.json"], 2, "none.json: No such file"),
        (["compare", "exp_1", "zeros"], 2, "one experiment, or schemes to train, not both"),
        (["compare", "zeros", "he_normal", "--baseline", "he"], 2, "'he' is none of zeros, he_normal"),
        (["compare", "zeros", "--seeds", "a"], 2, "no list of seeds"),
        (["compare", "zeros", "--rates", "fast"], 2, "neither auto nor learning rates"),
        (["compare", "zeros", "--refine", "1"], 2, "--refine needs --rates"),
        (["compare", "zeros", "--seeds", "5-2"], 2, "'5-2' holds no seed"),
        (["compare", "zeros", "he_norml", "--seeds", "0"], 2, "'he_norml' is not one of"),
        (["jobs", "--url", "http://127.0.0.1:9"], 3, "cannot be reached"),
        (["jobs", "--url", "elsewhere"], 2, "begins with http://"),
        (["jobs", "--url", "http://[::1"], 2, "cannot be read"),
    ):
        done = run(*arguments)
        assert (done.status, done.out) == (status, ""), arguments
        assert said in done.err
        assert len(done.err.strip().splitlines()) == 1 or done.err.startswith("usage:")


def test_help_names_every_command_of_client_and_service(run: Run) -> None:
    shown = run("--help")
    assert shown.status == 0
    for name, text in COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(text)}$", shown.out, re.MULTILINE), name
    assert set(server_commands()) == set(COMMANDS)
    names = [
        "submit",
        "watch",
        "jobs",
        "cancel",
        "pause",
        "resume",
        "predict",
        "models",
        "experiments",
        "compare",
        "schemes",
    ]
    for name in names:
        assert re.search(rf"^    {name}\b", shown.out, re.MULTILINE), name
        assert "--json" in run(name, "--help").out
    assert run("--version").out.startswith("fanin-client ")
    assert run("migrate", "--help").out.startswith("usage: fanin migrate")


def test_commands_of_a_service_that_is_not_installed_are_explained(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fanin.cli.main.entry_points", lambda **_of_group: [])
    refused = run("serve")
    assert refused.status == 2
    assert "`fanin serve` is a command of the service itself: pip install fanin" in refused.err
    assert "`pip install fanin` adds the service itself" in run("--help").out


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_commands_and_options(shell: str, run: Run) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"needs {shell}: apt-get install {shell}")
    script = run("completion", shell).out
    if shell == "bash":
        words = 'COMP_WORDS=(fanin pre); COMP_CWORD=1; _fanin; echo "${COMPREPLY[@]}"'
        options = 'COMP_WORDS=(fanin submit --pre); COMP_CWORD=2; _fanin; echo "${COMPREPLY[@]}"'
        done = subprocess.run(
            ["bash", "-c", f"{script}\n{words}\n{options}"], capture_output=True, text=True, check=True
        )
        assert done.stdout.split() == ["predict", "--preset"]
    else:
        subprocess.run([shell, "-n", "-c", script], check=True, timeout=30)


def test_a_terminal_has_colours_and_ascii_has_no_error(lab: Service, trained: str) -> None:
    if shutil.which("script") is None:
        pytest.skip("needs script: apt-get install bsdutils")
    environment = os.environ | {"FANIN_URL": lab.base_url, "TERM": "xterm"}
    environment.pop("NO_COLOR", None)
    command = ["script", "-qec", f"{FANIN} jobs --limit 100", "/dev/null"]
    shown = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60).stdout
    assert "\x1b[32msucceeded" in shown
    assert "?[32m" not in shown
    plain = environment | {"PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    assert subprocess.run([FANIN, "compare", "--help"], env=plain, check=True, capture_output=True, timeout=60)


def test_what_is_named_apart_is_merged_and_nothing_of_it_is_lost(run: Run, tmp_path: Path) -> None:
    spec = tmp_path / "spec.json"
    spec.write_text('{"architecture": {"hidden": [10], "activation": "tanh"}, "data": "mnist_5k", "epochs": 0}')
    job = run("submit", "--spec", str(spec), "--set", "architecture.hidden=[20]", "--json").json
    assert job["spec"]["architecture"] == {"hidden": [20], "activation": "tanh", "inputs": "zero_to_one"}
    for options in (["--limit", "0"], ["--limit", "-3"]):
        assert run("jobs", *options).status == 2
    assert "more than 1000 seeds" in run("compare", "zeros", "--seeds", "0-9999999999").err
    (tmp_path / "bad.json").write_text("{")
    assert "bad.json is not JSON" in run("submit", "--spec", str(tmp_path / "bad.json")).err


def test_a_reader_that_leaves_early_is_no_error(lab: Service, trained: str) -> None:
    command = f"{FANIN} jobs --json --limit 100 | head -c 1"
    environment = os.environ | {"FANIN_URL": lab.base_url}
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


# -- what is drawn ---------------------------------------------------------------------------------------


def test_texts_of_the_service_cannot_steer_the_terminal() -> None:
    assert printable("a\x1b[31mb\u202ec") == "a?[31mb?c"
    assert "\x1b" not in table(["name"], [["\x1b]0;title\x07"]])


def test_colours_are_for_terminals_that_want_them(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [["job_1", "failed"], ["job_2", "succeeded"]]
    assert "\033" not in table(["id", "state"], rows)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\033[31mfailed" in table(["id", "state"], rows)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\033" not in table(["id", "state"], rows)


@pytest.mark.parametrize("level", [0, 1, 255])
def test_a_digit_of_any_ink_is_drawn(level: int) -> None:
    drawn = drawn_digit([[level] * 28] * 28, [0.1] * 10, 3)
    assert len(re.findall(r"10\.00%", drawn)) == 10
    assert drawn.count("<") == 1
