#!/usr/bin/env bash
# The official Python client of Stripe against `deadheat provider`, in an environment of its own that goes when this ends.
#
#   usage: bash ci/provider-stripe.sh BINARY
set -euo pipefail

binary=$(realpath "${1:?usage: bash ci/provider-stripe.sh BINARY}")
cd "$(dirname "$0")"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" --quiet --disable-pip-version-check install 'stripe==16.1.0'
"$folder/venv/bin/python" provider-stripe.py "$binary"
