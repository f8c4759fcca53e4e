"""sbom.py NAME VERSION DIST CARGO_LOCK PACKAGES: SPDX 2.3 of the image on stdout: our binaries, the crates that were locked
for them, and the Debian packages that files were taken from."""
import hashlib
import json
import pathlib
import re
import subprocess
import sys
import tomllib

NOTHING = "NOASSERTION"


def digest(path):
    return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()


def package(kind, name, version, sha256=None, purl=None):
    made = {"SPDXID": "SPDXRef-" + re.sub(r"[^A-Za-z0-9.-]", "-", f"{kind}-{name}-{version}"), "name": name, "versionInfo": version,
            "downloadLocation": NOTHING, "filesAnalyzed": False, "licenseConcluded": NOTHING,
            "licenseDeclared": "Apache-2.0" if kind == "own" else NOTHING, "copyrightText": NOTHING}
    if sha256:
        made["checksums"] = [{"algorithm": "SHA256", "checksumValue": sha256}]
    if purl:
        made["externalRefs"] = [{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": purl}]
    return made


def debian(path):
    field = lambda name: subprocess.check_output(["dpkg-deb", "--field", path, name], text=True).strip()
    name, version, arch = field("Package"), field("Version"), field("Architecture")
    return package("deb", name, version, digest(path), f"pkg:deb/debian/{name}@{version}?arch={arch}")


def main(name, version, dist, lock, packages):
    own = [package("own", p, version, digest(pathlib.Path(dist) / p)) for p in ("offramp", "offrampd")]
    # Those of the workspace have no source.
    locked = [p for p in tomllib.loads(pathlib.Path(lock).read_text())["package"] if "source" in p]
    crates = [package("crate", p["name"], p["version"], p.get("checksum"), f"pkg:cargo/{p['name']}@{p['version']}")
              for p in locked]
    parts = own + crates + [debian(p) for p in sorted(pathlib.Path(packages).glob("*.deb"))]
    image = package("image", name, version)
    contains = [{"spdxElementId": image["SPDXID"], "relationshipType": "CONTAINS", "relatedSpdxElement": p["SPDXID"]}
                for p in parts]
    about = {"spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES", "relatedSpdxElement": image["SPDXID"]}
    unique = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    json.dump({
        "spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT", "name": name,
        "documentNamespace": f"https://github.com/offramp-dev/offramp/spdx/{unique}",
        # Fixed, so that the same parts give the same document.
        "creationInfo": {"created": "1970-01-01T00:00:00Z", "creators": ["Tool: hack/image"]},
        "packages": [image] + parts, "relationships": [about] + contains,
    }, sys.stdout, indent=1)
    print()


main(*sys.argv[1:])
