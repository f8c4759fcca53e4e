# shellcheck shell=bash
# Tiers that run the release binaries have them built, if the tier before has not done so.

[[ -x dist/offramp && -x dist/offrampd ]] || check 'hack/build' hack/build
