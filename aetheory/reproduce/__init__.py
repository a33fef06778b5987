"""The main job: each system's published figures, from computation to files on disk."""
