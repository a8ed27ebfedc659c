"""What is shipped for containers names roles, settings and folders that exist."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.commands.listing import COMMANDS
from service.settings import Settings

ROOT = Path(__file__).parents[2]
FILES = ("Dockerfile", "compose.yaml", "deploy/kubernetes.yaml")
TEXTS = {name: (ROOT / name).read_text() for name in FILES}
DOCKERFILE = TEXTS["Dockerfile"]
COMPOSE: dict[str, Any] = yaml.safe_load(TEXTS["compose.yaml"])
KUBERNETES: list[dict[str, Any]] = list(yaml.safe_load_all(TEXTS["deploy/kubernetes.yaml"]))
OWN = {name: service for name, service in COMPOSE["services"].items() if service["image"].startswith("fanin")}
PODS = {
    part["metadata"]["name"]: part["spec"]["template"]["spec"]
    for part in KUBERNETES
    if "template" in part.get("spec", {})
}
KNOWN = {f"FANIN_{name.upper()}" for name in Settings.model_fields}


def container_of(pod: dict[str, Any]) -> dict[str, Any]:
    (container,) = pod["containers"]
    found: dict[str, Any] = container
    return found


def test_every_role_is_there_and_is_a_command() -> None:
    assert {service["command"][0] for service in OWN.values()} == {"migrate", "api", "worker"}
    assert {container_of(pod)["args"][0] for pod in PODS.values()} == {"migrate", "api", "worker"}
    assert {"migrate", "api", "worker", "health", "serve"} <= COMMANDS.keys()


@pytest.mark.parametrize(
    "text", [DOCKERFILE, (ROOT / "compose.yaml").read_text(), (ROOT / "deploy" / "kubernetes.yaml").read_text()]
)
def test_every_setting_exists(text: str) -> None:
    named = set(re.findall(r"\bFANIN_[A-Z_]+\b", re.sub(r"^\s*#.*|#  ?a service.*$", "", text, flags=re.MULTILINE)))
    assert named <= KNOWN, named - KNOWN
    assert named & KNOWN


def test_no_container_has_a_name_of_a_machine() -> None:
    for text in TEXTS.values():
        assert "FANIN_NODE" not in text, "replicas would have one name"


@pytest.mark.parametrize("name", PODS)
def test_pods_are_the_images_user_with_a_read_only_root_and_its_writable_folders(name: str) -> None:
    pod = PODS[name]
    container = container_of(pod)
    user = int(re.findall(r"^USER (\d+):", DOCKERFILE, re.MULTILINE)[-1])
    assert (pod["securityContext"]["runAsUser"], pod["securityContext"]["runAsNonRoot"]) == (user, True)
    assert container["securityContext"]["readOnlyRootFilesystem"]
    writable = re.search(r"^VOLUME (\[.*\])$", DOCKERFILE, re.MULTILINE)
    assert writable is not None
    assert {mount["mountPath"] for mount in container["volumeMounts"]} == set(yaml.safe_load(writable[1]))
    assert pod["enableServiceLinks"] is False, "a service named fanin would set FANIN_PORT to its own address"


@pytest.mark.parametrize("name", OWN)
def test_containers_of_compose_have_a_read_only_root_and_no_rights(name: str) -> None:
    service = OWN[name]
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert {place.partition(":")[0] for place in service["tmpfs"]} == {"/var/lib/fanin", "/tmp"}


def test_secrets_are_asked_for_and_not_shipped() -> None:
    for service in COMPOSE["services"].values():
        for variable, value in service["environment"].items():
            if re.search("KEY$|PASSWORD", variable):
                assert value.startswith("${"), variable
                assert ":?" in value, variable
    assert not any(part["kind"] == "Secret" for part in KUBERNETES)


def test_only_the_api_is_published_and_on_this_machine_alone() -> None:
    published = {name: service["ports"] for name, service in COMPOSE["services"].items() if "ports" in service}
    assert published == {"api": ["127.0.0.1:8000:8000"]}


def test_the_health_check_fits_the_role() -> None:
    assert re.search(r"^HEALTHCHECK .*CMD \[\"fanin\", \"health\"\]$", DOCKERFILE, re.MULTILINE)
    assert OWN["worker"]["healthcheck"]["test"] == ["CMD", "fanin", "health", "worker"]
    assert OWN["migrate"]["healthcheck"] == {"disable": True}
    api, worker = (container_of(PODS[f"fanin-{role}"]) for role in ("api", "worker"))
    assert (api["livenessProbe"]["httpGet"]["path"], api["readinessProbe"]["httpGet"]["path"]) == (
        "/healthz",
        "/readyz",
    )
    assert worker["livenessProbe"]["exec"]["command"] == ["fanin", "health", "worker"]
