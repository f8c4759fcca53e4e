"""python -m checks REPOSITORY OFFRAMPD: a line a check, and the counts."""
import pathlib
import copy
import subprocess
import sys
import tempfile
import traceback

import jsonschema
import kubernetes_validate
import yaml

from policy import Policy
from rendered import Manifests, by_name, one

VERSIONS = [f"1.{minor}" for minor in range(30, 37)]
# Custom resources of others, whose schemas Kubernetes does not have.
FOREIGN = {("k8s.cni.cncf.io/v1", "NetworkAttachmentDefinition"), ("monitoring.coreos.com/v1", "PodMonitor")}
CHECKS = []


def check(function):
    CHECKS.append(function)
    return function


def valid(docs, version):
    """How many documents Kubernetes' own schema of the version allows, unknown fields being mistakes."""
    judged = 0
    for doc in docs:
        if (doc["apiVersion"], doc["kind"]) in FOREIGN:
            continue
        try:
            kubernetes_validate.validate(doc, version, strict=True)
        except kubernetes_validate.ValidationError as e:
            where = ".".join(map(str, e.absolute_path))
            raise AssertionError(f"{doc['kind']} {doc['metadata']['name']}: {where}: {e.message}") from None
        judged += 1
    return judged


@check
def base_is_valid(m, _):
    for version in VERSIONS:
        assert valid(m.kustomize("base"), version) == 8


@check
def components_are_valid(m, _):
    docs = m.with_components("podmonitor", "userspace-vfs", "grafana")
    assert one(docs, "PodMonitor")["metadata"]["namespace"] == "kube-system"
    for version in VERSIONS:
        assert valid(docs, version) == 9


@check
def uninstall_is_valid(m, _):
    for version in VERSIONS:
        assert valid(m.kustomize("uninstall"), version) == 1


@check
def examples_are_valid(m, _):
    for name, docs in m.examples().items():
        for version in VERSIONS:
            assert valid(docs, version) >= 1, name


@check
def a_mistake_is_found(m, _):
    docs = copy.deepcopy(m.kustomize("base"))
    one(docs, "DaemonSet")["spec"]["template"]["spec"]["containers"][0]["imagePullPolice"] = "Always"
    try:
        valid(docs, VERSIONS[0])
    except AssertionError as e:
        assert "imagePullPolice" in str(e)
    else:
        raise AssertionError("an unknown field was not found")


@check
def the_chart_renders_the_base(m, _):
    same(by_name(m.chart()), by_name(m.kustomize("base")))


@check
def the_charts_options_are_the_components(m, _):
    theirs = by_name(m.with_components("podmonitor", "userspace-vfs", "grafana"))
    same(by_name(m.chart("--set", "podMonitor=true,userspaceVFs=true,grafanaDashboard=true")), theirs)


@check
def the_charts_other_options(m, _):
    docs = by_name(m.chart("--set", "apiServer=https://192.0.2.1:6443,kubeletDir=/k,cniBinDir=/b,image.repository=r/o,"
                           "image.tag=9,imagePullSecrets[0].name=s,config.cni.confDir=/c"))
    config = docs["ConfigMap offramp"]["data"]["offrampd.yaml"]
    assert config["cluster"]["kubernetes"]["apiServer"] == "https://192.0.2.1:6443"
    assert config["paths"]["kubelet"] == "/k" and config["cni"]["confDir"] == "/c"
    pod = docs["DaemonSet offramp"]["spec"]["template"]["spec"]
    assert {c["image"] for c in pod["containers"] + pod["initContainers"]} == {"r/o:9"}
    assert pod["imagePullSecrets"] == [{"name": "s"}]
    paths = {v["hostPath"]["path"] for v in pod["volumes"] if "hostPath" in v}
    assert {"/b", "/c", "/k/device-plugins", "/k/pod-resources"} <= paths
    assert all(valid(docs_of(m, "--set", "kubeletDir=/k"), v) for v in VERSIONS)


@check
def the_configuration_is_the_daemons(m, offrampd):
    for docs in (m.kustomize("base"), m.chart("--set", "apiServer=https://192.0.2.1:6443,kubeletDir=/k")):
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            file.write(one(docs, "ConfigMap")["data"]["offrampd.yaml"])
            file.flush()
            done = subprocess.run([offrampd, "run", "--check", "--config", file.name], capture_output=True, text=True)
            assert done.returncode == 0, done.stderr


@check
def no_more_privileges_than_said(m, _):
    pod = one(m.kustomize("base"), "DaemonSet")["spec"]["template"]["spec"]
    assert pod["priorityClassName"] == "system-node-critical" and pod["tolerations"] == [{"operator": "Exists"}]
    assert not pod.get("hostPID") and not pod.get("hostIPC")
    added = {}
    for container in pod["initContainers"] + pod["containers"]:
        security = container["securityContext"]
        assert security["readOnlyRootFilesystem"] and not security.get("privileged")
        assert security["capabilities"]["drop"] == ["ALL"]
        added[container["name"]] = security["capabilities"]["add"]
    assert added == {"install": ["DAC_OVERRIDE"], "offrampd": ["NET_ADMIN", "SYS_ADMIN"]}, added


@check
def no_more_rights_than_said(m, _):
    rules = {(g, r): sorted(rule["verbs"]) for rule in one(m.kustomize("base"), "ClusterRole")["rules"]
             for g in rule["apiGroups"] for r in rule["resources"]}
    read = ["get", "list", "watch"]
    assert rules == {
        ("", "nodes"): read, ("", "pods"): read, ("", "nodes/status"): ["patch"], ("", "pods/status"): ["patch"],
        ("", "events"): ["create"], ("offramp.dev", "offrampnodes"): sorted(read + ["create", "patch"]),
        ("k8s.cni.cncf.io", "network-attachment-definitions"): read,
    }, rules


@check
def offrampnodes_have_a_schema(m, _):
    versions = one(m.kustomize("base"), "CustomResourceDefinition")["spec"]["versions"]
    schema = versions[0]["schema"]["openAPIV3Schema"]
    good = {"spec": {"endpoints": ["192.0.2.1", "2001:db8::1"], "podCIDRs": ["10.244.1.0/24"],
                     "mac": "02:00:5e:10:00:03", "ofALaterVersion": {"x": 1}}}
    jsonschema.validate(good, schema)
    for wrong in ({}, {"spec": {"mac": "02:00"}}, {"spec": {"endpoints": "192.0.2.1"}}):
        try:
            jsonschema.validate(wrong, schema)
        except jsonschema.ValidationError:
            continue
        raise AssertionError(f"allowed: {wrong}")


NODE = {"metadata": {"name": "a", "labels": {"zone": "1"}, "annotations": {"x": "1"}},
        "status": {"capacity": {"cpu": "4"}, "addresses": [],
                   "conditions": [{"type": "Ready", "status": "True"}, {"type": "NetworkUnavailable", "status": "True"}]}}
POD = {"metadata": {"name": "p", "namespace": "shop", "labels": {"app": "x"}, "annotations": {"y": "1"}},
       "spec": {"nodeName": "a"}, "status": {"phase": "Pending"}}
OWN = {"metadata": {"name": "a"}, "spec": {"podCIDRs": ["10.244.1.0/24"]}}


def changed(document, **changes):
    """`status__phase="x"` sets status.phase; None removes."""
    new = copy.deepcopy(document)
    for path, value in changes.items():
        *outer, last = path.split("__")
        inner = new
        for key in outer:
            inner = inner.setdefault(key, {})
        if value is None:
            del inner[last]
        else:
            inner[last] = value
    return new


def annotated(document, **annotations):
    new = copy.deepcopy(document)
    new["metadata"].setdefault("annotations", {}).update({k.replace("__", "/"): v for k, v in annotations.items()})
    return new


def requests():
    """(what, denied or not, resource, subresource, old, new, more)"""
    available = changed(NODE, status__conditions=[NODE["status"]["conditions"][0],
                                                  {"type": "NetworkUnavailable", "status": "False"}])
    first = changed(NODE, status__conditions=NODE["status"]["conditions"][:1])
    not_ready = changed(NODE, status__conditions=[{"type": "Ready", "status": "False"}, NODE["status"]["conditions"][1]])
    status = {"offramp.dev/status": "{}", "k8s.v1.cni.cncf.io/network-status": "[]"}
    reported = changed(POD, metadata__annotations={**POD["metadata"]["annotations"], **status})
    bare = changed(POD, metadata__annotations=None, metadata__labels=None)
    n, p, o = ("nodes", "status"), ("pods", "status"), ("offrampnodes", "")
    other = {"node": "b"}
    yield "NetworkUnavailable of its node", False, *n, NODE, available, {}
    yield "NetworkUnavailable for the first time", False, *n, first, available, {}
    yield "an annotation of ours on its node", False, *n, NODE, changed(NODE, metadata__annotations={"x": "1", "offramp.dev/y": "2"}), {}
    yield "another node", True, *n, NODE, available, other
    yield "a token of no node", True, *n, NODE, available, {"node": None}
    yield "a node's condition Ready", True, *n, NODE, not_ready, {}
    yield "a node's capacity", True, *n, NODE, changed(NODE, status__capacity={"cpu": "8"}), {}
    yield "a node's extended resource", True, *n, NODE, changed(NODE, status__allocatable={"x/y": "1"}), {}
    yield "a node's addresses removed", True, *n, NODE, changed(NODE, status__addresses=None), {}
    yield "a node's label", True, *n, NODE, changed(NODE, metadata__labels={"zone": "2"}), {}
    own_label = changed(NODE, metadata__labels={"zone": "1", "offload.offramp.dev/tso": "true"})
    yield "a label of ours on its node", False, *n, NODE, own_label, {}
    yield "a label of ours taken from its node", False, *n, own_label, NODE, {}
    yield "a label of ours on another node", True, *n, NODE, own_label, other
    yield "a node's label removed", True, *n, own_label, changed(own_label, metadata__labels={"offload.offramp.dev/tso": "true"}), {}
    yield "a label of ours on a pod", True, *p, POD, changed(POD, metadata__labels={"app": "x", "offload.offramp.dev/tso": "true"}), {}
    yield "a node's other annotation", True, *n, NODE, annotated(NODE, x="2"), {}
    yield "a node's other annotation removed", True, *n, NODE, changed(NODE, metadata__annotations={}), {}
    yield "a node's finalizer", True, *n, NODE, changed(NODE, metadata__finalizers=["f"]), {}
    yield "the node itself", True, "nodes", "", NODE, changed(NODE, spec__unschedulable=True), {}
    yield "the report on a pod of its node", False, *p, POD, reported, {}
    yield "the report on a pod without annotations and labels", False, *p, bare, changed(bare, metadata__annotations=status), {}
    yield "the report anew", False, *p, reported, changed(reported, metadata__annotations={"y": "1", "offramp.dev/status": "x"}), {}
    yield "a pod of another node", True, *p, POD, reported, other
    yield "a pod of no node", True, *p, changed(POD, spec__nodeName=None), reported, {}
    yield "a pod's wishes", True, *p, POD, changed(POD, metadata__annotations={"y": "1", "offramp.dev/offload": "none"}), {}
    yield "a pod's other annotation", True, *p, POD, annotated(POD, y="2"), {}
    yield "a pod's label", True, *p, POD, changed(POD, metadata__labels={"app": "y"}), {}
    yield "a pod's phase", True, *p, POD, changed(POD, status__phase="Running"), {}
    yield "a pod's address", True, *p, POD, changed(POD, status__podIP="10.0.0.1"), {}
    yield "the pod itself", True, "pods", "", POD, reported, {}
    yield "its OfframpNode, new", False, *o, None, OWN, {}
    yield "its OfframpNode", False, *o, OWN, changed(OWN, metadata__labels={"x": "y"}), {}
    yield "another's OfframpNode", True, *o, OWN, OWN, other
    yield "another's OfframpNode, new", True, *o, None, OWN, other
    yield "another's OfframpNode, deleted", True, *o, OWN, None, other
    yield "somebody else's affair", False, *n, NODE, not_ready, {"name": "system:serviceaccount:kube-system:x", "node": "b"}


@check
def the_policy_confines_the_daemon_to_its_node(m, _):
    docs = m.kustomize("base")
    policy = Policy(one(docs, "ValidatingAdmissionPolicy"))
    binding = one(docs, "ValidatingAdmissionPolicyBinding")["spec"]
    assert binding == {"policyName": "offramp", "validationActions": ["Deny"]} and policy.spec["failurePolicy"] == "Fail"
    wrong = []
    for what, expected, resource, subresource, old, new, more in requests():
        node = more.get("node", "a")
        user = {"username": more.get("name", "system:serviceaccount:kube-system:offramp")}
        if node:
            user["extra"] = {"authentication.kubernetes.io/node-name": [node]}
        told = policy.denied(resource, old, new, user, subresource=subresource)
        if (told is not None) != expected:
            wrong.append(f"{what}: {told or 'allowed'}")
        group = "offramp.dev" if resource == "offrampnodes" else ""
        full = f"{resource}/{subresource}" if subresource else resource
        assert policy.matches(group, full), f"{full} is not looked at"
    assert not wrong, "; ".join(wrong)


@check
def the_policy_looks_at_all_that_may_be_written(m, _):
    docs = m.kustomize("base")
    policy = Policy(one(docs, "ValidatingAdmissionPolicy"))
    for rule in one(docs, "ClusterRole")["rules"]:
        if not set(rule["verbs"]) - {"get", "list", "watch"} or rule["resources"] == ["events"]:
            continue
        for group in rule["apiGroups"]:
            assert all(policy.matches(group, resource) for resource in rule["resources"]), rule


@check
def the_image_is_the_same_everywhere(m, _):
    version = yaml.safe_load((m.dir / "chart/Chart.yaml").read_text())
    cargo = (m.dir.parent / "Cargo.toml").read_text()
    assert f'version = "{version["appVersion"]}"' in cargo and version["version"] == version["appVersion"]
    images = set()
    for docs in (m.kustomize("base"), m.kustomize("uninstall"), m.chart()):
        pod = one(docs, "DaemonSet")["spec"]["template"]["spec"]
        images |= {c["image"] for c in pod["containers"] + pod["initContainers"]}
    assert images == {f"localhost/offramp:{version['appVersion']}"}, images


def docs_of(m, *options):
    return m.chart(*options)


def same(ours, theirs):
    assert ours.keys() == theirs.keys(), ours.keys() ^ theirs.keys()
    for name in ours:
        if ours[name] != theirs[name]:
            raise AssertionError(f"{name}: {difference(ours[name], theirs[name])}")


def difference(one_, other, path=""):
    if isinstance(one_, dict) and isinstance(other, dict):
        for key in sorted(one_.keys() | other.keys()):
            if one_.get(key) != other.get(key):
                return difference(one_.get(key), other.get(key), f"{path}.{key}")
    if isinstance(one_, list) and isinstance(other, list) and len(one_) == len(other):
        for i, (a, b) in enumerate(zip(one_, other)):
            if a != b:
                return difference(a, b, f"{path}[{i}]")
    return f"{path}: {one_!r} is not {other!r}"


def main(repo, offrampd):
    manifests, failed = Manifests(pathlib.Path(repo)), 0
    for function in CHECKS:
        name = function.__name__.replace("_", " ")
        try:
            function(manifests, offrampd)
            print(f"ok {name}", flush=True)
        except Exception as e:  # whatever it is, the other checks go on
            failed += 1
            detail = e if isinstance(e, AssertionError) and str(e) else traceback.format_exc().strip()
            print(f"FAIL {name}: {detail}", flush=True)
    print(f"{len(CHECKS) - failed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


sys.exit(main(*sys.argv[1:]))
