"""Showing a repository as a folder, for reading.

* :mod:`kuramori.mounting.virtual_tree` is what is shown: menus of snapshots, and what is in them;
* :mod:`kuramori.mounting.fuse_mounting` shows it through the kernel (extra ``mount``);
* :mod:`kuramori.mounting.webdav_serving` shows it over HTTP (extra ``webdav``).
"""
