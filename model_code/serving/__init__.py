"""The HTTP shell of a serving container."""
