#!/bin/sh
# Runs one of the shipped deployments on this machine: two name servers, and every broker of a folder beside this file.
#
#   sh conf/one-machine.sh 2m-2s-sync [DATA]
#
# mqnamesrv and mqbroker must be on the PATH. NAMESRV_PORT (9876) and BROKER_PORT (10911) are the first ports; each
# further name server listens on the next one, each further broker 10 above. DATA (./data-FOLDER) has a folder for each
# server, with its store, its log files and its process id: `kill -9 $(cat data-2m-2s-sync/broker-a/pid)` is what a
# dead machine looks like to the others. Ctrl-C, or the end of this script, ends all of them.
#
# The folder "controller" wants an official controller beside it; CONTROLLER_ADDR says where, if not at 127.0.0.1:9878.
set -eu

folder=${1:?which folder: 2m-noslave, 2m-2s-async, 2m-2s-sync or controller}
here=$(cd "$(dirname "$0")" && pwd)
data=${2:-data-$folder}
namesrv_port=${NAMESRV_PORT:-9876}
broker_port=${BROKER_PORT:-10911}
name_servers="127.0.0.1:$namesrv_port;127.0.0.1:$((namesrv_port + 1))"
pids=""

finish() {
    trap - INT TERM EXIT
    for pid in $pids; do kill "$pid" 2>/dev/null || true; done
    wait
}
trap finish INT TERM EXIT

run() { # name, command and its arguments
    name=$1
    shift
    "$@" --log-dir "$data/$name/logs" >"$data/$name/out" 2>&1 &
    pids="$pids $!"
    echo $! >"$data/$name/pid"
}

for number in 0 1; do
    mkdir -p "$data/namesrv-$number"
    cat >"$data/namesrv-$number/namesrv.properties" <<END
listenPort=$((namesrv_port + number))
bindAddress=127.0.0.1
kvConfigPath=$data/namesrv-$number/kvConfig.json
END
    run "namesrv-$number" mqnamesrv -c "$data/namesrv-$number/namesrv.properties"
done

port=$broker_port
for name in broker-a broker-a-s broker-b broker-b-s broker-n0 broker-n1; do
    [ -f "$here/$folder/$name.properties" ] || continue
    mkdir -p "$data/$name"
    {
        cat "$here/$folder/$name.properties"
        echo "listenPort=$port"
        echo "bindAddress=127.0.0.1"
        echo "brokerIP1=127.0.0.1"
        echo "brokerIP2=127.0.0.1"
        echo "storePathRootDir=$data/$name/store"
        [ "$folder" != controller ] || [ -z "${CONTROLLER_ADDR:-}" ] || echo "controllerAddr=$CONTROLLER_ADDR"
    } >"$data/$name/broker.properties"
    run "$name" mqbroker -n "$name_servers" -c "$data/$name/broker.properties"
    port=$((port + 10))
done

for out in "$data"/*/out; do
    tries=0
    until grep -q "boot success" "$out"; do
        tries=$((tries + 1))
        if [ "$tries" -gt 300 ]; then
            echo "$out: no boot line after 30 s" >&2
            exit 1
        fi
        sleep 0.1
    done
done
echo "$folder is up. For clients and mqadmin: export NAMESRV_ADDR='$name_servers'"
wait
