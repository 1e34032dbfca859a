"""Our construct library: one capability per file. Stacks compose these and hold no logic."""
