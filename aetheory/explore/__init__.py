"""The explorer: a local page that sets the fields of problems by sliders; `page.serve` needs the extra `explore`."""
