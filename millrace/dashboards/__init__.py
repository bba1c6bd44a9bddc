"""Charts over the published marts: SQL in files, drawn as SVG, with their data beside them."""
