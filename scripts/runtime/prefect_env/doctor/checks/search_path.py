"""Where programs, modules and libraries are looked for, and what may come between the environment and them."""

from __future__ import annotations

from pathlib import Path

from prefect_env.doctor.context import Context
from prefect_env.doctor.registry import Result, check, fail, merged, ok, skip, warn

GROUP = "Search paths"


@check("user-site", "No packages of the user's mix in")
def user_site(context: Context) -> Result:
    """``~/.local/lib/python3.x/site-packages`` comes before the environment's packages for every environment."""
    folder = context.host.user_site
    if not folder or folder not in context.host.search:
        return ok("the user's site-packages is not used")
    names = []
    if context.host.live:
        names = [path.name for path in Path(folder).glob("*.*") if path.suffix in (".dist-info", ".egg-info", ".pth")]
        if not names:
            return ok(f"{folder} holds no package")
    return warn(
        f"{folder} is on Python's path" + (f" with {len(names)} packages" if names else ""),
        "its packages replace the environment's, and no lock knows them",
        "export PYTHONNOUSERSITE=1 (or move that folder away)",
    )


@check("python-variables", "Python is left alone")
def python_variables(context: Context) -> Result:
    """PYTHONPATH and PYTHONHOME."""
    env, found = context.host.env, []
    if env.get("PYTHONHOME"):
        found.append(
            fail(f"PYTHONHOME is {env['PYTHONHOME']}", "Python loads another Python's library", "unset PYTHONHOME")
        )
    if env.get("PYTHONPATH"):
        found.append(
            warn(
                f"PYTHONPATH is {env['PYTHONPATH']}",
                "modules there replace the environment's",
                "unset PYTHONPATH, and install what is needed into the environment",
            )
        )
    return merged(found, ok("PYTHONPATH and PYTHONHOME are not set"))


@check("library-path", "No other libraries are put before ours")
def library_path(context: Context) -> Result:
    """LD_LIBRARY_PATH, LD_PRELOAD and macOS's likes; folders of the environment itself do no harm."""
    host, found = context.host, []
    for name in ("LD_LIBRARY_PATH", "LD_PRELOAD", "DYLD_LIBRARY_PATH", "DYLD_INSERT_LIBRARIES"):
        outside = [part for part in host.env.get(name, "").split(":") if part and not host.inside(part)]
        if outside:
            found.append(
                warn(
                    f"{name} is {':'.join(outside)}",
                    "programs may load SQLite, OpenSSL or the C++ library from there instead of the environment",
                    f"unset {name} (Prefect's old guide for RHEL asked for it in /etc/profile; it is not needed here)",
                )
            )
    return merged(found, ok("no variable points the linker elsewhere"))


@check("path-order", "The environment comes first on PATH")
def path_order(context: Context) -> Result:
    """The first folder on PATH with a python or prefect program must be the prefix's."""
    host = context.host
    folders = [part for part in host.env.get("PATH", "").split(";" if host.windows else ":") if part]
    ours = [place for place in folders if host.inside(place)]
    if not ours:
        return warn(
            f"PATH has no folder of {host.prefix}",
            "python and prefect are others, or not found",
            "activate the environment",
        )
    if host.live:
        for folder in folders[: folders.index(ours[0])]:
            for program in ("python", "python.exe", "prefect", "prefect.exe"):
                if Path(folder, program).exists():
                    return warn(
                        f"{Path(folder, program)} comes before {ours[0]}",
                        "another program of that name runs",
                        "activate the environment last, or remove that folder from PATH",
                    )
    if host.windows:
        needed = [host.pure(host.prefix) / part for part in ("Library\\bin", "Scripts")]
        have = [host.pure(place) for place in ours]
        missing = [str(folder) for folder in needed if folder not in have]
        if missing:
            return fail(
                f"PATH lacks {', '.join(missing)}",
                "OpenSSL's and SQLite's DLLs are in Library\\bin, prefect.exe in Scripts",
                "activate the environment with conda, pixi or its activate.bat, not by PATH alone",
            )
    return ok(f"{ours[0]} comes first")


@check("active-environment", "The active environment is this one")
def active_environment(context: Context) -> Result:
    """CONDA_PREFIX names the environment whose settings are active."""
    active = context.host.env.get("CONDA_PREFIX")
    if not active:
        return skip("no environment is active")
    if not context.host.inside(active) or not context.host.inside(context.host.prefix, active):
        return warn(
            f"CONDA_PREFIX is {active}, this is {context.host.prefix}",
            "the proxy, CA and API settings of the other environment are in force",
            "deactivate the other environment and activate this one",
        )
    return ok(active)


@check("temporary-folder", "Programs can run in the temporary folder")
def temporary_folder(context: Context) -> Result:
    """Hardened hosts mount /tmp noexec, which stops installers and compiled caches."""
    host = context.host
    mount = host.mount_of(host.temp) if host.temp else None
    if mount is None:
        return skip("not known on this host")
    if "noexec" in mount.options:
        return warn(
            f"{host.temp} is on {mount.point}, mounted noexec",
            "installers that unpack and run there fail with 'Permission denied'",
            "export TMPDIR=$HOME/tmp (a folder on a file system without noexec)",
        )
    return ok(host.temp)


@check("windows-paths", "Windows takes long paths, the prefix has none")
def windows_paths(context: Context) -> Result:
    """Paths above 260 characters, blanks and network shares, each of which breaks a part of Prefect."""
    host = context.host
    if not host.windows:
        return skip("not Windows")
    found = []
    if host.long_paths is False:
        found.append(
            warn(
                "paths longer than 260 characters are off",
                "packages with deep folders cannot be installed, flows with deep storage fail",
                "as administrator: reg add HKLM\\SYSTEM\\CurrentControlSet\\Control\\FileSystem /v LongPathsEnabled"
                " /t REG_DWORD /d 1 /f",
            )
        )
    if host.prefix.startswith("\\\\"):
        found.append(
            warn(
                f"{host.prefix} is on a network share",
                "prefect.exe holds an absolute path of the machine that installed it (PrefectHQ/prefect#16060)",
                "install on a local drive",
            )
        )
    if " " in host.prefix:
        found.append(
            warn(
                f"there is a blank in {host.prefix}",
                "serve and workers split the path of python (PrefectHQ/prefect#15014)",
                "install into a folder without blanks",
            )
        )
    return merged(found, ok("on"))
