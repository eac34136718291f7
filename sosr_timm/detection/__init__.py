"""Object detection on Pascal VOC: RetinaNet on a timm backbone (SOSR, table 8)."""
