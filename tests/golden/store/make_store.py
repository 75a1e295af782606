"""Make a golden store with the official servers: `python make_store.py JAR_FOLDER OUTPUT.tar.xz [--kill]`.

JAR_FOLDER holds the class path of one version (`rocketmq-broker`, `-namesrv`, `-client` with what they need). With
`--kill` the broker is killed instead of stopped, so that the store has its abort file and an unfinished checkpoint.
"""

from __future__ import annotations

import argparse
import io
import os
import signal
import socket
import subprocess
import tarfile
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
OPENS = [
    *("--add-opens=java.base/java.nio=ALL-UNNAMED", "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED"),
    *("--add-opens=java.base/java.lang=ALL-UNNAMED", "--add-opens=java.base/jdk.internal.ref=ALL-UNNAMED"),
    "--add-exports=java.base/jdk.internal.ref=ALL-UNNAMED",
]
LOGBACK = "<configuration><root level='OFF'/></configuration>"
BROKER = """brokerClusterName=golden
brokerName=golden
brokerId=0
brokerIP1=127.0.0.1
listenPort={port}
namesrvAddr=127.0.0.1:{name_port}
storePathRootDir={root}/store
storePathCommitLog={root}/store/commitlog
mapedFileSizeCommitLog=65536
mappedFileSizeCommitLog=65536
mapedFileSizeConsumeQueue=400
mappedFileSizeConsumeQueue=400
maxHashSlotNum=100
maxIndexNum=200
maxMessageSize=16384
flushIntervalCommitLog=100
autoCreateTopicEnable=true
defaultTopicQueueNums=2
diskMaxUsedSpaceRatio=95
timerWheelEnable=false
"""


def free_port() -> int:
    """A port that is free, with free neighbours, as brokers take three."""
    while True:
        with socket.socket() as first, socket.socket() as second, socket.socket() as third:
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            try:
                second.bind(("127.0.0.1", port - 2))
                third.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return int(port)


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    """Until a server answers on a port."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    raise SystemExit(f"nothing listens on {port}")


def main() -> None:
    """Run a name server and a broker, send, stop, pack."""
    parser = argparse.ArgumentParser()
    parser.add_argument("jars", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--kill", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "conf").mkdir()
        for name in ("namesrv", "broker"):
            (root / "conf" / f"logback_{name}.xml").write_text(LOGBACK)
        name_port, port = free_port(), free_port()
        (root / "namesrv.conf").write_text(f"listenPort={name_port}\n")
        (root / "broker.conf").write_text(BROKER.format(port=port, name_port=name_port, root=root))
        java = ["java", "-Xmx512m", *OPENS, f"-Duser.home={root}", "-cp", f"{arguments.jars}/*"]
        environment = {**os.environ, "ROCKETMQ_HOME": str(root)}
        running = []

        def start(*command: str) -> subprocess.Popen[bytes]:
            process = subprocess.Popen(
                [*java, *command], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            running.append(process)
            return process

        try:
            names = start("org.apache.rocketmq.namesrv.NamesrvStartup", "-c", str(root / "namesrv.conf"))
            wait_for(name_port, names)
            broker = start("org.apache.rocketmq.broker.BrokerStartup", "-c", str(root / "broker.conf"))
            wait_for(port, broker)
            time.sleep(3)
            sent = subprocess.run(
                [*java, str(HERE / "Send.java"), f"127.0.0.1:{name_port}"],
                env=environment,
                capture_output=True,
                check=True,
                timeout=120,
            ).stdout
            time.sleep(2)
            broker.send_signal(signal.SIGKILL if arguments.kill else signal.SIGTERM)
            broker.wait(60)
        finally:
            for process in running:
                if process.poll() is None:
                    process.terminate()
                    process.wait(30)
        lines = [line for line in sent.decode().splitlines() if line.count("\t") == 5]
        text = "".join(line + "\n" for line in lines).encode()
        with tarfile.open(arguments.output, "w:xz", preset=9) as archive:
            for name in ("commitlog", "consumequeue", "index", "checkpoint", "abort", "config"):
                if (root / "store" / name).exists():
                    archive.add(root / "store" / name, f"store/{name}", filter=_plain)
            info = tarfile.TarInfo("sent.tsv")
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text))


def _plain(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    return info


if __name__ == "__main__":
    main()
