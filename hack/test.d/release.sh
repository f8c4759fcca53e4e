# shellcheck shell=bash
# Tiers that run the release binaries have them built; where that was done already it costs cargo's look.

check 'hack/build' hack/build
