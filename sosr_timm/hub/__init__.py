"""The Hub: directories in timm's own format, model cards, and pushing them; timm alone can load them."""
