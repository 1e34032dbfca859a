"""Data the project runs on: fetched from pinned packages, made by a documented generator, or your own."""
