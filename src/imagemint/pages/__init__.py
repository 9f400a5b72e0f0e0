"""Pages to look at, one self-contained HTML file each. They read the core; nothing in the core knows of them."""
