"""Query, key and value of a transformer layer as one matrix product.

They multiply the same vectors by three matrices; side by side in one matrix the vectors are read,
and quantised, once. Done on the graph, so it fits every encoder, whatever it calls its projections.
"""

from __future__ import annotations

import numpy as np
import openvino as ov
from openvino import opset13 as op


def merge_projections(graph: ov.Model) -> int:
    """Merge sibling projections in place; returns how many groups were merged."""
    groups = [products for products in _siblings(graph).values() if len(products) > 1]
    for products in groups:
        _merge(products)
    graph.validate_nodes_and_infer_types()
    return len(groups)


def _siblings(graph: ov.Model) -> dict[tuple[str, int, bool], list[ov.Node]]:
    """Products with a constant matrix by (the output that they read, whether a bias follows), in graph order."""
    found: dict[tuple[str, int, bool], list[ov.Node]] = {}
    for node in graph.get_ordered_ops():
        if node.get_type_name() == "MatMul" and is_linear(node):
            source = node.input_value(0)
            key = (source.get_node().get_name(), source.get_index(), addition(node) is not None)
            found.setdefault(key, []).append(node)
    return found


def is_linear(product: ov.Node) -> bool:
    """Vectors times a constant (outputs, inputs) matrix, as PyTorch's Linear is converted."""
    flags = product.get_attributes()
    return bool(constants(product)) and bool(flags["transpose_b"]) and not flags["transpose_a"]


def constants(node: ov.Node) -> list[np.ndarray]:
    """Values of the node's constant inputs."""
    return [i.get_node().get_data() for i in node.input_values() if i.get_node().get_type_name() == "Constant"]


def addition(product: ov.Node) -> ov.Node | None:
    """The bias that is added to the product; conversion leaves out one of zeros."""
    readers = [target.get_node() for target in product.output(0).get_target_inputs()]
    adds_constant = len(readers) == 1 and readers[0].get_type_name() == "Add" and bool(constants(readers[0]))
    return readers[0] if adds_constant else None


def _merge(products: list[ov.Node]) -> None:
    weights = [constants(product)[0] for product in products]
    merged = op.matmul(products[0].input_value(0), op.constant(np.concatenate(weights)), False, True)
    merged.set_friendly_name(f"{products[0].get_friendly_name()}/merged")
    ends = [addition(product) or product for product in products]
    if ends[0] is not products[0]:
        merged = op.add(merged, op.constant(np.concatenate([constants(end)[0].reshape(-1) for end in ends])))
    parts = op.variadic_split(merged, op.constant(np.int64(-1)), op.constant(np.array([len(w) for w in weights])))
    for end, part in zip(ends, parts.outputs(), strict=True):
        end.output(0).replace(part)
