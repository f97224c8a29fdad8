"""A repository as a file system: FUSE, and WebDAV where there is none."""
