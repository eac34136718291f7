"""Tables made from stored results; nothing in them is typed by hand."""
