"""The stand-in's real Prefect, packed, installed and run where nothing leaves the host: not one packet may.

In a network namespace whose only way out is an interface with a default route and a name server behind it, every
attempt to reach anything would be sent, and counted by nftables and tcpdump. The idle time is a minute; the ten minutes
between two usage reports of a server have been waited for by hand: PREFECT_ENV_TEST_IDLE=600.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from maintain.bundle.__main__ import cli
from maintain.lib.paths import ROOT
from support.standin import standin

IDLE = int(os.environ.get("PREFECT_ENV_TEST_IDLE", "60"))
NEEDED = ("unshare", "ip", "nft", "tcpdump")

NAMESPACE = """
set -eu
work=$1
mount --make-rprivate /
echo 'nameserver 10.99.0.53' >"$work/resolv.conf"
mount --bind "$work/resolv.conf" /etc/resolv.conf
ip link set lo up
ip link add way_out type veth peer name outside
for end in way_out outside; do
    echo 1 >/proc/sys/net/ipv6/conf/$end/disable_ipv6
    ip link set $end arp off up
done
ip address add 10.99.0.1/24 dev way_out
ip route add default via 10.99.0.2 dev way_out
nft add table inet count
nft 'add chain inet count out { type filter hook output priority 0; }'
nft add rule inet count out oifname way_out counter
tcpdump -i way_out -U -w "$work/packets.pcap" 2>"$work/tcpdump.log" &
dump=$!
trap 'kill $dump 2>/dev/null || true' EXIT
until grep -q listening "$work/tcpdump.log"; do sleep 0.1; done
"$2" "$3" "$work" control
nft list table inet count >"$work/control.nft"
nft flush chain inet count out
nft add rule inet count out oifname way_out counter
"$2" "$3" "$work" session
nft list table inet count >"$work/session.nft"
"""


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default environment of the stand-in as an installer."""
    output = tmp_path_factory.mktemp("packed")
    done = CliRunner().invoke(cli, ["create", "--stand-in", str(standin()), "--output", str(output)])
    assert done.exit_code == 0, done.output
    (path,) = output.glob("*.sh")
    return path


def counted(rules: str) -> int:
    """Packets that the chain has counted."""
    (found,) = re.findall(r"counter packets (\d+)", rules)
    return int(found)


@pytest.mark.slow
@pytest.mark.timeout(600 + 2 * IDLE)
def test_nothing_leaves_the_host(packed: Path, place: Path) -> None:
    missing = [name for name in NEEDED if not shutil.which(name)]
    if missing or os.geteuid() != 0:
        pytest.skip(f"needs root and {', '.join(missing) or 'nothing else'}")
    probe = subprocess.run(["unshare", "-mn", "true"], capture_output=True, check=False)
    if probe.returncode:
        pytest.skip(f"no namespaces here: {probe.stderr.decode().strip()}")
    work = place / "work"
    (work / "home").mkdir(parents=True)
    shutil.copy(packed, work / "installer.sh")
    env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(work / "home"), "LANG": "C.UTF-8", "IDLE": str(IDLE)}
    env |= {"PYTHONPATH": str(ROOT / "scripts")}
    driver = Path(__file__).parent / "airgap_session.py"
    words = ["unshare", "-mn", "sh", "-c", NAMESPACE, "sh", str(work), sys.executable, str(driver)]
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert counted((work / "control.nft").read_text()) > 0, "an attempt is not counted: this would prove nothing"
    found = json.loads((work / "session.json").read_text())
    assert found["changed"] and found["doctor"] == "ok"
    assert found["flow"] == "Completed" and found["worker"] == "Completed" and found["blind"] == "Completed"
    assert found["task_runs"] == 9, "recorded through the event websocket"
    assert found["workers"] > 0, "the server answers from the lists that it was packaged with"
    seen = subprocess.run(
        ["tcpdump", "-nn", "-r", work / "packets.pcap"], capture_output=True, text=True, check=False
    ).stdout.splitlines()
    assert counted((work / "session.nft").read_text()) == 0, seen
    assert all("192.0.2.1" in line or "10.99.0.53" in line for line in seen[:50]), "the control's packets only"
