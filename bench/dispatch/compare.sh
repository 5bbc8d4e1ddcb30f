#!/usr/bin/env bash
# EdgeFarm's dispatch beside BullMQ on Redis, one after the other on this machine: compare.sh [JOBS]
# Needs the .NET 10 SDK, Node.js with npm and redis-server (Debian: apt-get install redis-server). Nothing is left behind.
set -euo pipefail
jobs="${1:-10000}"
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
work="$(mktemp -d)"
redis=""
trap '[ -z "$redis" ] || kill "$redis" 2>/dev/null; rm -rf "$work"' EXIT

dotnet build -c Release "$here/EdgeFarm.Bench.Dispatch" -p:RunAnalyzers=false -nologo -clp:NoSummary -v quiet
bench="$here/EdgeFarm.Bench.Dispatch/bin/Release/net10.0/EdgeFarm.Bench.Dispatch.dll"
dotnet "$bench" run --jobs "1000,$jobs" --paced 10 --cached 10000
echo "# concurrency 10 and 100: 10 workers of 1 and of 10 slots"
for slots in 1 10; do
  dotnet "$bench" run --jobs "$jobs" --workers 10 --slots "$slots" --paced 0 --cached 0
done

cp "$here"/bullmq/* "$work/"
(cd "$work" && npm install --no-audit --no-fund --no-progress --no-package-lock >/dev/null)
for fsync in always everysec off; do
  mkdir -p "$work/$fsync"
  only=(--appendonly yes --appendfsync "$fsync")
  [ "$fsync" = off ] && only=(--appendonly no)
  redis-server --port 6399 --bind 127.0.0.1 --dir "$work/$fsync" --save "" "${only[@]}" --daemonize no >"$work/redis.log" &
  redis=$!
  until (exec 3<>/dev/tcp/127.0.0.1/6399) 2>/dev/null; do sleep 0.1; done
  echo "# redis $(redis-server --version | sed 's/.*v=\([^ ]*\).*/\1/'), append-only file: $fsync"
  for concurrency in 10 100; do
    for mode in single bulk; do
      (cd "$work" && node bench.mjs 6399 "$jobs" "$concurrency" "$mode")
    done
  done
  kill "$redis"; wait "$redis" 2>/dev/null || true
  redis=""
done
