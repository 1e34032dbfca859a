"""The command of a Spark job run on one machine: spark-submit in local mode, with what the request asked for.

The job gets the Python that the server's environment was made from, without that environment's packages: like a worker
of EMR it sees pyspark, the standard library and what its own `--py-files` bring.
"""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from local.emr_serverless.staged_objects import StagedObjects
from local.sagemaker.errors import JobFailure, invalid

JAVA_MISSING = "Spark needs Java 17 and there is no `java` on the PATH: apt install openjdk-17-jre-headless"
PYSPARK_MISSING = "Spark is not installed: pip install pyspark==3.5.9, the line that EMR Serverless 7 runs"
_SUPPORTED = ("--py-files", "--conf")
# One core and one process: what a cluster would share out is done in turn. A job's own --conf comes after these.
_LOCAL = {
    "spark.ui.enabled": "false", "spark.driver.bindAddress": "127.0.0.1", "spark.driver.host": "127.0.0.1",
    "spark.sql.shuffle.partitions": "2",
    # brief jobs: a thorough compiler and a parallel collector would cost more than they save
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
}
_MASTER = "local[1]"


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """`sparkSubmitParameters` taken apart."""

    py_files: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()  # KEY=VALUE

    @classmethod
    def parse(cls, text: str) -> Parameters:
        """An option that would have no effect here is refused, not passed over."""
        try:
            words = shlex.split(text)
        except ValueError as error:
            raise invalid(f"sparkSubmitParameters can't be read: {error}") from error
        files: list[str] = []
        settings: list[str] = []
        while words:
            option, *rest = words
            if option not in _SUPPORTED or not rest:
                raise invalid(f"sparkSubmitParameters: {option!r} is not supported by the embedded EMR Serverless, or "
                              f"has no value; it supports {', '.join(_SUPPORTED)}")
            if option == "--py-files":
                files += rest[0].split(",")
            elif "=" in rest[0]:
                settings.append(rest[0])
            else:
                raise invalid(f"sparkSubmitParameters: --conf takes KEY=VALUE, got {rest[0]!r}")
            words = rest[1:]
        return cls(py_files=tuple(files), settings=tuple(settings))


def require_spark() -> Path:
    """SPARK_HOME; JobFailure says what to install."""
    if shutil.which("java") is None and not os.environ.get("JAVA_HOME"):
        raise JobFailure(JAVA_MISSING)
    found = importlib.util.find_spec("pyspark")
    if found is None or found.origin is None:
        raise JobFailure(PYSPARK_MISSING)
    return Path(found.origin).parent


def environment(spark_home: Path, work: Path) -> dict[str, str]:
    """Nothing of the server's own but where programs are."""
    python = getattr(sys, "_base_executable", sys.executable)
    java_home = {"JAVA_HOME": os.environ["JAVA_HOME"]} if os.environ.get("JAVA_HOME") else {}
    return {
        **java_home, "PATH": os.environ.get("PATH", os.defpath), "SPARK_HOME": str(spark_home), "HOME": str(work),
        "TMPDIR": str(work / "tmp"), "SPARK_LOCAL_DIRS": str(work / "tmp"), "LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1", "PYSPARK_PYTHON": python, "PYSPARK_DRIVER_PYTHON": python,
    }


def command(spark_home: Path, name: str, driver: dict, objects: StagedObjects, code: Path) -> list[str]:
    """The whole command line; fetches the program and the S3 names among its arguments."""
    parameters = Parameters.parse(driver.get("sparkSubmitParameters", ""))
    words = [str(spark_home / "bin" / "spark-submit"), "--master", _MASTER, "--name", name]
    for setting in (*(f"{key}={value}" for key, value in _LOCAL.items()), *parameters.settings):
        words += ["--conf", setting]
    if parameters.py_files:
        fetched = (objects.fetch_file(uri, code / str(i)) for i, uri in enumerate(parameters.py_files))
        words += ["--py-files", ",".join(map(str, fetched))]
    words.append(str(objects.fetch_file(driver["entryPoint"], code)))
    return [*words, *(objects.path(text) for text in driver.get("entryPointArguments", []))]
