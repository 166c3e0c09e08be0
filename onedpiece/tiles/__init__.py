"""The grid of tiles that covers a picture, pictures cut into tiles, and tiles joined."""
