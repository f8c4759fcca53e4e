# shellcheck shell=bash
# Tiers that run the release binaries have them built; where that was done already it costs cargo's look.

need cc:gcc readelf:binutils "$(uname -m)-linux-musl-gcc:musl-tools"
check 'hack/build' hack/build
