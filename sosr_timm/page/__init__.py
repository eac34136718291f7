"""One page about runs or a comparison: a single HTML file, Markdown or CSV (`sosr-page`, `sosr-compare --html`)."""
