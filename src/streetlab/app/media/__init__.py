"""Files on their way in and out: uploads, the storage, result files, zip archives."""
