"""The Hub: folders in timm's own format, their card, the way there; whoever has timm loads them."""
