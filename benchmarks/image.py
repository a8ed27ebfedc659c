"""Build the image with buildah on a Debian base of debootstrap, and run it: non-root, with a read-only root.

The trial has what the image says (user, environment, entry point), two writable folders, and nothing else. It starts
the service, trains a job, predicts, asks for its health, and stops it. It needs root, buildah and debootstrap, and is
skipped without them.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from benchmarks.machines import wait_until
from benchmarks.report import print_table, write_json
from service.commands.local_service import free_port

ROOT = Path(__file__).parents[1]
NEEDED = ("buildah", "debootstrap", "chroot", "mount")
BASE, IMAGE = "localhost/fanin-base", "localhost/fanin"
PACKAGES = "python3,python3-venv,ca-certificates"
USER_ID = 10001
KEY = "a-key-of-the-image-trial"
JOB = {"preset": "mnist_nn_xavier", "data": "mnist_5k", "epochs": 10}
LEAST_ACCURACY = 0.85


def main() -> None:
    """Build and try the targets, print the table and write JSON; exit with status 1 if one does not work."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", action="append", choices=["cpu", "gpu"], help="default: cpu")
    parser.add_argument("--base", help="an image with Python 3.11 or newer, instead of one made by debootstrap")
    parser.add_argument("--build-args", default="", help="more arguments of buildah, such as --build-arg TORCH=...")
    parser.add_argument("--keep", action="store_true", help="keep the images")
    options = parser.parse_args()
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if os.geteuid() != 0 or missing:
        print(f"Skipped: the trial needs root, and {', '.join(NEEDED)}; missing: {', '.join(missing) or 'root'}.")
        return
    base = options.base or base_of_debian()
    results = {}
    for target in options.target or ["cpu"]:
        started = time.monotonic()
        build(target, base, shlex.split(options.build_args))
        built_s = time.monotonic() - started
        results[target] = {"size_gb": size_gb(f"{IMAGE}:{target}"), "built_s": round(built_s), **tried(target)}
        if not options.keep:
            run("buildah", "rmi", "--force", f"{IMAGE}:{target}")
    rows = [[what, *(str(found[what]) for found in results.values())] for what in next(iter(results.values()))]
    print_table(["what", *results], rows)
    for target, found in results.items():
        write_json(f"image_{target}", "make image-test", found)


def run(*command: str) -> str:
    """Run a command and return what it printed. Raises `CalledProcessError` with its errors on standard error."""
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT).stdout.strip()


def base_of_debian() -> str:
    """Return the name of an image with Debian and its Python, which is made if it is not there."""
    if subprocess.run(["buildah", "inspect", "--type", "image", BASE], capture_output=True, check=False).returncode:
        with tempfile.TemporaryDirectory(prefix="fanin-base-") as folder:
            run("debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", folder)
            container = run("buildah", "from", "scratch")
            run("buildah", "add", "--quiet", container, folder, "/")
            run("buildah", "commit", "--quiet", container, BASE)
            run("buildah", "rm", container)
    return BASE


def build(target: str, base: str, more: Sequence[str]) -> None:
    """Build a target of the Dockerfile."""
    commit = run("git", "rev-parse", "--short", "HEAD")
    arguments = ("--build-arg", f"BASE_IMAGE={base}", "--build-arg", f"FANIN_BUILD={commit}", *more)
    run(
        "buildah",
        "bud",
        "--isolation",
        "chroot",
        "--format",
        "docker",
        "--target",
        target,
        *arguments,
        "--tag",
        f"{IMAGE}:{target}",
        ".",
    )


def size_gb(image: str) -> float:
    """Return the size of an image, uncompressed, in GB."""
    (found,) = json.loads(run("buildah", "images", "--json", image))
    number, unit = found["size"].split()
    return round(float(number) * {"MB": 1e-3, "GB": 1.0}[unit], 2)


@dataclass(frozen=True)
class Container:
    """An unpacked image whose root is read-only, and the configuration of the image."""

    root: Path
    config: dict[str, Any]

    def command(self, *arguments: str, **environment: str) -> list[str]:
        """Return a command that runs another one in the container, as the image's user."""
        own = [*self.config["Env"], *(f"{name}={value}" for name, value in environment.items())]
        return ["chroot", f"--userspec={self.config['User']}", str(self.root), "env", "-i", *own, *arguments]

    def fanin(self, *arguments: str, **environment: str) -> list[str]:
        """Return a command that runs the image's entry point."""
        return self.command(*self.config["Entrypoint"], *arguments, **environment)


@contextmanager
def container_of(image: str) -> Iterator[Container]:
    """Unpack an image, with a read-only root and the two writable folders that the image declares."""
    name = run("buildah", "from", image)
    config = json.loads(run("buildah", "inspect", "--type", "image", image))["OCIv1"]["config"]
    with tempfile.TemporaryDirectory(prefix="fanin-image-") as text:
        root = Path(text)
        mounts: list[Path] = []

        def mount(*arguments: str, at: Path) -> None:
            run("mount", *arguments, str(at))
            mounts.append(at)

        try:
            mount("--bind", run("buildah", "mount", name), at=root)
            run("mount", "-o", "remount,bind,ro", str(root))
            for folder in config["Volumes"]:
                mount("-t", "tmpfs", "-o", f"uid={USER_ID},gid={USER_ID},mode=1777", "tmpfs", at=root / folder[1:])
            mount("-t", "proc", "proc", at=root / "proc")
            mount("--bind", "/dev", at=root / "dev")
            yield Container(root, config)
        finally:
            for place in reversed(mounts):
                subprocess.run(["umount", "--lazy", place], check=False)
            run("buildah", "rm", name)


def tried(target: str) -> dict[str, Any]:
    """Run the image of a target, and return what was seen. Raises `AssertionError` if it does not work."""
    with container_of(f"{IMAGE}:{target}") as container:
        user = run(*container.command("id", "-u"))
        assert user == str(USER_ID), user
        for folder in ("/", "/opt/fanin", "/usr/bin", "/home"):
            touched = subprocess.run(container.command("touch", f"{folder}/x"), capture_output=True, check=False)
            assert touched.returncode != 0, f"{folder} can be written"
        if target == "gpu":
            run(*container.command("gcc", "--version"))
        settings = {"FANIN_API_KEY": KEY, "FANIN_PORT": str(free_port()), "FANIN_HOST": "127.0.0.1"}
        refused = subprocess.run(container.fanin("serve"), capture_output=True, text=True, check=False)
        assert "set FANIN_API_KEY" in refused.stderr, refused.stderr
        assert health(container, "api", settings) == 1
        with tempfile.TemporaryFile() as log:
            process = subprocess.Popen(container.fanin("serve", **settings), stdout=log, stderr=log)
            try:
                found = trained(container, settings)
                process.terminate()
                assert process.wait(40) == 0
            except BaseException:
                log.seek(0)
                print(log.read().decode(errors="replace"))
                raise
            finally:
                process.kill()
        assert health(container, "worker", settings) == 1
        return {"user": int(user), "root": "read-only", **found, "version": run(*container.fanin("--version"))}


def health(container: Container, role: str, settings: dict[str, str]) -> int:
    """Return the status of the health check of a role."""
    return subprocess.run(container.fanin("health", role, **settings), capture_output=True, check=False).returncode


def trained(container: Container, settings: dict[str, str]) -> dict[str, Any]:
    """Train a job in a service that starts, and predict with it."""
    address, headers = f"http://127.0.0.1:{settings['FANIN_PORT']}", {"Authorization": f"Bearer {KEY}"}
    started = time.monotonic()
    with httpx.Client(base_url=address, headers=headers, timeout=90) as client:

        def is_ready() -> bool:
            try:
                return bool(client.get("/readyz").json().get("workers"))
            except httpx.TransportError:
                return False

        wait_until(is_ready, 120, "the service")
        ready_s = time.monotonic() - started
        assert httpx.post(f"{address}/jobs", json=JOB).status_code == httpx.codes.UNAUTHORIZED
        job = client.post("/jobs", json=JOB, headers={"Prefer": "wait=60"}).raise_for_status().json()
        assert job["state"] == "succeeded", job
        assert job["accuracy"] > LEAST_ACCURACY, job["accuracy"]
        client.post("/predict", content=bytes(784)).raise_for_status()
        assert [health(container, role, settings) for role in ("api", "worker")] == [0, 0]
        ready = client.get("/readyz").json()
    return {
        "ready_s": round(ready_s, 1),
        "state": job["state"],
        "accuracy": job["accuracy"],
        "engine": job["device"]["engine"],
        "torch": job["device"]["torch"],
        "build": ready["build"],
    }


if __name__ == "__main__":
    main()
