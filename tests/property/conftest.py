"""Hypothesis without its deadline: on a busy machine a slow example is no bug."""

from hypothesis import settings

settings.register_profile("house", deadline=None)
settings.load_profile("house")
