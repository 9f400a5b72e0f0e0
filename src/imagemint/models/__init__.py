"""Networks: one file a family, generator and discriminator side by side, the paper cited."""
