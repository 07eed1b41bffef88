"""The default number of workers: the processors of the cgroup's quota if it is less than the affinity mask."""

from __future__ import annotations

import os

import pytest

from mlrf.serving.config.cpus import usable_cpus

ALLOWED = len(os.sched_getaffinity(0))
V1 = "12:cpuset:/\n4:cpu,cpuacct:/docker/abc\n1:name=systemd:/docker/abc\n"


def tree(root, files):
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text + "\n")
    return root


def v1(folder, quota, period="100000"):
    return {f"sys/fs/cgroup/{folder}/cpu.cfs_quota_us": quota, f"sys/fs/cgroup/{folder}/cpu.cfs_period_us": period}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        pytest.param({}, ALLOWED, id="no cgroups"),
        pytest.param({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "max 100000"}, ALLOWED, id="v2, no quota"),
        pytest.param({"proc/self/cgroup": "0::/"}, ALLOWED, id="v2, no controller"),
        pytest.param({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "100000 100000"}, 1, id="v2, a namespace"),
        pytest.param({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "50000 100000"}, 1, id="v2, half of one"),
        pytest.param({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "199999 100000"}, 1, id="v2, not quite two"),
        pytest.param(
            {"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "99900000 100000"}, ALLOWED, id="v2, plenty"
        ),
        pytest.param(
            {
                "proc/self/cgroup": "0::/a/b",
                "sys/fs/cgroup/a/cpu.max": "100000 100000",
                "sys/fs/cgroup/a/b/cpu.max": "max 1",
            },
            1,
            id="v2, the quota of a parent",
        ),
        pytest.param({"proc/self/cgroup": V1, **v1("cpu,cpuacct/docker/abc", "100000")}, 1, id="v1"),
        pytest.param({"proc/self/cgroup": V1, **v1("cpu,cpuacct", "100000")}, 1, id="v1, within a container"),
        pytest.param({"proc/self/cgroup": V1, **v1("cpu", "50000", "50000")}, 1, id="v1, mounted as cpu"),
        pytest.param({"proc/self/cgroup": V1, **v1("cpu,cpuacct/docker/abc", "-1")}, ALLOWED, id="v1, no quota"),
    ],
)
def test_the_quota_counts_where_it_is_less(files, expected, tmp_path):
    assert usable_cpus(tree(tmp_path, files)) == expected


@pytest.mark.parametrize("quota", range(1, ALLOWED + 1))
def test_quota_counts_whole_processors(quota, tmp_path):
    files = {"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": f"{quota * 50000 + 20000} 50000"}
    assert usable_cpus(tree(tmp_path, files)) == quota


def test_this_machine_has_some():
    assert 1 <= usable_cpus() <= ALLOWED
