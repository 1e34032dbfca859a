"""Code that runs inside containers: one folder per story, `common/` for what stories share, `platform/` for label jobs."""
