"""The point-in-time join on Spark, for tables that one machine does not hold. What it means: point_in_time_definition.

Labels and feature rows go through one shuffle by entity. In a window by time, the greatest (event time, ingestion
time, features...) among the feature rows known so far is the answer: Spark compares structs field by field, null
smallest and NaN greatest, as the definition does. There is no join, so no pair of a label and a row is ever built.
One entity is worked on by one task; Spark spills what does not fit.
"""

from __future__ import annotations

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F
from pyspark.sql import types as T

from model_code.common.point_in_time_definition import PointInTime, entity_types, naive_time, null_time

# Names of ours; a struct keeps the label's own columns out of their way.
ENTITY, AT, PLACE, LABEL, ROW, NEWEST = "entity", "at", "place", "label", "row", "newest"
_NESTED = (T.ArrayType, T.MapType, T.StructType)


def join(labels: DataFrame, features: DataFrame, definition: PointInTime) -> DataFrame:
    """Each label row once, with the feature row that was newest and known at its time.

    The rows come in the order in which Spark reads the labels: by partition, then by place in it.

    Raises
    ------
    ValueError
        A column is missing, of the wrong type, without a zone, or a name would be there twice. A null time is
        found when the rows are read: Spark raises its own error with our text.
    """
    _check(labels, features, definition)
    both = (_label_rows(labels, definition), _feature_rows(features, definition))
    rows = both[0].unionByName(both[1], allowMissingColumns=True)
    known_so_far = Window.partitionBy(ENTITY).orderBy(AT).rangeBetween(Window.unboundedPreceding, Window.currentRow)
    found = rows.withColumn(NEWEST, F.max(ROW).over(known_so_far)).where(F.col(PLACE).isNotNull())
    age_us = F.unix_micros(AT) - F.unix_micros(_field(NEWEST, definition.event_time))
    fresh = F.lit(True) if definition.ttl_us is None else age_us <= definition.ttl_us
    columns = [_field(LABEL, name).alias(name) for name in labels.columns]
    columns += [F.when(fresh, _field(NEWEST, name)).alias(name) for name in definition.joined_columns]
    return found.orderBy(PLACE).select(*columns)


def _label_rows(labels: DataFrame, definition: PointInTime) -> DataFrame:
    time = _col(definition.label_time)
    return labels.select(
        _col(definition.entity).alias(ENTITY),
        F.when(time.isNotNull(), time).otherwise(_refused(null_time("labels", definition.label_time))).alias(AT),
        F.monotonically_increasing_id().alias(PLACE),
        F.struct(*map(_col, labels.columns)).alias(LABEL),
    )


def _feature_rows(features: DataFrame, definition: PointInTime) -> DataFrame:
    event, ingestion = _col(definition.event_time), _col(definition.ingestion_time)
    complete = event.isNotNull() & ingestion.isNotNull()
    refused = _refused(null_time("features", f"{definition.event_time}, {definition.ingestion_time}"))
    return features.where(_col(definition.entity).isNotNull()).select(
        _col(definition.entity).alias(ENTITY),
        # not greatest() alone: it would pass over a null
        F.when(complete, F.greatest(event, ingestion)).otherwise(refused).alias(AT),
        F.struct(*map(_col, definition.joined_columns)).alias(ROW),
    )


def _check(labels: DataFrame, features: DataFrame, definition: PointInTime) -> None:
    definition.check_columns(labels.columns, features.columns)
    for side, frame, names in (("labels", labels, (definition.label_time,)),
                               ("features", features, (definition.event_time, definition.ingestion_time))):
        for name in names:
            if not isinstance(frame.schema[name].dataType, T.TimestampType):
                raise naive_time(side, name, frame.schema[name].dataType.simpleString())
    for name in definition.features:
        kind = features.schema[name].dataType
        if isinstance(kind, _NESTED):
            raise ValueError(f"features: column {name!r} must hold single values, got {kind.simpleString()}")
    kinds = [frame.schema[definition.entity].dataType for frame in (labels, features)]
    if not any(all(isinstance(k, kind) for k in kinds) for kind in (T.StringType, T.IntegralType)):
        raise entity_types(definition.entity, *(kind.simpleString() for kind in kinds))


def _refused(message: str) -> Column:
    return F.raise_error(message).cast(T.TimestampType())


def _col(name: str) -> Column:
    return F.col("`" + name.replace("`", "``") + "`")


def _field(struct: str, name: str) -> Column:
    return F.col(struct).getField(name)
