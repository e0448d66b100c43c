"""The site package: an organisation fills its folder, builds it in one command, and every activation follows."""

from __future__ import annotations

import shutil
import ssl
from pathlib import Path

import pytest
import trustme
from rattler_build import RattlerBuildError, RenderConfig, Stage0Recipe, ToolConfiguration, VariantConfig

from maintain.lib.paths import RECIPES
from maintain.recipes.build import own_cache, parts
from prefect_env import bundle
from shells import runners
from shells.fixtures import base_environment, make_prefix
from shells.runners import SHELLS
from support.standin import standin

SETTINGS = "HTTPS_PROXY=http://proxy.example.com:3128\nCA_FILE=example-root.der.crt\n"


def build(recipe: Path, output: Path) -> Path:
    """Build the recipe as ``rattler-build build`` does; the package."""
    channel = standin().absolute().as_uri()
    with own_cache():
        (variant,) = Stage0Recipe.from_file(recipe / "recipe.yaml").render(VariantConfig({}, None), RenderConfig())
        result = variant.run_build(ToolConfiguration(), output, channels=[channel], no_include_recipe=True)
    (package,) = result.packages
    return Path(package)


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A copy of the recipe, filled in."""
    copy = tmp_path / "prefect-env-site"
    shutil.copytree(RECIPES / "prefect-env-site", copy)
    (copy / "site" / "50-site.conf").write_text(SETTINGS)
    pem = trustme.CA(organization_name="Example Root").cert_pem.bytes()
    (copy / "site" / "example-root.der.crt").write_bytes(ssl.PEM_cert_to_DER_cert(pem.decode()))
    return copy


def test_installed_beside_an_environment(recipe: Path, tmp_path: Path) -> None:
    """Its files in the prefix are all it takes."""
    package = build(recipe, tmp_path / "output")
    prefix = make_prefix(tmp_path / "prefix", roots=str(Path(trustme.__file__)))
    trustme.CA().cert_pem.write_to_path(prefix / "ssl" / "cacert.pem")
    for entry in parts(package)["pkg"]:
        target = prefix / entry.path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(entry.data)
    run = runners.run(SHELLS["bash"], prefix, base_environment(tmp_path / "home"), tmp_path / "run", meanwhile={})
    active = run.steps[1]
    assert active["https_proxy"] == "http://proxy.example.com:3128"
    assert len(bundle.certificates(Path(active["SSL_CERT_FILE"]))) == 2
    assert run.stderr == ""
    assert run.steps[0] == run.steps[3]


def test_a_private_key_is_refused(recipe: Path, tmp_path: Path) -> None:
    """A key beside the certificates does not get into a package."""
    trustme.CA().private_key_pem.write_to_path(recipe / "site" / "oops.pem")
    with pytest.raises(RattlerBuildError):
        build(recipe, tmp_path / "output")


def test_as_shipped_it_builds(tmp_path: Path) -> None:
    """The recipe as it stands in the repository makes a package with its settings file."""
    package = build(RECIPES / "prefect-env-site", tmp_path / "output")
    assert package.name.startswith("prefect-env-site-")
    assert [entry.path for entry in parts(package)["pkg"]] == ["etc/prefect-env/site.d/50-site.conf"]
