"""Thin stacks: each composes constructs and holds no logic of its own."""
