"""EMR Serverless job: labels and feature rows from S3, each label joined with what was known at its time, to S3.

    spark-submit --py-files model_code.zip join_features.py --labels s3://... --features s3://... \
        --definition '{"entity": "customer_id", ...}' --output s3://...

The archive holds the definition and its Spark engine; nothing else is needed, and Python 3.9, the oldest that EMR
Serverless 7 may bring, is enough. Reads and writes Parquet folders. `--definition` is PointInTime.to_json(). The output
is written anew as a whole, so the job can run twice; its files, in the order of their names, hold the labels in the
order in which they were read.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from pyspark.sql import SparkSession

from model_code.common.point_in_time_definition import PointInTime
from model_code.common.point_in_time_spark import join

SETTINGS = {
    "spark.sql.session.timeZone": "UTC",
    # Spark's default, INT96, says nothing of a zone, and the next reader would refuse it.
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    # No second calendar for times before 1900: Spark 3 would stop at them.
    "spark.sql.parquet.datetimeRebaseModeInRead": "CORRECTED",
    "spark.sql.parquet.datetimeRebaseModeInWrite": "CORRECTED",
}


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--labels", required=True, help="Parquet folder")
    parser.add_argument("--features", required=True, help="Parquet folder")
    parser.add_argument("--definition", required=True, type=PointInTime.from_json, help="JSON")
    parser.add_argument("--output", required=True, help="Parquet folder, replaced")
    args = parser.parse_args(argv)
    spark = SparkSession.builder.appName("join-features").getOrCreate()
    for name, value in SETTINGS.items():
        spark.conf.set(name, value)
    labels, features = (spark.read.parquet(path) for path in (args.labels, args.features))
    join(labels, features, args.definition).write.mode("overwrite").parquet(args.output)


if __name__ == "__main__":
    main()
