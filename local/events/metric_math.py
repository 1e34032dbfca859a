"""CloudWatch metric math over windows: each metric is a list of values, None where nothing was measured."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

Series = list[float | None]
_OPERATORS: dict[type, Callable[[float, float], float]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv, ast.Pow: pow,
    ast.Gt: operator.gt, ast.GtE: operator.ge, ast.Lt: operator.lt, ast.LtE: operator.le, ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_AGGREGATES: dict[str, Callable[[list[float]], float]] = {
    "SUM": sum, "AVG": lambda v: sum(v) / len(v), "MIN": min, "MAX": max}
_ONE: dict[str, Callable[[float], float]] = {"ABS": abs, "CEIL": lambda v: float(-(-v // 1)),
                                             "FLOOR": lambda v: float(v // 1)}


class UnsupportedExpression(ValueError):
    pass


def check(expression: str) -> None:
    """UnsupportedExpression for what `evaluate` does not know, before any metric is there."""
    _tree(expression)
    names: dict[str, Series] = {name: [1.0] for name in re.findall(r"\b[a-z][A-Za-z0-9_]*\b", expression)}
    evaluate(expression, names)


def evaluate(expression: str, series: Mapping[str, Series]) -> Series:
    length = max((len(values) for values in series.values()), default=1)
    return _broadcast(_value(_tree(expression), series, length), length)


def _tree(expression: str) -> ast.expr:
    text = expression.replace("&&", " and ").replace("||", " or ").strip()
    try:
        return ast.parse(text, mode="eval").body
    except SyntaxError as error:
        raise UnsupportedExpression(f"metric math {expression!r} cannot be read") from error


def _value(node: ast.expr, series: Mapping[str, Series], length: int) -> Any:
    match node:
        case ast.Constant(value=int() | float() as number):
            return float(number)
        case ast.Name(id=name) if name in series:
            return series[name]
        case ast.UnaryOp(op=ast.USub(), operand=inner):
            return _each(lambda v: -v, length, _value(inner, series, length))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return _each(_safe(_OPERATORS[type(op)]), length,
                         _value(left, series, length), _value(right, series, length))
        case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _OPERATORS:
            return _each(lambda a, b: float(_OPERATORS[type(op)](a, b)), length,
                         _value(left, series, length), _value(right, series, length))
        case ast.BoolOp(op=op, values=values):
            join = all if isinstance(op, ast.And) else any
            return _each(lambda *v: float(join(v)), length, *(_value(v, series, length) for v in values))
        case ast.Call(func=ast.Name(id=function), args=arguments):
            return _call(function, arguments, series, length)
        case ast.List(elts=items):
            return [_value(item, series, length) for item in items]
    raise UnsupportedExpression(f"metric math: {ast.unparse(node)!r} is not supported by the embedded CloudWatch "
                                f"(+ - * / comparisons and {sorted([*_AGGREGATES, *_ONE, 'FILL', 'IF', 'METRICS'])})")


def _call(function: str, arguments: list[ast.expr], series: Mapping[str, Series], length: int) -> Any:
    if function == "METRICS" and not arguments:
        return list(series.values())
    if function == "FILL" and len(arguments) == 2:
        values = _broadcast(_value(arguments[0], series, length), length)
        if isinstance(arguments[1], ast.Name) and arguments[1].id == "REPEAT":
            return _repeat(values)
        default = _value(arguments[1], series, length)
        return [default if v is None else v for v in values]
    if function == "IF" and len(arguments) in (2, 3):
        condition, *branches = (_broadcast(_value(a, series, length), length) for a in arguments)
        otherwise = branches[1] if len(branches) == 2 else [None] * length
        return [None if c is None else (yes if c else no)
                for c, yes, no in zip(condition, branches[0], otherwise, strict=True)]
    if function in _AGGREGATES and len(arguments) == 1:
        many = _value(arguments[0], series, length)
        if many and isinstance(many, list) and isinstance(many[0], list):  # of several metrics: per window
            columns = [[v for v in column if v is not None] for column in zip(*many, strict=True)]
            return [_AGGREGATES[function](column) if column else None for column in columns]
        present = [v for v in _broadcast(many, length) if v is not None]
        return [_AGGREGATES[function](present)] * length if present else [None] * length
    if function in _ONE and len(arguments) == 1:
        return _each(_ONE[function], length, _value(arguments[0], series, length))
    raise UnsupportedExpression(f"metric math function {function} is not supported by the embedded CloudWatch "
                                f"(supported: {sorted([*_AGGREGATES, *_ONE, 'FILL', 'IF', 'METRICS'])})")


def _each(function: Callable[..., float | None], length: int, *operands: Any) -> Series:
    columns = zip(*(_broadcast(o, length) for o in operands), strict=True)
    return [None if None in column else function(*column) for column in columns]


def _safe(function: Callable[[float, float], float]) -> Callable[[float, float], float | None]:
    def call(left: float, right: float) -> float | None:
        try:
            return function(left, right)
        except ZeroDivisionError:
            return None  # CloudWatch gives no data point

    return call


def _broadcast(value: Any, length: int) -> Series:
    if isinstance(value, float):
        return [value] * length
    return list(value) if len(value) == length else [*value, *[None] * (length - len(value))]


def _repeat(values: Series) -> Series:
    out: Series = []
    for value in values:
        out.append(out[-1] if value is None and out else value)
    return out
