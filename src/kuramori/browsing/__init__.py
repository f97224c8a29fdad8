"""Looking into a repository: nothing here writes, prints or takes a lock.

Every function wants an open repository whose index is loaded (``repository.load_index()``), and
long answers are generators, so that memory does not follow the size of a snapshot:

* :func:`kuramori.browsing.walk.walk_tree` goes through all nodes below a tree;
* :func:`kuramori.browsing.listing.list_snapshot` is ``ls``;
* :func:`kuramori.browsing.find.find` is ``find``: by pattern, or by blob, tree or pack id;
* :func:`kuramori.browsing.diff.diff_snapshots` is ``diff``: it yields changes, and fills statistics;
* :func:`kuramori.browsing.stats.count_statistics` is ``stats`` in its four modes;
* :func:`kuramori.browsing.dump.dump` writes a file's content, or a folder as tar or zip.

Paths are bytes, begin with a slash and have none at their end (the root is empty). Something in
the repository that cannot be read raises a :class:`kuramori.errors.KuramoriError`, unless the
function takes a callback for errors and was given one.
"""
