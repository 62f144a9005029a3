//! A machine, put together and followed to its end.
