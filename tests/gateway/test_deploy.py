"""The files of deploy/: their shape, and that what they name exists. No container is run."""

import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"


def test_the_image_copies_what_exists_and_runs_without_rights() -> None:
    lines = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
    steps = [line.split(maxsplit=1) for line in lines if line and not line.startswith("#")]
    copied = [word for name, rest in steps if name == "COPY" and "--from" not in rest for word in rest.split()[:-1]]
    assert copied
    for name in copied:
        assert (ROOT / name).exists(), name
    last = dict(steps)
    assert last["FROM"] == "python:3.12-slim"
    assert last["USER"] not in {"root", "0"}
    assert last["ENTRYPOINT"] == '["lastgood"]'
    installs = [rest for name, rest in steps if name == "RUN" and "install" in rest]
    assert all(rest.startswith("pip ") for rest in installs)


def test_the_override_names_services_files_and_settings_that_exist() -> None:
    from lastgood.settings import Settings

    override = yaml.safe_load((DEPLOY / "compose.override.yml").read_text())
    services = override["services"]
    assert set(services) == {"lastgood", "nginx"}
    environment = services["lastgood"]["environment"]
    for name in environment:
        assert name.removeprefix("LASTGOOD_").lower() in Settings.model_fields
    assert "ports" not in services["lastgood"]  # nothing is open to other machines
    (mounted,) = services["nginx"]["volumes"]
    assert (DEPLOY / mounted.split(":")[0]).exists()
    (kept,) = (volume.split(":")[0] for volume in services["lastgood"]["volumes"])
    assert kept in override["volumes"]


def test_nginx_sends_v1_alone_through_the_gateway() -> None:
    text = (DEPLOY / "nginx-lastgood.conf").read_text()
    assert text.count("{") == text.count("}")
    ways = dict(re.findall(r"location (\S+) \{\s*proxy_pass (\S+);", text))
    assert ways["/v1"] == "http://lastgood:8322"
    assert [path for path, way in ways.items() if "lastgood" in way] == ["/v1"]


def test_the_page_on_deploying_names_its_files() -> None:
    page = (DEPLOY / "README.md").read_text()
    for path in DEPLOY.iterdir():
        assert path.name == "README.md" or f"`{path.name}`" in page, path
    assert "## Bypass it in an emergency" in page


def test_serve_starts_with_the_settings_of_the_override(tmp_path: Path) -> None:
    override = yaml.safe_load((DEPLOY / "compose.override.yml").read_text())
    given = {**override["services"]["lastgood"]["environment"], "LASTGOOD_GATEWAY_HOST": "127.0.0.2"}
    command = [str(Path(sys.executable).with_name("lastgood")), "serve", "--api-port", "0", "--gateway-port", "0"]
    env = {"PATH": os.environ["PATH"], "LASTGOOD_HOME": str(tmp_path), **given}
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            if "Ctrl-C ends it." in line:
                break
        gateway = re.search(r"http://127\.0\.0\.2:\d+", "".join(said))
        assert gateway, said
        assert httpx.get(f"{gateway[0]}/healthz", trust_env=False).status_code == 200
    finally:
        process.terminate()
        assert process.wait(40) in (0, -15, 143)
