"""The main job on a laptop: seventeen scenes against an embedded AWS, and a report of what happened."""
