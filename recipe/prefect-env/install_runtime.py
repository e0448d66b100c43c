"""Install scripts/runtime: the prefect_env package and the activation scripts. The build script of both builders."""

import os
import shutil
from pathlib import Path

HERE = Path.cwd()
SITE = Path(os.environ["SP_DIR"])
CONDA = Path(os.environ["PREFIX"], "etc", "conda")
IGNORED = shutil.ignore_patterns("__pycache__", ".*", "README.md")


def main() -> None:
    """Copy the files and write the .dist-info by which importlib.metadata finds the version."""
    shutil.copytree(HERE / "prefect_env", SITE / "prefect_env", ignore=IGNORED)
    for folder in ("activate.d", "deactivate.d"):
        if (HERE / folder).is_dir():
            shutil.copytree(HERE / folder, CONDA / folder, ignore=IGNORED, dirs_exist_ok=True)
    shutil.copy(Path(os.environ["RECIPE_DIR"]).parents[1] / "LICENSE", HERE / "LICENSE")
    name, version = os.environ["PKG_NAME"], os.environ["PKG_VERSION"]
    info = SITE / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_bytes(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode())
    (info / "INSTALLER").write_bytes(b"conda\n")


if __name__ == "__main__":
    main()
