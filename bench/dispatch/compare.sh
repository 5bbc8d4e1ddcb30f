#!/usr/bin/env bash
# EdgeFarm's dispatch beside BullMQ on Redis, one after the other on this machine: compare.sh [JOBS] [edgefarm|postgres|bullmq ...]
# Without names all three parts run. Needs the .NET 10 SDK; Node.js with npm and redis-server for BullMQ, PostgreSQL for three
# coordinators (Debian: apt-get install redis-server postgresql). Nothing is left behind.
set -euo pipefail
jobs="${1:-100000}"
shift || true
parts=" ${*:-edgefarm postgres bullmq} "
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
work="$(mktemp -d)"
server=""
# A server gets to end by itself; SIGINT is PostgreSQL's fast shutdown, and Redis ends by it too.
trap '[ -z "$server" ] || { kill -INT "$server" && wait "$server"; } 2>/dev/null || true; rm -rf "$work"' EXIT

bench() { dotnet "$work/bench/EdgeFarm.Bench.Dispatch.dll" run "$@"; }

if [[ $parts == *" edgefarm "* || $parts == *" postgres "* ]]; then
  dotnet publish -c Release --use-current-runtime --self-contained false "$here/EdgeFarm.Bench.Dispatch" -o "$work/bench" \
    -p:RunAnalyzers=false -nologo -clp:NoSummary -v quiet
fi

if [[ $parts == *" edgefarm "* ]]; then
  bench --jobs "1000,10000,$jobs" --paced 10 --cached 10000
  echo "# concurrency 10 and 100: 10 workers of 1 and of 10 slots"
  for slots in 1 10; do
    bench --jobs "$jobs" --warm-up "$jobs" --workers 10 --slots "$slots" --single "$jobs" --paced 0 --cached 0
  done
fi

if [[ $parts == *" postgres "* ]]; then
  # The server refuses to run as root; its package brings a user for it.
  as=()
  if [ "$(id -u)" = 0 ]; then
    as=(setpriv --reuid=postgres --regid=postgres --clear-groups)
    chmod 755 "$work"
  fi
  binaries="$(dirname "$(ls /usr/lib/postgresql/*/bin/initdb | sort -V | tail -1)")"
  mkdir "$work/postgres"
  [ "$(id -u)" != 0 ] || chown postgres "$work/postgres"
  (cd "$work/postgres" && "${as[@]}" "$binaries/initdb" -D "$work/postgres/data" -U farm -A trust -E UTF8 --locale=C >/dev/null)
  (cd "$work/postgres" && exec "${as[@]}" "$binaries/postgres" -D "$work/postgres/data" -p 6398 -c listen_addresses=127.0.0.1 \
    -c "unix_socket_directories=$work/postgres") >"$work/postgres.log" 2>&1 &
  server=$!
  connection="Host=127.0.0.1;Port=6398;Username=farm;Database=postgres"
  until "$binaries/pg_isready" -h 127.0.0.1 -p 6398 -q; do sleep 0.1; done
  bench --jobs 10000 --warm-up 10000 --postgres "$connection" --coordinators 3 --paced 0 --cached 0
  kill -INT "$server"; wait "$server" 2>/dev/null || true
  server=""
fi

if [[ $parts == *" bullmq "* ]]; then
  cp "$here"/bullmq/* "$work/"
  (cd "$work" && npm install --no-audit --no-fund --no-progress --no-package-lock >/dev/null)
  for fsync in always everysec off; do
    mkdir -p "$work/$fsync"
    only=(--appendonly yes --appendfsync "$fsync")
    [ "$fsync" = off ] && only=(--appendonly no)
    redis-server --port 6399 --bind 127.0.0.1 --dir "$work/$fsync" --save "" "${only[@]}" --daemonize no >"$work/redis.log" &
    server=$!
    until (exec 3<>/dev/tcp/127.0.0.1/6399) 2>/dev/null; do sleep 0.1; done
    echo "# redis $(redis-server --version | sed 's/.*v=\([^ ]*\).*/\1/'), append-only file: $fsync"
    for concurrency in 10 100; do
      for mode in single bulk; do
        (cd "$work" && node bench.mjs 6399 "$jobs" "$concurrency" "$mode")
      done
    done
    kill "$server"; wait "$server" 2>/dev/null || true
    server=""
  done
fi
