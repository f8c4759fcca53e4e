"""oci.py ROOT NAME OUTPUT [COMMAND...]: a folder as an OCI image layout in a tar (image-spec 1.0), with one layer; it runs
COMMAND, else offrampd. Times, owners and order are fixed, so that the same folder gives the same bytes. manifest.json is
for readers of docker's older format."""
import gzip
import hashlib
import io
import json
import pathlib
import platform
import sys
import tarfile

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def tar_of(folder):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for path in sorted(folder.rglob("*")):
            info = tar.gettarinfo(path, str(path.relative_to(folder)))
            info.uid = info.gid = info.mtime = 0
            info.uname = info.gname = ""
            executable = info.isdir() or info.mode & 0o100
            info.mode = 0o1777 if info.name == "tmp" else 0o755 if executable else 0o644
            # A hard link would depend on which name came first.
            if info.islnk():
                info.type, info.size = tarfile.REGTYPE, path.stat().st_size
            with open(path, "rb") if info.isreg() else io.BytesIO() as content:
                tar.addfile(info, content if info.isreg() else None)
    return out.getvalue()


def digest(data):
    return hashlib.sha256(data).hexdigest()


class Layout:
    def __init__(self):
        self.files = {"oci-layout": b'{"imageLayoutVersion": "1.0.0"}'}

    def blob(self, media_type, data):
        self.files["blobs/sha256/" + digest(data)] = data
        return {"mediaType": media_type, "digest": "sha256:" + digest(data), "size": len(data)}

    def json(self, media_type, value):
        return self.blob(media_type, json.dumps(value, sort_keys=True).encode())

    def write(self, path):
        with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as tar:
            for name, data in sorted(self.files.items()):
                info = tarfile.TarInfo(name)
                info.size, info.mode = len(data), 0o644
                tar.addfile(info, io.BytesIO(data))


def main(root, name, output, *command):
    run = {"Cmd": list(command)} if command else {"Entrypoint": ["/usr/bin/offrampd"], "Cmd": ["--help"]}
    layout = Layout()
    plain = tar_of(pathlib.Path(root))
    layer = layout.blob("application/vnd.oci.image.layer.v1.tar+gzip", gzip.compress(plain, 9, mtime=0))
    config = layout.json("application/vnd.oci.image.config.v1+json", {
        "architecture": ARCHITECTURES.get(platform.machine(), platform.machine()),
        "os": "linux",
        "config": {"Env": ["PATH=/usr/sbin:/usr/bin"], **run,
                   "Labels": {"org.opencontainers.image.title": "offramp", "org.opencontainers.image.licenses": "Apache-2.0"}},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + digest(plain)]},
    })
    manifest = layout.json("application/vnd.oci.image.manifest.v1+json", {
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config, "layers": [layer]})
    named = {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name}
    layout.files["index.json"] = json.dumps(
        {"schemaVersion": 2, "manifests": [{**manifest, "annotations": named}]}, sort_keys=True).encode()
    blob = lambda d: "blobs/sha256/" + d["digest"].split(":")[1]
    layout.files["manifest.json"] = json.dumps(
        [{"Config": blob(config), "RepoTags": [name], "Layers": [blob(layer)]}]).encode()
    layout.write(output)


main(*sys.argv[1:])
