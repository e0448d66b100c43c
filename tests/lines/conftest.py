"""A repository of Prefect as git has it: made of the release's sdist, which is pinned by hash."""

from __future__ import annotations

import re
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from maintain import bootstrap
from maintain.lib.files import exclusive, verify_sha256
from maintain.lib.paths import cache_dir
from maintain.manifest import load

SDIST = "56f091cd49a06e6c3f98eea93648208f6750361d1dd0aeb60b5faa0e9cb5c458"
RELEASE = "3.9.1"

BUILD_INFO = """\
from pathlib import Path

TEXT = '__version__ = "{version}"\\n__git_commit__ = "{revision}"\\n'
TEXT += '__build_date__ = "2026-10-30"\\n__dirty__ = False\\n'


def write_build_info(project_dir, template_fields, params):
    Path(project_dir, params["path"]).write_text(TEXT.format(**template_fields))
"""
"""Prefect's repository has its own; an sdist has none."""


@dataclass(frozen=True)
class Repository:
    """A git repository in ``folder``."""

    folder: Path

    def git(self, *words: str, code: int = 0) -> str:
        """What git prints; asserts its exit code."""
        identity = ["-c", "user.name=Test", "-c", "user.email=test@example.invalid", "-c", "commit.gpgsign=false"]
        done = subprocess.run(["git", *identity, *words], cwd=self.folder, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def commit(self, message: str) -> str:
        """Commit everything; the commit's id."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)
        return self.git("rev-parse", "HEAD").strip()

    def require(self, requirement: str) -> None:
        """Add a dependency to pyproject.toml."""
        project = self.folder / "pyproject.toml"
        text = project.read_text()
        assert text.count("dependencies = [\n") >= 1
        project.write_text(text.replace("dependencies = [\n", f'dependencies = [\n    "{requirement}",\n', 1))


def sdist() -> Path:
    """The sdist of line 3's release, downloaded once; pip reads its metadata with our pinned build tools."""
    assert load().lines["3"].prefect == RELEASE, "pin the sdist of the new release here"
    home = cache_dir() / "sources"
    path = home / f"prefect-{RELEASE}.tar.gz"
    with exclusive(home / ".sdist.lock", what="the sdist", wait=300):
        if not path.is_file():
            pin = home / "sdist.txt"
            pin.write_text(f"prefect=={RELEASE} --hash=sha256:{SDIST}\n")
            command = [str(bootstrap.environment("build")), "-m", "pip", "download", "--quiet", "--no-deps"]
            command += ["--no-binary", ":all:", "--no-build-isolation", "--require-hashes"]
            subprocess.run([*command, "--dest", str(home), "--requirement", str(pin)], check=True)
        verify_sha256(path, SDIST, source=str(path))
    return path


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """The release, tagged, without what a clone has not: the built user interface and what versioningit writes."""
    if not shutil.which("git"):
        pytest.skip("git is not installed")
    folder = tmp_path_factory.mktemp("repository")
    with tarfile.open(sdist()) as archive:
        archive.extractall(folder, filter="data")
    repository = Repository(folder / f"prefect-{RELEASE}")
    for name in ("server/ui", "server/ui-v2"):
        shutil.rmtree(repository.folder / "src" / "prefect" / name)
    for name in ("PKG-INFO", "src/prefect/_build_info.py"):
        (repository.folder / name).unlink()
    (repository.folder / "tools").mkdir()
    (repository.folder / "tools" / "write_build_info.py").write_text(BUILD_INFO)
    repository.git("init", "--quiet", "--initial-branch", "main")
    repository.commit("The release")
    repository.git("tag", RELEASE)
    return repository


def small_group(repository: Repository) -> None:
    """Make the dev group one of two tools: the test is about the way, not about a hundred packages."""
    project = repository.folder / "pyproject.toml"
    text, count = re.subn(
        r"(?s)\ndev = \[\n.*?\n\]\n",
        '\ndev = ["pyyaml>=6", {include-group = "hooks"}]\nhooks = ["pre-commit>=4.1.0; python_version >= \'3.10\'"]\n',
        project.read_text(),
        count=1,
    )
    assert count == 1
    project.write_text(text)
