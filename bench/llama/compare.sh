#!/usr/bin/env bash
# Compares EdgeFarm's engine with llama.cpp's own tools; see README.md. Arguments go on to the program (bytes, card, quality, speed; --threads N, --rounds N).
set -euo pipefail
cd "$(dirname "$0")"
./build-tools.sh >&2
dotnet build EdgeFarm.Bench.Llama -c Release -v q -nologo -clp:NoSummary >&2
model="${MODEL:-../../src/EdgeFarm.Samples/models/edgefarm-tiny}" # a GGUF file, or a checkpoint directory, which is converted first
held_out="${HELD_OUT:-../../src/EdgeFarm.Samples/data/held-out.txt}"
calibration="${CALIBRATION:-../../src/EdgeFarm.Samples/data/calibration.txt}"
exec dotnet EdgeFarm.Bench.Llama/bin/Release/net10.0/EdgeFarm.Bench.Llama.dll compare tools "$model" "$held_out" "$calibration" "$@"
