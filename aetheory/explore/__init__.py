"""The explorer: a local page on which problems are moved by sliders; `page.serve` needs the extra `explore`."""
