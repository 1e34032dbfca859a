"""The golden cases through Spark, as the job runs it: Parquet in, Parquet out, one local session."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from model_code.common.point_in_time import join
from tests.support.point_in_time_cases import (
    CASES,
    NAN,
    definition,
    feature_table,
    golden_answers,
    golden_tables,
    label_table,
    same_rows,
)

JAVA_MISSING = "Spark needs Java 17 or newer and there is no `java` on the PATH: apt install openjdk-17-jre-headless"
pytestmark = pytest.mark.skipif(shutil.which("java") is None, reason=JAVA_MISSING)


@pytest.fixture(scope="module")
def spark() -> Iterator[Any]:
    from pyspark.sql import SparkSession

    session = (SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false")
               .config("spark.sql.shuffle.partitions","2").config("spark.driver.memory", "1g")
               # brief queries: a thorough compiler would cost more than it saves
               .config("spark.driver.extraJavaOptions", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")
               .config("spark.driver.bindAddress", "127.0.0.1").config("spark.driver.host", "127.0.0.1")
               # a zone of its own: the answers must not hang on it
               .config("spark.sql.session.timeZone", "America/New_York").getOrCreate())
    session.sparkContext.setLogLevel("FATAL")
    yield session
    session.stop()


def run_job(tmp_path: Path, labels: pa.Table, features: pa.Table, ttl: Any) -> pa.Table:
    """Through the job's own entry; its files in the order of their names."""
    from model_code.platform.join_features import main

    for name, table in (("labels", labels), ("features", features)):
        (tmp_path / name).mkdir()
        pq.write_table(table, tmp_path / name / "part-0.parquet", row_group_size=7)
    main(["--labels", str(tmp_path / "labels"), "--features", str(tmp_path / "features"),
          "--output", str(tmp_path / "joined"), "--definition", definition(ttl).to_json()])
    files = sorted((tmp_path / "joined").glob("*.parquet"))
    assert files
    return pa.concat_tables([pq.read_table(path) for path in files])


@pytest.mark.usefixtures("spark")
@pytest.mark.parametrize("ttl", sorted({case.ttl for case in CASES}, key=str), ids=str)
def test_spark_gives_the_rows_of_the_golden_cases(ttl: Any, tmp_path: Path) -> None:
    cases = [case for case in CASES if case.ttl == ttl]
    assert len(cases) > 3
    labels, features = golden_tables(cases)
    joined = run_job(tmp_path, labels, features, ttl)
    golden_answers(joined, cases)
    same_rows(joined, join(labels, features, definition(ttl)))


@pytest.mark.usefixtures("spark")
def test_an_empty_table_on_either_side(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    labels = label_table([("a", 1), (None, 1)])
    assert run_job(tmp_path / "a", labels, feature_table([]), None)["value"].to_pylist() == [None, None]
    assert run_job(tmp_path / "b", labels.slice(0, 0), feature_table([("a", 0, 0, NAN)]), None).num_rows == 0


def test_spark_refuses_what_the_definition_does_not_mean(spark: Any) -> None:
    from py4j.protocol import Py4JJavaError

    from model_code.common.point_in_time_spark import join as spark_join

    labels = spark.sql("select 1L label_id, 'a' user, timestamp '2026-03-01 12:00:00 UTC' asked_at")
    features = spark.sql("select 'a' user, timestamp '2026-03-01 12:00:00 UTC' happened_at, "
                         "timestamp '2026-03-01 12:00:00 UTC' arrived_at, 1d value, 'n' note")
    assert [row["value"] for row in spark_join(labels, features, definition()).collect()] == [1.0]
    naive = labels.selectExpr("label_id", "user", "timestamp_ntz '2026-03-01 12:00:00' asked_at")
    with pytest.raises(ValueError, match="labels: column 'asked_at' must be a time with a zone, got timestamp_ntz"):
        spark_join(naive, features, definition())
    with pytest.raises(ValueError, match="integers or text in both tables, got int in labels and string in features"):
        spark_join(labels.selectExpr("label_id", "1 user", "asked_at"), features, definition())
    with pytest.raises(ValueError, match="'value' must hold single values, got array<int>"):
        spark_join(labels, features.selectExpr("user", "happened_at", "arrived_at", "array(1) value", "note"),
                   definition())
    timeless = features.selectExpr("user", "happened_at", "cast(null as timestamp) arrived_at", "value", "note")
    with pytest.raises(Py4JJavaError, match="'happened_at, arrived_at' has rows without a time"):
        spark_join(labels, timeless, definition()).collect()
