"""The main job on a laptop: fifteen scenes against an embedded AWS, and a report of what happened."""
