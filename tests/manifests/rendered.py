"""What kustomize and helm make of manifests/."""
import pathlib
import subprocess
import tempfile

import yaml


def output(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise AssertionError(f"{' '.join(map(str, command))}: {done.stderr.strip()}")
    return done.stdout


def documents(text):
    return [d for d in yaml.safe_load_all(text) if d]


class Manifests:
    def __init__(self, repo):
        self.dir = pathlib.Path(repo) / "manifests"

    def kustomize(self, folder):
        return documents(output("kubectl", "kustomize", self.dir / folder))

    def with_components(self, *names):
        """The base with components, as a user's own kustomization has them."""
        with tempfile.TemporaryDirectory(dir=self.dir) as own:
            text = {"resources": ["../base"], "components": [f"../components/{n}" for n in names]}
            (pathlib.Path(own) / "kustomization.yaml").write_text(yaml.safe_dump(text))
            return documents(output("kubectl", "kustomize", own))

    def chart(self, *options):
        return documents(output("helm", "template", "offramp", self.dir / "chart", "--namespace", "kube-system",
                                *options))

    def examples(self):
        return {path.name: documents(path.read_text()) for path in sorted((self.dir / "examples").glob("*.yaml"))}


def by_name(docs):
    """The documents by what they are; the daemon's configuration as what it says, not as how it is written."""
    named = {}
    for doc in docs:
        if doc["kind"] == "ConfigMap":
            doc = {**doc, "data": {k: yaml.safe_load(v) for k, v in doc["data"].items()}}
        named[f"{doc['kind']} {doc['metadata']['name']}"] = doc
    return named


def one(docs, kind):
    found = [d for d in docs if d["kind"] == kind]
    assert len(found) == 1, f"{len(found)} {kind}"
    return found[0]
