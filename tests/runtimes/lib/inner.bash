# shellcheck shell=bash
# First process of a sandbox: makes the node that a case runs on, then runs the case.
set -euo pipefail

LIB=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
for part in check sandbox conflist image pods leftovers containerd cri daemon; do
    # shellcheck source=/dev/null
    source "$LIB/$part.bash"
done

sandbox_mounts
sandbox_network
# shellcheck source=/dev/null
source "$1"
