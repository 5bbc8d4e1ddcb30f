#!/usr/bin/env bash
# Makes the folder that an image holds: the command line with its job host, natives and samples, for one platform. The Dockerfile runs it,
# and so does a test. The result needs the ASP.NET Core runtime 10 and nothing to write to beside its data directory.
#
#   build/image.sh OUT [VARIANT]      VARIANT: cpu (default), vulkan, cuda
#
# Needs the .NET 10 SDK and Node.js with npm. RID names the platform (default: this machine's).
set -euo pipefail

[ $# -ge 1 ] && [ $# -le 2 ] || { echo "usage: build/image.sh OUT [cpu|vulkan|cuda]" >&2; exit 2; }
out="$1"
variant="${2:-cpu}"
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
export DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_NOLOGO=1

case "$variant" in
  cpu) backends="" ;;
  vulkan | cuda) backends="$variant" ;;
  *) echo "error: there is no variant '$variant'; use cpu, vulkan or cuda" >&2; exit 2 ;;
esac
case "$(uname -m)" in
  x86_64) machine=linux-x64 ;;
  aarch64) machine=linux-arm64 ;;
  *) echo "error: images are made on x86_64 and aarch64, not on $(uname -m)" >&2; exit 2 ;;
esac
rid="${RID:-$machine}"

if [ -e "$out" ] && [ -n "$(ls -A "$out")" ]; then
  echo "error: $out is not empty" >&2
  exit 2
fi
mkdir -p "$out"
out="$(cd "$out" && pwd)"

# The analyzers have had their say in CI; here they would only take time.
dotnet publish "$root/src/EdgeFarm.Cli/EdgeFarm.Cli.csproj" -c Release -r "$rid" --self-contained false -o "$out" \
  -p:RunAnalyzers=false -p:EnforceCodeStyleInBuild=false -p:GenerateDocumentationFile=false -p:DebugType=none \
  ${backends:+"-p:LlamaCppBackends=$backends"} -nologo -clp:NoSummary -v quiet

find "$out" \( -name '*.pdb' -o -name 'EdgeFarm.*.xml' -o -name 'edgefarm.xml' \) -delete

for needed in edgefarm edgefarm.dll jobhost/EdgeFarm.JobHost.dll samples/index.json; do
  [ -e "$out/$needed" ] || { echo "error: the build made no $needed" >&2; exit 1; }
done
[ -n "$(find "$out/jobhost/natives/llama.cpp/$rid" -name 'libllama*.so*' -print -quit)" ] || { echo "error: llama.cpp's libraries are missing" >&2; exit 1; }
[ -e "$out/jobhost/libonnxruntime.so" ] || { echo "error: ONNX Runtime's library is missing" >&2; exit 1; }
for backend in $backends; do
  [ -n "$(find "$out/jobhost/natives" -name "libggml-$backend.so" -print -quit)" ] || { echo "error: llama.cpp's $backend backend is missing" >&2; exit 1; }
done

# Anyone may read and run it, nobody writes to it.
chmod -R a+rX,a-w "$out"
echo "$variant for $rid: $(du -sh "$out" | cut -f1) in $out"
