# SPDX-License-Identifier: GPL-2.0-only
"""The manifest and the container file, against the unit, the program and each other."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

import damosd
from damosd.config.found import read_configuration
from damosd.config.mainfile import load_main_file
from damosd.config.settings import DEFAULT_PATH

SOURCE = Path(__file__).parents[3]
MANIFEST = SOURCE / "etc/kubernetes/daemonset.yaml"
CONTAINERFILE = SOURCE / "etc/kubernetes/Containerfile"


@pytest.fixture
def objects() -> dict[str, dict[str, Any]]:
    """The objects of the manifest by their kind."""
    return {one["kind"]: one for one in yaml.safe_load_all(MANIFEST.read_text())}


@pytest.fixture
def pod(objects: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What a pod is made of."""
    spec: dict[str, Any] = objects["DaemonSet"]["spec"]["template"]["spec"]
    return spec


@pytest.fixture
def container(pod: dict[str, Any]) -> dict[str, Any]:
    """The only container."""
    [found] = pod["containers"]
    return dict(found)


def test_objects_belong_together(objects: dict[str, dict[str, Any]]) -> None:
    """One namespace for all, and the pods are those that the set looks for."""
    namespace = objects["Namespace"]["metadata"]["name"]
    assert {objects[kind]["metadata"]["namespace"] for kind in ("ConfigMap", "DaemonSet")} == {namespace}
    spec = objects["DaemonSet"]["spec"]
    assert spec["selector"]["matchLabels"] == spec["template"]["metadata"]["labels"]


def test_it_may_do_what_the_unit_may(container: dict[str, Any]) -> None:
    """The same capabilities; those that only a drop-in gives are comments."""
    unit = (SOURCE / "etc/systemd/damosd.service").read_text()
    [names] = re.findall("^CapabilityBoundingSet=(.*)", unit, re.MULTILINE)
    context = container["securityContext"]
    assert {f"CAP_{name}" for name in context["capabilities"]["add"]} == set(names.split())
    assert context["capabilities"]["drop"] == ["ALL"]
    assert not context["privileged"]
    assert not context["allowPrivilegeEscalation"]
    assert context["readOnlyRootFilesystem"]


def test_it_sees_all_processes_of_the_node(pod: dict[str, Any]) -> None:
    """And has no other part of the node than that, and a folder for its state."""
    assert pod["hostPID"]
    assert not {"hostNetwork", "hostIPC"} & set(pod)
    assert [one["hostPath"]["path"] for one in pod["volumes"] if "hostPath" in one] == ["/var/lib/damosd"]


def test_each_file_of_the_configuration_is_mounted_where_it_is_read(
    objects: dict[str, dict[str, Any]], pod: dict[str, Any], container: dict[str, Any], tmp_path: Path
) -> None:
    """And it is right; it names no targets."""
    files = objects["ConfigMap"]["data"]
    volumes = {one["name"] for one in pod["volumes"]}
    mounts = {one.get("subPath"): one for one in container["volumeMounts"]}
    assert {one["name"] for one in container["volumeMounts"]} == volumes
    for name, text in files.items():
        assert mounts[name]["mountPath"] in (str(DEFAULT_PATH), f"/etc/damosd/schemes.d/{name}")
        assert mounts[name]["readOnly"]
        (tmp_path / name).write_text(text)
    assert set(mounts) - {None} == set(files)
    assert not load_main_file(tmp_path / DEFAULT_PATH.name).selection.targets
    assert not read_configuration([tmp_path / name for name in files if name != DEFAULT_PATH.name]).problems


def test_the_image_is_this_version(container: dict[str, Any]) -> None:
    """Not whichever is the latest."""
    assert container["image"] == f"damosd:{damosd.__version__}"


def test_the_image_is_built_of_what_there_is() -> None:
    """All that is copied exists, and what is installed is what is started."""
    text = CONTAINERFILE.read_text()
    copied = [word for words in re.findall(r"^COPY (?!--)(.*) \S+$", text, re.MULTILINE) for word in words.split()]
    assert "damosd" in copied
    assert [name for name in copied if not (SOURCE / name).exists()] == []
    assert "PREFIX=/usr " in text
    assert 'ENTRYPOINT ["/usr/bin/damosd"]' in text


@pytest.mark.skipif(not shutil.which("kubeconform"), reason="needs kubeconform, and the network for its schemas")
def test_kubernetes_knows_every_field() -> None:
    """By its own schemas."""
    subprocess.run(["kubeconform", "-strict", "-summary", str(MANIFEST)], check=True)
