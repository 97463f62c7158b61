"""One reader and writer per file format, behind `autoseg.io.guard`; `table` lists them."""
