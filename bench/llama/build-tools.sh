#!/usr/bin/env bash
# Compiles llama-bench, llama-quantize, llama-perplexity and llama-imatrix of the release that EdgeFarm ships, against the very libraries
# that EdgeFarm ships: the fair peer, with the same code generation. Takes about a minute. Needs npm, git and g++.
set -euo pipefail
cd "$(dirname "$0")"
version=3.22.1
case "$(uname -m)" in
  x86_64) rid=linux-x64 ;;
  aarch64) rid=linux-arm64 ;;
  *) echo "error: only linux-x64 and linux-arm64 have libraries" >&2; exit 1 ;;
esac
for tool in npm git g++; do
  command -v "$tool" >/dev/null || { echo "error: $tool is missing (Debian: apt-get install npm git g++)" >&2; exit 1; }
done

natives="../../build/npm/node_modules/@node-llama-cpp/$rid/bins/$rid"
[ -d "$natives" ] || (cd ../../build/npm && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error)

mkdir -p tools work
if [ ! -d work/source ]; then
  (cd work && npm pack --silent "node-llama-cpp@$version" >/dev/null && tar xzf "node-llama-cpp-$version.tgz" package/llama/gitRelease.bundle)
  git -c advice.detachedHead=false clone -q work/package/llama/gitRelease.bundle work/source
fi

# The CPU variants are looked for beside the executable, so the libraries lie there too.
cp -f "$natives"/*.so tools/
source=work/source
for name in llama-bench quantize perplexity imatrix; do
  out="tools/${name/#llama-bench/bench}"
  out="tools/llama-${out#tools/}"
  [ -x "$out" ] && continue
  echo "compiling $out"
  g++ -std=c++17 -O2 -I "$source/include" -I "$source/ggml/include" -I "$source/common" -I "$source/vendor" -I "$source/src" \
    "$source/tools/$name"/*.cpp -o "$out" -L tools -Wl,-rpath,'$ORIGIN' \
    -l:libllama-common.so -l:libllama.v0.5.0.so -l:libggml.v0.5.0.so -l:libggml-base.so -lpthread
done
ls -1 tools/llama-*
