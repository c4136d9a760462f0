"""Data sets, the decoded-image cache, augmentation, and the LightningDataModule."""
