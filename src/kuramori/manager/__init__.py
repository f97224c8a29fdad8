"""Jobs made of components: back up, list, restore, clean up, and say whether all is well."""
