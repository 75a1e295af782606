"""How a JVM is started for official code, and the drivers compiled for it."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from interop.jars import classpath
from interop.toolchain import CACHE, HERE, ToolFailed, locked, shortened, tool

SOURCES = HERE / "java"
JAVAC_TIMEOUT_S = 300

OPENS = [
    "--add-opens=java.base/java.nio=ALL-UNNAMED",
    "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED",
    "--add-opens=java.base/java.lang=ALL-UNNAMED",
    "--add-opens=java.base/jdk.internal.ref=ALL-UNNAMED",
    "--add-exports=java.base/jdk.internal.ref=ALL-UNNAMED",
    "-Dio.netty.tryReflectionSetAccessible=true",
]
"""What 4.x code needs of a JDK of today (it was written for 8)."""

LOGBACK = """<configuration>
  <appender name="file" class="ch.qos.logback.core.FileAppender">
    <file>${user.home}/%(name)s</file>
    <encoder><pattern>%%d{HH:mm:ss.SSS} %%p %%c{0} - %%m%%n</pattern></encoder>
  </appender>
  <root level="%(level)s"><appender-ref ref="file"/></root>
</configuration>
"""


def java_home_folder(folder: Path) -> Path:
    """Make `folder` a ROCKETMQ_HOME: 4.x programs refuse to start without their logback files there."""
    conf = folder / "conf"
    conf.mkdir(parents=True, exist_ok=True)
    for name in ("namesrv", "broker", "tools"):
        (conf / f"logback_{name}.xml").write_text(LOGBACK % {"name": f"official-{name}.log", "level": "WARN"})
    return folder


def command(jars: list[Path], main_class: str, *arguments: str, options: list[str], user_home: Path) -> list[str]:
    """Return the command line of a JVM that keeps its files and logs below `user_home`."""
    return [
        tool("java"), *OPENS, f"-Duser.home={user_home}", *options,
        "-cp", os.pathsep.join(str(jar) for jar in jars), main_class, *arguments,
    ]  # fmt: skip


def environment(home: Path, **more: str) -> dict[str, str]:
    """Return this process's environment with ROCKETMQ_HOME set and nothing inherited that steers a client."""
    inherited = {key: value for key, value in os.environ.items() if key not in ("NAMESRV_ADDR", "JAVA_TOOL_OPTIONS")}
    return {**inherited, "ROCKETMQ_HOME": str(home), **more}


def translated(source: str, version: str) -> str:
    """Return a driver source as `version` spells the official packages; it is written as 5.5.0 spells them."""
    if not version.startswith("5."):
        source = source.replace(
            "org.apache.rocketmq.remoting.protocol.heartbeat", "org.apache.rocketmq.common.protocol.heartbeat"
        )
    if version.startswith("3."):
        source = source.replace("org.apache.rocketmq", "com.alibaba.rocketmq")
    return source


def driver_classes(version: str) -> Path:
    """Return the folder of the driver's classes for one client version, compiling them the first time.

    Raises:
        ToolMissing: no javac.
        ToolFailed: the sources do not compile against that version.
    """
    folders = ["base"]
    if not version.startswith("3."):
        folders.append("tools")
    folders.append("before46" if version.startswith(("3.", "4.2")) else "since46")
    sources = {
        path.relative_to(SOURCES / folder): translated(path.read_text(), version)
        for folder in folders
        for path in sorted((SOURCES / folder).rglob("*.java"))
    }
    digest = hashlib.sha256(repr(sorted((str(k), v) for k, v in sources.items())).encode()).hexdigest()[:12]
    target = CACHE / "classes" / f"{version}-{digest}"
    if not target.is_dir():
        with locked(f"classes-{version}"):
            if not target.is_dir():
                _compile(version, sources, target)
    return target


def _compile(version: str, sources: dict[Path, str], target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{version}-", dir=target.parent))
    try:
        files = []
        for name, text in sources.items():
            path = work / "src" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            files.append(str(path))
        jars = os.pathsep.join(str(jar) for jar in classpath(version))
        done = subprocess.run(
            [tool("javac"), "-nowarn", "-proc:none", "-Xlint:none", "-encoding", "UTF-8", "-cp", jars,
             "-d", str(work / "classes"), *files],
            capture_output=True, text=True, timeout=JAVAC_TIMEOUT_S, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            raise ToolFailed(f"the driver does not compile against {version}:\n{shortened(done.stderr)}")
        os.rename(work / "classes", target)
    finally:
        shutil.rmtree(work)
