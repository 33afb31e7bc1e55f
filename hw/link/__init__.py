"""The host link: a serial line, frames with a CRC, and the messages that drive a network."""
