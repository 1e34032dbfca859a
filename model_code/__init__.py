"""Code that runs inside containers: one folder per story, `common/`, `platform/` for label jobs."""
